"""A miniwdl container backend that runs each attempt of a task as a process group of this host."""

from __future__ import annotations

import logging
import os
import re
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import WDL
from WDL.runtime.error import Terminated
from WDL.runtime.task_container import TaskContainer

from dropwell.calls import CallPlace
from dropwell_local.engine import layout, processes, scripts, store
from dropwell_local.engine.session import Failure, Session, current, failure, now

_LOG_TAIL = 64 << 10
"""Bytes of each stream that go to the job's log."""


class HostContainer(TaskContainer):  # type: ignore[misc]
    """One task's run. It holds what Batch would call a job while its outputs are stored, too."""

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
        self.job_id = ""
        self.told = False  # whether an attempt's end was told
        self._open_code: int | None = None
        self._chatter = ""

    @property
    def session(self) -> Session:
        session = current()
        if session is None:
            raise WDL.Error.RuntimeError("this backend runs only under the local Cromwell")
        return session

    @property
    def place(self) -> CallPlace:
        run = self.session.run
        assert run is not None
        return layout.place_of(run, self.call, self.try_counter)

    def url(self, key: str) -> str:
        return f"s3://{self.place.bucket}/{key}"

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
        self.asked = {name: str(value.json) for name, value in runtime_eval.items()}
        self.runtime_values.update(
            {name: value for name, value in self.asked.items() if name not in self.runtime_values}
        )

    def copy_input_files(self, logger: logging.Logger) -> None:
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
                shutil.copyfile(source, target)  # a copy: a task may not change what others read

    def _run(self, logger: logging.Logger, terminating: Callable[[], bool], command: str) -> int:
        self.job_id, self._open_code, self.told = str(uuid.uuid4()), None, False
        self._chatter = "*** LOCALIZING INPUTS ***\n"
        self._submit(command)
        if not self.session.wire.wait_for_go(self.job_id, terminating):
            self._aborted(None)
            raise Terminated(quiet=True)
        try:
            self.copy_input_files(logger)
        except store.Unreadable as error:
            self._chatter += f"{error}\n"
            self._started(os.getpid())
            return self._failed(1, exit_code=1)
        self._chatter += "*** COMPLETED LOCALIZATION ***\n"
        ending = self._execute(terminating, command)
        if ending.how is processes.How.STOPPED or terminating():
            self._aborted(143)
            raise Terminated()
        if ending.by_signal:  # the shell itself: nothing after it ran, so there is no rc file
            out = processes.OUT_OF_MEMORY if ending.how is processes.How.OUT_OF_MEMORY else ""
            return self._failed(1, exit_code=ending.exit_code, container_reason=out)
        self._store_streams(ending.exit_code)
        if not self.success_exit_code(ending.exit_code):
            return self._failed(ending.exit_code, exit_code=ending.exit_code)
        self._open_code = ending.exit_code
        return ending.exit_code

    def _submit(self, command: str) -> None:
        session, values, place = self.session, self.runtime_values, self.place
        known = [session.url_of(path) for path in self.input_path_map]
        text = scripts.batch_script(place, command, [url for url in known if url])
        script_url = session.script_url + scripts.script_name(text)
        Path(self.host_dir, "script").write_text(
            scripts.host_script(self.host_work_dir(), values.get("env", {}), command)
        )
        store.put_text(script_url, text)
        store.put_text(self.url(f"{place.root}/script"), text)
        store.put_text(self.url(f"{place.root}/reconfigured-script.sh"), text)
        vcpus, memory = values.get("cpu", 1), values.get("memory_reservation", 256 << 20)
        session.wire.expect_go(self.job_id)
        run = session.run
        assert run is not None
        session.wire.send(
            "job",
            event="submitted",
            id=self.job_id,
            call=[*self.call_key(), self.try_counter],
            facts={
                "fqn": self.call.fqn,
                "image": values.get("docker", ""),
                "vcpus": vcpus,
                "memory_mib": memory >> 20,
                "script_url": script_url,
                "tags": layout.tags_of(run, self.call, self.try_counter, session.labels),
            },
        )
        self.tell(
            executionStatus="Running",  # for Cromwell it runs from here, whatever Batch does
            backend="AWSBATCH",
            backendStatus="Initializing",
            jobId=self.job_id,
            start=now(),
            inputs=self.inputs,
            callRoot=self.url(place.root),
            stdout=self.url(place.stdout_key),
            stderr=self.url(place.stderr_key),
            commandLine=command,
            runtimeAttributes={**self.asked, "cpu": str(vcpus), "memory": f"{memory >> 20} MB"},
        )

    def _execute(self, terminating: Callable[[], bool], command: str) -> processes.Ending:
        return processes.run(
            self._argv(),
            cwd=Path(self.host_work_dir()),
            env={
                **_host_environment(),
                "AWS_BATCH_JOB_ID": self.job_id,
                "AWS_BATCH_JOB_ATTEMPT": "1",
            },
            stdout=Path(self.host_stdout_txt()),
            stderr=Path(self.host_stderr_txt()),
            memory_limit=self.runtime_values.get("memory_limit", 0),
            stop=terminating,
            started=self._started,
        )

    def _argv(self) -> list[str]:
        """Return what runs the script; a sandbox around bash would be put here."""
        return ["/bin/bash", str(Path(self.host_dir) / "script")]

    def _started(self, pid: int) -> None:
        self.session.wire.send("job", event="running", id=self.job_id, pid=pid)
        self.tell(backendStatus="Running")

    def _store_streams(self, code: int) -> None:
        """Store rc, then stderr, then stdout: Cromwell 92's order, before any output."""
        place = self.place
        store.put_text(self.url(place.rc_key), f"{code}\n")
        for path, key in (
            (Path(self.host_stderr_txt()), place.stderr_key),
            (Path(self.host_stdout_txt()), place.stdout_key),
        ):
            store.put_file(self.url(key), path)
            self.session.remember(path, self.url(key))

    def _failed(self, code: int, *, exit_code: int, container_reason: str = "") -> int:
        """End a job that failed; Cromwell reads a missing rc file as 1."""
        self._ended(False, exit_code, container_reason)
        self.fail(
            failure(
                f"Job {layout.job_tag(self.call, self.try_counter)} exited with return code {code} "
                "which has not been declared as a valid return code. See 'continueOnReturnCode' "
                "runtime attribute for more details."
            ),
            returnCode=code,
        )
        return exit_code

    def _aborted(self, exit_code: int | None) -> None:
        self._ended(False, exit_code, status_reason="cromwell abort called")
        self.tell(executionStatus="Aborted", backendStatus="Failed", end=now())

    def close(self, outputs: Mapping[str, Any]) -> None:
        """End the job of a call that is done; its outputs are stored."""
        assert self._open_code is not None
        code, self._open_code = self._open_code, None
        self._chatter += "*** COMPLETED DELOCALIZATION ***\n"
        self._ended(code == 0, code)
        self.tell(
            executionStatus="Done",
            backendStatus="Succeeded" if code == 0 else "Failed",
            returnCode=code,
            outputs=outputs,
            end=now(),
        )

    def close_incomplete(self, reason: str) -> None:
        """End the job of a call whose outputs are not there, unless its end was told.

        The script fails while it stores them: rc 0, and a container that exits with 1
        (AwsBatchJob.scala, lines 585-607). Cromwell calls that an unexpected status.
        """
        if self.told:
            return
        code, self._open_code = self._open_code or 0, None
        self._chatter += f"{reason}\n"
        self._ended(False, 1)
        text = (
            f"Job {layout.job_tag(self.call, self.try_counter)} exited with success code '{code}' "
            "but failed status 'Failed'. Suspecting spot kill and retrying."
        )
        self.fail(failure(text, failure(reason)), returnCode=code, final=True)

    def fail(self, why: Failure, *, returnCode: int, final: bool = False) -> None:
        again = not final and self.try_counter <= self.runtime_values.get("maxRetries", 0)
        if not again:
            self.session.blame(self.call.holder.workflow_id, why)
        self.tell(
            executionStatus="RetryableFailure" if again else "Failed",
            backendStatus="Failed",
            retryableFailure=again,
            returnCode=returnCode,
            failures=[why],
            end=now(),
        )

    def call_key(self) -> tuple[str, str, int]:
        return self.call.holder.workflow_id, self.call.fqn, self.call.shard

    def tell(self, **facts: Any) -> None:
        self.session.tell_call(self.call, self.try_counter, **facts)

    def _ended(
        self,
        ok: bool,
        exit_code: int | None,
        container_reason: str = "",
        status_reason: str = "Essential container in task exited",
    ) -> None:
        self.told = True
        self.session.wire.send(
            "job",
            event="ended",
            id=self.job_id,
            ok=ok,
            exit_code=exit_code,
            container_reason=container_reason,
            status_reason=status_reason,
            log=str(self._write_log()) if exit_code is not None else "",
        )

    def _write_log(self) -> Path:
        """Write what CloudWatch would show: the script's own words and the ends of both streams."""
        log = Path(self.host_dir) / f"log-{self.try_counter}.txt"
        head, mark, tail = self._chatter.partition("*** COMPLETED LOCALIZATION ***\n")
        streams = [_tail(Path(self.host_stdout_txt())), _tail(Path(self.host_stderr_txt()))]
        log.write_bytes(b"".join([(head + mark).encode(), *streams, tail.encode()]))
        return log


def _tail(path: Path) -> bytes:
    if not path.exists():
        return b""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - _LOG_TAIL))
        text = stream.read()
    return text if not text or text.endswith(b"\n") else text + b"\n"


def _host_environment() -> dict[str, str]:
    """Return what a task may see of this process's environment: no credentials, no settings."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER")
    return {name: os.environ[name] for name in kept if name in os.environ}


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
