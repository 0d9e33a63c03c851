"""A job that has failed is a failed call, or one more attempt, as Cromwell and Batch have it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dropwell_local.cromwell.serve import LocalCromwell

from .conftest import Cromwell, Start, until
from .test_running import task

HOG = "python3 -c 'import time; x = bytearray(250 << 20); time.sleep(1)'"
AGAIN = "if [ -e ../work.attempt-1 ]; then echo 7; else BEFORE; fi"
SUSPICION = (
    "Job one.t:NA:{} exited with success code '{}' but failed status 'Failed'. "
    "Suspecting spot kill and retrying."
)


def ended(cromwell: Cromwell, source: str, **options: Any) -> tuple[str, list[Any]]:
    """Run a workflow; return how it ended and the attempts of its call."""
    run_id = cromwell.submit(source, workflowOptions=json.dumps(options))
    status = cromwell.wait(run_id)
    return status, cromwell.calls(run_id)["one.t"]


def statuses(calls: list[Any]) -> list[str]:
    return [call["executionStatus"] for call in calls]


def batch_end(cromwell: Cromwell, call: Any) -> Any:
    """Return the last event of an attempt's job, which may come after Cromwell's own word."""

    def told() -> list[Any]:
        return [one for one in cromwell.events() if one["jobId"] == call["jobId"]]

    until(lambda: told()[-1]["status"] in ("SUCCEEDED", "FAILED"))
    return told()[-1]


def test_an_accepted_return_code_that_is_not_0_fails_as_if_a_machine_was_lost(
    cromwell: Cromwell,
) -> None:
    runtime = "continueOnReturnCode: [0, 4] maxRetries: 1"
    status, calls = ended(cromwell, task("exit 4", runtime=runtime))

    assert (status, statuses(calls)) == ("Failed", ["RetryableFailure", "Failed"])
    assert calls[1]["failures"][0]["message"] == SUSPICION.format(2, 4)
    assert (calls[1]["returnCode"], calls[1]["backendStatus"]) == (4, "Failed")


def test_a_server_that_trusts_return_codes_takes_it_for_a_success(
    start: Start, speak_to: Callable[[LocalCromwell], Cromwell], tmp_path: Path
) -> None:
    with start(tmp_path, trust_rc=True, runtime_defaults={"maxRetries": 1}) as server:
        cromwell = speak_to(server)
        accepted = task("exit 4", runtime="continueOnReturnCode: [0, 4]")
        status, calls = ended(cromwell, accepted)
        assert (status, calls[0]["returnCode"]) == ("Succeeded", 4)
        assert batch_end(cromwell, calls[0])["status"] == "FAILED"

        # The server's own default of maxRetries holds, and gives way to an option.
        _, calls = ended(cromwell, task("exit 3"))
        assert statuses(calls) == ["RetryableFailure", "Failed"]
        _, calls = ended(cromwell, task("exit 3"), default_runtime_attributes={"maxRetries": 0})
        assert statuses(calls) == ["Failed"]


def test_words_on_stderr_fail_a_call_that_wants_none(cromwell: Cromwell) -> None:
    status, calls = ended(cromwell, task("echo oh >&2", runtime="failOnStderr: true"))

    assert (status, calls[0]["returnCode"]) == ("Failed", 0)
    assert calls[0]["failures"][0]["message"] == (
        "stderr for job one.t:NA:1 has length 3 and 'failOnStderr' runtime attribute was true."
    )
    assert batch_end(cromwell, calls[0])["status"] == "SUCCEEDED"
    assert calls[0]["backendStatus"] == "Succeeded"


@pytest.mark.parametrize("code", [130, 143])
def test_a_command_that_ends_as_if_aborted_is_not_tried_again(
    cromwell: Cromwell, code: int
) -> None:
    status, calls = ended(cromwell, task(f"exit {code}", runtime="maxRetries: 2"))

    assert (status, statuses(calls)) == ("Failed", ["Failed"])
    assert calls[0]["failures"][0]["message"] == "The job was aborted from outside Cromwell"
    assert cromwell.read(f"{calls[0]['callRoot']}/t-rc.txt") == f"{code}\n"


def test_a_call_short_of_memory_gets_more_for_its_next_attempt(cromwell: Cromwell) -> None:
    hog = task(HOG, runtime='memory: "200 MiB" maxRetries: 1')
    status, calls = ended(cromwell, hog, memory_retry_multiplier=2.5)

    assert (status, statuses(calls)) == ("Succeeded", ["RetryableFailure", "Done"])
    assert calls[0]["failures"][0]["message"] == (
        "stderr for job `one.t:NA:1` contained one of the `memory-retry-error-keys: "
        "[OutOfMemory,Killed]` specified in the Cromwell config. Job might have run out of memory."
    )
    assert [call["runtimeAttributes"]["memory"] for call in calls] == ["200 MB", "500 MB"]
    asked = batch_end(cromwell, calls[1])["container"]["resourceRequirements"]
    assert {"type": "MEMORY", "value": "500"} in asked


def test_more_memory_needs_both_retries_and_a_multiplier(cromwell: Cromwell) -> None:
    hog = task("exit 137", runtime='memory: "200 MiB" maxRetries: 1')
    _, calls = ended(cromwell, hog)
    assert [call["runtimeAttributes"]["memory"] for call in calls] == ["200 MB", "200 MB"]

    _, calls = ended(cromwell, task("exit 137"), memory_retry_multiplier=2)
    assert statuses(calls) == ["Failed"]


def test_a_multiplier_out_of_range_fails_the_workflow(cromwell: Cromwell) -> None:
    options = json.dumps({"memory_retry_multiplier": 100})
    run_id = cromwell.submit(task("true"), workflowOptions=options)

    assert cromwell.wait(run_id) == "Failed"
    (failure,) = cromwell.metadata(run_id)["failures"]
    assert failure["causedBy"][0]["message"].endswith("should be in the range 1.0 ≤ n ≤ 99.0")


def test_a_missing_output_is_tried_again(cromwell: Cromwell, aws: Callable[[str], Any]) -> None:
    leaving = task(
        AGAIN.replace("BEFORE", "true")
        + ' > "one.$(( 1 + 1 )).txt"; ls ../work.attempt-1 || rm *.txt',
        output='String stem = "one"  File f = "~{stem}.2.txt"',
        runtime="maxRetries: 1",
    )
    status, calls = ended(cromwell, leaving)

    assert (status, statuses(calls)) == ("Succeeded", ["RetryableFailure", "Done"])
    assert calls[0]["failures"] == [{"message": SUSPICION.format(1, 0), "causedBy": []}]
    assert batch_end(cromwell, calls[0])["container"]["exitCode"] == 1
    log = calls[0]["logConfig"]
    names = {"logGroupName": log["logGroupName"], "logStreamName": log["logStreamName"]}
    lines = [one["message"] for one in aws("logs").get_log_events(**names)["events"]]
    assert lines[-5:] == [
        "attempt 5 to copy /tmp/scratch/one.2.txt failed",
        "failed to delocalize /tmp/scratch/one.2.txt after 5 attempts.",
        "DELOCALIZATION RESULT: 1",
        "*** DELOCALIZATION FAILED ***",
        "*** EXITING WITH RETURN CODE 1***",
    ]


def test_a_command_that_fails_without_its_outputs_ends_a_container_with_1(
    cromwell: Cromwell,
) -> None:
    status, calls = ended(cromwell, task("exit 3", output='File f = "f.txt"'))

    assert (status, calls[0]["returnCode"]) == ("Failed", 3)
    assert "exited with return code 3 which" in calls[0]["failures"][0]["message"]
    assert calls[0]["failures"][0]["causedBy"] == []
    assert cromwell.read(f"{calls[0]['callRoot']}/t-rc.txt") == "3\n"
    assert batch_end(cromwell, calls[0])["container"]["exitCode"] == 1


def test_an_output_of_the_wrong_kind_fails_a_job_that_has_succeeded(cromwell: Cromwell) -> None:
    wordy = task("echo many", output="Int n = read_int(stdout())", runtime="maxRetries: 1")
    status, calls = ended(cromwell, wordy)

    assert (status, statuses(calls)) == ("Failed", ["Failed"])
    assert calls[0]["failures"][0]["message"].startswith(
        "Failed to evaluate job outputs:\nBad output 't.n': "
    )
    assert batch_end(cromwell, calls[0])["status"] == "SUCCEEDED"
    assert (calls[0]["returnCode"], calls[0]["backendStatus"]) == (0, "Succeeded")


def test_batch_tries_again_only_what_the_strategy_says(cromwell: Cromwell) -> None:
    rules = '[{"onExitCode": "7*", "action": "retry"}, {"onReason": "*", "action": "EXIT"}]'
    runtime = f"awsBatchRetryAttempts: 3 awsBatchEvaluateOnExit: {rules}"
    _, calls = ended(cromwell, task("exit 1", runtime=runtime))
    assert len(batch_end(cromwell, calls[0])["attempts"]) == 1

    _, calls = ended(cromwell, task("exit 70", runtime=runtime))
    end = batch_end(cromwell, calls[0])
    assert [one["container"]["exitCode"] for one in end["attempts"]] == [70, 70, 70]
    assert end["retryStrategy"] == {
        "attempts": 3,
        "evaluateOnExit": [
            {"onExitCode": "7*", "action": "RETRY"},
            {"onReason": "*", "action": "EXIT"},
        ],
    }


def test_a_strategy_that_there_is_none_of_fails_the_call_before_it_runs(
    cromwell: Cromwell,
) -> None:
    status, calls = ended(cromwell, task("true", runtime="awsBatchRetryAttempts: 11"))

    assert (status, "jobId" in calls[0]) == ("Failed", False)
    assert calls[0]["failures"][0]["message"] == (
        "Runtime attribute validation failed:\n"
        "Expecting awsBatchRetryAttempts runtime attribute value lower than or equal to 10"
    )


def test_globs_whose_patterns_are_put_together_have_their_folder(cromwell: Cromwell) -> None:
    source = task(
        "mkdir p; echo 1 > p/a.part; echo 2 > p/b.part",
        output='String end = "part"  Array[File] parts = glob("p/*." + end)',
    )
    status, calls = ended(cromwell, source)

    assert status == "Succeeded"
    first = calls[0]["outputs"]["parts"][0]
    assert first.rpartition("/")[0].rpartition("/")[2].startswith(".glob-")
    assert cromwell.read(f"{first.rpartition('/')[0]}.list") == "a.part\nb.part\n"
