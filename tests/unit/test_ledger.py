"""Runs in the table: created once, and changed over what is on record, whoever else writes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dropwell import ledger
from dropwell.errors import Superseded
from dropwell.records import RUN, put_notice, put_run
from dropwell.runs import Run
from tests.simulation.world import MemoryTable, World
from tests.unit.meanwhile import meanwhile

NEW = Run(run_id="r", project="p", name="n")


@pytest.fixture
def table():
    return MemoryTable(World())


def renamed(name):
    return lambda known: replace(known, name=name)


class TestCreating:
    def test_gives_the_run_as_it_is_on_record_now(self, table):
        assert ledger.create(table, NEW) == ledger.load(table, "r") == replace(NEW, rev=1)

    def test_gives_the_run_that_was_there_before(self, table):
        ledger.create(table, NEW)
        assert ledger.create(table, replace(NEW, name="later")).name == "n"

    def test_fails_where_the_run_is_neither_taken_nor_there(self, table):
        def refuse(*_):
            raise Superseded("a conflict")

        table.write = refuse
        with pytest.raises(Superseded):
            ledger.create(table, NEW)


class TestChanging:
    def test_writes_the_decision_and_says_so(self, table):
        run, changed = ledger.change(table, ledger.create(table, NEW), renamed("x"))
        assert changed
        assert run == ledger.load(table, "r")

    def test_leaves_a_run_that_is_to_be_left(self, table):
        before = ledger.create(table, NEW)
        assert ledger.change(table, before, lambda _: None) == (before, False)

    def test_decides_again_over_what_another_left(self, table):
        run = ledger.create(table, NEW)
        meanwhile(table, lambda: ledger.change(table, run, lambda k: replace(k, tries=5)))
        changed, _ = ledger.change(table, run, renamed("x"))
        assert (changed.name, changed.tries) == ("x", 5)

    def test_records_its_notice_with_it_or_neither(self, table):
        run = ledger.create(table, NEW)
        table.write(put_notice("r", "ended", 1))
        with pytest.raises(Superseded, match="written by many at once"):
            ledger.change(table, run, renamed("x"), notice="ended", now=2)
        assert ledger.load(table, "r").name == "n"

    def test_fails_where_the_run_is_gone(self, table):
        run = ledger.create(table, NEW)
        del table.items["r", RUN]
        with pytest.raises(Superseded):
            ledger.change(table, run, renamed("x"))

    def test_makes_further_writes_in_the_same_transaction(self, table):
        run = ledger.create(table, NEW)
        other = put_run(replace(NEW, run_id="other"))
        ledger.change(table, run, renamed("x"), also=[other])
        assert ledger.load(table, "other")


def test_many_are_loaded_by_their_ids(table):
    for run_id in ("a", "b"):
        ledger.create(table, replace(NEW, run_id=run_id))
    assert set(ledger.load_many(table, ["a", "b", "c"])) == {"a", "b"}
