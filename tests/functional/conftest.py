"""The three functions over AWS in memory (moto) and a Cromwell on a socket.

Tables, queues and settings are those of the transformed template; the clock is
the tests' own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import unquote_plus

import boto3
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from moto import mock_aws
from moto.backends import get_backend

from dropwell import ledger
from dropwell.aws.buckets import Bucket
from dropwell.aws.tables import Table
from dropwell.drops import Drop
from dropwell.records import COUNTS, NOTICE, Item
from dropwell.runs import Run, State
from functions.log_router import handler as log_router
from functions.status_watcher import handler as status_watcher
from functions.submitter import handler as submitter
from tests.stubs.cromwell import CromwellStub
from tests.transformed import template

ACCOUNT, REGION = "123456789012", "eu-west-1"
INBOX, WORKFLOWS = f"dropwell-inbox-{ACCOUNT}", f"dropwell-workflows-{ACCOUNT}"
LOGS = "/aws/batch/job"
KEEP = 400 * 86400

# What the samples in events/ tell of.
RUN_ID = "0efafdca-7c95-539e-a323-5d833509a1cc"
DROPPED_AT = 1_762_336_800

FUNCTIONS = {
    "SubmitterFunction": submitter,
    "StatusWatcherFunction": status_watcher,
    "LogRouterFunction": log_router,
}

Json = Any


@cache
def client(service: str) -> Any:
    return boto3.client(service)


@dataclass
class Clock:
    """Stands in for the `time` module in the handlers."""

    now: int = DROPPED_AT

    def time(self) -> float:
        return self.now

    def pass_by(self, seconds: int) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for handler in FUNCTIONS.values():
        monkeypatch.setattr(handler, "time", clock)
    return clock


@pytest.fixture
def cromwell() -> Iterator[CromwellStub]:
    with CromwellStub() as stub:
        yield stub


@dataclass(frozen=True)
class Sent:
    """A message that lies in a queue."""

    body: Json
    delay: int


@dataclass(frozen=True)
class Mail:
    subject: str
    body: str
    attributes: Mapping[str, str]


@dataclass
class Cloud:
    """One stack, its functions to be called and its contents to be looked at."""

    clock: Clock
    context: LambdaContext
    names: Mapping[str, str]
    inbox: Bucket = field(init=False)
    workflows: Bucket = field(init=False)
    table: Table = field(init=False)

    def __post_init__(self) -> None:
        self.inbox = Bucket(client("s3"), INBOX)
        self.workflows = Bucket(client("s3"), WORKFLOWS)
        self.table = Table(client("dynamodb"), "table", keep=KEEP, clock=self.clock.time)

    # Calling

    def submitter(self, *bodies: Json) -> list[str]:
        """Hand messages to the submitter; return the numbers of those it could not handle."""
        return self._failed(submitter, _of_queue(bodies))

    def watcher(self, *bodies: Json) -> list[str]:
        return self._failed(status_watcher, _of_queue(bodies))

    def router(self, *bodies: Json) -> list[str]:
        return self._failed(log_router, _of_queue(bodies))

    def stream(self, event: Json) -> list[str]:
        """Hand the router an event of the table's stream."""
        return self._failed(log_router, event)

    def _failed(self, handler: Any, event: Json) -> list[str]:
        answer = handler.lambda_handler(event, self.context)
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    def sweep(self) -> None:
        status_watcher.lambda_handler({"source": "aws.events"}, self.context)

    def tell(self, kind: str, run_id: str = RUN_ID) -> None:
        self.router({"notice": {"run_id": run_id, "sk": f"{NOTICE}{kind}"}})

    # Making

    def put(self, key: str, body: bytes | str, bucket: str = INBOX) -> str:
        """Write an object; return its version."""
        answer = client("s3").put_object(Bucket=bucket, Key=key, Body=body)
        return str(answer.get("VersionId", ""))

    def land(self, sample: Json, body: bytes) -> tuple[Json, Drop]:
        """Put what a sample tells of into the inbox; return the event of just that version."""
        event = deepcopy(sample)
        [record] = event["Records"]
        told = record["s3"]["object"]
        key = unquote_plus(told["key"])
        told |= {"versionId": self.put(key, body), "size": len(body)}
        drop = Drop(bucket=INBOX, key=key, version_id=told["versionId"], dropped_at=self.clock.now)
        return event, drop

    def running(self, run_id: str = RUN_ID, **known: Any) -> Run:
        """Have a run on record that Cromwell has accepted."""
        known = {
            "project": "cardio",
            "name": "wgs-0412",
            "state": State.RUNNING,
            "cromwell_status": "Running",
            "dropped_at": DROPPED_AT,
            "submitted_at": DROPPED_AT + 2,
            "kept": True,
        } | known
        return ledger.create(self.table, Run(run_id=run_id, **known))

    # Looking

    def run(self, run_id: str = RUN_ID) -> Run:
        found = ledger.load(self.table, run_id)
        assert found, "there is no such run"
        return found

    def items(self, pk: str = RUN_ID, prefix: str = "") -> list[Item]:
        return list(self.table.query(pk, prefix))

    def counts(self, run_id: str = RUN_ID) -> dict[str, int]:
        item = self.table.get((run_id, COUNTS)) or {}
        told = {name: n for name, n in item.items() if name not in ("pk", "sk", "expires_at")}
        return {name: n for name, n in told.items() if n}

    def notices(self, run_id: str = RUN_ID) -> list[str]:
        return [item["sk"].removeprefix(NOTICE) for item in self.items(run_id, NOTICE)]

    def keys(self, prefix: str = "", bucket: str = INBOX) -> list[str]:
        answer = client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix)
        return sorted(found["Key"] for found in answer.get("Contents", []))

    def versions(self, key: str) -> list[str]:
        answer = client("s3").list_object_versions(Bucket=INBOX, Prefix=key)
        return [found["VersionId"] for found in answer.get("Versions", [])]

    def page(self, key: str) -> Json:
        return json.loads(self.inbox.read(key, limit=1 << 20))

    def text(self, key: str) -> str:
        return self.inbox.read(key, limit=1 << 20).decode()

    def sent(self, queue: str) -> list[Sent]:
        """Return what lies in a queue, what cannot be received yet included."""
        messages = get_backend("sqs")[ACCOUNT][REGION].queues[queue]._messages
        return [
            Sent(
                json.loads(message.body),
                max(0, round((message.delayed_until - message.sent_timestamp) / 1000)),
            )
            for message in messages
        ]

    def mails(self) -> list[Mail]:
        return [
            Mail(
                sent.body["Subject"],
                sent.body["Message"],
                {k: v["Value"] for k, v in sent.body["MessageAttributes"].items()},
            )
            for sent in self.sent("mails")
        ]

    def events(self) -> list[Json]:
        """Return what was put on the bus."""
        return [sent.body for sent in self.sent("bus")]


def _of_queue(bodies: tuple[Json, ...]) -> Json:
    """Return the event by which Lambda hands over messages, numbered from 0."""
    return {
        "Records": [
            {
                "messageId": str(number),
                "receiptHandle": "AQEB",
                "body": body if isinstance(body, str) else json.dumps(body),
                "attributes": {"ApproximateReceiveCount": "1"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:queue",
                "awsRegion": REGION,
            }
            for number, body in enumerate(bodies)
        ]
    }


@pytest.fixture
def parameters() -> dict[str, str]:
    """Return the parameters of the stack; a test may ask for others."""
    return {}


@pytest.fixture
def cloud(
    monkeypatch: pytest.MonkeyPatch,
    clock: Clock,
    cromwell: CromwellStub,
    lambda_context: LambdaContext,
    parameters: dict[str, str],
) -> Iterator[Cloud]:
    # The session stays: to make a new one for each test is half a second of reading JSON.
    with mock_aws(config={"core": {"reset_boto3_session": False}}):
        names = _made()
        stack = template(
            names,
            CromwellUrl=cromwell.url,
            WorkflowBucketName=WORKFLOWS,
            BatchLogGroup=LOGS,
            **parameters,
        )
        for function, handler in FUNCTIONS.items():
            _let_run(handler, stack.environment(function), monkeypatch)
        yield Cloud(clock, lambda_context, names)


def _let_run(handler: Any, environment: Mapping[str, str], monkeypatch: Any) -> None:
    """Have a handler read its own environment, though all three run in one process."""
    [made] = {"desk", "watch", "doors"} & set(vars(handler))
    getattr(handler, made).cache_clear()

    class Os:
        environ = environment

    monkeypatch.setattr(handler, "os", Os)


def _made() -> dict[str, str]:
    """Make what the template describes, and return what its references stand for."""
    names = {"Table": "table", "InboxBucket": INBOX, "Bus": "bus"}
    described = template()
    wanted = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")
    table = described.properties("Table")
    client("dynamodb").create_table(TableName="table", **{name: table[name] for name in wanted})
    for bucket in (INBOX, WORKFLOWS):
        client("s3").create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
    client("s3").put_bucket_versioning(
        Bucket=INBOX,
        VersioningConfiguration=described.properties("InboxBucket")["VersioningConfiguration"],
    )
    for queue in (*described.of_type("AWS::SQS::Queue"), "mails", "bus"):
        names[queue] = client("sqs").create_queue(QueueName=queue)["QueueUrl"]
    names["MailTopic"] = client("sns").create_topic(Name="mails")["TopicArn"]
    client("sns").subscribe(
        TopicArn=names["MailTopic"], Protocol="sqs", Endpoint=_queue_arn("mails")
    )
    client("events").create_event_bus(Name="bus")
    client("events").put_rule(
        Name="all", EventBusName="bus", EventPattern=json.dumps({"source": ["dropwell"]})
    )
    client("events").put_targets(
        Rule="all", EventBusName="bus", Targets=[{"Id": "bus", "Arn": _queue_arn("bus")}]
    )
    client("logs").create_log_group(logGroupName=LOGS)
    return names


def _queue_arn(name: str) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


@pytest.fixture
def counted(capsys: pytest.CaptureFixture[str]) -> Callable[[], dict[str, float]]:
    """Return what the functions have counted since this was last asked."""

    def read() -> dict[str, float]:
        counts: dict[str, float] = {}
        for line in capsys.readouterr().out.splitlines():
            told = json.loads(line)
            for metrics in told.get("_aws", {}).get("CloudWatchMetrics", []):
                for metric in metrics["Metrics"]:
                    name = metric["Name"]
                    counts[name] = counts.get(name, 0) + sum(told[name])
        return counts

    return read
