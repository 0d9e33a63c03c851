"""The end of a Batch job's log stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient


_NOT_NOW = {"ResourceNotFoundException", "ThrottlingException"}


class LogGroup:
    """One CloudWatch log group."""

    def __init__(self, client: CloudWatchLogsClient, name: str) -> None:
        self._client = client
        self.name = name

    def tail(self, stream: str, lines: int) -> str:
        """Return a stream's last lines; empty if the stream is not there, or too many are asked.

        GetLogEvents allows about ten requests a second in an account, so this is
        asked only about a job that left nothing else to read. Where thousands are
        lost at once, Batch's reason must do: to wait for each one's log would hold
        up all that is to be told.
        """
        try:
            answer = self._client.get_log_events(
                logGroupName=self.name, logStreamName=stream, limit=lines, startFromHead=False
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in _NOT_NOW:
                return ""
            raise
        return "\n".join(event.get("message", "") for event in answer["events"])
