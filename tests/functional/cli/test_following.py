"""Drops followed from the inbox to their last notice, while the functions play along."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace

import pytest

from dropwell import ledger
from dropwell.drops import Drop
from dropwell.runs import State
from dropwell_cli import Failure, faces, following
from dropwell_cli.packing import Parcel
from dropwell_cli.sessions import drop_in
from tests.functional.conftest import INBOX, LOGS, RUN_ID, client
from tests.unit.bundle_builders import zipped

HELLO = """version 1.0
workflow hello {
  input {
    String name
  }
}
"""


@dataclass
class Script:
    """Sleeps by doing what comes next; a test's world moves only while the command waits."""

    cloud: object
    steps: list = field(default_factory=list)

    def __call__(self, seconds):
        self.cloud.clock.pass_by(1)
        if self.steps:
            self.steps.pop(0)()


@dataclass
class Face:
    """Writes down what it was shown."""

    states: list = field(default_factory=list)
    told: list = field(default_factory=list)

    def progress(self, watched, now):
        self.states.append([one.standing.run and one.standing.run.state for one in watched])

    def notice(self, said):
        self.told.append(said)


@pytest.fixture
def dropped(place, cloud, event):
    """Drop a bundle by the command; return it, and what brings it to the submitter."""

    def drop(inputs):
        data = zipped({"main.wdl": HELLO, "inputs.json": inputs})
        watched = drop_in(place, Parcel("hello/", "hello.zip", data), "cardio")
        key = "inbox/cardio/hello.zip"
        version = cloud.versions(key)[0]
        assert watched.run_id == Drop(bucket=INBOX, key=key, version_id=version).run_id
        told = event("s3_drop")
        told["Records"][0]["s3"]["object"] |= {
            "key": key,
            "versionId": version,
            "size": len(data),
        }
        return watched, lambda: cloud.submitter(told)

    return drop


def follow(place, watched, cloud, *steps, timeout=None):
    face = Face()
    script = Script(cloud, list(steps))
    in_time = following.follow(
        place, [watched], face=face, timeout=timeout, clock=cloud.clock.time, sleep=script
    )
    return face, in_time


def test_a_rejected_drop_is_followed_to_its_notice(place, dropped, cloud):
    watched, taken = dropped({"hello.nme": "Ada"})
    told = [taken, lambda: cloud.tell("rejected", watched.run_id)]
    face, in_time = follow(place, watched, cloud, *told)
    assert in_time
    assert face.states == [[None], [State.REJECTED], [State.REJECTED]]
    [notice] = face.told
    assert notice.kind == "rejected"
    assert "Not started: hello, 1 problem in inputs" in notice.subject


def test_its_result_names_bundle_run_state_cause_notices_and_outputs(place, dropped, cloud):
    watched, taken = dropped({"hello.nme": "Ada"})
    follow(place, watched, cloud, taken, lambda: cloud.tell("rejected", watched.run_id))
    result = following.result(place, watched)
    assert json.loads(json.dumps(result)) == result
    assert (result["bundle"], result["run_id"]) == ("hello/", watched.run_id)
    assert (result["state"], result["cause"], result["outputs"]) == ("REJECTED", None, {})
    assert [notice["kind"] for notice in result["notices"]] == ["rejected"]
    assert result["run_folder"] == f"s3://{INBOX}/rejected/cardio/hello/{watched.run_id}/"


def test_each_notice_is_shown_once_and_the_last_one_is_waited_for(place, dropped, cloud, cromwell):
    watched, taken = dropped({"hello.name": "Ada"})

    def completes():
        cromwell.set_status(watched.run_id, "Succeeded")
        cloud.clock.pass_by(60)
        cloud.watcher({"poll": watched.run_id})

    face, in_time = follow(
        place,
        watched,
        cloud,
        taken,
        lambda: cloud.tell("accepted", watched.run_id),
        lambda: None,
        completes,
        lambda: None,
        lambda: cloud.tell("ended", watched.run_id),
    )
    assert in_time
    assert [notice.kind for notice in face.told] == ["accepted", "ended"]
    assert watched.standing.complete


def test_a_drop_that_nobody_takes_is_given_up_in_time(place, dropped, cloud):
    watched, _ = dropped({"hello.name": "Ada"})
    _, in_time = follow(place, watched, cloud, timeout=5)
    assert not in_time
    result = following.result(place, watched)
    assert (result["state"], result["name"], result["run_folder"]) == (None, "hello", None)


def test_a_notice_that_never_comes_is_not_waited_for_without_end(place, cloud):
    run = cloud.running(state=State.COMPLETE, ended_at=cloud.clock.now)
    watched = following.Watched(run_id=run.run_id, name=run.name)
    before = cloud.clock.now
    _, in_time = follow(place, watched, cloud)
    assert in_time
    assert 200 < cloud.clock.now - before < 300


def test_mails_are_shown_as_they_were_sent_where_they_are_kept(place, dropped, cloud):
    watched, taken = dropped({"hello.nme": "Ada"})

    def mails():
        return [_Mail(one.subject, one.body, one.attributes) for one in cloud.mails()]

    kept = replace(place, mails=mails)
    face, _ = follow(kept, watched, cloud, taken, lambda: cloud.tell("rejected", watched.run_id))
    [mail] = cloud.mails()
    assert (face.told[0].subject, face.told[0].body) == (mail.subject, mail.body)


class TestLogsFollowed:
    """What a job writes to its log is shown as it comes."""

    STREAM = "cromwell/default/1"

    @pytest.fixture
    def write(self):
        client("logs").create_log_stream(logGroupName=LOGS, logStreamName=self.STREAM)

        def put(*lines):
            at = int(time.time() * 1000)
            told = [{"timestamp": at, "message": line} for line in lines]
            client("logs").put_log_events(
                logGroupName=LOGS, logStreamName=self.STREAM, logEvents=told
            )

        return put

    @pytest.fixture
    def job(self, cloud, event):
        def say(sample):
            told = event(sample)
            told["detail"]["container"]["logStreamName"] = self.STREAM
            assert cloud.watcher(told) == []

        return say

    @pytest.fixture
    def followed(self, place, cloud):
        def follow_until_the_end(*steps, named=None):
            told = []
            following.follow_logs(
                place,
                RUN_ID,
                named,
                2,
                show=lambda call, log, lines, begins: told.append((begins, *lines)),
                sleep=Script(cloud, list(steps)),
            )
            return told

        return follow_until_the_end

    def test_are_shown_from_their_last_lines_on_each_line_once(self, cloud, write, job, followed):
        cloud.running()
        write("one", "two", "three")
        job("batch_running")
        told = followed(
            lambda: write("four", "four"),
            lambda: None,
            lambda: (write("five"), job("batch_succeeded")),
            named="Align",
        )
        assert told == [(True, "two", "three"), (False, "four", "four"), (False, "five")]

    def test_of_whatever_runs_end_with_the_run(self, cloud, write, job, followed):
        cloud.running()

        def ends():
            ledger.change(cloud.table, cloud.run(), lambda run: replace(run, state=State.COMPLETE))

        told = followed(lambda: (write("one"), job("batch_succeeded")), ends)
        assert told == [(True, "one")]

    def test_of_what_had_ended_before_are_not_shown_unless_it_is_named(
        self, cloud, write, job, followed
    ):
        cloud.running(state=State.COMPLETE)
        write("one")
        job("batch_succeeded")
        assert followed() == []
        assert followed(named="Align") == [(True, "one")]

    def test_of_a_call_that_is_not_there_are_not_waited_for(self, cloud, write, job, followed):
        cloud.running()
        job("batch_running")
        with pytest.raises(Failure, match="No call of this run is named"):
            followed(named="Algin")

    def test_are_printed_with_the_calls_name_before_each_line(self, ask, cloud, write, job):
        cloud.running()
        write("one", "two")
        job("batch_succeeded")
        ended = ask("logs", RUN_ID, "Align", "--follow")
        assert ended.code == 0
        head, *lines = ended.out.splitlines()
        assert head == f"Align  the job's log: {LOGS} {self.STREAM}"
        assert lines == ["Align  one", "Align  two"]

    def test_can_be_left_with_the_run_going_on(self, ask, cloud, monkeypatch):
        def interrupted(*_, **__):
            raise KeyboardInterrupt

        cloud.running()
        monkeypatch.setattr(following, "follow_logs", interrupted)
        ended = ask("logs", RUN_ID, "--follow")
        assert (ended.code, ended.out) == (130, "\nwgs-0412 goes on.\n")

    def test_are_no_json(self, ask):
        assert ask("logs", RUN_ID, "--follow", "--json").code == 2


def test_a_watch_tells_how_many_shards_of_each_call_have_ended(place, cloud, event):
    cloud.running()
    cloud.watcher(event("batch_running"))
    one = following.Watched(run_id=RUN_ID, name="wgs-0412", by_call=True)
    _, in_time = follow(place, one, cloud, timeout=2)
    assert not in_time
    assert faces.calls_texts(one.calls) == [("Align", "0/1, 1 running")]


@dataclass
class _Mail:
    subject: str
    text: str
    attributes: dict
