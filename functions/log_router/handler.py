"""Lambda entry point: return codes and failed jobs to summaries, notices to people."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.typing import LambdaContext

from dropwell.aws import events
from dropwell.aws.buckets import Bucket
from dropwell.aws.bus import Bus
from dropwell.aws.logs import LogGroup
from dropwell.aws.queues import Queue
from dropwell.aws.tables import Table
from dropwell.aws.topics import Topic
from dropwell.calls import place_of_rc_key
from dropwell.diagnosis import Bench, diagnose_jobs, diagnose_return_code
from dropwell.drops import DATA_FILES
from dropwell.errors import DropwellError
from dropwell.notices import Detail
from dropwell.settings import LogRouterSettings
from dropwell.summaries import CallSummary
from dropwell.telling import Voice, tell

logger = Logger()
metrics = Metrics()


@cache
def doors() -> tuple[Bench, Voice]:
    settings = LogRouterSettings.of(os.environ)
    s3 = boto3.client("s3")
    table = Table(boto3.client("dynamodb"), settings.table_name, keep=settings.retention_seconds)
    inbox = Bucket(s3, settings.inbox_bucket)
    bench = Bench(
        table=table,
        inbox=inbox,
        workflows=Bucket(s3, settings.workflow_bucket),
        scripts=Bucket(s3, settings.script_bucket),
        logs=LogGroup(boto3.client("logs"), settings.batch_log_group),
    )
    voice = Voice(
        table=table,
        inbox=inbox,
        mails=Topic(boto3.client("sns"), settings.mail_topic_arn),
        bus=Bus(boto3.client("events"), settings.bus_name),
        later=Queue(boto3.client("sqs"), settings.diagnosis_queue_url),
        detail=Detail(settings.notice_detail),
    )
    return bench, voice


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> Any:
    from_stream = "dynamodb" in event["Records"][0]
    kind = EventType.DynamoDBStreams if from_stream else EventType.SQS
    processor = BatchProcessor(event_type=kind, raise_on_entire_batch_failure=False)
    door = _notice_recorded if from_stream else _message
    return process_partial_response(
        event=event,
        record_handler=lambda record: _try(door, record.raw_event),
        processor=processor,
        context=context,
    )


def _try(door: Callable[[dict[str, Any]], None], record: dict[str, Any]) -> None:
    """Handle one record; say so where it fails, for nobody else does."""
    try:
        door(record)
    except Exception as problem:
        reason, known = f"{type(problem).__name__}: {problem}", isinstance(problem, DropwellError)
        logger.error("not handled", reason=reason, exc_info=not known)
        metrics.add_metric(name="MessagesFailed", unit=MetricUnit.Count, value=1)
        raise


def _notice_recorded(record: dict[str, Any]) -> None:
    keys = record["dynamodb"]["Keys"]
    _tell(keys["pk"]["S"], keys["sk"]["S"])


def _message(record: dict[str, Any]) -> None:
    body = events.message(record["body"])
    if asked := body.get("notice"):
        _tell(asked["run_id"], asked["sk"])
    elif failed := body.get("failed"):
        run_id = failed["run_id"]
        judged = partial(_judged, run_id)
        count = diagnose_jobs(run_id, failed["job_ids"], doors()[0], now=_now(), judged=judged)
        _did("jobs looked at", "FailedJobs", count, run_id=run_id)
    else:
        _return_code_appeared(body)


def _return_code_appeared(body: Mapping[str, Any]) -> None:
    seen = events.object_created(body)
    place = place_of_rc_key(seen.bucket, seen.key)
    # A bundle may carry a file of any name, but Cromwell writes none of those.
    if place is None or seen.key.startswith(DATA_FILES):
        _did("no return code of Cromwell's", "ReturnCodesIgnored")
        return
    judged = partial(_judged, place.run_id)
    found = diagnose_return_code(place, doors()[0], now=_now(), judged=judged)
    name = f"ReturnCodes{found.value.title()}"
    _did(f"return code: {found.value}", name, run_id=place.run_id, call=str(place.call_id))


def _judged(run_id: str, summary: CallSummary) -> None:
    """Say why a call failed: where logs are searched, causes are counted by these lines."""
    call, cause = str(summary.call_id), summary.cause.value
    keys = {"run_id": run_id, "call": call, "cause": cause, "signature": summary.signature}
    logger.info("call failed", extra=keys)


def _tell(run_id: str, sk: str) -> None:
    told = tell((run_id, sk), doors()[1], now=_now())
    _did(f"notice {told.value}", f"Notices{told.value.title()}", run_id=run_id, notice=sk)


def _did(what: str, metric: str, count: int = 1, **keys: str) -> None:
    logger.info(what, extra=keys)
    metrics.add_metric(name=metric, unit=MetricUnit.Count, value=count)


def _now() -> int:
    return int(time.time())
