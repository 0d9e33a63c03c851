"""What the command prints, read as a person reads it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from dropwell.calls import CallId
from dropwell.jobs import JobStatus, Sighting
from dropwell.runs import Run, State
from dropwell_cli import faces
from dropwell_cli.finding import Listed
from dropwell_cli.following import Watched
from dropwell_cli.reading import Call, Said, Standing

NOW = 1_762_336_800


def printed(show, *args, width=80, **more):
    out = Console(file=io.StringIO(), width=width, highlight=False, emoji=False, markup=False)
    show(out, *args, **more)
    return out.file.getvalue()


def run(**known):
    known = {"name": "wgs-0412", "project": "cardio", "dropped_at": NOW - 90} | known
    return Run(run_id="0efafdca-7c95-539e-a323-5d833509a1cc", **known)


def watched(counts=None, **known):
    standing = Standing(run=run(**known), counts=counts or {})
    return Watched(run_id=standing.run.run_id, name=standing.run.name, standing=standing)


class TestJobs:
    @pytest.mark.parametrize(
        ("counts", "text"),
        [
            ({}, ""),
            ({"jobs": 1}, "0/1 job"),
            ({"jobs": 8, "succeeded": 3, "running": 5}, "3/8 jobs"),
            ({"jobs": 1200, "succeeded": 1199, "failed": 1}, "1,200/1,200 jobs, 1 failed"),
        ],
    )
    def test_are_told_as_those_that_ended_of_all(self, counts, text):
        assert faces.jobs_text(counts).plain == text


class TestState:
    def test_of_a_drop_that_nobody_took_yet(self):
        assert faces.state_text(Standing(counts={})).plain == "in the inbox"

    def test_tells_what_a_queued_run_waits_for(self):
        standing = Standing(run=run(waiting="refused"), counts={})
        assert faces.state_text(standing).plain == "QUEUED, waiting for Cromwell"


class TestAMail:
    SAID = Said(
        notice_id="r/ended",
        run_id="r",
        kind="ended",
        at=NOW,
        subject="[cardio] FAILED: wgs-0412, [red]task error[/red] in align",
        body=f"Ended.\nRun folder: s3://bucket/{'long/' * 30}\n",
    )

    def test_keeps_its_addresses_in_one_piece(self):
        assert f"s3://bucket/{'long/' * 30}\n" in printed(faces.letter, self.SAID)

    def test_is_shown_as_written_whatever_it_looks_like(self):
        assert "[red]task error[/red]" in printed(faces.letter, self.SAID)


class TestProgressWithoutATerminal:
    def test_says_each_state_once(self):
        out = Console(file=io.StringIO(), width=80)
        one = watched(state=State.RUNNING, counts={"jobs": 2, "running": 2})
        with faces.Progress(out, [one]) as face:
            face.progress([one], NOW)
            face.progress([one], NOW + 60)
        assert out.file.getvalue() == "10:00:00  wgs-0412  RUNNING, 0/2 jobs, 1 min 30 s\n"

    def test_says_jobs_only_now_and_then(self):
        out = Console(file=io.StringIO(), width=80)
        with faces.Progress(out, [watched()]) as face:
            for second in range(12):
                one = watched(state=State.RUNNING, counts={"jobs": 99, "succeeded": second})
                face.progress([one], NOW + second)
        lines = out.file.getvalue().splitlines()
        assert [line.split(", ")[1] for line in lines] == ["0/99 jobs", "5/99 jobs", "10/99 jobs"]

    def test_says_an_end_at_once(self):
        out = Console(file=io.StringIO(), width=80)
        with faces.Progress(out, [watched()]) as face:
            face.progress([watched(state=State.RUNNING)], NOW)
            face.progress([watched(state=State.COMPLETE, ended_at=NOW)], NOW + 1)
        assert "COMPLETE" in out.file.getvalue().splitlines()[1]


class TestCallsThatGoOn:
    def calls(self, *shown):
        return tuple(
            Call(
                call_id=CallId("r", name, shard),
                seen=Sighting(job_id=f"{name}{shard}", status=status),
            )
            for name, shard, status in shown
        )

    def test_are_told_by_their_shards_and_those_that_ended_not_at_all(self):
        calls = self.calls(
            ("align", 0, JobStatus.SUCCEEDED),
            ("align", 1, JobStatus.RUNNING),
            ("align", 2, JobStatus.FAILED),
            ("index", -1, JobStatus.SUCCEEDED),
            ("gather", -1, JobStatus.RUNNABLE),
        )
        assert faces.calls_texts(calls) == [
            ("align", "2/3, 1 running, 1 failed"),
            ("gather", "0/1"),
        ]

    def test_beyond_a_few_are_counted(self):
        calls = self.calls(*((f"call{n}", -1, JobStatus.RUNNING) for n in range(9)))
        assert faces.calls_texts(calls)[6:] == [("and", "3 more calls")]

    def test_stand_in_the_line_of_their_run(self):
        out = Console(file=io.StringIO(), width=80)
        one = watched(state=State.RUNNING, counts={"jobs": 2, "running": 2})
        one.calls = self.calls(("align", 0, JobStatus.RUNNING))
        with faces.Progress(out, [one]) as face:
            face.progress([one], NOW)
        assert out.file.getvalue().endswith("0/2 jobs, 1 min 30 s, align 0/1, 1 running\n")


class TestTheEnding:
    def test_names_each_drop_its_end_and_why(self):
        failed = watched(
            state=State.EXECUTOR_ERROR,
            ended_at=NOW,
            counts={"jobs": 4, "succeeded": 3, "failed": 1},
        )
        rejected = watched(name="typo", state=State.REJECTED, findings=("inputs.json:2  no",))
        told = printed(faces.ending, [failed, rejected], [{"cause": "TASK_ERROR"}, {"cause": None}])
        _, _, *lines = (" ".join(line.split()) for line in told.splitlines())
        assert lines == [
            "wgs-0412 EXECUTOR_ERROR TASK_ERROR 4/4, 1 failed 1 min 30 s",
            "typo REJECTED 1 problem",
        ]


class TestTheListOfRuns:
    LISTED = (
        Listed(
            run(name="a-very-long-name-of-a-run-that-goes-on", state=State.EXECUTOR_ERROR),
            {"jobs": 340, "succeeded": 337, "failed": 3},
        ),
    )

    @pytest.mark.parametrize("width", [80, 120])
    def test_fits_the_terminal_with_nothing_cut_that_counts(self, width):
        told = printed(faces.run_list, self.LISTED, NOW, width=width)
        assert max(map(len, told.splitlines())) <= width
        assert "0efafdca" in told
        assert "EXECUTOR_ERROR" in told
        assert "3 failed" in told


class TestTheTableOfCalls:
    def test_takes_shards_together_and_names_those_that_failed(self):
        def call(shard, status):
            seen = Sighting(job_id=f"j{shard}", status=status)
            return Call(call_id=CallId("r", "align", shard), seen=seen)

        calls = [
            call(0, JobStatus.SUCCEEDED),
            call(1, JobStatus.FAILED),
            call(2, JobStatus.RUNNING),
        ]
        told = printed(lambda out: out.print(faces.call_table(calls)))
        assert told.splitlines()[1].split() == ["align", "3", "1", "1", "1:", "align-1"]
