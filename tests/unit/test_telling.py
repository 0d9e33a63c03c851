"""Saying a notice: what has been seen of a run, and two who would say it at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dropwell import ledger
from dropwell.calls import CallId, place_of_rc_key
from dropwell.diagnosis import diagnose_return_code
from dropwell.jobs import JobStatus, Sighting
from dropwell.records import NOTICE, add_counts, put_job, put_notice
from dropwell.runs import Run, State
from dropwell.telling import Told, recall, tell
from tests.simulation.lab import Lab
from tests.simulation.world import World
from tests.unit.meanwhile import meanwhile

RUN_ID = "0efafdca-7c95-539e-a323-5d833509a1cc"
KEY = (RUN_ID, f"{NOTICE}ended")


@pytest.fixture
def lab():
    return Lab(World())


@pytest.fixture
def ended(lab):
    def end(state=State.COMPLETE, **known):
        now = lab.world.now
        known = {"submitted_at": now - 99, "started_at": now - 90, "ended_at": now} | known
        run = ledger.create(lab.table, Run(run_id=RUN_ID, project="cardio", name="n"))
        run, _ = ledger.change(
            lab.table,
            run,
            lambda old: replace(old, state=state, **known),
            notice="ended",
            now=now,
        )
        return run

    return end


def say(lab, later=0):
    return tell(KEY, lab.voice, now=lab.world.now + later)


def failed(lab, shard, attempt=1, rc=b"1\n", stderr=b"Error: no reads\n"):
    tail = f"/attempt-{attempt}" if attempt > 1 else ""
    folder = f"cromwell-execution/hello/{RUN_ID}/call-align/shard-{shard}{tail}"
    place = place_of_rc_key("workflows", f"{folder}/align-{shard}-rc.txt")
    lab.workflows.objects[place.rc_key] = {"v1": rc}
    lab.workflows.objects[place.stderr_key] = {"v1": stderr}
    diagnose_return_code(place, lab.bench, now=lab.world.now)


def job(lab, shard, status, attempt=1):
    seen = Sighting(job_id=f"j{shard}-{attempt}", status=status)
    lab.table.write(
        put_job(RUN_ID, CallId(RUN_ID, "align", shard, attempt), seen, None),
        add_counts(RUN_ID, [(None, status)]),
    )


class TestTwoWhoWouldSayIt:
    def test_say_it_once(self, lab, ended):
        ended()
        meanwhile(lab.table, lambda: say(lab), writing=NOTICE)
        assert say(lab) is Told.KNOWN
        assert len(lab.mails.mails) == 1

    def test_say_it_twice_under_one_id_where_the_first_was_long_about_it(self, lab, ended):
        ended()
        publish = lab.mails.publish

        def slow(*mail):
            lab.mails.publish = publish
            publish(*mail)
            say(lab, later=91)

        lab.mails.publish = slow
        assert say(lab) is Told.SAID
        assert lab.mails.told == [f"{RUN_ID}/ended"] * 2
        assert lab.table.get(KEY)["said_at"] == lab.world.now + 91


class TestAnEnd:
    def test_waits_while_jobs_are_still_told_of(self, lab, ended):
        ended()
        job(lab, 1, JobStatus.RUNNING)
        assert say(lab) is Told.POSTPONED
        assert say(lab, later=60) is Told.SAID

    def test_counts_a_call_by_its_last_attempt(self, lab, ended):
        run = ended(State.EXECUTOR_ERROR)
        failed(lab, 1)
        failed(lab, 2)
        job(lab, 1, JobStatus.FAILED)
        job(lab, 1, JobStatus.SUCCEEDED, attempt=2)
        job(lab, 2, JobStatus.FAILED)
        job(lab, 3, JobStatus.SUCCEEDED)
        facts = recall(run, lab.table.get(KEY), lab.table, lab.inbox)
        assert (facts.calls_total, facts.calls_done, facts.calls_failed) == (3, 2, 1)
        assert [group.shards for group in facts.groups] == ["shard 2"]

    def test_groups_what_failed_alike_the_largest_first(self, lab, ended):
        run = ended(State.EXECUTOR_ERROR)
        failed(lab, 1, stderr=b"Error: a rare one\n")
        for shard in (2, 3):
            failed(lab, shard)
        facts = recall(run, lab.table.get(KEY), lab.table, lab.inbox)
        assert [group.count for group in facts.groups] == [2, 1]
        assert facts.groups[0].example.tail == ("Error: no reads",)

    def test_is_told_without_last_words_where_no_card_is_kept(self, lab, ended):
        run = ended(State.EXECUTOR_ERROR)
        failed(lab, 1)
        lab.inbox.objects.clear()
        facts = recall(run, lab.table.get(KEY), lab.table, lab.inbox)
        assert facts.groups[0].example.tail == ()

    def test_reads_the_last_words_of_a_few_kinds_only(self, lab, ended):
        run = ended(State.EXECUTOR_ERROR)
        kinds = ["reads", "genome", "index", "memory", "licence", "patience", "luck"]
        for shard, kind in enumerate(kinds):
            failed(lab, shard, stderr=f"Error: no {kind} left\n".encode())
        facts = recall(run, lab.table.get(KEY), lab.table, lab.inbox)
        assert len(facts.groups) == 7
        assert sum(bool(group.example.tail) for group in facts.groups) == 5

    def test_of_calls_outside_scatters_names_no_shards(self, lab, ended):
        run = ended(State.EXECUTOR_ERROR)
        key = f"cromwell-execution/hello/{RUN_ID}/call-gather/gather-rc.txt"
        lab.workflows.objects[key] = {"v1": b"1"}
        diagnose_return_code(place_of_rc_key("workflows", key), lab.bench, now=1)
        facts = recall(run, lab.table.get(KEY), lab.table, lab.inbox)
        assert [group.shards for group in facts.groups] == [""]

    def test_does_not_count_outputs_that_are_not_kept(self, lab, ended):
        run = ended()
        facts = recall(run, lab.table.get(KEY), lab.table, lab.inbox)
        assert facts.outputs is None
        lab.inbox.put(run.folder + "outputs.json", '{"a": 1}')
        assert recall(run, lab.table.get(KEY), lab.table, lab.inbox).outputs == 1


def test_a_notice_that_is_not_on_record_is_passed_over(lab):
    assert say(lab) is Told.KNOWN
    lab.table.write(put_notice(RUN_ID, "ended", lab.world.now))
    assert say(lab) is Told.KNOWN
