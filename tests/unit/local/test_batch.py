"""The emulated Batch: turns, and what its events say to the application's own reader."""

from __future__ import annotations

import json
from pathlib import Path

from dropwell.aws import events
from dropwell.jobs import JobStatus
from dropwell_local.cromwell import batch
from dropwell_local.cromwell.settings import Settings, parse
from dropwell_local.cromwell.store import Store

SETTINGS = Settings(data=Path("/nowhere"), root="s3://b/r", script_bucket="b", region="eu-west-1")


def job(name: str, vcpus: int = 1, memory_mib: int = 100) -> batch.Job:
    return batch.Job(
        id=name,
        fqn="wf.align",
        image="quay.io/bio/bwa:0.7",
        vcpus=vcpus,
        memory_mib=memory_mib,
        script_url="s3://b/scripts/0f",
        tags={"cromwell-workflow-id": "w"},
        created_at=1000,
    )


def test_an_ended_job_is_read_as_batch_would_tell_it() -> None:
    ended = job("j-1")
    ended.status, ended.started_at, ended.stopped_at = "FAILED", 2000, 3000
    ended.exit_code, ended.log_stream = 137, "def/default/0f"
    ended.status_reason = "Essential container in task exited"
    ended.container_reason = "OutOfMemoryError: Container killed due to memory usage"

    sighting = events.sighting(json.dumps(batch.envelope(ended, SETTINGS, at=9.9)))

    assert sighting.status is JobStatus.FAILED
    assert (sighting.job_id, sighting.job_name, sighting.attempts) == ("j-1", "wf_align", 1)
    assert (sighting.exit_code, sighting.container_reason) == (137, ended.container_reason)
    assert sighting.script_url == "s3://b/scripts/0f"
    assert ("cromwell-workflow-id", "w") in sighting.tags
    assert (sighting.vcpus, sighting.memory_mib) == ("1", 100)


def test_the_envelopes_time_has_whole_seconds() -> None:
    assert batch.envelope(job("j"), SETTINGS, at=9.9)["time"] == "1970-01-01T00:00:09Z"


def test_a_waiting_job_has_neither_attempts_nor_times() -> None:
    waiting = job("j")
    waiting.status = "RUNNABLE"

    detail = batch.envelope(waiting, SETTINGS, at=0)["detail"]

    assert detail["attempts"] == []
    assert not {"startedAt", "stoppedAt", "statusReason"} & detail.keys()
    assert not {"exitCode", "reason", "logStreamName"} & detail["container"].keys()


def test_a_job_whose_host_was_lost_has_no_exit_code() -> None:
    lost = job("j")
    lost.status, lost.started_at, lost.stopped_at = "FAILED", 1, 2
    lost.status_reason = "Host EC2 (instance i-1) terminated."

    (attempt,) = batch.envelope(lost, SETTINGS, at=0)["detail"]["attempts"]

    assert "exitCode" not in attempt["container"]
    assert attempt["statusReason"] == lost.status_reason


def test_older_cromwells_set_no_tags() -> None:
    old = parse(["--data=/d", "--root=s3://b/r", "--script-bucket=b", "--no-tags"])

    detail = batch.envelope(job("j"), old, at=0)["detail"]

    assert detail["tags"].keys() == {"resourceArn"}
    assert detail["propagateTags"] is False


def test_settings_survive_the_command_line() -> None:
    settings = Settings(
        data=Path("/d"),
        root="s3://b/r",
        script_bucket="b",
        tags=False,
        logs=False,
        events=("bus", "/tmp/events.jsonl"),
        poll_lag=0.25,
        vcpus=3,
        memory_mib=77,
    )

    assert parse(settings.arguments()) == settings


def test_a_job_that_is_tried_again_keeps_its_attempts() -> None:
    tried = job("j")
    tried.status, tried.started_at, tried.stopped_at = "RUNNING", 1, 2
    tried.status_reason = "Host EC2 (instance i-1) terminated."
    tried.try_again()
    tried.status = "RUNNABLE"

    detail = batch.description(tried, SETTINGS)

    assert [one["statusReason"] for one in detail["attempts"]] == [
        "Host EC2 (instance i-1) terminated."
    ]
    assert not {"startedAt", "stoppedAt", "statusReason"} & detail.keys()


def test_a_job_without_a_container_has_an_attempt_that_says_why() -> None:
    refused = job("j")
    refused.status, refused.stopped_at = "FAILED", 2
    refused.container_reason = "CannotPullContainerError: not found"

    (attempt,) = batch.description(refused, SETTINGS)["attempts"]

    assert attempt["container"]["reason"] == refused.container_reason
    assert "startedAt" not in attempt


def test_batch_forgets_jobs_some_time_after_their_end(tmp_path: Path) -> None:
    now = [0.0]
    store = Store(tmp_path / "cromwell.sqlite")
    records = batch.Records(store, 10, clock=lambda: now[0])
    ended = job("ended")
    ended.status, ended.stopped_at = "SUCCEEDED", 0
    records.save(ended)
    records.save(job("running"))

    now[0] = 9.9
    assert records.get("ended") == ended
    now[0] = 10.0
    assert [one.id for one in records] == ["running"]
    store.close()
