"""The life of workflows: launched one at a time, run by engine processes, ended or aborted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dropwell_local.cromwell import batch
from dropwell_local.cromwell.events import Outbox
from dropwell_local.cromwell.settings import Settings
from dropwell_local.cromwell.store import TERMINAL, Store, Workflow
from dropwell_local.cromwell.submission import Submission

_log = logging.getLogger(__name__)

_LINE_LIMIT = 256 << 20
_STOP_GRACE_S = 10.0
_CALL_ENDED = ("Failed", "RetryableFailure", "Done", "Aborted", "Bypassed", "Unstartable")


class InUse(Exception):
    """The requested id belongs to another workflow, ended or not."""


@dataclass
class _Engine:
    """One engine process."""

    workflow_id: str
    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    jobs: dict[str, batch.Job] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    finished: dict[str, Any] | None = None


class Workflows:
    """Every workflow of the server.

    Parameters
    ----------
    settings : Settings
        The paces, sizes and places.
    store : Store
        Where all is recorded.
    outbox : Outbox
        Takes Batch's events.
    """

    def __init__(self, settings: Settings, store: Store, outbox: Outbox) -> None:
        self._settings = settings
        self._store = store
        self._outbox = outbox
        self._scheduler = batch.Scheduler(settings.vcpus, settings.memory_mib)
        self._engines: dict[str, _Engine] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._launcher: asyncio.Task[None] | None = None
        self._cromwell_id = f"cromid-{uuid.uuid4().hex[:7]}"

    def start(self) -> None:
        """Say what became of workflows that ran when the server last stopped, and go on."""
        for workflow in self._store.with_status("Running", "Aborting"):
            aborting = workflow.status == "Aborting"
            why = "The local Cromwell stopped while this workflow ran; it does not resume workflows"
            failures = [{"message": why, "causedBy": []}]
            self._end(
                workflow.id,
                "Aborted" if aborting else "Failed",
                {} if aborting else {"failures": failures},
            )
        self._launcher = asyncio.create_task(self._launch_waiting())

    async def stop(self) -> None:
        """End every engine and its tasks; what they ran is recorded as cut off."""
        if self._launcher:
            self._launcher.cancel()
        for engine in self._engines.values():
            with contextlib.suppress(ProcessLookupError):
                engine.process.send_signal(signal.SIGTERM)
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=_STOP_GRACE_S)
            for engine in list(self._engines.values()):
                self._kill(engine)
            if left:
                await asyncio.wait(left, timeout=2)

    def submit(self, submission: Submission) -> tuple[str, str]:
        """Record a submission; it starts when its turn comes.

        Returns
        -------
        tuple of str
            Its id and status.

        Raises
        ------
        InUse
            There is a workflow of the requested id.
        """
        workflow_id = submission.requested_id or str(uuid.uuid4())
        status = "On Hold" if submission.on_hold else "Submitted"
        labels = {**submission.labels, "cromwell-workflow-id": f"cromwell-{workflow_id}"}
        facts = {"submission": _stamp(time.time()), "submittedFiles": _submitted_files(submission)}
        workflow = Workflow(workflow_id, workflow_id, None, status, time.time(), facts, labels)
        if not self._store.add(workflow):
            raise InUse(workflow_id)
        directory = self._directory(workflow_id)
        (directory / "source").mkdir(parents=True)
        (directory / "source" / "main.wdl").write_text(submission.source)
        if submission.imports:
            (directory / "imports.zip").write_bytes(submission.imports)
        bucket, prefix = self._settings.script_bucket, "scripts/"
        prefix = submission.options.get("aws_batch_script_bucket_prefix", prefix)
        what = {
            "id": workflow_id,
            "root": submission.options.get("aws_s3_root", self._settings.root),
            "script_url": f"s3://{bucket}/{prefix}",
            "labels": labels,
            "options": submission.options,
            "inputs": submission.inputs,
            "workflow_url": submission.url,
        }
        (directory / "run.json").write_text(json.dumps(what))
        return workflow_id, status

    def abort(self, workflow_id: str) -> str | None:
        """Abort; return the status, or `None` if no such workflow is in progress."""
        workflow = self._store.get(workflow_id)
        if workflow is None or workflow.status in TERMINAL or workflow.parent:
            return None
        if workflow.status in ("On Hold", "Submitted"):
            self._store.turn(workflow_id, "Aborted")  # only the status is written: no end
            return "Aborted"
        self._store.turn(workflow_id, "Aborting")
        engine = self._engines.get(workflow_id)
        if engine:
            with contextlib.suppress(ProcessLookupError):
                engine.process.send_signal(signal.SIGTERM)
        return "Aborting"

    def release(self, workflow_id: str) -> bool:
        """Release a workflow that is on hold; `False` if it is not."""
        workflow = self._store.get(workflow_id)
        if workflow is None or workflow.status != "On Hold":
            return False
        return self._store.turn(workflow_id, "Submitted")

    async def _launch_waiting(self) -> None:
        while True:
            waiting = self._store.with_status("Submitted")
            if waiting and len(self._engines) < self._settings.max_workflows:
                workflow = waiting[0]
                self._store.turn(
                    workflow.id,
                    "Running",
                    start=_stamp(time.time()),
                    workflowProcessingEvents=[self._event("PickedUp")],
                )
                try:
                    engine = await self._launch(workflow)
                except OSError as error:
                    self._end(workflow.id, "Failed", {"failures": [_failure(str(error))]})
                    continue
                task = asyncio.create_task(self._follow(engine))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            await asyncio.sleep(self._settings.launch_interval)

    async def _launch(self, workflow: Workflow) -> _Engine:
        directory = self._directory(workflow.id)
        ours, theirs = socket.socketpair()
        try:
            with (directory / "engine.log").open("wb") as log:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "dropwell_local.engine.run",
                    str(theirs.fileno()),
                    str(directory),
                    pass_fds=[theirs.fileno()],
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        finally:
            theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours, limit=_LINE_LIMIT)
        engine = _Engine(workflow.id, process, reader, writer)
        self._engines[workflow.id] = engine
        return engine

    async def _follow(self, engine: _Engine) -> None:
        """Hear an engine out, then say how its workflow ended."""
        while line := await engine.reader.readline():
            self._hear(engine, json.loads(line))
        engine.writer.close()
        code = await engine.process.wait()
        self._kill(engine)
        for job in list(engine.jobs.values()):
            self._job_ended(
                engine,
                job.id,
                {
                    "ok": False,
                    "exit_code": None,
                    "log": "",
                    "container_reason": "",
                    "status_reason": "Host EC2 terminated.",
                },
            )
        del self._engines[engine.workflow_id]
        await asyncio.sleep(self._settings.poll_lag)
        known = self._store.get(engine.workflow_id)
        if engine.finished is None and known is not None and known.status != "Aborting":
            failures = [_failure(f"The workflow's engine ended unexpectedly (exit code {code})")]
            self._end(engine.workflow_id, "Failed", {"failures": failures})
            return
        outcome = engine.finished or {"status": "Aborted", "facts": {}}
        if known is not None and known.status == "Aborting":
            outcome = {"status": "Aborted", "facts": {}}
        self._end(engine.workflow_id, outcome["status"], outcome["facts"])

    def _hear(self, engine: _Engine, message: dict[str, Any]) -> None:
        kind = message["kind"]
        if kind == "call":
            self._store.note_call(
                message["workflow"],
                message["fqn"],
                message["shard"],
                message["attempt"],
                message["facts"],
            )
        elif kind == "job":
            self._hear_job(engine, message)
        elif kind == "workflow":
            self._hear_workflow(engine, message)
        elif kind == "workflow-ended" and message["id"] != engine.workflow_id:
            self._end(message["id"], message["status"], message["facts"])
        elif kind == "workflow-ended":
            engine.finished = {"status": message["status"], "facts": message["facts"]}
        elif kind == "finished" and engine.finished is None:
            facts = {"failures": message["failures"]} if message["failures"] else {}
            engine.finished = {"status": message["status"], "facts": facts}

    def _hear_workflow(self, engine: _Engine, message: dict[str, Any]) -> None:
        if message["parent"] is None:
            facts = {name: value for name, value in message["facts"].items() if name != "start"}
            self._store.note(message["id"], **facts)
            return
        facts = {
            **message["facts"],
            "parentWorkflowId": message["parent"],
            "rootWorkflowId": engine.workflow_id,
        }
        self._store.add(
            Workflow(
                message["id"],
                engine.workflow_id,
                message["parent"],
                "Running",
                time.time(),
                facts,
                {},
            )
        )

    def _hear_job(self, engine: _Engine, message: dict[str, Any]) -> None:
        job_id = message["id"]
        if message["event"] == "submitted":
            job = batch.Job(id=job_id, **message["facts"])
            engine.jobs[job_id] = job
            self._say(job, "RUNNABLE")
            self._scheduler.submit(job, lambda: self._let_start(engine, job))
        elif message["event"] == "running":
            job = engine.jobs[job_id]
            engine.groups[job_id] = message["pid"]
            job.started_at = _ms()
            job.log_stream = f"{job.definition}/default/{uuid.uuid4().hex}"
            self._say(job, "RUNNING")
        else:
            self._job_ended(engine, job_id, message)

    def _let_start(self, engine: _Engine, job: batch.Job) -> None:
        self._say(job, "STARTING")
        engine.writer.write(json.dumps({"go": job.id}).encode() + b"\n")

    def _job_ended(self, engine: _Engine, job_id: str, message: dict[str, Any]) -> None:
        job = engine.jobs.pop(job_id)
        engine.groups.pop(job_id, None)
        job.stopped_at = _ms()
        job.exit_code = message["exit_code"]
        job.container_reason = message["container_reason"]
        job.status_reason = message["status_reason"]
        self._say(job, "SUCCEEDED" if message["ok"] else "FAILED", log_file=message["log"])
        self._scheduler.leave(job_id)

    def _say(self, job: batch.Job, status: str, log_file: str = "") -> None:
        job.status = status
        self._outbox.put(
            batch.envelope(job, self._settings, at=time.time()),
            log_stream=job.log_stream,
            log_file=log_file,
        )

    def _kill(self, engine: _Engine) -> None:
        """End what an engine may have left: itself, and the tasks it told of."""
        groups = [pid for pid in engine.groups.values() if pid != engine.process.pid]
        for pid in [*groups, engine.process.pid]:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)

    def _end(self, workflow_id: str, status: str, facts: dict[str, Any]) -> None:
        """Record a workflow's end, and that of whatever in it was still open."""
        known = self._store.get(workflow_id)
        if known is None:
            return
        left = "Aborted" if status == "Aborted" else "Failed"
        for one in self._store.of_root(workflow_id) if known.parent is None else [known]:
            ended = _stamp(time.time())
            inner = self._close_calls(one.id, left, ended)
            if one.id == workflow_id:
                events = one.facts.get("workflowProcessingEvents", [])
                extra = (
                    {}
                    if known.parent
                    else {"workflowProcessingEvents": [*events, self._event("Finished")]}
                )
                self._store.turn(one.id, status, end=ended, **extra, **facts)
            elif one.status not in TERMINAL:
                self._store.turn(one.id, inner or left, end=ended)

    def _close_calls(self, workflow_id: str, left: str, ended: str) -> str | None:
        """Close open calls; return the status that the calls give their workflow, if any."""
        statuses = []
        for attempt in self._store.calls(workflow_id):
            status = attempt.facts.get("executionStatus")
            if status not in _CALL_ENDED:
                status = left
                self._store.note_call(
                    workflow_id,
                    attempt.fqn,
                    attempt.shard,
                    attempt.attempt,
                    {"executionStatus": left, "end": ended},
                )
            statuses.append(status)
        if not statuses:
            return None
        if "Failed" in statuses:
            return "Failed"
        return "Aborted" if "Aborted" in statuses else "Succeeded"

    def _event(self, description: str) -> dict[str, str]:
        return {
            "cromwellId": self._cromwell_id,
            "description": description,
            "timestamp": _stamp(time.time()),
            "cromwellVersion": "92",
        }

    def _directory(self, workflow_id: str) -> Path:
        return self._settings.data / "workflows" / workflow_id


def _failure(message: str) -> dict[str, Any]:
    return {"message": message, "causedBy": []}


def _submitted_files(submission: Submission) -> dict[str, Any]:
    files: dict[str, Any] = {
        "workflow": submission.source,
        "workflowUrl": submission.url,
        "root": submission.root,
        "workflowType": submission.workflow_type,
        "workflowTypeVersion": submission.type_version,
        "inputs": json.dumps(submission.inputs),
        "options": json.dumps(submission.options, indent=2),
        "labels": json.dumps(submission.labels),
    }
    return files


def _ms() -> int:
    return time.time_ns() // 1_000_000


def _stamp(at: float) -> str:
    text = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
