"""Lambda entry point: what lands in the inbox bucket, and what the sweep sends once more."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace
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
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from dropwell import ledger, wdl
from dropwell.archives import DEFAULT_LIMITS
from dropwell.aws import events
from dropwell.aws.buckets import Bucket
from dropwell.aws.kept import parameter, secret
from dropwell.aws.projects import ProjectsFile
from dropwell.aws.tables import Table
from dropwell.control import act
from dropwell.cromwell import Cromwell
from dropwell.drops import Control, Drop, Ignored, what_is
from dropwell.errors import BadEvent, DropwellError
from dropwell.preparing import Rules
from dropwell.settings import SubmitterSettings
from dropwell.submission import Desk, submit

logger = Logger()
metrics = Metrics()


@cache
def desk() -> Desk:
    settings = SubmitterSettings.of(os.environ)
    s3 = boto3.client("s3")
    return Desk(
        table=Table(boto3.client("dynamodb"), settings.table_name, keep=settings.retention_seconds),
        inbox=Bucket(s3, settings.inbox_bucket),
        workflows=Bucket(s3, settings.workflow_bucket),
        cromwell=Cromwell(
            settings.cromwell_url,
            token=secret("the token", settings.cromwell_token_secret_arn),
            certificates=parameter("the certificate", settings.cromwell_certificate_parameter),
            when_shut_out=_shut_out,
        ),
        check=partial(wdl.check, import_hosts=settings.allowed_import_hosts),
        rules=Rules(
            limits=replace(DEFAULT_LIMITS, closure=settings.submission_limit_bytes),
            submission_bytes=settings.submission_limit_bytes,
            enforced_options=settings.enforced_options,
            allowed_options=settings.allowed_options,
            output_prefixes=settings.allowed_output_prefixes,
        ),
        lease=settings.lease_seconds,
        projects=ProjectsFile(
            s3,
            settings.inbox_bucket,
            workflow_bucket=settings.workflow_bucket,
            when_broken=_projects_broken,
            clock=_now,
        ),
    )


def _shut_out(why: str) -> None:
    logger.error("not let in by Cromwell", reason=why)
    metrics.add_metric(name="CromwellShutUsOut", unit=MetricUnit.Count, value=1)


def _projects_broken(why: str) -> None:
    logger.error("drops wait: the file of projects cannot be used", reason=why)
    metrics.add_metric(name="ProjectsFileBroken", unit=MetricUnit.Count, value=1)


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> Any:
    return process_partial_response(
        event=event,
        record_handler=_try,
        processor=BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False),
        context=context,
    )


def _try(record: SQSRecord) -> None:
    """Handle one message; say so where it fails, for nobody else does."""
    try:
        _message(events.message(record.body))
    except Exception as problem:
        reason, known = f"{type(problem).__name__}: {problem}", isinstance(problem, DropwellError)
        logger.error("not handled", reason=reason, exc_info=not known)
        metrics.add_metric(name="MessagesFailed", unit=MetricUnit.Count, value=1)
        raise


def _message(body: Mapping[str, Any]) -> None:
    if run_id := body.get("submit"):
        _submit_again(run_id)
        return
    landed = events.drops(body)
    if not landed:
        _did("nothing landed", "NotificationsIgnored")
    for seen in landed:
        _landed(seen)


def _submit_again(run_id: str) -> None:
    run = ledger.load(desk().table, run_id)
    if run:
        _submit(run.drop)
    else:
        _did("unknown run", "RunsUnknown", run_id=run_id)


def _landed(seen: events.ObjectSeen) -> None:
    match what_is(seen.key, seen.size):
        case Ignored() as why:
            _did("ignored", "DropsIgnored", key=seen.key, reason=why.value)
        case Control() as asked:
            answer = act(
                asked,
                now=_now(),
                table=desk().table,
                inbox=desk().inbox,
                cromwell=desk().cromwell,
            )
            if answer.acted:
                desk().inbox.remove(seen.key, seen.version_id or "")
            _did(answer.value, "ControlFiles", run_id=asked.run_id, action=asked.action.value)
        case None:
            _submit(_drop(seen))


def _drop(seen: events.ObjectSeen) -> Drop:
    if not seen.version_id:
        raise BadEvent(
            f"s3://{seen.bucket}/{seen.key} came without a version: turn versioning on for the"
            " inbox bucket, so that exactly what was dropped is run"
        )
    return Drop(
        bucket=seen.bucket,
        key=seen.key,
        version_id=seen.version_id,
        size=seen.size,
        principal=seen.principal,
        dropped_at=seen.event_time,
    )


def _submit(drop: Drop) -> None:
    outcome = submit(drop, desk(), now=_now())
    _did(outcome.value, f"Drops{outcome.value.title()}", run_id=drop.run_id, key=drop.key)


def _did(what: str, metric: str, **keys: str) -> None:
    logger.info(what, extra=keys)
    metrics.add_metric(name=metric, unit=MetricUnit.Count, value=1)


def _now() -> int:
    return int(time.time())
