"""Sightings late, twice and out of order: the same end, and counters that equal a recount."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dropwell.blockages import WINDOW, Blockage
from dropwell.records import COUNTS, JOB, recount
from dropwell.runs import State
from dropwell.telling import PATIENCE
from tests.simulation.lab import Job, Lab
from tests.simulation.world import MemoryBucket, World, same

OOM = "OutOfMemoryError: Container killed due to memory usage"

SCATTER = [
    *(Job("align", shard) for shard in range(6)),
    Job("align", 6, return_code=None, reason="Host EC2 (instance i-1) terminated.", lasting=False),
    Job("align", 6, attempt=2),
    Job("align", 7, retries=1),
    Job("gather", return_code=3, stderr="Error: no reads in sample\n"),
]

# What depends on when we heard, not on what became true.
TIMING = {
    "rev", "polls", "due_at", "claimed_until", "said_at", "at", "ended_at", "started_at",
    "submitted_at", "superseded_at", "doubted_at", "failing_at", "tries", "broken_off",
    "expires_at", "unseen", "suspect", "endings",
}  # fmt: skip


def lived(
    seed: int, *, copies: int = 1, spread: int = 0, interleave: float = 0.0, lost: float = 0.0
) -> Lab:
    lab = Lab(World(seed=seed, interleave=interleave), copies=copies, spread=spread, lost=lost)
    drop = lab.drop()
    lab.plan(drop, SCATTER, "Failed")
    lab.settle()
    return lab


def counts(lab: Lab, run_id: str) -> dict[str, int]:
    item = lab.table.get((run_id, COUNTS)) or {}
    return {name: count for name, count in item.items() if name not in ("pk", "sk") and count}


def test_a_run_whose_gather_fails_is_told_of_with_its_cause():
    lab = lived(0)
    [run_id] = lab.cromwell.accepted
    _, body, attributes = lab.mails.mails[-1]
    assert attributes["cause"] == "TASK_ERROR"
    assert "gather" in body
    assert "no reads in sample" in body
    assert counts(lab, run_id) == {"jobs": 10, "succeeded": 8, "failed": 2}


@pytest.mark.parametrize("seed", range(1, 31))
def test_events_three_times_and_shuffled_end_in_the_same_table(seed):
    calm = lived(0)
    wild = lived(seed, copies=3, spread=400, interleave=0.2)
    kinds = ("RUN", COUNTS, JOB, "CALL#", "SIG#", "NOTICE#ended", "NOTICE#accepted")

    assert same(wild.kept(*kinds), but=TIMING) == same(calm.kept(*kinds), but=TIMING)


@pytest.mark.parametrize("seed", range(20))
def test_what_lost_events_did_not_tell_batch_is_asked(seed):
    """And not after a while of waiting for what will never come: the run has ended."""
    lab = lived(seed, lost=0.4 if seed else 1.0)
    [run_id] = lab.cromwell.accepted
    ended = lab.table.get((run_id, "NOTICE#ended"))
    assert ended["said_at"] < ended["at"] + PATIENCE
    assert lab.mails.mails[-1][2]["cause"] == "TASK_ERROR"
    assert lab.table.get((run_id, COUNTS)).get("running", 0) == 0
    assert recount(lab.table.query(run_id, JOB)) == counts(lab, run_id)


@pytest.mark.parametrize("seed", range(60))
def test_crashes_at_random_lose_nothing(seed):
    world = World(seed=seed, interleave=0.1)
    world.crash_at = frozenset(world.random.sample(range(600), 25))
    lab = Lab(world, copies=2, spread=120)
    drop = lab.drop(times=2)
    lab.plan(drop, SCATTER, "Failed")
    lab.settle()
    assert lab.run(drop).state is State.EXECUTOR_ERROR
    assert {"accepted", "ended"} <= set(lab.notices(drop))
    assert {f"{drop.run_id}/ended", f"{drop.run_id}/accepted"} <= set(lab.mails.told)
    assert counts(lab, drop.run_id) == recount(lab.table.query(drop.run_id))
    assert list(lab.cromwell.accepted) == [drop.run_id]


def test_jobs_are_placed_by_their_script_where_tags_are_off():
    lab = Lab(World(), tagged=False)
    drop = lab.drop()
    lab.plan(drop, SCATTER, "Failed")
    lab.settle()
    assert counts(lab, drop.run_id) == {"jobs": 10, "succeeded": 8, "failed": 2}


def test_a_script_is_read_once_however_often_its_job_is_seen(monkeypatch):
    lab = Lab(World(), tagged=False, copies=3)
    reads: list[str] = []

    def read(key: str, **how: Any) -> bytes:
        reads.append(key)
        return MemoryBucket.read(lab.workflows, key, **how)

    monkeypatch.setattr(lab.watch.scripts, "read", read)
    drop = lab.drop()
    lab.plan(drop, [Job("align", shard) for shard in range(6)], "Succeeded")
    lab.settle()
    assert counts(lab, drop.run_id) == {"jobs": 6, "succeeded": 6}
    assert len(reads) == len(set(reads)) == 6


def test_a_failure_that_cromwell_retries_raises_no_false_alarm():
    lab = Lab(World())
    drop = lab.drop()
    lab.plan(drop, [j for j in SCATTER if j.call == "align"], "Succeeded")
    lab.settle()
    assert lab.run(drop).state is State.COMPLETE
    assert lab.notices(drop) == ["accepted", "ended"]


def test_a_run_that_cromwell_forgets_is_lost_and_said_so():
    lab = Lab(World())
    drop = lab.drop()
    lab.plan(drop, [Job("say")], "Running")
    for _ in range(60):
        while lab.world.step():
            pass
        lab.world.now += 10
    lab.cromwell.seen_from.clear()
    lab.settle()
    assert lab.run(drop).state is State.SYSTEM_ERROR
    assert lab.mails.mails[-1][2]["cause"] == "LOST_UPSTREAM"


@pytest.mark.parametrize("seed", range(20))
def test_a_blocked_queue_is_told_of_once_a_window_and_reason(seed):
    world = World(seed=seed, interleave=0.2)
    world.crash_at = frozenset(world.random.sample(range(200), 10))
    lab = Lab(world, copies=3, spread=400)
    drop = lab.drop()
    lab.plan(drop, SCATTER, "Failed")
    capacity = Blockage(queue="spot", reason="CAPACITY:NONE - not one", at=WINDOW)
    for minute in range(30):
        lab.block(replace(capacity, at=WINDOW + 60 * minute, job_name=f"job {minute}"), minute)
    lab.block(replace(capacity, reason="MISCONFIGURATION:ROLE"))
    lab.block(replace(capacity, at=2 * WINDOW))
    lab.settle()
    recorded = [item["notice_id"] for item in lab.table.query("QUEUE#spot")]
    assert len(recorded) == len(set(recorded)) == 3
    assert {told for told in lab.mails.told if told.startswith("spot/")} == set(recorded)
