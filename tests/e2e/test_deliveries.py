"""Twenty deliveries of one drop at once: in the queue before the first is handled."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator

import pytest

from dropwell.drops import Drop
from tests.e2e.inbox import EVENTS, Inbox, eventually, hello, zipped
from tests.e2e.wire import Point, Wire

NAME = "told_often"


@pytest.fixture(scope="module")
def run_id(inbox: Inbox, wire: Wire) -> str:
    """Return the run of a drop that twenty deliveries told of, nineteen while it was posted."""
    stop = wire.stop(NAME, Point.AFTER_CROMWELL)
    with door_closed(inbox):
        drop = inbox.put(f"inbox/demo/{NAME}.zip", zipped(hello(NAME)))
        tell(inbox, drop, times=10)
        tell(inbox, drop, times=9)  # its own notification is the twentieth
        eventually(lambda: waiting(inbox) >= 20, within=10, what="twenty deliveries")
    stop.wait()
    eventually(
        lambda: outcomes(inbox, drop.run_id)["busy"] == 19, within=30, what="the other nineteen"
    )
    assert len(inbox.submitters()) > 2
    stop.let_go(deliver=True)
    return drop.run_id


@contextlib.contextmanager
def door_closed(inbox: Inbox) -> Iterator[None]:
    """Keep the submitter from taking anything while the block runs."""
    functions = inbox.stack.client("lambda")
    name = inbox.stack.outputs["SubmitterFunction"]
    (door,) = functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=door["UUID"], Enabled=False)
    try:
        yield
    finally:
        functions.update_event_source_mapping(UUID=door["UUID"], Enabled=True)


def tell(inbox: Inbox, drop: Drop, *, times: int) -> None:
    """Announce a drop so many times, all in one batch."""
    event = json.loads((EVENTS / "s3_drop.json").read_text())
    told = event["Records"][0]["s3"]
    told["bucket"] |= {"name": drop.bucket, "arn": f"arn:aws:s3:::{drop.bucket}"}
    told["object"] |= {"key": drop.key, "versionId": drop.version_id, "size": drop.size}
    inbox.stack.client("sqs").send_message_batch(
        QueueUrl=inbox.stack.outputs["DropQueue"],
        Entries=[{"Id": str(number), "MessageBody": json.dumps(event)} for number in range(times)],
    )


def waiting(inbox: Inbox) -> int:
    """Return how many deliveries no submitter has taken yet."""
    name = "ApproximateNumberOfMessages"
    told = inbox.stack.client("sqs").get_queue_attributes(
        QueueUrl=inbox.stack.outputs["DropQueue"], AttributeNames=[name]
    )
    return int(told["Attributes"][name])


def outcomes(inbox: Inbox, run_id: str) -> Counter[str]:
    """Count what the submitter's log says became of each delivery of a drop."""
    functions, logs = inbox.stack.client("lambda"), inbox.stack.client("logs")
    submitter = functions.get_function_configuration(
        FunctionName=inbox.stack.outputs["SubmitterFunction"]
    )
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=submitter["LoggingConfig"]["LogGroup"], filterPattern=f'"{run_id}"'
    )
    lines = [json.loads(event["message"]) for page in pages for event in page["events"]]
    return Counter(line["message"] for line in lines)


def test_are_one_run(inbox: Inbox, run_id: str) -> None:
    assert inbox.end_of(run_id) == "COMPLETE"
    inbox.assert_one_run(NAME, run_id)


def test_are_one_accepted_post(wire: Wire, run_id: str) -> None:
    assert [post.status for post in wire.of(run_id)].count(201) == 1


def test_find_one_submitter_at_work_already(inbox: Inbox, run_id: str) -> None:
    assert outcomes(inbox, run_id) == {"submitted": 1, "busy": 19}
