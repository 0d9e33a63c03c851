from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dropwell_local import mailbox


def test_mails_and_events_are_kept_in_order(client: Callable[..., Any], tmp_path: Path) -> None:
    sns, events = client("sns"), client("events")
    topic = sns.create_topic(Name="mails")["TopicArn"]
    events.create_event_bus(Name="notices")
    with mailbox.open_mailbox(
        topic=topic, bus="notices", sqs=client("sqs"), sns=sns, events=events, folder=tmp_path
    ):
        for subject in ("first", "second"):
            sns.publish(
                TopicArn=topic,
                Subject=subject,
                Message="text",
                MessageAttributes={"kind": {"DataType": "String", "StringValue": "ended"}},
            )
        events.put_events(
            Entries=[
                {
                    "EventBusName": "notices",
                    "Source": "dropwell",
                    "DetailType": "Run State Change",
                    "Detail": json.dumps({"state": "COMPLETE"}),
                }
            ]
        )
    mails = mailbox.mails(tmp_path)
    assert [(mail.subject, mail.text) for mail in mails] == [("first", "text"), ("second", "text")]
    assert mails[0].attributes == {"kind": "ended"}
    (event,) = mailbox.events(tmp_path)
    assert (event["detail-type"], event["detail"]) == ("Run State Change", {"state": "COMPLETE"})


def test_a_mailbox_that_heard_nothing_is_empty(tmp_path: Path) -> None:
    assert mailbox.mails(tmp_path) == []
    assert mailbox.events(tmp_path) == []


def test_a_line_that_is_still_being_written_is_read_later(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text('{"id": "1"}\n{"id": ')
    assert mailbox.events(tmp_path) == [{"id": "1"}]
