"""The AWS events we accept, as the wire spells them, and what they say in our words.

Parsed by hand: the watcher reads thousands of these a minute, and neither S3 nor
Batch promises that fields will not be added or left out. Only what identifies an
event is insisted upon.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus

from dropwell.blockages import Blockage
from dropwell.errors import BadEvent
from dropwell.jobs import JobStatus, Sighting

Json = Any
"""A value as `json.loads` gives it; nothing about it is taken for granted."""

_STATE_CHANGE = "Batch Job State Change"
_QUEUE_BLOCKED = "Batch Job Queue Blocked"
_NONE: Mapping[str, Json] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSeen:
    """An object that was written to a bucket.

    Parameters
    ----------
    bucket, key : str
        Where; the key as it is, not as S3 notifications encode it.
    version_id : str or None
        `None` where the bucket keeps no versions.
    size : int
        Bytes.
    etag, sequencer : str
        The latter orders the events of one key (hexadecimal).
    principal : str
        Who wrote it, in AWS's words; empty if not told.
    source_ip : str
        From where; empty if not told.
    event_time : int
        Seconds since 1970; 0 if not told.
    """

    bucket: str
    key: str
    version_id: str | None = None
    size: int = 0
    etag: str = ""
    sequencer: str = ""
    principal: str = ""
    source_ip: str = ""
    event_time: int = 0


def message(body: str) -> Mapping[str, Json]:
    """Return the JSON object that the body of a message is.

    Raises
    ------
    BadEvent
        If it is none.
    """
    return _object(body, "JSON message")


def drops(body: str | Mapping[str, Json]) -> list[ObjectSeen]:
    """Return the objects that one message of S3's own notifications tells of.

    Parameters
    ----------
    body : str or mapping
        Of the SQS message, in JSON or already read. S3 sends an ``s3:TestEvent``
        when the notification is set up; it, and anything but a creation, tells
        of none.

    Raises
    ------
    BadEvent
        If it is no S3 notification, or one without bucket and key.

    Notes
    -----
    In these notifications keys are URL-encoded, with ``+`` for a space
    (Amazon S3 user guide, *Event message structure*).
    """
    notification = _object(body, "S3 notification")
    if notification.get("Event") == "s3:TestEvent":
        return []
    records = notification.get("Records")
    if not isinstance(records, list):
        raise BadEvent("The message is no S3 notification: it has no Records.")
    return [
        _object_of_record(record)
        for record in map(_mapping, records)
        if _text(record.get("eventName")).removeprefix("s3:").startswith("ObjectCreated")
    ]


def object_created(body: str | Mapping[str, Json]) -> ObjectSeen:
    """Return the object that an EventBridge event *Object Created* tells of.

    Parameters
    ----------
    body : str or mapping
        The event, in JSON or already read. Here keys are not encoded.

    Raises
    ------
    BadEvent
        If it is no such event, or one without bucket and key.
    """
    event = _object(body, "Object Created event")
    if event.get("detail-type") != "Object Created":
        raise BadEvent(f"Not an Object Created event, but {event.get('detail-type')!r}.")
    detail = _mapping(event.get("detail"))
    written = _mapping(detail.get("object"))
    return ObjectSeen(
        bucket=_identity(_mapping(detail.get("bucket")).get("name"), "bucket"),
        key=_identity(written.get("key"), "key"),
        version_id=_version(written.get("version-id")),
        size=_whole(written.get("size")) or 0,
        etag=_text(written.get("etag")),
        sequencer=_text(written.get("sequencer")),
        principal=_text(detail.get("requester")),
        source_ip=_text(detail.get("source-ip-address")),
        event_time=_seconds(event.get("time")),
    )


def sighting(body: str | Mapping[str, Json]) -> Sighting | None:
    """Return what a *Batch Job State Change* says of its job, `None` for any other event.

    Parameters
    ----------
    body : str or mapping
        The EventBridge event, in JSON or already read.

    Raises
    ------
    BadEvent
        If it names no job, or a status that Batch does not have.
    """
    event = _object(body, "event")
    if event.get("detail-type") != _STATE_CHANGE:
        return None
    return job_sighting_of_description(_mapping(event.get("detail")))


def blockage(body: str | Mapping[str, Json]) -> Blockage | None:
    """Return what a *Batch Job Queue Blocked* says of its queue, `None` for any other event.

    Parameters
    ----------
    body : str or mapping
        The EventBridge event, in JSON or already read.

    Raises
    ------
    BadEvent
        If it names no queue.

    Notes
    -----
    Its detail is the description of the job at the head of the queue (AWS Batch
    user guide, *Job queue blocked events*).
    """
    event = _object(body, "event")
    if event.get("detail-type") != _QUEUE_BLOCKED:
        return None
    job = _mapping(event.get("detail"))
    head = job_sighting_of_description(job)
    return Blockage(
        queue=_identity(job.get("jobQueue"), "jobQueue"),
        reason=_text(job.get("statusReason")),
        at=_seconds(event.get("time")),
        job_name=head.job_name,
        vcpus=head.vcpus,
        memory_mib=head.memory_mib,
        run_id=dict(head.tags).get("cromwell-root-workflow-id", ""),
    )


def job_sighting_of_description(job: Mapping[str, Json]) -> Sighting:
    """Return what Batch's description of a job says: DescribeJobs' JobDetail, or an event's detail.

    What the job itself does not tell is taken from its last attempt: between two
    attempts, or after its host was lost, only that knows why.

    Parameters
    ----------
    job : mapping
        https://docs.aws.amazon.com/batch/latest/APIReference/API_JobDetail.html

    Raises
    ------
    BadEvent
        See `sighting`.
    """
    container = _mapping(job.get("container"))
    attempts = _list(job.get("attempts"))
    last = _mapping(attempts[-1]) if attempts else _NONE
    last_container = _mapping(last.get("container"))
    exit_code = _whole(container.get("exitCode"))
    needs = {
        _text(need.get("type")): _text(need.get("value"))
        for need in map(_mapping, _list(container.get("resourceRequirements")))
    }
    return Sighting(
        job_id=_identity(job.get("jobId"), "jobId"),
        status=_status(job.get("status")),
        attempts=len(attempts),
        job_name=_text(job.get("jobName")),
        queue=_text(job.get("jobQueue")),
        exit_code=_whole(last_container.get("exitCode")) if exit_code is None else exit_code,
        reason=_text(job.get("statusReason")) or _text(last.get("statusReason")),
        container_reason=_text(container.get("reason")) or _text(last_container.get("reason")),
        log_stream=_text(container.get("logStreamName"))
        or _text(last_container.get("logStreamName")),
        created_at=_whole(job.get("createdAt")),
        started_at=_whole(job.get("startedAt")),
        stopped_at=_whole(job.get("stoppedAt")),
        vcpus=needs.get("VCPU") or str(_whole(container.get("vcpus")) or ""),
        memory_mib=_mib(needs.get("MEMORY")) or _whole(container.get("memory")),
        image=_text(container.get("image")),
        script_url=_environment(container).get("BATCH_FILE_S3_URL", ""),
        tags=tuple(sorted(_tags(job))),
    )


def is_cromwell(body: str | Mapping[str, Json]) -> bool:
    """Say whether a job is one of Cromwell's, whose queue others may share.

    Cromwell's jobs name their script in the environment, run from a definition
    called ``cromwell_<image>_<hash>``, or bear its tags (AwsBatchJob.scala,
    AwsBatchJobDefinition.scala).

    Parameters
    ----------
    body : str or mapping
        The event, in JSON or already read, or its detail.

    Examples
    --------
    >>> is_cromwell({"jobDefinition": "arn:aws:batch:eu-west-1:1:job-definition/cromwell_a_b:1"})
    True
    >>> is_cromwell({"jobDefinition": "nightly-report:7"})
    False
    """
    event = _object(body, "event")
    job = _mapping(event.get("detail", event))
    definition = _text(job.get("jobDefinition")).rpartition("/")[2]
    return (
        "BATCH_FILE_TYPE" in _environment(_mapping(job.get("container")))
        or definition.startswith("cromwell_")
        or any(name.startswith("cromwell-") for name, _ in _tags(job))
    )


def _object_of_record(record: Mapping[str, Json]) -> ObjectSeen:
    s3 = _mapping(record.get("s3"))
    written = _mapping(s3.get("object"))
    return ObjectSeen(
        bucket=_identity(_mapping(s3.get("bucket")).get("name"), "bucket"),
        key=unquote_plus(_identity(written.get("key"), "key")),
        version_id=_version(written.get("versionId")),
        size=_whole(written.get("size")) or 0,
        etag=_text(written.get("eTag")),
        sequencer=_text(written.get("sequencer")),
        principal=_text(_mapping(record.get("userIdentity")).get("principalId")),
        source_ip=_text(_mapping(record.get("requestParameters")).get("sourceIPAddress")),
        event_time=_seconds(record.get("eventTime")),
    )


def _object(body: str | Mapping[str, Json], what: str) -> Mapping[str, Json]:
    if not isinstance(body, str):
        return body
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise BadEvent(f"The message is no {what}: it is not JSON.") from None
    if not isinstance(value, dict):
        raise BadEvent(f"The message is no {what}: it is not a JSON object.")
    return value


def _identity(value: Json, name: str) -> str:
    text = _text(value)
    if not text:
        raise BadEvent(f"The event names no {name}.")
    return text


def _status(value: Json) -> JobStatus:
    try:
        return JobStatus(value)
    except ValueError:
        raise BadEvent(f"The event has a status that Batch does not have: {value!r:.40}.") from None


def _tags(job: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    for name, value in _mapping(job.get("tags")).items():
        if name != "resourceArn" and isinstance(value, str):
            yield name, value


def _environment(container: Mapping[str, Json]) -> dict[str, str]:
    variables = map(_mapping, _list(container.get("environment")))
    return {_text(variable.get("name")): _text(variable.get("value")) for variable in variables}


def _version(value: Json) -> str | None:
    # "null" names the one version of an object written while versioning was off:
    # it tells one writing from the next no better than nothing does.
    version_id = _text(value)
    return None if version_id in ("", "null") else version_id


def _seconds(value: Json) -> int:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return 0
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _mib(value: str | None) -> int | None:
    return int(value) if value and value.isascii() and value.isdecimal() else None


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: Json) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else _NONE


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
