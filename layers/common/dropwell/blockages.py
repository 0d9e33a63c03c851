"""Queues that Batch calls blocked: why, who can do something about it, and how long it may last.

Batch says so of each job that stands at the head of a queue and cannot start,
again and again. People are told once for each queue, reason and window of time.
The reasons are those of the AWS Batch user guide, *Jobs stuck in a RUNNABLE
status*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from dropwell.causes import Actor
from dropwell.notices import Kind, Severity
from dropwell.records import NEW, NOTICE, NOTICE_GRACE, Put
from dropwell.runs import Due
from dropwell.text import iso, one_line

WINDOW = 6 * 3600
"""Seconds for which one notice of a queue and reason is enough."""

QUEUE = "QUEUE#"
_DETAIL = 300


class Meaning(NamedTuple):
    """What a reason comes to, as people read it; the page of notices shows all of it."""

    title: str
    why: str
    next_step: str
    lasts: str
    severity: Severity


_CAPACITY = Meaning(
    "no machines to be had",
    "AWS has no machines of the wanted types to give at present",
    "wait, or let the compute environment take more instance types and zones,"
    " or on-demand ones beside spot",
    "Minutes to hours, as a rule; it ends by itself once AWS has machines.",
    Severity.WARNING,
)
_MISCONFIGURED = Meaning(
    "set up wrongly",
    "the queue or its compute environment is set up in a way that lets the job never start",
    "correct what Batch names",
    "Until somebody acts: it does not end by itself.",
    Severity.ERROR,
)
_UNDETERMINED = Meaning(
    "reason unknown",
    "Batch could not find out why the job does not start",
    "look at the compute environment: is it valid and enabled, do its machines join, and do"
    " network and roles let them",
    "Unknown.",
    Severity.WARNING,
)
_MEANINGS = {
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE": _MISCONFIGURED._replace(
        title="job larger than the environment",
        why="the job asks more vCPUs than the compute environment may have at all",
        next_step="raise the environment's maximum of vCPUs, or have the pipeline author ask less"
        " and abort the run",
    ),
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT": _MISCONFIGURED._replace(
        title="no machine large enough",
        why="none of the environment's instance types has the vCPUs and memory that the job asks",
        next_step="allow a larger instance type, or have the pipeline author ask less and abort"
        " the run",
    ),
}
_CLASSES = {"CAPACITY": _CAPACITY, "MISCONFIGURATION": _MISCONFIGURED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Blockage:
    """A queue that Batch calls blocked.

    Parameters
    ----------
    queue : str
        Its name or ARN.
    reason : str
        Batch's own: ``CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot …``.
    at : int
        When Batch said so, in seconds since 1970; 0 if it did not say.
    job_name, vcpus, memory_mib, run_id
        The job at its head: what it is called, what it asks, whose it is.
    """

    queue: str
    reason: str
    at: int = 0
    job_name: str = ""
    vcpus: str = ""
    memory_mib: int | None = None
    run_id: str = ""

    @property
    def kind(self) -> Kind:
        return Kind.BLOCKED

    @property
    def queue_name(self) -> str:
        """The queue's name, without what its ARN says of account and region."""
        return self.queue.rpartition("/")[2]

    @property
    def code(self) -> str:
        """The part of the reason that is the same each time.

        >>> Blockage(queue="q", reason="CAPACITY:NONE - not one [r6i]").code
        'CAPACITY:NONE'
        """
        return self.reason.partition(" - ")[0].strip()[:120] or "UNDETERMINED"

    @property
    def words(self) -> str:
        """What Batch says beyond the code."""
        return self.reason.partition(" - ")[2].strip()

    @property
    def meaning(self) -> Meaning:
        known = _CLASSES.get(self.code.partition(":")[0], _UNDETERMINED)
        return _MEANINGS.get(self.code, known)

    @property
    def severity(self) -> Severity:
        return self.meaning.severity

    @property
    def actor(self) -> Actor:
        return Actor.PLATFORM

    @property
    def notice_id(self) -> str:
        """The same for whatever Batch says of one queue, reason and window, in any order.

        >>> one = Blockage(queue="arn:aws:batch:eu-west-1:1:job-queue/q", reason="CAPACITY:X", at=9)
        >>> one.notice_id
        'q/blocked/CAPACITY:X/1970-01-01T00Z'
        """
        return f"{self.queue_name}/blocked/{self.code}/{_window(self.at)}"


def put_blocked(seen: Blockage, now: int) -> Put:
    """Return the write that says once a window that a queue is blocked.

    Windows lie fixed in time, by when Batch spoke: so it does not matter which
    of many events comes first, or how often. A queue that is blocked across the
    border of two is told of in both.

    Parameters
    ----------
    seen : Blockage
        What Batch said.
    now : int
        Seconds since 1970.
    """
    seen = replace(seen, at=seen.at or now)
    item = {
        "pk": f"{QUEUE}{seen.queue_name}",
        "sk": f"{NOTICE}{Kind.BLOCKED.value}#{seen.code}#{_window(seen.at)}",
        "notice_id": seen.notice_id,
        "at": seen.at,
        "rev": 1,
        "due_kind": Due.NOTICE.value,
        "due_at": now + NOTICE_GRACE,
        "queue": seen.queue,
        "reason": seen.reason[:_DETAIL],
        "job_name": seen.job_name[:_DETAIL],
        "vcpus": seen.vcpus,
        "memory_mib": seen.memory_mib,
        "run_id": seen.run_id,
    }
    return Put({name: value for name, value in item.items() if value not in ("", None)}, NEW)


def blockage_of(item: Mapping[str, Any]) -> Blockage:
    """Return what the item of such a notice tells."""
    return Blockage(
        queue=item["queue"],
        reason=item.get("reason", ""),
        at=item["at"],
        job_name=item.get("job_name", ""),
        vcpus=item.get("vcpus", ""),
        memory_mib=item.get("memory_mib"),
        run_id=item.get("run_id", ""),
    )


def blocked_event(seen: Blockage) -> tuple[str, dict[str, Any]]:
    """Return the notice as a machine reads it; its form is fixed by ``schemas/queue-blocked.json``.

    Returns
    -------
    detail_type : str
    detail : dict
        ``{"metadata": {...}, "data": {...}}``, as of every notice.
    """
    data = {
        "queue": one_line(seen.queue_name),
        "queue_arn": one_line(seen.queue) if seen.queue != seen.queue_name else "",
        "reason": one_line(seen.code),
        "severity": seen.severity.value,
        "actor": seen.actor.name,
        "window_hours": WINDOW // 3600,
        "job_name": one_line(seen.job_name),
        "run_id": one_line(seen.run_id, 64),
    }
    metadata = {
        "version": "1",
        "id": seen.notice_id,
        "kind": seen.kind.value,
        "time": iso(seen.at),
    }
    return "Queue Blocked", {
        "metadata": metadata,
        "data": {name: value for name, value in data.items() if value},
    }


def blocked_attributes(seen: Blockage) -> dict[str, str]:
    """Return the message attributes by which subscribers filter: kind, severity and queue."""
    return {
        "kind": seen.kind.value,
        "severity": seen.severity.value,
        "queue": one_line(seen.queue_name),
    }


def _window(at: int) -> str:
    return iso(at - at % WINDOW)[:13] + "Z"
