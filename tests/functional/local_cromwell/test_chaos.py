"""A local Cromwell that is cruel leaves what cruel days leave, and goes on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from dropwell_local.cromwell.serve import LocalCromwell

from .conftest import Cromwell, Start, until

TASK = """version 1.0
workflow one {{ call t }}
task t {{
  command <<< echo said >>>
  runtime {{ docker: "ubuntu:22.04" memory: "1 GB" {runtime} }}
}}
"""


@pytest.fixture(scope="module")
def cruel(
    start: Start,
    speak_to: Callable[[LocalCromwell], Cromwell],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cromwell]:
    with start(tmp_path_factory.mktemp("cruel"), chaos="seed=1") as server:
        yield speak_to(server)


@pytest.fixture(autouse=True)
def calm_afterwards(cruel: Cromwell) -> Iterator[None]:
    yield
    turn(cruel, "")


def turn(cruel: Cromwell, words: str) -> httpx.Response:
    return cruel.http.put(f"{cruel.url}/dropwell/chaos", content=words)


def ended(cruel: Cromwell, words: str, runtime: str = "") -> tuple[str, dict[str, Any]]:
    """Run a task under chaos; return how its workflow ended, and the last event of its job."""
    turn(cruel, words)
    run_id = cruel.submit(TASK.format(runtime=runtime))
    status = cruel.wait(run_id)
    turn(cruel, "")
    until(lambda: cruel.events(run_id)[-1]["status"] in ("SUCCEEDED", "FAILED"))
    return status, {**cruel.events(run_id)[-1], "keys": cruel.keys(run_id)}


HOST = "Host EC2 (instance i-"


@pytest.mark.parametrize(
    ("fate", "exit_code", "words", "log"),
    [
        ("spot", None, HOST, True),
        ("host", None, HOST, True),
        ("oom", 137, "OutOfMemoryError: Container killed due to memory usage", True),
        ("timeout", 137, "Job attempt duration exceeded timeout", True),
        ("disk", 1, "Essential container in task exited", True),
        ("pull", None, "CannotPullContainerError", False),
        ("localize", 1, "Essential container in task exited", True),
        ("kms", 1, "Essential container in task exited", True),
    ],
)
def test_each_fate_ends_a_job_in_batchs_words_and_without_rc(
    cruel: Cromwell, fate: str, exit_code: int | None, words: str, log: bool
) -> None:
    status, end = ended(cruel, f"{fate}=1:0.1")

    assert (status, end["status"]) == ("Failed", "FAILED")
    assert end["container"].get("exitCode") == exit_code
    assert words in f"{end['statusReason']} {end['container'].get('reason', '')}"
    assert ("logStreamName" in end["container"]) == log
    assert not [key for key in end["keys"] if key.endswith("-rc.txt")]


def test_batch_retries_a_lost_host_until_its_attempts_are_over(cruel: Cromwell) -> None:
    status, end = ended(cruel, "spot=1:0.1", "awsBatchRetryAttempts: 2")

    assert status == "Failed"
    assert [one["statusReason"].startswith(HOST) for one in end["attempts"]] == [True, True]


def test_batch_does_not_retry_what_took_too_long(cruel: Cromwell) -> None:
    _, end = ended(cruel, "timeout=1:0.1", "awsBatchRetryAttempts: 2")

    assert len(end["attempts"]) == 1


def test_cromwell_retries_as_a_new_job(cruel: Cromwell) -> None:
    turn(cruel, "spot=1:0.1")
    run_id = cruel.submit(TASK.format(runtime="maxRetries: 1"))
    assert cruel.wait(run_id) == "Failed"

    calls = cruel.calls(run_id)["one.t"]
    assert [one["executionStatus"] for one in calls] == ["RetryableFailure", "Failed"]
    assert len({one["jobId"] for one in calls}) == 2


def test_a_lost_rc_file_fails_what_had_succeeded(cruel: Cromwell) -> None:
    status, end = ended(cruel, "lose-rc=1")

    assert (status, end["status"], end["container"]["exitCode"]) == ("Failed", "SUCCEEDED", 0)
    assert not [key for key in end["keys"] if key.endswith("-rc.txt")]


def test_a_late_rc_file_comes_after_the_jobs_end(cruel: Cromwell) -> None:
    status, end = ended(cruel, "late-rc=1:0.5")

    assert (status, end["status"]) == ("Succeeded", "SUCCEEDED")
    assert end["keys"][-1] == "call-t/t-rc.txt"


def test_duplicated_events_have_one_id(cruel: Cromwell) -> None:
    turn(cruel, "duplicate=1:0.1")
    run_id = cruel.submit(TASK.format(runtime=""))
    cruel.wait(run_id)
    until(lambda: len(cruel.events(run_id)) == 8)

    lines = (cruel.data / "events.jsonl").read_text().splitlines()
    ids = Counter(
        one["id"]
        for one in map(json.loads, lines)
        if one["detail"]["tags"].get("cromwell-root-workflow-id") == run_id
    )
    assert set(ids.values()) == {2}


def test_lost_events_never_come(cruel: Cromwell) -> None:
    turn(cruel, "lose=1")
    run_id = cruel.submit(TASK.format(runtime=""))

    assert cruel.wait(run_id) == "Succeeded"
    assert cruel.events(run_id) == []


def test_late_events_are_sent_before_the_server_ends(
    start: Start,
    speak_to: Callable[[LocalCromwell], Cromwell],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with start(tmp_path_factory.mktemp("late"), chaos="delay=1:600") as server:
        cromwell = speak_to(server)
        run_id = cromwell.submit(TASK.format(runtime=""))
        assert cromwell.wait(run_id) == "Succeeded"
        assert cromwell.events(run_id) == []

    assert [one["status"] for one in cromwell.events(run_id)][-1] == "SUCCEEDED"


def test_cromwell_answers_as_told(cruel: Cromwell) -> None:
    version = f"{cruel.url}/engine/v1/version"

    turn(cruel, "error=1")
    assert cruel.http.get(version).json()["status"] == "error"
    turn(cruel, "html=1")
    answer = cruel.http.get(version)
    assert (answer.status_code, answer.headers["content-type"]) == (502, "text/html; charset=utf-8")
    turn(cruel, "down=1")
    with pytest.raises(httpx.TransportError):
        cruel.http.get(version)
    turn(cruel, "truncate=1")
    with pytest.raises(httpx.TransportError, match=r"incomplete|without sending complete"):
        cruel.http.get(version)
    turn(cruel, "")
    assert cruel.http.get(version).json() == {"cromwell": "92"}


def test_a_submission_whose_answer_breaks_off_is_taken(cruel: Cromwell) -> None:
    turn(cruel, "truncate=1")
    known = "5a5e1b0c-0000-4000-8000-000000000001"
    with pytest.raises(httpx.TransportError):
        cruel.submit(TASK.format(runtime=""), requestedWorkflowId=known)

    turn(cruel, "")
    assert cruel.wait(known) == "Succeeded"


def test_the_dial_shows_and_refuses(cruel: Cromwell) -> None:
    assert turn(cruel, "seed=4,lose=0.5").json() == {"chaos": "seed=4,lose=0.5:0"}
    refusal = turn(cruel, "spit=1")
    assert (refusal.status_code, refusal.text[:17]) == (400, "spit is not known")
    shown = cruel.http.get(f"{cruel.url}/dropwell/chaos")
    assert shown.json() == {"chaos": "seed=4,lose=0.5:0"}


def test_a_blocked_queue_starts_nothing_and_goes_on_when_it_is_over(cruel: Cromwell) -> None:
    turn(cruel, "blocked=1:60,duplicate=1:0.1")
    run_id = cruel.submit(TASK.format(runtime=""))
    until(lambda: len(cruel.blocked(run_id)) == 2)
    assert {one["status"] for one in cruel.blocked(run_id)} == {"RUNNABLE"}
    assert {one["status"] for one in cruel.events(run_id)} == {"RUNNABLE"}

    turn(cruel, "")

    assert cruel.wait(run_id) == "Succeeded"
    assert len(cruel.blocked(run_id)) == 2
