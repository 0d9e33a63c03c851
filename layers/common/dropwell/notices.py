"""What is to be said of a run or a drop, and how a machine reads it.

A notice is a fact that people or machines should hear of. `mails` says it to a
person, `event` to a machine; each further channel is a face of its own over the
same `Facts`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dropwell.causes import Cause
from dropwell.runs import State
from dropwell.summaries import CallSummary
from dropwell.text import (
    iso,
    one_line,
)


class Kind(StrEnum):
    """What a notice tells."""

    ACCEPTED = "accepted"
    FAILING = "failing"
    ENDED = "ended"
    REJECTED = "rejected"
    BLOCKED = "blocked"  # of a queue, not a run: see `blockages`


class Detail(StrEnum):
    """How much a channel may be told.

    MINIMAL: no log text, no inputs, no names of samples. STANDARD: the evidence
    and the last lines. FULL: more of them, for people who will look into it.
    """

    MINIMAL = "minimal"
    STANDARD = "standard"
    FULL = "full"


class Severity(StrEnum):
    """How bad it is, for filters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Calls that failed alike.

    Parameters
    ----------
    signature : str
        What they have in common.
    cause : Cause
        Why they failed.
    count : int
        How many calls.
    example : CallSummary
        One of them.
    shards : str
        Which ones, as people read it: ``shards 17, 203, 311``.
    """

    signature: str
    cause: Cause
    count: int
    example: CallSummary
    shards: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that a notice may say; what is unknown is left as it is, and not said.

    Parameters
    ----------
    kind : Kind
        What is told.
    notice_id : str
        The same however often the notice reaches the wire.
    run_id, name, project, workflow : str
        The run, its name, its project and the name of its WDL workflow.
    state : State
        The run's.
    at : int
        When it became true; like all times here, seconds since 1970, 0 if unknown.
    principal : str
        Who dropped it, in AWS's words.
    dropped_at, submitted_at, started_at, ended_at : int
        When.
    calls_done, calls_failed, calls_total, calls_cached : int or None
        How far it came.
    still_running : int
        Jobs that run on.
    groups : tuple of Group
        The failures, the most frequent first.
    failures : tuple of str
        Cromwell's own messages.
    findings : tuple of str
        What is wrong with a rejected drop, each as ``inputs.json:7  message``; nothing
        where it was to be checked only.
    warnings : tuple of str
        What else was noticed about a drop, in the same form.
    outputs : int or None
        How many values the workflow returned.
    outputs_bytes : int or None
        The size of their files.
    waiting : str
        Why an accepted run is not with Cromwell yet.
    run_folder, report : str
        ``s3://`` addresses.
    """

    kind: Kind
    notice_id: str
    run_id: str
    name: str
    project: str
    state: State
    at: int = 0
    workflow: str = ""
    principal: str = ""
    dropped_at: int = 0
    submitted_at: int = 0
    started_at: int = 0
    ended_at: int = 0
    calls_done: int | None = None
    calls_failed: int | None = None
    calls_total: int | None = None
    calls_cached: int | None = None
    still_running: int = 0
    groups: tuple[Group, ...] = ()
    failures: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    outputs: int | None = None
    outputs_bytes: int | None = None
    waiting: str = ""
    run_folder: str = ""
    report: str = ""

    @property
    def cause(self) -> Cause | None:
        """The cause to name first, `None` where nothing failed."""
        if self.state is State.SYSTEM_ERROR:
            return Cause.LOST_UPSTREAM
        if self.groups:
            return self.groups[0].cause
        if self.state is not State.EXECUTOR_ERROR and self.kind is not Kind.FAILING:
            return None
        alone = self.failures and not self.calls_failed
        return Cause.WORKFLOW_ERROR if alone else Cause.UNKNOWN

    @property
    def dropped_by(self) -> str:
        """The person or role in a principal such as ``AWS:AROA...:alice@lab.org``."""
        return one_line(self.principal.rpartition(":")[2].rpartition("/")[2], 60)

    @property
    def only_checked(self) -> bool:
        """Whether a drop was to be checked only, and nothing stands against running it."""
        return self.kind is Kind.REJECTED and not self.findings and not self.failures

    @property
    def severity(self) -> Severity:
        if self.only_checked:
            return Severity.INFO
        if self.kind is Kind.ACCEPTED:
            return Severity.WARNING if self.warnings else Severity.INFO
        if self.kind is Kind.ENDED and self.state in _GENTLE_ENDS:
            return _GENTLE_ENDS[self.state]
        return Severity.CRITICAL if self.state is State.SYSTEM_ERROR else Severity.ERROR


_GENTLE_ENDS = {State.COMPLETE: Severity.INFO, State.CANCELED: Severity.WARNING}


_DETAIL_TYPES = {
    Kind.ACCEPTED: "Run State Change",
    Kind.ENDED: "Run State Change",
    Kind.FAILING: "Run Failing",
    Kind.REJECTED: "Drop Rejected",
}
_CAUSES_IN_EVENT = 20


def event(facts: Facts) -> tuple[str, dict[str, Any]]:
    """Return a notice as a machine reads it: an event's detail type and detail.

    Its form is fixed by a JSON Schema a detail type (``schemas/``). It carries
    no log text, no inputs and nothing of what a task wrote.

    Returns
    -------
    detail_type : str
        ``Run State Change``, ``Run Failing`` or ``Drop Rejected``.
    detail : dict
        ``{"metadata": {...}, "data": {...}}``.
    """
    data: dict[str, Any] = {
        "run_id": facts.run_id,
        "name": one_line(facts.name) or facts.run_id,
        "project": one_line(facts.project) or "default",
        "workflow": one_line(facts.workflow),
        "state": facts.state.value,
        "severity": facts.severity.value,
        "dropped_by": facts.dropped_by,
        "dropped_at": iso(facts.dropped_at) if facts.dropped_at else None,
        "run_folder": facts.run_folder,
        "report": facts.report,
    }
    if facts.kind is Kind.REJECTED:
        data["problems"] = len(facts.findings)
    else:
        data |= {
            "submitted_at": iso(facts.submitted_at) if facts.submitted_at else None,
            "started_at": iso(facts.started_at) if facts.started_at else None,
            "ended_at": iso(facts.ended_at) if facts.ended_at else None,
            "calls": _calls(facts),
            "cause": facts.cause.value if facts.cause else None,
            "failures": [_group(group) for group in facts.groups[:_CAUSES_IN_EVENT]],
            "warnings": len(facts.warnings) or None,
        }
    metadata = {"version": "1", "id": facts.notice_id, "kind": facts.kind.value}
    if facts.at:
        metadata["time"] = iso(facts.at)
    known = {name: value for name, value in data.items() if value not in (None, "", [], {})}
    return _DETAIL_TYPES[facts.kind], {"metadata": metadata, "data": known}


def _calls(facts: Facts) -> dict[str, int]:
    counts = {
        "total": facts.calls_total,
        "done": facts.calls_done,
        "failed": facts.calls_failed,
        "cached": facts.calls_cached,
        "running": facts.still_running or None,
    }
    return {name: count for name, count in counts.items() if count is not None}


def _group(group: Group) -> dict[str, Any]:
    return {
        "signature": group.signature,
        "cause": group.cause.value,
        "confidence": group.example.confidence,
        "actor": group.example.actor.name,
        "count": group.count,
        "call": one_line(group.example.call_id.call),
    }


def attributes(facts: Facts) -> dict[str, str]:
    """Return the message attributes by which subscribers filter; empty ones left out.

    ``kind``, ``state``, ``severity``, ``cause``, ``workflow`` and ``project``.
    """
    values = {
        "kind": facts.kind.value,
        "state": facts.state.value,
        "severity": facts.severity.value,
        "cause": facts.cause.value if facts.cause else "",
        "workflow": one_line(facts.workflow),
        "project": one_line(facts.project),
    }
    return {name: value for name, value in values.items() if value}
