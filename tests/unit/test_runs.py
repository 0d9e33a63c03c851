"""States of a run: what Cromwell's words mean, in any order, and when to ask again."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropwell.runs import Due, Run, State, heard, next_poll, next_try, state_of

RUN = Run(run_id="r", project="cardio", name="wgs", submitted_at=100)
WORDS = ["On Hold", "Submitted", "Running", "Aborting", "Aborted", "Succeeded", "Failed"]


def after(*words, run=RUN, now=200):
    for word in words:
        run = heard(run, word, now) or run
    return run


class TestCromwellsWords:
    @pytest.mark.parametrize(
        ("word", "state"),
        [
            ("On Hold", State.PAUSED),
            ("Submitted", State.QUEUED),
            ("Running", State.RUNNING),
            ("Aborting", State.CANCELING),
            ("Aborted", State.CANCELED),
            ("Succeeded", State.COMPLETE),
            ("Failed", State.EXECUTOR_ERROR),
        ],
    )
    def test_mean_these_states(self, word, state):
        assert state_of(word) is state
        assert after(word).state is state

    @pytest.mark.parametrize("word", ["", "running", "Meditating"])
    def test_of_another_kind_are_no_news(self, word):
        assert heard(RUN, word, 200) is None

    def test_said_twice_are_no_news(self):
        assert heard(after("Running"), "Running", 300) is None

    @pytest.mark.parametrize("order", list(permutations(["Submitted", "Running", "Succeeded"])))
    def test_in_any_order_come_to_the_same(self, order):
        assert after(*order).state is State.COMPLETE

    @given(st.lists(st.sampled_from(WORDS), max_size=12))
    def test_never_turn_a_state_back(self, words):
        run, ended = RUN, None
        for word in words:
            run = heard(run, word, 200) or run
            if ended:
                assert run.state is ended
            if run.state.terminal:
                ended = run.state


class TestTimes:
    def test_a_run_starts_when_it_first_runs(self):
        run = after("Running", now=200)
        assert (run.started_at, run.ended_at) == (200, 0)
        assert after("Succeeded", run=run, now=300).started_at == 200
        assert after("Succeeded", run=run, now=300).ended_at == 300

    def test_one_that_ended_between_two_polls_started_when_it_was_posted(self):
        run = after("Failed", now=300)
        assert (run.started_at, run.ended_at) == (100, 300)

    def test_being_seen_ends_the_count_of_not_being_seen(self):
        assert after("Running", run=replace(RUN, unseen=1)).unseen == 0


class TestAnAbort:
    def test_shows_until_cromwell_says_how_it_ended(self):
        asked = replace(after("Submitted"), state=State.CANCELING, abort_at=150)
        assert after("Running", run=asked).state is State.CANCELING
        assert after("Running", "Aborting", run=asked).state is State.CANCELING
        assert after("Running", "Aborted", run=asked).state is State.CANCELED

    def test_may_come_too_late(self):
        asked = replace(after("Running"), state=State.CANCELING, abort_at=150)
        assert after("Succeeded", run=asked).state is State.COMPLETE


class TestWhen:
    @given(st.integers(0, 10_000))
    def test_to_ask_again_is_between_5_seconds_and_a_minute(self, polls):
        assert 5 <= next_poll(polls) <= next_poll(polls + 1) <= 60

    @given(st.integers(0, 1000))
    def test_to_post_again_is_between_half_a_minute_and_ten(self, tries):
        assert 30 <= next_try(tries) <= next_try(tries + 1) <= 600

    def test_nothing_is_due_at_no_time(self):
        assert RUN.due(Due.POLL, 7).due(None) == RUN


class TestFolders:
    def test_are_of_runs_but_for_what_was_rejected(self):
        assert RUN.folder == "runs/cardio/wgs/r/"
        assert replace(RUN, state=State.REJECTED).folder == "rejected/cardio/wgs/r/"
