from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dropwell_local import mailbox
from dropwell_local.build import Tools
from dropwell_local.emulator import running_emulator
from dropwell_local.stack import LocalStack


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


def test_a_mailbox_closes_in_peace_when_the_emulator_has_gone_first(tmp_path: Path) -> None:
    with running_emulator(python=Tools().emulator_python, folder=tmp_path) as url:
        stack = LocalStack(url=url, cromwell_url="", folder=tmp_path, outputs={})
        sqs, sns, events = (stack.client(name) for name in ("sqs", "sns", "events"))
        topic = sns.create_topic(Name="mails")["TopicArn"]
        events.create_event_bus(Name="notices")
        mailboxes = contextlib.ExitStack()
        mailboxes.enter_context(
            mailbox.open_mailbox(
                topic=topic, bus="notices", sqs=sqs, sns=sns, events=events, folder=tmp_path
            )
        )
    gone_at = time.monotonic()
    mailboxes.close()
    assert time.monotonic() - gone_at < 10
