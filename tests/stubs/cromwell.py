"""A Cromwell on a loopback socket that answers like the real one, or fails as it is told."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.parser import BytesHeaderParser
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Json = Any
HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
TERMINAL = ("Succeeded", "Failed", "Aborted")


class Mode(StrEnum):
    """How the server behaves; all but UP fail, in the ways that networks and servers do."""

    UP = "answers as Cromwell does"
    DOWN = "refuses connections"
    SLOW = "acts, and answers after `CromwellStub.delay` seconds"
    DRIP = "sends its answer a byte at a time"
    ERROR = "500"
    BUSY = "503, shutting down"
    HTML = "200 with a web page"
    GATEWAY = "502 with a web page"
    TOO_LARGE = "413 from a proxy"
    MISPLACED = "404 from something that is not Cromwell"
    LOCKED = "401 from a proxy"
    REDIRECT = "301"
    TRUNCATED = "acts, and breaks off in the middle of its answer"
    LOST_ACK = "acts on a POST, then drops the connection without an answer"
    RESET = "drops the connection without having acted"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A submission that was accepted, as it was posted."""

    run_id: str
    source: str
    inputs: Json
    options: Json
    labels: Json
    dependencies: bytes | None
    on_hold: bool
    fields: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Request:
    """One thing that was asked."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(slots=True)
class _Run:
    status: str
    hidden_reads: int
    outputs: Mapping[str, Json] = field(default_factory=dict)
    failures: list[Json] = field(default_factory=list)
    calls: Mapping[str, list[dict[str, Json]]] = field(default_factory=dict)

    def hides(self) -> bool:
        """Whether this read does not show it yet; each one counts."""
        self.hidden_reads -= 1
        return self.hidden_reads >= 0


class CromwellStub:
    """A Cromwell to talk to over HTTP; use it as a context.

    Parameters
    ----------
    version : str
        What it says it is. Below 75 it does not know ``requestedWorkflowId``.
    hidden_reads : int
        How many reads do not show a run after it was accepted, as if its
        metadata had not been summarised yet: 404, or left out of a query.
    failed_jobs : bool
        Whether it has the route ``/metadata/failed-jobs``.
    tls : SSLContext, optional
        What it shows who it is with; it then speaks https only.

    Attributes
    ----------
    token : str or None
        What its proxy asks for.
    mode : Mode
        How it behaves from now on.
    plan : deque of Mode
        How it behaves for the next requests, one each, before `mode` holds again.
    accepted : list of Accepted
        Every submission it took, in order.
    requests : list of Request
        Everything that was asked, in order; `asked` is the short form.
    delay : float
        Seconds that `Mode.SLOW` waits, and `Mode.DRIP` between bytes.
    """

    def __init__(
        self,
        *,
        version: str = "92",
        hidden_reads: int = 0,
        failed_jobs: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.version = version
        self.token: str | None = None
        self._tls = tls
        self.hidden_reads = hidden_reads
        self.has_failed_jobs = failed_jobs
        self.plan: deque[Mode] = deque()
        self.accepted: list[Accepted] = []
        self.requests: list[Request] = []
        self.always: _Reply | None = None
        self.delay = 1.0
        self.lock = threading.RLock()
        self.closing = threading.Event()
        self.runs: dict[str, _Run] = {}
        self._mode = Mode.UP
        self._server: ThreadingHTTPServer | None = None
        # Bound but never listening: keeps the port ours while the server is down.
        self._port = socket.socket()
        self._port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._port.bind(("127.0.0.1", 0))
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._port.getsockname()[1]}"

    def __enter__(self) -> CromwellStub:
        self._start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.closing.set()
        self._stop()
        self._port.close()

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        if mode is Mode.DOWN:
            self._stop()
        elif self._server is None:
            self._start()

    @property
    def asked(self) -> list[tuple[str, str]]:
        """Method and path of everything that was asked, in order."""
        return [(request.method, request.path) for request in self.requests]

    def answer(self, status: int, told: Json) -> None:
        """Answer so from now on, whatever is asked."""
        body = told if isinstance(told, bytes) else json.dumps(told).encode()
        self.always = _Reply(status, body)

    def set_status(self, run_id: str, status: str) -> None:
        """Make a run known, and say how it is."""
        with self.lock:
            self.runs.setdefault(run_id, _Run(status, 0)).status = status

    def succeed(self, run_id: str, outputs: Mapping[str, Json] | None = None) -> None:
        self.set_status(run_id, "Succeeded")
        self.runs[run_id].outputs = outputs or {}

    def fail(
        self,
        run_id: str,
        *,
        failures: list[Json] | None = None,
        calls: Mapping[str, list[dict[str, Json]]] | None = None,
    ) -> None:
        """End a run as failed.

        Parameters
        ----------
        failures : list
            The workflow's own, as ``[{"message": ..., "causedBy": [...]}]``.
        calls : mapping
            Call entries as in Cromwell's full metadata; a sub-workflow's call
            holds its ``subWorkflowMetadata``.
        """
        self.set_status(run_id, "Failed")
        self.runs[run_id].failures = failures or []
        self.runs[run_id].calls = calls or {}

    def forget(self, run_id: str) -> None:
        """Lose a run, as a database that was rolled back would."""
        with self.lock:
            self.runs.pop(run_id, None)

    def _start(self) -> None:
        port = self._port.getsockname()[1]
        server = _Server(("127.0.0.1", port), _handler_for(self))
        if self._tls:  # each request's own thread shakes hands
            server.socket = self._tls.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()
        self._server = server

    def _stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Json, client_address: Json) -> None:
        """Clients that went away are what some tests are about."""


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


_FAULTS = {
    Mode.BUSY: lambda: _error(503, "fail", "Cromwell service is shutting down."),
    Mode.ERROR: lambda: _error(500, "error", "Connection to the database was lost"),
    Mode.HTML: lambda: _Reply(200, HTML, "text/html"),
    Mode.GATEWAY: lambda: _Reply(502, HTML, "text/html"),
    Mode.TOO_LARGE: lambda: _Reply(413, HTML, "text/html"),
    Mode.MISPLACED: lambda: _Reply(404, b"Not here", "text/plain"),
    Mode.LOCKED: lambda: _Reply(401, b"", "text/plain"),
    Mode.REDIRECT: lambda: _Reply(301, b"", headers=(("Location", "https://elsewhere/"),)),
}


def _json(value: Json, status: int = 200) -> _Reply:
    return _Reply(status, json.dumps(value).encode())


def _error(status: int, kind: str, message: str) -> _Reply:
    return _Reply(status, json.dumps({"status": kind, "message": message}, indent=2).encode())


def _handler_for(stub: CromwellStub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._serve(b"")

        def do_POST(self) -> None:
            self._serve(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

        def _serve(self, body: bytes) -> None:
            with stub.lock:
                request = Request(self.command, self.path, dict(self.headers), body)
                stub.requests.append(request)
                mode = stub.plan.popleft() if stub.plan else stub.mode
                if stub.token and self.headers["Authorization"] != f"Bearer {stub.token}":
                    mode = Mode.LOCKED
                if fault := _FAULTS.get(mode):
                    reply = fault()
                elif mode is Mode.RESET:
                    self.close_connection = True
                    return
                else:
                    reply = _route(stub, self.command, self.path, body, self.headers)
            if mode is Mode.LOST_ACK and self.command == "POST":
                self.close_connection = True
                return
            if mode is Mode.SLOW:
                stub.closing.wait(stub.delay)
            self._answer(reply, mode)

        def _answer(self, reply: _Reply, mode: Mode) -> None:
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Content-Length", str(len(reply.body)))
            for name, value in reply.headers:
                self.send_header(name, value)
            self.end_headers()
            if mode is Mode.TRUNCATED:
                self.wfile.write(reply.body[: len(reply.body) // 2])
                self.close_connection = True
            elif mode is Mode.DRIP:
                for byte in reply.body:
                    self.wfile.write(bytes([byte]))
                    if stub.closing.wait(stub.delay):
                        return
            else:
                self.wfile.write(reply.body)

        def log_message(self, format: str, *args: Json) -> None:
            """Say nothing."""

    return Handler


def _route(stub: CromwellStub, method: str, target: str, body: bytes, headers: Json) -> _Reply:
    if stub.always:
        return stub.always
    url = urlsplit(target)
    match (method, url.path.strip("/").split("/")):
        case ("GET", ["engine", _, "version"]):
            return _json({"cromwell": stub.version})
        case ("POST", ["api", "workflows", _]):
            return _submit(stub, _form(body, headers["Content-Type"]))
        case ("POST", ["api", "workflows", _, "query"]):
            return _query(stub, json.loads(body))
        case ("POST", ["api", "workflows", _, run_id, "abort"]):
            return _abort(stub, run_id)
        case ("POST", ["api", "workflows", _, run_id, "releaseHold"]):
            return _release(stub, run_id)
        case ("GET", ["api", "workflows", _, run_id, *what]):
            return _look_up(stub, run_id, what, parse_qsl(url.query))
        case _:
            return _Reply(404, b"The requested resource could not be found.", "text/plain")


def _submit(stub: CromwellStub, form: Mapping[str, bytes]) -> _Reply:
    if int(stub.version.split("-")[0]) < 75:
        return _error(400, "fail", "Error(s): Unexpected body part name: requestedWorkflowId")
    if not form.get("workflowSource"):
        said = "Error(s): workflowSource or workflowUrl needs to be supplied"
        return _error(400, "fail", said)
    inputs = json.loads(form.get("workflowInputs", b"{}"))
    if isinstance(inputs, list):
        said = "To submit more than one workflow at a time, use the batch endpoint."
        return _error(400, "fail", said)
    run_id = json.loads(form["requestedWorkflowId"])
    if run_id in stub.runs:
        return _error(400, "fail", f"Requested workflow IDs are already in use: {run_id}")
    on_hold = form.get("workflowOnHold") == b"true"
    stub.runs[run_id] = _Run("On Hold" if on_hold else "Submitted", stub.hidden_reads)
    stub.accepted.append(
        Accepted(
            run_id=run_id,
            source=form["workflowSource"].decode(),
            inputs=inputs,
            options=json.loads(form.get("workflowOptions", b"{}")),
            labels=json.loads(form.get("labels", b"{}")),
            dependencies=form.get("workflowDependencies"),
            on_hold=on_hold,
            fields=form,
        )
    )
    return _json({"id": run_id, "status": stub.runs[run_id].status}, 201)


def _form(body: bytes, content_type: str) -> dict[str, bytes]:
    boundary = b"--" + content_type.partition("boundary=")[2].encode()
    form = {}
    for part in body.split(boundary)[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        headers = BytesHeaderParser().parsebytes(head + b"\r\n\r\n")
        name = headers.get_param("name", header="Content-Disposition")
        form[str(name)] = content.removesuffix(b"\r\n")
    return form


def _query(stub: CromwellStub, terms: list[dict[str, str]]) -> _Reply:
    wanted = {term["id"] for term in terms if "id" in term}
    results = [
        {"id": run_id, "name": "wf", "status": run.status, "submission": "2026-01-30T09:00:00Z"}
        for run_id, run in stub.runs.items()
        if run_id in wanted and not run.hides()
    ]
    return _json({"results": results, "totalResultsCount": len(results)})


def _abort(stub: CromwellStub, run_id: str) -> _Reply:
    run = stub.runs.get(run_id)
    if run is None or run.status in TERMINAL:
        said = f"Couldn't abort {run_id} because no workflow with that ID is in progress"
        return _error(404, "error", said)
    run.status = "Aborted" if run.status in ("On Hold", "Submitted") else "Aborting"
    return _json({"id": run_id, "status": run.status})


def _release(stub: CromwellStub, run_id: str) -> _Reply:
    run = stub.runs.get(run_id)
    if run is None:
        return _error(404, "fail", f"Unrecognized workflow ID: {run_id}")
    if run.status != "On Hold":
        said = (
            f"Couldn't change status of workflow {run_id} to 'Submitted' because the workflow"
            " is not in 'On Hold' state"
        )
        return _error(403, "error", said)
    run.status = "Submitted"
    return _json({"id": run_id, "status": run.status})


def _look_up(
    stub: CromwellStub, run_id: str, what: list[str], query: list[tuple[str, str]]
) -> _Reply:
    if what == ["metadata", "failed-jobs"] and not stub.has_failed_jobs:
        return _Reply(404, b"The requested resource could not be found.", "text/plain")
    run = stub.runs.get(run_id)
    if run is None or run.hides():
        return _error(404, "fail", f"Unrecognized workflow ID: {run_id}")
    match what:
        case ["status"]:
            return _json({"status": run.status, "id": run_id})
        case ["outputs"]:
            return _json({"outputs": run.outputs, "id": run_id})
        case ["metadata"]:
            keys = [value for name, value in query if name == "includeKey"]
            expand = ("expandSubWorkflows", "true") in query
            whole = {"id": run_id, "status": run.status, "failures": run.failures}
            return _json(_only(keys, {**whole, "calls": run.calls}, expand=expand))
        case ["metadata", "failed-jobs"]:
            return _json(_failed_jobs(run_id, run.calls))
        case _:
            return _Reply(404, b"The requested resource could not be found.", "text/plain")


def _only(keys: list[str], metadata: Mapping[str, Json], *, expand: bool) -> dict[str, Json]:
    """Keep what starts with one of the keys, as includeKey does; calls without any are left out."""

    def wanted(name: str) -> bool:
        return not keys or any(name.startswith(key) for key in keys)

    kept = {name: value for name, value in metadata.items() if wanted(name) and value}
    calls: dict[str, list[Json]] = {}
    for fqn, entries in metadata.get("calls", {}).items():
        for entry in entries:
            told = {name: value for name, value in entry.items() if wanted(name)}
            if (sub := entry.get("subWorkflowMetadata")) and wanted("subWorkflowId"):
                told.pop("subWorkflowMetadata", None)
                told |= (
                    {"subWorkflowMetadata": _only(keys, sub, expand=True)}
                    if expand
                    else {"subWorkflowId": sub["id"]}
                )
            if told:
                place = {name: entry[name] for name in ("attempt", "shardIndex") if name in entry}
                calls.setdefault(fqn, []).append(told | place)
    return {**kept, "calls": calls, "id": metadata["id"]}


def _failed_jobs(workflow_id: str, calls: Mapping[str, list[Json]]) -> dict[str, Json]:
    """Tell of each call its last attempt of its last shard, if that failed: no more, as Cromwell.

    (MetadataEntryComponent.scala, failedJobsMetadataWithWorkflowId.)
    """
    told: dict[str, Json] = {}
    for fqn, entries in calls.items():
        subs = [entry["subWorkflowMetadata"] for entry in entries if "subWorkflowMetadata" in entry]
        for sub in subs:
            told |= _failed_jobs(sub["id"], sub.get("calls", {}))
        if subs or not entries:
            continue
        last = max(entry.get("shardIndex", -1) for entry in entries)
        attempt = max(entry.get("attempt", 1) for entry in entries)
        for entry in entries:
            place = (entry.get("shardIndex", -1), entry.get("attempt", 1))
            statuses = (entry.get("executionStatus"), entry.get("backendStatus"))
            if place == (last, attempt) and "Failed" in statuses:
                told.setdefault(workflow_id, {"calls": {}})["calls"][fqn] = [entry]
    return told
