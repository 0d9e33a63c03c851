"""What the watcher costs an event while a 10,000-shard scatter runs.

The handler of status_watcher gets SQS batches of a hundred; beside it the usual
design gets the same events: a conditional write and a message for each.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import boto3
from botocore.exceptions import ClientError

from benchmarks.fake_aws import FakeAws
from benchmarks.figures import Figure, show, title
from benchmarks.settings import FUNCTIONS, PROJECT, SETTINGS
from dropwell.aws import events
from dropwell.aws.tables import Table
from dropwell.calls import call_of_tags
from dropwell.records import COUNTS, JOB, put_run, recount
from dropwell.runs import Due, Run, State

CALLS = 10_000
SAMPLE = 1_000
"""Calls of the slower ways, whose cost an event does not depend on how many there are."""

DUPLICATED = 0.15
FAILING = 0.05
BATCH = 100
TURNS = 10

Body = str
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a number of events came to."""

    events: int
    seconds: float
    calls: Counter[str]
    exact: bool

    @property
    def calls_an_event(self) -> float:
        return self.calls.total() / self.events

    @property
    def microseconds_an_event(self) -> float:
        return self.seconds / self.events * 1e6


@dataclass(frozen=True, slots=True)
class Flood:
    """Events as they arrive, and what must be true when all have arrived.

    Each job is seen RUNNABLE, RUNNING, RUNNABLE again after its host was lost,
    and at its end, which is FAILED for one in twenty.
    """

    calls: int
    bodies: Sequence[Body]
    runs: Sequence[str]
    scripts: Mapping[str, bytes]


def main() -> int:
    title(
        "Watcher flood",
        f"{CALLS:,} calls x 4 sightings, {DUPLICATED:.0%} of them twice, shuffled, in batches of"
        f" {BATCH},\nthrough the handler and real clients against an endpoint in this process."
        "\nBaseline: one conditional UpdateItem and one PutEvents an event.",
    )
    baseline, tagged, untagged, mixed = _side_by_side(
        one_write_one_message(flood(SAMPLE)),
        watcher(flood(CALLS)),
        watcher(flood(SAMPLE, tagged=False)),
        watcher(flood(SAMPLE, runs=10)),
    )
    show(
        [
            Figure(
                name="SDK calls an event",
                ours=tagged.calls_an_event,
                baseline=baseline.calls_an_event,
                ratio=baseline.calls_an_event / tagged.calls_an_event,
                goal="at most 0.1",
                met=tagged.calls_an_event <= 0.1,
            ),
            Figure(
                name="CPU an event, µs (the endpoint's own left out)",
                ours=tagged.microseconds_an_event,
                baseline=baseline.microseconds_an_event,
                ratio=baseline.microseconds_an_event / tagged.microseconds_an_event,
            ),
            Figure(
                name="counters equal a recount",
                ours="yes" if tagged.exact else "NO",
                goal="yes",
                met=tagged.exact,
            ),
            *_by_operation(tagged),
        ],
        against="write + message",
    )
    print(f"The same where it is harder ({SAMPLE:,} calls):")
    show(
        [
            *_harder("tags off, each call found by its script", untagged, baseline),
            *_harder("ten runs at once, shuffled together", mixed, baseline),
        ],
        against="write + message",
    )
    return 0 if tagged.exact and untagged.exact and mixed.exact else 1


def _by_operation(cost: Cost) -> list[Figure]:
    return [
        Figure(name=f"  {operation} (a thousand events)", ours=count / cost.events * 1000)
        for operation, count in cost.calls.most_common()
    ]


def _harder(name: str, cost: Cost, baseline: Cost) -> list[Figure]:
    ratio = baseline.microseconds_an_event / cost.microseconds_an_event
    exact = "counters exact" if cost.exact else "COUNTERS DIFFER"
    return [
        Figure(
            name=f"{name}: calls",
            ours=cost.calls_an_event,
            baseline=baseline.calls_an_event,
            ratio=baseline.calls_an_event / cost.calls_an_event,
            goal=exact,
        ),
        Figure(
            name="  CPU an event, µs",
            ours=cost.microseconds_an_event,
            baseline=baseline.microseconds_an_event,
            ratio=ratio,
        ),
    ]


# The two ways


@dataclass(frozen=True, slots=True)
class Way:
    """A way to take events, ready to run.

    Parameters
    ----------
    take : callable
        Takes one portion: a batch, or an event.
    portions : sequence
        All of them.
    aws : FakeAws
        What it calls.
    events : int
        How many events there are.
    exact : callable
        Says at the end whether all is kept as it happened.
    """

    take: Callable[[Any], None]
    portions: Sequence[Any]
    aws: FakeAws
    events: int
    exact: Callable[[], bool]


def watcher(flood: Flood) -> Way:
    """status_watcher."""
    aws = _aws(flood)
    table = Table(boto3.client("dynamodb"), SETTINGS["TABLE_NAME"], keep=1)
    for run_id in flood.runs:
        table.write(put_run(_running(run_id)))
    handle = _handler()
    handle({"Records": []})  # clients are made here, as in a cold start
    records = [{"messageId": str(n), "body": body} for n, body in enumerate(flood.bodies)]
    returned: list[Json] = []

    def take(batch: Sequence[Json]) -> None:
        returned.extend(handle({"Records": batch})["batchItemFailures"])

    def exact() -> bool:
        told = [_told(table, run_id) for run_id in flood.runs]
        jobs = sum(recounted["jobs"] for _, recounted in told)
        ended = sum(recounted["succeeded"] + recounted["failed"] for _, recounted in told)
        return (
            not returned
            and all(counts == recounted for counts, recounted in told)
            and jobs == ended == flood.calls
        )

    batches = [records[start : start + BATCH] for start in range(0, len(records), BATCH)]
    return Way(take, batches, aws, len(records), exact)


def one_write_one_message(flood: Flood) -> Way:
    """The design that is drawn first: each event is written, and passed on."""
    aws = _aws(flood)
    dynamodb, bus = boto3.client("dynamodb"), boto3.client("events")

    def take(body: Body) -> None:
        seen = events.sighting(body)
        call = call_of_tags(dict(seen.tags)) if seen else None
        assert seen
        assert call
        with contextlib.suppress(ClientError):  # old news
            dynamodb.update_item(
                TableName=SETTINGS["TABLE_NAME"],
                Key={"pk": {"S": call.run_id}, "sk": {"S": f"{JOB}{seen.job_id}"}},
                UpdateExpression="SET #rank = :rank, #status = :status, #call = :call, #log = :log",
                ConditionExpression="attribute_not_exists(pk) OR #rank < :rank",
                ExpressionAttributeNames={
                    "#rank": "rank",
                    "#status": "status",
                    "#call": "call",
                    "#log": "log_stream",
                },
                ExpressionAttributeValues={
                    ":rank": {"N": str(seen.rank)},
                    ":status": {"S": seen.status.value},
                    ":call": {"S": str(call.call_id)},
                    ":log": {"S": seen.log_stream},
                },
            )
        detail = {"run_id": call.run_id, "call": str(call.call_id), "status": seen.status.value}
        bus.put_events(
            Entries=[
                {
                    "Source": "baseline",
                    "DetailType": "Call State Change",
                    "Detail": json.dumps(detail),
                    "EventBusName": SETTINGS["BUS_NAME"],
                }
            ]
        )

    return Way(take, flood.bodies, aws, len(flood.bodies), lambda: True)


def _side_by_side(*ways: Way) -> list[Cost]:
    """Run ways in slices, in turn, so that a busy machine slows them all alike."""
    seconds = [0.0] * len(ways)
    for way in ways:
        way.aws.calls.clear()
    for turn in range(TURNS):
        for number, way in enumerate(ways):
            before, way.aws.cpu = time.process_time(), 0.0
            for portion in way.portions[turn::TURNS]:
                way.take(portion)
            seconds[number] += time.process_time() - before - way.aws.cpu
    return [
        Cost(way.events, spent, way.aws.calls.copy(), way.exact())
        for way, spent in zip(ways, seconds, strict=True)
    ]


def _aws(flood: Flood) -> FakeAws:
    aws = FakeAws()
    aws.stand_in_for_aws()
    aws.objects |= flood.scripts
    return aws


def _handler() -> Callable[[Json], Any]:
    """Return status_watcher's handler as a cold start finds it, its log lines put aside."""
    os.environ |= SETTINGS
    spec = importlib.util.spec_from_file_location(
        "status_watcher_handler", PROJECT / FUNCTIONS["status_watcher"].handler
    )
    assert spec
    assert spec.loader
    module: ModuleType = importlib.util.module_from_spec(spec)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):  # the logger keeps the stream it finds
        spec.loader.exec_module(module)

    def handle(event: Json) -> Any:
        with contextlib.redirect_stdout(said):
            answer = module.lambda_handler(event, _Context())
        said.seek(0)
        said.truncate()
        return answer

    return handle


@dataclass(frozen=True)
class _Context:
    function_name: str = "status-watcher"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:eu-west-1:123456789012:function:status-watcher"
    aws_request_id: str = "52fdfc07-2182-454f-963f-5f0f9a621d72"


def _told(table: Table, run_id: str) -> tuple[dict[str, int], dict[str, int]]:
    """Return a run's counters, and a recount."""
    counts = table.get((run_id, COUNTS)) or {}
    kept = {k: v for k, v in counts.items() if k not in ("pk", "sk", "expires_at") and v}
    return kept, recount(table.query(run_id, JOB))


def _running(run_id: str) -> Run:
    now = int(time.time())
    return Run(
        run_id=run_id,
        project="cardio",
        name="wgs",
        workflow="wgs",
        state=State.RUNNING,
        cromwell_status="Running",
        submitted_at=now,
        started_at=now,
        kept=True,
    ).due(Due.POLL, now + 600)


# Events


def flood(calls: int, *, runs: int = 1, tagged: bool = True) -> Flood:
    """Return the events of so many calls, the same each time."""
    chance = random.Random(412)
    samples = {
        name: _sample(name)
        for name in ("runnable", "running", "retry_runnable", "succeeded", "failed")
    }
    run_ids = [_uuid(chance) for _ in range(runs)]
    bodies: list[Body] = []
    scripts: dict[str, bytes] = {}
    for number in range(calls):
        run_id, job_id = run_ids[number % runs], _uuid(chance)
        script = f"/{SETTINGS['SCRIPT_BUCKET']}/scripts/{job_id.replace('-', '')}"
        end = "failed" if chance.random() < FAILING else "succeeded"
        for sample in ("runnable", "running", "retry_runnable", end):
            event = copy.deepcopy(samples[sample])
            if sample == end:
                event["detail"]["attempts"][:0] = samples["retry_runnable"]["detail"]["attempts"]
            _make_it_of(event, run_id, job_id, number, f"s3:/{script}", tagged=tagged)
            bodies.append(json.dumps(event))
        scripts[script] = b"" if tagged else _script(run_id, number)
    bodies += chance.sample(bodies, int(len(bodies) * DUPLICATED))
    chance.shuffle(bodies)
    return Flood(calls, bodies, run_ids, scripts)


def _sample(name: str) -> Json:
    event: Json = json.loads((PROJECT / "events" / f"batch_{name}.json").read_text())
    return event


def _make_it_of(
    event: Json, run_id: str, job_id: str, shard: int, script: str, *, tagged: bool
) -> None:
    detail = event["detail"]
    arn = f"arn:aws:batch:eu-west-1:123456789012:job/{job_id}"
    event["resources"] = [arn]
    detail |= {"jobArn": arn, "jobId": job_id, "jobName": "wgs_Align"}
    detail["tags"] = {"resourceArn": arn}
    if tagged:
        detail["tags"] |= {
            "cromwell-workflow-name": "wgs",
            "cromwell-workflow-id": run_id,
            "cromwell-task-id": f"wgs.Align-Some_{shard}_-1",
            "cromwell-root-workflow-name": "wgs",
            "cromwell-root-workflow-id": run_id,
            "dropwell-project": "cardio",
        }
    for variable in detail["container"]["environment"]:
        if variable["name"] == "BATCH_FILE_S3_URL":
            variable["value"] = script


def _script(run_id: str, shard: int) -> bytes:
    """Return a script of the size of Cromwell's, with the line that uploads the return code."""
    folder = f"s3://{SETTINGS['WORKFLOW_BUCKET']}/cromwell-execution/wgs/{run_id}/call-Align"
    upload = f"_s3_delocalize_with_retry /tmp/scratch/Align-{shard}-rc.txt {folder}/shard-{shard}"
    filler = "_s3_localize_with_retry s3://reference/genome.fasta /tmp/scratch/genome.fasta\n" * 60
    return f"#!/bin/bash\n{filler}{upload}/Align-{shard}-rc.txt\n".encode()


def _uuid(chance: random.Random) -> str:
    digits = f"{chance.getrandbits(128):032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


if __name__ == "__main__":
    sys.exit(main())
