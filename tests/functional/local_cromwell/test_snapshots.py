"""A server that is set back to what it knew goes on from there; Batch is not set back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from dropwell_local.cromwell.serve import LocalCromwell
from dropwell_local.cromwell.settings import Settings
from dropwell_local.emulator import environment_of_owner

from .conftest import BUCKET, Cromwell, Start, until
from .test_resuming import Place, statuses, waiting


def snapshots(cromwell: Cromwell, path: str) -> httpx.Response:
    return cromwell.http.post(f"{cromwell.url}/dropwell/snapshots/{path}")


@pytest.fixture
def cromwell(
    start: Start, speak_to: Callable[[LocalCromwell], Cromwell], tmp_path: Path
) -> Iterator[Cromwell]:
    with start(tmp_path) as server:
        yield speak_to(server)


def running(cromwell: Cromwell, run_id: str) -> bool:
    return "RUNNING" in [one["status"] for one in cromwell.events(run_id)]


def test_what_was_known_goes_on_and_what_came_since_is_forgotten(cromwell: Cromwell) -> None:
    place = Place(cromwell.data)
    known = cromwell.submit(waiting(), place.inputs("one"))
    until(lambda: running(cromwell, known))
    assert snapshots(cromwell, "earlier").status_code == 201
    forgotten = cromwell.submit(waiting(), place.inputs("one"))
    until(lambda: running(cromwell, forgotten))

    assert snapshots(cromwell, "earlier/restore").status_code == 200

    place.gate.touch()
    assert cromwell.wait(known) == "Succeeded"
    assert cromwell.get(f"{forgotten}/status").status_code == 404
    (call,) = cromwell.calls(known)["one.t"]
    assert statuses(cromwell, call["jobId"]) == ["RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"]
    lost = cromwell.events(forgotten)[-1]
    assert (lost["status"], lost["statusReason"].partition(" (")[0]) == ("FAILED", "Host EC2")


def test_a_call_that_is_not_known_any_more_gets_another_job(cromwell: Cromwell) -> None:
    place = Place(cromwell.data)
    source = waiting().replace("call t {", "call t as before { input: log = log, gate = gate }")
    source = (
        source.replace(
            "before { input: log = log, gate = gate }",
            """before {
      input: log = log, gate = gate } if (before.done) { call t {""",
        )
        .replace("gate = gate } }\ntask", "gate = gate } } }\ntask")
        .replace("output {  }", "output { Boolean done = true }")
    )
    run_id = cromwell.submit(source, place.inputs("one"))
    until(lambda: running(cromwell, run_id))
    snapshots(cromwell, "earlier")
    place.gate.touch()
    assert cromwell.wait(run_id) == "Succeeded"
    first = cromwell.calls(run_id)

    snapshots(cromwell, "earlier/restore")

    assert cromwell.wait(run_id) == "Succeeded"
    second = cromwell.calls(run_id)
    assert second["one.before"][0]["jobId"] == first["one.before"][0]["jobId"]
    assert second["one.t"][0]["jobId"] != first["one.t"][0]["jobId"]
    assert place.ran["t"] == 3


def test_there_is_nothing_to_return_to_under_another_name(cromwell: Cromwell) -> None:
    assert snapshots(cromwell, "never/restore").status_code == 404
    assert snapshots(cromwell, "no.name").status_code == 400


def test_a_supervised_server_is_back_at_its_address(emulator: str, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, root=f"s3://{BUCKET}/r", script_bucket=BUCKET)
    environment = environment_of_owner(emulator)
    with LocalCromwell(settings, env=environment, supervised=True) as server:
        url, pid = server.url, server.pid

        psutil.Process(pid).kill()

        until(lambda: not psutil.pid_exists(pid) and answers(url))


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/engine/v1/version").status_code == 200
    except httpx.TransportError:
        return False
