"""Mails to one SNS topic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient


class Topic:
    """One topic."""

    def __init__(self, client: SNSClient, arn: str) -> None:
        self._client = client
        self._arn = arn

    def publish(self, subject: str, body: str, attributes: Mapping[str, str]) -> None:
        """Publish a mail.

        Parameters
        ----------
        subject : str
            At most 100 ASCII characters, none of them a line break.
        body : str
            Plain text, at most 256 KiB.
        attributes : mapping
            For subscribers' filter policies; empty values are left out, since
            SNS refuses them.
        """
        self._client.publish(
            TopicArn=self._arn,
            Subject=subject,
            Message=body,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value}
                for name, value in attributes.items()
                if value
            },
        )
