"""How a notice reads as a mail: a subject for a locked phone, a body that fits a small screen."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from dropwell.blockages import WINDOW, Blockage
from dropwell.causes import Cause, Evidence, judge, table
from dropwell.notices import Detail, Facts, Group, Kind
from dropwell.runs import State
from dropwell.summaries import CallSummary
from dropwell.text import (
    ascii_subject,
    ascii_text,
    clean,
    clock,
    duration,
    hushed,
    memory,
    one_line,
    plural,
    shorten,
    size,
)


class Mail(NamedTuple):
    """A plain-text mail."""

    subject: str
    body: str


_WIDTH = 72
_CAUSES_SHOWN = {Detail.MINIMAL: 3, Detail.STANDARD: 3, Detail.FULL: 5}
_TAIL_SHOWN = {Detail.MINIMAL: 0, Detail.STANDARD: 8, Detail.FULL: 40}
_FINDINGS_SHOWN = {Detail.MINIMAL: 10, Detail.STANDARD: 20, Detail.FULL: 100}
_MESSAGES_SHOWN = {Detail.MINIMAL: 0, Detail.STANDARD: 3, Detail.FULL: 10}


def mail(facts: Facts, detail: Detail) -> Mail:
    """Return a notice as a person reads it.

    The subject is ASCII, shorter than 100 characters, and says no more than
    `Detail.MINIMAL` allows whatever `detail` is, for it shows on locked phones
    and in logs of mail servers.

    Parameters
    ----------
    facts : Facts
        What may be said.
    detail : Detail
        How much of it this channel may be told.
    """
    body = _BODIES[facts.kind](facts, detail)
    return Mail(ascii_subject(_subject(facts)), "\n".join(body) + "\n")


def blocked_mail(seen: Blockage, detail: Detail) -> Mail:
    """Return the notice of a blocked queue as a person reads it.

    Parameters
    ----------
    seen : Blockage
        What Batch said.
    detail : Detail
        How much of it this channel may be told.
    """
    meaning = seen.meaning
    queue = _ascii_name(seen.queue_name) or "a queue"
    says = f"Batch says: {seen.code}"
    if seen.words and detail is not Detail.MINIMAL:
        says += f', "{hushed(one_line(seen.words, 300))}"'
    opening = (
        f"At {clock(seen.at)}, Batch called its queue {queue} blocked: the job at its head cannot"
        " start, and those behind it wait. What runs goes on; nothing has failed by this."
    )
    hours = f"Said at most once in {WINDOW // 3600} hours for this queue and reason."
    body = [
        _wrapped(opening),
        "",
        _wrapped(f"Why: {meaning.why}"),
        _wrapped(says),
        *([_wrapped(head)] if (head := _head_of_queue(seen)) else []),
        _wrapped(f"Who acts: {seen.actor}. Next: {meaning.next_step}"),
        _wrapped(f"How long: {meaning.lasts[0].lower()}{meaning.lasts[1:]}"),
        "",
        *([f"Run: {one_line(seen.run_id, 64)}"] if seen.run_id else []),
        _wrapped(hours),
    ]
    subject = f"[batch] Queue blocked: {shorten(queue, 36)}, {meaning.title}"
    return Mail(ascii_subject(subject), "\n".join(body) + "\n")


def _head_of_queue(seen: Blockage) -> str:
    asks = [
        *([f"{one_line(seen.vcpus, 12)} vCPU"] if seen.vcpus else []),
        *([memory(seen.memory_mib)] if seen.memory_mib else []),
    ]
    if not seen.job_name:
        return ""
    name = one_line(seen.job_name, 80)
    return f"At its head: {name}" + (f", which asks {' and '.join(asks)}" if asks else "")


def _subject(facts: Facts) -> str:
    return f"[{shorten(_ascii_name(facts.project) or 'default', 30)}] {_headline(facts)}"


def _headline(facts: Facts) -> str:
    name = shorten(_ascii_name(facts.name) or f"run {facts.run_id[:8]}", 36)
    match facts.kind, facts.state:
        case Kind.ACCEPTED, _:
            return f"Accepted: {name}"
        case Kind.REJECTED, _:
            return f"Not started: {name}, {_problems(facts)}"
        case Kind.FAILING, _:
            return f"Failing: {name}, {_what_failed(facts)}"
        case _, State.COMPLETE:
            return f"Complete: {name}"
        case _, State.CANCELED:
            return f"Canceled: {name}"
        case _, State.SYSTEM_ERROR:
            return f"LOST: {name}, {table().meanings[Cause.LOST_UPSTREAM].title}"
        case _:
            return f"FAILED: {name}, {_what_failed(facts)}"


def _ascii_name(name: str) -> str:
    """Return a name in ASCII, empty if that leaves nothing to know it by."""
    plain = ascii_text(one_line(name))
    return plain if any(character.isalnum() for character in plain) else ""


def _what_failed(facts: Facts) -> str:
    title = table().meanings[facts.cause or Cause.UNKNOWN].title
    if not facts.groups:
        return title
    more = len(facts.groups) - 1
    where = shorten(one_line(facts.groups[0].example.call_id.call), 30)
    return f"{title} in {where}" + (f" and {plural(more, 'more cause')}" if more else "")


# What wrong place a finding names, by how its file is called.
_PLACES = (("inputs", "inputs"), ("options", "options"), ("labels", "labels"))


def _problems(facts: Facts) -> str:
    places = {_place(finding) for finding in facts.findings}
    where = f" in {places.pop()}" if len(places) == 1 else ""
    if facts.only_checked:
        return "only checked"
    return plural(len(facts.findings), "problem") + where if facts.findings else "refused"


def _place(finding: str) -> str:
    file = _parted(finding)[0].rpartition("/")[2].lower()
    for begin, place in _PLACES:
        if file.startswith(begin):
            return place
    return "the WDL" if ".wdl" in file else "the bundle"


_FINDING = re.compile(
    r"(?P<where>\S{1,300}|[^\n]{1,300}?\.\w{1,8}(?::\d{1,9}){0,2})  (?P<message>\S)"
)


def _parted(finding: str) -> tuple[str, str]:
    """Return the place that a finding begins with, empty if it has none, and its message."""
    text = clean(finding)
    if found := _FINDING.match(text):
        return one_line(found["where"], 120), one_line(text[found.start("message") :], 400)
    return "", one_line(text, 400)


# Bodies


def _accepted(facts: Facts, detail: Detail) -> list[str]:
    lines = [_wrapped(_sentences(_dropped(facts), _sent(facts)))]
    if facts.warnings:
        lines += ["", f"{plural(len(facts.warnings), 'warning')}:"]
        lines += _numbered(facts.warnings, detail)
    held = facts.state is State.PAUSED
    return [
        *lines,
        "",
        *_places_to_look(facts),
        *([f"Release it: dropwell release {facts.run_id}"] if held else []),
        f"Stop it: dropwell abort {facts.run_id}",
    ]


def _dropped(facts: Facts) -> str:
    who = facts.dropped_by
    when = clock(facts.dropped_at, facts.at or None) if facts.dropped_at else ""
    return " ".join(filter(None, ["Dropped", when, f"by {who}" if who else ""])) + "."


def _sent(facts: Facts) -> str:
    if facts.state is State.PAUSED:
        return "It is on hold, as its manifest asks, until somebody releases it."
    if facts.submitted_at:
        return f"Cromwell took it {clock(facts.submitted_at, facts.at or None)}."
    if facts.waiting:
        return f"Not with Cromwell yet: {one_line(facts.waiting)}. It is sent as soon as it can be."
    return "It will be sent to Cromwell."


def _failing(facts: Facts, detail: Detail) -> list[str]:
    into = _length(facts, facts.at)
    opening = _sentences(
        f"A failure that will not be retried, {clock(facts.at)}"
        if facts.at
        else "A lasting failure",
        f", {into} into the run." if into else ".",
        joint="",
    )
    running = f"{_still(facts, 'running')}." if facts.still_running else ""
    return [
        _wrapped(_sentences(opening, _progress(facts), running)),
        "",
        *_failures(facts, detail),
        *_places_to_look(facts),
        *([f"Stop the rest: dropwell abort {facts.run_id}"] if facts.still_running else []),
    ]


def _ended(facts: Facts, detail: Detail) -> list[str]:
    match facts.state:
        case State.COMPLETE:
            return _complete(facts)
        case State.CANCELED:
            return _canceled(facts)
        case State.SYSTEM_ERROR:
            return _lost(facts)
        case _:
            opening = _sentences(_when_ended("Ended", facts), _progress(facts))
            return [_wrapped(opening), "", *_failures(facts, detail), *_places_to_look(facts)]


def _complete(facts: Facts) -> list[str]:
    lines = [_wrapped(_sentences(_when_ended("Ended", facts), _progress(facts)))]
    if facts.outputs:
        amount = f", {size(facts.outputs_bytes)}" if facts.outputs_bytes else ""
        lines += ["", f"Outputs: {facts.outputs:,}{amount}"]
        if facts.run_folder:
            lines.append(f"Listed in: {facts.run_folder.rstrip('/')}/outputs.json")
    return [*lines, "", *_places_to_look(facts)]


def _canceled(facts: Facts) -> list[str]:
    opening = _sentences(_when_ended("Canceled", facts), _progress(facts))
    if not facts.submitted_at:
        after = "It had not been sent to Cromwell: nothing ran, nothing was charged."
    elif facts.still_running:
        after = f"{_still(facts, 'to be stopped')}."
    else:
        after = "Nothing of it runs any more."
    again = "Drop it again if it should run after all; finished calls come from cache."
    return [_wrapped(_sentences(opening, after, again)), "", *_places_to_look(facts)]


def _lost(facts: Facts) -> list[str]:
    meaning = table().meanings[Cause.LOST_UPSTREAM]
    running = (
        f"{plural(facts.still_running, 'job')} of it may still run in AWS Batch, and are billed:"
        " end them there."
        if facts.still_running
        else ""
    )
    opening = _sentences(
        _when_ended("Given up", facts),
        "Cromwell took this run, and now says that it knows no such run.",
        _progress(facts),
    )
    why = "Why: its database was probably replaced or restored. The pipeline is not at fault."
    return [
        _wrapped(opening),
        "",
        _wrapped(why),
        _wrapped(f"Who acts: {meaning.actor}. Next: {meaning.next_step}"),
        *([_wrapped(running)] if running else []),
        "",
        *_places_to_look(facts),
    ]


def _rejected(facts: Facts, detail: Detail) -> list[str]:
    lines = [_wrapped("Nothing ran, nothing was charged. Your file is kept.")]
    lines += _numbered(facts.findings, detail)
    if facts.failures:
        lines += _cromwell_says(facts.failures, detail)
    again = "Fix and drop again."
    if facts.only_checked:
        lines.append(_wrapped("It was only checked, as its manifest asks. It can run."))
        again = "To run it, drop it again without dryRun."
    if facts.warnings:
        lines += ["Worth a look as well:", *_numbered(facts.warnings, detail)]
    place = facts.run_folder or facts.report
    lines.append(again + (f" Report and bundle: {place}" if place else ""))
    who = _dropped(facts)
    return [*lines, *([_wrapped(who)] if who != "Dropped." else []), f"Drop: {facts.run_id}"]


_BODIES = {
    Kind.ACCEPTED: _accepted,
    Kind.FAILING: _failing,
    Kind.ENDED: _ended,
    Kind.REJECTED: _rejected,
}


# Parts of bodies


def _failures(facts: Facts, detail: Detail) -> list[str]:
    """Return the blocks that say why, an empty line after each."""
    if not facts.groups:
        return _failures_without_calls(facts, detail)
    shown = facts.groups[: _CAUSES_SHOWN[detail]]
    several = len(facts.groups) > 1
    lines: list[str] = []
    for number, group in enumerate(shown, 1):
        if several:
            title = f"Cause {number} of {len(facts.groups)}, {plural(group.count, 'call')}"
            lines.append(_wrapped(f"{title}{_which(group)}"))
        why, *rest = _failure(group, detail)
        lines.append(why)
        if group.count > 1 and not several:
            lines.append(_wrapped(f"{plural(group.count, 'call')} failed alike{_which(group)}"))
        lines += [*rest, ""]
    if hidden := len(facts.groups) - len(shown):
        lines += [f"And {plural(hidden, 'more cause')}: see the run folder.", ""]
    return lines


def _which(group: Group) -> str:
    return f": {one_line(group.shards, 120)}" if group.shards else ""


_HOW_SURE = {"sure": "Why", "likely": "Why (likely)", "guess": "Why (a guess)"}


def _failure(group: Group, detail: Detail) -> list[str]:
    call = group.example
    evidence = [
        hushed(text) for text in call.evidence if detail is not Detail.MINIMAL or '"' not in text
    ]
    lines = [_wrapped(f"{_HOW_SURE[call.confidence]}: {one_line(call.call_id.label)} {call.why}")]
    if evidence:
        lines.append(_wrapped(f"Evidence: {'; '.join(evidence)}"))
    lines.append(_wrapped(f"Who acts: {call.actor}. Next: {call.next_step}"))
    if detail is Detail.FULL:
        lines.append(f"Rule: {call.rule or 'none'}  Signature: {call.signature}")
    return lines + _last_words(call, detail) + _where_it_lies(call, detail)


def _last_words(call: CallSummary, detail: Detail) -> list[str]:
    count = _TAIL_SHOWN[detail]
    if count and not call.tail and call.return_code:
        return ["It wrote nothing to stderr or stdout."]
    if not count or not call.tail:
        return []
    lines = [hushed(line) for line in call.tail[-count:]]
    return [f"Last lines of {call.tail_of}:", *(f"  {line}".rstrip() for line in lines)]


def _where_it_lies(call: CallSummary, detail: Detail) -> list[str]:
    log = " ".join(filter(None, [call.log_group, call.log_stream])) if call.log_stream else ""
    full = detail is Detail.FULL
    return [
        f"{label}: {place}"
        for label, place in (
            ("Stderr", call.stderr_url if detail is not Detail.MINIMAL else ""),
            ("Stdout", call.stdout_url if full else ""),
            ("Log", log),
            ("Batch job", call.job_id if full else ""),
        )
        if place
    ]


def _failures_without_calls(facts: Facts, detail: Detail) -> list[str]:
    message = "\n".join(facts.failures)
    verdict = judge(Evidence(cromwell_message=message))
    why = "Cromwell could not go on" if facts.failures else "nothing that was found says"
    if facts.calls_failed:
        verdict = judge(Evidence(job_status="FAILED"))
        failed = plural(facts.calls_failed, "call")
        why = f"{failed} failed, and what was left to tell why could not be read yet"
    lines = [_wrapped(f"Why: {why}")]
    lines += _cromwell_says(facts.failures, detail)
    return [*lines, _wrapped(f"Who acts: {verdict.actor}. Next: {verdict.next_step}"), ""]


_SAY_NOTHING = ("Workflow failed", "Workflow input processing failed")
"""What Cromwell wraps its reasons in."""


def _cromwell_says(messages: Sequence[str], detail: Detail) -> list[str]:
    if detail is Detail.MINIMAL or not messages:
        return []
    said = [one_line(message, 500) for message in dict.fromkeys(messages)]
    said = [message for message in said if message not in _SAY_NOTHING] or said
    shown = said[: _MESSAGES_SHOWN[detail]]
    more = [f"  and {len(said) - len(shown)} more"] if len(said) > len(shown) else []
    return ["Cromwell says:", *(_wrapped(text, "  ", "  ") for text in shown), *more]


def _numbered(findings: Sequence[str], detail: Detail) -> list[str]:
    """Return findings as a numbered list; where no inputs may be told, only their places."""
    shown = findings[: _FINDINGS_SHOWN[detail]]
    lines = []
    for number, finding in enumerate(shown, 1):
        where, message = _parted(finding)
        if detail is Detail.MINIMAL:
            text = where or "the bundle"
        else:
            text = f"{where}  {message}" if where else message
        lead = f"{number}. "
        lines.append(_wrapped(text, lead, " " * len(lead)))
    if hidden := len(findings) - len(shown):
        lines.append(f"And {hidden:,} more: see the report.")
    return lines


def _places_to_look(facts: Facts) -> list[str]:
    workflow = f"  Workflow: {one_line(facts.workflow, 60)}" if facts.workflow else ""
    return [
        f"Run: {facts.run_id}{workflow}",
        *([f"Run folder: {facts.run_folder}"] if facts.run_folder else []),
        *([f"Report: {facts.report}"] if facts.report else []),
    ]


def _when_ended(word: str, facts: Facts) -> str:
    if not facts.ended_at:
        return f"{word}."
    length = _length(facts, facts.ended_at)
    return f"{word} {clock(facts.ended_at)}" + (f" after {length}." if length else ".")


def _length(facts: Facts, until: int) -> str:
    since = facts.started_at or facts.submitted_at or facts.dropped_at
    return duration(until - since) if since and until >= since else ""


def _progress(facts: Facts) -> str:
    """Return how far the run came: ``337 of 340 calls done; 3 failed, 1 cause.``"""
    if not facts.calls_total or facts.calls_done is None:
        return ""
    done = f"{facts.calls_done:,} of {plural(facts.calls_total, 'call')} done"
    if facts.calls_cached:
        done += f", {facts.calls_cached:,} of them from cache"
    if facts.calls_failed:
        done += f"; {facts.calls_failed:,} failed"
        if facts.groups:
            done += f", {plural(len(facts.groups), 'cause')}"
    return f"{done}."


def _still(facts: Facts, doing: str) -> str:
    if facts.still_running == 1:
        return f"1 job is still {doing}, and billed until it ends"
    return f"{plural(facts.still_running, 'job')} are still {doing}, and billed until they end"


def _sentences(*parts: str, joint: str = " ") -> str:
    return joint.join(part for part in parts if part)


def _wrapped(text: str, first: str = "", rest: str = "") -> str:
    """Return text in lines that a small screen shows whole, addresses left in one piece."""
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
