"""Which runs there are, newest first, and which one a person means."""

from __future__ import annotations

import fnmatch
import itertools
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from dropwell import ledger
from dropwell.ports import Table
from dropwell.records import COUNTS, RUN, Item, month, run_of
from dropwell.runs import Run, State
from dropwell.text import duration
from dropwell_cli import Failure

MONTHS = 6
"""How far back runs are looked for."""

_AT_ONCE = 50  # two items a run, and a hundred to a request
_SEARCHED = 2_000
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Listed:
    """A run, and how many jobs of it are in which state."""

    run: Run
    counts: Item


def months_back(now: int, count: int = MONTHS) -> list[str]:
    """Return the partitions of the pointers to runs, the newest first.

    >>> months_back(1736899200, 3)
    ['RUNS#2025-01', 'RUNS#2024-12', 'RUNS#2024-11']
    """
    today = datetime.fromtimestamp(now, UTC)
    number = today.year * 12 + today.month - 1
    firsts = (divmod(number - back, 12) for back in range(count))
    return [month(int(datetime(y, m + 1, 1, tzinfo=UTC).timestamp())) for y, m in firsts]


def recent(table: Table, now: int) -> Iterator[Listed]:
    """Yield the runs of the last months, newest first."""
    pointers = (
        pointer
        for partition in months_back(now)
        for pointer in table.query(partition, newest_first=True)
    )
    while chunk := list(itertools.islice(pointers, _AT_ONCE)):
        ids = [pointer["run_id"] for pointer in chunk]
        items = table.get_many((run_id, sk) for run_id in ids for sk in (RUN, COUNTS))
        for run_id in ids:
            if item := items.get((run_id, RUN)):
                yield Listed(run_of(item), items.get((run_id, COUNTS), {}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which runs are wanted; what is left empty lets all through.

    Parameters
    ----------
    project : str
        Of this project.
    name : str
        So called; ``*`` and ``?`` stand for anything and for one character.
    states : frozenset of State
        In one of these states.
    labels : tuple of (str, str)
        Bearing all these labels.
    """

    project: str = ""
    name: str = ""
    states: frozenset[State] = frozenset()
    labels: tuple[tuple[str, str], ...] = ()

    def takes(self, run: Run) -> bool:
        return (
            (not self.project or run.project == self.project)
            and (not self.name or fnmatch.fnmatchcase(run.name, self.name))
            and (not self.states or run.state in self.states)
            and set(self.labels) <= set(run.labels)
        )


EVERY = Filter()


def listed(table: Table, *, now: int, limit: int, wanted: Filter = EVERY) -> list[Listed]:
    """Return the newest of the runs that are wanted."""
    found = (one for one in recent(table, now) if wanted.takes(one.run))
    return list(itertools.islice(found, limit))


def label_of(text: str) -> tuple[str, str]:
    """Return the label that ``key=value`` means.

    >>> label_of("cohort=A=1")
    ('cohort', 'A=1')

    Raises
    ------
    Failure
        It is none.
    """
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise Failure(f'"{text}" is no label; one is given as KEY=VALUE.')
    return key, value


def find_run(table: Table, named: str, *, now: int) -> Run:
    """Return the run that is meant by an id, the beginning of one, or a name.

    Raises
    ------
    Failure
        None is, or several are; then they are listed.
    """
    if whole := whole_id(named):
        run = ledger.load(table, whole)
        if run is None:
            raise Failure(f"There is no run {whole}.")
        return run
    start = named.casefold() if re.fullmatch(r"[0-9a-fA-F-]{2,36}", named) else None
    found = [
        one.run
        for one in itertools.islice(recent(table, now), _SEARCHED)
        if one.run.name == named or (start and one.run.run_id.startswith(start))
    ]
    if not found:
        raise Failure(
            f'No run of the last {MONTHS} months has the name "{named}", nor an id that begins'
            " with it. `dropwell runs` lists them."
        )
    if len(found) > 1:
        raise Failure(_several(named, found, now))
    return found[0]


def whole_id(text: str) -> str:
    """Return a run's id that is given in full, empty if it is not."""
    try:
        return str(uuid.UUID(text)) if len(text) == 36 else ""
    except ValueError:
        return ""


def _several(named: str, runs: list[Run], now: int) -> str:
    rows = [
        f"  {run.run_id}  {run.name}  {run.state.value},"
        f" dropped {duration(now - run.dropped_at)} ago"
        for run in runs[:_SHOWN]
    ]
    more = [f"  and {len(runs) - _SHOWN} more"] if len(runs) > _SHOWN else []
    head = f'"{named}" may mean {len(runs)} runs. Give more of the id:'
    return "\n".join([head, *rows, *more])
