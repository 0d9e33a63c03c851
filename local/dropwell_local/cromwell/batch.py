"""The emulated AWS Batch: which job may start, and the envelope of what became of each."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dropwell_local.cromwell.clock import milliseconds
from dropwell_local.cromwell.settings import Settings

_COMMAND = ["/bin/bash", "-c", "/var/scratch/fetch_and_run.sh"]
_ENDED = ("SUCCEEDED", "FAILED")


@dataclass
class Job:
    """One AWS Batch job; times are milliseconds since 1970."""

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

    @property
    def name(self) -> str:
        """The call's name, sanitised; no id, shard or attempt (aws/package.scala, line 35)."""
        return re.sub(r"[^A-Za-z0-9_-]", "_", self.fqn)[:128]

    @property
    def definition(self) -> str:
        """The definition's name; calls of like shape share it (AwsBatchJobDefinition.scala)."""
        shape = hashlib.sha1(self.image.encode(), usedforsecurity=False).hexdigest()
        return re.sub(r"[^A-Za-z0-9_-]", "_", f"cromwell_{self.image}_"[:88] + shape)


class Scheduler:
    """First come, first served vCPUs and memory, shared by every workflow of the server."""

    def __init__(self, vcpus: int, memory_mib: int) -> None:
        self._size = self._free = (vcpus, memory_mib)
        self._waiting: deque[tuple[Job, Callable[[], None]]] = deque()
        self._held: dict[str, tuple[int, int]] = {}

    def submit(self, job: Job, start: Callable[[], None]) -> None:
        """Queue a job; `start` is called when its turn has come, perhaps at once."""
        self._waiting.append((job, start))
        self._grant()

    def leave(self, job_id: str) -> None:
        """Take a job out, running or waiting."""
        self._waiting = deque(entry for entry in self._waiting if entry[0].id != job_id)
        held = self._held.pop(job_id, (0, 0))
        self._free = (self._free[0] + held[0], self._free[1] + held[1])
        self._grant()

    def _grant(self) -> None:
        while self._waiting:
            job, start = self._waiting[0]
            # A job larger than the machine runs alone rather than never.
            wanted = (min(job.vcpus, self._size[0]), min(job.memory_mib, self._size[1]))
            if wanted[0] > self._free[0] or wanted[1] > self._free[1]:
                return
            self._waiting.popleft()
            self._held[job.id] = wanted
            self._free = (self._free[0] - wanted[0], self._free[1] - wanted[1])
            start()


def envelope(job: Job, settings: Settings, *, at: float) -> dict[str, Any]:
    """Return the EventBridge envelope of a job's present state.

    Parameters
    ----------
    job : Job
        As it is now.
    at : float
        Seconds since 1970; the envelope's time has whole ones.
    """
    prefix = f"arn:aws:batch:{settings.region}:{settings.account}"
    arn = f"{prefix}:job/{job.id}"
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Batch Job State Change",
        "source": "aws.batch",
        "account": settings.account,
        "time": datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": settings.region,
        "resources": [arn],
        "detail": _without_nones(
            {
                "jobArn": arn,
                "jobName": job.name,
                "jobId": job.id,
                "jobQueue": settings.queue_arn,
                "status": job.status,
                "statusReason": job.status_reason or None,
                "attempts": _attempts(job),
                "createdAt": job.created_at,
                "startedAt": job.started_at,
                "stoppedAt": job.stopped_at,
                "retryStrategy": {"attempts": 1, "evaluateOnExit": []},
                "dependsOn": [],
                "jobDefinition": f"{prefix}:job-definition/{job.definition}:1",
                "parameters": {},
                "container": {"image": job.image, "command": _COMMAND, **_container(job)},
                "tags": {"resourceArn": arn, **(job.tags if settings.tags else {})},
                "propagateTags": settings.tags,
                "platformCapabilities": ["EC2"],
            }
        ),
    }


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


def _attempts(job: Job) -> list[dict[str, Any]]:
    """Return the attempts that have ended: one at most, as Cromwell asks for no Batch retries."""
    if job.status not in _ENDED or job.started_at is None:
        return []
    container = _without_nones(
        {
            "exitCode": job.exit_code,
            "reason": job.container_reason or None,
            "logStreamName": job.log_stream or None,
            "networkInterfaces": [],
        }
    )
    return [
        {
            "container": container,
            "startedAt": job.started_at,
            "stoppedAt": job.stopped_at,
            "statusReason": job.status_reason,
        }
    ]


def _without_nones(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
