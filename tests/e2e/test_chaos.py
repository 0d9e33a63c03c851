"""Under chaos every run ends in the right state, told once; a few of the seeds that a person runs.

`python -m dropwell_local.chaos_trial 1-50` runs all of them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from dropwell.aws import events
from dropwell_local.chaos_trial import QUICK, trial, turn
from dropwell_local.stack import LocalStack, local_stack
from tests.e2e.inbox import Inbox, eventually

EVENTS = "events.jsonl"
"""Where Batch's events are written as well, beside the session's folder."""

FOUR = """\
version 1.0
workflow four { scatter (i in range(4)) { call t { input: i = i } } }
task t {
  input { Int i }
  command <<< sleep 1; echo ~{i} >>>
  runtime { docker: "debian:12" memory: "64 MB" }
}
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Run a stack of these tests' own: its Cromwell is in a hurry, and cruel."""
    work = tmp_path_factory.mktemp("chaos")
    settings = {**QUICK, "events": ("bus", str(work / EVENTS))}
    with local_stack(work, cromwell=settings) as stack:
        yield stack


@pytest.mark.parametrize("seed", [2, 5])
def test_every_run_ends_in_the_right_state_told_once(stack: LocalStack, seed: int) -> None:
    tried = trial(stack, seed)

    assert tried.problems == []
    assert tried.states["chaos_refused"] == "REJECTED"


def test_a_blocked_queue_is_told_of_once_for_each_reason_and_its_jobs_go_on(
    stack: LocalStack,
) -> None:
    inbox = Inbox(stack)

    def blocked_jobs(code: str) -> set[str]:
        return {event["detail"]["jobId"] for event in blocked(stack) if code in reason_of(event)}

    turn(stack, "blocked=1:60,duplicate=1:0.1")
    runs = [inbox.drop("four", {"main.wdl": FOUR}), inbox.drop("four-more", {"main.wdl": FOUR})]
    eventually(lambda: len(blocked_jobs("CAPACITY")) == 1, within=60, what="a blocked queue")
    turn(stack, "")
    first = blocked_jobs("CAPACITY")
    eventually(lambda: first <= ended_jobs(stack), within=60, what="the end of the first job")
    turn(stack, "blocked=1:60,duplicate=1:0.1")
    runs.append(inbox.drop("four-again", {"main.wdl": FOUR}))
    eventually(lambda: len(blocked_jobs("CAPACITY")) == 2, within=60, what="another job")
    turn(stack, "misconfigured=1:60")
    eventually(lambda: blocked_jobs("MISCONFIGURATION"), within=60, what="another reason")
    turn(stack, "")

    assert [inbox.end_of(run_id) for run_id in runs] == ["COMPLETE"] * 3
    seen = [blockage for event in blocked(stack) if (blockage := events.blockage(event))]
    assert len(seen) >= 5, "two jobs, each told of twice, and one for the other reason"
    assert len({one.code for one in seen}) == 2
    told = [
        mail.attributes["notice_id"] for mail in stack.mails() if "Queue blocked" in mail.subject
    ]
    assert sorted(told) == sorted({one.notice_id for one in seen})


def blocked(stack: LocalStack) -> list[dict[str, Any]]:
    return [one for one in sent(stack) if one["detail-type"] == "Batch Job Queue Blocked"]


def reason_of(event: dict[str, Any]) -> str:
    return str(event["detail"]["statusReason"])


def ended_jobs(stack: LocalStack) -> set[str]:
    details = (event["detail"] for event in sent(stack))
    return {one["jobId"] for one in details if one["status"] == "SUCCEEDED"}


def sent(stack: LocalStack) -> list[dict[str, Any]]:
    """Return every event of Batch's so far."""
    file = stack.folder.parent / EVENTS
    whole, _, _ = file.read_text().rpartition("\n") if file.exists() else ("", "", "")
    return [json.loads(line) for line in whole.splitlines()]


def test_the_functions_ask_the_local_batch(stack: LocalStack) -> None:
    watcher = stack.outputs["StatusWatcherFunction"]
    stack.client("lambda").invoke(FunctionName=watcher, Payload=b"{}")  # a sweep
    asked = set()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            environment = process.environ()
            ours = environment.get("AWS_ENDPOINT_URL") == stack.url
            if ours and "AWS_LAMBDA_FUNCTION_NAME" in environment:
                asked.add(environment.get("AWS_ENDPOINT_URL_BATCH"))
    assert asked == {stack.cromwell_url}
