"""However the server ends, nothing that it started goes on, and what it knew stays known."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from dropwell_local.cromwell.serve import LocalCromwell

from .conftest import Cromwell, Start, until

LONG = """version 1.0
workflow long { call t }
task t {
  command <<< setsid sleep 300 & sleep 300 >>>
  runtime { docker: "ubuntu:22.04" memory: "1 GB" }
}
"""
SHORT = "version 1.0\nworkflow short { output { Int n = 1 } }"


def family(cromwell: Cromwell) -> list[psutil.Process]:
    return psutil.Process(cromwell.pid).children(recursive=True)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_server(
    start: Start, speak_to: Callable[[LocalCromwell], Cromwell], tmp_path: Path, how: signal.Signals
) -> None:
    with start(tmp_path) as server:
        cromwell = speak_to(server)
        run_id = cromwell.submit(LONG)
        until(lambda: len([one for one in family(cromwell) if one.name() == "sleep"]) == 2)
        started = family(cromwell)
        assert cromwell.status(run_id) == "Running"

        os.kill(cromwell.pid, how)

        _, left = psutil.wait_procs(started, timeout=15)
        assert left == []


def test_a_restart_answers_for_what_was_before(
    start: Start, speak_to: Callable[[LocalCromwell], Cromwell], tmp_path: Path
) -> None:
    with start(tmp_path) as server:
        cromwell = speak_to(server)
        done, cut, waits = cromwell.submit(SHORT), cromwell.submit(LONG), ""
        assert cromwell.wait(done) == "Succeeded"
        cromwell.wait(cut, "Running")
        waits = cromwell.submit(SHORT, workflowOnHold="true")

    with start(tmp_path) as server:
        cromwell = speak_to(server)
        assert cromwell.get(f"{done}/outputs").json()["outputs"] == {"short.n": 1}
        assert cromwell.status(waits) == "On Hold"
        assert cromwell.status(cut) == "Running"
        assert cromwell.post(workflowSource=SHORT, requestedWorkflowId=done).status_code == 400


def test_an_engine_that_is_killed_fails_its_workflow_and_loses_its_host(
    start: Start, speak_to: Callable[[LocalCromwell], Cromwell], tmp_path: Path
) -> None:
    with start(tmp_path) as server:
        cromwell = speak_to(server)
        run_id = cromwell.submit(LONG)
        until(lambda: len([one for one in family(cromwell) if one.name() == "sleep"]) == 2)
        started = family(cromwell)

        psutil.Process(cromwell.pid).children()[0].kill()

        assert cromwell.wait(run_id) == "Failed"
        lost = cromwell.events(run_id)[-1]
        assert lost["statusReason"].startswith("Host EC2 (")
        assert "exitCode" not in lost["container"]
        assert psutil.wait_procs(started, timeout=5)[1] == []
