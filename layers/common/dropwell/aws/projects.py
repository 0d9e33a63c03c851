"""The operator's file of projects as it lies in the inbox bucket, looked at once a minute at most.

What was read once costs a question without a body from then on (its ETag goes along),
and where there is no file that is all it ever costs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from dropwell.errors import ProjectsUnreadable
from dropwell.projects import MOST_BYTES, PROJECTS_FILE, Projects, no_projects, read_projects

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REMEMBERED_SECONDS = 60
"""How long what was read counts, the news that it is broken too."""

_NOT_THERE = {"NoSuchKey", "404"}
_UNCHANGED = {"304", "NotModified"}


class ProjectsFile:
    """What the file says, when asked.

    Parameters
    ----------
    client : S3 client
    bucket : str
        The inbox bucket.
    workflow_bucket : str
        Where projects have their roots.
    when_broken : callable
        Told at each look why the file cannot be used.
    clock : callable
        Seconds since some time.
    """

    def __init__(
        self,
        client: S3Client,
        bucket: str,
        *,
        workflow_bucket: str,
        when_broken: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._workflow_bucket = workflow_bucket
        self._when_broken = when_broken
        self._clock = clock
        self._again = float("-inf")
        self._etag = ""
        self._projects = no_projects()
        self._why = ""

    def __call__(self) -> Projects:
        """Return what the operator sets for each project.

        Raises
        ------
        ProjectsUnreadable
            There is a file, or may be, and it cannot be used. What it said before
            does not count: a function that was just started does not know that, and
            runs would differ by which one takes them.
        """
        if self._clock() >= self._again:
            self._look()
            self._again = self._clock() + REMEMBERED_SECONDS
        if self._why:
            raise ProjectsUnreadable(self._why)
        return self._projects

    def _look(self) -> None:
        try:
            self._read()
        except ProjectsUnreadable as problem:
            self._why = str(problem)
        except (ClientError, BotoCoreError) as error:
            self._etag, self._why = "", f"{PROJECTS_FILE} could not be read: {_reason(error)}"
        if self._why:
            self._when_broken(self._why)

    def _read(self) -> None:
        """Take what is there now; where nothing changed, all stays as it was."""
        unless = {"IfNoneMatch": self._etag} if self._etag else {}
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=PROJECTS_FILE, **unless)  # type: ignore[arg-type]
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _UNCHANGED:
                return
            if code not in _NOT_THERE:
                raise
            self._etag, self._why, self._projects = "", "", no_projects()
            return
        with answer["Body"] as body:
            data: bytes = body.read(MOST_BYTES + 1)
        self._etag = answer["ETag"]
        self._projects = read_projects(data, workflow_bucket=self._workflow_bucket)
        self._why = ""


def _reason(error: ClientError | BotoCoreError) -> str:
    if isinstance(error, ClientError):
        return error.response["Error"]["Code"]
    return type(error).__name__
