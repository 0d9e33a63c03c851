"""The Batch-shaped endpoint, asked as AWS Batch is: by boto3, by the application's own reader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from dropwell.aws.batch import Jobs
from dropwell.jobs import JobStatus
from dropwell_local.cromwell.serve import LocalCromwell
from dropwell_local.emulator import CREDENTIALS

from .conftest import Cromwell, Start, until

TASK = """version 1.0
workflow one {{ call t }}
task t {{
  command <<< {command} >>>
  runtime {{ docker: "ubuntu:22.04" memory: "1 GB" {runtime} }}
}}
"""
FLAKY = 'if [ "$AWS_BATCH_JOB_ATTEMPT" = 1 ]; then echo once more; exit 9; fi'


def client(server: Cromwell) -> Any:
    return boto3.client(
        "batch",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )


@pytest.fixture(scope="module")
def batch(cromwell: Cromwell) -> Any:
    return client(cromwell)


def run(cromwell: Cromwell, command: str, runtime: str = "") -> str:
    return cromwell.submit(TASK.format(command=command, runtime=runtime))


def job_of(cromwell: Cromwell, run_id: str) -> str:
    def known() -> bool:
        calls = cromwell.metadata(run_id).get("calls", {})
        return any("jobId" in call for call in calls.get("one.t", []))

    until(known)
    return str(cromwell.calls(run_id)["one.t"][-1]["jobId"])


def test_a_job_is_described_as_the_application_reads_it(cromwell: Cromwell, batch: Any) -> None:
    run_id = run(cromwell, "exit 3")
    assert cromwell.wait(run_id) == "Failed"
    job_id = job_of(cromwell, run_id)

    (sighting,) = Jobs(batch).describe([job_id, "never-was"]).values()

    assert (sighting.job_id, sighting.status) == (job_id, JobStatus.FAILED)
    assert (sighting.exit_code, sighting.attempts) == (3, 1)
    assert ("cromwell-root-workflow-id", run_id) in sighting.tags
    assert sighting.script_url.startswith("s3://")
    (described,) = batch.describe_jobs(jobs=[job_id])["jobs"]
    assert "resourceArn" not in described["tags"]


def test_jobs_are_listed_by_queue_and_status_in_pages(cromwell: Cromwell, batch: Any) -> None:
    failed = {job_of(cromwell, run_id) for run_id in [run(cromwell, "false") for _ in range(2)]}
    pages = batch.get_paginator("list_jobs")

    def listed() -> set[str]:
        found = pages.paginate(jobQueue="dropwell", jobStatus="FAILED", maxResults=1)
        return {one["jobId"] for page in found for one in page["jobSummaryList"]}

    until(lambda: failed <= listed())
    running = batch.list_jobs(jobQueue="dropwell")["jobSummaryList"]
    assert not failed & {one["jobId"] for one in running}


def test_an_unknown_queue_is_refused_as_batch_refuses_it(batch: Any) -> None:
    with pytest.raises(ClientError, match="nowhere does not exist") as refusal:
        batch.list_jobs(jobQueue="nowhere")
    assert refusal.value.response["Error"]["Code"] == "ClientException"


def test_batch_tries_again_within_one_job(cromwell: Cromwell, batch: Any) -> None:
    run_id = run(cromwell, FLAKY, "awsBatchRetryAttempts: 3")
    assert cromwell.wait(run_id) == "Succeeded"

    (call,) = cromwell.calls(run_id)["one.t"]
    (job,) = batch.describe_jobs(jobs=[call["jobId"]])["jobs"]
    assert [one["container"].get("exitCode") for one in job["attempts"]] == [9, 0]
    assert len({one["container"]["logStreamName"] for one in job["attempts"]}) == 2
    assert job["retryStrategy"]["attempts"] == 3
    told = [(one["status"], len(one["attempts"])) for one in cromwell.events(run_id)]
    once = [("RUNNABLE", 0), ("STARTING", 0), ("RUNNING", 0)]
    again = [("RUNNABLE", 1), ("STARTING", 1), ("RUNNING", 1), ("SUCCEEDED", 2)]
    assert told == once + again
    assert call["attempt"] == 1
    assert cromwell.read(call["stdout"]) == ""


def test_a_terminated_job_says_why_and_is_not_tried_again(cromwell: Cromwell, batch: Any) -> None:
    run_id = run(cromwell, "sleep 60", "awsBatchRetryAttempts: 3")
    job_id = job_of(cromwell, run_id)
    until(lambda: "RUNNING" in [one["status"] for one in cromwell.events(run_id)])

    batch.terminate_job(jobId=job_id, reason="Too dear")

    assert cromwell.wait(run_id) == "Failed"
    (job,) = batch.describe_jobs(jobs=[job_id])["jobs"]
    assert (job["status"], job["statusReason"]) == ("FAILED", "Too dear")
    assert len(job["attempts"]) == 1
    assert not [key for key in cromwell.keys(run_id) if key.endswith("-rc.txt")]


def test_a_job_that_waits_can_be_terminated(
    start: Start,
    speak_to: Callable[[LocalCromwell], Cromwell],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with start(tmp_path_factory.mktemp("full"), vcpus=1, job_memory=0.0) as server:
        cromwell = speak_to(server)
        first = run(cromwell, "sleep 60")
        until(lambda: "RUNNING" in [one["status"] for one in cromwell.events(first)])
        second = run(cromwell, "true")
        until(lambda: "RUNNABLE" in [one["status"] for one in cromwell.events(second)])

        asked = client(cromwell)
        waiting = job_of(cromwell, second)
        asked.terminate_job(jobId=waiting, reason="Not needed")

        assert cromwell.wait(second) == "Failed"
        *_, end = cromwell.events(second)
        assert (end["status"], end["statusReason"], end["attempts"]) == ("FAILED", "Not needed", [])
        # Batch's records of what has ended do not last: here, not a moment.
        assert asked.describe_jobs(jobs=[waiting])["jobs"] == []
        assert len(asked.describe_jobs(jobs=[job_of(cromwell, first)])["jobs"]) == 1


def test_labels_are_tags_unless_a_server_tags_nothing(
    start: Start,
    speak_to: Callable[[LocalCromwell], Cromwell],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with start(tmp_path_factory.mktemp("tagless"), tags=False) as server:
        cromwell = speak_to(server)
        source = TASK.format(command="true", runtime="")
        run_id = cromwell.submit(source, labels='{"project": "cardio"}')
        assert cromwell.wait(run_id) == "Succeeded"

        (job,) = client(cromwell).describe_jobs(jobs=[job_of(cromwell, run_id)])["jobs"]
        assert (job["tags"], job["propagateTags"]) == ({}, False)
        assert {tuple(one["tags"]) for one in cromwell.events()} == {("resourceArn",)}
        assert cromwell.metadata(run_id)["labels"]["project"] == "cardio"


def test_labels_are_among_a_jobs_tags_and_its_own_win(cromwell: Cromwell, batch: Any) -> None:
    labels = '{"project": "cardio", "cromwell-workflow-name": "mine"}'
    run_id = cromwell.submit(TASK.format(command="true", runtime=""), labels=labels)
    assert cromwell.wait(run_id) == "Succeeded"

    (job,) = batch.describe_jobs(jobs=[job_of(cromwell, run_id)])["jobs"]
    assert job["tags"] == {
        "project": "cardio",
        "cromwell-workflow-name": "one",
        "cromwell-workflow-id": run_id,
        "cromwell-root-workflow-name": "one",
        "cromwell-root-workflow-id": run_id,
        "cromwell-task-id": "one.t-None-1",
    }


def test_a_label_that_is_no_tag_fails_what_is_submitted_with_it(cromwell: Cromwell) -> None:
    source = TASK.format(command="true", runtime="maxRetries: 1")
    run_id = cromwell.submit(source, labels='{"project": "hearts & minds"}')

    assert cromwell.wait(run_id) == "Failed"
    (call,) = cromwell.calls(run_id)["one.t"]
    assert call["failures"][0]["message"] == (
        'SubmitJob: "hearts & minds" is no value of a tag (Service: Batch, Status Code: 400)'
    )
    assert ("jobId" in call, call["executionStatus"]) == (False, "Failed")
    assert cromwell.events(run_id) == []
