"""A server that is killed outright in the middle of runs goes on with them when it is back."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import psutil
import pytest

from dropwell_local.cromwell.serve import LocalCromwell
from dropwell_local.emulator import CREDENTIALS

from .conftest import Cromwell, Start, until

INNER = """version 1.0
workflow inner {
  input { File given  String log  String gate }
  call before { input: given = given, log = log }
  call after { input: given = before.made, log = log, gate = gate }
  output { File made = after.made }
}
task before {
  input { File given  String log }
  command <<< echo before >> ~{log}; cat ~{given} > made.txt; echo before >> made.txt >>>
  output { File made = "made.txt" }
  runtime { docker: "ubuntu:22.04" memory: "100 MB" }
}
task after {
  input { File given  String log  String gate }
  command <<<
    echo after >> ~{log}; while [ ! -e ~{gate} ]; do sleep 0.1; done
    cat ~{given} > made.txt; echo after >> made.txt
  >>>
  output { File made = "made.txt" }
  runtime { docker: "ubuntu:22.04" memory: "100 MB" }
}
"""
WHOLE = """version 1.0
import "lib/inner.wdl" as lib
workflow whole {
  input { String log  String gate }
  call first { input: log = log }
  scatter (i in range(3)) {
    call shard { input: i = i, waits = (i == 1), given = first.made, log = log, gate = gate }
  }
  scatter (a in range(2)) {
    scatter (b in range(2)) {
      call shard as deep {
        input: i = 10 * a + b, waits = (a + b == 2), given = first.parts[b], log = log, gate = gate
      }
    }
  }
  call lib.inner { input: given = first.made, log = log, gate = gate }
  call stubborn { input: log = log, gate = gate }
  call reclaimed { input: log = log, gate = gate }
  call gather { input: files = flatten([shard.made, flatten(deep.made), [inner.made]]), log = log }
  output { Array[String] all = gather.all  Array[File] parts = first.parts  File said = first.said }
}
task first {
  input { String log }
  command <<<
    echo first >> ~{log}; echo made > made.txt; ln -s made.txt link.txt; echo said
    mkdir parts; echo zero > parts/0.part; echo one > parts/1.part
  >>>
  output {
    File made = "link.txt"
    Array[File] parts = glob("parts/*.part")
    File said = stdout()
  }
  runtime { docker: "ubuntu:22.04" memory: "100 MB" }
}
task shard {
  input { Int i  Boolean waits  File given  String log  String gate }
  command <<<
    echo shard-~{i} >> ~{log}
    while ~{waits} && [ ! -e ~{gate} ]; do sleep 0.1; done
    echo "~{i} $(cat ~{given})" > made.txt
  >>>
  output { File made = "made.txt" }
  runtime { docker: "ubuntu:22.04" memory: "100 MB" }
}
task stubborn {
  input { String log  String gate }
  command <<<
    echo stubborn >> ~{log}
    if ! [ -e ../work.attempt-1 ]; then exit 3; fi
    while [ ! -e ~{gate} ]; do sleep 0.1; done
  >>>
  runtime { docker: "ubuntu:22.04" memory: "100 MB" maxRetries: 1 }
}
task reclaimed {
  input { String log  String gate }
  command <<<
    echo "reclaimed $AWS_BATCH_JOB_ATTEMPT" >> ~{log}
    if [ "$AWS_BATCH_JOB_ATTEMPT" = 1 ]; then exit 4; fi
    while [ ! -e ~{gate} ]; do sleep 0.1; done
  >>>
  runtime { docker: "ubuntu:22.04" memory: "100 MB" awsBatchRetryAttempts: 3 }
}
task gather {
  input { Array[File] files  String log }
  command <<< echo gather >> ~{log}; cat ~{sep=" " files} >>>
  output { Array[String] all = read_lines(stdout()) }
  runtime { docker: "ubuntu:22.04" memory: "100 MB" }
}
"""
RAN_BEFORE = ("first", "shard-0", "shard-2", "shard-0", "shard-1", "shard-10", "before")
WAITED = ("shard-1", "shard-11", "after", "stubborn", "reclaimed 2")

Speak = Callable[[LocalCromwell], Cromwell]


def waiting(output: str = "") -> str:
    """Return a workflow of one task that waits for a file, and says each time that it runs."""
    return f"""version 1.0
workflow one {{ input {{ String log  String gate }} call t {{ input: log = log, gate = gate }} }}
task t {{
  input {{ String log  String gate }}
  command <<< echo t >> ~{{log}}; while [ ! -e ~{{gate}} ]; do sleep 0.1; done >>>
  output {{ {output} }}
  runtime {{ docker: "ubuntu:22.04" memory: "100 MB" }}
}}
"""


@dataclass
class Place:
    """Where tasks write that they run, and what they wait for."""

    data: Path

    @property
    def log(self) -> Path:
        return self.data / "ran.txt"

    @property
    def gate(self) -> Path:
        return self.data / "gate"

    @property
    def ran(self) -> Counter[str]:
        return Counter(self.log.read_text().splitlines() if self.log.exists() else [])

    def inputs(self, workflow: str) -> dict[str, str]:
        return {f"{workflow}.log": str(self.log), f"{workflow}.gate": str(self.gate)}


def noted(cromwell: Cromwell) -> bool:
    """Return whether the server has written down of all jobs that ended that this was told."""
    with contextlib.closing(sqlite3.connect(cromwell.data / "cromwell.sqlite")) as database:
        return not database.execute("SELECT 1 FROM job WHERE unsaid").fetchall()


def kill(cromwell: Cromwell, how: signal.Signals = signal.SIGKILL) -> None:
    process = psutil.Process(cromwell.pid)
    os.kill(cromwell.pid, how)
    until(lambda: process.status() == psutil.STATUS_ZOMBIE)


def statuses(cromwell: Cromwell, job_id: str) -> list[str]:
    return [one["status"] for one in cromwell.events() if one["jobId"] == job_id]


@dataclass
class Resumed:
    """A run that was cut, and went on."""

    cromwell: Cromwell
    place: Place
    run_id: str
    before: list[str]
    """The jobs that were known when the server was killed."""


@pytest.fixture(scope="module", params=[signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def resumed(
    request: pytest.FixtureRequest,
    start: Start,
    speak_to: Speak,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Resumed]:
    """Return a run that was cut twice: while jobs ran, and while it was going on with them."""
    place = Place(tmp_path_factory.mktemp("resumed"))
    with start(place.data, vcpus=16) as server:
        cromwell = speak_to(server)
        run_id = cromwell.submit(WHOLE, place.inputs("whole"), {"lib/inner.wdl": INNER})
        until(lambda: sum((Counter((*RAN_BEFORE, *WAITED)) - place.ran).values()) == 0)
        until(lambda: place.ran["stubborn"] == 2 and done(cromwell, run_id) == 6)
        until(lambda: noted(cromwell))
        kill(cromwell, request.param)
        before = [one["jobId"] for one in cromwell.events()]
    with start(place.data, vcpus=16) as server:
        cromwell = speak_to(server)
        until(lambda: place.ran["after"] == 2)
        kill(cromwell, request.param)
    with start(place.data, vcpus=16) as server:
        cromwell = speak_to(server)
        place.gate.touch()
        assert cromwell.wait(run_id) == "Succeeded"
        yield Resumed(cromwell, place, run_id, before)


def done(cromwell: Cromwell, run_id: str) -> int:
    """Count the jobs of a run that have succeeded; one in a sub-workflow is not told here."""
    ended = [one for one in cromwell.events(run_id) if one["status"] == "SUCCEEDED"]
    return len(ended) - 1


def test_outputs_are_as_if_nothing_had_happened(resumed: Resumed) -> None:
    outputs = resumed.cromwell.metadata(resumed.run_id)["outputs"]

    assert outputs["whole.all"] == [
        *("0 made", "1 made", "2 made"),
        *("0 zero", "1 one", "10 zero", "11 one"),
        *("made", "before", "after"),
    ]
    assert [resumed.cromwell.read(url) for url in outputs["whole.parts"]] == ["zero\n", "one\n"]
    assert outputs["whole.parts"][0].rpartition("/")[0].rpartition("/")[2].startswith(".glob-")
    assert outputs["whole.said"].endswith("/call-first/first-stdout.log")


def test_what_had_ended_is_not_run_again(resumed: Resumed) -> None:
    ran = resumed.place.ran

    assert {name: ran[name] for name in ("first", "shard-2", "before")} == dict.fromkeys(
        ("first", "shard-2", "before"), 1
    )
    assert (ran["shard-0"], ran["shard-10"]) == (2, 1)  # 0 is a shard of two calls
    assert ran["reclaimed 1"] == 1


def test_what_ran_is_run_again_as_the_same_job(resumed: Resumed) -> None:
    assert resumed.place.ran["shard-11"] >= 2
    (call,) = resumed.cromwell.calls(resumed.run_id)["whole.reclaimed"]
    assert call["jobId"] in resumed.before
    after = {one["jobId"] for one in resumed.cromwell.events()} - set(resumed.before)
    (gather,) = resumed.cromwell.calls(resumed.run_id)["whole.gather"]
    assert after == {gather["jobId"]}


def test_every_job_is_told_of_once(resumed: Resumed) -> None:
    told = Counter(
        (one["jobId"], one["status"], len(one["attempts"])) for one in resumed.cromwell.events()
    )

    assert set(told.values()) == {1}
    ends = [key for key in told if key[1] in ("SUCCEEDED", "FAILED")]
    assert len(ends) == len({job_id for job_id, _, _ in told}) == 14


def test_a_job_keeps_the_attempts_that_batch_made_before(resumed: Resumed) -> None:
    (call,) = resumed.cromwell.calls(resumed.run_id)["whole.reclaimed"]

    last = [one for one in resumed.cromwell.events() if one["jobId"] == call["jobId"]][-1]
    assert [one["container"]["exitCode"] for one in last["attempts"]] == [4, 0]


def test_a_retry_stays_the_second_attempt(resumed: Resumed) -> None:
    first, second = resumed.cromwell.calls(resumed.run_id)["whole.stubborn"]

    assert (first["executionStatus"], first["returnCode"]) == ("RetryableFailure", 3)
    assert (second["executionStatus"], second["returnCode"]) == ("Done", 0)
    assert statuses(resumed.cromwell, first["jobId"])[-1] == "FAILED"


def test_subworkflows_keep_their_ids(resumed: Resumed) -> None:
    (call,) = resumed.cromwell.calls(resumed.run_id)["whole.inner"]

    inner = resumed.cromwell.metadata(call["subWorkflowId"])
    assert inner["status"] == "Succeeded"
    assert {name: len(some) for name, some in inner["calls"].items()} == {
        "inner.before": 1,
        "inner.after": 1,
    }


def test_metadata_shows_each_time_that_it_was_picked_up(resumed: Resumed) -> None:
    events = resumed.cromwell.metadata(resumed.run_id)["workflowProcessingEvents"]

    assert [one["description"] for one in events] == ["PickedUp"] * 3 + ["Finished"]
    assert len({one["cromwellId"] for one in events}) == 3


def test_batch_still_knows_the_jobs_from_before(resumed: Resumed) -> None:
    batch = boto3.session.Session(
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        region_name=CREDENTIALS["AWS_DEFAULT_REGION"],
    ).client("batch", endpoint_url=resumed.cromwell.url)
    (first,) = resumed.cromwell.calls(resumed.run_id)["whole.first"]

    (job,) = batch.describe_jobs(jobs=[first["jobId"]])["jobs"]

    assert (job["status"], job["container"]["exitCode"]) == ("SUCCEEDED", 0)


def test_a_submission_that_had_not_begun_just_begins(
    start: Start, speak_to: Speak, tmp_path: Path
) -> None:
    place = Place(tmp_path)
    place.gate.touch()
    with start(tmp_path, max_workflows=0) as server:
        cromwell = speak_to(server)
        run_id = cromwell.submit(waiting(), place.inputs("one"))
        kill(cromwell)

    with start(tmp_path) as server:
        assert speak_to(server).wait(run_id) == "Succeeded"
    assert place.ran["t"] == 1


def test_a_failure_from_before_still_fails_the_run(
    start: Start, speak_to: Speak, tmp_path: Path
) -> None:
    place = Place(tmp_path)
    source = waiting().replace("call t {", "call bad { input: log = log }  call t {") + (
        "task bad { input { String log } command <<< echo bad >> ~{log}; exit 5 >>>\n"
        'output { Int never = 1 } runtime { docker: "ubuntu:22.04" memory: "100 MB" } }'
    )
    with start(tmp_path) as server:
        cromwell = speak_to(server)
        run_id = cromwell.submit(source, place.inputs("one"))
        until(lambda: "FAILED" in [one["status"] for one in cromwell.events()] and place.ran["t"])
        until(lambda: noted(cromwell))
        kill(cromwell)

    with start(tmp_path) as server:
        cromwell = speak_to(server)
        place.gate.touch()
        assert cromwell.wait(run_id) == "Failed"
        (failure,) = cromwell.metadata(run_id)["failures"]
        (call,) = cromwell.calls(run_id)["one.bad"]
    assert "one.bad:NA:1 exited with return code 5" in failure["causedBy"][0]["message"]
    assert (call["executionStatus"], call["returnCode"]) == ("Failed", 5)
    assert place.ran["bad"] == 1
    assert statuses(cromwell, call["jobId"]).count("FAILED") == 1


def test_outputs_that_were_missing_stay_missing(
    start: Start, speak_to: Speak, tmp_path: Path
) -> None:
    place = Place(tmp_path)
    place.gate.touch()
    with start(tmp_path, poll_lag=30) as server:
        cromwell = speak_to(server)
        run_id = cromwell.submit(waiting('File f = "absent.txt"'), place.inputs("one"))
        until(lambda: "FAILED" in [one["status"] for one in cromwell.events()])
        kill(cromwell)

    with start(tmp_path) as server:
        cromwell = speak_to(server)
        assert cromwell.wait(run_id) == "Failed"
        (call,) = cromwell.calls(run_id)["one.t"]
        (failure,) = cromwell.metadata(run_id)["failures"]
    assert place.ran["t"] == 1
    assert call["failures"] == failure["causedBy"]
    assert "exited with success code '0'" in failure["causedBy"][0]["message"]


def test_an_abort_that_was_under_way_is_carried_out(
    start: Start, speak_to: Speak, tmp_path: Path
) -> None:
    place = Place(tmp_path)
    with start(tmp_path, poll_lag=30) as server:
        cromwell = speak_to(server)
        run_id = cromwell.submit(waiting(), place.inputs("one"))
        until(lambda: "RUNNING" in [one["status"] for one in cromwell.events()])
        os.kill(cromwell.pid, signal.SIGSTOP)  # so that the engine is never heard
        engine = psutil.Process(cromwell.pid).children()[0]
        engine.suspend()
        os.kill(cromwell.pid, signal.SIGCONT)
        assert cromwell.post(f"/{run_id}/abort").json()["status"] == "Aborting"
        kill(cromwell)
        engine.resume()

    with start(tmp_path) as server:
        cromwell = speak_to(server)
        assert cromwell.wait(run_id) == "Aborted"
        (call,) = cromwell.calls(run_id)["one.t"]
    ended = cromwell.events(run_id)[-1]
    assert (ended["status"], ended["statusReason"]) == ("FAILED", "cromwell abort called")
    assert call["executionStatus"] == "Aborted"


def test_an_end_that_nobody_had_been_told_of_is_told(
    start: Start, speak_to: Speak, tmp_path: Path
) -> None:
    place = Place(tmp_path)
    place.gate.touch()
    with start(tmp_path, chaos="delay=1:60") as server:
        cromwell = speak_to(server)
        run_id = cromwell.submit(waiting(), place.inputs("one"))
        assert cromwell.wait(run_id) == "Succeeded"
        kill(cromwell)
        assert cromwell.events() == []

    with start(tmp_path) as server:
        cromwell = speak_to(server)
        until(lambda: len(cromwell.events(run_id)) == 1)
    assert [one["status"] for one in cromwell.events(run_id)] == ["SUCCEEDED"]


def test_an_end_that_no_queue_took_is_told(start: Start, speak_to: Speak, tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.gate.touch()
    with start(tmp_path, events=("http://127.0.0.1:9/nobody",)) as server:
        cromwell = speak_to(server)
        run_id = cromwell.submit(waiting(), place.inputs("one"))
        assert cromwell.wait(run_id) == "Succeeded"

    with start(tmp_path) as server:
        cromwell = speak_to(server)
        until(lambda: len(cromwell.events(run_id)) == 1)
    assert [one["status"] for one in cromwell.events(run_id)] == ["SUCCEEDED"]


def test_a_run_whose_files_are_gone_fails_and_says_so(
    start: Start, speak_to: Speak, tmp_path: Path
) -> None:
    place = Place(tmp_path)
    with start(tmp_path) as server:
        cromwell = speak_to(server)
        run_id = cromwell.submit(waiting(), place.inputs("one"))
        until(lambda: "RUNNING" in [one["status"] for one in cromwell.events()])
        kill(cromwell)
    folder = tmp_path / "workflows" / run_id
    folder.rename(tmp_path / "elsewhere")

    with start(tmp_path) as server:
        cromwell = speak_to(server)
        assert cromwell.wait(run_id) == "Failed"
        (failure,) = cromwell.metadata(run_id)["failures"]
    assert "its files are no longer on this machine" in failure["message"]
    assert cromwell.events(run_id)[-1]["status"] == "FAILED"


def test_a_call_whose_files_are_gone_fails_and_says_so(
    start: Start, speak_to: Speak, tmp_path: Path
) -> None:
    place = Place(tmp_path)
    place.gate.touch()
    source = waiting('String s = read_string("made.txt")').replace(
        "echo t >>", "echo made > made.txt; echo t >>"
    )
    with start(tmp_path, poll_lag=30) as server:
        cromwell = speak_to(server)
        run_id = cromwell.submit(source, place.inputs("one"))
        until(lambda: "SUCCEEDED" in [one["status"] for one in cromwell.events()])
        kill(cromwell)
    shutil.rmtree(tmp_path / "workflows" / run_id / "execution")

    with start(tmp_path) as server:
        cromwell = speak_to(server)
        assert cromwell.wait(run_id) == "Failed"
        text = str(cromwell.metadata(run_id)["failures"])
    assert "files of this call, which had ended, are no longer on this machine" in text
    assert place.ran["t"] == 1
