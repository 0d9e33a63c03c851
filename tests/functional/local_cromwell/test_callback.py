"""When a run ends, Cromwell posts it to whoever asked, before anybody can read it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dropwell_local.cromwell.serve import LocalCromwell

from .conftest import Cromwell, Start, until

TASK = """version 1.0
workflow w { call t  output { String said = t.said } }
task t {
  command <<< COMMAND >>>
  output { String said = read_string(stdout()) }
  runtime { docker: "ubuntu:22.04" memory: "1 GB" }
}
"""
EMPTY = "version 1.0\nworkflow w { output { Int n = 1 } }"


class Receiver(ThreadingHTTPServer):
    """Somebody who wants to hear, and who answers as told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hearing)
        self.heard: list[Any] = []
        self.answers: list[int] = []
        self.on_post: Callable[[Any], object] = lambda told: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook?token=s3cret"


class Hearing(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.on_post(told)
        self.server.heard.append((self.path, self.headers["Content-Type"], told))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def calling(
    start: Start,
    speak_to: Callable[[LocalCromwell], Cromwell],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cromwell]:
    with start(tmp_path_factory.mktemp("calling"), callback_pause=0.02) as server:
        yield speak_to(server)


def submit(cromwell: Cromwell, source: str, url: str, **parts: Any) -> str:
    return cromwell.submit(
        source, workflowOptions=json.dumps({"workflow_callback_uri": url}), **parts
    )


def noted(cromwell: Cromwell, run_id: str) -> Any:
    until(lambda: "workflowCallback" in cromwell.metadata(run_id))
    return cromwell.metadata(run_id)["workflowCallback"]


def test_a_success_is_posted_with_its_outputs_before_status_shows_it(
    calling: Cromwell, receiver: Receiver
) -> None:
    shown: list[str] = []
    receiver.on_post = lambda told: shown.append(calling.status(told["workflowId"]))
    run_id = submit(calling, TASK.replace("COMMAND", "echo hi"), receiver.url)

    assert calling.wait(run_id) == "Succeeded"
    assert shown == ["Running"]
    outputs = {"w.said": "hi"}
    told = {"workflowId": run_id, "state": "Succeeded", "outputs": outputs, "failures": []}
    assert receiver.heard == [("/hook?token=s3cret", "application/json", told)]
    kept = noted(calling, run_id)
    assert (kept["successful"], kept["url"]) == (True, receiver.url)
    assert kept["timestamp"].endswith("Z")


def test_a_failure_is_posted_with_its_causes(calling: Cromwell, receiver: Receiver) -> None:
    run_id = submit(calling, TASK.replace("COMMAND", "exit 3"), receiver.url)

    assert calling.wait(run_id) == "Failed"
    ((_, _, told),) = receiver.heard
    assert (told["state"], told["outputs"]) == ("Failed", {})
    assert told["failures"][0].startswith("Workflow failed:\nJob w.t:NA:1 exited with return code")


def test_a_refusal_is_tried_again_until_it_is_taken(calling: Cromwell, receiver: Receiver) -> None:
    receiver.answers = [500, 404]
    run_id = submit(calling, EMPTY, receiver.url)

    assert noted(calling, run_id)["successful"] is True
    assert len(receiver.heard) == 3


def test_who_never_takes_it_is_told_eleven_times(calling: Cromwell, receiver: Receiver) -> None:
    receiver.answers = [503] * 20
    run_id = submit(calling, EMPTY, receiver.url)

    assert noted(calling, run_id)["successful"] is False
    assert len(receiver.heard) == 11
    assert calling.status(run_id) == "Succeeded"


def test_an_abort_is_posted_only_of_what_ran(calling: Cromwell, receiver: Receiver) -> None:
    held = submit(calling, EMPTY, receiver.url, workflowOnHold="true")
    calling.post(f"/{held}/abort")
    ran = submit(calling, TASK.replace("COMMAND", "sleep 60"), receiver.url)
    until(lambda: "RUNNING" in [one["status"] for one in calling.events(ran)])
    calling.post(f"/{ran}/abort")

    assert noted(calling, ran)["successful"] is True
    assert [(told["workflowId"], told["state"]) for _, _, told in receiver.heard] == [
        (ran, "Aborted")
    ]
    assert "workflowCallback" not in calling.metadata(held)


def test_what_is_no_uri_is_told_nothing(calling: Cromwell) -> None:
    run_id = submit(calling, EMPTY, "http://127.0.0.1:9/no uri")

    assert calling.wait(run_id) == "Succeeded"
    assert "workflowCallback" not in calling.metadata(run_id)


def test_a_servers_own_receiver_hears_of_every_run_but_a_stop_loses_what_is_unsaid(
    start: Start,
    speak_to: Callable[[LocalCromwell], Cromwell],
    tmp_path: Path,
    receiver: Receiver,
) -> None:
    with start(tmp_path, callback=receiver.url) as server:
        cromwell = speak_to(server)
        told = cromwell.submit(EMPTY)
        assert noted(cromwell, told)["url"] == receiver.url
        receiver.answers = [500]
        unsaid = cromwell.submit(EMPTY)
        assert cromwell.wait(unsaid) == "Succeeded"  # whoever does not listen holds up nothing
    with start(tmp_path) as server:
        assert "workflowCallback" not in speak_to(server).metadata(unsaid)
