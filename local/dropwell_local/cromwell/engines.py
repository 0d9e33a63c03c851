"""One workflow's engine process: started, listened to, its jobs scheduled, its end understood."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from dropwell_local.cromwell import batch
from dropwell_local.cromwell.chaos import Dial, Subject
from dropwell_local.cromwell.clock import milliseconds, stamp
from dropwell_local.cromwell.events import LOG_GROUP, Outbox
from dropwell_local.cromwell.scheduling import Scheduler
from dropwell_local.cromwell.settings import Settings
from dropwell_local.cromwell.store import Store, Workflow
from dropwell_local.engine import processes
from dropwell_local.engine.sandbox import Sandbox

_LINE_LIMIT = 256 << 20
HOST_LOST = "Host EC2 (instance i-0d0e11) terminated."
"""What Batch says of a job whose machine went away: here, its engine."""


@dataclass(frozen=True)
class Shared:
    """What all engines of a server share."""

    settings: Settings
    store: Store
    outbox: Outbox
    scheduler: Scheduler
    records: batch.Records
    chaos: Dial
    sandbox: Sandbox
    engine_pids: set[int] = field(default_factory=set)

    def say(self, job: batch.Job, *, log_file: str = "", log_stream: str = "") -> None:
        """Send the event of a job's present state, and before it the log that it speaks of."""
        envelope = batch.envelope(job, self.settings, at=time.time())
        sent = None
        if job.ended:
            loop = asyncio.get_running_loop()
            sent = partial(loop.call_soon_threadsafe, self.records.said, job.id)
        self.outbox.put(
            envelope,
            log_stream=log_stream or job.log_stream,
            log_file=log_file,
            treatment=self.chaos.now.treatment(subject_of(job), job.status),
            sent=sent,
        )

    def say_blocked(self, job: batch.Job, reason: str) -> None:
        """Send the event that the queue is blocked for a job."""
        self.outbox.put(
            batch.blocked_envelope(job, self.settings, reason=reason, at=time.time()),
            treatment=self.chaos.now.treatment(subject_of(job), "BLOCKED"),
        )

    def end_job(self, job: batch.Job, message: Mapping[str, Any]) -> None:
        """Record how a job ended, then tell it.

        Whoever kills the server between the two finds the job unsaid at the next start.
        """
        _end(job, message)
        job.status = "SUCCEEDED" if message["ok"] else "FAILED"
        job.log_file, job.seen = message["log"], message.get("seen", {})
        if job.log_stream:
            log = {
                "logStreamName": job.log_stream,
                "logGroupName": LOG_GROUP,
                "region": self.settings.region,
            }
            self.store.note_call(*job.call, {"logConfig": log})
        self.records.save(job)
        self.say(job, log_file=job.log_file)

    def knows(self, job: batch.Job) -> bool:
        """Whether Cromwell knows a job of Batch's: not if it was set back to before that."""
        return self.store.job_of(*job.call) == job.id

    def lose_jobs(self, workflow_id: str, why: str) -> None:
        """End whatever jobs of a workflow are still open without an exit code."""
        for job in self.records.of(workflow_id):
            if not job.ended:
                self.end_job(job, lost(why))


@dataclass(frozen=True)
class Outcome:
    """How a workflow ended, as its engine says; `status` is empty if it did not live to say.

    `files` are the objects that its outputs name.
    """

    status: str
    facts: dict[str, Any]
    exit_code: int
    files: tuple[str, ...] = ()


@dataclass
class _Running:
    """A job, and its process group once there is one."""

    job: batch.Job
    group: int = 0


@dataclass
class Engine:
    """The process that runs one workflow."""

    workflow_id: str
    shared: Shared
    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    group: str
    jobs: dict[str, _Running] = field(default_factory=dict)
    job_ids: set[str] = field(default_factory=set)
    status: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    abandoned: bool = False

    @classmethod
    async def launch(cls, workflow_id: str, directory: Path, shared: Shared) -> Engine:
        """Start the process on what lies in `directory`."""
        jobs = shared.records.of(workflow_id)
        past = [_past(job) for job in jobs if shared.knows(job)]
        (directory / "past.json").write_text(json.dumps(past))
        ours, theirs = socket.socketpair()
        env = {name: os.environ[name] for name in os.environ if not name.startswith("MINIWDL")}
        with theirs, (directory / "engine.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "dropwell_local.engine.run",
                str(theirs.fileno()),
                str(directory),
                shared.sandbox.bwrap,
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=env,
                start_new_session=True,
            )
        reader, writer = await asyncio.open_connection(sock=ours, limit=_LINE_LIMIT)
        shared.engine_pids.add(process.pid)
        group = _hog_group(directory) or workflow_id
        return cls(workflow_id, shared, process, reader, writer, group)

    def terminate(self) -> None:
        """Ask it to end its tasks and itself."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()

    def kill(self) -> None:
        """End it and every task that it told of, at once."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
        for running in self.jobs.values():
            if running.group and running.group != self.process.pid:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(running.group, signal.SIGKILL)

    def abandon(self) -> None:
        """End it and its tasks, but not its jobs: another engine will go on with them."""
        self.abandoned = True
        self.kill()

    async def follow(self) -> Outcome:
        """Hear it out; return how it ended, with no job left."""
        with contextlib.suppress(ConnectionResetError):  # it died before it had read everything
            while line := await self.reader.readline():
                if line.endswith(b"\n"):
                    self._hear(json.loads(line))
        self.writer.close()
        code = await self.process.wait()
        self.kill()
        self.shared.engine_pids.discard(self.process.pid)
        await self._bury()
        for job_id in [] if self.abandoned else list(self.jobs):
            self._job_ended(job_id, lost(HOST_LOST))
        return Outcome(self.status, self.facts, code, self.files)

    async def _bury(self, patience: float = 2.0) -> None:
        """End and reap what became the server's children when an engine died on its tasks.

        A few rounds: a process is adopted only once its own parent is gone.
        """
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            processes.kill_strays(self.job_ids)
            adopted = set(processes.children(os.getpid())) - self.shared.engine_pids
            if not adopted:
                return
            for pid in adopted:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            await asyncio.sleep(0.02)

    def _hear(self, message: dict[str, Any]) -> None:
        kind, store = message["kind"], self.shared.store
        if kind == "call":
            key = message["workflow"], message["fqn"], message["shard"], message["attempt"]
            store.note_call(*key, message["facts"])
        elif kind == "job":
            self._hear_job(message)
        elif kind == "workflow" and message["parent"] is None:
            store.note(message["id"], **message["facts"])
        elif kind == "workflow":
            parents = {"parentWorkflowId": message["parent"], "rootWorkflowId": self.workflow_id}
            store.add(
                Workflow(
                    message["id"],
                    self.workflow_id,
                    message["parent"],
                    "Running",
                    time.time(),
                    {**message["facts"], **parents},
                    {},
                )
            )
        elif kind == "workflow-ended" and message["id"] != self.workflow_id:
            store.end(message["id"], message["status"], stamp(), message["facts"])
        elif kind == "workflow-ended":
            self.facts = message["facts"]
        elif kind == "files":
            self.files = tuple(message["files"])
        elif kind == "cached":
            self._tell({"number": message["number"], "answer": store.cached(message["key"])})
        elif kind == "cache":
            store.cache(message["key"], message["entry"])
        elif kind == "finished":
            self.status = message["status"]
            if message["failures"]:
                self.facts = {"failures": message["failures"]}

    def _hear_job(self, message: dict[str, Any]) -> None:
        job_id = message["id"]
        if message["event"] == "submitted":
            self._submitted(message)
        elif message["event"] == "running":
            running = self.jobs[job_id]
            running.group = message["pid"]
            if running.job.status != "RUNNING":  # else it has gone on while the server was away
                running.job.started_at = milliseconds()
                stream = f"{running.job.definition}/default/{uuid.uuid4().hex}"
                running.job.log_stream = stream
                self._say(running.job, "RUNNING")
            else:
                self.shared.outbox.log_anew(running.job.log_stream)
        elif message["event"] == "logged":
            stream = self.jobs[job_id].job.log_stream
            self.shared.outbox.put_log(log_stream=stream, log_file=message["log"])
        elif message["event"] == "retried":
            self._attempt_ended(self.jobs[job_id], message)
        else:
            self._job_ended(job_id, message)

    def _submitted(self, message: dict[str, Any]) -> None:
        """Queue a job: a new one, or one that was there before the server stopped."""
        job_id = message["id"]
        job = self.shared.records.known(job_id)
        known = job is not None
        if job is None:
            workflow, fqn, shard, attempt = message["call"]
            job = batch.Job(
                id=job_id,
                root=self.workflow_id,
                call=(workflow, fqn, shard, attempt),
                **message["facts"],
            )
            self.shared.store.note_call(*job.call, {"jobId": job_id})
        self.job_ids.add(job_id)
        self.jobs[job_id] = _Running(job)
        if not known:
            self._say(job, "RUNNABLE")
        if job.terminated:
            self._tell({"terminate": job_id, "reason": job.terminated})
        queued = job
        self.shared.scheduler.submit(queued, lambda: self._let_start(queued), group=self.group)

    def _let_start(self, job: batch.Job) -> None:
        if job.status == "RUNNABLE":
            self._say(job, "STARTING")
        fate = self.shared.chaos.now.fate(subject_of(job), image=job.image)
        self._tell({"go": job.id, **({"fate": fate} if fate else {})})

    def terminate_job(self, job_id: str, reason: str) -> bool:
        """Ask for one job's end, as TerminateJob does; `False` if it is not this engine's."""
        if job_id not in self.jobs:
            return False
        job = self.jobs[job_id].job
        job.terminated = reason
        self.shared.records.save(job)
        self._tell({"terminate": job_id, "reason": reason})
        return True

    def _tell(self, message: dict[str, Any]) -> None:
        self.writer.write(json.dumps(message).encode() + b"\n")

    def _attempt_ended(self, running: _Running, message: dict[str, Any]) -> None:
        """Let Batch try a job again: one more ended attempt, and back into the queue."""
        job = running.job
        _end(job, message)
        stream, running.group = job.log_stream, 0
        job.try_again()
        self.shared.scheduler.leave(job.id)
        self._say(job, "RUNNABLE", log_file=message["log"], log_stream=stream)
        self.shared.scheduler.submit(job, lambda: self._let_start(job), group=self.group)

    def _job_ended(self, job_id: str, message: Mapping[str, Any]) -> None:
        self.shared.end_job(self.jobs.pop(job_id).job, message)
        self.shared.scheduler.leave(job_id)

    def _say(
        self, job: batch.Job, status: str, *, log_file: str = "", log_stream: str = ""
    ) -> None:
        job.status = status
        self.shared.records.save(job)
        self.shared.say(job, log_file=log_file, log_stream=log_stream)


def _hog_group(directory: Path) -> str:
    """Return with whom a workflow takes its turns at the slots; empty, alone."""
    options = json.loads((directory / "run.json").read_text())["options"]
    return str(options.get("hogGroup", ""))


def subject_of(job: batch.Job) -> Subject:
    _, fqn, shard, attempt = job.call
    return Subject(fqn, shard, attempt, len(job.past) + 1)


def lost(why: str) -> dict[str, Any]:
    """Return what an engine would say of a job that ended with nobody there to see it."""
    silence = {"exit_code": None, "log": "", "container_reason": ""}
    return {"ok": False, **silence, "status_reason": why}


def _past(job: batch.Job) -> dict[str, Any]:
    """Return a job as an engine that goes on with its workflow is told of it."""
    ending = {
        "exit_code": job.exit_code,
        "status_reason": job.status_reason,
        "container_reason": job.container_reason,
        "rc": job.seen.get("rc"),
        "log": job.seen.get("log", []),
    }
    return {
        "call": job.call,
        "job_id": job.id,
        "batch_attempt": len(job.past) + 1,
        "ending": ending if job.ended else None,
        "last": job.seen.get("last", False),
    }


def _end(job: batch.Job, message: Mapping[str, Any]) -> None:
    """Write into a job how its present attempt ended."""
    job.stopped_at = milliseconds()
    job.exit_code = message["exit_code"]
    job.container_reason = message["container_reason"]
    job.status_reason = message["status_reason"]
