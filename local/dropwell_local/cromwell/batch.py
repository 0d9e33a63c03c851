"""The emulated AWS Batch: what is known of each job, and how Batch tells it."""

from __future__ import annotations

import hashlib
import re
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from dropwell_local.cromwell.clock import milliseconds
from dropwell_local.cromwell.settings import Settings
from dropwell_local.cromwell.store import Store

_COMMAND = ["/bin/bash", "-c", "/var/scratch/fetch_and_run.sh"]
_ENDED = ("SUCCEEDED", "FAILED")


@dataclass
class Job:
    """One AWS Batch job; times are milliseconds since 1970.

    Parameters
    ----------
    retries : int
        How many attempts its retry strategy allows (``awsBatchRetryAttempts``).
    evaluate_on_exit : list of dict
        Which ends of an attempt its retry strategy tells apart (``awsBatchEvaluateOnExit``).
    timeout_s : int
        After how many seconds Batch ends an attempt; 0 is never (``jobTimeout``).
    past : list of dict
        The attempts before the present one, as Batch describes them.
    terminated : str
        Why somebody asked for its end by TerminateJob; empty if nobody did.
    root : str
        The run that it is of.
    call : tuple
        The call attempt that it is for: the workflow that holds it, name, shard, attempt.
    log_file : str
        Where the log of its last attempt is, until it is sent.
    seen : dict
        Of its end, what Batch does not see: ``rc`` and ``log``, as in `endings.Ending`, and
        whether it was the ``last`` attempt of its call.
    """

    id: str
    fqn: str
    image: str
    vcpus: int
    memory_mib: int
    script_url: str
    tags: dict[str, str]
    status: str = "SUBMITTED"
    created_at: int = field(default_factory=milliseconds)
    started_at: int | None = None
    stopped_at: int | None = None
    exit_code: int | None = None
    container_reason: str = ""
    status_reason: str = ""
    log_stream: str = ""
    retries: int = 1
    evaluate_on_exit: list[dict[str, str]] = field(default_factory=list)
    timeout_s: int = 0
    past: list[dict[str, Any]] = field(default_factory=list)
    terminated: str = ""
    root: str = ""
    call: tuple[str, str, int, int] = ("", "", -1, 1)
    log_file: str = ""
    seen: dict[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.status in _ENDED

    def try_again(self) -> None:
        """Put the attempt that has just ended behind it, and wait for a place once more."""
        self.past.append(_attempt(self))
        self.started_at = self.stopped_at = self.exit_code = None
        self.container_reason = self.log_stream = ""
        # Batch keeps saying why the last attempt ended only in `attempts`.
        self.status_reason = ""

    @property
    def name(self) -> str:
        """The call's name, sanitised; no id, shard or attempt (aws/package.scala, line 35)."""
        return re.sub(r"[^A-Za-z0-9_-]", "_", self.fqn)[:128]

    @property
    def definition(self) -> str:
        """The definition's name; calls of like shape share it (AwsBatchJobDefinition.scala)."""
        shape = hashlib.sha1(self.image.encode(), usedforsecurity=False).hexdigest()
        return re.sub(r"[^A-Za-z0-9_-]", "_", f"cromwell_{self.image}_"[:88] + shape)


class Records:
    """What Batch remembers of jobs: those that have ended, for a while only.

    Parameters
    ----------
    store : Store
        Keeps them over a restart.
    memory : float
        Seconds for which a job that has ended is known to those who ask Batch.
    clock : callable
        Seconds since 1970.
    """

    def __init__(self, store: Store, memory: float, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._memory = memory
        self._clock = clock

    def save(self, job: Job) -> None:
        """Record how a job is now; of its end it is unsaid until told otherwise."""
        self._store.save_job(job.id, job.root, asdict(job), unsaid=job.ended)

    def said(self, job_id: str) -> None:
        """Note that a job's end was told."""
        self._store.said(job_id)

    def get(self, job_id: str) -> Job | None:
        return next((job for job in self._jobs("id = ?", job_id) if not self._forgotten(job)), None)

    def __iter__(self) -> Iterator[Job]:
        return (job for job in self._jobs("true") if not self._forgotten(job))

    def known(self, job_id: str) -> Job | None:
        """Return a job, also one that Batch has forgotten."""
        return next(self._jobs("id = ?", job_id), None)

    def of(self, root: str) -> list[Job]:
        """Return all jobs of a run, also those that Batch has forgotten."""
        return list(self._jobs("root = ?", root))

    def open(self) -> list[Job]:
        """Return the jobs that have not ended."""
        return [job for job in self._jobs("true") if not job.ended]

    def unsaid(self) -> list[Job]:
        """Return the jobs whose end was not told before the server stopped."""
        return list(self._jobs("unsaid"))

    def _jobs(self, where: str, *values: str) -> Iterator[Job]:
        for facts in self._store.jobs(where, *values):
            workflow, fqn, shard, attempt = facts.pop("call")
            yield Job(**facts, call=(workflow, fqn, shard, attempt))

    def _forgotten(self, job: Job) -> bool:
        return job.ended and self._clock() - (job.stopped_at or 0) / 1000 >= self._memory


def arn_of(job: Job, settings: Settings) -> str:
    return f"arn:aws:batch:{settings.region}:{settings.account}:job/{job.id}"


def definition_of(job: Job, settings: Settings) -> str:
    prefix = f"arn:aws:batch:{settings.region}:{settings.account}"
    return f"{prefix}:job-definition/{job.definition}:1"


def envelope(job: Job, settings: Settings, *, at: float) -> dict[str, Any]:
    """Return the EventBridge envelope of a job's present state.

    Parameters
    ----------
    job : Job
        As it is now.
    at : float
        Seconds since 1970; the envelope's time has whole ones.
    """
    arn = arn_of(job, settings)
    detail = description(job, settings)
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Batch Job State Change",
        "source": "aws.batch",
        "account": settings.account,
        "time": datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": settings.region,
        "resources": [arn],
        "detail": {**detail, "tags": {"resourceArn": arn, **detail["tags"]}},
    }


def blocked_envelope(job: Job, settings: Settings, *, reason: str, at: float) -> dict[str, Any]:
    """Return the EventBridge envelope that calls the queue blocked for the job at its head.

    Parameters
    ----------
    reason : str
        Batch's own, ``CLASS:CODE - words``.
    """
    event = envelope(job, settings, at=at)
    return {
        **event,
        "detail-type": "Batch Job Queue Blocked",
        "resources": [*event["resources"], settings.queue_arn],
        "detail": {**event["detail"], "statusReason": reason},
    }


def description(job: Job, settings: Settings) -> dict[str, Any]:
    """Return what DescribeJobs says of a job's present state (API_JobDetail)."""
    return _without_nones(
        {
            "jobArn": arn_of(job, settings),
            "jobName": job.name,
            "jobId": job.id,
            "jobQueue": settings.queue_arn,
            "status": job.status,
            "statusReason": job.status_reason or None,
            "attempts": [*job.past, *_present_attempt(job)],
            "createdAt": job.created_at,
            "startedAt": job.started_at,
            "stoppedAt": job.stopped_at,
            "retryStrategy": {
                "attempts": max(1, job.retries),
                "evaluateOnExit": job.evaluate_on_exit,
            },
            "dependsOn": [],
            "jobDefinition": definition_of(job, settings),
            "parameters": {},
            "container": {"image": job.image, "command": _COMMAND, **_container(job)},
            "timeout": {"attemptDurationSeconds": job.timeout_s} if job.timeout_s else None,
            "tags": dict(job.tags) if settings.tags else {},
            "propagateTags": settings.tags,
            "platformCapabilities": ["EC2"],
            "isTerminated": True if job.terminated else None,
        }
    )


def summary(job: Job, settings: Settings) -> dict[str, Any]:
    """Return what ListJobs says of a job (API_JobSummary)."""
    container = {"exitCode": job.exit_code, "reason": job.container_reason or None}
    return _without_nones(
        {
            "jobArn": arn_of(job, settings),
            "jobId": job.id,
            "jobName": job.name,
            "jobDefinition": definition_of(job, settings),
            "createdAt": job.created_at,
            "startedAt": job.started_at,
            "stoppedAt": job.stopped_at,
            "status": job.status,
            "statusReason": job.status_reason or None,
            "container": _without_nones(container) or None,
        }
    )


def _container(job: Job) -> dict[str, Any]:
    return _without_nones(
        {
            "volumes": [],
            "environment": [
                {"name": "BATCH_FILE_TYPE", "value": "script"},
                {"name": "BATCH_FILE_S3_URL", "value": job.script_url},
            ],
            "mountPoints": [],
            "ulimits": [],
            "exitCode": job.exit_code,
            "reason": job.container_reason or None,
            "logStreamName": job.log_stream or None,
            "networkInterfaces": [],
            "resourceRequirements": [
                {"value": str(job.vcpus), "type": "VCPU"},
                {"value": str(job.memory_mib), "type": "MEMORY"},
            ],
            "secrets": [],
        }
    )


def _present_attempt(job: Job) -> list[dict[str, Any]]:
    """Return the present attempt once it has ended; a job that never had a machine has none."""
    return [_attempt(job)] if job.ended and (job.started_at or job.container_reason) else []


def _attempt(job: Job) -> dict[str, Any]:
    container = _without_nones(
        {
            "exitCode": job.exit_code,
            "reason": job.container_reason or None,
            "logStreamName": job.log_stream or None,
            "networkInterfaces": [],
        }
    )
    return _without_nones(
        {
            "container": container,
            "startedAt": job.started_at,
            "stoppedAt": job.stopped_at,
            "statusReason": job.status_reason,
        }
    )


def _without_nones(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
