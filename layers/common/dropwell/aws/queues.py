"""Messages to one SQS queue, now or after a while."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dropwell.errors import TryAgain

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

_BATCH = 10
LONGEST_DELAY = 900


class Queue:
    """One queue; messages are JSON objects."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    def send(self, *messages: Mapping[str, Any], delay: int | None = None) -> None:
        """Send messages, ten a request.

        Parameters
        ----------
        *messages : mapping
            What to send; each at most 256 KiB as JSON.
        delay : int or None
            Seconds before they can be received, at most 900; `None` leaves the
            queue's own delay.

        Raises
        ------
        TryAgain
            SQS took some but not all. Sending all of them again is right: every
            receiver here takes a message twice without harm.
        """
        for start in range(0, len(messages), _BATCH):
            self._send_batch(messages[start : start + _BATCH], delay)

    def _send_batch(self, messages: Sequence[Mapping[str, Any]], delay: int | None) -> None:
        later = {} if delay is None else {"DelaySeconds": min(delay, LONGEST_DELAY)}
        entries: Any = [
            {"Id": str(number), "MessageBody": json.dumps(message), **later}
            for number, message in enumerate(messages)
        ]
        answer = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
        if failed := answer.get("Failed"):
            raise TryAgain(f"SQS did not take {len(failed)} messages: {failed[0].get('Message')}")
