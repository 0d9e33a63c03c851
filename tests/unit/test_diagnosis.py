"""Looking into failures where others write at the same moment, and of what cannot be read."""

from __future__ import annotations

import pytest

from dropwell import ledger
from dropwell.calls import CallId, place_of_rc_key
from dropwell.diagnosis import Found, diagnose_jobs, diagnose_return_code, summary_of
from dropwell.errors import Superseded, TooLarge, TryAgain
from dropwell.jobs import JobStatus, Sighting
from dropwell.records import CALL, SIG, add_counts, put_job
from dropwell.runs import Run
from tests.simulation.lab import Lab
from tests.simulation.world import World
from tests.unit.meanwhile import meanwhile

RUN_ID = "0efafdca-7c95-539e-a323-5d833509a1cc"
KEY = f"cromwell-execution/hello/{RUN_ID}/call-gather/gather-rc.txt"
PLACE = place_of_rc_key("workflows", KEY)
CALLED = CallId(RUN_ID, "gather")


@pytest.fixture
def lab():
    lab = Lab(World())
    ledger.create(lab.table, Run(run_id=RUN_ID, project="cardio", name="n", submitted_at=1))
    return lab


@pytest.fixture
def left(lab):
    def leave(rc, stderr=""):
        lab.workflows.objects[KEY] = {"v1": rc}
        if stderr:
            lab.workflows.objects[PLACE.stderr_key] = {"v1": stderr.encode()}

    return leave


def look(lab, place=PLACE):
    return diagnose_return_code(place, lab.bench, now=lab.world.now)


def counted(lab):
    return sum(item["count"] for item in lab.table.query(RUN_ID, SIG))


def summaries(lab):
    return [found for item in lab.table.query(RUN_ID, CALL) if (found := summary_of(item))]


class TestTwoThatLookAtOnce:
    def test_count_a_failure_once(self, lab, left):
        left(b"3\n", "Error: no reads\n")
        meanwhile(lab.table, lambda: look(lab))
        assert look(lab) is Found.FAILURE
        assert (len(summaries(lab)), counted(lab)) == (1, 1)

    def test_take_a_failure_back_once(self, lab, left):
        left(b"3\n")
        look(lab)
        left(b"0\n")
        meanwhile(lab.table, lambda: look(lab))
        assert look(lab) is Found.SUCCESS
        assert (summaries(lab), counted(lab)) == ([], 0)

    def test_give_up_where_others_never_stop(self, lab, left):
        left(b"3\n")

        def refuse(*_):
            raise Superseded("another was first")

        lab.table.write = refuse
        with pytest.raises(TryAgain, match="written by many at once"):
            look(lab)

    def test_leave_a_failure_standing_that_they_cannot_take_back(self, lab, left):
        left(b"3\n")
        look(lab)
        left(b"0\n")

        def refuse(*_):
            raise Superseded("another was first")

        lab.table.write = refuse
        with pytest.raises(TryAgain):
            look(lab)


def test_a_failure_that_batch_knows_better_moves_to_the_count_of_its_kind(lab, left):
    left(b"3\n", "Error: no reads\n")
    look(lab)
    [task] = lab.table.query(RUN_ID, SIG)
    seen_failed(lab, container_reason="OutOfMemoryError: Container killed due to memory usage")
    assert diagnose_jobs(RUN_ID, ["j"], lab.bench, now=1) == 1
    counts = {item["sk"]: item["count"] for item in lab.table.query(RUN_ID, SIG)}
    assert counts.pop(task["sk"]) == 0
    assert list(counts.values()) == [1]


def seen_failed(lab, call_id=CALLED, **known):
    """Have a failed job on record."""
    seen = Sighting(job_id="j", status=JobStatus.FAILED, **known)
    lab.table.write(put_job(RUN_ID, call_id, seen, None), add_counts(RUN_ID, [(None, seen.status)]))


class TestReturnCodes:
    @pytest.mark.parametrize(
        ("text", "code"),
        [(b"3", 3), (b" 3 \n", 3), (b"-1\n", -1), (b"+7", 7), (b"", None), (b"three", None),
         (b"9" * 5000, None), (b"3\n4\n", None), (b"\xff", None)],
    )  # fmt: skip
    def test_are_numbers_or_nothing(self, lab, left, text, code):
        left(text)
        assert look(lab) is Found.FAILURE
        assert summaries(lab)[0].return_code == code


class TestScripts:
    def test_that_are_too_large_are_passed_over(self, lab):
        seen_failed(
            lab,
            script_url="s3://workflows/scripts/1",
            reason="Host EC2 (instance i-0f2f4b1b2c3d4e5f6) terminated.",
        )

        def too_large(*_, **__):
            raise TooLarge("scripts/1")

        lab.workflows.read = too_large
        assert diagnose_jobs(RUN_ID, ["j"], lab.bench, now=1) == 1
        assert summaries(lab)[0].cause.value == "HOST_LOST"

    def test_that_name_no_call_leave_batchs_word(self, lab):
        lab.workflows.objects["s"] = {"v1": b"echo hello"}
        seen_failed(lab, script_url="s3://workflows/s")
        assert diagnose_jobs(RUN_ID, ["j"], lab.bench, now=1) == 1
        assert summaries(lab)[0].stderr_url == ""


def test_a_job_that_nobody_could_place_is_not_summarised(lab):
    seen_failed(lab, None)
    assert diagnose_jobs(RUN_ID, ["j"], lab.bench, now=1) == 0
    assert summaries(lab) == []
