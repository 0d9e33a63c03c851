"""How drops fare from now until all is told of them: the same look again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from dropwell_cli import reading
from dropwell_cli.places import Place
from dropwell_cli.reading import CLOSING, Call, Log, Said, Standing

_PATIENCE = 240
"""Seconds that a run's last notice is waited for; an unsaid one is said by the sweep by then."""

_MOST_BY_CALL = 2_000
_CALLS_EVERY = 3
"""Seconds between two looks at a run's calls; with more jobs than that, they are not read."""

_FOLLOWED_LINES = 1_000


@dataclass(slots=True)
class Watched:
    """A run that is followed.

    Parameters
    ----------
    run_id : str
        Known from the drop on, before there is a record of the run.
    name : str
        What to call it until its record says better.
    bundle : str
        What was dropped, as the user wrote it; empty for a run that was there already.
    standing : Standing
        As it was last seen.
    notices : list of Said
        What was told of it so far.
    by_call : bool
        Whether to look at its calls too.
    calls : tuple of Call
        The calls as they were last seen.
    """

    run_id: str
    name: str
    bundle: str = ""
    standing: Standing = field(default_factory=lambda: Standing(counts={}))
    notices: list[Said] = field(default_factory=list)
    by_call: bool = False
    calls: tuple[Call, ...] = ()
    _calls_at: float = 0

    def look(self, place: Place, standing: Standing, now: float) -> list[Said]:
        """Take in how the run stands now; return what was told since the last look."""
        moved = standing.counts != self.standing.counts or not self.calls
        self.standing = standing
        if (
            self.by_call
            and moved
            and 0 < standing.counts.get("jobs", 0) <= _MOST_BY_CALL
            and now >= self._calls_at + _CALLS_EVERY
        ):
            self.calls, self._calls_at = tuple(reading.calls(place, self.run_id)), now
        if standing.run:
            self.name = standing.run.name
        heard = {said.notice_id for said in self.notices}
        news = reading.said(place, standing, but=heard)
        self.notices += news
        return news

    def over(self, now: float) -> bool:
        """Whether nothing more is to come: it ended, and that was told."""
        if not self.standing.ended:
            return False
        if any(said.kind in CLOSING for said in self.notices):
            return True
        closing = self.standing.notice(*CLOSING)
        run = self.standing.run
        since = closing["at"] if closing else run.ended_at or run.dropped_at if run else now
        return now > since + _PATIENCE


class Face(Protocol):
    """Where progress is shown."""

    def progress(self, watched: Sequence[Watched], now: float) -> None: ...
    def notice(self, said: Said) -> None: ...


def follow(
    place: Place,
    watched: Sequence[Watched],
    *,
    face: Face,
    timeout: float | None = None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Look until all runs have ended and everything is told of them.

    Parameters
    ----------
    place : Place
        Where they run.
    watched : sequence of Watched
        Changed as they go.
    face : Face
        Shown each look, and each notice once.
    timeout : float or None
        Seconds after which to stop looking.

    Returns
    -------
    bool
        Whether all ended in time.
    """
    began = clock()
    going = list(watched)
    while True:
        seen = reading.standings(place, [one.run_id for one in going])
        now = clock()
        news = [said for one in going for said in one.look(place, seen[one.run_id], now)]
        for said in sorted(news, key=lambda notice: notice.at):
            face.notice(said)
        face.progress(watched, now)
        going = [one for one in going if not one.over(now)]
        if not going:
            return True
        if timeout is not None and now >= began + timeout:
            return False
        sleep(place.pause)


def follow_logs(
    place: Place,
    run_id: str,
    named: str | None,
    lines: int,
    *,
    show: Callable[[Call, Log, Sequence[str], bool], None],
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Show what calls write as they write it, until they, or the run, have ended.

    Parameters
    ----------
    place : Place
        Where they run.
    run_id : str
    named : str or None
        A call, or a shard; `None` for whatever runs.
    lines : int
        How many lines to begin with.
    show : callable
        Given call, log, lines that were not shown yet, and whether the log is begun.

    Raises
    ------
    Failure
        No call is named so, though others are known.
    """
    shown: dict[str, tuple[str, ...]] = {}
    done: set[str] = set()
    first = True
    while True:
        ended = reading.standings(place, [run_id])[run_id].ended
        known = reading.calls(place, run_id)
        chosen = reading.meant(known, named) if named and known else known
        if first and not named:
            done |= {one.seen.job_id for one in chosen if one.seen and one.ended}
        first = False
        fresh = [one for one in chosen if one.seen and one.seen.job_id not in done]
        for one in fresh[: reading.MOST_LOGS]:
            _show_news(place, one, lines, shown, show)
            if one.ended and one.seen:
                done.add(one.seen.job_id)
        if ended or (named and known and all(one.ended for one in chosen)):
            return
        sleep(place.pause)


def _show_news(
    place: Place,
    one: Call,
    lines: int,
    shown: dict[str, tuple[str, ...]],
    show: Callable[[Call, Log, Sequence[str], bool], None],
) -> None:
    """Show what a call has written since it was last looked at; its files if it has no log."""
    job_id = one.seen.job_id if one.seen else ""
    log = reading.growing_log(place, one, _FOLLOWED_LINES)
    if log and log.lines:
        before = shown.get(job_id)
        told = reading.news(before, log.lines) if before else log.lines[-lines:]
        if told:
            show(one, log, told, not before)
        shown[job_id] = log.lines
    elif one.ended and job_id not in shown:
        for end in reading.logs(place, one, lines):
            show(one, end, end.lines, True)


def result(place: Place, one: Watched) -> dict[str, Any]:
    """Return what became of a drop, as programs read it."""
    standing, run = one.standing, one.standing.run
    facts: Mapping[str, Any] = {"run_id": one.run_id, "name": one.name, "state": None}
    if run:
        facts = reading.account(run, standing.counts)
    return {
        **({"bundle": one.bundle} if one.bundle else {}),
        **facts,
        "cause": reading.cause(place, standing),
        "notices": [said.as_json() for said in one.notices],
        "outputs": reading.outputs(place, run) if run else {},
        "run_folder": reading.folder_uri(place, run) if run else None,
    }
