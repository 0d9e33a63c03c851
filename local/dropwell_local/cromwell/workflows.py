"""The life of workflows: submitted, launched one at a time, ended or aborted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dropwell_local.cromwell import batch, callbacks, chaos, finalizing
from dropwell_local.cromwell.blocking import Blocking
from dropwell_local.cromwell.chaos import Dial
from dropwell_local.cromwell.clock import stamp
from dropwell_local.cromwell.engines import HOST_LOST, Engine, Shared, lost
from dropwell_local.cromwell.events import Outbox
from dropwell_local.cromwell.scheduling import Scheduler
from dropwell_local.cromwell.settings import Settings
from dropwell_local.cromwell.store import TERMINAL, Store, Workflow
from dropwell_local.cromwell.submission import Submission
from dropwell_local.engine import sandbox

_log = logging.getLogger(__name__)

_STOP_GRACE_S = 10.0
_ABORTED = "cromwell abort called"
_SNAPSHOT_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHORTEST_INTERVAL_S = 0.05
_QUEUE_INTERVAL_S = 0.25
_STATUS_LAG_S = 5.0
"""How far the end that is posted may be ahead of the end that is shown (db-flush-rate)."""


class InUse(Exception):
    """A requested id belongs to another workflow, ended or not (SqlWorkflowStore.scala)."""

    def __init__(self, why: str, ids: Sequence[str]) -> None:
        super().__init__(f"Requested workflow IDs are {why}: {', '.join(ids)}")


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
        scheduler = _scheduler(settings)
        self.records = batch.Records(store, settings.job_memory)
        self.chaos = Dial(chaos.parse(settings.chaos))
        kept_apart = sandbox.find(settings.isolation)
        self._shared = Shared(
            settings, store, outbox, scheduler, self.records, self.chaos, kept_apart
        )
        self._engines: dict[str, Engine] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._callbacks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._cromwell_id = f"cromid-{uuid.uuid4().hex[:7]}"

    def start(self) -> None:
        """Go on with the workflows that ran when the server last stopped, then with the rest."""
        for job in self._shared.records.unsaid():
            self._shared.say(job, log_file=job.log_file)
        resumed = []
        for workflow in self._store.with_status("Running", "Aborting"):
            if workflow.parent:
                continue
            if workflow.status == "Aborting":
                self._go(self._tell_and_end(workflow.id, "Aborted", {}))
            elif not (self._directory(workflow.id) / "run.json").exists():
                why = (
                    "The local Cromwell stopped while this workflow ran, and cannot go on with it: "
                    "its files are no longer on this machine."
                )
                facts = {"failures": [_failure(why)]}
                self._go(self._tell_and_end(workflow.id, "Failed", facts))
            else:
                resumed.append(workflow.id)
        self._go(self._launch_waiting(resumed))
        self._go(self._watch_queue())

    async def stop(self) -> None:
        """End every engine with its tasks; at the next start their workflows go on."""
        self._stopping = True
        for callback in self._callbacks:
            callback.cancel()  # Cromwell, too, loses what is unsaid (WorkflowCallbackActor.scala)
        for engine in self._engines.values():
            engine.abandon()
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=_STOP_GRACE_S)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def save_as(self, name: str) -> None:
        """Keep what Cromwell knows now, to return to it.

        Raises
        ------
        ValueError
            That is no name.
        """
        snapshot = self._snapshot(name)
        snapshot.parent.mkdir(exist_ok=True)
        self._store.save_as(snapshot)

    async def return_to(self, name: str) -> None:
        """Go on from a snapshot, as a Cromwell does whose database was set back.

        Batch is not set back: it knows every job, and those that no Cromwell knows end.

        Raises
        ------
        ValueError
            That is no name.
        FileNotFoundError
            There is no such snapshot.
        """
        snapshot = self._snapshot(name)
        if not snapshot.exists():
            raise FileNotFoundError(name)
        await self.stop()
        self._store.return_to(snapshot)
        for job in self.records.open():
            if not self._shared.knows(job):
                self._shared.end_job(job, lost(HOST_LOST))
        self._shared = replace(self._shared, scheduler=_scheduler(self._settings))
        self._stopping = False
        self.start()

    def _snapshot(self, name: str) -> Path:
        if not _SNAPSHOT_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name: letters, digits, '-' and '_', up to 64")
        return self._settings.data / "snapshots" / f"{name}.sqlite"

    def submit(self, submissions: Sequence[Submission]) -> list[tuple[str, str]]:
        """Record submissions, all or none; they start when their turn comes.

        Returns
        -------
        list of tuple of str
            Each one's id and status.

        Raises
        ------
        InUse
            There is a workflow of a requested id, or the same id was requested twice.
        """
        wanted = [one.requested_id for one in submissions if one.requested_id]
        twice = sorted({one for one in wanted if wanted.count(one) > 1})
        if twice:
            raise InUse("duplicated", twice)
        taken = [one for one in wanted if self._store.get(one) is not None]
        if taken:
            raise InUse("already in use", taken)
        return [self._submit(one) for one in submissions]

    def _submit(self, submission: Submission) -> tuple[str, str]:
        workflow_id = submission.requested_id or str(uuid.uuid4())
        labels = {**submission.labels, "cromwell-workflow-id": f"cromwell-{workflow_id}"}
        self._lay_out(workflow_id, submission, labels)
        status = "On Hold" if submission.on_hold else "Submitted"
        facts = {"submission": stamp(), "submittedFiles": _submitted_files(submission)}
        self._store.add(
            Workflow(workflow_id, workflow_id, None, status, time.time(), facts, labels)
        )
        return workflow_id, status

    def _lay_out(self, workflow_id: str, posted: Submission, labels: dict[str, str]) -> None:
        """Put on disk what the engine will need."""
        directory = self._directory(workflow_id)
        (directory / "source").mkdir(parents=True, exist_ok=True)
        (directory / "source" / "main.wdl").write_text(posted.source)
        if posted.imports:
            (directory / "imports.zip").write_bytes(posted.imports)
        prefix = posted.options.get("aws_batch_script_bucket_prefix", "scripts/")
        what = {
            "id": workflow_id,
            "root": posted.options.get("aws_s3_root", self._settings.root),
            "script_url": f"s3://{self._settings.script_bucket}/{prefix}",
            "labels": labels if self._settings.tags else {},  # all that becomes of them are tags
            "options": posted.options,
            "inputs": posted.inputs,
            "workflow_url": posted.url,
            "runtime_defaults": self._settings.runtime_defaults,
            "memory_retry_keys": self._settings.memory_retry_keys,
            "trust_rc": self._settings.trust_rc,
            "job_limit": self._settings.job_limit,
            "call_caching": self._settings.call_caching,
        }
        (directory / "run.json").write_text(json.dumps(what))

    def abort(self, workflow_id: str) -> str | None:
        """Abort; return the status, or `None` if no such workflow is in progress."""
        workflow = self._store.get(workflow_id)
        if workflow is None or workflow.status in TERMINAL or workflow.parent:
            return None
        if workflow.status in ("On Hold", "Submitted"):
            self._store.turn(workflow_id, "Aborted")  # only the status is written: no end
            return "Aborted"
        self._store.turn(workflow_id, "Aborting")
        if workflow_id in self._engines:
            self._engines[workflow_id].terminate()
        return "Aborting"

    def terminate_job(self, job_id: str, reason: str) -> None:
        """End one job, as Batch's TerminateJob does."""
        any(engine.terminate_job(job_id, reason) for engine in self._engines.values())

    def release(self, workflow_id: str) -> bool:
        """Release a workflow that is on hold; `False` if it is not."""
        workflow = self._store.get(workflow_id)
        if workflow is None or workflow.status != "On Hold":
            return False
        return self._store.turn(workflow_id, "Submitted")

    async def _launch_waiting(self, resumed: Sequence[str]) -> None:
        for workflow_id in resumed:
            await self._launch(workflow_id)
        while not self._stopping:
            waiting = self._store.with_status("Submitted")
            if waiting and len(self._engines) < self._settings.max_workflows:
                await self._launch(waiting[0].id)
            await asyncio.sleep(max(self._settings.launch_interval, _SHORTEST_INTERVAL_S))

    async def _watch_queue(self) -> None:
        """Keep the queue blocked while chaos wants it so."""
        blocking = Blocking(self.chaos, self._shared.say_blocked)
        while not self._stopping:
            blocking.look(self._shared.scheduler)
            await asyncio.sleep(_QUEUE_INTERVAL_S)

    async def _launch(self, workflow_id: str) -> None:
        events = self._events(workflow_id, "PickedUp")
        if not self._store.turn(workflow_id, "Running", start=stamp(), **events):
            self._store.note(workflow_id, **events)
        try:
            engine = await Engine.launch(workflow_id, self._directory(workflow_id), self._shared)
        except OSError as error:
            self._end(workflow_id, "Failed", {"failures": [_failure(str(error))]})
            return
        self._engines[workflow_id] = engine
        if self._aborting(workflow_id):  # it came while the process started
            engine.terminate()
        self._go(self._follow(engine))

    async def _follow(self, engine: Engine) -> None:
        """Hear an engine out, then say how its workflow ended."""
        try:
            outcome = await engine.follow()
        finally:
            engine.kill()
            del self._engines[engine.workflow_id]
        if self._stopping:
            return
        await asyncio.sleep(self._settings.poll_lag)
        status, facts = outcome.status, outcome.facts
        if self._aborting(engine.workflow_id):
            status, facts = "Aborted", {}
        elif not status:
            why = f"The workflow's engine ended unexpectedly (exit code {outcome.exit_code})."
            status, facts = "Failed", {"failures": [_failure(why)]}
        await self._finalize(engine.workflow_id, status, facts, outcome.files)

    async def _finalize(
        self, workflow_id: str, status: str, facts: dict[str, Any], files: Sequence[str]
    ) -> None:
        """Copy what the options want copied, then end the workflow; no abort comes between."""
        options = self._options(workflow_id)
        problems = await asyncio.to_thread(
            finalizing.finalize,
            files=files,
            logs=self._streams(workflow_id),
            options=options,
            root=options.get("aws_s3_root", self._settings.root),
        )
        if problems:
            told = [*facts.get("failures", []), *map(_failure, problems)]
            status, facts = "Failed", {**facts, "failures": told}
        await self._tell_and_end(workflow_id, status, facts)
        await self._keep_log(workflow_id, options)

    def _streams(self, workflow_id: str) -> list[str]:
        """Return where the streams of all calls of a run lie, those of inner workflows too."""
        return [
            attempt.facts[stream]
            for one in self._store.of_root(workflow_id)
            for attempt in self._store.calls(one.id)
            for stream in ("stdout", "stderr")
            if stream in attempt.facts
        ]

    async def _keep_log(self, workflow_id: str, options: dict[str, Any]) -> None:
        """Store the workflow's own log once it has ended, which fails nothing any more."""
        directory = self._directory(workflow_id)
        try:
            place = await asyncio.to_thread(
                finalizing.keep_workflow_log, workflow_id, directory, options
            )
        except finalizing.NotFinalized as problem:
            _log.warning("the log of %s is not kept: %s", workflow_id, problem)
            return
        if place:
            self._store.note(workflow_id, workflowLog=place)

    async def _tell_and_end(self, workflow_id: str, status: str, facts: dict[str, Any]) -> None:
        """End a workflow that ran: post it first, where somebody wants to hear, then show it."""
        url = callbacks.address(self._options(workflow_id), self._settings.callback)
        if url:
            told = callbacks.message(workflow_id, status, facts)
            callback = callbacks.Callback(url, told, scale=self._settings.callback_pause)
            self._callbacks.add(self._go(self._call_back(workflow_id, callback)))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(callback.tried.wait(), _STATUS_LAG_S)
        self._end(workflow_id, status, facts)

    async def _call_back(self, workflow_id: str, callback: callbacks.Callback) -> None:
        """Post a workflow's end and note in its metadata whether it was taken."""
        successful = await callback.send()
        noted = {"successful": successful, "url": callback.url, "timestamp": stamp()}
        self._store.note(workflow_id, workflowCallback=noted)

    def _options(self, workflow_id: str) -> dict[str, Any]:
        workflow = self._store.get(workflow_id)
        assert workflow is not None
        options: dict[str, Any] = json.loads(workflow.facts["submittedFiles"]["options"])
        return options

    def _aborting(self, workflow_id: str) -> bool:
        workflow = self._store.get(workflow_id)
        return workflow is not None and workflow.status == "Aborting"

    def _end(self, workflow_id: str, status: str, facts: dict[str, Any]) -> None:
        """Record how a workflow ended, of whose engine nothing more will be heard."""
        self._shared.lose_jobs(workflow_id, _ABORTED if status == "Aborted" else HOST_LOST)
        facts = {**facts, **self._events(workflow_id, "Finished")}
        self._store.end(workflow_id, status, stamp(), facts)

    def _go(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._gone)
        return task

    def _gone(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._callbacks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("the server lost a workflow", exc_info=task.exception())

    def _events(self, workflow_id: str, description: str) -> dict[str, Any]:
        """Return a workflow's processing events and one more."""
        known = self._store.get(workflow_id)
        event = {
            "cromwellId": self._cromwell_id,
            "description": description,
            "timestamp": stamp(),
            "cromwellVersion": "92",
        }
        before = known.facts.get("workflowProcessingEvents", []) if known else []
        return {"workflowProcessingEvents": [*before, event]}

    def _directory(self, workflow_id: str) -> Path:
        return self._settings.data / "workflows" / workflow_id


def _scheduler(settings: Settings) -> Scheduler:
    return Scheduler(settings.vcpus, settings.memory_mib)


def _failure(message: str) -> dict[str, Any]:
    return {"message": message, "causedBy": []}


def _submitted_files(submission: Submission) -> dict[str, Any]:
    """Return what was posted, as metadata shows it: inputs, options and labels as text."""
    return {
        "workflow": submission.source,
        "workflowUrl": submission.url,
        "root": submission.root,
        "workflowType": submission.workflow_type,
        "workflowTypeVersion": submission.type_version,
        "inputs": json.dumps(submission.inputs),
        "options": json.dumps(submission.options, indent=2),
        "labels": json.dumps(submission.labels),
    }
