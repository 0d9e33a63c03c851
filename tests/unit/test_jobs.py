"""Which of two sightings of a job is later, whatever order they arrive in."""

from __future__ import annotations

import functools
import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropwell.jobs import JobStatus, Sighting, later

WITHIN_AN_ATTEMPT = [
    JobStatus.SUBMITTED,
    JobStatus.PENDING,
    JobStatus.RUNNABLE,
    JobStatus.STARTING,
    JobStatus.RUNNING,
]
ENDS = [JobStatus.SUCCEEDED, JobStatus.FAILED]


def seen(status: JobStatus, attempts: int = 0, **more: object) -> Sighting:
    return Sighting(job_id="j-1", status=status, attempts=attempts, **more)


def life(attempts: int, end: JobStatus) -> list[Sighting]:
    """All that a job goes through: Batch starts it over after each attempt but the last."""
    first = [seen(status) for status in WITHIN_AN_ATTEMPT]
    again = [
        seen(status, ended)
        for ended in range(1, attempts)
        for status in (JobStatus.RUNNABLE, JobStatus.STARTING, JobStatus.RUNNING)
    ]
    return [*first, *again, seen(end, attempts)]


lives = st.builds(life, st.integers(1, 10), st.sampled_from(ENDS))
sightings = st.builds(seen, st.sampled_from(JobStatus), st.integers(0, 10))


@settings(deadline=None)
@given(lives)
def test_every_step_of_a_life_is_later_than_the_one_before(steps):
    ranks = [step.rank for step in steps]
    assert ranks == sorted(set(ranks))


@settings(deadline=None)
@given(lives, st.randoms(use_true_random=False))
def test_any_order_with_any_duplicates_and_losses_keeps_what_came_last(steps, chance):
    delivered = chance.choices(steps, k=2 * len(steps))
    kept = functools.reduce(later, delivered)
    assert kept.rank == max(one.rank for one in delivered)
    assert functools.reduce(later, sorted(delivered, key=lambda _: chance.random())) == kept


def test_all_orders_of_a_retried_life_end_alike():
    steps = [
        seen(JobStatus.RUNNING),
        seen(JobStatus.RUNNABLE, 1),
        seen(JobStatus.RUNNING, 1),
        seen(JobStatus.FAILED, 2),
        seen(JobStatus.FAILED, 2),
    ]
    ends = {functools.reduce(later, order) for order in itertools.permutations(steps)}
    assert ends == {steps[-1]}


@settings(deadline=None)
@given(sightings, sightings, sightings)
def test_it_does_not_matter_how_sightings_are_grouped(one, two, three):
    assert later(later(one, two), three).rank == later(one, later(two, three)).rank


@settings(deadline=None)
@given(sightings)
def test_a_duplicate_adds_nothing(one):
    again = seen(one.status, one.attempts, reason="heard again")
    assert later(one, again) is one


@settings(deadline=None)
@given(sightings, sightings)
def test_of_two_the_later_is_the_same_whoever_was_known(one, two):
    assert later(one, two).rank == later(two, one).rank


@settings(deadline=None)
@given(st.sampled_from(ENDS), st.integers(0, 10), sightings.filter(lambda s: not s.status.terminal))
def test_nothing_follows_an_end_but_an_end(end, attempts, other):
    ended = seen(end, attempts)
    assert later(ended, other) is ended
    assert later(other, ended) is ended


def test_more_ended_attempts_outweigh_any_status_but_an_end():
    assert later(seen(JobStatus.RUNNING), seen(JobStatus.RUNNABLE, 1)).attempts == 1
    assert later(seen(JobStatus.SUCCEEDED, 1), seen(JobStatus.RUNNING, 9)).status == "SUCCEEDED"


def test_two_different_ends_settle_the_same_way_round_either_way():
    won, lost = seen(JobStatus.SUCCEEDED, 1), seen(JobStatus.FAILED, 1)
    assert later(won, lost) == later(lost, won) == lost


def test_attempts_beyond_all_measure_do_not_outrank_an_end():
    assert seen(JobStatus.RUNNING, 10**9).rank < seen(JobStatus.SUCCEEDED).rank


@pytest.mark.parametrize("status", JobStatus)
def test_only_success_and_failure_are_ends(status):
    assert status.terminal == (status in ("SUCCEEDED", "FAILED"))


def test_ten_thousand_shuffled_sightings_of_many_jobs_come_out_right():
    chance = random.Random(7)
    told = [
        Sighting(job_id=f"j-{n}", status=step.status, attempts=step.attempts)
        for n in range(1_000)
        for step in life(2, ENDS[n % 2])
    ]
    told += chance.sample(told, 1_500)
    chance.shuffle(told)
    known: dict[str, Sighting] = {}
    for one in told:
        known[one.job_id] = later(known.get(one.job_id, one), one)
    assert {one.status for n, one in known.items() if int(n[2:]) % 2 == 0} == {"SUCCEEDED"}
    assert {one.status for n, one in known.items() if int(n[2:]) % 2} == {"FAILED"}
