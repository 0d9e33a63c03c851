"""What Batch still knows of jobs when asked: the last way to find out whose a job is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from dropwell.aws.events import job_sighting_of_description
from dropwell.errors import TryAgain
from dropwell.jobs import Sighting

if TYPE_CHECKING:
    from mypy_boto3_batch import BatchClient

_LIMIT = 100


class Jobs:
    """AWS Batch's own records, kept for at least seven days after a job ended."""

    def __init__(self, client: BatchClient) -> None:
        self._client = client

    def describe(self, job_ids: Sequence[str]) -> dict[str, Sighting]:
        """Return what Batch says of those of the jobs that it still knows, by id.

        Raises
        ------
        TryAgain
            It does not say: throttled, away, or not for this role.
        """
        found: dict[str, Sighting] = {}
        for start in range(0, len(job_ids), _LIMIT):
            try:
                answer = self._client.describe_jobs(jobs=job_ids[start : start + _LIMIT])
            except (BotoCoreError, ClientError) as error:
                raise TryAgain(f"Batch does not describe jobs: {error}") from error
            for job in answer["jobs"]:
                found[job["jobId"]] = job_sighting_of_description(dict(job))
        return found
