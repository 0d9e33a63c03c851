"""Somebody else who writes between our reading and our writing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from dropwell import ledger
from dropwell.notices import Kind
from dropwell.runs import Run, State
from tests.simulation.world import MemoryTable


def meanwhile(table: MemoryTable, act: Callable[[], Any], *, writing: str = "") -> None:
    """Have something happen just before the next write that touches an item of that sort key."""
    write = table.write

    def first(*writes: Any) -> None:
        if any(one.key[1].startswith(writing) for one in writes):
            table.write = write  # type: ignore[method-assign]
            act()
        write(*writes)

    table.write = first  # type: ignore[method-assign]


def end(table: MemoryTable, run_id: str, state: State = State.COMPLETE) -> Run:
    """End a run behind everybody's back."""
    run = ledger.load(table, run_id)
    assert run
    ended, changed = ledger.change(
        table, run, lambda known: replace(known, state=state, ended_at=1).due(None),
        notice=Kind.ENDED, now=1,
    )  # fmt: skip
    assert changed
    return ended
