"""Why a call failed: causes, who acts on each, and the table of rules that tells them apart.

The rules are data (``causes.json``, schema beside it), read when first needed.
Their order is their meaning: the first that holds is the verdict. What AWS
Batch says stands above what the task says, for a task can write any text and
any return code; a return code that is missing is a symptom, and only a verdict
where nothing else speaks.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from typing import Any, Literal

from dropwell.text import clean, memory, one_line


class Cause(StrEnum):
    """The class of a failure."""

    TASK_ERROR = "TASK_ERROR"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    DISK_FULL = "DISK_FULL"
    SPOT_RECLAIMED = "SPOT_RECLAIMED"
    HOST_LOST = "HOST_LOST"
    IMAGE_PULL = "IMAGE_PULL"
    CONTAINER_START = "CONTAINER_START"
    LOCALISATION = "LOCALISATION"
    DELOCALISATION = "DELOCALISATION"
    MISSING_OUTPUT = "MISSING_OUTPUT"
    TIMEOUT = "TIMEOUT"
    ABORTED = "ABORTED"
    NO_RETURN_CODE = "NO_RETURN_CODE"
    WORKFLOW_ERROR = "WORKFLOW_ERROR"
    LOST_UPSTREAM = "LOST_UPSTREAM"
    UNKNOWN = "UNKNOWN"


class Actor(StrEnum):
    """Who can do something about it."""

    INPUT_AUTHOR = "author of the inputs"
    PIPELINE_AUTHOR = "pipeline author"
    PLATFORM = "platform team"
    AWS = "AWS (nothing to mend)"
    NOBODY = "nobody"


Confidence = Literal["sure", "likely", "guess"]
Voice = Literal["batch", "cromwell", "task", "absence"]
"""Whose word a verdict rests on; *absence*: only on something not being there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of a call that failed; whatever is unknown is left as it is.

    Parameters
    ----------
    return_code : int or None
        Cromwell's, from the rc file.
    rc_present : bool or None
        Whether there is an rc file; `None`: nobody has looked yet.
    exit_code : int or None
        The container's, as Batch has it.
    job_status : str
        Batch's; empty where there was no job.
    job_reason, container_reason : str
        Batch's ``statusReason`` and ``container.reason``.
    stderr, stdout, job_log : str
        The ends of the task's files and of the job's log in CloudWatch.
    memory_mib : int or None
        As asked.
    vcpus : str
        As asked.
    attempts : int
        Attempts that Batch made within the job.
    spot : bool or None
        Whether the job ran on spot capacity, if somebody knows.
    cromwell_message : str
        Cromwell's own, from the call's or the workflow's ``failures``.
    """

    return_code: int | None = None
    rc_present: bool | None = None
    exit_code: int | None = None
    job_status: str = ""
    job_reason: str = ""
    container_reason: str = ""
    stderr: str = ""
    stdout: str = ""
    job_log: str = ""
    memory_mib: int | None = None
    vcpus: str = ""
    attempts: int = 0
    spot: bool | None = None
    cromwell_message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Why a call failed, as far as the evidence goes.

    Parameters
    ----------
    cause : Cause
        The class of the failure.
    confidence : str
        ``sure``, ``likely`` or ``guess``.
    actor : Actor
        Who can do something about it.
    why : str
        One sentence whose subject is the call: ``asked 8 GB; ...``. It repeats
        nothing that the task wrote.
    evidence : tuple of str
        What the verdict rests on, each naming where it stood. What is quoted
        stands between double quotes.
    next_step : str
        What to do.
    rule : str
        The id of the rule that held.
    voice : str
        Whose word it rests on.
    """

    cause: Cause
    confidence: Confidence
    actor: Actor
    why: str
    evidence: tuple[str, ...]
    next_step: str
    rule: str
    voice: Voice


@dataclass(frozen=True, slots=True)
class Meaning:
    """What is the same for every failure of one cause."""

    title: str
    means: str
    actor: Actor
    next_step: str


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that a rule wants to see in any of some fields of the evidence."""

    where: tuple[str, ...]
    match: re.Pattern[str] | None = None
    values: frozenset[Any] = frozenset()
    negated: bool = False

    def sightings(self, evidence: Evidence) -> Iterator[Sighting]:
        """Yield what is found, field by field."""
        for field in self.where:
            value = getattr(evidence, field)
            if self.match is None:
                if (value in self.values) != self.negated:
                    yield Sighting(field, None)
            elif value and (found := self.match.search(value)):
                yield Sighting(field, found)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A field of the evidence, and what was found there."""

    field: str
    found: re.Match[str] | None


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table."""

    id: str
    cause: Cause
    confidence: Confidence
    voice: Voice
    why: tuple[str, ...]
    actor: Actor
    next_step: str
    all_of: tuple[Condition, ...] = ()
    any_of: tuple[Condition, ...] = ()
    none_of: tuple[Condition, ...] = ()

    def seen_in(self, evidence: Evidence) -> list[Sighting] | None:
        """Return what makes the rule hold, `None` if it does not."""
        seen: list[Sighting] = []
        for condition in self.all_of:
            if (first := next(condition.sightings(evidence), None)) is None:
                return None
            seen.append(first)
        if any(next(condition.sightings(evidence), None) for condition in self.none_of):
            return None
        if self.any_of:
            found = [s for condition in self.any_of for s in condition.sightings(evidence)]
            if not found:
                return None
            seen += found
        return seen


@dataclass(frozen=True, slots=True)
class Table:
    """The rules in their order, and what each cause means."""

    meanings: Mapping[Cause, Meaning]
    rules: tuple[Rule, ...]

    def standing(self, rule: str) -> int:
        """Return a rule's place in the order; one that is not in the table stands last."""
        return next((n for n, known in enumerate(self.rules) if known.id == rule), len(self.rules))


def read_table(text: str) -> Table:
    """Return the table that a JSON document of ``causes.schema.json`` holds."""
    document = json.loads(text)
    meanings = {
        Cause(name): Meaning(row["title"], row["means"], Actor(row["actor"]), row["next"])
        for name, row in document["causes"].items()
    }
    return Table(meanings, tuple(_rule(row, meanings) for row in document["rules"]))


@cache
def table() -> Table:
    """Return the table that this release carries."""
    from importlib.resources import files

    return read_table((files("dropwell") / "causes.json").read_text("utf-8"))


def _rule(row: Mapping[str, Any], meanings: Mapping[Cause, Meaning]) -> Rule:
    meaning = meanings[Cause(row["cause"])]
    return Rule(
        id=row["id"],
        cause=Cause(row["cause"]),
        confidence=row["confidence"],
        voice=row["voice"],
        why=tuple(row["why"]),
        actor=Actor(row["actor"]) if "actor" in row else meaning.actor,
        next_step=row.get("next", meaning.next_step),
        all_of=_conditions(row.get("all_of", ())),
        any_of=_conditions(row.get("any_of", ())),
        none_of=_conditions(row.get("none_of", ())),
    )


def _conditions(rows: Sequence[Mapping[str, Any]]) -> tuple[Condition, ...]:
    return tuple(
        Condition(
            where=tuple(row["where"]),
            match=re.compile(row["match"], re.MULTILINE) if "match" in row else None,
            values=frozenset(row.get("is", row.get("is_not", ()))),
            negated="is_not" in row,
        )
        for row in rows
    )


_TASK_TEXTS = ("stderr", "stdout", "job_log")
_READ_OF_LOG = 1 << 16
_READ_OF_REASON = 1 << 12
_CITED = 160  # characters

_SIGNALS = {
    129: "SIGHUP",
    130: "SIGINT",
    131: "SIGQUIT",
    132: "SIGILL",
    133: "SIGTRAP",
    134: "SIGABRT",
    135: "SIGBUS",
    136: "SIGFPE",
    137: "SIGKILL",
    139: "SIGSEGV",
    141: "SIGPIPE",
    143: "SIGTERM",
    152: "SIGXCPU",
    153: "SIGXFSZ",
}
"""A shell's return code of a process that a signal ended: 128 and Linux's number."""


def judge(evidence: Evidence, rules: Sequence[Rule] | None = None) -> Verdict:
    """Return why a call failed: the verdict of the first rule that holds.

    Parameters
    ----------
    evidence : Evidence
        Whatever is known by now. Of long texts only the end is read.
    rules : sequence of Rule, optional
        In their order; the table that this release carries if left out.

    Returns
    -------
    Verdict
        With cause ``UNKNOWN`` where no rule holds.

    Examples
    --------
    >>> verdict = judge(Evidence(
    ...     job_status="FAILED", exit_code=137, rc_present=False, memory_mib=8192,
    ...     container_reason="OutOfMemoryError: Container killed due to memory usage"))
    >>> verdict.why
    'asked 8 GB; its container was killed at the limit'
    >>> verdict.evidence
    ('Batch "OutOfMemoryError"', 'exit code 137', 'no rc file written')
    """
    evidence = _legible(evidence)
    for rule in table().rules if rules is None else rules:
        if (seen := rule.seen_in(evidence)) is not None:
            return _verdict(rule, seen, evidence)
    meaning = table().meanings[Cause.UNKNOWN]
    return Verdict(
        cause=Cause.UNKNOWN,
        confidence="guess",
        actor=meaning.actor,
        why="failed, and nothing that was found says why",
        evidence=_numbers(evidence),
        next_step=meaning.next_step,
        rule="",
        voice="absence",
    )


def _legible(evidence: Evidence) -> Evidence:
    """Return the evidence with its texts cleaned, and cut to the end that is read."""
    return replace(
        evidence,
        job_reason=clean(evidence.job_reason[:_READ_OF_REASON]),
        container_reason=clean(evidence.container_reason[:_READ_OF_REASON]),
        cromwell_message=clean(evidence.cromwell_message[:_READ_OF_REASON]),
        stderr=clean(evidence.stderr[-_READ_OF_LOG:]),
        stdout=clean(evidence.stdout[-_READ_OF_LOG:]),
        job_log=clean(evidence.job_log[-_READ_OF_LOG:]),
    )


def _verdict(rule: Rule, seen: Sequence[Sighting], evidence: Evidence) -> Verdict:
    known = _facts(evidence)
    for sighting in seen:
        if sighting.found:
            known |= {
                name: one_line(text, 60)
                for name, text in sighting.found.groupdict().items()
                if text
            }
    cited = [_cited(sighting, evidence) for sighting in seen]
    return Verdict(
        cause=rule.cause,
        confidence=rule.confidence,
        actor=rule.actor,
        why=_filled(rule.why, known),
        evidence=tuple(dict.fromkeys([text for text in cited if text] + [*_numbers(evidence)])),
        next_step=_filled(rule.next_step.split(" || "), known),
        rule=rule.id,
        voice=rule.voice,
    )


def _facts(evidence: Evidence) -> dict[str, str]:
    """Return what a rule's sentences may name, as far as it is known."""
    code = evidence.return_code if evidence.return_code is not None else evidence.exit_code
    facts = {
        "memory": memory(evidence.memory_mib) if evidence.memory_mib else None,
        "more_memory": memory(2 * evidence.memory_mib) if evidence.memory_mib else None,
        "return_code": evidence.return_code,
        "exit_code": evidence.exit_code,
        "signal": _SIGNALS.get(code) if code is not None else None,
        "attempts": evidence.attempts if evidence.attempts > 1 else None,
    }
    return {name: str(value) for name, value in facts.items() if value is not None}


def _filled(sentences: Sequence[str], known: Mapping[str, str]) -> str:
    """Return the first sentence all of whose facts are known, else the last with gaps."""
    for sentence in sentences:
        try:
            return sentence.format_map(known)
        except KeyError:
            continue
    return sentences[-1].format_map(defaultdict(lambda: "?", known))


def _numbers(evidence: Evidence) -> tuple[str, ...]:
    """Return the codes, which always belong to the evidence where they are known."""
    return tuple(
        text
        for text in (
            _code("return code", evidence.return_code),
            _code("exit code", evidence.exit_code)
            if evidence.exit_code != evidence.return_code
            else "",
            "no rc file written" if evidence.rc_present is False else "",
        )
        if text
    )


def _code(name: str, value: int | None) -> str:
    if value is None:
        return ""
    signal = _SIGNALS.get(value)
    return f"{name} {value} ({signal})" if signal and value != 137 else f"{name} {value}"


def _cited(sighting: Sighting, evidence: Evidence) -> str:
    """Return what was found, quoted, with the place where it stood; codes are told elsewhere."""
    if sighting.found is None:
        return ""
    text = sighting.found.string
    if sighting.field not in _TASK_TEXTS:
        speaker = "Cromwell" if sighting.field == "cromwell_message" else "Batch"
        return f'{speaker} "{one_line(sighting.found[0], _CITED)}"'
    begin = text.rfind("\n", 0, sighting.found.start()) + 1
    end = text.find("\n", sighting.found.end())
    line = text[begin:end] if end >= 0 else text[begin:]
    after = 0 if end < 0 else len(text[end:].strip().split("\n")) if text[end:].strip() else 0
    place = "last line" if after == 0 else f"line {after + 1} from the end"
    name = sighting.field.replace("_", " ")
    return f'{name}, {place}: "{_around(line, sighting.found.end() - begin)}"'


def _around(line: str, end: int) -> str:
    """Return a line, cut to what is found at its beginning, or to what ends where the find does."""
    if end <= _CITED or len(line) <= _CITED:
        return one_line(line, _CITED)
    return one_line(f"…{line[end - _CITED + 1 : end]}", _CITED)
