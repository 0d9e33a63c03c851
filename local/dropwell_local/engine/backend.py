"""A miniwdl container backend that runs each attempt of a task as a process group of this host."""

from __future__ import annotations

import logging
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import WDL
from WDL.runtime.error import Terminated
from WDL.runtime.task_container import TaskContainer

from dropwell_local.engine import endings, layout, processes, sandbox, scripts, store
from dropwell_local.engine.attempts import Asked, Attempt
from dropwell_local.engine.session import Session, current

_DEFAULT_MEMORY = 2 << 30
_SHORTEST_TIMEOUT_S = 60


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
        super().__init__(cfg, run_id, host_dir)
        self.container_dir = host_dir  # the same path inside as outside, so that links hold
        self.attempt: Attempt | None = None
        self._attributes: dict[str, str] = {}

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
        work.rename(work.with_name(f"work.attempt-{self.try_counter}"))
        super().reset(logger)

    def process_runtime(self, logger: logging.Logger, runtime_eval: dict[str, Any]) -> None:
        super().process_runtime(logger, {**runtime_eval, **_memory_like_cromwell(runtime_eval)})
        codes = runtime_eval.get("continueOnReturnCode")
        if codes is not None and "returnCodes" not in self.runtime_values:
            self.runtime_values["returnCodes"] = _return_codes(codes)
        self._attributes = {name: _text(value) for name, value in runtime_eval.items()}
        # Attributes that miniwdl does not know: accepted and shown, as Cromwell does.
        self.runtime_values.update(
            {name: one for name, one in self._attributes.items() if name not in self.runtime_values}
        )

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
        """Run one attempt of the call: one Batch job, which may try more than once."""
        self.attempt = attempt = self._submit(command)
        while True:
            code = self._try(logger, terminating, attempt)
            if code is not None:
                return code
            self._clear(attempt.batch_attempt)

    def _try(
        self, logger: logging.Logger, terminating: Callable[[], bool], attempt: Attempt
    ) -> int | None:
        """Run one Batch attempt; `None` if Batch tries the job again."""
        wire = self.session.wire
        if not wire.wait_for_go(attempt.job_id, terminating):
            if reason := wire.terminated(attempt.job_id):
                return self._lose(attempt, endings.terminated(reason, None))
            attempt.aborted(None)
            raise Terminated(quiet=True)
        fate = wire.fate_of(attempt.job_id)
        end = endings.fated(**fate["end"]) if "end" in fate else None
        if end is not None and not end.ran:
            return self._lose(attempt, end)
        try:
            self.copy_input_files(logger)
        except store.Unreadable as error:
            end = endings.not_localized(str(error))
        if end is not None and not end.began:
            attempt.started(os.getpid())
            return self._lose(attempt, end)
        attempt.localized()
        return self._command(terminating, attempt, fate, end)

    def _command(
        self,
        terminating: Callable[[], bool],
        attempt: Attempt,
        fate: Mapping[str, Any],
        end: endings.Ending | None,
    ) -> int | None:
        """Run the command until itself, an abort, a limit of Batch's or its fate ends it."""
        timeout = self._timeout
        limit = min(fate["after"] if end else math.inf, timeout or math.inf)
        deadline = time.monotonic() + limit
        reason = self.session.wire.terminated

        def stop() -> bool:
            late = time.monotonic() >= deadline
            return late or bool(reason(attempt.job_id)) or terminating()

        ending = self._execute(attempt, stop)
        if terminating():
            attempt.aborted(143)
            raise Terminated()
        if why := reason(attempt.job_id):
            return self._lose(attempt, endings.terminated(why, 143))
        if end is not None:
            return self._lose(attempt, end)
        if ending.how is processes.How.STOPPED:
            return self._lose(attempt, endings.TIMEOUT)
        if ending.how is processes.How.OUT_OF_MEMORY and ending.by_signal:
            return self._lose(attempt, endings.OUT_OF_MEMORY)
        if ending.by_signal:  # the shell itself: nothing after it ran, so there is no rc file
            return self._lose(attempt, endings.Ending(exit_code=ending.exit_code))
        if fate.get("lose_rc"):
            lost = endings.Ending(exit_code=ending.exit_code, retried=ending.exit_code != 0)
            return self._lose(attempt, lost)
        attempt.store_streams(ending.exit_code, rc_late=fate.get("rc_late", 0.0))
        if attempt.retry_after(ending.exit_code):
            return None
        if not self.success_exit_code(ending.exit_code):
            attempt.failed()
        return ending.exit_code

    def _lose(self, attempt: Attempt, end: endings.Ending) -> int | None:
        """End a Batch attempt without an rc file; return Cromwell's code if it was the last."""
        if end.retried and attempt.may_try_again:
            attempt.try_again(end)
            return None
        attempt.lost(end)
        return 1

    def _clear(self, batch_attempt: int) -> None:
        """Give Batch's next attempt a machine that knows nothing of the last one."""
        work = Path(self.host_work_dir())
        work.rename(work.with_name(f"work.attempt-{self.try_counter}.batch-{batch_attempt - 1}"))
        work.mkdir()

    def _submit(self, command: str) -> Attempt:
        values = self.runtime_values
        asked = Asked(
            image=values.get("docker", ""),
            vcpus=values.get("cpu", 1),
            memory_mib=values.get("memory_reservation", _DEFAULT_MEMORY) >> 20,
            attributes=self._attributes,
            retries=values.get("maxRetries", 0),
            batch_attempts=max(1, self._number("awsBatchRetryAttempts")),
            timeout_s=self._timeout,
        )
        self.attempt = attempt = Attempt(
            self.session,
            self.call,
            self.try_counter,
            asked,
            stdout=Path(self.host_stdout_txt()),
            stderr=Path(self.host_stderr_txt()),
        )
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
            memory_limit=self.runtime_values.get("memory_limit", 0),
            stop=terminating,
            started=attempt.started,
        )

    @property
    def _timeout(self) -> int:
        """Return ``jobTimeout``, below which Batch knows no less than a minute."""
        asked = self._number("jobTimeout")
        return max(_SHORTEST_TIMEOUT_S, asked) if asked > 0 else 0

    def _number(self, attribute: str) -> int:
        text = self._attributes.get(attribute, "0")
        return int(text) if text.isdigit() else 0

    def _argv(self) -> list[str]:
        """Return what runs the script, in a sandbox if there is one."""
        plain = ["/bin/bash", str(Path(self.host_dir) / "script")]
        bwrap = self.session.bwrap
        if not bwrap:
            return plain
        return sandbox.command_line(bwrap, folder=Path(self.host_dir), argv=plain)


def _host_environment() -> dict[str, str]:
    """Return what a task may see of this process's environment: no credentials, no settings."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER")
    return {name: os.environ[name] for name in kept if name in os.environ}


def _text(value: Any) -> str:
    return str(value.value) if isinstance(value, WDL.Value.String) else str(value)


def _memory_like_cromwell(runtime: Mapping[str, Any]) -> dict[str, Any]:
    """Read GB as GiB, as Cromwell does (MemoryUnit.java); miniwdl reads it as 10^9."""
    memory = runtime.get("memory")
    if not isinstance(memory, WDL.Value.String):
        return {}
    return {"memory": WDL.Value.String(re.sub(r"([KMGT])B?$", r"\1iB", memory.value.strip()))}


def _return_codes(value: Any) -> str | int | list[int]:
    """Read Cromwell's ``continueOnReturnCode`` as what WDL 1.1 calls ``returnCodes``."""
    if isinstance(value, WDL.Value.Array):
        return [int(item.value) for item in value.value]
    text = str(value.value).lower()
    if text in ("true", "*"):
        return "*"
    return 0 if text == "false" else int(text)
