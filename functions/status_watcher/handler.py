"""Lambda entry point: what Batch says of jobs, requests to poll, and the sweep on its schedule."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from dropwell.aws import events
from dropwell.aws.batch import Jobs
from dropwell.aws.buckets import Bucket
from dropwell.aws.kept import parameter, secret
from dropwell.aws.queues import Queue
from dropwell.aws.tables import Table
from dropwell.cromwell import Cromwell
from dropwell.errors import BadEvent, TryAgain
from dropwell.polling import Polled, poll, sweep
from dropwell.settings import StatusWatcherSettings
from dropwell.tracking import Heard, HeardBlocked, Tally, Watch, track, track_blocked

logger = Logger()
metrics = Metrics()

_ONE_POLL_MS = 35_000
"""Left of the function's 60 s, so that a run about which much is asked can still be asked about."""


@cache
def watch() -> Watch:
    settings = StatusWatcherSettings.of(os.environ)
    sqs, s3 = boto3.client("sqs"), boto3.client("s3")
    return Watch(
        table=Table(boto3.client("dynamodb"), settings.table_name, keep=settings.retention_seconds),
        inbox=Bucket(s3, settings.inbox_bucket),
        scripts=Bucket(s3, settings.script_bucket),
        cromwell=Cromwell(
            settings.cromwell_url,
            token=secret("the token", settings.cromwell_token_secret_arn),
            certificates=parameter("the certificate", settings.cromwell_certificate_parameter),
            when_shut_out=_shut_out,
        ),
        jobs=Jobs(boto3.client("batch")),
        wakeups=Queue(sqs, settings.sighting_queue_url),
        diagnoses=Queue(sqs, settings.diagnosis_queue_url),
        drops=Queue(sqs, settings.drop_queue_url),
        visible_after=settings.visibility_seconds,
    )


def _shut_out(why: str) -> None:
    logger.error("not let in by Cromwell", reason=why)
    metrics.add_metric(name="CromwellShutUsOut", unit=MetricUnit.Count, value=1)


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    now = int(time.time())

    def time_left() -> bool:
        return context.get_remaining_time_in_millis() > _ONE_POLL_MS

    if "Records" not in event:
        swept = sweep(watch(), now=now, time_left=time_left)
        _count(
            {
                "posts_due": swept.posts_due,
                "notices_due": swept.notices_due,
                "polls_due": swept.polls_due,
                "cromwell_away": int(swept.cromwell_away),
            }
            | _said(swept.polled)
        )
        return {"batchItemFailures": []}
    sightings: list[Heard] = []
    blocked: list[HeardBlocked] = []
    polls: list[str] = []
    unreadable: list[str] = []
    ignored = 0
    for record in event["Records"]:
        message_id = record["messageId"]
        try:
            body = events.message(record["body"])
            if run_id := body.get("poll"):
                polls.append(run_id)
            elif not events.is_cromwell(body):
                ignored += 1
            elif seen := events.sighting(body):
                sightings.append(Heard(message_id, seen))
            elif queue := events.blockage(body):
                blocked.append(HeardBlocked(message_id, queue))
            else:
                ignored += 1
        except BadEvent as error:
            logger.error("unreadable event", message_id=message_id, reason=str(error))
            unreadable.append(message_id)
    tally = track(sightings, watch(), now=now)
    queues = track_blocked(blocked, watch().table, now=now)
    polled = _poll(polls, now, time_left)
    _count(
        {
            "sightings_kept": tally.kept,
            "sightings_stale": tally.stale,
            "sightings_unattributed": len(tally.strays),
            "queues_blocked": queues.kept,
            "events_ignored": ignored,
            "events_unreadable": len(unreadable),
        }
        | _moved(tally)
        | _said(polled)
    )
    failed = [*unreadable, *sorted(tally.failed_messages | queues.failed_messages)]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def _poll(run_ids: list[str], now: int, time_left: Callable[[], bool]) -> Polled:
    """Poll those that are due; what fails stays due, and the sweep asks again."""
    try:
        return poll(run_ids, watch(), now=now, time_left=time_left)
    except TryAgain as problem:
        logger.warning("not polled", reason=str(problem))
        return Polled()


def _moved(tally: Tally) -> dict[str, int]:
    """Say which runs' jobs moved, and which jobs have no run; count what became of jobs."""
    statuses: Counter[str] = Counter()
    for run_id, moves in tally.moved.items():
        told = {f"jobs_{status.lower()}": count for status, count in moves.items()}
        logger.info("jobs moved", extra={"run_id": run_id, **told})
        statuses.update(told)
    for job_id in tally.strays:
        logger.warning("job of no known call", extra={"job_id": job_id})
    return dict(statuses)


def _said(polled: Polled) -> dict[str, int]:
    """Say what Cromwell's answers turned, and which runs are in need of a look; count it."""
    ended: Counter[str] = Counter()
    for run_id, state in polled.turned.items():
        logger.info("run turned", extra={"run_id": run_id, "state": state.value})
        ended[f"runs_{state.value.lower()}"] += state.terminal
    for run_id in polled.silent:
        logger.warning("run is silent", extra={"run_id": run_id})
    for run_id, reason in polled.put_off.items():
        logger.warning("run could not be asked about", extra={"run_id": run_id, "reason": reason})
    counts = {
        "runs_turned": len(polled.turned),
        "runs_silent": len(polled.silent),
        "runs_put_off": len(polled.put_off),
    }
    return counts | {name: count for name, count in ended.items() if count}


def _count(counts: Mapping[str, int]) -> None:
    logger.info("watched", extra=dict(counts))
    for name, count in counts.items():
        pascal = "".join(part.title() for part in name.split("_"))
        metrics.add_metric(name=pascal, unit=MetricUnit.Count, value=count)
