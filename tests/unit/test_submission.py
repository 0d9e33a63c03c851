"""Posting a drop where others write, or buckets lie, at the same moment."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dropwell import ledger
from dropwell.errors import Refused, TryAgain, UnclearRefusal
from dropwell.runs import Due, Run, State
from dropwell.submission import Outcome, submit
from tests.simulation.lab import Lab
from tests.simulation.world import World
from tests.unit.meanwhile import end, meanwhile


@pytest.fixture
def lab():
    return Lab(World())


@pytest.fixture
def post(lab):
    """Drop a bundle, and deliver its event."""

    def deliver(drop=None):
        drop = drop or lab.drop()
        return submit(drop, lab.desk, now=lab.world.now), drop

    return deliver


def taken_over(lab, drop, **known):
    """Change a run's record as another delivery would."""
    run = ledger.load(lab.table, drop.run_id)
    return lambda: ledger.change(lab.table, run, lambda now: replace(now, **known))


def test_a_drop_that_another_has_in_hand_is_left_to_it(lab, post):
    lab.cromwell.away = True
    _, drop = post()
    assert post(drop)[0] is Outcome.BUSY


def test_of_two_that_take_a_drop_at_once_one_posts_it(lab, post):
    drop = lab.drop()
    ledger.create(lab.table, _queued(lab, drop))
    meanwhile(lab.table, lambda: submit(drop, lab.desk, now=lab.world.now))
    assert post(drop)[0] is Outcome.KNOWN
    assert lab.cromwell.posts == [drop.run_id]


def _queued(lab, drop):
    return Run(
        run_id=drop.run_id, project=drop.project, name="hello", bucket=drop.bucket, key=drop.key,
        version_id=drop.version_id, size=drop.size, dropped_at=drop.dropped_at,
    ).due(Due.SUBMIT, 0)  # fmt: skip


@pytest.mark.parametrize(
    ("away", "refusal"),
    [(False, None), (True, None), (False, Refused("no")), (False, UnclearRefusal("perhaps"))],
    ids=["accepted", "away", "refused", "unclear"],
)
def test_what_was_decided_meanwhile_stands(lab, post, away, refusal):
    """Whatever Cromwell answers us: somebody else has ended the run."""
    drop = lab.drop()
    lab.cromwell.away = away

    def decided(submission):
        end(lab.table, drop.run_id, State.CANCELED)
        if refusal:
            raise refusal
        return lab.cromwell._here() or "Submitted"

    lab.cromwell.submit = decided
    lab.cromwell.status = lambda run_id: "Running"
    post(drop)
    run = lab.run(drop)
    assert (run.state, run.submitted_at) == (State.CANCELED, 0)
    assert lab.notices(drop) == ["ended"]


def test_an_abort_that_comes_while_it_is_posted_reaches_cromwell(lab, post):
    drop = lab.drop()
    submitted = lab.cromwell.submit

    def asked_meanwhile(submission):
        answer = submitted(submission)
        taken_over(lab, drop, abort_at=lab.world.now)()
        return answer

    lab.cromwell.submit = asked_meanwhile
    post(drop)
    assert lab.run(drop).state is State.CANCELING
    assert lab.cromwell.now_is[drop.run_id] == "Aborted"


def test_a_run_called_off_while_cromwell_does_not_answer_for_it_waits(lab, post):
    """Abort says that it knows no such run, and then Cromwell is gone before it told its status."""
    lab.cromwell.away = True
    _, drop = post()
    taken_over(lab, drop, abort_at=lab.world.now)()
    lab.world.now += 60
    lab.cromwell.away = False

    def status(run_id):
        lab.cromwell.away = True
        lab.cromwell._here()

    lab.cromwell.status = status
    assert post(drop)[0] is Outcome.WAITING
    assert lab.run(drop).state is State.QUEUED


def test_a_copy_of_another_length_is_not_trusted(lab, post):
    drop = lab.drop()
    size = lab.inbox.size
    lab.inbox.size = lambda key: (size(key) or 0) - 1
    with pytest.raises(TryAgain, match="not as long as what was dropped"):
        post(drop)
    assert drop.key in lab.inbox.keys("inbox/")
    lab.inbox.size = size
    assert post(drop)[0] is Outcome.SUBMITTED
    assert lab.inbox.keys("inbox/") == []


def test_a_receipt_that_another_finished_is_finished(lab, post):
    drop = lab.drop()
    remove = lab.inbox.remove

    def kept_meanwhile(key, version_id):
        remove(key, version_id)
        taken_over(lab, drop, kept=True)()

    lab.inbox.remove = kept_meanwhile
    post(drop)
    assert lab.run(drop).kept


def test_a_twin_in_another_project_is_not_told_of(lab, post):
    """Its file's name and its run are none of this project's business."""
    post(lab.drop(project="oncology"))
    _, drop = post(lab.drop())
    assert lab.run(drop).warnings == ()
