"""One drop is one run, wherever the submitter dies and however often the drop is announced."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest

from dropwell.preflight import Checked
from dropwell.runs import State
from tests.simulation.lab import Lab
from tests.simulation.world import Crash, World


def lab(**world: object) -> Lab:
    return Lab(World(**world))  # type: ignore[arg-type]


def assert_submitted_once(lab: Lab, drop) -> None:
    run = lab.run(drop)
    folder = f"runs/cardio/hello/{drop.run_id}/"
    assert run.state is State.COMPLETE
    assert list(lab.cromwell.accepted) == [drop.run_id]
    assert lab.notices(drop) == ["accepted", "ended"]
    assert set(lab.mails.told) == {f"{drop.run_id}/accepted", f"{drop.run_id}/ended"}
    assert lab.inbox.keys("inbox/") == []
    assert {folder + "bundle.zip", folder + "receipt.json", folder + "outputs.json"} <= set(
        lab.inbox.keys(folder)
    )
    assert not lab.world.dead


def effects_of_a_submission() -> int:
    """Return how many effects a plain submission has until the drop's message is done with."""
    quiet = lab()
    quiet.drop()
    quiet.world.step()
    return quiet.world.effects


POINTS = range(2 * effects_of_a_submission())


def test_a_drop_becomes_one_run_and_people_hear_twice():
    calm = lab()
    drop = calm.drop()
    calm.settle()
    assert_submitted_once(calm, drop)
    assert len(calm.mails.mails) == 2


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_any_point_changes_nothing(point):
    broken = lab(crash_at=frozenset({point}))
    drop = broken.drop()
    broken.settle()
    assert_submitted_once(broken, drop)


def test_two_crashes_at_any_points_change_nothing():
    tried = 0
    for first, second in combinations(range(2 * POINTS.stop), 2):
        if first not in POINTS:
            continue
        broken = lab(crash_at=frozenset({first, second}))
        drop = broken.drop()
        broken.settle()
        assert_submitted_once(broken, drop)
        tried += 1
    assert tried > 400


@pytest.mark.parametrize("seed", range(20))
def test_twenty_deliveries_at_once_are_one_run(seed):
    busy = lab(seed=seed, interleave=0.4)
    drop = busy.drop(times=20)
    busy.settle()
    assert_submitted_once(busy, drop)
    assert len(busy.mails.mails) == 2


def test_a_lost_answer_does_not_post_twice():
    broken = lab()
    broken.cromwell.lose_acks = 2
    drop = broken.drop()
    broken.settle()
    assert_submitted_once(broken, drop)


def test_an_outage_of_hours_costs_no_receives_and_loses_nothing():
    dark = lab()
    dark.cromwell.away = True
    drop = dark.drop()
    ends = dark.world.now + 4 * 3600
    while dark.world.now < ends:
        while dark.world.step():
            pass
        dark.world.now += 60
        dark.sweep()
        assert all(delivery.receives <= 1 for delivery in dark.world.pending)
    assert dark.run(drop).state is State.QUEUED
    assert "connection refused" in dark.run(drop).waiting
    dark.cromwell.away = False
    dark.settle()
    assert_submitted_once(dark, drop)


def test_an_abort_before_anything_was_posted_posts_nothing():
    away = lab()
    away.cromwell.away = True
    drop = away.drop()
    away.world.step()
    away.cromwell.away = False
    away.abort(drop)
    away.world.pending = [d for d in away.world.pending if d.queue != "plant"]
    away.settle()
    assert away.run(drop).state is State.CANCELED
    assert not away.cromwell.accepted
    assert away.notices(drop) == ["ended"]
    assert away.inbox.keys("inbox/") == []


@pytest.mark.parametrize("seed", range(40))
def test_an_abort_at_any_moment_ends_canceled_or_had_come_too_late(seed):
    busy = lab(seed=seed, interleave=0.5)
    drop = busy.drop(times=2)
    busy.abort(drop, delay=seed % 4 * 7)
    busy.world.pending = [d for d in busy.world.pending if d.queue != "plant"]
    _let_cromwell_obey(busy)
    busy.settle()
    run = busy.run(drop)
    assert run.state is State.CANCELED
    assert busy.notices(drop)[-1] == "ended"
    assert busy.inbox.keys("inbox/") == []


def _let_cromwell_obey(lab: Lab) -> None:
    """Have Cromwell end a workflow some time after it was told to abort it."""
    obey = lab.cromwell._abort

    def abort(run_id: str) -> str:
        answer = obey(run_id)
        if answer == "Aborting":
            lab.world.send("plant", ("status", run_id, "Aborted"), 40)
        return answer

    lab.cromwell._abort = abort  # type: ignore[method-assign]


def test_a_drop_that_is_removed_after_it_was_posted_is_followed_all_the_same():
    """The submitter dies after the post, and the owner tidies up before it comes again."""
    calm = lab()
    calm.drop()
    calm.world.step()
    posted = calm.world.trace.index("POST submit")
    broken = lab(crash_at=frozenset({2 * posted + 1}))
    drop = broken.drop()
    broken.world.step()
    broken.inbox.objects.pop(drop.key)
    broken.settle()
    assert list(broken.cromwell.accepted) == [drop.run_id]
    assert broken.run(drop).state is State.COMPLETE
    assert broken.notices(drop) == ["accepted", "ended"]


def _dies(_: object) -> Checked:
    raise Crash("out of memory")


def test_a_drop_that_kills_each_submitter_is_rejected_in_the_end():
    deadly = lab()
    deadly.desk = replace(deadly.desk, check=_dies)
    drop = deadly.drop()
    deadly.world.pending = [d for d in deadly.world.pending if d.queue != "plant"]
    deadly.settle()
    run = deadly.run(drop)
    assert run.state is State.REJECTED
    assert "6 times" in run.findings[0]
    assert deadly.notices(drop) == ["rejected"]
    assert deadly.inbox.keys("inbox/") == []
    assert run.ended_at - run.dropped_at < 4 * 3600, "its owner hears the same day"


def test_a_submitter_that_dies_now_and_then_during_an_outage_rejects_nothing():
    dark = lab()
    calm = dark.desk
    drop = dark.drop()
    dark.cromwell.away = True
    for number in range(40):
        dark.desk = calm if number % 3 else replace(calm, check=_dies)
        while dark.world.step():
            pass
        dark.world.now += 900
        dark.sweep()
    dark.desk = calm
    dark.cromwell.away = False
    dark.settle()
    assert_submitted_once(dark, drop)


def test_a_drop_that_was_posted_before_its_submitters_died_is_followed():
    calm = lab()
    calm.drop()
    calm.world.step()
    posted = calm.world.trace.index("POST submit")
    broken = lab(crash_at=frozenset({2 * posted + 1}))
    drop = broken.drop()
    broken.world.step()
    broken.desk = replace(broken.desk, check=_dies)
    broken.settle()
    assert broken.run(drop).state is State.COMPLETE
    assert broken.notices(drop) == ["accepted", "ended"]
