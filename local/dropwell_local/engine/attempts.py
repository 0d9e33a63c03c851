"""One attempt of a call, which is one AWS Batch job: what it stores, tells and ends with."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dropwell_local.engine import layout, retrying, scripts, store
from dropwell_local.engine.caching import Caching
from dropwell_local.engine.endings import EXITED, Ending
from dropwell_local.engine.joblog import JobLog
from dropwell_local.engine.session import Failure, Session, failure, now
from dropwell_local.engine.strategy import Strategy


@dataclass(frozen=True)
class Asked:
    """What a call asks of Batch.

    Parameters
    ----------
    image : str
        The container image; here it is a label.
    vcpus, memory_mib : int
        The slots that the job takes.
    attributes : dict
        All runtime attributes, as text.
    strategy : Strategy
        How often Batch tries within the one job.
    timeout_s : int
        ``jobTimeout``; 0 is none.
    """

    image: str
    vcpus: int
    memory_mib: int
    attributes: dict[str, str]
    strategy: Strategy = field(default_factory=Strategy)
    timeout_s: int = 0


class Refused(Exception):
    """Batch refuses a job."""


class Attempt:
    """An attempt of a call.

    Parameters
    ----------
    session : Session
        Its run.
    call : Call
        Which call.
    number : int
        Cromwell's attempt, from 1.
    asked : Asked
        What it asks of Batch.
    stdout, stderr : Path
        The command's streams on this machine.
    caching : Caching
        What is known of the call for the cache.
    """

    def __init__(
        self,
        session: Session,
        call: layout.Call,
        number: int,
        asked: Asked,
        *,
        stdout: Path,
        stderr: Path,
        caching: Caching,
    ) -> None:
        assert session.run is not None
        self.past = session.past_of(call, number)
        self.job_id = self.past.job_id if self.past else str(uuid.uuid4())
        self.number = number
        self.place = layout.place_of(session.run, call, number)
        self._session, self._call, self._asked = session, call, asked
        self._stdout, self._stderr = stdout, stderr
        self._submitted, self._ended = self.past is not None, False
        self._code = (self.over.rc or 0) if self.over else 0
        self._rc_late = 0.0
        self.batch_attempt = self.past.batch_attempt if self.past else 1
        self.files_gone = False
        self._caching, self._stored = caching, list[str]()
        self._log = self._new_log()

    @property
    def made_in(self) -> str:
        """Return the workflow whose id the names of glob folders depend on."""
        return self._call.holder.workflow_id

    @property
    def over(self) -> Ending | None:
        """How its job ended before the server stopped, if it had; it is then told no more."""
        return self.past.ending if self.past else None

    def url(self, relative: str) -> str:
        return f"s3://{self.place.bucket}/{self.place.root}/{relative}"

    def submit(self, command: str, inputs: Mapping[str, Any], objects: list[str]) -> None:
        """Store the scripts, then submit the job.

        A job that ran when the server stopped is the same job still, and has its scripts.

        Parameters
        ----------
        inputs : mapping
            The call's, as its metadata shows them.
        objects : list of str
            What the job will localise.

        Raises
        ------
        Refused
            Batch takes no such job, and Cromwell submits it no other time.
        """
        run = self._session.run
        assert run is not None
        text = scripts.batch_script(self.place, command, objects)
        script_url = self._session.script_url + scripts.script_name(text)
        if self.past is None:
            for url in (script_url, self.url("script"), self.url("reconfigured-script.sh")):
                store.put_text(url, text)
        call, asked = self._call, self._asked
        tags = layout.tags_of(run, call, self.number, self._session.labels)
        if why := layout.against_tags(tags):
            raise Refused(f"SubmitJob: {why} (Service: Batch, Status Code: 400)")
        self._session.wire.expect_go(self.job_id)
        self._session.wire.send(
            "job",
            event="submitted",
            id=self.job_id,
            call=[call.holder.workflow_id, call.fqn, call.shard, self.number],
            facts={
                "fqn": call.fqn,
                "image": asked.image,
                "vcpus": asked.vcpus,
                "memory_mib": asked.memory_mib,
                "script_url": script_url,
                "retries": asked.strategy.attempts,
                "evaluate_on_exit": list(asked.strategy.rules),
                "timeout_s": asked.timeout_s,
                "tags": tags,
            },
        )
        self._submitted = True
        bucket = f"s3://{self.place.bucket}"
        self._tell(
            executionStatus="Running",  # for Cromwell it runs from here, whatever Batch does
            backend="AWSBATCH",
            jobId=self.job_id,
            start=now(),
            inputs=inputs,
            callRoot=f"{bucket}/{self.place.root}",
            stdout=f"{bucket}/{self.place.stdout_key}",
            stderr=f"{bucket}/{self.place.stderr_key}",
            commandLine=command,
            runtimeAttributes={
                **asked.attributes,
                "cpu": str(asked.vcpus),
                "memory": f"{asked.memory_mib} MB",
            },
            callCaching=self._caching.told(),
            **({} if self.past else {"backendStatus": "Initializing"}),
        )

    @property
    def is_open(self) -> bool:
        """Whether its job was submitted and has not ended."""
        return self._submitted and not self._ended

    def started(self, pid: int) -> None:
        self._session.wire.send("job", event="running", id=self.job_id, pid=pid)
        self._tell(backendStatus="Running")

    def localized(self) -> None:
        self._log.localized()

    def tries_again(self, ending: Ending) -> bool:
        """Let Batch try the job once more after an end, if its strategy says so.

        The next attempt waits for a place anew.
        """
        if not self._asked.strategy.tries_again(ending, self.batch_attempt):
            return False
        self._session.wire.expect_go(self.job_id)
        self._log.ended(ending)
        self._end(ending, event="retried")
        self.batch_attempt += 1
        self._log = self._new_log()
        return True

    def store_streams(self, code: int, *, rc_late: float = 0.0) -> None:
        """Store rc, then stderr, then stdout: Cromwell 92's order, before any output.

        Parameters
        ----------
        rc_late : float
            Seconds after the job's end at which the rc file is seen, not before.
        """
        self._code, self._rc_late = code, rc_late
        self._log.delocalizing()
        if not rc_late:
            self._store_rc()
        for path, url in self._streams:
            store.put_file(url, path)
            self._session.remember(path, url)

    def recall_streams(self) -> None:
        """Note where streams are that were stored before the server stopped."""
        for path, url in self._streams:
            self._session.remember(path, url)

    def feed_cache(self, work: Path) -> None:
        """Let calls like this one be copies of it, which has left all this in its folder."""
        if not self._caching.mode.write or not self._caching.hashes:
            return
        call = self._call
        self._session.wire.send(
            "cache",
            key=self._caching.key,
            entry={
                "call": f"{call.holder.workflow_id}:{call.fqn}:{call.shard}",
                "root": f"s3://{self.place.bucket}/{self.place.root}",
                "code": self._code,
                "work": str(work),
                "stdout": str(self._stdout),
                "stderr": str(self._stderr),
                "stored": [
                    *(url.rpartition("/")[2] for _, url in self._streams),
                    self.place.rc_key.rpartition("/")[2],
                    *self._stored,
                ],
            },
        )

    @property
    def _streams(self) -> tuple[tuple[Path, str], ...]:
        bucket = f"s3://{self.place.bucket}"
        return (
            (self._stderr, f"{bucket}/{self.place.stderr_key}"),
            (self._stdout, f"{bucket}/{self.place.stdout_key}"),
        )

    def store_output(self, path: Path, relative: str) -> None:
        """Store what the call made, unless that was done before the server stopped."""
        within = [one for one in path.rglob("*") if one.is_file()] if path.is_dir() else []
        self._stored += [f"{relative}/{one.relative_to(path)}" for one in within] or [relative]
        if self.over:
            self._session.remember(path, self.url(relative))
        else:
            self._session.upload(path, self.url(relative))

    def store_list(self, relative: str, text: str) -> None:
        self._stored.append(relative)
        if not self.over:
            store.put_text(self.url(relative), text)

    def _store_rc(self) -> None:
        store.put_text(f"s3://{self.place.bucket}/{self.place.rc_key}", f"{self._code}\n")

    def seen(self, ending: Ending) -> retrying.Seen:
        """Return what Cromwell sees of an end."""
        stderr = self._stderr.stat().st_size if self._stderr.exists() else 0
        return retrying.Seen(
            rc=ending.rc,
            exit_code=ending.exit_code,
            container_reason=ending.container_reason,
            stderr_bytes=0 if ending.rc is None else stderr,
        )

    def failed(self, ending: Ending, verdict: retrying.Verdict, *, again: bool) -> None:
        """End it, and say what Cromwell made of that.

        Parameters
        ----------
        again : bool
            Whether another attempt follows.
        """
        self.end(ending)
        self._fail(
            failure(verdict.message),
            verdict.code,
            backend="Succeeded" if ending.exit_code == 0 else "Failed",
            again=again,
        )

    def aborted(self, exit_code: int | None) -> None:
        """End it as Batch's TerminateJob does; `None` if it had not started."""
        self._end(Ending(exit_code=exit_code, status_reason="cromwell abort called"))
        self._tell(executionStatus="Aborted", backendStatus="Failed", end=now())

    def done(self, outputs: Mapping[str, Any]) -> None:
        """End it with its outputs stored."""
        self.end(Ending(exit_code=self._code, rc=self._code))
        self._tell(
            executionStatus="Done",
            backendStatus="Failed" if self._code else "Succeeded",
            returnCode=self._code,
            outputs=outputs,
            end=now(),
        )

    def incomplete(self, reason: str) -> None:
        """End it for an output that could not be stored, unless it had ended before.

        The script fails while it stores them: rc 0, and a container that exits with 1
        (AwsBatchJob.scala, lines 585-607). Cromwell calls that an unexpected status.
        """
        if self._ended:
            return
        if not self._submitted:
            self._fail(failure(reason), None)
            return
        if self.files_gone:
            reason = (
                "The local Cromwell was started again, and the files of this call, which had "
                f"ended, are no longer on this machine: {reason}"
            )
        self.end(Ending(exit_code=1, rc=self._code, log=(reason,)), last=True)
        text = retrying.unexpected_status(layout.job_tag(self._call, self.number), self._code)
        self._fail(failure(text, failure(reason)), self._code)

    def unreadable(self, output: str, reason: str) -> None:
        """End it for an output that is not what it is declared to be, which Batch does not see.

        Cromwell reads outputs when the job has ended, and gives no other attempt.
        """
        self.end(Ending(exit_code=self._code, rc=self._code))
        said = f"Failed to evaluate job outputs:\nBad output '{output}': {reason}"
        self._fail(failure(said), self._code, backend="Failed" if self._code else "Succeeded")

    def end(self, ending: Ending, *, last: bool = False) -> None:
        """End the job, perhaps as the last that its call is given."""
        self._log.ended(ending)
        self._end(ending, last=last)
        if self._rc_late and not self.over and ending.rc is not None:
            time.sleep(self._rc_late)
            self._store_rc()

    def _fail(
        self, why: Failure, code: int | None, *, backend: str = "Failed", again: bool = False
    ) -> None:
        if not again:
            self._session.blame(self._call.holder.workflow_id, why)
        self._tell(
            executionStatus="RetryableFailure" if again else "Failed",
            backendStatus=backend,
            retryableFailure=again,
            failures=[why],
            callCaching=self._caching.told(reusable=False),
            end=now(),
            **({} if code is None else {"returnCode": code}),
        )

    def _tell(self, **facts: Any) -> None:
        self._session.tell_call(self._call, self.number, **facts)

    def _end(self, ending: Ending, *, event: str = "ended", last: bool = False) -> None:
        self._ended = event == "ended"
        if self.over:
            return
        logged = ending.exit_code is not None  # of a machine that went away nothing more is heard
        if logged:
            self._log.finish()
        self._session.wire.send(
            "job",
            event=event,
            id=self.job_id,
            ok=ending.exit_code == 0,
            exit_code=ending.exit_code,
            container_reason=ending.container_reason,
            status_reason=ending.status_reason or EXITED,
            log=str(self._log.file) if logged else "",
            seen={"rc": ending.rc, "log": list(ending.log), "last": last},
        )

    def log_on(self) -> None:
        """Have the job's log go on, now and then."""
        if self._log.goes_on():
            self._session.wire.send("job", event="logged", id=self.job_id, log=str(self._log.file))

    def _new_log(self) -> JobLog:
        file = self._stdout.with_name(f"log-{self.number}-{self.batch_attempt}.txt")
        return JobLog(file, stdout=self._stdout, stderr=self._stderr)
