"""What control files ask, where others write at the same moment."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dropwell import ledger
from dropwell.control import Answer, act
from dropwell.drops import Action, Control
from dropwell.errors import Refused
from dropwell.runs import Due, Run, State
from tests.simulation.lab import Lab
from tests.simulation.world import World
from tests.unit.meanwhile import end, meanwhile

RUN = Run(run_id="r", project="cardio", name="n")


@pytest.fixture
def lab():
    return Lab(World())


def ask(lab, action=Action.ABORT, project="cardio"):
    return act(
        Control(project, action, "r"),
        now=lab.world.now,
        table=lab.table,
        inbox=lab.inbox,
        cromwell=lab.cromwell,
    )


def test_a_run_that_nobody_began_to_post_is_canceled_on_the_spot(lab):
    ledger.create(lab.table, RUN.due(Due.SUBMIT, 0))
    assert ask(lab) is Answer.DONE
    run = ledger.load(lab.table, "r")
    assert (run.state, run.due_kind) == (State.CANCELED, None)
    assert lab.cromwell.posts == []


def test_a_run_that_somebody_is_posting_keeps_the_wish(lab):
    ledger.create(lab.table, replace(RUN, tries=1).due(Due.SUBMIT, lab.world.now + 99))
    ask(lab)
    run = ledger.load(lab.table, "r")
    assert (run.state, run.abort_at) == (State.QUEUED, lab.world.now)
    assert run.due_at == lab.world.now + 99, "whoever is at it sees the wish"


def test_a_run_that_somebody_begins_to_post_just_then_is_not_canceled(lab):
    run = ledger.create(lab.table, RUN.due(Due.SUBMIT, 0))
    asked = ledger.change(lab.table, run, lambda known: replace(known, abort_at=1))[0]
    meanwhile(lab.table, lambda: ledger.change(lab.table, asked, lambda k: replace(k, tries=1)))
    ask(lab)
    assert ledger.load(lab.table, "r").state is State.QUEUED


def test_a_run_that_ends_just_then_is_left(lab):
    ledger.create(lab.table, replace(RUN, submitted_at=5))
    meanwhile(lab.table, lambda: end(lab.table, "r"))
    assert ask(lab) is Answer.DONE
    assert ledger.load(lab.table, "r").state is State.COMPLETE


def test_a_second_wish_changes_nothing(lab):
    ledger.create(lab.table, replace(RUN, submitted_at=5, state=State.RUNNING))
    ask(lab)
    lab.world.now += 60
    ask(lab)
    assert ledger.load(lab.table, "r").abort_at == lab.world.now - 60


def test_a_run_that_is_not_on_hold_needs_no_release(lab):
    ledger.create(lab.table, replace(RUN, submitted_at=5, state=State.RUNNING))
    assert ask(lab, Action.RELEASE) is Answer.DONE
    assert ledger.load(lab.table, "r").due_kind is Due.POLL


def test_a_release_that_an_earlier_delivery_passed_on_is_done(lab):
    ledger.create(lab.table, replace(RUN, submitted_at=5, state=State.PAUSED))

    def release(run_id):
        raise Refused("Couldn't change status of workflow because the workflow is not in 'On Hold'")

    lab.cromwell.release = release
    assert ask(lab, Action.RELEASE) is Answer.DONE
    assert ledger.load(lab.table, "r").due_kind is Due.POLL


@pytest.mark.parametrize("answer", Answer)
def test_only_what_was_acted_on_is_removed(answer):
    assert answer.acted == (answer in (Answer.DONE, Answer.NOTHING_TO_DO))
