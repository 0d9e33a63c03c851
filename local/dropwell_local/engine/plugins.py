"""miniwdl's plugins: calls and workflows are told of, outputs stored, S3 inputs fetched.

In any process that is not an engine of the local Cromwell each of them passes through.
"""

from __future__ import annotations

import logging
import shutil
import threading
import uuid
from collections.abc import Generator
from pathlib import Path
from typing import Any

import WDL
from WDL.runtime.error import OutputError, RunFailed, Terminated

from dropwell_local.engine import layout, leaving, store
from dropwell_local.engine.attempts import Attempt
from dropwell_local.engine.backend import HostContainer
from dropwell_local.engine.copies import Copy
from dropwell_local.engine.holding import Activity
from dropwell_local.engine.leaving import Leaving
from dropwell_local.engine.session import (
    Inner,
    Session,
    current,
    failed,
    failure,
    inner_scatter_names,
    now,
)

Coroutine = Generator[dict[str, Any], dict[str, Any], None]

_downloading: dict[str, threading.Lock] = {}


def task(
    cfg: Any, logger: logging.Logger, run_id_stack: list[str], run_dir: str, task: Any, **recv: Any
) -> Coroutine:
    """Follow one call from its inputs to its stored outputs."""
    session = current()
    if session is None:
        recv = yield recv
        recv = yield recv
        yield recv
        return
    _unlink_outputs(run_dir)
    with Activity(session.going) as activity:
        try:
            yield from _follow(session, run_id_stack, run_dir, task, recv)
        except Terminated:
            raise
        except Exception:
            activity.hold()
            raise


def _follow(
    session: Session, run_id_stack: list[str], run_dir: str, task: Any, recv: dict[str, Any]
) -> Coroutine:
    """Tell of a call whatever there is to tell."""
    call = session.locate(run_id_stack)
    given = session.as_urls(WDL.values_to_json(recv["inputs"]))
    called_with = recv["inputs"]
    session.tell_call(call, 1, executionStatus="QueuedInCromwell", start=now(), inputs=given)
    session.tokens.acquire()
    container: HostContainer | None = None
    try:
        recv = yield recv
        container = recv["container"]
        container.call, container.inputs = call, given
        container.leaving = leaving.expected(task, called_with)
        container.task, container.called_with = task, called_with
        if not recv["command"].strip():
            recv = {**recv, "command": ":"}  # Cromwell runs a job for an empty command, too
        recv = yield recv
        assert container.attempt is not None
        upload = _Upload(session, container.attempt, container.host_work_dir(), container.leaving)
        WDL.Value.rewrite_env_paths(recv["outputs"], upload)
        container.attempt.done(session.as_urls(WDL.values_to_json(recv["outputs"])))
        if isinstance(container.attempt, Attempt):
            container.attempt.feed_cache(Path(container.host_work_dir()))
        yield recv
    except Exception as error:
        if container is None or container.attempt is None:
            _tell_failure(session, call, error)
        else:
            reason = str(error).replace(f"{run_dir}/work/", "")
            _end(container.attempt, error, reason, task.name)
        raise
    finally:
        session.tokens.release()


def _end(attempt: Attempt | Copy, error: Exception, reason: str, task_name: str) -> None:
    """End an attempt whose outputs are not there, or not as declared."""
    output = str(getattr(error, "job_id", "")).removeprefix("decl-")
    broken = output and not isinstance(error, OutputError) and not attempt.files_gone
    if attempt.is_open and broken:
        attempt.unreadable(f"{task_name}.{output}", reason)
    else:
        attempt.incomplete(reason)


def _unlink_outputs(run_dir: str) -> None:
    """Remove the links that an engine before this one made of the outputs; they come anew."""
    shutil.rmtree(Path(run_dir) / "out", ignore_errors=True)


def _tell_failure(session: Session, call: layout.Call, error: Exception) -> None:
    """Tell of a call that ended without a job."""
    if isinstance(error, Terminated):
        session.tell_call(call, 1, executionStatus="Aborted", end=now())
        return
    why = failure(str(error))
    session.blame(call.holder.workflow_id, why)
    session.tell_call(
        call, 1, executionStatus="Failed", failures=[why], end=now(), retryableFailure=False
    )


class _Upload:
    """Stores each output file where Cromwell would."""

    def __init__(self, session: Session, attempt: Attempt | Copy, work: str, left: Leaving) -> None:
        self._session, self._attempt = session, attempt
        self._work = Path(work).resolve()
        self._globs: dict[Path, str] = {}
        for pattern in left.globs:
            self._store_list(pattern)

    def __call__(self, value: Any) -> str:
        path = Path(value.value).resolve()
        known = self._session.url_of(str(path))
        if known is None:
            inside = path.is_relative_to(self._work)
            relative = self._globs.get(path) or (
                str(path.relative_to(self._work)) if inside else path.name
            )
            self._attempt.store_output(path, relative)
        return str(value.value)

    def _store_list(self, pattern: str) -> None:
        """Give what a glob matches its folder and its ``.list``."""
        folder = layout.glob_folder(pattern, self._attempt.made_in)
        found = sorted(path for path in self._work.glob(pattern) if path.is_file())
        for path in found:
            self._globs.setdefault(path.resolve(), f"{folder}/{path.name}")
        names = "".join(f"{path.name}\n" for path in found)
        self._attempt.store_list(f"{folder}.list", names)


def workflow(
    cfg: Any,
    logger: logging.Logger,
    run_id_stack: list[str],
    run_dir: str,
    workflow: Any,
    **recv: Any,
) -> Coroutine:
    """Follow a run or a sub-workflow from its inputs to its outputs."""
    session = current()
    if session is None:
        recv = yield recv
        yield recv
        return
    _unlink_outputs(run_dir)
    session.going.moved()
    given = session.as_urls(WDL.values_to_json(recv["inputs"], namespace=workflow.name))
    holder = _enter(session, run_id_stack, workflow, given)
    session.scatters[tuple(run_id_stack)] = inner_scatter_names(workflow)
    session.holders[tuple(run_id_stack)] = holder
    try:
        recv = yield recv
        _store_leftovers(session, recv["outputs"], holder, Path(run_dir))
        outputs = session.as_urls(WDL.values_to_json(recv["outputs"], namespace=workflow.name))
        if holder is session.run:
            session.wire.send("files", files=_files_of(session, recv["outputs"]))
        session.leave(holder, "Succeeded", outputs=outputs)
        yield recv
    except Exception as error:
        cause: BaseException = error
        while isinstance(cause, RunFailed) and cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, Terminated):
            session.leave(holder, "Aborted")
        else:
            if not session.failures_of(holder.workflow_id):
                session.blame(holder.workflow_id, failure(str(cause)))
            if holder is not session.run:  # the run's own end waits for calls still running
                causes = session.failures_of(holder.workflow_id)
                session.leave(holder, "Failed", failures=[failed(causes)])
        raise


def _enter(session: Session, stack: list[str], workflow: Any, given: Any) -> layout.Holder:
    if len(stack) > 1:
        call = session.locate(stack)
        holder = layout.inner_call(
            call.holder, call.alias, call.shard, workflow.name, workflow.name
        )
        session.enter(Inner(call, holder), inputs=given)
        return holder
    session.run = layout.root_holder(session.run_id, workflow.name, session.root)
    session.wire.send(
        "workflow",
        id=session.run_id,
        parent=None,
        facts={
            "workflowName": workflow.name,
            "workflowRoot": session.run.root + "/",
            "inputs": given,
            "actualWorkflowLanguage": "WDL",
            "actualWorkflowLanguageVersion": workflow.effective_wdl_version,
        },
    )
    return session.run


def _store_leftovers(session: Session, outputs: Any, holder: layout.Holder, run_dir: Path) -> None:
    """Store output files that the workflow itself wrote, with ``write_lines()`` and its like."""

    def upload(value: Any) -> str:
        path = Path(value.value).resolve()
        if path.is_relative_to(run_dir.resolve()):
            session.upload(path, f"{holder.root}/{path.name}")
        return str(value.value)

    WDL.Value.rewrite_env_paths(outputs, upload)


def _files_of(session: Session, outputs: Any) -> list[str]:
    """Return the objects that outputs name, each once; directories Cromwell knows none."""
    found: dict[str, None] = {}

    def look(value: Any) -> str:
        url = session.url_of(value.value) or value.value
        if isinstance(value, WDL.Value.File) and url.startswith("s3://"):
            found[url] = None
        return str(value.value)

    WDL.Value.rewrite_env_paths(outputs, look)
    return list(found)


def s3_download(cfg: Any, logger: logging.Logger, uri: str, **recv: Any) -> Coroutine:
    """Fetch an input from S3 in this process, once a run.

    One that cannot be read is no failure here: on Batch it is the job that fails, while
    it localises its inputs.
    """
    session = current()
    if session is None:
        from WDL.runtime.download import awscli_downloader

        yield from awscli_downloader(cfg, logger, uri, **recv)
        return
    with Activity(session.going):
        path = _fetch(session, uri)
    session.remember(path, uri)
    yield {"outputs": {"file": str(path)}}


def _fetch(session: Session, uri: str) -> Path:
    """Return where an object lies on this machine, fetched unless it is there."""
    bucket, key = store.split(uri)
    path = session.directory / "inputs" / bucket / key
    with _downloading.setdefault(uri, threading.Lock()):
        if not path.is_file() and str(path) not in session.unreadable:
            partial = path.with_name(f".{uuid.uuid4()}")
            try:
                store.get_file(uri, partial)
                if path.is_dir():  # it could not be read before the server stopped
                    path.rmdir()
                partial.replace(path)
            except store.Unreadable as error:
                path.mkdir(parents=True, exist_ok=True)  # a place that no one can read as a file
                session.unreadable[str(path)] = f"{error}\nfailed to copy {uri} after 5 attempts."
    return path
