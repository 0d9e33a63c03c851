"""What AWS Batch has told us about a job, and which of two sightings is the later one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class JobStatus(StrEnum):
    """AWS Batch job statuses, in the order a job passes through them."""

    SUBMITTED = "SUBMITTED"
    PENDING = "PENDING"
    RUNNABLE = "RUNNABLE"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    @property
    def terminal(self) -> bool:
        return self in (JobStatus.SUCCEEDED, JobStatus.FAILED)


_ORDER = {status: order for order, status in enumerate(JobStatus)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One AWS Batch job state change, reduced to what we act on.

    Parameters
    ----------
    job_id, job_name, queue : str
        The job's id (``parent:index`` for an array's child), name and queue ARN.
        The name never says which call it is.
    status : JobStatus
        What Batch says.
    attempts : int
        Attempts that have ended; Batch retries within one job.
    exit_code : int or None
        The container's. Not Cromwell's return code, and often absent.
    reason : str
        Batch's ``statusReason``, of the job or else of its last attempt.
    container_reason : str
        The container's own, such as ``OutOfMemoryError: Container killed ...``.
    log_stream : str
        In CloudWatch Logs; empty before the job has run.
    created_at, started_at, stopped_at : int or None
        Milliseconds since 1970, as Batch counts.
    vcpus : str
        As asked, ``"2"`` or ``"0.5"``; empty if unknown.
    memory_mib : int or None
        As asked, in MiB.
    image : str
        The container image.
    script_url : str
        ``BATCH_FILE_S3_URL`` of the container: Cromwell's script for the call.
    tags : tuple of (str, str)
        As far as the event carries them.
    """

    job_id: str
    status: JobStatus
    attempts: int = 0
    job_name: str = ""
    queue: str = ""
    exit_code: int | None = None
    reason: str = ""
    container_reason: str = ""
    log_stream: str = ""
    created_at: int | None = None
    started_at: int | None = None
    stopped_at: int | None = None
    vcpus: str = ""
    memory_mib: int | None = None
    image: str = ""
    script_url: str = ""
    tags: tuple[tuple[str, str], ...] = ()

    @property
    def rank(self) -> int:
        """How far the job had come: grows with every step, Batch's retries included.

        Order of meaning: terminal or not, attempts that have ended, status. As
        one whole number it can stand in a condition of a write.
        """
        return (self.status.terminal << 16) + (min(self.attempts, 999) << 4) + _ORDER[self.status]


def later(known: Sighting, heard: Sighting) -> Sighting:
    """Return whichever of two sightings of a job describes the later moment.

    Batch delivers events at least once and in any order, and stamps them to
    the second, so neither arrival order nor the clock can be trusted. A job
    only moves forward, though: from status to status within an attempt, from
    attempt to attempt, and at last to an end that nothing follows. Keeping the
    sighting that is furthest along gives the same answer for every order of
    delivery.

    Parameters
    ----------
    known : Sighting
        The sighting on record.
    heard : Sighting
        A sighting that has just arrived; it may be a duplicate or old news.

    Returns
    -------
    Sighting
        `known` when `heard` adds nothing, otherwise `heard`.

    Examples
    --------
    >>> starting = Sighting(job_id="j-1", status=JobStatus.STARTING)
    >>> running = Sighting(job_id="j-1", status=JobStatus.RUNNING)
    >>> later(running, starting) is running
    True

    A retry starts over, and still counts as later:

    >>> retrying = Sighting(job_id="j-1", status=JobStatus.RUNNABLE, attempts=1)
    >>> later(running, retrying) is retrying
    True
    """
    return heard if heard.rank > known.rank else known
