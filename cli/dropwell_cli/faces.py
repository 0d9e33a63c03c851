"""What the command prints: runs as lines, notices as mails, a run as a page."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.rule import Rule
from rich.status import Status
from rich.table import Table
from rich.text import Text

from dropwell.records import live_jobs
from dropwell.runs import Run, State
from dropwell.text import clock, duration, one_line, plural, shorten
from dropwell_cli.doctor import verdict
from dropwell_cli.finding import Listed
from dropwell_cli.following import Watched
from dropwell_cli.places import Place, objects_folder
from dropwell_cli.reading import Call, Log, Said, Standing, kind_of, shown

if TYPE_CHECKING:
    from dropwell.notices import Facts
    from dropwell_cli.demo import Example
    from dropwell_cli.doctor import Finding
    from dropwell_cli.sessions import Outcome, Session
    from dropwell_local.stack import LocalStack

_STYLES = {
    State.QUEUED: "dim",
    State.INITIALIZING: "cyan",
    State.RUNNING: "cyan",
    State.PAUSED: "yellow",
    State.CANCELING: "yellow",
    State.CANCELED: "yellow",
    State.COMPLETE: "green",
    State.EXECUTOR_ERROR: "red",
    State.SYSTEM_ERROR: "bold red",
    State.REJECTED: "magenta",
}
_LINE_EVERY = 5
"""Seconds between two lines on jobs, where lines cannot be rewritten."""

_SHARDS_SHOWN = 12
_CALLS_SHOWN = 6

_PAGE = 80
"""Columns of a mail and of a log, however wide the terminal."""

_ROOMY = 100
"""Columns from which a list of runs tells more."""


def console(*, error: bool = False) -> Console:
    """Return where to print; nothing is coloured but what is given a style here."""
    return Console(stderr=error, highlight=False, emoji=False, markup=False)


def say_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def say_json_line(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def address(out: Console, text: str, style: str = "") -> None:
    """Print a line that is to be copied: never folded, however narrow the terminal."""
    out.print(Text(text, style=style), soft_wrap=True)


# Runs as lines


def state_text(standing: Standing) -> Text:
    run = standing.run
    if run is None:
        return Text("in the inbox", style="dim")
    if run.state is State.QUEUED and run.waiting:
        return Text(f"QUEUED, waiting for {run.waits_for}", style="yellow")
    return Text(run.state.value, style=_STYLES[run.state])


def jobs_text(counts: Mapping[str, Any], *, noun: bool = True) -> Text:
    """How far a run is: ``3/8 jobs``, ``7/8 jobs, 1 failed``."""
    total, failed = counts.get("jobs", 0), counts.get("failed", 0)
    if not total:
        return Text()
    text = Text(f"{total - live_jobs(counts):,}/{total:,}")
    if noun:
        text.append(" job" if total == 1 else " jobs")
    if failed:
        text.append(f", {failed:,} failed", style="red")
    return text


def calls_texts(calls: Sequence[Call]) -> list[tuple[str, str]]:
    """Return how far the calls are that have not ended: a name and ``37/100, 5 running``."""
    alike: dict[str, list[Call]] = {}
    for call in calls:
        alike.setdefault(call.call_id.call, []).append(call)
    going = [
        (shorten(one_line(name), 32), _shards_text(group))
        for name, group in alike.items()
        if not all(call.ended for call in group)
    ]
    more = len(going) - _CALLS_SHOWN
    return going[:_CALLS_SHOWN] + ([("and", plural(more, "more call"))] if more > 0 else [])


def _shards_text(group: Sequence[Call]) -> str:
    ended = sum(call.ended for call in group)
    running = sum(call.status == "RUNNING" for call in group)
    failed = sum(call.failed for call in group)
    told = [
        f"{ended:,}/{len(group):,}",
        f"{running:,} running" if running else "",
        f"{failed:,} failed" if failed else "",
    ]
    return ", ".join(filter(None, told))


def took(run: Run | None, now: float) -> str:
    """How long a run took, or has taken so far, since it was dropped."""
    if run is None or not run.dropped_at:
        return ""
    if run.state is State.REJECTED:
        return ""
    return duration(int(run.ended_at or now) - run.dropped_at)


def _grid() -> Table:
    return Table.grid(padding=(0, 2), pad_edge=False)


def _lines(watched: Sequence[Watched], now: float) -> Table:
    grid = _grid()
    grid.add_column(max_width=28, no_wrap=True, overflow="ellipsis")
    grid.add_column(min_width=14, no_wrap=True)
    grid.add_column(min_width=18, no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    for one in watched:
        grid.add_row(
            f"  {one.name}",
            state_text(one.standing),
            jobs_text(one.standing.counts),
            Text(took(one.standing.run, now), style="dim"),
        )
        for name, text in calls_texts(one.calls) if not one.standing.ended else ():
            grid.add_row(Text(f"    {name}", style="dim"), "", Text(text, style="dim"), "")
    return grid


class Progress:
    """Shows runs as they go: lines that are rewritten, or, without a terminal, plain ones."""

    def __init__(self, out: Console, watched: Sequence[Watched]) -> None:
        self._out = out
        self._width = max((len(one.name) for one in watched), default=0)
        self._live = (
            Live(console=out, auto_refresh=False, transient=True) if out.is_terminal else None
        )
        self._told: dict[str, tuple[str, str]] = {}
        self._told_at: dict[str, float] = {}

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def progress(self, watched: Sequence[Watched], now: float) -> None:
        if self._live:
            self._live.update(Group("", _lines(watched, now)), refresh=True)
            return
        for one in watched:
            self._line(one, now)

    def _line(self, one: Watched, now: float) -> None:
        state, jobs = state_text(one.standing).plain, jobs_text(one.standing.counts).plain
        before = self._told.get(one.run_id)
        lately = now < self._told_at.get(one.run_id, 0) + _LINE_EVERY
        if before == (state, jobs) or (before and before[0] == state and lately):
            return
        self._told[one.run_id], self._told_at[one.run_id] = (state, jobs), now
        name = one.name.ljust(self._width)
        going = [] if one.standing.ended else calls_texts(one.calls)
        parts = [state, jobs, took(one.standing.run, now)]
        parts += [f"{name} {text}" for name, text in going]
        line = f"{name}  {', '.join(part for part in parts if part)}"
        address(self._out, f"{time.strftime('%H:%M:%S', time.gmtime(now))}  {line}")

    def notice(self, said: Said) -> None:
        letter(self._out, said)


def letter(out: Console, said: Said) -> None:
    """Print a notice as a mail; its lines stay whole, so that addresses can be copied."""
    bad = any(word in said.subject for word in _BAD_WORDS)
    style = "red" if bad else "blue"
    out.print()
    width = min(out.width, _PAGE)
    out.print(Rule(Text(said.subject, style="bold"), align="left", style=style), width=width)
    address(out, said.body.rstrip("\n"))
    out.print(Rule(style=style), width=width)


_BAD_WORDS = ("FAILED", "Failing", "LOST", "Not started")


# Tables


def _table(*headings: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for heading in headings:
        table.add_column(heading, no_wrap=True, overflow="ellipsis")
    return table


def ending(out: Console, watched: Sequence[Watched], results: Sequence[Mapping[str, Any]]) -> None:
    """Print the closing table: each drop and how it ended, or how far it is."""
    table = _table("name", "state", "why", "jobs", "took")
    for one, told in zip(watched, results, strict=True):
        run = one.standing.run
        table.add_row(
            shorten(one.name, 24),
            state_text(one.standing),
            why(run, told["cause"]),
            jobs_text(one.standing.counts, noun=out.width >= _ROOMY),
            took(run, time.time()),
        )
    out.print()
    out.print(table)


def why(run: Run | None, cause: str | None) -> str:
    """Say shortly why a run did not go well; nothing if it did."""
    if run and run.state is State.REJECTED:
        return plural(len(run.findings), "problem") if run.findings else "only checked"
    return cause or ""


def run_list(out: Console, runs: Sequence[Listed], now: float) -> None:
    roomy = out.width >= _ROOMY
    table = _table(
        *("run", "name", "project", "state", *["why"][:roomy], "jobs", "dropped"),
        *["took"][:roomy],
    )
    for column in table.columns[1:3]:
        column.no_wrap = False  # these give way where the line gets too long
    for one in runs:
        run = one.run
        table.add_row(
            run.run_id[:8],
            Text(run.name, no_wrap=True, overflow="ellipsis"),
            Text(run.project, no_wrap=True, overflow="ellipsis"),
            state_text(Standing(run=run, counts=one.counts)),
            *[why(run, run.cause)][:roomy],
            jobs_text(one.counts, noun=roomy),
            _ago(int(now) - run.dropped_at) if run.dropped_at else "",
            *[took(run, now)][:roomy],
        )
    out.print(table)


def _ago(seconds: int) -> str:
    """How long ago, no more exactly than people say it: ``40 s ago``, ``12 min ago``."""
    return f"{duration(seconds if seconds < 60 else seconds - seconds % 60)} ago"


def notice_list(out: Console, told: Sequence[Said]) -> None:
    table = _table("when", "run", "subject")
    table.columns[0].min_width, table.columns[1].min_width = 12, 8  # the subject gives way
    for one in told:
        table.add_row(
            Text(f"{time.strftime('%d %b %H:%M', time.gmtime(one.at))}", style="dim"),
            one.run_id[:8],
            one.subject,
        )
    out.print(table)


def examples(out: Console, every: Sequence[Example]) -> None:
    for example in every:
        out.print(Text.assemble("  ", (f"{example.folder:<14}", "bold"), example.shows))
    out.print()


# One run


def page(
    out: Console,
    standing: Standing,
    run: Run,
    *,
    calls: Sequence[Call],
    outputs: Mapping[str, Any],
    facts: Facts | None,
    folder: str,
    now: float,
) -> None:
    """Print all that is known of a run."""
    out.print(Text.assemble((run.name, "bold"), "  ", state_text(standing)))
    out.print(_story(run, now), style="dim")
    out.print()
    for label, value in _particulars(run, standing):
        address(out, f"{label:<11}{value}")
    address(out, f"{'run folder':<11}{folder}")
    for heading, lines in (
        ("Problems", run.findings),
        ("Warnings", run.warnings),
        ("Why", _failures(facts) if facts else run.failures),
    ):
        if lines:
            out.print()
            out.print(heading, style="bold")
            for line in lines:
                out.print(Padding(Text(line), (0, 0, 0, 2)))
    if outputs:
        out.print()
        out.print("Outputs", style="bold")
        for line in _outputs(outputs):
            address(out, f"  {line}")
    if calls:
        out.print()
        out.print(call_table(calls))


def _story(run: Run, now: float) -> str:
    who = run.principal.rpartition(":")[2].rpartition("/")[2]
    when = clock(run.dropped_at, int(now)) if run.dropped_at else ""
    dropped = " ".join(filter(None, ["Dropped", when, f"by {one_line(who, 60)}" if who else ""]))
    if run.waiting:
        return f"{dropped}; waits for {run.waits_for}: {one_line(run.waiting)}."
    if run.state is State.REJECTED or not took(run, now):
        return f"{dropped}."
    if run.ended_at:
        return f"{dropped}; ended {clock(run.ended_at, int(now))} after {took(run, now)}."
    return f"{dropped}; {took(run, now)} ago."


def _particulars(run: Run, standing: Standing) -> Iterator[tuple[str, str]]:
    yield "run", run.run_id
    yield "project", run.project
    if run.workflow:
        yield "workflow", one_line(run.workflow)
    if jobs := jobs_text(standing.counts).plain:
        yield "jobs", jobs
    if run.labels:
        yield "labels", ", ".join(f"{one_line(key)}={one_line(value)}" for key, value in run.labels)
    if told := [kind_of(item) for item in standing.notices if item.get("said_at")]:
        yield "told", ", ".join(told)


def _failures(facts: Facts) -> list[str]:
    lines = []
    for group in facts.groups:
        call = group.example
        alike = f" ({plural(group.count, 'call')} alike: {group.shards})" if group.count > 1 else ""
        lines.append(f"{one_line(call.call_id.label)} {call.why}{alike}")
        lines.append(f"{group.cause.value}: {'; '.join(call.evidence)}")
        lines += [f"  {line}" for line in call.tail[-8:]]
        lines.append(f"Who acts: {call.actor}. Next: {call.next_step}")
    return lines or [one_line(message, 500) for message in facts.failures]


def _outputs(outputs: Mapping[str, Any]) -> list[str]:
    return [
        f"{one_line(name)} = {shorten(one_line(json.dumps(value, ensure_ascii=False), 400), 400)}"
        for name, value in outputs.items()
    ]


def call_table(calls: Sequence[Call]) -> Table:
    """Return the calls by name; shards, and the same call of several sub-workflows, together."""
    alike: dict[str, list[Call]] = {}
    for call in calls:
        alike.setdefault(call.call_id.call, []).append(call)
    table = _table("call", "calls", "done", "running", "failed")
    table.columns[-1].no_wrap = False  # of many failures the names take lines, not columns
    for name, group in alike.items():
        failed = [call for call in group if call.failed]
        done = sum(call.status in ("SUCCEEDED", "CACHED") for call in group)
        running = len(group) - done - len(failed)
        table.add_row(
            shorten(one_line(name), 32),
            f"{len(group):,}",
            f"{done:,}",
            f"{running:,}" if running else "",
            Text(_which(failed), style="red"),
        )
    return table


def _which(failed: Sequence[Call]) -> str:
    if not failed:
        return ""
    names = [shown(call) for call in failed]
    more = f" and {len(names) - _SHARDS_SHOWN} more" if len(names) > _SHARDS_SHOWN else ""
    return f"{len(failed):,}: {', '.join(names[:_SHARDS_SHOWN])}{more}"


def call_log(out: Console, call: Call, logs: Sequence[Log]) -> None:
    """Print the ends of a call's logs."""
    title = f"{one_line(call.call_id.label)}  {call.status}"
    rule = Rule(Text(title, style="bold"), align="left", style="dim")
    out.print(rule, width=min(out.width, _PAGE))
    for log in logs:
        address(out, f"{log.kind}: {log.where}", style="dim")
        address(out, "\n".join(log.lines) if log.lines else "(empty)")
    if not logs:
        out.print("It left no log that can be read.", style="dim")
    out.print()


def log_news(out: Console, call: Call, log: Log, lines: Sequence[str], begins: bool) -> None:
    """Print what a call wrote since the last look, each line with the call's name before it."""
    name = shown(call)
    if begins:
        address(out, f"{name}  {log.kind}: {log.where}", style="dim")
    for line in lines:
        address(out, f"{name}  {line}")


def no_log(run: Run, known: Sequence[Call]) -> str:
    """Say why there is no log to be read at once."""
    if not known:
        return f"No job of {run.name} was seen yet."
    return f"No call of {run.name} failed. Its calls:\n"


# The local stack


def stack_page(out: Console, stack: LocalStack, place: Place) -> None:
    """Print where everything of a running local stack is, and what to do next."""
    out.print()
    for label, address_of in (
        ("AWS", stack.url),
        ("Cromwell", stack.cromwell_url),
        ("Inbox", f"s3://{stack.outputs['InboxBucket']}/inbox/"),
        ("Files", str(stack.folder)),
    ):
        address(out, f"  {label:<10}{address_of}")
    out.print()
    out.print("In another terminal:")
    for words in ("local run examples/hello", "submit BUNDLE", "runs", "show RUN"):
        address(out, f"  {place.hint(words)}")
    out.print("\nRuns until Ctrl-C. Notices as they are sent:")


def where(out: Console, session: Session, outcome: Outcome) -> None:
    """Print where everything of some drops lies, and how to look further."""
    out.print()
    out.print("Where everything lies", style="bold")
    address(out, f"  {session.stack.folder}/  mails, logs, every object as a file")
    address(out, f"  {objects_folder(session.stack, session.place.inbox.name)}/  of which")
    for one in outcome.watched:
        if one.standing.run:
            address(out, f"    {one.standing.run.folder}")
    out.print()
    if session.ours:
        out.print("The local stack has stopped; its files stay. To look further with show, logs")
        out.print("and notices, keep one running with `dropwell local up`, and drop again.")
        return
    out.print("Look further", style="bold")
    for one in outcome.watched:
        word = "show" if one.standing.ended else "watch"
        address(out, f"  {session.place.hint(word, one.run_id[:8])}")


def interrupted(out: Console, session: Session | None, dropped: Sequence[Watched]) -> None:
    """Say what goes on, and what does not, after Ctrl-C."""
    out.print()
    if session is None:
        out.print("Stopped before anything was dropped.")
    elif session.ours:
        out.print("Stopped, and the local stack with it: nothing goes on. Its files stay in")
        address(out, f"  {session.stack.folder}")
    else:
        out.print("No longer looking. What was dropped goes on in the local stack:")
        for one in dropped:
            address(out, f"  {session.place.hint('watch', one.run_id[:8])}  ({one.name})")


# Health

_LEVELS = {"ok": "green", "warn": "yellow", "fail": "bold red"}
_NARROW = 60
"""Columns below which what was found stands under its name."""


def health(out: Console, place: str, findings: Sequence[Finding]) -> None:
    """Print what the doctor found: for people in groups, else one line a check."""
    if not out.is_terminal:
        for one in findings:
            address(out, _health_line(one))
        address(out, verdict(findings))
        return
    width = min(max(len(one.name) for one in findings), 24)
    out.print(Text.assemble("Looked at ", (place, "bold"), "."))
    for group, alike in itertools.groupby(findings, key=lambda one: one.group):
        out.print()
        out.print(Text(group.value[0].upper() + group.value[1:], style="bold"))
        for one in alike:
            _health_row(out, one, width)
    out.print()
    worst = max((one.level for one in findings), key=list(_LEVELS).index)
    out.print(Text(verdict(findings), style=_LEVELS[worst]))


def _health_row(out: Console, one: Finding, width: int) -> None:
    told = [Text(one.found)]
    if one.cure:
        told.append(Text(f"→ {one.cure}", style="dim" if one.level == "ok" else ""))
    level = Text(f"  {one.level.value}", style=_LEVELS[one.level])
    grid = _grid()
    grid.add_column(min_width=6, no_wrap=True)
    if out.width < _NARROW:
        grid.add_row(level, Group(Text(one.name, style="bold"), *told))
    else:
        grid.add_column(min_width=width, max_width=width, overflow="fold")
        grid.add_row(level, one.name, Group(*told))
    out.print(grid)
    if one.command:
        address(out, f"          {one.command}", style="cyan")


def _health_line(one: Finding) -> str:
    parts = [f"{one.level.value:<4}  {one.group}: {one.name}: {one.found}."]
    if one.cure:
        parts.append(one.cure)
    if one.command:
        parts.append(one.command)
    return " ".join(parts)


# Steps


@contextmanager
def steps(out: Console) -> Iterator[Steps]:
    """Show one step after another, each with the time that it took."""
    told = Steps(out)
    try:
        yield told
    finally:
        told.done()


class Steps:
    """Shows what is being done now, and what was done before in how long."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._step = ""
        self._began = 0.0
        self._spinner: Status | None = None

    def begin(self, step: str) -> None:
        self.done()
        self._step, self._began = step, time.monotonic()
        if self._out.is_terminal:
            self._spinner = self._out.status(Text(f"{step} …"), spinner="dots")
            self._spinner.start()
        else:
            address(self._out, f"{step} …")

    def done(self) -> None:
        if self._spinner:
            self._spinner.stop()
        if self._step and self._out.is_terminal:
            took = duration(round(time.monotonic() - self._began))
            self._out.print(Text.assemble("  ", (f"{took:>6}", "dim"), f"  {self._step}"))
        self._step, self._spinner = "", None
