"""How drops fare from now until all is told of them: the same look again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from dropwell_cli import reading
from dropwell_cli.places import Place
from dropwell_cli.reading import CLOSING, Said, Standing

_PATIENCE = 240
"""Seconds that a run's last notice is waited for; an unsaid one is said by the sweep by then."""


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
    """

    run_id: str
    name: str
    bundle: str = ""
    standing: Standing = field(default_factory=lambda: Standing(counts={}))
    notices: list[Said] = field(default_factory=list)

    def look(self, place: Place, standing: Standing) -> list[Said]:
        """Take in how the run stands now; return what was told since the last look."""
        self.standing = standing
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
        news = [said for one in going for said in one.look(place, seen[one.run_id])]
        for said in sorted(news, key=lambda notice: notice.at):
            face.notice(said)
        face.progress(watched, now)
        going = [one for one in going if not one.over(now)]
        if not going:
            return True
        if timeout is not None and now >= began + timeout:
            return False
        sleep(place.pause)


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
