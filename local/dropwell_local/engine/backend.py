"""A miniwdl container backend that runs each attempt of a task as a process group of this host."""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import WDL
from WDL.runtime.error import Terminated
from WDL.runtime.task_container import TaskContainer

from dropwell_local.engine import (
    attributes,
    caching,
    endings,
    layout,
    leaving,
    processes,
    retrying,
    sandbox,
    scripts,
    store,
)
from dropwell_local.engine.attempts import Asked, Attempt
from dropwell_local.engine.caching import Caching
from dropwell_local.engine.copies import Copy
from dropwell_local.engine.session import Session, current

_DEFAULT_MEMORY = 2 << 30
_NOT_FOR_MINIWDL = ("maxRetries", "preemptible")


class CallFailed(WDL.Error.RuntimeError):  # type: ignore[misc]
    """A call has failed for good; the text is Cromwell's."""


class HostContainer(TaskContainer):  # type: ignore[misc]
    """One task's run; the plugin says of which call, before the command runs."""

    call: layout.Call
    inputs: Mapping[str, Any]

    @classmethod
    def global_init(cls, cfg: Any, logger: logging.Logger) -> None:
        """Nothing to prepare: the scheduler is the server's."""

    @classmethod
    def detect_resource_limits(cls, cfg: Any, logger: logging.Logger) -> dict[str, int]:
        return {"cpu": 1 << 10, "mem_bytes": 1 << 46}  # never cut what a task asks for

    def __init__(self, cfg: Any, run_id: str, host_dir: str) -> None:
        self._before = _lay_aside(Path(host_dir) / "work")
        super().__init__(cfg, run_id, host_dir)
        self.container_dir = host_dir  # the same path inside as outside, so that links hold
        self.attempt: Attempt | Copy | None = None
        self.task: Any = None
        self.called_with: Any = None
        self._caching = Caching()
        self.leaving = leaving.Leaving()
        self._asked = attributes.Attributes()
        self._memory_factor = 1.0

    @property
    def session(self) -> Session:
        session = current()
        if session is None:
            raise WDL.Error.RuntimeError("this backend runs only under the local Cromwell")
        return session

    def host_work_dir(self) -> str:
        return str(Path(self.host_dir) / "work")  # the same for every attempt: scripts name it

    def reset(self, logger: logging.Logger) -> None:
        work = Path(self.host_work_dir())
        aside = work.with_name(f"work.attempt-{self.try_counter}")
        if aside.exists() and self.attempt and self.attempt.over:
            _discard(work)  # it was put aside before the server stopped
        else:
            _discard(aside)
            work.rename(aside)
        super().reset(logger)

    def process_runtime(self, logger: logging.Logger, runtime_eval: dict[str, Any]) -> None:
        self._asked = asked = attributes.read(runtime_eval)
        # Cromwell decides what is tried again, so miniwdl is to try nothing again.
        own = {name: one for name, one in runtime_eval.items() if name not in _NOT_FOR_MINIWDL}
        super().process_runtime(logger, {**own, **attributes.memory_like_cromwell(runtime_eval)})
        if asked.return_codes is not None:
            self.runtime_values.setdefault("returnCodes", asked.return_codes)
        # Attributes that miniwdl does not know: accepted and shown, as Cromwell does.
        for name, text in asked.shown.items():
            if name not in _NOT_FOR_MINIWDL:
                self.runtime_values.setdefault(name, text)

    def copy_input_files(self, logger: logging.Logger) -> None:
        """Copy what the command reads, so that it cannot change what others read."""
        for source, inside in self.input_path_map.items():
            source, inside = source.rstrip("/"), inside.rstrip("/")
            if source in self.session.unreadable:
                raise store.Unreadable(self.session.unreadable[source])
            target = Path(self.host_work_path(inside))
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                continue
            if Path(source).is_dir():
                shutil.copytree(source, target, symlinks=False)
            else:
                shutil.copyfile(source, target)

    def _run(self, logger: logging.Logger, terminating: Callable[[], bool], command: str) -> int:
        """Run the call: a job an attempt, until one succeeds or Cromwell gives up."""
        copy = self._look_up(command)
        if copy is not None:
            self.attempt = copy
            return copy.code
        while not terminating():
            self.attempt = attempt = self._submit(command)
            ending = attempt.over
            if ending is None:
                ending = self._job(terminating, attempt)
            else:
                self._take_over(attempt)
            verdict = self._judge(attempt, ending)
            if not verdict.message:
                return verdict.code or 0
            last = bool(attempt.past and attempt.past.last) or not verdict.retryable
            again = not last and self.try_counter <= self._asked.retries
            attempt.failed(ending, verdict, again=again)
            if not again:
                raise CallFailed(verdict.message)
            if verdict.more_memory:
                self._memory_factor *= self.session.policy.memory_factor
            self.reset(logger)
        raise Terminated(quiet=True)

    def _look_up(self, command: str) -> Copy | None:
        """Return the call as a copy of an earlier one, if the cache has one that can be copied."""
        mode = self.session.caching
        self._caching = Caching(mode)
        if not (mode.read or mode.write):
            return None
        try:
            hashes = caching.hashes_of(
                self.task,
                self.called_with,
                command=self._with_content(command),
                attributes=self._asked.shown,
                content=self.session.content_of,
            )
        except (caching.Uncacheable, store.Unreadable, OSError):
            self._caching = Caching()
            return None
        self._caching = Caching(mode, hashes, "Cache Miss" if mode.read else "")
        if not mode.read or self.session.past_of(self.call, 1) is not None:
            return None
        key = self._caching.key
        entry = self.session.wire.ask("cached", key=key)
        return None if entry is None else self._copy(key, entry)

    def _copy(self, key: str, entry: Mapping[str, Any]) -> Copy | None:
        copy = Copy(
            self.session,
            self.call,
            self._caching,
            entry,
            stdout=Path(self.host_stdout_txt()),
            stderr=Path(self.host_stderr_txt()),
        )
        try:
            copy.take(Path(self.host_work_dir()))
        except caching.Uncacheable:
            self.session.wire.send("cache", key=key, entry=None)
            _discard(Path(self.host_work_dir()))
            Path(self.host_work_dir()).mkdir()
            return None
        copy.begin(self.inputs, self._asked.shown)
        return copy

    def _with_content(self, command: str) -> str:
        """Return a command with the content of the files that it names in place of their paths."""
        for host, inside in sorted(self.input_path_map.items(), key=lambda pair: -len(pair[1])):
            if inside.rstrip("/") in command:
                if host.endswith("/"):
                    raise caching.Uncacheable(f"{host} is a directory")
                command = command.replace(inside, f"<{self.session.content_of(host)}>")
        return command.replace(self.host_work_dir(), scripts.SCRATCH)

    def _take_over(self, attempt: Attempt) -> None:
        """Put back what an attempt left that had ended when the server stopped.

        Where there is a later attempt, the folder is what that one has left.
        """
        if self.session.past_of(self.call, attempt.number + 1) is None:
            attempt.files_gone = not self._before.exists()
            if self._before.exists():
                work = Path(self.host_work_dir())
                _discard(work)
                self._before.rename(work)
        attempt.recall_streams()

    def _judge(self, attempt: Attempt, ending: endings.Ending) -> retrying.Verdict:
        return retrying.judge(
            attempt.seen(ending),
            job_tag=layout.job_tag(self.call, attempt.number),
            accepts=self.success_exit_code,
            policy=self.session.policy,
            fail_on_stderr=self._asked.fail_on_stderr,
        )

    def _job(self, terminating: Callable[[], bool], attempt: Attempt) -> endings.Ending:
        """Run a job, which Batch may try more than once; return how its last try ended.

        The job itself is ended by whoever knows whether its outputs could be stored.
        """
        _discard(self._before)
        while True:
            ending = self._try(terminating, attempt)
            if not attempt.tries_again(ending):
                return ending
            self._clear(attempt.batch_attempt)

    def _try(self, terminating: Callable[[], bool], attempt: Attempt) -> endings.Ending:
        """Run one Batch attempt."""
        wire = self.session.wire
        if not wire.wait_for_go(attempt.job_id, terminating):
            if reason := wire.terminated(attempt.job_id):
                return endings.terminated(reason, None)
            attempt.aborted(None)
            raise Terminated(quiet=True)
        fate = wire.fate_of(attempt.job_id)
        addresses = filter(None, map(self.session.url_of, self.input_path_map))
        end = endings.fated(**fate["end"], source=next(addresses, "")) if "end" in fate else None
        if end is not None and not end.ran:
            return end
        try:
            self.copy_input_files(logging.getLogger(__name__))
        except store.Unreadable as error:
            end = endings.not_localized(str(error))
        if end is not None and not end.began:
            attempt.started(os.getpid())
            return end
        attempt.localized()
        return self._command(terminating, attempt, fate, end)

    def _command(
        self,
        terminating: Callable[[], bool],
        attempt: Attempt,
        fate: Mapping[str, Any],
        end: endings.Ending | None,
    ) -> endings.Ending:
        """Run the command until itself, an abort, a limit of Batch's or its fate ends it."""
        limit = min(fate["after"] if end else math.inf, self._asked.timeout_s or math.inf)
        deadline = time.monotonic() + limit
        reason = self.session.wire.terminated

        def stop() -> bool:
            attempt.log_on()
            late = time.monotonic() >= deadline
            return late or bool(reason(attempt.job_id)) or terminating()

        ended = self._execute(attempt, stop)
        if terminating():
            attempt.aborted(143)
            raise Terminated()
        if why := reason(attempt.job_id):
            return endings.terminated(why, 143)
        if end is not None:
            return end
        if ended.how is processes.How.STOPPED:
            return endings.TIMEOUT
        if ended.how is processes.How.OUT_OF_MEMORY and ended.by_signal:
            return endings.OUT_OF_MEMORY
        if ended.by_signal:  # the shell itself: nothing after it ran, so there is no rc file
            return endings.Ending(exit_code=ended.exit_code)
        if fate.get("lose_rc"):
            return endings.Ending(exit_code=ended.exit_code)
        return self._delocalize(attempt, ended.exit_code, fate.get("rc_late", 0.0))

    def _delocalize(self, attempt: Attempt, code: int, rc_late: float) -> endings.Ending:
        """Store rc and streams, and see whether the files are there that outputs must have."""
        attempt.store_streams(code, rc_late=rc_late)
        missing = self.leaving.missing(Path(self.host_work_dir()))
        if missing:
            return endings.not_delocalized(code, (f"{scripts.SCRATCH}/{one}" for one in missing))
        return endings.Ending(exit_code=code, rc=code)

    def _clear(self, batch_attempt: int) -> None:
        """Give Batch's next attempt a machine that knows nothing of the last one."""
        work = Path(self.host_work_dir())
        aside = work.with_name(f"work.attempt-{self.try_counter}.batch-{batch_attempt - 1}")
        _discard(aside)
        work.rename(aside)
        work.mkdir()

    def _submit(self, command: str) -> Attempt:
        values = self.runtime_values
        asked = Asked(
            image=values.get("docker", ""),
            vcpus=values.get("cpu", 1),
            memory_mib=self._memory("memory_reservation", _DEFAULT_MEMORY) >> 20,
            attributes=self._asked.shown,
            strategy=self._asked.strategy,
            timeout_s=self._asked.timeout_s,
        )
        self.attempt = attempt = Attempt(
            self.session,
            self.call,
            self.try_counter,
            asked,
            stdout=Path(self.host_stdout_txt()),
            stderr=Path(self.host_stderr_txt()),
            caching=self._caching if self.try_counter == 1 else self._caching.without_read(),
        )
        if attempt.over:
            return attempt
        Path(self.host_dir, "script").write_text(
            scripts.host_script(self.host_work_dir(), values.get("env", {}), command)
        )
        known = (self.session.url_of(path) for path in self.input_path_map)
        shown = command.replace(self.host_work_dir(), scripts.SCRATCH)
        attempt.submit(shown, self.inputs, [url for url in known if url])
        return attempt

    def _execute(self, attempt: Attempt, terminating: Callable[[], bool]) -> processes.Ending:
        return processes.run(
            self._argv(),
            cwd=Path(self.host_work_dir()),
            env={
                **_host_environment(),
                processes.JOB_ID: attempt.job_id,
                "AWS_BATCH_JOB_ATTEMPT": str(attempt.batch_attempt),
            },
            stdout=Path(self.host_stdout_txt()),
            stderr=Path(self.host_stderr_txt()),
            memory_limit=self._memory("memory_limit", 0),
            stop=terminating,
            started=attempt.started,
        )

    def _memory(self, what: str, otherwise: int) -> int:
        """Return bytes, more of them after an attempt that had too few."""
        return int(self.runtime_values.get(what, otherwise) * self._memory_factor)

    def _argv(self) -> list[str]:
        """Return what runs the script, in a sandbox if there is one."""
        plain = ["/bin/bash", str(Path(self.host_dir) / "script")]
        bwrap = self.session.bwrap
        if not bwrap:
            return plain
        return sandbox.command_line(bwrap, folder=Path(self.host_dir), argv=plain)


def _lay_aside(work: Path) -> Path:
    """Move away what an engine before this one left in a call's folder; return where to.

    An engine that was ended before it came to look at that may have left an empty folder beside.
    """
    before = work.with_name("work.before")
    if work.exists():
        if before.exists():
            _discard(work)
        else:
            work.rename(before)
    return before


def _discard(folder: Path) -> None:
    """Remove a folder, or at least its name: a task may have made files that stay."""
    if folder.exists():
        gone = folder.with_name(f".gone-{uuid.uuid4()}")
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def _host_environment() -> dict[str, str]:
    """Return what a task may see of this process's environment: no credentials, no settings."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER")
    return {name: os.environ[name] for name in kept if name in os.environ}
