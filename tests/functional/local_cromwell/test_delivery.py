"""Batch's events reach the queues that the bus's rules name, and logs reach CloudWatch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dropwell_local.cromwell.serve import LocalCromwell

from .conftest import Cromwell, Start, until

SOURCE = """version 1.0
workflow w { scatter (i in [0, 1]) { call t { input: i = i } } }
task t {
  input { Int i }
  command <<< echo "words of shard ~{i}"; echo "worries of shard ~{i}" >&2; exit ~{i} >>>
  runtime { docker: "ubuntu:22.04" memory: "1 GB" }
}
"""


def rule(aws: Callable[[str], Any], name: str, pattern: dict[str, Any]) -> str:
    """Make a rule of the default bus with a queue for its target; return the queue's URL."""
    queues, events = aws("sqs"), aws("events")
    url = str(queues.create_queue(QueueName=name)["QueueUrl"])
    arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn["Attributes"]["QueueArn"]}])
    return url


def take(queues: Any, url: str) -> list[dict[str, Any]]:
    taken = []
    while messages := queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            taken.append(json.loads(message["Body"]))
            queues.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return taken


def log_of(aws: Callable[[str], Any], stream: str) -> list[str]:
    """Return the lines that a job's log has by now."""
    logs = aws("logs")
    try:
        found = logs.get_log_events(logGroupName="/aws/batch/job", logStreamName=stream)
    except logs.exceptions.ResourceNotFoundException:
        return []
    return [one["message"] for one in found["events"]]


def test_each_rules_queue_gets_what_its_pattern_wants_and_no_more(
    aws: Callable[[str], Any],
    start: Start,
    speak_to: Callable[[LocalCromwell], Cromwell],
    tmp_path: Path,
) -> None:
    batch = {"source": ["aws.batch"], "detail-type": ["Batch Job State Change"]}
    all_of_them = rule(aws, "all-batch", batch)
    failures = rule(aws, "failures", {**batch, "detail": {"status": ["FAILED"]}})
    other_queues = rule(aws, "other-queue", {"detail": {"jobQueue": [{"suffix": "/other"}]}})
    queues = aws("sqs")

    with start(tmp_path, events=("bus",)) as server:
        cromwell = speak_to(server)
        run_id = cromwell.submit(SOURCE)
        cromwell.wait(run_id)
        calls = cromwell.calls(run_id)["w.t"]
    heard = take(queues, all_of_them)

    by_job = {
        call["jobId"]: [
            one["detail"]["status"] for one in heard if one["detail"]["jobId"] == call["jobId"]
        ]
        for call in calls
    }
    assert by_job == {
        calls[0]["jobId"]: ["RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"],
        calls[1]["jobId"]: ["RUNNABLE", "STARTING", "RUNNING", "FAILED"],
    }
    assert [one["detail"]["jobId"] for one in take(queues, failures)] == [calls[1]["jobId"]]
    assert take(queues, other_queues) == []
    stream = calls[1]["logConfig"]
    lines = aws("logs").get_log_events(
        logGroupName=stream["logGroupName"], logStreamName=stream["logStreamName"]
    )["events"]
    assert [line["message"] for line in lines] == [
        "*** LOCALIZING INPUTS ***",
        "*** COMPLETED LOCALIZATION ***",
        "words of shard 1",
        "worries of shard 1",
        "*** DELOCALIZING OUTPUTS ***",
        "DELOCALIZATION RESULT: 0",
        "*** COMPLETED DELOCALIZATION ***",
        "*** EXITING WITH RETURN CODE ***",
        "1",
    ]


SLOW = """version 1.0
workflow slow { call t }
task t {
  command <<<
    echo "the first word"
    for i in 1 2 3; do sleep 2; echo "word $i"; echo "worry $i" >&2; done
    printf "no end"
  >>>
  runtime { docker: "ubuntu:22.04" memory: "1 GB" }
}
"""


def begun(cromwell: Cromwell) -> tuple[str, str]:
    """Start the slow run; return its id and its job's log stream once the job runs."""
    run_id = cromwell.submit(SLOW)
    until(lambda: "RUNNING" in [one["status"] for one in cromwell.events(run_id)])
    return run_id, cromwell.events(run_id)[-1]["container"]["logStreamName"]


def test_a_jobs_log_grows_while_it_runs_and_has_every_line_once(
    aws: Callable[[str], Any],
    start: Start,
    speak_to: Callable[[LocalCromwell], Cromwell],
    tmp_path: Path,
) -> None:
    with start(tmp_path) as server:
        cromwell = speak_to(server)
        run_id, name = begun(cromwell)

        until(lambda: "the first word" in log_of(aws, name))
        assert cromwell.status(run_id) == "Running"
        assert "no end" not in log_of(aws, name)
        assert cromwell.wait(run_id) == "Succeeded"

    told = log_of(aws, name)
    assert told[:3] == [
        "*** LOCALIZING INPUTS ***",
        "*** COMPLETED LOCALIZATION ***",
        "the first word",
    ]
    assert sorted(told[3:-5]) == [
        "no end",
        *("word 1", "word 2", "word 3"),
        *("worry 1", "worry 2", "worry 3"),
    ]
    assert told[-5:] == [
        "*** DELOCALIZING OUTPUTS ***",
        "DELOCALIZATION RESULT: 0",
        "*** COMPLETED DELOCALIZATION ***",
        "*** EXITING WITH RETURN CODE ***",
        "0",
    ]


def test_a_job_that_begins_once_more_is_logged_from_its_beginning(
    aws: Callable[[str], Any],
    start: Start,
    speak_to: Callable[[LocalCromwell], Cromwell],
    tmp_path: Path,
) -> None:
    with start(tmp_path) as server:
        cromwell = speak_to(server)
        run_id, name = begun(cromwell)

        until(lambda: "word 1" in log_of(aws, name))
        for action in ("now", "now/restore"):
            answer = cromwell.http.post(f"{cromwell.url}/dropwell/snapshots/{action}")
            answer.raise_for_status()
        assert cromwell.wait(run_id) == "Succeeded"

    told = log_of(aws, name)
    assert (told.count("the first word"), told.count("no end")) == (2, 1)
    assert told[-1] == "0"


def test_an_event_waits_for_a_queue_that_comes_later(
    aws: Callable[[str], Any],
    emulator: str,
    start: Start,
    speak_to: Callable[[LocalCromwell], Cromwell],
    tmp_path: Path,
) -> None:
    url = f"{emulator}/123456789012/late-queue"
    queues = aws("sqs")

    with start(tmp_path, events=(url,), logs=False) as server:
        cromwell = speak_to(server)
        run_id = cromwell.submit(SOURCE)
        assert cromwell.wait(run_id) == "Failed"  # jobs wait for no queue
        queues.create_queue(QueueName="late-queue")
        heard: list[dict[str, Any]] = []

        def all_heard() -> bool:
            heard.extend(take(queues, url))
            return len(heard) == 8

        until(all_heard)

    assert {one["detail"]["status"] for one in heard} == {
        "RUNNABLE",
        "STARTING",
        "RUNNING",
        "SUCCEEDED",
        "FAILED",
    }
