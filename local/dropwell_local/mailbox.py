"""What the deployed stack says: its mails and machine events, kept in files as they come."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import EndpointConnectionError, HTTPClientError

_MAILS = "mails.jsonl"
_EVENTS = "events.jsonl"
_QUEUE = "dropwell-local-mailbox"


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as its reader gets it.

    Parameters
    ----------
    id : str
        SNS's own.
    sent_at : str
        ISO 8601, UTC.
    subject, text : str
        What the reader sees.
    attributes : mapping
        What subscriptions can filter on.
    """

    id: str
    sent_at: str
    subject: str
    text: str
    attributes: Mapping[str, str]


def mails(folder: Path) -> list[Mail]:
    """Return every mail so far, in the order they came."""
    return [
        Mail(
            id=mail["MessageId"],
            sent_at=mail["Timestamp"],
            subject=mail.get("Subject", ""),
            text=mail["Message"],
            attributes={
                name: attribute["Value"]
                for name, attribute in mail.get("MessageAttributes", {}).items()
            },
        )
        for mail in _lines(folder / _MAILS)
    ]


def events(folder: Path) -> list[dict[str, Any]]:
    """Return every event of the stack's bus so far, as EventBridge delivers them."""
    return list(_lines(folder / _EVENTS))


@contextlib.contextmanager
def open_mailbox(
    *, topic: str, bus: str, sqs: Any, sns: Any, events: Any, folder: Path
) -> Iterator[None]:
    """Subscribe to a topic and a bus, and keep what they say while the block runs.

    Parameters
    ----------
    topic, bus : str
        The ARN of the mail topic; the name of the bus.
    sqs, sns, events
        Clients of the account that holds them.
    folder : Path
        Where the files are kept.
    """
    queue = sqs.create_queue(QueueName=_QUEUE)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    arn = attributes["Attributes"]["QueueArn"]
    letterbox = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": ["sns.amazonaws.com", "events.amazonaws.com"]},
                "Action": "sqs:SendMessage",
                "Resource": arn,
            }
        ],
    }
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(letterbox)})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    pattern = json.dumps({"source": ["dropwell"]})
    events.put_rule(Name=_QUEUE, EventBusName=bus, EventPattern=pattern)
    events.put_targets(Rule=_QUEUE, EventBusName=bus, Targets=[{"Id": "mailbox", "Arn": arn}])

    closing = threading.Event()
    reader = threading.Thread(target=_keep, args=(sqs, queue, folder, closing), daemon=True)
    reader.start()
    try:
        yield
    finally:
        closing.set()
        reader.join()


def _keep(sqs: Any, queue: str, folder: Path, closing: threading.Event) -> None:
    """Write down what comes, until told to close and nothing more is waiting."""
    while True:
        last_look = closing.is_set()
        wait = 0 if last_look else 1
        try:
            received = sqs.receive_message(
                QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=wait
            )
        except (EndpointConnectionError, HTTPClientError):
            return  # the emulator is gone, and with it everything that could speak
        messages = received.get("Messages", [])
        for message in messages:
            said = json.loads(message["Body"])
            file = folder / (_EVENTS if "detail-type" in said else _MAILS)
            with file.open("a") as kept:
                kept.write(json.dumps(said) + "\n")
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        if last_look and not messages:
            return


def _lines(file: Path) -> Iterator[Any]:
    if file.exists():
        for line in file.read_text().splitlines(keepends=True):
            if line.endswith("\n"):  # the last one may still be on its way
                yield json.loads(line)
