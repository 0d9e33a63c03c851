"""A notification of S3 through the submitter: the table, the buckets and Cromwell afterwards."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace

import pytest

from dropwell.cromwell import Cromwell
from dropwell.runs import Due, State
from functions.submitter import handler
from tests.functional.conftest import INBOX, WORKFLOWS
from tests.stubs.cromwell import Mode
from tests.unit.bundle_builders import tarred, zipped

HELLO = """version 1.0
workflow hello {
  input {
    String name
    File? table
  }
}
"""
INPUTS = {"hello.name": "world"}


def bundle(**files):
    return zipped({"main.wdl": HELLO, "inputs.json": INPUTS} | files)


BUNDLE = bundle()


@pytest.fixture
def landed(cloud, event):
    """Let a bundle land as a sample tells it."""

    def land(sample="s3_drop", body=None):
        return cloud.land(event(sample), BUNDLE if body is None else body)

    return land


@pytest.fixture
def dropped(cloud, landed):
    """Let a bundle land and be handled; the run that came of it."""

    def drop(sample="s3_drop", body=None):
        told, fell = landed(sample, body)
        assert cloud.submitter(told) == []
        return cloud.run(fell.run_id)

    return drop


class TestADrop:
    def test_becomes_a_run_under_its_own_id(self, dropped, cromwell):
        run = dropped()
        [accepted] = cromwell.accepted
        assert accepted.run_id == run.run_id == run.drop.run_id
        assert (run.state, run.cromwell_status) == (State.QUEUED, "Submitted")
        assert (run.project, run.name, run.workflow) == ("cardio", "wgs-0412", "hello")
        assert run.principal == "AWS:AROAEXAMPLECARDIO:alice"

    def test_is_posted_with_its_source_inputs_and_labels(self, dropped, cromwell):
        dropped()
        [accepted] = cromwell.accepted
        assert accepted.source == HELLO
        assert accepted.inputs == INPUTS
        assert accepted.labels == {"dropwell-project": "cardio", "dropwell-name": "wgs-0412"}
        assert accepted.dependencies is None
        assert not accepted.on_hold

    def test_leaves_the_inbox_for_its_runs_folder(self, cloud, dropped):
        run = dropped()
        assert cloud.keys("inbox/") == []
        assert cloud.keys(run.folder) == [
            run.folder + name for name in ("bundle.zip", "receipt.json", "status.json")
        ]
        assert cloud.inbox.read(run.folder + "bundle.zip", limit=9999) == BUNDLE

    @pytest.mark.parametrize("end", ["tar.gz", "tgz"])
    def test_as_a_tar_runs_and_is_kept_under_its_whole_suffix(self, cloud, event, cromwell, end):
        sample = event("s3_drop")
        sample["Records"][0]["s3"]["object"]["key"] = f"inbox/cardio/wgs-0412.{end}"
        body = tarred({"main.wdl": HELLO, "inputs.json": INPUTS})
        told, fell = cloud.land(sample, body)
        assert cloud.submitter(told) == []
        run = cloud.run(fell.run_id)
        [accepted] = cromwell.accepted
        assert (accepted.inputs, run.name) == (INPUTS, "wgs-0412")
        assert f"{run.folder}bundle.{end}" in cloud.keys(run.folder)

    def test_gets_a_receipt(self, cloud, dropped):
        run = dropped()
        told = cloud.page(run.folder + "receipt.json")
        assert told["run_id"] == run.run_id
        assert told["dropped"]["object"] == f"s3://{INBOX}/inbox/cardio/wgs-0412.zip"
        assert told["dropped"]["version_id"] == run.version_id
        assert told["dropped"]["by"] == "AWS:AROAEXAMPLECARDIO:alice"
        assert cloud.page(run.folder + "status.json")["state"] == "QUEUED"

    def test_is_to_be_told_of_and_polled(self, cloud, dropped, clock):
        run = dropped()
        assert cloud.notices(run.run_id) == ["accepted"]
        assert (run.due_kind, run.due_at) == (Due.POLL, clock.now + 20)

    def test_can_be_listed_by_the_month_in_which_it_fell(self, cloud, dropped):
        run = dropped()
        assert [item["run_id"] for item in cloud.items("RUNS#2025-11")] == [run.run_id]

    def test_takes_only_its_own_version_out_of_the_inbox(self, cloud, landed):
        told, drop = landed()
        newer = cloud.put(drop.key, b"dropped again meanwhile")
        cloud.submitter(told)
        assert cloud.versions(drop.key) == [newer]
        assert cloud.inbox.read(drop.key, limit=99) == b"dropped again meanwhile"

    def test_told_of_again_changes_nothing(self, cloud, landed, cromwell, counted):
        told, drop = landed()
        cloud.submitter(told)
        before, asked = cloud.items(drop.run_id), list(cromwell.asked)
        cloud.clock.pass_by(30)
        counted()
        assert cloud.submitter(told, told) == []
        assert cloud.items(drop.run_id) == before
        assert cromwell.asked == asked
        assert counted()["DropsKnown"] == 2

    def test_dropped_again_is_another_run_and_warned_of_its_twin(self, cloud, dropped, cromwell):
        first, second = dropped(), dropped()
        assert [one.run_id for one in cromwell.accepted] == [first.run_id, second.run_id]
        assert second.warnings == (f"the same bundle already runs as wgs-0412 ({first.run_id})",)

    @pytest.mark.parametrize(
        ("sample", "project", "name"),
        [
            ("s3_drop_key_with_space", "cardio", "my-first-run"),
            ("s3_drop_key_with_plus", "cardio", "tumour-normal"),
            ("s3_drop_key_not_ascii", "kardiologie", "prufung--No7"),
        ],
    )
    def test_may_have_any_name(self, cloud, dropped, cromwell, sample, project, name):
        run = dropped(sample)
        assert (run.project, run.name) == (project, name)
        assert [one.run_id for one in cromwell.accepted] == [run.run_id]
        assert cloud.keys("inbox/") == []

    def test_may_be_a_lone_wdl(self, cloud, event, cromwell):
        sample = event("s3_drop")
        sample["Records"][0]["s3"]["object"]["key"] = "inbox/cardio/hello.wdl"
        told, drop = cloud.land(sample, b"version 1.0\nworkflow hello { }\n")
        cloud.submitter(told)
        assert cloud.keys(cloud.run(drop.run_id).folder)[0].endswith("/bundle.wdl")
        assert len(cromwell.accepted) == 1

    def test_on_hold_is_paused(self, dropped, cromwell):
        manifest = {"mainWorkflowURL": "main.wdl", "inputFileURLs": ["inputs.json"], "hold": True}
        run = dropped(body=bundle(**{"MANIFEST.json": manifest}))
        assert (run.state, run.cromwell_status) == (State.PAUSED, "On Hold")
        assert cromwell.accepted[0].on_hold

    def test_only_to_be_checked_runs_nothing(self, cloud, dropped, cromwell):
        manifest = {"mainWorkflowURL": "main.wdl", "inputFileURLs": ["inputs.json"], "dryRun": True}
        run = dropped(body=bundle(**{"MANIFEST.json": manifest}))
        assert run.state is State.REJECTED
        assert "nothing stands against running it" in cloud.text(run.folder + "report.md")
        assert cromwell.accepted == []

    def test_removed_before_it_was_read_is_told_so(self, cloud, landed, cromwell):
        told, drop = landed()
        cloud.inbox.remove(drop.key, drop.version_id)
        assert cloud.submitter(told) == []
        run = cloud.run(drop.run_id)
        assert run.state is State.REJECTED
        assert run.findings == ("wgs-0412.zip was removed before it could be read. Drop it again.",)
        assert cromwell.accepted == []


class TestDataFiles:
    def test_of_a_bundle_go_where_cromwell_reads_them(self, cloud, dropped, cromwell):
        run = dropped(
            body=bundle(
                **{
                    "inputs.json": INPUTS | {"hello.table": "data/samples.tsv"},
                    "data/samples.tsv": "a\tb\n",
                }
            )
        )
        key = f"dropwell/inputs/{run.run_id}/data/samples.tsv"
        assert cloud.workflows.read(key, limit=99) == b"a\tb\n"
        assert cromwell.accepted[0].inputs["hello.table"] == f"s3://{WORKFLOWS}/{key}"


class TestImports:
    def test_are_posted_as_one_zip(self, dropped, cromwell):
        main = 'version 1.0\nimport "lib/tasks.wdl" as t\nworkflow hello { call t.say }\n'
        tasks = 'version 1.0\nimport "deep/more.wdl" as m\ntask say { command { } }\n'
        run = dropped(
            body=zipped(
                {
                    "main.wdl": main,
                    "lib/tasks.wdl": tasks,
                    "lib/deep/more.wdl": "version 1.0\ntask x { command { } }\n",
                }
            )
        )
        assert run.state is State.QUEUED
        posted = zipfile.ZipFile(io.BytesIO(cromwell.accepted[0].dependencies))
        assert set(posted.namelist()) >= {"lib/tasks.wdl", "lib/deep/more.wdl"}


class TestOptions:
    @pytest.fixture
    def parameters(self):
        return {"EnforcedOptions": json.dumps({"read_from_cache": False})}

    def test_of_the_operator_are_laid_over_those_of_the_bundle(self, dropped, cromwell):
        options = {"read_from_cache": True, "write_to_cache": True}
        run = dropped(body=bundle(**{"options.json": options}))
        assert run.state is State.QUEUED
        assert cromwell.accepted[0].options == {"read_from_cache": False, "write_to_cache": True}

    def test_that_act_with_cromwells_rights_are_refused(self, dropped, cromwell):
        options = {"final_workflow_outputs_dir": "s3://somebody-elses/folder"}
        run = dropped(body=bundle(**{"options.json": options}))
        assert run.state is State.REJECTED
        assert "final_workflow_outputs_dir" in run.findings[0]
        assert cromwell.accepted == []


class TestARejectedDrop:
    def test_names_file_line_and_the_likely_word(self, cloud, dropped, cromwell):
        run = dropped(body=bundle(**{"inputs.json": '{\n  "hello.nmae": "x"\n}\n'}))
        assert run.state is State.REJECTED
        assert cromwell.asked == []
        [unknown] = cloud.page(run.folder + "report.json")["findings"]
        assert (unknown["file"], unknown["line"], unknown["rule"]) == (
            "inputs.json",
            2,
            "unknown-input",
        )
        assert 'Did you mean "hello.name"?' in unknown["message"]
        page = cloud.text(run.folder + "report.md")
        assert page.startswith("# wgs-0412 was not started: 1 problem")
        assert "inputs.json:2" in page

    def test_keeps_the_bundle_whole_beside_the_report(self, cloud, dropped):
        run = dropped(body=b"this is no zip")
        assert run.folder == f"rejected/cardio/wgs-0412/{run.run_id}/"
        assert cloud.keys() == [
            run.folder + name for name in ("report.json", "report.md", "wgs-0412.zip")
        ]
        assert cloud.text(run.folder + "wgs-0412.zip") == "this is no zip"

    def test_is_told_of_once(self, cloud, landed):
        told, drop = landed(body=b"this is no zip")
        cloud.submitter(told, told)
        assert cloud.notices(drop.run_id) == ["rejected"]
        assert cloud.run(drop.run_id).due_kind is None

    def test_that_is_too_large_is_not_read(self, cloud, landed, monkeypatch):
        told, drop = landed()
        desk = handler.desk()
        small = replace(desk.rules.limits, compressed=10)
        monkeypatch.setattr(
            handler, "desk", lambda: replace(desk, rules=replace(desk.rules, limits=small))
        )
        cloud.submitter(told)
        assert "larger than the 10" in cloud.run(drop.run_id).findings[0]


class TestASmallCromwell:
    @pytest.fixture
    def parameters(self):
        return {"SubmissionLimitBytes": "65536"}

    def test_is_not_sent_more_than_it_takes(self, dropped, cromwell):
        run = dropped(body=bundle(**{"inputs.json": {"hello.name": "x" * 70_000}}))
        assert run.state is State.REJECTED
        assert "72.2 kB; this Cromwell takes 65.5 kB. Move long lists" in run.findings[0]
        assert cromwell.asked == []


AWAY = [
    Mode.DOWN,
    Mode.ERROR,
    Mode.BUSY,
    Mode.HTML,
    Mode.GATEWAY,
    Mode.TRUNCATED,
    Mode.LOST_ACK,
    Mode.RESET,
    Mode.LOCKED,
]


class TestWhileCromwellIsAway:
    @pytest.mark.parametrize("mode", AWAY)
    def test_a_drop_waits_and_is_posted_once_when_it_is_back(self, cloud, landed, cromwell, mode):
        cromwell.mode = mode
        told, drop = landed()
        assert cloud.submitter(told) == []
        waiting = cloud.run(drop.run_id)
        assert (waiting.state, waiting.due_kind) == (State.QUEUED, Due.SUBMIT)
        assert waiting.due_at == cloud.clock.now + 30
        assert waiting.waiting
        assert cloud.notices(drop.run_id) == []
        shown = cloud.page(waiting.folder + "status.json")["waiting"]
        assert shown.startswith("waiting for Cromwell: ")

        cromwell.mode = Mode.UP
        cloud.clock.pass_by(31)
        cloud.sweep()
        [message] = cloud.sent("DropQueue")
        assert message.body == {"submit": drop.run_id}
        assert cloud.submitter(message.body) == []
        run = cloud.run(drop.run_id)
        assert run.submitted_at == cloud.clock.now
        assert run.waiting == ""
        assert [one.run_id for one in cromwell.accepted] == [drop.run_id]
        assert cloud.notices(drop.run_id) == ["accepted"]
        assert cloud.keys("inbox/") == []

    def test_one_that_answers_too_slowly_is_asked_again(self, cloud, landed, cromwell, monkeypatch):
        cromwell.mode, cromwell.delay = Mode.SLOW, 0.5
        desk = replace(handler.desk(), cromwell=Cromwell(cromwell.url, read_timeout=0.1))
        monkeypatch.setattr(handler, "desk", lambda: desk)
        told, drop = landed()
        assert cloud.submitter(told) == []
        assert cloud.run(drop.run_id).due_kind is Due.SUBMIT
        cromwell.mode = Mode.UP
        cloud.clock.pass_by(31)
        cloud.submitter({"submit": drop.run_id})
        assert cloud.run(drop.run_id).submitted_at
        assert len(cromwell.accepted) == 1

    def test_the_wait_grows(self, cloud, landed, cromwell):
        cromwell.mode = Mode.DOWN
        told, drop = landed()
        cloud.submitter(told)
        waits = []
        for _ in range(6):
            due_at = cloud.run(drop.run_id).due_at
            waits.append(due_at - cloud.clock.now)
            cloud.clock.now = due_at
            cloud.submitter({"submit": drop.run_id})
        assert waits == [30, 60, 120, 240, 480, 600]

    def test_a_drop_that_is_not_due_is_let_be(self, cloud, landed, cromwell, counted):
        cromwell.mode = Mode.DOWN
        told, _ = landed()
        cloud.submitter(told)
        counted()
        cloud.submitter(told)
        assert counted()["DropsBusy"] == 1

    def test_an_older_cromwell_is_named(self, cloud, landed, cromwell):
        cromwell.version = "69"
        told, drop = landed()
        cloud.submitter(told)
        assert "75" in cloud.run(drop.run_id).waiting

    def test_a_request_for_a_run_nobody_knows_is_done_with(self, cloud):
        assert cloud.submitter({"submit": "0efafdca-7c95-539e-a323-5d833509a1cc"}) == []


class TestARefusal:
    def test_is_told_in_cromwells_words(self, cloud, dropped, cromwell):
        cromwell.answer(400, {"status": "fail", "message": "Error(s): labels: too long"})
        run = dropped()
        assert run.state is State.REJECTED
        assert "Cromwell refused it" in run.findings[0]
        assert "labels: too long" in cloud.text(run.folder + "report.md")

    def test_of_an_id_in_use_means_it_was_posted_before(self, cloud, landed, cromwell):
        told, drop = landed()
        cromwell.set_status(drop.run_id, "Running")
        cloud.submitter(told)
        assert cloud.run(drop.run_id).submitted_at
        assert cloud.run(drop.run_id).state is State.QUEUED
        assert cromwell.accepted == []

    def test_of_an_id_in_use_that_is_not_shown_yet_is_tried_again(self, cloud, landed, cromwell):
        cromwell.hidden_reads = 1
        cromwell.plan.append(Mode.LOST_ACK)
        told, drop = landed()
        cloud.submitter(told)
        cloud.clock.pass_by(31)
        cloud.submitter({"submit": drop.run_id})
        assert cloud.run(drop.run_id).unclear == 1
        assert not cloud.run(drop.run_id).submitted_at
        cloud.clock.pass_by(61)
        cloud.submitter({"submit": drop.run_id})
        assert cloud.run(drop.run_id).submitted_at
        assert len(cromwell.accepted) == 1

    def test_that_stays_unclear_ends_it_after_five_times(self, cloud, landed, cromwell):
        cromwell.hidden_reads = 99
        cromwell.plan.append(Mode.LOST_ACK)
        told, drop = landed()
        cloud.submitter(told)
        for unclear in range(5):
            run = cloud.run(drop.run_id)
            assert (run.state, run.unclear) == (State.QUEUED, unclear)
            cloud.clock.now = run.due_at
            cloud.submitter({"submit": drop.run_id})
        run = cloud.run(drop.run_id)
        assert run.state is State.REJECTED
        assert "Requested workflow IDs are already in use" in run.findings[0]
        assert cloud.notices(drop.run_id) == ["rejected"]


class TestControlFiles:
    @pytest.fixture
    def asked(self, cloud, event):
        """Let a control file land, and return its key."""

        def ask(run_id, action="abort", project="cardio"):
            sample = event("s3_control_abort")
            key = f"control/{project}/{action}/{run_id}.json"
            sample["Records"][0]["s3"]["object"]["key"] = key
            told, _ = cloud.land(sample, b"{}")
            assert cloud.submitter(told) == []
            return key

        return ask

    def test_abort_a_run_of_their_project(self, cloud, dropped, cromwell, asked):
        run = dropped()
        cromwell.set_status(run.run_id, "Running")
        key = asked(run.run_id)
        assert cloud.run(run.run_id).state is State.CANCELING
        assert cromwell.runs[run.run_id].status == "Aborting"
        assert cloud.page(run.folder + "status.json")["state"] == "CANCELING"
        assert cloud.keys(key) == []

    def test_leave_runs_of_other_projects_alone(self, cloud, dropped, cromwell, asked, counted):
        run = dropped()
        before = cloud.items(run.run_id)
        counted()
        key = asked(run.run_id, project="onco")
        assert cloud.items(run.run_id) == before
        assert cromwell.runs[run.run_id].status == "Submitted"
        assert cloud.keys(key) == [key]
        assert counted()["ControlFiles"] == 1

    def test_have_nothing_to_do_where_a_run_has_ended(self, cloud, dropped, cromwell, asked):
        run = dropped(body=b"no zip")
        before = cloud.items(run.run_id)
        key = asked(run.run_id)
        assert cloud.items(run.run_id) == before
        assert cloud.keys(key) == []

    def test_for_a_run_nobody_knows_stay(self, cloud, asked):
        key = asked("0efafdca-7c95-539e-a323-5d833509a1cc")
        assert cloud.keys(key) == [key]

    def test_call_off_a_run_that_waits_for_cromwell(self, cloud, landed, cromwell, asked):
        cromwell.mode = Mode.DOWN
        told, drop = landed()
        cloud.submitter(told)
        asked(drop.run_id)
        assert cloud.run(drop.run_id).due_at == cloud.clock.now
        cloud.submitter({"submit": drop.run_id})
        assert cloud.run(drop.run_id).state is State.QUEUED, "nobody knows whether it was posted"

        cromwell.mode = Mode.UP
        cloud.clock.pass_by(700)
        cloud.submitter({"submit": drop.run_id})
        run = cloud.run(drop.run_id)
        assert run.state is State.CANCELED
        assert cromwell.accepted == []
        assert cloud.notices(drop.run_id) == ["ended"]
        assert cloud.keys("inbox/") == []

    def test_call_off_a_run_that_an_earlier_try_did_post(self, cloud, landed, cromwell, asked):
        cromwell.mode = Mode.LOST_ACK
        told, drop = landed()
        cloud.submitter(told)
        asked(drop.run_id)
        cromwell.mode = Mode.UP
        cloud.clock.pass_by(1)
        cloud.submitter({"submit": drop.run_id})
        assert cloud.run(drop.run_id).state is State.CANCELING
        assert cromwell.runs[drop.run_id].status == "Aborted"

    def test_that_call_off_what_has_ended_meanwhile_find_it_accepted(
        self, cloud, landed, cromwell, asked
    ):
        cromwell.mode = Mode.LOST_ACK
        told, drop = landed()
        cloud.submitter(told)
        asked(drop.run_id)
        cromwell.mode = Mode.UP
        cromwell.succeed(drop.run_id)
        cloud.submitter({"submit": drop.run_id})
        assert cloud.run(drop.run_id).submitted_at
        assert cloud.run(drop.run_id).due_kind is Due.POLL

    def test_release_a_run_from_its_hold(self, cloud, dropped, cromwell, asked):
        manifest = {"mainWorkflowURL": "main.wdl", "inputFileURLs": ["inputs.json"], "hold": True}
        run = dropped(body=bundle(**{"MANIFEST.json": manifest}))
        key = asked(run.run_id, action="release")
        assert cromwell.runs[run.run_id].status == "Submitted"
        assert cloud.run(run.run_id).due_at == cloud.clock.now + 5
        assert cloud.keys(key) == []

    def test_of_another_kind_are_ignored(self, cloud, asked, counted):
        key = asked("0efafdca-7c95-539e-a323-5d833509a1cc", action="explode")
        assert cloud.keys(key) == [key]
        assert counted()["DropsIgnored"] == 1


class TestWhatIsNoDrop:
    @pytest.mark.parametrize(
        ("sample", "metric"),
        [
            ("s3_folder_marker", "DropsIgnored"),
            ("s3_delete_marker", "NotificationsIgnored"),
            ("s3_test_event", "NotificationsIgnored"),
        ],
    )
    def test_is_counted_and_done_with(self, cloud, event, counted, sample, metric):
        assert cloud.submitter(event(sample)) == []
        assert counted() == {metric: 1}

    @pytest.mark.parametrize(
        "key", ["inbox/cardio/a.zip.part", "inbox/cardio/notes.txt", "inbox/cardio/lib/t.wdl"]
    )
    def test_a_synced_folder_starts_nothing(self, cloud, event, cromwell, counted, key):
        sample = event("s3_drop")
        sample["Records"][0]["s3"]["object"]["key"] = key
        told, drop = cloud.land(sample, b"x")
        assert cloud.submitter(told) == []
        assert counted() == {"DropsIgnored": 1}
        assert cloud.keys() == [key]
        assert cloud.items(drop.run_id) == []

    def test_a_drop_without_a_version_is_a_fault_of_the_setup_and_not_lost(
        self, cloud, event, cromwell, caplog
    ):
        assert cloud.submitter(event("s3_drop_without_version")) == ["0"]
        assert "turn versioning on for the inbox bucket" in caplog.records[0].reason
        assert not caplog.records[0].exc_info
        assert cromwell.asked == []

    @pytest.mark.parametrize("body", ["no JSON", "[]", '{"what": "ever"}'])
    def test_a_message_of_no_known_shape_fails_by_itself(self, cloud, landed, cromwell, body):
        told, _ = landed()
        assert cloud.submitter(body, told) == ["0"]
        assert len(cromwell.accepted) == 1
