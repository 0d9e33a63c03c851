"""Who may start: slots are never given twice, and workflows take turns at them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial

from hypothesis import given
from hypothesis import strategies as some

from dropwell_local.cromwell.batch import Job
from dropwell_local.cromwell.scheduling import Scheduler

SIZE = (4, 1000)


def job(name: str, vcpus: int = 1, memory_mib: int = 100, *, workflow: str = "w") -> Job:
    return Job(
        id=name,
        fqn="wf.align",
        image="debian:12",
        vcpus=vcpus,
        memory_mib=memory_mib,
        script_url="s3://b/scripts/0f",
        tags={},
        root=workflow,
    )


def started(size: tuple[int, int], *jobs: Job) -> tuple[Scheduler, list[str]]:
    scheduler, names = Scheduler(*size), list[str]()
    for one in jobs:
        scheduler.submit(one, partial(names.append, one.id), group=one.root)
    return scheduler, names


def test_jobs_of_a_workflow_start_in_turn_as_slots_come_free() -> None:
    scheduler, names = started((2, 1000), job("a"), job("b"), job("c"), job("d"))
    assert names == ["a", "b"]

    scheduler.leave("b")

    assert names == ["a", "b", "c"]


def test_memory_is_a_slot_too() -> None:
    _, names = started((8, 1000), job("a", memory_mib=700), job("b", memory_mib=400))

    assert names == ["a"]


def test_a_job_larger_than_the_machine_runs_alone() -> None:
    scheduler, names = started((2, 1000), job("big", vcpus=64), job("small"))
    assert names == ["big"]

    scheduler.leave("big")

    assert names == ["big", "small"]


def test_a_job_that_leaves_the_queue_gives_its_turn_away() -> None:
    scheduler, names = started((1, 1000), job("a"), job("b"), job("c"))

    scheduler.leave("b")
    scheduler.leave("a")

    assert names == ["a", "c"]


def test_a_small_workflow_does_not_wait_for_a_wide_one() -> None:
    wide = [job(f"wide-{number}", workflow="wide") for number in range(5)]
    scheduler, names = started(
        (1, 1000), *wide, job("x", workflow="small"), job("y", workflow="small")
    )

    for _ in range(4):
        scheduler.leave(names[-1])

    assert names == ["wide-0", "wide-1", "x", "wide-2", "y"]


def test_nobody_overtakes_the_large_job_whose_turn_it_is() -> None:
    scheduler, names = started((2, 1000), job("a"), job("large", vcpus=2, workflow="other"))
    scheduler.submit(job("b"), lambda: names.append("b"), group="w")
    assert names == ["a"]

    scheduler.leave("a")

    assert names == ["a", "large"]


def test_while_the_queue_is_shut_none_starts_and_its_head_is_known() -> None:
    scheduler, names = started(SIZE)
    scheduler.open(False)
    scheduler.submit(job("a"), lambda: names.append("a"), group="w")
    assert names == []
    assert scheduler.head is not None
    assert scheduler.head.id == "a"

    scheduler.open(True)

    assert names == ["a"]
    assert scheduler.head is None


@dataclass
class Watched:
    """A scheduler, and a model of what waits and runs that it is held to at every step."""

    scheduler: Scheduler = field(default_factory=lambda: Scheduler(*SIZE))
    waiting: dict[str, list[Job]] = field(default_factory=lambda: defaultdict(list))
    running: dict[str, Job] = field(default_factory=dict)
    passed_over: dict[str, set[str]] = field(default_factory=dict)
    """Of each workflow: who waited when it last got slots, and has got none since."""
    ever: set[str] = field(default_factory=set)

    def submit(self, one: Job) -> None:
        self.waiting[one.root].append(one)
        self.scheduler.submit(one, lambda: self.start(one), group=one.root)

    def start(self, one: Job) -> None:
        assert self.waiting[one.root].pop(0) is one, "first come, first served in a workflow"
        assert one.id not in self.ever, "a job starts once"
        assert not self.passed_over.get(one.root), "others have waited all the while"
        self.ever.add(one.id)
        self.running[one.id] = one
        self.got_slots(one.root)
        taken = [(min(had.vcpus, SIZE[0]), min(had.memory_mib, SIZE[1])) for had in self.held]
        assert sum(vcpus for vcpus, _ in taken) <= SIZE[0], "overcommitted"
        assert sum(memory for _, memory in taken) <= SIZE[1], "overcommitted"

    @property
    def held(self) -> list[Job]:
        return list(self.running.values())

    def got_slots(self, workflow: str) -> None:
        for others in self.passed_over.values():
            others.discard(workflow)
        self.passed_over[workflow] = {
            other for other, jobs in self.waiting.items() if jobs and other != workflow
        }

    def leave(self, one: Job) -> None:
        waited = self.waiting[one.root]
        if one in waited:
            waited.remove(one)
        if not waited:  # who waits no more is not passed over
            for others in self.passed_over.values():
                others.discard(one.root)
        self.running.pop(one.id, None)
        self.scheduler.leave(one.id)

    def check(self) -> None:
        head = self.scheduler.head
        assert (head is None) == (not any(self.waiting.values()))
        if head is not None:
            assert self.running, "slots are free, and a job waits"


@dataclass(frozen=True)
class Step:
    """A job is submitted, or one of those that are there leaves."""

    submits: bool
    workflow: str
    vcpus: int
    memory_mib: int
    which: int


STEPS = some.lists(
    some.builds(
        Step,
        submits=some.booleans(),
        workflow=some.sampled_from("abc"),
        vcpus=some.integers(1, 6),
        memory_mib=some.sampled_from([50, 300, 900, 5000]),
        which=some.integers(0, 99),
    ),
    max_size=60,
)


@given(STEPS)
def test_no_slot_is_given_twice_and_no_workflow_starves(steps: list[Step]) -> None:
    watched, number = Watched(), 0
    for step in steps:
        there = [*watched.held, *(one for jobs in watched.waiting.values() for one in jobs)]
        if step.submits:
            number += 1
            asked = job(str(number), step.vcpus, step.memory_mib, workflow=step.workflow)
            watched.submit(asked)
        elif there:
            watched.leave(there[step.which % len(there)])
        watched.check()

    while watched.running:
        watched.leave(watched.held[0])
        watched.check()

    assert not any(watched.waiting.values()), "in the end every job has had its turn"
