"""What Batch says of jobs, polls and sweeps through the watcher: what is kept, asked and sent."""

from __future__ import annotations

import json
from dataclasses import replace

import boto3
import pytest
from botocore.stub import Stubber

from dropwell.aws.batch import Jobs
from dropwell.calls import CallId
from dropwell.errors import Superseded, TryAgain
from dropwell.records import JOB, NOTICE, UNATTRIBUTED, put_notice
from dropwell.runs import Due, Origin, State
from functions.status_watcher import handler
from tests.functional.conftest import RUN_ID, WORKFLOWS
from tests.stubs import cromwell as stub
from tests.stubs.cromwell import Mode

SUB = "747d6e64-655b-5e8b-872b-c0e6eb0cf8b5"
ALIGN = "5805bd56-48b2"

# Each sample of a job of Cromwell's: its call, and what is to be remembered of it.
JOBS = {
    "batch_runnable": (CallId(RUN_ID, "Align"), "RUNNABLE", 0, None),
    "batch_starting": (CallId(RUN_ID, "Align"), "STARTING", 0, None),
    "batch_running": (CallId(RUN_ID, "Align"), "RUNNING", 0, None),
    "batch_running_again": (CallId(RUN_ID, "Align"), "RUNNING", 0, None),
    "batch_succeeded": (CallId(RUN_ID, "Align"), "SUCCEEDED", 1, 0),
    "batch_failed": (CallId(RUN_ID, "CallVariants"), "FAILED", 1, 3),
    "batch_retry_runnable": (CallId(RUN_ID, "Sort"), "RUNNABLE", 1, None),
    "batch_spot_lost": (CallId(RUN_ID, "Sort"), "FAILED", 3, None),
    "batch_host_lost": (CallId(RUN_ID, "Merge"), "FAILED", 1, None),
    "batch_out_of_memory": (CallId(RUN_ID, "MarkDuplicates", 17), "FAILED", 1, 137),
    "batch_cromwell_attempt_2": (CallId(RUN_ID, "MarkDuplicates", 17, 2), "RUNNING", 0, None),
    "batch_timeout": (CallId(RUN_ID, "Annotate"), "FAILED", 1, 137),
    "batch_image_pull_failed": (CallId(RUN_ID, "Filter"), "FAILED", 1, None),
    "batch_aborted": (CallId(RUN_ID, "Stats"), "FAILED", 1, 143),
    "batch_sub_workflow_shard": (CallId(SUB, "Trim", 3), "SUCCEEDED", 1, 0),
}
OTHERS = ["batch_not_cromwell", "batch_array_parent", "batch_array_child"]


@pytest.fixture
def scripted(cloud, event):
    """Store the script that a job's environment names, as Cromwell writes it."""

    def store(sample):
        [url] = [
            variable["value"]
            for variable in event(sample)["detail"]["container"]["environment"]
            if variable["name"] == "BATCH_FILE_S3_URL"
        ]
        rc = f"s3://{WORKFLOWS}/cromwell-execution/wgs/{RUN_ID}/call-Index/Index-rc.txt"
        script = f'#!/bin/bash\n_s3_delocalize_with_retry "/tmp/scratch/Index-rc.txt" "{rc}"\n'
        cloud.put(url.removeprefix(f"s3://{WORKFLOWS}/"), script, WORKFLOWS)

    return store


class TestAJob:
    @pytest.mark.parametrize("sample", JOBS)
    def test_is_remembered_with_its_call(self, cloud, event, sample):
        cloud.running()
        assert cloud.watcher(event(sample)) == []
        call_id, status, attempts, exit_code = JOBS[sample]
        [job] = cloud.items(prefix=JOB)
        assert CallId.parse(job["call"]) == call_id
        assert (job["status"], job["attempts"], job.get("exit_code")) == (
            status,
            attempts,
            exit_code,
        )
        assert cloud.counts() == {"jobs": 1, status.lower(): 1}

    @pytest.mark.parametrize("sample", OTHERS)
    def test_of_somebody_else_is_ignored_and_counted(self, cloud, event, counted, sample):
        assert cloud.watcher(event(sample)) == []
        assert cloud.items(UNATTRIBUTED) == []
        assert {name: n for name, n in counted().items() if n} == {"EventsIgnored": 1}

    def test_told_of_twice_is_counted_once(self, cloud, event, counted):
        cloud.running()
        cloud.watcher(event("batch_running"), event("batch_running_again"))
        cloud.watcher(event("batch_running"))
        assert cloud.counts() == {"jobs": 1, "running": 1}
        told = counted()
        assert (told["SightingsKept"], told["SightingsStale"]) == (1, 2)

    def test_is_counted_by_what_became_of_it_and_its_run_is_named(
        self, cloud, event, counted, caplog
    ):
        cloud.running()
        cloud.watcher(event("batch_succeeded"), event("batch_failed"))
        told = counted()
        assert (told["JobsSucceeded"], told["JobsFailed"]) == (1, 1)
        [line] = [record for record in caplog.records if record.message == "jobs moved"]
        assert (line.run_id, line.jobs_succeeded, line.jobs_failed) == (RUN_ID, 1, 1)

    def test_only_moves_forward(self, cloud, event):
        cloud.running()
        for sample in ("batch_succeeded", "batch_running", "batch_runnable"):
            cloud.watcher(event(sample))
        assert cloud.counts() == {"jobs": 1, "succeeded": 1}

    def test_that_batch_runs_again_is_waiting_once_more(self, cloud, event):
        cloud.running()
        first = event("batch_retry_runnable")
        first["detail"] |= {"status": "RUNNING", "attempts": []}
        cloud.watcher(first)
        assert cloud.counts() == {"jobs": 1, "running": 1}
        cloud.watcher(event("batch_retry_runnable"))
        assert cloud.counts() == {"jobs": 1, "runnable": 1}

    def test_and_its_neighbours_are_counted_in_one_go(self, cloud, event):
        cloud.running()
        cloud.watcher(*map(event, JOBS))
        assert cloud.counts() == {
            "jobs": 10,
            "running": 1,
            "succeeded": 2,
            "failed": 7,
        }

    def test_of_a_queued_run_shows_that_it_runs(self, cloud, event):
        cloud.running(state=State.QUEUED, cromwell_status="Submitted", due_kind=Due.POLL,
                      due_at=cloud.clock.now + 600)  # fmt: skip
        cloud.watcher(event("batch_runnable"))
        assert cloud.run().state is State.RUNNING
        assert cloud.run().started_at == cloud.clock.now
        assert cloud.run().due_at == cloud.clock.now + 600

    def test_that_is_the_last_has_cromwell_asked_soon(self, cloud, event):
        cloud.running(due_kind=Due.POLL, due_at=cloud.clock.now + 600)
        cloud.watcher(event("batch_running"))
        assert cloud.run().due_at == cloud.clock.now + 600
        cloud.watcher(event("batch_succeeded"))
        assert cloud.run().due_at == cloud.clock.now + 5

    def test_that_failed_is_to_be_looked_at(self, cloud, event):
        cloud.running(due_kind=Due.POLL, due_at=cloud.clock.now + 600)
        cloud.watcher(event("batch_running"), event("batch_failed"))
        [message] = cloud.sent("DiagnosisQueue")
        job_id = event("batch_failed")["detail"]["jobId"]
        assert message.body == {"failed": {"run_id": RUN_ID, "job_ids": [job_id]}}
        assert cloud.run().suspect
        assert cloud.run().due_at == cloud.clock.now + 5

    def test_of_a_run_that_has_ended_wakes_nobody(self, cloud, event):
        cloud.running(state=State.COMPLETE)
        cloud.watcher(event("batch_succeeded"))
        assert cloud.sent("SightingQueue") == []
        assert cloud.run().due_kind is None


class TestWhoseJobItIs:
    def test_its_script_tells_where_tags_do_not(self, cloud, event, scripted):
        cloud.running()
        scripted("batch_untagged")
        cloud.watcher(event("batch_untagged"))
        [job] = cloud.items(prefix=JOB)
        assert CallId.parse(job["call"]) == CallId(RUN_ID, "Index")

    def test_batch_itself_tells_where_the_script_is_gone(self, cloud, event, monkeypatch):
        cloud.running()
        job_id = event("batch_untagged")["detail"]["jobId"]
        described = {
            "jobName": "wgs_Index",
            "jobId": job_id,
            "jobQueue": "q",
            "status": "SUCCEEDED",
            "startedAt": 1,
            "jobDefinition": "d",
            "tags": {
                "cromwell-root-workflow-id": RUN_ID,
                "cromwell-workflow-id": RUN_ID,
                "cromwell-task-id": "wgs.Index-None-1",
            },
        }
        batch = boto3.client("batch")
        with Stubber(batch) as stub:
            stub.add_response("describe_jobs", {"jobs": [described]}, {"jobs": [job_id]})
            watch = replace(handler.watch(), jobs=Jobs(batch))
            monkeypatch.setattr(handler, "watch", lambda: watch)
            cloud.watcher(event("batch_untagged"))
            stub.assert_no_pending_responses()
        [job] = cloud.items(prefix=JOB)
        assert CallId.parse(job["call"]) == CallId(RUN_ID, "Index")

    def test_one_that_nobody_can_place_is_kept_apart(self, cloud, event, counted):
        cloud.running()
        assert cloud.watcher(event("batch_untagged")) == []
        [job] = cloud.items(UNATTRIBUTED, JOB)
        assert job["status"] == "SUCCEEDED"
        assert cloud.counts() == {}
        assert counted()["SightingsUnattributed"] == 1

    @pytest.mark.parametrize(
        "url", ["s3://somewhere-else/scripts/1", "http://x", "s3://", f"s3://{WORKFLOWS}/"]
    )
    def test_a_script_elsewhere_is_not_read(self, cloud, event, url):
        told = event("batch_untagged")
        told["detail"]["container"]["environment"][1]["value"] = url
        cloud.watcher(told)
        assert len(cloud.items(UNATTRIBUTED, JOB)) == 1

    def test_a_run_that_was_submitted_past_us_is_observed(self, cloud, event):
        cloud.watcher(event("batch_running"))
        run = cloud.run()
        assert run.origin is Origin.OBSERVED
        assert (run.project, run.name, run.workflow) == ("default", "wgs", "wgs")
        assert run.due_kind is Due.POLL
        assert cloud.notices() == []


class TestABadMessage:
    @pytest.mark.parametrize("bad", ["no JSON", "[1]", '"text"'])
    def test_fails_by_itself(self, cloud, event, bad):
        cloud.running()
        failed = cloud.watcher(event("batch_running"), bad, event("batch_failed"))
        assert failed == ["1"]
        assert cloud.counts() == {"jobs": 2, "running": 1, "failed": 1}

    def test_of_a_status_that_batch_does_not_have_is_named(self, cloud, event, caplog, counted):
        cloud.running()
        bad = event("batch_running")
        bad["detail"]["status"] = "EXPLODED"
        assert cloud.watcher(bad, event("batch_failed")) == ["0"]
        assert "EXPLODED" in caplog.records[0].reason
        assert counted()["EventsUnreadable"] == 1

    def test_is_not_what_a_run_written_by_many_makes_of_its_jobs(self, cloud, event, monkeypatch):
        """Only the messages of the run that could not be written come again."""
        cloud.running()
        other = event("batch_failed")
        other_run = "1" * 8 + RUN_ID[8:]
        for tag in ("cromwell-root-workflow-id", "cromwell-workflow-id"):
            other["detail"]["tags"][tag] = other_run
        cloud.running(other_run)
        table = handler.watch().table
        write = table.write

        def contended(*writes):
            if any(one.key[0] == RUN_ID for one in writes):
                raise Superseded("another was first")
            write(*writes)

        monkeypatch.setattr(table, "write", contended)
        failed = cloud.watcher(event("batch_running"), other)
        assert failed == ["0"]
        assert cloud.counts(other_run) == {"jobs": 1, "failed": 1}


@pytest.fixture
def due(cloud):
    """Have a run on record that Cromwell is to be asked about now."""

    def make(run_id=RUN_ID, **known):
        known = {"due_kind": Due.POLL, "due_at": cloud.clock.now} | known
        return cloud.running(run_id, **known)

    return make


class TestAPoll:
    def test_turns_what_has_begun(self, cloud, due, cromwell):
        due(state=State.QUEUED, cromwell_status="Submitted")
        cromwell.set_status(RUN_ID, "Running")
        assert cloud.watcher({"poll": RUN_ID}) == []
        run = cloud.run()
        assert (run.state, run.started_at) == (State.RUNNING, cloud.clock.now)
        assert cloud.page(run.folder + "status.json")["state"] == "RUNNING"
        assert run.due_at == cloud.clock.now + 5
        [again] = cloud.sent("SightingQueue")
        assert (again.body, again.delay) == ({"poll": RUN_ID}, 5)

    def test_comes_seldom_while_jobs_run(self, cloud, due, cromwell, event):
        due()
        cromwell.set_status(RUN_ID, "Running")
        cloud.watcher(event("batch_running"))
        cloud.watcher({"poll": RUN_ID})
        assert cloud.run().due_at == cloud.clock.now + 600
        assert cloud.sent("SightingQueue") == []

    def test_of_what_is_not_due_asks_nothing(self, cloud, due, cromwell):
        due(due_at=cloud.clock.now + 1)
        cloud.watcher({"poll": RUN_ID})
        assert cromwell.asked == []

    def test_of_many_is_one_request(self, cloud, due, cromwell):
        runs = [f"{number:08d}{RUN_ID[8:]}" for number in range(5)]
        for run_id in runs:
            due(run_id)
            cromwell.set_status(run_id, "Running")
        cloud.watcher(*({"poll": run_id} for run_id in runs))
        assert len(cromwell.asked) == 1

    def test_finds_a_run_complete(self, cloud, due, cromwell):
        due()
        cromwell.succeed(RUN_ID, {"wgs.bam": "s3://b/x.bam"})
        cloud.watcher({"poll": RUN_ID})
        run = cloud.run()
        assert (run.state, run.ended_at, run.due_kind) == (State.COMPLETE, cloud.clock.now, None)
        assert cloud.page(run.folder + "outputs.json") == {"wgs.bam": "s3://b/x.bam"}
        assert cloud.page(run.folder + "status.json")["state"] == "COMPLETE"
        assert cloud.notices() == ["ended"]

    def test_that_finds_the_end_twice_records_it_once(self, cloud, due, cromwell):
        due()
        cromwell.succeed(RUN_ID)
        cloud.watcher({"poll": RUN_ID}, {"poll": RUN_ID})
        before = cloud.items()
        cloud.watcher({"poll": RUN_ID})
        assert cloud.items() == before

    def test_finds_a_run_failed_and_keeps_why(self, cloud, due, cromwell):
        due()
        cromwell.fail(
            RUN_ID,
            failures=[{"message": "Workflow failed", "causedBy": [{"message": "CallVariants"}]}],
            calls={
                "wgs.CallVariants": [
                    {
                        "executionStatus": "Failed",
                        "shardIndex": -1,
                        "attempt": 1,
                        "returnCode": 3,
                        "failures": [{"message": "exited with return code 3", "causedBy": []}],
                    }
                ]
            },
        )
        cloud.watcher({"poll": RUN_ID})
        run = cloud.run()
        assert run.state is State.EXECUTOR_ERROR
        assert run.failures == ("Workflow failed", "CallVariants")
        [call] = cloud.page(run.folder + "failures/calls.json")
        assert (call["call"], call["return_code"]) == ("wgs.CallVariants", 3)
        assert call["messages"] == ["exited with return code 3"]
        assert cloud.notices() == ["ended"]

    def test_of_a_run_that_is_to_be_aborted_says_so_again(self, cloud, due, cromwell):
        due(state=State.CANCELING, abort_at=cloud.clock.now)
        cromwell.set_status(RUN_ID, "Running")
        cloud.watcher({"poll": RUN_ID})
        assert cromwell.runs[RUN_ID].status == "Aborting"
        assert cloud.run().state is State.CANCELING
        cloud.clock.pass_by(5)
        cromwell.set_status(RUN_ID, "Aborted")
        cloud.watcher({"poll": RUN_ID})
        assert cloud.run().state is State.CANCELED
        assert cloud.notices() == ["ended"]

    def test_of_a_word_that_cromwell_never_had_changes_nothing(self, cloud, due, cromwell):
        due()
        cromwell.set_status(RUN_ID, "Meditating")
        cloud.watcher({"poll": RUN_ID})
        assert cloud.run().state is State.RUNNING

    @pytest.mark.parametrize("mode", [Mode.DOWN, Mode.ERROR, Mode.HTML, Mode.TRUNCATED])
    def test_learns_nothing_while_cromwell_is_away(self, cloud, due, cromwell, event, mode):
        due()
        cromwell.mode = mode
        before = cloud.run()
        assert cloud.watcher({"poll": RUN_ID}, event("batch_running")) == []
        assert cloud.run() == before
        assert cloud.counts() == {"jobs": 1, "running": 1}


class TestWhatCromwellCannotTell:
    """An answer that is too much for it must not keep a run from ending."""

    @pytest.fixture
    def overfull(self, due, cromwell, monkeypatch):
        """Have Cromwell refuse some of its answers, as it does where they have too many rows."""
        route = stub._route

        def overfull(*paths, **known):
            def answer(stubbed, method, target, body, headers):
                if any(path in target for path in paths):
                    message = "Metadata for workflow cannot be served because row count of 2000000"
                    return stub._error(500, "error", message)
                return route(stubbed, method, target, body, headers)

            monkeypatch.setattr(stub, "_route", answer)
            due(**known)

        return overfull

    def test_outputs_are_named_as_missing(self, cloud, cromwell, overfull):
        overfull("/outputs")
        cromwell.succeed(RUN_ID, {"a": 1})
        cloud.watcher({"poll": RUN_ID})
        run = cloud.run()
        assert run.state is State.COMPLETE
        assert run.warnings[0].startswith("Cromwell could not tell the outputs: Metadata for")
        assert cloud.keys(run.folder) == [run.folder + "status.json"]
        assert cloud.page(run.folder + "status.json")["warnings"] == list(run.warnings)
        assert cloud.notices() == ["ended"]

    def test_failures_are_named_as_missing(self, cloud, cromwell, overfull):
        overfull("/metadata")
        cromwell.fail(RUN_ID, failures=[{"message": "Workflow failed", "causedBy": []}])
        cloud.watcher({"poll": RUN_ID})
        run = cloud.run()
        assert run.state is State.EXECUTOR_ERROR
        assert [text.partition(":")[0] for text in run.warnings] == [
            "Cromwell could not tell which calls failed",
            "Cromwell could not tell why the run failed",
        ]
        assert cloud.keys(run.folder) == [run.folder + "status.json"]

    def test_a_suspicion_stays_one(self, cloud, cromwell, overfull):
        overfull("/metadata", suspect=True)
        cromwell.set_status(RUN_ID, "Running")
        cloud.watcher({"poll": RUN_ID})
        run = cloud.run()
        assert (run.state, run.doubted_at) == (State.RUNNING, cloud.clock.now)
        assert (run.failing_at, run.warnings) == (0, ())
        assert cloud.notices() == []


class TestARunThatCromwellDoesNotShow:
    def test_is_waited_for_at_first(self, cloud, due):
        due(submitted_at=cloud.clock.now - 10)
        for _ in range(3):
            cloud.clock.now = cloud.run().due_at
            cloud.watcher({"poll": RUN_ID})
        assert cloud.run().state is State.RUNNING
        assert cloud.run().unseen == 0
        assert cloud.run().due_at == cloud.clock.now + 30

    def test_is_lost_when_it_was_not_there_twice(self, cloud, due):
        due(submitted_at=cloud.clock.now - 1000)
        cloud.watcher({"poll": RUN_ID})
        assert (cloud.run().state, cloud.run().unseen) == (State.RUNNING, 1)
        cloud.clock.pass_by(30)
        cloud.watcher({"poll": RUN_ID})
        run = cloud.run()
        assert (run.state, run.cause) == (State.SYSTEM_ERROR, "LOST_UPSTREAM")
        assert cloud.page(run.folder + "status.json")["cause"] == "LOST_UPSTREAM"
        assert cloud.notices() == ["ended"]

    def test_is_found_by_its_own_status_where_the_query_leaves_it_out(self, cloud, due, cromwell):
        due(state=State.QUEUED, cromwell_status="Submitted")
        cromwell.hidden_reads = 1
        cromwell.set_status(RUN_ID, "Running")
        cromwell.runs[RUN_ID].hidden_reads = 1
        cloud.watcher({"poll": RUN_ID})
        assert cloud.run().state is State.RUNNING


class TestAFailedJob:
    @pytest.fixture
    def suspected(self, cloud, due, event, cromwell):
        def fail(status):
            due()
            cloud.watcher(event("batch_running"), event("batch_failed"))
            entry = {
                "executionStatus": status,
                "shardIndex": -1,
                "attempt": 1,
                "failures": [{"message": "exited with return code 3", "causedBy": []}],
                "retryableFailure": status != "Failed",
            }
            cromwell.set_status(RUN_ID, "Running")
            cromwell.runs[RUN_ID].calls = {"wgs.CallVariants": [entry]}
            cloud.clock.pass_by(5)
            cloud.watcher({"poll": RUN_ID})

        return fail

    def test_that_cromwell_lets_stand_is_told_of_while_the_run_goes_on(self, cloud, suspected):
        suspected("Failed")
        run = cloud.run()
        assert (run.state, run.failing_at) == (State.RUNNING, cloud.clock.now)
        assert run.failures == ("exited with return code 3",)
        assert cloud.notices() == ["failing"]

    def test_that_cromwell_tries_again_is_no_alarm(self, cloud, suspected):
        suspected("RetryableFailure")
        assert cloud.run().failing_at == 0
        assert cloud.run().suspect
        assert cloud.notices() == []

    def test_has_cromwell_asked_at_most_once_a_minute(self, cloud, suspected, cromwell, event):
        suspected("RetryableFailure")
        asked = sum("/metadata" in path for _, path in cromwell.asked)
        for _ in range(6):
            cloud.clock.pass_by(6)
            cloud.watcher(event("batch_out_of_memory"))
            cloud.watcher({"poll": RUN_ID})
        assert sum("/metadata" in path for _, path in cromwell.asked) == asked


class TestTheSweep:
    def test_polls_what_is_due(self, cloud, due, cromwell):
        due()
        cromwell.succeed(RUN_ID)
        cloud.sweep()
        assert cloud.run().state is State.COMPLETE

    def test_takes_the_event_of_its_schedule(self, cloud, due, cromwell, event, counted):
        due()
        cromwell.succeed(RUN_ID)
        handler.lambda_handler(event("schedule_tick"), cloud.context)
        assert cloud.run().state is State.COMPLETE
        assert counted() == {
            "PostsDue": 0,
            "NoticesDue": 0,
            "PollsDue": 1,
            "RunsTurned": 1,
            "RunsComplete": 1,
            "RunsSilent": 0,
            "RunsPutOff": 0,
            "CromwellAway": 0,
        }

    def test_leaves_runs_due_for_which_no_time_is_left(self, cloud, due, cromwell, monkeypatch):
        due()
        cromwell.succeed(RUN_ID)
        monkeypatch.setattr(cloud.context, "get_remaining_time_in_millis", lambda: 20_000)
        cloud.sweep()
        assert cloud.run().state is State.RUNNING

    def test_sends_on_what_waits_to_be_posted_and_to_be_said(self, cloud):
        cloud.running(due_kind=Due.SUBMIT, due_at=cloud.clock.now, submitted_at=0)
        cloud.table.write(put_notice(RUN_ID, "ended", cloud.clock.now - 90))
        cloud.sweep()
        assert [sent.body for sent in cloud.sent("DropQueue")] == [{"submit": RUN_ID}]
        [notice] = cloud.sent("DiagnosisQueue")
        assert notice.body == {"notice": {"run_id": RUN_ID, "sk": f"{NOTICE}ended"}}
        assert notice.delay == 0

    def test_leaves_what_is_not_due(self, cloud, due, cromwell):
        due(due_at=cloud.clock.now + 1)
        cloud.table.write(put_notice(RUN_ID, "ended", cloud.clock.now))
        cloud.sweep()
        assert cromwell.asked == []
        assert cloud.sent("DiagnosisQueue") == []

    def test_counts_that_cromwell_is_away(self, cloud, due, cromwell, counted):
        due()
        cromwell.mode = Mode.DOWN
        cloud.sweep()
        assert counted()["CromwellAway"] == 1
        assert cloud.run().due_at == cloud.clock.now

    def test_counts_a_run_in_which_nothing_moves(self, cloud, due, cromwell, counted, caplog):
        cromwell.set_status(RUN_ID, "Running")
        due(polls=120, started_at=cloud.clock.now - 7200)
        cloud.sweep()
        assert counted()["RunsSilent"] == 1
        assert (caplog.records[0].message, caplog.records[0].run_id) == ("run is silent", RUN_ID)

    def test_counts_no_run_as_silent_that_has_jobs_or_has_just_begun(
        self, cloud, due, cromwell, event, counted
    ):
        cromwell.set_status(RUN_ID, "Running")
        due(polls=120, started_at=cloud.clock.now - 7199)
        cloud.sweep()
        cloud.watcher(event("batch_running"))
        cloud.clock.pass_by(600)
        cloud.sweep()
        assert counted()["RunsSilent"] == 0

    def test_sends_what_it_sends_as_the_doors_read_it(self, cloud, due, cromwell):
        """A swept notice reaches the router's first door, and is said."""
        due(state=State.COMPLETE, ended_at=cloud.clock.now, due_kind=None, due_at=0)
        cloud.table.write(put_notice(RUN_ID, "ended", cloud.clock.now - 90))
        cloud.sweep()
        [notice] = cloud.sent("DiagnosisQueue")
        assert cloud.router(json.dumps(notice.body)) == []
        assert len(cloud.mails()) == 1


class TestABlockedQueue:
    QUEUE = "QUEUE#dropwell-spot"

    @pytest.fixture
    def blocked(self, event):
        """Return what Batch says of a blocked queue at a time, for a reason."""

        def say(time="2025-11-05T10:32:00Z", reason=None):
            told = event("batch_queue_blocked")
            told["time"] = time
            if reason:
                told["detail"]["statusReason"] = reason
            return told

        return say

    def test_is_to_be_told_of_once_however_often_batch_says_so(self, cloud, blocked, counted):
        late, early = blocked("2025-11-05T11:59:59Z"), blocked("2025-11-05T06:00:00Z")
        assert cloud.watcher(late, early, late) == []
        assert cloud.watcher(early) == []
        [notice] = cloud.items(self.QUEUE)
        assert notice["notice_id"] == (
            "dropwell-spot/blocked/CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY/2025-11-05T06Z"
        )
        assert counted()["QueuesBlocked"] == 1

    def test_is_told_of_again_for_another_reason_and_in_another_window(self, cloud, blocked):
        cloud.watcher(
            blocked(),
            blocked(reason="MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - too large"),
            blocked("2025-11-05T12:00:00Z"),
        )
        assert len(cloud.items(self.QUEUE)) == 3

    def test_is_no_news_of_a_run(self, cloud, blocked):
        cloud.watcher(blocked())
        assert cloud.items() == cloud.items(UNATTRIBUTED) == []

    def test_with_somebody_elses_job_at_its_head_is_ignored(self, cloud, blocked, counted):
        told = blocked()
        told["detail"] |= {"jobDefinition": "nightly:7", "tags": {}}
        told["detail"]["container"]["environment"] = []
        cloud.watcher(told)
        assert cloud.items(self.QUEUE) == []
        assert counted()["EventsIgnored"] == 1

    def test_that_could_not_be_recorded_comes_again(self, cloud, blocked, monkeypatch):
        def throttled(*_):
            raise TryAgain("throttled")

        monkeypatch.setattr(handler.watch().table, "write", throttled)
        assert cloud.watcher(blocked(), blocked()) == ["0", "1"]
