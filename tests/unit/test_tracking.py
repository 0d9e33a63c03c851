"""Sightings and polls where others write at the same moment, and how far each is from the other."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from dropwell import ledger, tracking
from dropwell.calls import CallId
from dropwell.errors import CromwellAway, Superseded, TryAgain, UnknownRun
from dropwell.jobs import JobStatus, Sighting
from dropwell.polling import poll, sweep
from dropwell.records import COUNTS, put_notice, recount
from dropwell.runs import Due, Run, State
from dropwell.tracking import Heard, track
from tests.simulation.lab import Lab, _tags
from tests.simulation.world import Crash, World
from tests.unit.meanwhile import end, meanwhile

RUN_ID = "0efafdca-7c95-539e-a323-5d833509a1cc"


@pytest.fixture
def lab():
    return Lab(World())


@pytest.fixture
def due(lab):
    """Have a run on record that Cromwell is to be asked about now."""

    def make(status="Running", **known):
        now = lab.world.now
        known = {"state": State.RUNNING, "cromwell_status": "Running", "submitted_at": now - 9} | (
            known
        )
        run = Run(run_id=RUN_ID, project="cardio", name="n", **known).due(Due.POLL, now)
        lab.cromwell.seen_from[RUN_ID] = 0
        lab.cromwell.now_is[RUN_ID] = status
        return ledger.create(lab.table, run)

    return make


def seen(number, status=JobStatus.RUNNING, **more):
    call_id = CallId(RUN_ID, "align", number)
    return Heard(
        f"m{number}",
        Sighting(job_id=f"j{number}", status=status, tags=_tags(RUN_ID, call_id), **more),
    )


def ask(lab):
    return len(poll([RUN_ID], lab.watch, now=lab.world.now).turned)


def read(lab):
    return ledger.load(lab.table, RUN_ID)


def counts(lab):
    item = lab.table.get((RUN_ID, COUNTS)) or {}
    return {name: n for name, n in item.items() if name not in ("pk", "sk") and n}


class TestSightings:
    def test_of_more_jobs_than_a_transaction_takes_are_all_kept(self, lab, due):
        due()
        tally = track([seen(n) for n in range(250)], lab.watch, now=lab.world.now)
        assert tally.kept == 250
        assert counts(lab) == {"jobs": 250, "running": 250}

    def test_are_counted_right_though_another_counts_as_well(self, lab, due):
        due()
        other = [seen(0, JobStatus.SUCCEEDED), seen(1)]
        meanwhile(lab.table, lambda: track(other, lab.watch, now=lab.world.now), writing="JOB#")
        tally = track([seen(0), seen(1), seen(2)], lab.watch, now=lab.world.now)
        assert (tally.kept, tally.stale) == (1, 2)
        assert counts(lab) == recount(lab.table.query(RUN_ID))
        assert counts(lab) == {"jobs": 3, "running": 2, "succeeded": 1}

    def test_of_a_run_that_is_written_by_many_come_again(self, lab, due):
        due()
        write = lab.table.write

        def contended(*writes):
            if any(one.key[1].startswith("JOB#") for one in writes):
                raise Superseded("another was first")
            write(*writes)

        lab.table.write = contended
        tally = track([seen(0), seen(1)], lab.watch, now=lab.world.now)
        assert tally.failed_messages == {"m0", "m1"}
        assert counts(lab) == {}

    def test_within_one_batch_are_one_write_a_job(self, lab, due):
        due()
        lives = [JobStatus.SUCCEEDED, JobStatus.RUNNABLE, JobStatus.RUNNING]
        tally = track([seen(0, status) for status in lives], lab.watch, now=lab.world.now)
        assert (tally.kept, tally.stale) == (1, 2)
        assert counts(lab) == {"jobs": 1, "succeeded": 1}

    def test_of_a_run_that_ends_just_then_do_not_wake_it(self, lab, due):
        due()
        track([seen(0)], lab.watch, now=lab.world.now)
        meanwhile(lab.table, lambda: end(lab.table, RUN_ID), writing="RUN")
        track([seen(0, JobStatus.FAILED)], lab.watch, now=lab.world.now)
        assert read(lab).due_kind is None
        assert [d.message for d in lab.world.pending if d.queue == "sightings"] == []

    def test_of_many_failures_are_looked_at_in_few_messages(self, lab, due):
        due()
        track([seen(n, JobStatus.FAILED) for n in range(60)], lab.watch, now=lab.world.now)
        asked = [d.message["failed"] for d in lab.world.pending if d.queue == "diagnoses"]
        assert len(asked) <= 6
        assert {job for one in asked for job in one["job_ids"]} == {f"j{n}" for n in range(60)}


class TestScripts:
    def untagged(self, lab, number, status=JobStatus.RUNNING):
        folder = f"cromwell-execution/hello/{RUN_ID}/call-align/shard-{number}"
        rc = f"s3://workflows/{folder}/align-{number}-rc.txt"
        script = f'_s3_delocalize_with_retry "/tmp/scratch/x-rc.txt" "{rc}"\n'
        lab.workflows.objects[f"scripts/{number}"] = {"v1": script.encode()}
        url = f"s3://workflows/scripts/{number}"
        return Heard("m", Sighting(job_id=f"j{number}", status=status, script_url=url))

    @pytest.fixture
    def read_keys(self, lab, monkeypatch):
        """Return the keys that are read of the bucket of scripts."""
        keys, reading = [], lab.workflows.read

        def noted(key, **more):
            keys.append(key)
            return reading(key, **more)

        monkeypatch.setattr(lab.workflows, "read", noted)
        return keys

    def test_are_read_once_each(self, lab, due, read_keys):
        due()
        for status in (JobStatus.RUNNABLE, JobStatus.RUNNING, JobStatus.SUCCEEDED):
            track([self.untagged(lab, 1, status)], lab.watch, now=lab.world.now)
        assert read_keys == ["scripts/1"]
        assert counts(lab) == {"jobs": 1, "succeeded": 1}

    def test_are_remembered_up_to_a_number(self, lab, due, read_keys, monkeypatch):
        monkeypatch.setattr(tracking, "_PLACES_KEPT", 2)
        due()
        for number in (1, 2, 3, 1):
            track([self.untagged(lab, number)], lab.watch, now=lab.world.now)
        assert read_keys == ["scripts/1", "scripts/2", "scripts/3", "scripts/1"]
        assert len(lab.watch.places) <= 2

    def test_that_name_no_call_are_asked_about_again(self, lab, due, read_keys):
        due()
        heard = self.untagged(lab, 1)
        lab.workflows.objects["scripts/1"] = {"v1": b"echo hello"}
        tally = track([heard], lab.watch, now=lab.world.now)
        assert len(tally.strays) == 1


class TestAPollOfARunThatEndsJustThen:
    """Another poll was faster; what it decided stands."""

    def test_finds_it_going_on(self, lab, due):
        due()
        meanwhile(lab.table, lambda: end(lab.table, RUN_ID))
        ask(lab)
        assert read(lab).state is State.COMPLETE

    def test_does_not_see_it(self, lab, due):
        due()
        lab.cromwell.seen_from.clear()
        meanwhile(lab.table, lambda: end(lab.table, RUN_ID))
        ask(lab)
        assert (read(lab).state, read(lab).unseen) == (State.COMPLETE, 0)

    def test_takes_it_for_lost(self, lab, due):
        due(unseen=1, submitted_at=1)
        lab.cromwell.seen_from.clear()
        meanwhile(lab.table, lambda: end(lab.table, RUN_ID))
        assert ask(lab) == 0
        assert read(lab).state is State.COMPLETE

    def test_has_doubts(self, lab, due):
        due(suspect=True)
        meanwhile(lab.table, lambda: end(lab.table, RUN_ID))
        ask(lab)
        assert (read(lab).state, read(lab).failing_at) == (State.COMPLETE, 0)

    def test_finds_it_ended_as_well(self, lab, due):
        due("Succeeded")
        meanwhile(lab.table, lambda: end(lab.table, RUN_ID, State.CANCELED))
        assert ask(lab) == 0
        assert read(lab).state is State.CANCELED


class TestARunPastUs:
    """Jobs of it are with Batch, whose queues another Cromwell may share."""

    def test_that_our_cromwell_never_knew_ends_with_no_word_of_it(self, lab):
        track([seen(0)], lab.watch, now=lab.world.now)
        self.wait_until_given_up(lab)
        assert lab.table.get((RUN_ID, "NOTICE#ended")) is None

    def test_that_our_cromwell_knew_is_told_lost(self, lab):
        lab.cromwell.seen_from[RUN_ID], lab.cromwell.now_is[RUN_ID] = 0, "Running"
        track([seen(0)], lab.watch, now=lab.world.now)
        lab.world.now += 5
        ask(lab)
        lab.cromwell.seen_from.clear()
        self.wait_until_given_up(lab)
        assert lab.table.get((RUN_ID, "NOTICE#ended"))

    def wait_until_given_up(self, lab):
        for _ in range(9):
            lab.world.now += 600
            ask(lab)
        assert read(lab).state is State.SYSTEM_ERROR


class TestAPoll:
    def test_of_no_run_asks_nothing(self, lab):
        lab.cromwell.away = True
        assert not poll([], lab.watch, now=lab.world.now).turned
        assert ask(lab) == 0

    def test_tells_of_an_end_that_cromwell_cannot_explain(self, lab, due):
        due("Failed")

        def unknown(run_id):
            raise UnknownRun("Unrecognized workflow ID")

        lab.cromwell.failures = lab.cromwell.failed_jobs = unknown
        assert ask(lab) == 1
        assert read(lab).state is State.EXECUTOR_ERROR
        assert len(read(lab).warnings) == 2

    def test_ends_a_run_whose_end_cromwell_never_tells_in_time(self, lab, due):
        due("Failed")

        def slow(run_id):
            raise CromwellAway("Cromwell did not answer within 30 s.")

        lab.cromwell.failures = lab.cromwell.failed_jobs = slow
        for _ in range(4):
            assert ask(lab) == 0
            lab.world.now = read(lab).due_at
        assert ask(lab) == 1
        assert read(lab).state is State.EXECUTOR_ERROR
        assert "could not tell which calls failed" in read(lab).warnings[0]

    @pytest.mark.parametrize(("status", "known"), [("Failed", {}), ("Running", {"suspect": True})])
    def test_that_is_killed_over_a_long_answer_leaves_the_run_for_later(
        self, lab, due, status, known
    ):
        due(status, **known)

        def killed(run_id):
            raise Crash("timed out")

        lab.cromwell.failed_jobs = killed
        with pytest.raises(Crash):
            ask(lab)
        assert read(lab).due_at == lab.world.now + 60

    def test_leaves_an_end_to_the_poll_that_began_on_it_first(self, lab, due):
        due("Succeeded")
        asked = []

        def outputs(run_id):
            asked.append(run_id)
            raise CromwellAway("Cromwell did not answer within 30 s.")

        lab.cromwell.outputs = outputs
        meanwhile(lab.table, lambda: ask(lab))
        ask(lab)
        assert asked == [RUN_ID]
        assert read(lab).endings == 1

    def test_that_runs_out_of_time_leaves_the_rest_due(self, lab):
        for number in range(3):
            now = lab.world.now
            run = Run(run_id=f"r{number}", project="p", name="n", submitted_at=now)
            ledger.create(lab.table, run.due(Due.POLL, now))
            lab.cromwell.seen_from[f"r{number}"], lab.cromwell.now_is[f"r{number}"] = 0, "Running"
        times = iter([True, True, False])
        told = sweep(lab.watch, now=now, time_left=lambda: next(times))
        assert list(told.polled.turned) == ["r0", "r1"]
        assert lab.table.due(Due.POLL, now, 9) == [("r2", "RUN")]

    def test_is_asked_for_sooner_by_no_older_wish(self, lab, due):
        """A later sighting does not put off a poll that is due before."""
        run = due()
        ledger.change(lab.table, run, lambda k: replace(k, suspect=True).due(Due.POLL, 1))
        track([seen(0, JobStatus.FAILED)], lab.watch, now=lab.world.now)
        assert read(lab).due_at == 1


class TestARunThatEndedWhileEventsWereLost:
    @pytest.fixture
    def ended(self, lab, due):
        """Have one job of two end unheard, in a run that has come to its end."""
        due("Succeeded")
        track([seen(0, JobStatus.SUCCEEDED), seen(1)], lab.watch, now=lab.world.now)
        lab.batch.known["j1"] = seen(1, JobStatus.SUCCEEDED).sighting

    def test_hears_from_batch_how_its_jobs_ended(self, lab, ended):
        assert ask(lab) == 1
        assert counts(lab) == {"jobs": 2, "succeeded": 2}

    def test_ends_though_batch_does_not_answer(self, lab, ended):
        lab.batch.describe = unanswered
        assert ask(lab) == 1
        assert read(lab).state is State.COMPLETE
        assert counts(lab) == {"jobs": 2, "running": 1, "succeeded": 1}


def unanswered(job_ids):
    raise TryAgain("Batch does not describe jobs")


def test_a_sweep_takes_no_more_than_it_is_told(lab):
    for number in range(5):
        ledger.create(
            lab.table,
            Run(run_id=f"r{number}", project="p", name="n").due(Due.SUBMIT, number),
        )
    told = sweep(lab.watch, now=lab.world.now, most=2)
    assert told.posts_due == 2
    assert [d.message for d in lab.world.pending] == [{"submit": "r0"}, {"submit": "r1"}]


def test_a_sweep_has_notices_said_a_few_a_second():
    """SNS suspends an address that is sent more than ten mails a second."""
    lab = Lab(World())
    for number in range(500):
        lab.table.write(put_notice(f"r{number}", "ended", lab.world.now - 90))
    lab.world.pending.clear()
    sweep(lab.watch, now=lab.world.now)
    seconds = Counter(delivery.due - lab.world.now for delivery in lab.world.pending)
    assert max(seconds.values()) <= 5
    assert max(seconds) < 60, "before the next sweep"


def test_failed_jobs_are_looked_at_few_at_a_time(lab, due):
    """Ten such messages at once are what the router takes on within its minute."""
    due()
    track([seen(n, JobStatus.FAILED) for n in range(99)], lab.watch, now=lab.world.now)
    looks = [d.message["failed"]["job_ids"] for d in lab.world.pending if d.queue == "diagnoses"]
    assert sum(map(len, looks)) == 99
    assert max(map(len, looks)) <= 10


def test_a_run_that_cannot_be_asked_about_holds_up_no_other():
    lab = Lab(World())
    runs = [lab.drop(f"run-{number}.zip") for number in range(2)]
    while lab.world.step():
        pass
    lab.world.now += 30
    first, second = (drop.run_id for drop in runs)
    lab.cromwell.now_is |= {first: "Succeeded", second: "Succeeded"}

    def outputs(run_id: str) -> dict[str, object]:
        if run_id == first:
            raise CromwellAway("the answer came too slowly")
        return {}

    lab.cromwell.outputs = outputs
    polled = poll([first, second], lab.watch, now=lab.world.now)
    assert polled.turned == {second: State.COMPLETE}
    assert polled.put_off == {first: "CromwellAway: the answer came too slowly"}
    assert lab.run(runs[1]).state is State.COMPLETE
    put_off = lab.run(runs[0])
    assert not put_off.state.terminal
    assert put_off.due_at > lab.world.now
