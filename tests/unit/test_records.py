"""Items of the table: what is written of a run or a job is read back; counts and notices."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropwell.calls import CallId
from dropwell.jobs import JobStatus, Sighting
from dropwell.records import (
    ABSENT,
    NEW,
    NOTICE_GRACE,
    UNATTRIBUTED,
    add_counts,
    job_key,
    live_jobs,
    month,
    notice_key,
    put_job,
    put_notice,
    put_pointer,
    put_run,
    put_same_bytes,
    recount,
    run_of,
    sighting_of,
)
from dropwell.runs import Due, Origin, Run, State

words = st.text(max_size=12)
tuples = st.lists(words, max_size=3).map(tuple)
moments = st.integers(0, 4_000_000_000)

runs = st.builds(
    Run,
    run_id=st.uuids().map(str),
    state=st.sampled_from(State),
    project=words,
    name=words,
    origin=st.sampled_from(Origin),
    workflow=words,
    principal=words,
    bucket=words,
    key=words,
    version_id=words,
    size=moments,
    sha256=words,
    labels=st.dictionaries(words, words, max_size=3).map(lambda d: tuple(sorted(d.items()))),
    warnings=tuples,
    findings=tuples,
    failures=tuples,
    cause=words,
    dropped_at=moments,
    tries=st.integers(0, 99),
    submitted_at=moments,
    abort_at=moments,
    kept=st.booleans(),
    suspect=st.booleans(),
    cromwell_status=words,
    rev=st.integers(0, 99),
)

sightings = st.builds(
    Sighting,
    job_id=words.filter(bool),
    status=st.sampled_from(JobStatus),
    attempts=st.integers(0, 9),
    job_name=words,
    queue=words,
    exit_code=st.none() | st.integers(0, 255),
    reason=words,
    container_reason=words,
    log_stream=words,
    created_at=st.none() | moments,
    started_at=st.none() | moments,
    stopped_at=st.none() | moments,
    vcpus=words,
    memory_mib=st.none() | moments,
    script_url=words,
)


class TestARun:
    @given(runs, st.sampled_from([None, *Due]), moments)
    def test_is_read_back_as_it_was_written(self, run, kind, at):
        run = run.due(kind, at)
        assert run_of(put_run(run).item) == replace(run, rev=run.rev + 1)

    def test_is_written_over_what_was_read_or_over_nothing(self):
        run = Run(run_id="r", project="p", name="n")
        assert put_run(run).expect == NEW == {"pk": ABSENT}
        assert put_run(replace(run, rev=4)).expect == {"rev": 4}

    def test_is_in_the_index_from_moment_0_and_only_while_it_waits(self):
        run = Run(run_id="r", project="p", name="n")
        assert put_run(run.due(Due.SUBMIT, 0)).item["due_at"] == 0
        assert {"due_kind", "due_at"}.isdisjoint(put_run(run).item)

    def test_of_a_later_release_is_read_for_what_we_know(self):
        item = put_run(Run(run_id="r", project="p", name="n")).item | {"mood": "good"}
        assert run_of(item).name == "n"

    def test_is_listed_by_the_month_of_its_drop_in_order(self):
        early, late = (
            put_pointer(Run(run_id="r", project="p", name="n", dropped_at=at)).item
            for at in (999_999_999, 1_000_000_000)
        )
        assert early["sk"] < late["sk"]
        assert month(1_714_521_600) == "RUNS#2024-05"

    def test_is_found_by_its_bytes(self):
        put = put_same_bytes(Run(run_id="r", project="p", name="n", sha256="ab"))
        assert put.key == ("BYTES#ab", "r")


class TestAJob:
    @given(sightings)
    def test_is_read_back_as_it_was_written(self, seen):
        put = put_job("r", CallId("w", "align", 3), seen, None)
        assert sighting_of(put.item) == seen
        assert CallId.parse(put.item["call"]) == CallId("w", "align", 3)

    def test_is_written_over_the_rank_that_was_read_0_too(self):
        seen = Sighting(job_id="j", status=JobStatus.SUBMITTED)
        assert put_job("r", None, seen, None).expect == NEW
        assert put_job("r", None, seen, 0).expect == {"rank": 0}
        assert put_job(UNATTRIBUTED, None, seen, None).key == job_key(UNATTRIBUTED, "j")

    def test_keeps_no_endless_reason(self):
        seen = Sighting(job_id="j", status=JobStatus.FAILED, reason="x" * 999,
                        container_reason="y" * 999)  # fmt: skip
        item = put_job("r", None, seen, None).item
        assert len(item["reason"]) == len(item["container_reason"]) == 255


class TestCounts:
    moves = st.lists(st.lists(st.sampled_from(JobStatus), min_size=1, max_size=5), max_size=9)

    @given(moves)
    def test_moved_one_by_one_equal_a_recount(self, lives):
        counts = {}
        for life in lives:
            for was, now in zip([None, *life], life, strict=False):
                for name, amount in add_counts("r", [(was, now)]).add.items():
                    counts[name] = counts.get(name, 0) + amount
        jobs = [{"sk": f"JOB#{n}", "status": life[-1].value} for n, life in enumerate(lives)]
        assert {name: n for name, n in counts.items() if n} == recount(jobs)
        ended = sum(life[-1].terminal for life in lives)
        assert live_jobs(counts) == len(lives) - ended

    @pytest.mark.parametrize("counts", [{}, {"jobs": 2, "succeeded": 1, "failed": 1}])
    def test_of_no_live_job_are_none(self, counts):
        assert live_jobs(counts) == 0


class TestANotice:
    def test_is_recorded_once_and_due_when_the_stream_had_its_time(self):
        put = put_notice("r", "ended", 100)
        assert put.expect == NEW
        assert put.key == notice_key("r", "ended")
        assert put.item["due_at"] == 100 + NOTICE_GRACE
        assert put.item["notice_id"] == "r/ended"
