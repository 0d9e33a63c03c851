"""Runs as the command lists, shows and aborts them."""

from __future__ import annotations

import io
import time
import uuid
from dataclasses import replace

import pytest

from dropwell import ledger
from dropwell.drops import Action, Control, what_is
from dropwell.notices import Kind
from dropwell.runs import State
from tests.functional.conftest import DROPPED_AT, LOGS, RUN_ID, WORKFLOWS, client

OTHER = str(uuid.UUID(int=7 << 124))
DAY = 86400
CALL = f"cromwell-execution/depth_check/{RUN_ID}/call-check/shard-2"
SCRIPT = f'_s3_delocalize_with_retry "/tmp/check-2-rc.txt" "s3://{WORKFLOWS}/{CALL}/check-2-rc.txt"'


def ended(cloud, state, run_id=RUN_ID):
    """Turn a run's state together with its notice, and have that said."""
    run = ledger.load(cloud.table, run_id)

    def turned(known):
        return replace(known, state=state, ended_at=cloud.clock.now)

    ledger.change(cloud.table, run, turned, notice=Kind.ENDED, now=cloud.clock.now)
    cloud.clock.pass_by(120)
    cloud.tell("ended", run_id)


@pytest.fixture
def failed(cloud, event):
    """A run of one call that failed by itself, its logs where Cromwell leaves them."""
    cloud.running(name="failing", workflow="depth_check")
    for name, text in {
        "script": SCRIPT,
        "check-2-rc.txt": "3\n",
        "check-2-stderr.log": "Checking\nERROR: depth 12 is below 20\n",
        "check-2-stdout.log": "",
    }.items():
        cloud.put(f"{CALL}/{name}", text, bucket=WORKFLOWS)
    told = event("batch_untagged")
    told["detail"] |= {"status": "FAILED", "jobId": "job-1"}
    told["detail"]["container"]["environment"] = [
        {"name": "BATCH_FILE_S3_URL", "value": f"s3://{WORKFLOWS}/{CALL}/script"}
    ]
    assert cloud.watcher(told) == []
    assert cloud.router({"failed": {"run_id": RUN_ID, "job_ids": ["job-1"]}}) == []
    ended(cloud, State.EXECUTOR_ERROR)


class TestRuns:
    @pytest.fixture(autouse=True)
    def two(self, cloud):
        cloud.running()
        cloud.running(
            OTHER,
            name="old",
            project="onco",
            state=State.COMPLETE,
            dropped_at=DROPPED_AT - 70 * DAY,
        )

    def test_are_listed_newest_first_however_many_months_lie_between(self, ask):
        assert [run["run_id"] for run in ask("runs", "--json").told] == [RUN_ID, OTHER]

    def test_are_told_to_programs_in_full(self, ask):
        run = ask("runs", "--json").told[0]
        assert run["name"] == "wgs-0412"
        assert run["state"] == "RUNNING"
        assert run["dropped_at"] == "2025-11-05T10:00:00Z"
        assert run["ended_at"] is None
        assert run["jobs"] == {"total": 0, "succeeded": 0, "failed": 0, "live": 0}

    @pytest.mark.parametrize(
        "words", [("--project", "onco"), ("--state", "complete"), ("--state", "COMPLETE")]
    )
    def test_can_be_asked_for_by_project_and_by_state(self, ask, words):
        assert [run["run_id"] for run in ask("runs", "--json", *words).told] == [OTHER]

    def test_can_be_asked_for_by_name_and_by_label(self, ask, cloud):
        third = str(uuid.UUID(int=9 << 124))
        cloud.running(third, name="wgs-0500", labels=(("cohort", "A"), ("who", "me")))

        def found(*words):
            return {run["run_id"] for run in ask("runs", "--json", *words).told}

        assert found("--name", "wgs-*") == {RUN_ID, third}
        assert found("--name", "wgs") == set()
        assert found("--label", "cohort=A") == found("--label=cohort=A", "--label=who=me")
        assert found("--label", "cohort=A", "--name", "wgs-*") == {third}
        assert found("--label", "cohort=B") == found("--label=cohort=A", "--label=who=you") == set()

    def test_that_are_not_there_are_said_not_to_be(self, ask):
        out = ask("runs", "--name", "nothing").out
        assert out.startswith("No such runs in the stack dropwell-test")

    def test_are_printed_without_colours_where_nobody_looks(self, ask):
        assert "\x1b" not in ask("runs").out + ask("show", RUN_ID).out

    def test_are_listed_up_to_a_limit(self, ask):
        assert len(ask("runs", "--json", "--limit", "1").told) == 1

    def test_are_a_table_to_people(self, ask):
        heading, first, second = ask("runs").out.splitlines()
        assert heading.split() == ["run", "name", "project", "state", "jobs", "dropped"]
        assert first.split()[:4] == [RUN_ID[:8], "wgs-0412", "cardio", "RUNNING"]
        assert second.split()[:4] == [OTHER[:8], "old", "onco", "COMPLETE"]


class TestARunIsMeantBy:
    @pytest.fixture(autouse=True)
    def runs(self, cloud):
        cloud.running()
        cloud.running(OTHER, name="old")

    @pytest.mark.parametrize("named", [RUN_ID, RUN_ID.upper(), RUN_ID[:8], RUN_ID[:2], "wgs-0412"])
    def test_its_id_the_beginning_of_it_or_its_name(self, ask, named):
        assert ask("show", named, "--json").told["run_id"] == RUN_ID

    def test_nothing_else(self, ask):
        result = ask("show", "wgs")
        assert result.code == 1
        assert result.error == (
            'No run of the last 6 months has the name "wgs", nor an id that begins with it.'
            " `dropwell runs` lists them.\n"
        )

    def test_no_id_that_is_not_there(self, ask):
        gone = str(uuid.UUID(int=1))
        assert ask("show", gone).error == f"There is no run {gone}.\n"

    def test_no_name_that_two_have_which_are_then_listed(self, ask, cloud):
        third = str(uuid.UUID(int=9 << 124))
        cloud.running(third, name="old")
        result = ask("show", "old")
        assert result.code == 1
        assert result.error.startswith('"old" may mean 2 runs. Give more of the id:\n')
        assert OTHER in result.error
        assert third in result.error


class TestAFailedRun:
    @pytest.fixture(autouse=True)
    def run(self, failed):
        pass

    def test_is_told_to_programs_with_its_cause_and_its_notices(self, ask):
        told = ask("show", "failing", "--json").told
        assert (told["state"], told["cause"]) == ("EXECUTOR_ERROR", "TASK_ERROR")
        assert [notice["kind"] for notice in told["notices"]] == ["ended"]
        assert told["jobs"]["failed"] == 1
        assert told["outputs"] == {}

    def test_is_shown_with_call_return_code_last_words_and_next_step(self, ask):
        out = ask("show", "failing").out
        assert "check shard 2 ended with return code 3" in out
        assert "TASK_ERROR: " in out
        assert "ERROR: depth 12 is below 20" in out
        assert "Next: read the end of its stderr" in out

    def test_has_the_logs_of_what_failed_read_without_being_told_which(self, ask):
        out = ask("logs", "failing").out
        assert f"stderr: s3://{WORKFLOWS}/{CALL}/check-2-stderr.log\n" in out
        assert "ERROR: depth 12 is below 20\n" in out

    @pytest.mark.parametrize("named", ["check", "check-2", "check shard 2"])
    def test_has_the_log_of_a_call_that_is_named(self, ask, named):
        [call] = ask("logs", "failing", named, "--json").told
        assert (call["call"], call["shard"], call["status"]) == ("check", 2, "FAILED")
        assert call["logs"][0]["lines"] == ["Checking", "ERROR: depth 12 is below 20"]

    def test_knows_its_calls_names(self, ask):
        result = ask("logs", "failing", "align")
        assert result.code == 1
        assert result.error == 'No call of this run is named "align". Its calls: check.\n'

    def test_has_no_more_lines_read_than_were_asked_for(self, ask):
        [call] = ask("logs", "failing", "--lines", "1", "--json").told
        assert call["logs"][0]["lines"] == ["ERROR: depth 12 is below 20"]

    def test_has_its_notice_read_again_in_no_more_detail_than_the_stacks_mails(self, ask, cloud):
        [mail] = cloud.mails()
        out = ask("notices", "failing").out
        assert mail.subject in out
        assert "check shard 2" in out
        assert "depth 12" not in out

    def test_has_its_notice_listed(self, ask):
        [notice] = ask("notices", "--json").told
        assert notice["run_id"] == RUN_ID
        assert "FAILED: failing, task error in check" in notice["subject"]


def test_the_log_of_a_job_that_left_no_files_comes_from_cloudwatch(ask, cloud, event):
    cloud.running()
    client("logs").create_log_stream(logGroupName=LOGS, logStreamName="stream-1")
    client("logs").put_log_events(
        logGroupName=LOGS,
        logStreamName="stream-1",
        logEvents=[{"timestamp": int(time.time() * 1000), "message": "fatal error: (404)"}],
    )
    told = event("batch_failed")
    told["detail"]["container"]["logStreamName"] = "stream-1"
    run_id = told["detail"]["tags"]["cromwell-root-workflow-id"]
    cloud.watcher(told)
    [call] = ask("logs", run_id, "--json").told
    assert call["logs"] == [
        {
            "of": "the job's log",
            "where": f"{LOGS} stream-1",
            "bytes": 0,
            "lines": ["fatal error: (404)"],
        }
    ]


class TestACompleteRun:
    @pytest.fixture(autouse=True)
    def run(self, cloud):
        run = cloud.running(name="hello")
        cloud.inbox.put(f"{run.folder}outputs.json", '{"hello.greeting": "Hello"}')
        ended(cloud, State.COMPLETE)

    def test_shows_what_it_returned(self, ask):
        assert 'hello.greeting = "Hello"' in ask("show", "hello").out
        told = ask("show", "hello", "--json").told
        assert (told["outputs"], told["cause"]) == ({"hello.greeting": "Hello"}, None)

    def test_is_watched_to_the_end_at_once(self, ask):
        result = ask("watch", "hello")
        assert result.code == 0
        assert "[cardio] Complete: hello" in result.out

    def test_is_told_to_programs_with_progress_kept_apart(self, ask):
        result = ask("watch", "hello", "--json")
        assert result.told["state"] == "COMPLETE"
        assert "Complete: hello" in result.error

    def test_is_not_aborted(self, ask, cloud):
        assert ask("abort", "hello").out == "hello has ended already: COMPLETE.\n"
        assert cloud.keys("control/") == []


class TestAbort:
    def test_leaves_a_control_file_that_asks_for_just_that(self, ask, cloud):
        cloud.running()
        assert ask("abort", "wgs-0412").code == 0
        [key] = cloud.keys("control/")
        assert what_is(key, 3) == Control("cardio", Action.ABORT, RUN_ID)

    def test_tells_programs_whether_it_asked(self, ask, cloud):
        cloud.running()
        told = ask("abort", RUN_ID, "--json").told
        assert told == {"run_id": RUN_ID, "state": "RUNNING", "asked": True}


class TestAbortByLabel:
    DONE = str(uuid.UUID(int=9 << 124))
    THERE = str(uuid.UUID(int=11 << 124))

    @pytest.fixture(autouse=True)
    def runs(self, cloud):
        label = {"labels": (("cohort", "A"),)}
        cloud.running(**label)
        cloud.running(self.THERE, name="onc-7", project="onco", **label)
        cloud.running(self.DONE, state=State.COMPLETE, **label)
        cloud.running(OTHER, name="old")

    @pytest.fixture
    def asked(self, cloud):
        return lambda: {what_is(key, 3).run_id for key in cloud.keys("control/")}

    def test_lists_what_it_will_stop_and_asks(self, ask, asked, monkeypatch):
        monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
        ended = ask("abort", "--label", "cohort=A")
        assert ended.code == 0
        assert "wgs-0412" in ended.out
        assert "onc-7" in ended.out
        assert "Stop 2 runs?" in ended.out
        assert ended.out.endswith("Asked for 2 runs to stop.\n")
        assert asked() == {RUN_ID, self.THERE}

    @pytest.mark.parametrize("answer", ["n\n", ""])
    def test_stops_nothing_unless_told_so(self, ask, asked, monkeypatch, answer):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        assert ask("abort", "--label", "cohort=A").code == 1
        assert asked() == set()

    def test_does_not_ask_where_that_was_said_before(self, ask, asked):
        told = ask("abort", "--label", "cohort=A", "--project", "onco", "--yes", "--json").told
        assert told == [{"run_id": self.THERE, "state": "RUNNING", "asked": True}]
        assert asked() == {self.THERE}

    def test_of_no_run_says_so(self, ask):
        out = ask("abort", "--label", "cohort=B").out
        assert out == "No run that bears it is to be stopped.\n"

    @pytest.mark.parametrize(
        "words",
        [(), (RUN_ID, "--label", "a=b"), ("--label", "a"), ("--label", "a=b", "--json")],
    )
    def test_that_cannot_be_meant_ends_with_2(self, ask, words):
        assert ask("abort", *words).code == 2


class TestRelease:
    def test_leaves_a_control_file_for_a_run_on_hold(self, ask, cloud):
        cloud.running(state=State.PAUSED, cromwell_status="On Hold")
        assert "to be released" in ask("release", "wgs-0412").out
        [key] = cloud.keys("control/")
        assert what_is(key, 3) == Control("cardio", Action.RELEASE, RUN_ID)

    def test_leaves_alone_what_is_not_on_hold(self, ask, cloud):
        cloud.running()
        assert ask("release", RUN_ID).out == "wgs-0412 is not on hold: RUNNING.\n"
        told = ask("release", RUN_ID, "--json").told
        assert told == {"run_id": RUN_ID, "state": "RUNNING", "asked": False}
        assert cloud.keys("control/") == []


@pytest.mark.parametrize(
    "command",
    ["submit", "runs", "show", "watch", "logs", "abort", "release", "notices", "local run"],
)
def test_the_help_of_a_command_shows_how_to_use_it(dropwell, command):
    out = dropwell(*command.split(), "--help").out
    assert f"\n  dropwell {command}" in out or f"\n    dropwell {command}" in out


def test_a_watch_that_takes_too_long_ends_with_1_and_the_run_goes_on(ask, cloud):
    cloud.running()
    result = ask("watch", RUN_ID, "--timeout", "0")
    assert result.code == 1
    assert result.out.endswith("It had not ended after 0 seconds, and goes on.\n")
