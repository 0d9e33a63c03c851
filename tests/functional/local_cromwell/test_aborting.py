"""An abort is heard at every stage of a run's life, and leaves nothing that goes on."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from dropwell_local.cromwell.serve import LocalCromwell

from .conftest import Cromwell, Start, until
from .test_callback import EMPTY, Receiver
from .test_running import task

CHAIN = (
    "version 1.0\nworkflow one {\n  call t as t0\n"
    + "".join(f"  call t as t{i} {{ input: before = t{i - 1}.said }}\n" for i in range(1, 40))
    + """}
task t {
  input { String? before }
  command <<< echo on >>>
  output { String said = read_string(stdout()) }
  runtime { docker: "ubuntu:22.04" memory: "256 MB" }
}
"""
)


@pytest.fixture(scope="module")
def narrow(
    start: Start,
    speak_to: Callable[[LocalCromwell], Cromwell],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cromwell]:
    """Return a server with room for one job at a time, which sees ends late."""
    with start(tmp_path_factory.mktemp("narrow"), vcpus=1, poll_lag=1.5) as server:
        yield speak_to(server)


def abort(cromwell: Cromwell, run_id: str) -> str:
    answer = cromwell.post(f"/{run_id}/abort")
    assert answer.status_code == 200, answer.text
    return str(answer.json()["status"])


def statuses(cromwell: Cromwell, run_id: str) -> list[str]:
    return [one["status"] for one in cromwell.events(run_id)]


def processes_of(run_id: str) -> list[psutil.Process]:
    return [one for one in psutil.process_iter(["cmdline"]) if run_id in str(one.info["cmdline"])]


def test_what_is_on_hold_is_aborted_at_once_and_has_no_end(cromwell: Cromwell) -> None:
    run_id = cromwell.submit(EMPTY, workflowOnHold="true")

    assert abort(cromwell, run_id) == "Aborted"
    assert cromwell.status(run_id) == "Aborted"
    assert "end" not in cromwell.metadata(run_id)
    assert cromwell.post(f"/{run_id}/releaseHold").status_code == 403


def test_what_waits_for_its_launch_is_aborted_at_once(
    start: Start, speak_to: Callable[[LocalCromwell], Cromwell], tmp_path: Path
) -> None:
    with start(tmp_path, max_workflows=0) as server:
        cromwell = speak_to(server)
        run_id = cromwell.submit(task("true"))

        assert abort(cromwell, run_id) == "Aborted"
        assert cromwell.events() == []


def test_what_is_just_launching_runs_no_job(cromwell: Cromwell) -> None:
    run_id = cromwell.submit(task("sleep 60"))
    until(lambda: cromwell.status(run_id) == "Running")

    assert abort(cromwell, run_id) == "Aborting"
    assert cromwell.wait(run_id) == "Aborted"
    assert "RUNNING" not in statuses(cromwell, run_id)
    assert processes_of(run_id) == []


def test_a_job_that_waits_for_its_place_ends_without_having_run(narrow: Cromwell) -> None:
    first = narrow.submit(task("sleep 60"))
    until(lambda: "RUNNING" in statuses(narrow, first))
    second = narrow.submit(task("sleep 60"))
    until(lambda: statuses(narrow, second) == ["RUNNABLE"])

    assert abort(narrow, second) == "Aborting"
    assert abort(narrow, second) == "Aborting"  # once more changes nothing
    assert narrow.wait(second) == "Aborted"
    *_, end = narrow.events(second)
    assert (end["status"], end["statusReason"]) == ("FAILED", "cromwell abort called")
    assert (end["attempts"], "exitCode" in end["container"]) == ([], False)
    abort(narrow, first)
    assert narrow.wait(first) == "Aborted"
    assert narrow.events(first)[-1]["container"]["exitCode"] == 143


def test_between_two_jobs_no_other_starts(cromwell: Cromwell) -> None:
    run_id = cromwell.submit(CHAIN)
    until(lambda: statuses(cromwell, run_id).count("SUCCEEDED") > 2)

    abort(cromwell, run_id)

    assert cromwell.wait(run_id) == "Aborted"
    calls = [one[0]["executionStatus"] for one in cromwell.calls(run_id).values()]
    assert set(calls) <= {"Done", "Aborted"}
    assert len(calls) < 40
    assert processes_of(run_id) == []


def test_a_run_whose_jobs_have_ended_unseen_is_aborted_still(narrow: Cromwell) -> None:
    run_id = narrow.submit(task("true"))
    until(lambda: "SUCCEEDED" in statuses(narrow, run_id))

    assert abort(narrow, run_id) == "Aborting"
    assert narrow.wait(run_id) == "Aborted"
    assert narrow.calls(run_id)["one.t"][0]["executionStatus"] == "Done"


def test_what_is_being_finalized_ends_as_it_would_have(cromwell: Cromwell) -> None:
    told: list[str] = []
    with Receiver() as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        receiver.on_post = lambda message: told.append(abort(cromwell, message["workflowId"]))
        options = json.dumps({"workflow_callback_uri": receiver.url})
        run_id = cromwell.submit(EMPTY, workflowOptions=options)

        assert cromwell.wait(run_id) == "Succeeded"
        receiver.shutdown()
    assert told == ["Aborting"]
    assert cromwell.get(f"{run_id}/outputs").json()["outputs"] == {"w.n": 1}


def test_what_has_ended_cannot_be_aborted(cromwell: Cromwell) -> None:
    run_id = cromwell.submit(EMPTY)
    cromwell.wait(run_id)

    assert cromwell.post(f"/{run_id}/abort").status_code == 404
    assert cromwell.status(run_id) == "Succeeded"
