"""Return codes, failed jobs and notices through the router: summaries, mails and events."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files

import jsonschema
import pytest

from dropwell.calls import CallId
from dropwell.diagnosis import TAIL_BYTES, summary_of
from dropwell.errors import TryAgain
from dropwell.records import CALL, NOTICE, SIG, Update, put_notice
from dropwell.runs import Due, Origin, State
from functions.log_router import handler
from tests.functional.conftest import LOGS, RUN_ID, WORKFLOWS, client

SOMEBODY = "747d6e64-655b-5e8b-872b-c0e6eb0cf8b5"
ROOT = f"cromwell-execution/wgs/{RUN_ID}"
DENIED = "upload failed: An error occurred (AccessDenied) when calling the PutObject operation"
CALLED = CallId(RUN_ID, "CallVariants")
MARK = CallId(RUN_ID, "MarkDuplicates", 17)


@pytest.fixture
def left(cloud):
    """Leave a call's files in the workflow bucket, as Cromwell does."""

    def leave(folder, stem, rc=None, **logs):
        if rc is not None:
            cloud.put(f"{ROOT}/{folder}/{stem}-rc.txt", rc, WORKFLOWS)
        for name, text in logs.items():
            cloud.put(f"{ROOT}/{folder}/{stem}-{name}.log", text, WORKFLOWS)

    return leave


@pytest.fixture
def logged():
    """Have a Batch job's log stream hold some lines."""

    def log(stream, *lines):
        logs = client("logs")
        logs.create_log_stream(logGroupName=LOGS, logStreamName=stream)
        at = int(datetime.now(UTC).timestamp() * 1000)
        events = [{"timestamp": at + n, "message": line} for n, line in enumerate(lines)]
        logs.put_log_events(logGroupName=LOGS, logStreamName=stream, logEvents=events)

    return log


@pytest.fixture
def summaries(cloud):
    """Return the failures on record, by call."""

    def read(run_id=RUN_ID):
        found = map(summary_of, cloud.items(run_id, CALL))
        return {summary.call_id: summary for summary in found if summary}

    return read


@pytest.fixture
def signatures(cloud):
    def read():
        return {item["call"]: item["count"] for item in cloud.items(prefix=SIG)}

    return read


@pytest.fixture
def failed(cloud, event):
    """Let Batch tell that jobs failed, and the router look at them."""

    def fail(*samples):
        cloud.watcher(*map(event, samples))
        messages = [sent.body for sent in cloud.sent("DiagnosisQueue")]
        assert cloud.router(*messages) == []

    return fail


class TestAReturnCode:
    def test_other_than_0_is_summarised_with_the_end_of_stderr(
        self, cloud, event, left, summaries, signatures, counted
    ):
        cloud.running()
        left("call-CallVariants", "CallVariants", "3\n", stderr="start\nError: no reads\n")
        assert cloud.router(event("rc_created")) == []
        summary = summaries()[CALLED]
        assert (summary.return_code, summary.cause.value) == (3, "TASK_ERROR")
        assert summary.rc_url == f"s3://{WORKFLOWS}/{ROOT}/call-CallVariants/CallVariants-rc.txt"
        assert summary.stderr_url.endswith("CallVariants-stderr.log")
        assert summary.stdout_url == ""
        assert signatures() == {"CallVariants": 1}
        assert counted() == {"ReturnCodesFailure": 1}

    def test_leaves_a_card_with_the_logs_end_in_the_runs_folder(self, cloud, event, left):
        run = cloud.running()
        left("call-CallVariants", "CallVariants", "3\n", stderr="Error: no reads\n")
        cloud.router(event("rc_created"))
        [card] = cloud.keys(run.folder + "failures/")
        assert card.endswith(f"/CallVariants.-1.1.{RUN_ID[:8]}.json")
        assert cloud.page(card)["tail"] == ["Error: no reads"]

    def test_has_its_cause_logged_once_without_a_word_of_the_log(self, cloud, event, left, caplog):
        cloud.running()
        left("call-CallVariants", "CallVariants", "3\n", stderr="patient Doe\n")
        cloud.router(event("rc_created"), event("rc_created"))
        [line] = [record for record in caplog.records if record.message == "call failed"]
        assert (line.run_id, line.call, line.cause) == (RUN_ID, str(CALLED), "TASK_ERROR")
        assert len(line.signature) >= 8
        assert "Doe" not in str([vars(record) for record in caplog.records])

    def test_is_counted_once_however_often_it_is_told(
        self, cloud, event, left, summaries, signatures
    ):
        cloud.running()
        left("call-CallVariants", "CallVariants", "3\n")
        for _ in range(3):
            cloud.router(event("rc_created"), event("rc_created"))
        assert list(summaries()) == [CALLED]
        assert signatures() == {"CallVariants": 1}

    @pytest.mark.parametrize(
        ("sample", "folder", "stem", "call_id"),
        [
            (
                "rc_created_shard_attempt",
                "call-MarkDuplicates/shard-17/attempt-2",
                "MarkDuplicates-17",
                replace(MARK, attempt=2),
            ),
            (
                "rc_created_sub_workflow",
                "call-prep/Prep/747d6e64-655b-5e8b-872b-c0e6eb0cf8b5/call-Trim/shard-3",
                "Trim-3",
                CallId("747d6e64-655b-5e8b-872b-c0e6eb0cf8b5", "Trim", 3),
            ),
        ],
    )
    def test_may_lie_deep(self, cloud, event, left, summaries, sample, folder, stem, call_id):
        cloud.running()
        left(folder, stem, "137\n")
        cloud.router(event(sample))
        assert list(summaries()) == [call_id]

    def test_0_is_counted_and_nothing_is_read_or_kept(self, cloud, event, left, counted):
        cloud.running()
        left("call-CallVariants", "CallVariants", "0\n")
        cloud.router(event("rc_created"))
        assert cloud.items(prefix=CALL) == []
        assert counted() == {"ReturnCodesSuccess": 1}

    def test_0_after_all_takes_the_failure_back(self, cloud, event, left, summaries, signatures):
        """Batch ran the job again, and this time it went well."""
        cloud.running()
        left("call-CallVariants", "CallVariants", "3\n")
        cloud.router(event("rc_created"))
        left("call-CallVariants", "CallVariants", "0\n")
        cloud.router(event("rc_created"), event("rc_created"))
        assert summaries() == {}
        assert signatures() == {"CallVariants": 0}

    def test_from_the_cache_is_no_execution(self, cloud, event, left, counted):
        cloud.running()
        left("call-Align/cacheCopy", "Align", "0\n")
        cloud.router(event("rc_cache_copy_created"), event("rc_cache_copy_created"))
        [call] = cloud.items(prefix=CALL)
        assert (call["cached"], call["rc"]) == (True, 0)
        assert counted() == {"ReturnCodesCached": 2}

    def test_that_is_gone_again_is_nothing(self, cloud, event, counted):
        cloud.running()
        assert cloud.router(event("rc_created")) == []
        assert counted() == {"ReturnCodesNothing": 1}

    def test_that_a_task_forged_is_evidence_of_a_failure_and_no_more(
        self, cloud, event, left, summaries
    ):
        before = cloud.running()
        left("call-CallVariants", "CallVariants", "rm -rf /; 99999999999999999999\n")
        cloud.router(event("rc_created"))
        assert summaries()[CALLED].return_code is None
        assert cloud.run() == before

    def test_of_a_run_past_us_makes_it_observed(self, cloud, event, left):
        left("call-CallVariants", "CallVariants", "3\n")
        cloud.router(event("rc_created"))
        run = cloud.run()
        assert (run.origin, run.name, run.due_kind) == (Origin.OBSERVED, "wgs", Due.POLL)

    @pytest.mark.parametrize(
        "key",
        [
            f"{ROOT}/call-CallVariants/out/my-rc.txt",
            f"dropwell/inputs/{SOMEBODY}/w/{RUN_ID}/call-CallVariants/CallVariants-rc.txt",
        ],
        ids=["a file of a task", "a file that a bundle carries"],
    )
    def test_that_is_none_of_cromwells_is_ignored(self, cloud, event, summaries, counted, key):
        cloud.put(key, "3\n", WORKFLOWS)
        told = event("rc_created")
        told["detail"]["object"]["key"] = key
        assert cloud.router(told) == []
        assert summaries() == {}
        assert counted() == {"ReturnCodesIgnored": 1}

    def test_that_comes_first_keeps_its_words_when_batch_tells_of_the_job(
        self, cloud, event, failed, left
    ):
        """The job is looked at without its script, so without the call's files."""
        run = cloud.running()
        left("call-CallVariants", "CallVariants", "3\n", stderr="Error: no reads\n")
        cloud.router(event("rc_created"))
        failed("batch_failed")
        [card] = cloud.keys(run.folder + "failures/")
        assert cloud.page(card)["tail"] == ["Error: no reads"]
        assert cloud.page(card)["job_id"] == event("batch_failed")["detail"]["jobId"]

    def test_only_the_end_of_a_long_log_is_read_from_its_first_whole_line(self, cloud, event, left):
        run = cloud.running()
        secret = "AKIA" + "Q" * 16
        long = f"{secret}\n" + "x" * TAIL_BYTES
        long = long[: len(long) - len("\nlast words\n")] + "\nlast words\n"
        assert TAIL_BYTES < len(long) < TAIL_BYTES + len(secret) + 2
        left("call-CallVariants", "CallVariants", "3\n", stderr=long)
        cloud.router(event("rc_created"))
        [card] = cloud.keys(run.folder + "failures/")
        told = "\n".join(cloud.page(card)["tail"])
        assert told.endswith("last words")
        assert "Q" not in told

    def test_one_endless_line_is_shown_by_its_end(self, cloud, event, left):
        run = cloud.running()
        left("call-CallVariants", "CallVariants", "3\n", stderr="x" * TAIL_BYTES + "END\n")
        cloud.router(event("rc_created"))
        [card] = cloud.keys(run.folder + "failures/")
        assert cloud.page(card)["tail"][0].startswith("x")

    def test_many_alike_leave_few_cards_and_one_count(self, cloud, event, left, signatures):
        run = cloud.running()
        for shard in range(8):
            folder, stem = f"call-Align/shard-{shard}", f"Align-{shard}"
            left(folder, stem, "1\n", stderr="Error: no reads\n")
            told = event("rc_created")
            told["detail"]["object"]["key"] = f"{ROOT}/{folder}/{stem}-rc.txt"
            cloud.router(told)
        assert signatures() == {"Align": 8}
        assert len(cloud.keys(run.folder + "failures/")) == 5


class TestAFailedJob:
    def test_without_a_return_code_is_judged_by_batch_and_the_jobs_log(
        self, cloud, event, failed, logged, summaries
    ):
        cloud.running()
        stream = event("batch_out_of_memory")["detail"]["container"]["logStreamName"]
        logged(stream, "reading", "java.lang.OutOfMemoryError: Java heap space")
        failed("batch_out_of_memory")
        summary = summaries()[MARK]
        assert summary.cause.value == "OUT_OF_MEMORY"
        assert (summary.return_code, summary.exit_code) == (None, 137)
        assert (summary.log_group, summary.log_stream) == (LOGS, stream)
        [card] = cloud.keys(cloud.run().folder + "failures/")
        assert cloud.page(card)["tail_of"] == "the job's log"
        assert cloud.page(card)["tail"][-1].startswith("java.lang.OutOfMemoryError")

    @pytest.mark.parametrize(
        ("sample", "cause"),
        [
            ("batch_failed", "TASK_ERROR"),
            ("batch_out_of_memory", "OUT_OF_MEMORY"),
            ("batch_spot_lost", "SPOT_RECLAIMED"),
            ("batch_host_lost", "HOST_LOST"),
            ("batch_timeout", "TIMEOUT"),
            ("batch_image_pull_failed", "IMAGE_PULL"),
            ("batch_aborted", "ABORTED"),
        ],
    )
    def test_has_its_cause_told(self, cloud, failed, summaries, sample, cause):
        cloud.running()
        failed(sample)
        [summary] = summaries().values()
        assert summary.cause.value in (cause, "HOST_LOST" if "SPOT" in cause else cause)

    def test_with_a_return_code_is_summarised_from_both(
        self, cloud, event, failed, left, logged, summaries
    ):
        cloud.running()
        left("call-CallVariants", "CallVariants", "3\n", stderr="Error: no reads\n")
        script = event("batch_failed")["detail"]["container"]["environment"][1]["value"]
        rc = f"s3://{WORKFLOWS}/{ROOT}/call-CallVariants/CallVariants-rc.txt"
        cloud.put(
            script.removeprefix(f"s3://{WORKFLOWS}/"),
            f'_s3_delocalize_with_retry "/tmp/scratch/x-rc.txt" "{rc}"\n',
            WORKFLOWS,
        )
        failed("batch_failed")
        summary = summaries()[CALLED]
        assert (summary.return_code, summary.exit_code) == (3, 3)
        assert summary.stderr_url
        assert summary.rc_url == rc

    def test_whose_task_went_well_is_explained_by_the_jobs_log(
        self, cloud, event, failed, left, logged, summaries
    ):
        """Return code 0, and then storing the outputs failed: only the job's log tells of it."""
        cloud.running()
        left("call-CallVariants", "CallVariants", "0\n", stderr="all is well\n")
        detail = event("batch_failed")["detail"]["container"]
        rc = f"s3://{WORKFLOWS}/{ROOT}/call-CallVariants/CallVariants-rc.txt"
        cloud.put(
            detail["environment"][1]["value"].removeprefix(f"s3://{WORKFLOWS}/"),
            f'_s3_delocalize_with_retry "/tmp/scratch/x-rc.txt" "{rc}"\n',
            WORKFLOWS,
        )
        logged(detail["logStreamName"], DENIED)
        failed("batch_failed")
        # Its return code is told once more, and takes nothing back.
        cloud.router(event("rc_created"))
        summary = summaries()[CALLED]
        assert summary.return_code == 0
        assert summary.cause.value == "DELOCALISATION"

    def test_comes_before_or_after_its_return_code_all_the_same(
        self, cloud, event, failed, left, summaries, signatures
    ):
        cloud.running()
        failed("batch_failed")
        assert summaries()[CALLED].return_code is None
        left("call-CallVariants", "CallVariants", "3\n", stderr="Error: no reads\n")
        cloud.router(event("rc_created"))
        summary = summaries()[CALLED]
        assert (summary.return_code, summary.exit_code) == (3, 3)
        assert sum(signatures().values()) == 1

    def test_seen_again_since_is_no_failure(self, cloud, event, counted, summaries):
        cloud.running()
        cloud.watcher(event("batch_succeeded"))
        counted()
        job_id = event("batch_succeeded")["detail"]["jobId"]
        message = {"failed": {"run_id": RUN_ID, "job_ids": [job_id, "unknown"]}}
        assert cloud.router(message) == []
        assert summaries() == {}
        assert counted() == {"FailedJobs": 0}


@pytest.fixture
def ended(cloud):
    """Have a run on record that has ended, and its notice."""

    def end(state=State.COMPLETE, **known):
        known = {"started_at": cloud.clock.now - 1000, "ended_at": cloud.clock.now} | known
        run = cloud.running(state=state, **known)
        cloud.table.write(put_notice(RUN_ID, "ended", cloud.clock.now))
        return run

    return end


def notice(cloud, kind="ended"):
    return cloud.table.get((RUN_ID, f"{NOTICE}{kind}"))


def schema_of(detail_type):
    name = detail_type.lower().replace(" ", "-")
    return json.loads((files("dropwell") / "schemas" / f"{name}.json").read_text())


class TestANotice:
    def test_of_the_stream_is_said_by_mail_and_on_the_bus(self, cloud, event, ended, counted):
        ended()
        assert cloud.stream(event("table_notice_inserted")) == []
        [mail] = cloud.mails()
        assert mail.subject.startswith("[cardio] ")
        assert "wgs-0412" in mail.subject
        assert (
            mail.attributes
            | {
                "kind": "ended",
                "state": "COMPLETE",
                "project": "cardio",
                "notice_id": f"{RUN_ID}/ended",
            }
            == mail.attributes
        )
        [told] = cloud.events()
        assert (told["source"], told["detail-type"]) == ("dropwell", "Run State Change")
        jsonschema.validate(told["detail"], schema_of(told["detail-type"]))
        assert told["detail"]["metadata"]["id"] == f"{RUN_ID}/ended"
        assert counted() == {"NoticesSaid": 1}

    def test_that_was_said_is_marked_and_not_due_any_more(self, cloud, event, ended):
        ended()
        cloud.stream(event("table_notice_inserted"))
        item = notice(cloud)
        assert item["said_at"] == cloud.clock.now
        assert "due_kind" not in item
        assert cloud.table.due(Due.NOTICE, cloud.clock.now + 9999, 9) == []

    def test_delivered_again_says_nothing(self, cloud, event, ended, counted):
        ended()
        cloud.stream(event("table_notice_inserted"))
        counted()
        cloud.stream(event("table_notice_inserted"))
        cloud.tell("ended")
        assert len(cloud.mails()) == len(cloud.events()) == 1
        assert counted() == {"NoticesKnown": 2}

    def test_that_somebody_is_saying_is_left_to_him(self, cloud, event, ended):
        ended()
        table = handler.doors()[1].table
        item = notice(cloud)
        table.write(
            Update(
                (RUN_ID, f"{NOTICE}ended"),
                set={"rev": item["rev"] + 1, "claimed_until": cloud.clock.now + 90},
            )
        )
        cloud.stream(event("table_notice_inserted"))
        assert cloud.mails() == []
        cloud.clock.pass_by(90)
        cloud.tell("ended")
        assert len(cloud.mails()) == 1

    def test_that_a_channel_did_not_take_comes_again_and_stays_due(
        self, cloud, event, ended, monkeypatch
    ):
        ended()
        bus = handler.doors()[1].bus

        def full(*_):
            raise TryAgain("the bus is full")

        monkeypatch.setattr(bus, "put", full)
        assert cloud.stream(event("table_notice_inserted")) == ["4421584500000000017450439091"]
        assert "said_at" not in notice(cloud)
        assert cloud.table.due(Due.NOTICE, cloud.clock.now + 90, 9)

    def test_of_a_run_nobody_knows_is_passed_over(self, cloud, event):
        cloud.table.write(put_notice(RUN_ID, "ended", cloud.clock.now))
        assert cloud.stream(event("table_notice_inserted")) == []
        assert cloud.mails() == []


class TestEveryKind:
    """What is said of each kind of notice is held to its schema on the bus."""

    def test_accepted(self, cloud):
        cloud.running(warnings=("inputs.json:3  something odd",))
        cloud.table.write(put_notice(RUN_ID, "accepted", cloud.clock.now))
        cloud.tell("accepted")
        [mail] = cloud.mails()
        assert "something odd" in mail.body
        self.holds(cloud, "Run State Change")

    def test_rejected(self, cloud):
        run = cloud.running(
            state=State.REJECTED, submitted_at=0, findings=("inputs.json:7  unknown input",)
        )
        cloud.table.write(put_notice(RUN_ID, "rejected", cloud.clock.now))
        cloud.tell("rejected")
        [mail] = cloud.mails()
        assert "Not started" in mail.subject
        assert f"Report and bundle: {cloud.inbox.uri(run.folder)}\n" in mail.body
        self.holds(cloud, "Drop Rejected")

    def test_failing(self, cloud, failed):
        cloud.running(failures=("exited with return code 3",))
        failed("batch_failed")
        cloud.table.write(put_notice(RUN_ID, "failing", cloud.clock.now))
        cloud.tell("failing")
        [mail] = cloud.mails()
        assert mail.attributes["cause"] == "TASK_ERROR"
        self.holds(cloud, "Run Failing")

    def test_failing_is_not_said_of_a_run_that_has_ended(self, cloud, counted):
        cloud.running(state=State.EXECUTOR_ERROR)
        cloud.table.write(put_notice(RUN_ID, "failing", cloud.clock.now))
        cloud.tell("failing")
        assert cloud.mails() == []
        assert notice(cloud, "failing")["superseded_at"] == cloud.clock.now
        assert "said_at" not in notice(cloud, "failing")
        assert counted() == {"NoticesSuperseded": 1}

    def test_complete_with_its_outputs_counted(self, cloud, event, ended):
        run = ended()
        cloud.put(run.folder + "outputs.json", json.dumps({"a": 1, "b": 2}))
        cloud.stream(event("table_notice_inserted"))
        assert "Outputs: 2" in cloud.mails()[0].body
        self.holds(cloud, "Run State Change")

    def test_canceled(self, cloud, event, ended):
        ended(State.CANCELED)
        cloud.stream(event("table_notice_inserted"))
        assert cloud.mails()[0].attributes["state"] == "CANCELED"
        self.holds(cloud, "Run State Change")

    def test_lost(self, cloud, event, ended):
        ended(State.SYSTEM_ERROR, cause="LOST_UPSTREAM")
        cloud.stream(event("table_notice_inserted"))
        assert cloud.mails()[0].attributes["cause"] == "LOST_UPSTREAM"
        self.holds(cloud, "Run State Change")

    def test_blocked_which_belongs_to_no_run(self, cloud, event):
        cloud.watcher(event("batch_queue_blocked"))
        [recorded] = cloud.items("QUEUE#dropwell-spot")
        for _ in range(2):
            cloud.tell(recorded["sk"].removeprefix(NOTICE), "QUEUE#dropwell-spot")
        [mail] = cloud.mails()
        assert mail.subject == "[batch] Queue blocked: dropwell-spot, no machines to be had"
        assert mail.attributes == {
            "kind": "blocked",
            "severity": "warning",
            "queue": "dropwell-spot",
            "notice_id": recorded["notice_id"],
        }
        self.holds(cloud, "Queue Blocked")
        assert cloud.table.due(Due.NOTICE, cloud.clock.now + 9999, 9) == []

    @staticmethod
    def holds(cloud, detail_type):
        [told] = cloud.events()
        assert told["detail-type"] == detail_type
        jsonschema.validate(told["detail"], schema_of(detail_type))


class TestTheEndOfAFailedRun:
    def test_tells_cause_calls_and_last_words(self, cloud, event, ended, left, failed):
        ended(State.EXECUTOR_ERROR)
        left("call-CallVariants", "CallVariants", "3\n", stderr="Error: no reads\n")
        cloud.router(event("rc_created"))
        cloud.watcher(event("batch_succeeded"))
        failed("batch_failed")
        cloud.stream(event("table_notice_inserted"))
        [mail] = cloud.mails()
        assert mail.subject.startswith("[cardio] FAILED: wgs-0412")
        assert mail.attributes["cause"] == "TASK_ERROR"
        assert "1 of 2 calls done" in mail.body
        assert "Error: no reads" in mail.body
        assert "return code 3" in mail.body

    def test_keeps_the_cause_with_the_run_and_its_status(self, cloud, event, ended, left, failed):
        ended(State.EXECUTOR_ERROR)
        left("call-CallVariants", "CallVariants", "3\n", stderr="Error: no reads\n")
        cloud.router(event("rc_created"))
        failed("batch_failed")
        cloud.stream(event("table_notice_inserted"))
        assert cloud.run().cause == "TASK_ERROR"
        page = cloud.inbox.read(cloud.run().folder + "status.json", limit=9999)
        assert json.loads(page)["cause"] == "TASK_ERROR"

    def test_waits_for_the_summaries_it_is_to_tell(self, cloud, event, ended, counted, summaries):
        ended(State.EXECUTOR_ERROR)
        cloud.watcher(event("batch_failed"))
        counted()
        cloud.stream(event("table_notice_inserted"))
        assert cloud.mails() == []
        assert counted() == {"NoticesPostponed": 1}
        [failure, again] = cloud.sent("DiagnosisQueue")
        assert again.body == {"notice": {"run_id": RUN_ID, "sk": f"{NOTICE}ended"}}
        assert again.delay == 5

        cloud.router(failure.body)
        cloud.clock.pass_by(5)
        cloud.router(again.body)
        [mail] = cloud.mails()
        assert mail.attributes["cause"] == "TASK_ERROR"

    def test_waits_no_longer_than_a_minute(self, cloud, event, ended):
        ended(State.EXECUTOR_ERROR, failures=("Workflow failed",))
        cloud.watcher(event("batch_failed"))
        cloud.clock.pass_by(59)
        cloud.tell("ended")
        assert cloud.mails() == []
        cloud.clock.pass_by(1)
        cloud.tell("ended")
        assert len(cloud.mails()) == 1

    def test_tells_of_no_attempt_that_a_later_one_made_good(
        self, cloud, event, ended, failed, left
    ):
        ended()
        failed("batch_out_of_memory")
        later = event("batch_cromwell_attempt_2")
        later["detail"] |= {"status": "SUCCEEDED", "attempts": [{}]}
        cloud.watcher(later)
        cloud.stream(event("table_notice_inserted"))
        [mail] = cloud.mails()
        assert mail.attributes["state"] == "COMPLETE"
        assert "OUT_OF_MEMORY" not in mail.attributes.values()

    def test_groups_what_failed_alike(self, cloud, event, ended, left):
        ended(State.EXECUTOR_ERROR)
        for shard in range(15):
            folder, stem = f"call-Align/shard-{shard}", f"Align-{shard}"
            left(folder, stem, "1\n", stderr="Error: no reads\n")
            told = event("rc_created")
            told["detail"]["object"]["key"] = f"{ROOT}/{folder}/{stem}-rc.txt"
            cloud.router(told)
        cloud.stream(event("table_notice_inserted"))
        [mail] = cloud.mails()
        assert "15 calls failed alike" in mail.body
        told = " ".join(mail.body.split())
        assert "shards 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 3 more" in told


class TestDetail:
    @pytest.fixture
    def parameters(self):
        return {"NoticeDetail": "minimal"}

    def test_minimal_carries_no_log_text(self, cloud, event, ended, left):
        ended(State.EXECUTOR_ERROR)
        left("call-CallVariants", "CallVariants", "3\n", stderr="patient Doe\n")
        cloud.router(event("rc_created"))
        cloud.stream(event("table_notice_inserted"))
        assert "Doe" not in cloud.mails()[0].body
        assert "Doe" not in json.dumps(cloud.events())


class TestABadMessage:
    @pytest.mark.parametrize("bad", ["no JSON", "[]", "{}", '{"detail-type": "Object Created"}'])
    def test_fails_by_itself_and_says_so(self, cloud, event, left, summaries, caplog, counted, bad):
        cloud.running()
        left("call-CallVariants", "CallVariants", "3\n")
        assert cloud.router(bad, event("rc_created")) == ["0"]
        assert list(summaries()) == [CALLED]
        assert caplog.records[0].reason.startswith("BadEvent: ")
        assert counted()["MessagesFailed"] == 1

    def test_that_nobody_foresaw_is_told_with_its_trace(self, cloud, ended, caplog):
        ended()
        cloud.table.write(put_notice(RUN_ID, "shouting", cloud.clock.now))
        cloud.tell("shouting")
        assert caplog.records[0].reason.startswith("ValueError: ")
        assert caplog.records[0].exc_info

    def test_of_a_stream_does_not_hurt_the_records_before_it(self, cloud, event, ended):
        ended()
        told = event("table_notice_inserted")
        bad = json.loads(json.dumps(told["Records"][0]))
        bad["dynamodb"]["Keys"]["sk"]["S"] = f"{NOTICE}shouting"
        bad["dynamodb"]["SequenceNumber"] = "2"
        cloud.table.write(put_notice(RUN_ID, "shouting", cloud.clock.now))
        told["Records"].append(bad)
        assert cloud.stream(told) == ["2"]
        assert len(cloud.mails()) == 1
