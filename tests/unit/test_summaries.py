"""Summaries of failed calls: made, kept as JSON, and joined whatever comes first."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest

from dropwell.calls import CallId
from dropwell.causes import Actor, Cause, Evidence
from dropwell.summaries import TAIL_LINES, CallSummary, better, summarise

RUN = "6f2c0d1e-58a4-5d0c-9f4e-2b8f6a0c3d11"
CALL = CallId(RUN, "align", 3)
OOM = "OutOfMemoryError: Container killed due to memory usage"


def summary(evidence, **more):
    return summarise(CALL, evidence, run_id=RUN, **more)


class TestSummarise:
    def test_joins_verdict_fingerprint_tail_and_places(self):
        made = summary(
            Evidence(return_code=2, rc_present=True, exit_code=2, stderr="loading\nError: x\n"),
            stderr_url="s3://w/align-3-stderr.log",
            job_id="j-1",
            log_group="/aws/batch/job",
            log_stream="a/default/1",
        )
        assert (made.cause, made.actor) == (Cause.TASK_ERROR, Actor.PIPELINE_AUTHOR)
        assert (made.return_code, made.exit_code, made.rule) == (2, 2, "return-code")
        assert (made.tail, made.tail_of) == (("loading", "Error: x"), "stderr")
        assert made.stderr_url == "s3://w/align-3-stderr.log"
        assert len(made.signature) == 12

    def test_what_cromwells_script_says_as_it_goes_on_is_nobodys_last_word(self):
        log = (
            "*** LOCALIZING INPUTS ***\nfatal error\n*** COMPLETED LOCALIZATION ***\n"
            "DELOCALIZATION RESULT: 0\n*** EXITING WITH RETURN CODE ***\n1\n"
        )
        assert summary(Evidence(exit_code=1, rc_present=False, job_log=log)).tail == (
            "fatal error",
        )
        assert summary(Evidence(exit_code=137, job_log=log.replace("fatal error\n", ""))).tail == ()

    @pytest.mark.parametrize(
        ("texts", "source"),
        [
            ({"stderr": "e", "job_log": "l", "stdout": "o"}, "stderr"),
            ({"stderr": " \n", "job_log": "l", "stdout": "o"}, "the job's log"),
            ({"stdout": "o"}, "stdout"),
            ({}, ""),
        ],
    )
    def test_takes_the_tail_from_the_first_that_says_anything(self, texts, source):
        assert summary(Evidence(return_code=1, **texts)).tail_of == source

    def test_keeps_a_bounded_clean_redacted_tail(self):
        stderr = "".join(f"{n} \x1b[1mpassword=hunter2\x1b[0m\n" for n in range(1000))
        tail = summary(Evidence(return_code=1, stderr=stderr)).tail
        assert len(tail) == TAIL_LINES
        assert tail[-1] == "999 password=[redacted]"

    def test_shards_that_fail_alike_have_one_fingerprint(self):
        found = {
            summarise(
                CallId(RUN, "align", shard),
                Evidence(return_code=1, rc_present=True, stderr=f"Error: S{shard}.bam is empty"),
                run_id=RUN,
            ).signature
            for shard in range(50)
        }
        assert len(found) == 1


class TestJson:
    def test_reads_back_what_it_wrote(self):
        made = summary(
            Evidence(job_status="FAILED", exit_code=137, container_reason=OOM), job_id="j"
        )
        assert CallSummary.from_json(made.to_json()) == made

    def test_leaves_out_what_a_later_release_added(self):
        document = json.loads(summary(Evidence(return_code=1)).to_json())
        document |= {"cause": "LICENCE", "actor": "the bursar", "colour": "red"}
        read = CallSummary.from_dict(document)
        assert (read.cause, read.actor) == (Cause.UNKNOWN, Actor.PLATFORM)


# One call as seen at different moments, by different witnesses.
BY_RC = summary(
    Evidence(return_code=137, rc_present=True, stderr="a\nb\n"), stderr_url="s3://w/stderr"
)
BY_BATCH = summary(
    Evidence(job_status="FAILED", exit_code=137, container_reason=OOM, memory_mib=8192),
    job_id="j-1",
    log_group="/aws/batch/job",
    log_stream="s",
)
BY_ABSENCE = summary(
    Evidence(job_status="FAILED", exit_code=1, rc_present=False, job_log="started\n"), job_id="j-1"
)
BY_LOG = summary(
    Evidence(
        job_status="FAILED",
        exit_code=1,
        rc_present=False,
        job_log="An error occurred (404) when calling the HeadObject operation\n",
    )
)
BY_A_LATE_RC = summary(Evidence(return_code=1, rc_present=True, stderr="a\nb\nc\n"))
BY_A_SHORT_READ = summary(Evidence(return_code=1, rc_present=True, stderr="a\n"))
BY_CACHE = replace(BY_A_SHORT_READ, cached=True)
BY_NOBODY = summary(Evidence())
BEFORE_THE_LOG = summary(Evidence(return_code=1, rc_present=True))
BY_ITS_RC = (BY_RC, BY_A_LATE_RC, BY_A_SHORT_READ, BEFORE_THE_LOG)
ALL = (*BY_ITS_RC, BY_BATCH, BY_ABSENCE, BY_LOG, BY_CACHE, BY_NOBODY)


class TestBetter:
    def test_takes_batchs_verdict_and_everything_else_from_whoever_has_it(self):
        both = better(BY_RC, BY_BATCH)
        assert (both.rule, both.confidence) == ("batch-out-of-memory", "sure")
        assert both.why == "asked 8 GB; its container was killed at the limit"
        assert (both.return_code, both.exit_code) == (137, 137)
        assert (both.tail, both.stderr_url, both.log_stream) == (("a", "b"), "s3://w/stderr", "s")

    def test_a_return_code_that_comes_late_overrules_what_rested_on_its_absence(self):
        assert better(BY_ABSENCE, BY_A_LATE_RC).rule == "return-code"
        assert better(BY_LOG, BY_A_LATE_RC).rule == "return-code"

    def test_an_explanation_overrules_a_symptom(self):
        assert better(BY_ABSENCE, BY_LOG).cause is Cause.LOCALISATION

    def test_anything_overrules_nothing(self):
        assert better(BY_NOBODY, BY_ABSENCE).rule == "no-return-code"

    def test_keeps_the_longer_reading_of_one_file(self):
        assert better(BY_A_SHORT_READ, BY_A_LATE_RC).tail == ("a", "b", "c")

    def test_the_fingerprint_is_of_what_the_task_said_even_if_it_was_read_late(self):
        both = better(BEFORE_THE_LOG, BY_A_LATE_RC)
        assert both.signature == BY_A_LATE_RC.signature != BEFORE_THE_LOG.signature

    def test_a_second_telling_changes_nothing(self):
        assert all(better(one, one) == one for one in ALL)

    def test_the_order_of_two_does_not_matter(self):
        for one, other in itertools.permutations(ALL, 2):
            assert better(one, other) == better(other, one)

    def test_the_order_of_many_does_not_matter(self):
        for a, b, c in itertools.permutations(ALL, 3):
            assert better(better(a, b), c) == better(a, better(b, c))
