"""A queue that is blocked on purpose: shut for a window, and said of each job at its head."""

from __future__ import annotations

from pathlib import Path

import pytest

from dropwell.aws import events
from dropwell_local.cromwell.batch import Job, blocked_envelope
from dropwell_local.cromwell.blocking import REASONS, Blocking
from dropwell_local.cromwell.chaos import BLOCKAGES, Dial, parse
from dropwell_local.cromwell.scheduling import Scheduler
from dropwell_local.cromwell.settings import Settings

SETTINGS = Settings(data=Path("/nowhere"), root="s3://b/r", script_bucket="b", region="eu-west-1")


def job(name: str) -> Job:
    return Job(
        id=name,
        fqn="wf.align",
        image="debian:12",
        vcpus=1,
        memory_mib=100,
        script_url="s3://b/scripts/0f",
        tags={"cromwell-root-workflow-id": "w"},
        status="RUNNABLE",
        root="w",
    )


class Queue:
    """A queue under a dial, with what started and what was said."""

    def __init__(self, words: str) -> None:
        self.dial = Dial(parse(words))
        self.scheduler = Scheduler(1, 1000)
        self.started, self.said = list[str](), list[tuple[str, str]]()
        self.blocking = Blocking(self.dial, lambda job, why: self.said.append((job.id, why)))

    def look(self) -> None:
        self.blocking.look(self.scheduler)

    def submit(self, name: str) -> None:
        self.scheduler.submit(job(name), lambda: self.started.append(name), group="w")


@pytest.mark.parametrize("name", BLOCKAGES)
def test_nothing_starts_while_it_is_blocked_and_batch_says_why_once(name: str) -> None:
    queue = Queue(f"{name}=1:60")
    queue.look()
    queue.submit("a")
    for _ in range(3):
        queue.look()
    assert queue.started == []
    assert queue.said == [("a", REASONS[name])]

    queue.dial.turn(parse(""))
    queue.look()

    assert queue.started == ["a"]
    assert len(queue.said) == 1


def test_a_queue_in_which_nothing_waits_is_not_called_blocked() -> None:
    queue = Queue("blocked=1:60")
    queue.look()
    assert queue.said == []


def test_the_next_at_its_head_is_named_too_and_each_again_in_another_window() -> None:
    queue = Queue("blocked=1:60")
    queue.look()
    queue.submit("a")
    queue.submit("b")
    queue.look()
    queue.scheduler.leave("a")
    queue.look()
    queue.dial.turn(parse("blocked=1:61"))
    queue.look()

    assert [name for name, _ in queue.said] == ["a", "b", "b"]


@pytest.mark.parametrize("name", BLOCKAGES)
def test_the_event_is_read_as_batch_would_tell_it(name: str) -> None:
    event = blocked_envelope(job("j-1"), SETTINGS, reason=REASONS[name], at=9.9)

    assert [arn.rpartition(":")[2] for arn in event["resources"]] == [
        "job/j-1",
        "job-queue/dropwell",
    ]
    blockage = events.blockage(event)
    assert blockage is not None
    assert (blockage.queue, blockage.reason) == (SETTINGS.queue_arn, REASONS[name])
    assert (blockage.job_name, blockage.run_id, blockage.at) == ("wf_align", "w", 9)
