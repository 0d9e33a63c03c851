"""Runs in the table: loaded, created once, and changed by whoever read them last.

Every change is a decision over the run as it is on record. When somebody else
wrote in between, the decision is made again over what they left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from dropwell.errors import Superseded
from dropwell.ports import Table
from dropwell.records import RUN, Write, put_notice, put_pointer, put_run, run_of
from dropwell.runs import Run

_ROUNDS = 12

Decide = Callable[[Run], Run | None]


def load(table: Table, run_id: str) -> Run | None:
    item = table.get((run_id, RUN))
    return run_of(item) if item else None


def load_many(table: Table, run_ids: Sequence[str]) -> dict[str, Run]:
    items = table.get_many([(run_id, RUN) for run_id in run_ids])
    return {run_id: run_of(item) for (run_id, _), item in items.items()}


def create(table: Table, run: Run) -> Run:
    """Return the run on record: this one, or the one that was there before."""
    try:
        table.write(put_run(run), put_pointer(run))
    except Superseded:
        known = load(table, run.run_id)
        if known is None:
            raise
        return known
    return replace(run, rev=run.rev + 1)


def change(
    table: Table,
    run: Run,
    decide: Decide,
    *,
    notice: str = "",
    now: int = 0,
    also: Sequence[Write] = (),
) -> tuple[Run, bool]:
    """Change a run by a decision, together with the notice that tells of it.

    Parameters
    ----------
    run : Run
        As it was last read; tried first, read again only if somebody wrote since.
    decide : callable
        The run as it shall be, or `None` to leave it. It must not act on the
        world: it may be asked more than once.
    notice : str
        The kind of notice to be recorded in the same transaction.
    now : int
        Seconds since 1970, for the notice.
    also : sequence of Put or Update
        Further writes of the same transaction.

    Returns
    -------
    Run, bool
        The run on record now, and whether this call changed it.

    Raises
    ------
    Superseded
        Others kept writing; the caller's message will come again.
    """
    for _ in range(_ROUNDS):
        wanted = decide(run)
        if wanted is None:
            return run, False
        writes: list[Write] = [put_run(wanted), *also]
        if notice:
            writes.append(put_notice(run.run_id, notice, now))
        try:
            table.write(*writes)
        except Superseded:
            known = load(table, run.run_id)
            if known is None:
                raise
            run = known
        else:
            return replace(wanted, rev=wanted.rev + 1), True
    raise Superseded(f"run {run.run_id} is written by many at once")
