"""What is kept and told of one call that ended badly: its verdict, and where to look further."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from dropwell.calls import CallId
from dropwell.causes import Actor, Cause, Confidence, Evidence, Rule, Voice, judge, table
from dropwell.signatures import signature
from dropwell.text import tail

TAIL_LINES = 40
"""As many lines as the fullest notice shows."""

TAIL_WIDTH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSummary:
    """One call that ended badly.

    Parameters
    ----------
    run_id : str
        The run it belongs to.
    call_id : CallId
        The call.
    cause, confidence, actor, why, evidence, next_step, rule, voice
        The verdict (`causes.Verdict`).
    signature : str
        The fingerprint that groups like failures.
    tail : tuple of str
        The last lines that the task wrote, cleaned and redacted.
    tail_of : str
        Where they come from: ``stderr``, ``the job's log`` or ``stdout``.
    return_code, exit_code : int or None
        Cromwell's and the container's.
    rc_url, stderr_url, stdout_url : str
        ``s3://`` addresses; empty where unknown.
    job_id, log_group, log_stream : str
        The Batch job and its log in CloudWatch; empty where unknown.
    cached : bool
        The call's result was copied from a former run; nothing was executed.
    """

    run_id: str
    call_id: CallId
    cause: Cause
    confidence: Confidence
    actor: Actor
    why: str
    evidence: tuple[str, ...]
    next_step: str
    rule: str
    voice: Voice
    signature: str
    tail: tuple[str, ...] = ()
    tail_of: str = ""
    return_code: int | None = None
    exit_code: int | None = None
    rc_url: str = ""
    stderr_url: str = ""
    stdout_url: str = ""
    job_id: str = ""
    log_group: str = ""
    log_stream: str = ""
    cached: bool = False

    def to_json(self) -> str:
        """Return the document that lies in the run's folder."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> CallSummary:
        """Read back what `to_json` wrote; what a later release added is left out.

        Raises
        ------
        ValueError, KeyError, TypeError
            It is no such document.
        """
        return cls.from_dict(json.loads(text))

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> CallSummary:
        """Return the summary that a parsed document holds."""
        known = {name: value for name, value in document.items() if name in cls.__slots__}
        cause, actor = document["cause"], document["actor"]
        return cls(
            **known
            | {
                "call_id": CallId(**document["call_id"]),
                "cause": Cause(cause) if cause in set(Cause) else Cause.UNKNOWN,
                "actor": Actor(actor) if actor in set(Actor) else Actor.PLATFORM,
                "evidence": tuple(document["evidence"]),
                "tail": tuple(document["tail"]),
            }
        )


def summarise(
    call_id: CallId,
    evidence: Evidence,
    *,
    run_id: str,
    rc_url: str = "",
    stderr_url: str = "",
    stdout_url: str = "",
    job_id: str = "",
    log_group: str = "",
    log_stream: str = "",
    cached: bool = False,
    rules: Sequence[Rule] | None = None,
) -> CallSummary:
    """Return what is to be kept and told of a call, from the evidence at hand.

    The tail is the end of stderr, else of the job's log, else of stdout: the
    first of them that says anything.

    Examples
    --------
    >>> evidence = Evidence(return_code=2, rc_present=True, stderr="no reads\\n")
    >>> summary = summarise(CallId("6f2c", "align", 3), evidence, run_id="6f2c")
    >>> summary.call_id.label, summary.why, summary.tail
    ('align shard 3', 'ended with return code 2', ('no reads',))
    """
    verdict = judge(evidence, rules)
    lines, source = _last_words(evidence)
    return CallSummary(
        run_id=run_id,
        call_id=call_id,
        cause=verdict.cause,
        confidence=verdict.confidence,
        actor=verdict.actor,
        why=verdict.why,
        evidence=verdict.evidence,
        next_step=verdict.next_step,
        rule=verdict.rule,
        voice=verdict.voice,
        signature=signature(verdict.cause, call_id.call, "\n".join(lines)),
        tail=tuple(lines),
        tail_of=source,
        return_code=evidence.return_code,
        exit_code=evidence.exit_code,
        rc_url=rc_url,
        stderr_url=stderr_url,
        stdout_url=stdout_url,
        job_id=job_id,
        log_group=log_group,
        log_stream=log_stream,
        cached=cached,
    )


_SOURCES = ("stderr", "the job's log", "stdout")
_MILESTONE = re.compile(
    r"^(?:\*\*\* (?:LOCALIZING INPUTS|DELOCALIZING OUTPUTS|COMPLETED (?:DE)?LOCALIZATION) \*\*\*"
    r"|DELOCALIZATION RESULT: \d+|\*\*\* EXITING WITH RETURN CODE \*\*\*\n\d+)(?:\n|\Z)",
    re.MULTILINE,
)
"""What Cromwell's script says as it goes on; it tells nobody why a call failed."""


def _last_words(evidence: Evidence) -> tuple[list[str], str]:
    texts = (evidence.stderr, evidence.job_log, evidence.stdout)
    for source, text in zip(_SOURCES, texts, strict=True):
        if lines := tail(_MILESTONE.sub("", text), TAIL_LINES, TAIL_WIDTH):
            return lines, source
    return [], ""


def better(known: CallSummary, heard: CallSummary) -> CallSummary:
    """Return the best that two summaries of one call make together.

    A call may be summarised when its rc file arrives, again when Batch says
    that its job failed, and again because an event came twice. The verdict is
    taken whole from one of the two: one that rests on Batch's or Cromwell's
    word before one that rests on the task's, one that knows the return code
    before one that does not, then by the order of the rules. Everything else
    is taken from whichever has it. So it does not matter in which order they
    come, or how often.

    Parameters
    ----------
    known, heard : CallSummary
        Of the same call.
    """
    first, second = sorted((known, heard), key=_standing)
    best_tail = min(first, second, key=_tail_standing)
    return replace(
        first,
        tail=best_tail.tail,
        tail_of=best_tail.tail_of,
        return_code=_greater(first.return_code, second.return_code),
        exit_code=_greater(first.exit_code, second.exit_code),
        rc_url=max(first.rc_url, second.rc_url),
        stderr_url=max(first.stderr_url, second.stderr_url),
        stdout_url=max(first.stdout_url, second.stdout_url),
        job_id=max(first.job_id, second.job_id),
        log_group=max(first.log_group, second.log_group),
        log_stream=max(first.log_stream, second.log_stream),
        cached=first.cached or second.cached,
    )


def _standing(summary: CallSummary) -> tuple[Any, ...]:
    """Return a key of the verdict alone, best first: what `better` fills in must not change it."""
    word = {"batch": 0, "cromwell": 0, "task": 1, "absence": 2}[summary.voice]
    code_known = any(text.startswith("return code ") for text in summary.evidence)
    return (
        word,
        not code_known if word else False,
        table().standing(summary.rule),
        -len(summary.evidence),
        summary.evidence,
        summary.why,
        # One made before the log was there says nothing of what the task said.
        summary.signature == signature(summary.cause, summary.call_id.call, ""),
        summary.signature,
    )


def _tail_standing(summary: CallSummary) -> tuple[Any, ...]:
    place = _SOURCES.index(summary.tail_of) if summary.tail_of in _SOURCES else len(_SOURCES)
    return (place, -len(summary.tail), summary.tail)


def _greater(one: int | None, other: int | None) -> int | None:
    return max((code for code in (one, other) if code is not None), default=None)
