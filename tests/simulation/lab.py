"""A lab with a simulated world: bundles dropped, jobs that Batch tells of, and people who hear."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dropwell.blockages import Blockage
from dropwell.bundles import Bundle
from dropwell.calls import UNSCATTERED, CallId, place_of_rc_key
from dropwell.control import Answer, act
from dropwell.diagnosis import Bench, diagnose_jobs, diagnose_return_code
from dropwell.drops import Action, Control, Drop
from dropwell.jobs import JobStatus, Sighting
from dropwell.ledger import load
from dropwell.notices import Detail
from dropwell.polling import poll, sweep
from dropwell.ports import FailedCall
from dropwell.preflight import Checked
from dropwell.preparing import Rules
from dropwell.projects import Projects
from dropwell.records import NOTICE
from dropwell.runs import Due, Run
from dropwell.submission import Desk, submit
from dropwell.telling import Voice, tell
from dropwell.tracking import Heard, HeardBlocked, Watch, track, track_blocked
from tests.simulation.world import (
    MemoryBucket,
    MemoryBus,
    MemoryCromwell,
    MemoryJobs,
    MemoryLogs,
    MemoryQueue,
    MemoryTable,
    MemoryTopic,
    World,
)

WDL = "version 1.0\nworkflow hello { }\n"
LEASE = 150


def bundle(**files: str) -> bytes:
    """Return a zip; the same files give the same bytes."""
    folded = io.BytesIO()
    with zipfile.ZipFile(folded, "w") as archive:
        for name, text in ({"main.wdl": WDL} | files).items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return folded.getvalue()


def checked(_: Bundle) -> Checked:
    """Stand in for the WDL engine, which has no part in what is simulated."""
    return Checked(workflow="hello", version="1.0")


@dataclass(frozen=True, slots=True)
class Job:
    """One job that a run will have.

    Parameters
    ----------
    call, shard, attempt
        Which call it runs.
    return_code : int or None
        What its rc file will say; `None` if there will be none.
    reason : str
        Batch's reason if it fails.
    lasting : bool
        Whether Cromwell will let the failure stand.
    retries : int
        How often Batch itself runs it again before.
    """

    call: str
    shard: int = UNSCATTERED
    attempt: int = 1
    return_code: int | None = 0
    reason: str = ""
    lasting: bool = True
    retries: int = 0
    stderr: str = ""

    @property
    def failed(self) -> bool:
        return self.return_code != 0


@dataclass
class Lab:
    """The three functions over a world in memory."""

    world: World
    tagged: bool = True
    copies: int = 1
    spread: int = 0
    lost: float = 0.0
    projects: Projects = field(default_factory=Projects)
    plans: dict[str, tuple[Sequence[Job], str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        world = self.world
        self.table = MemoryTable(world)
        self.inbox = MemoryBucket(world, "inbox")
        self.workflows = MemoryBucket(world, "workflows")
        self.cromwell = MemoryCromwell(world)
        self.batch = MemoryJobs()
        self.mails, self.bus = MemoryTopic(world), MemoryBus(world)
        queues = {name: MemoryQueue(world, name) for name in ("drops", "sightings", "diagnoses")}
        self.desk = Desk(
            table=self.table,
            inbox=self.inbox,
            workflows=self.workflows,
            cromwell=self.cromwell,
            check=checked,
            rules=Rules(),
            lease=LEASE,
            projects=lambda: self.projects,
        )
        self.watch = Watch(
            table=self.table,
            inbox=self.inbox,
            scripts=self.workflows,
            cromwell=self.cromwell,
            jobs=self.batch,
            wakeups=queues["sightings"],
            diagnoses=queues["diagnoses"],
            drops=queues["drops"],
            visible_after=60,
        )
        self.bench = Bench(
            table=self.table,
            inbox=self.inbox,
            workflows=self.workflows,
            scripts=self.workflows,
            logs=MemoryLogs(),
        )
        self.voice = Voice(
            table=self.table,
            inbox=self.inbox,
            mails=self.mails,
            bus=self.bus,
            later=queues["diagnoses"],
            detail=Detail.STANDARD,
        )
        world.doors |= {
            "drops": self._drops,
            "sightings": self._sightings,
            "diagnoses": self._diagnoses,
            "plant": self._plant,
        }

    # The functions' doors

    def _drops(self, message: Any) -> None:
        if isinstance(message, Control):
            answer = act(
                message,
                now=self.world.now,
                table=self.table,
                inbox=self.inbox,
                cromwell=self.cromwell,
            )
            if answer is Answer.UNKNOWN_RUN:
                self.world.send("drops", message, 30)  # as its author would
            return
        if isinstance(message, Mapping):
            run = load(self.table, message["submit"])
            message = run and run.drop
        if message:
            submit(message, self.desk, now=self.world.now)

    def _sightings(self, message: Any) -> None:
        now = self.world.now
        if isinstance(message, Mapping):
            poll([message["poll"]], self.watch, now=now)
            return
        if isinstance(message, Blockage):
            tally = track_blocked([HeardBlocked("1", message)], self.table, now=now)
        else:
            tally = track([Heard("1", message)], self.watch, now=now)
        for _ in tally.failed_messages:
            self.world.send("sightings", message, 30)

    def _diagnoses(self, message: Any) -> None:
        now = self.world.now
        if isinstance(message, str):
            place = place_of_rc_key("workflows", message)
            assert place
            diagnose_return_code(place, self.bench, now=now)
        elif asked := message.get("notice"):
            tell((asked["run_id"], asked["sk"]), self.voice, now=now)
        else:
            failed = message["failed"]
            diagnose_jobs(failed["run_id"], failed["job_ids"], self.bench, now=now)

    def sweep(self) -> None:
        sweep(self.watch, now=self.world.now)

    # People

    def drop(self, name: str = "hello.zip", *, times: int = 1, project: str = "cardio") -> Drop:
        """Drop a bundle; its event arrives as many times."""
        drop = Drop(
            bucket="inbox",
            key=f"inbox/{project}/{name}",
            version_id="v1",
            size=len(bundle()),
            principal="AWS:AROA:alice",
            dropped_at=self.world.now,
        )
        self.inbox.drop(drop.key, bundle())
        for _ in range(times):
            self.world.send("drops", drop)
        self.world.send("plant", ("await", drop.run_id), 5)
        return drop

    def abort(self, drop: Drop, delay: int = 0) -> None:
        self.world.send("drops", Control(drop.project, Action.ABORT, drop.run_id), delay)

    def block(self, seen: Blockage, delay: int = 0) -> None:
        """Let Batch say that a queue is blocked."""
        self._tell("sightings", seen, delay)

    def plan(self, drop: Drop, jobs: Sequence[Job], ending: str) -> None:
        """Say what will become of a run once Cromwell has it."""
        self.plans[drop.run_id] = (jobs, ending)

    # Cromwell and Batch at work

    def _plant(self, message: Any) -> None:
        match message:
            case ("await", run_id) if run_id not in self.cromwell.accepted:
                self.world.send("plant", message, 5)
            case ("await", run_id):
                self._start(run_id)
            case ("status", run_id, status):
                if self.cromwell.now_is[run_id] not in ("Aborted", "Failed", "Succeeded"):
                    self.cromwell.now_is[run_id] = status
            case ("object", key, body):
                self.workflows.objects[key] = {"v1": body}
                if key.endswith("-rc.txt"):
                    self._tell("diagnoses", key)
            case ("job", seen):
                self.batch.known[seen.job_id] = seen
            case ("failed", run_id, call):
                self.cromwell.failed.setdefault(run_id, []).append(call)

    def _start(self, run_id: str) -> None:
        jobs, ending = self.plans.get(run_id, ([Job("say")], "Succeeded"))
        self.world.send("plant", ("status", run_id, "Running"), 20)
        for number, job in enumerate(jobs):
            self._life(run_id, job, start=20 + 7 * number + 60 * (job.attempt - 1))
        end = 20 + 7 * len(jobs) + 200
        if self.cromwell.now_is[run_id] == "Aborting":
            ending = "Aborted"
        self.world.send("plant", ("status", run_id, ending), end)

    def _life(self, run_id: str, job: Job, start: int) -> None:
        call_id = CallId(run_id, job.call, job.shard, job.attempt)
        job_id = hashlib.sha256(str(call_id).encode()).hexdigest()[:12]
        root = _root(run_id, job)
        script = f'_s3_delocalize_with_retry "/tmp/scratch/x-rc.txt" "s3://workflows/{root[1]}"\n'
        self.workflows.objects[f"scripts/{job_id}"] = {"v1": script.encode()}
        at = start
        for attempts, status in _statuses(job):
            ended = status.terminal
            seen = Sighting(
                job_id=job_id,
                job_name="hello_" + job.call,
                status=status,
                attempts=attempts,
                exit_code=job.return_code if ended else None,
                reason=job.reason if ended and job.failed else "",
                script_url=f"s3://workflows/scripts/{job_id}",
                tags=_tags(run_id, call_id) if self.tagged else (),
            )
            if ended:
                self._leave_files(job, root, at)
            self.world.send("plant", ("job", seen), at)
            if self.world.random.random() >= self.lost:
                self._tell("sightings", seen, at)
            at += 11
        if job.failed and job.lasting:
            told = FailedCall(
                fqn=f"hello.{job.call}",
                call_id=call_id,
                execution_status="Failed",
                return_code=job.return_code,
                job_id=job_id,
                messages=(f"Job hello.{job.call}:NA:1 exited with return code {job.return_code}",),
            )
            self.world.send("plant", ("failed", run_id, told), at + 5)

    def _leave_files(self, job: Job, root: tuple[str, str], at: int) -> None:
        _, rc_key = root
        if job.return_code is None:
            return
        stderr = rc_key.replace("-rc.txt", "-stderr.log")
        self.world.send("plant", ("object", stderr, job.stderr.encode()), at - 1)
        self.world.send("plant", ("object", rc_key, f"{job.return_code}\n".encode()), at - 1)

    def _tell(self, queue: str, message: Any, delay: int = 0) -> None:
        for _ in range(self.copies):
            late = self.world.random.randrange(self.spread + 1)
            self.world.send(queue, message, delay + late)

    # Looking

    @property
    def quiet(self) -> bool:
        """Whether every run has ended, every notice is said and nothing is under way."""
        runs = [item for key, item in self.table.items.items() if key[1] == "RUN"]
        return (
            bool(runs)
            and all(not item.get("due_kind") for item in runs)
            and not any(self.table.due(kind, 1 << 40, 9) for kind in Due)
            and not self.world.pending
        )

    def settle(self) -> None:
        self.world.run(sweep=self.sweep, until=lambda: self.quiet)

    def run(self, drop: Drop) -> Run:
        found = load(self.table, drop.run_id)
        assert found, "the drop is lost"
        return found

    def notices(self, drop: Drop) -> list[str]:
        """Return the kinds of notice recorded for a drop."""
        return [i["sk"].removeprefix(NOTICE) for i in self.table.query(drop.run_id, NOTICE)]

    def kept(self, *kinds: str) -> dict[tuple[str, str], dict[str, Any]]:
        """Return the items of some kinds, but fingerprints that no failure has any more."""
        return {
            key: item
            for key, item in self.table.items.items()
            if key[1].startswith(kinds) and item.get("count") != 0
        }


def _root(run_id: str, job: Job) -> tuple[str, str]:
    folder = f"cromwell-execution/hello/{run_id}/call-{job.call}"
    stem = job.call
    if job.shard != UNSCATTERED:
        folder, stem = f"{folder}/shard-{job.shard}", f"{stem}-{job.shard}"
    if job.attempt > 1:
        folder = f"{folder}/attempt-{job.attempt}"
    return folder, f"{folder}/{stem}-rc.txt"


def _statuses(job: Job) -> list[tuple[int, JobStatus]]:
    lives = []
    for attempt in range(job.retries + 1):
        lives += [(attempt, JobStatus.RUNNABLE), (attempt, JobStatus.RUNNING)]
    end = JobStatus.FAILED if job.failed else JobStatus.SUCCEEDED
    return [*lives, (job.retries + 1, end)]


def _tags(run_id: str, call_id: CallId) -> tuple[tuple[str, str], ...]:
    shard = "None" if call_id.shard == UNSCATTERED else f"Some_{call_id.shard}_"
    return (
        ("cromwell-root-workflow-id", run_id),
        ("cromwell-root-workflow-name", "hello"),
        ("cromwell-task-id", f"hello.{call_id.call}-{shard}-{call_id.attempt}"),
        ("cromwell-workflow-id", call_id.workflow_id),
    )
