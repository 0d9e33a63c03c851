"""What the doctor looks at: asked of AWS and of Cromwell from outside, and never changed."""

from __future__ import annotations

import itertools
import json
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from dropwell.aws.batch import Jobs
from dropwell.cromwell import Cromwell
from dropwell.errors import CromwellAway, DropwellError, NotLetIn
from dropwell.records import JOB, UNATTRIBUTED
from dropwell_cli import Failure, doctor, finding
from dropwell_cli.doctor import DAY, SWEEP_GONE, Finding, Group
from dropwell_cli.places import Place, settings_of

_CONNECT_SECONDS, _READ_SECONDS = 3.0, 10.0
_RUNS_SEEN, _JOBS_SEEN, _STRAYS_SEEN = 5, 20, 1000
_BATCH_REMEMBERS = 7 * DAY
_LOG_PAGES = 20
_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME (x509_vfy.h); `ssl` has no name for it
_NOT_THERE = {
    "ResourceNotFoundException",
    "ParameterNotFound",
    "NoSuchEntity",
    "NoSuchBucket",
    "NotFound",
    "AWS.SimpleQueueService.NonExistentQueue",
    "QueueDoesNotExist",
}

_RULES = (
    ("job events", "JobStateRule", "SightingQueue", "nobody hears how jobs fare"),
    ("blocked queues", "QueueBlockedRule", "SightingQueue", "nobody hears that a queue is blocked"),
    ("return codes", "ReturnCodeRule", "DiagnosisQueue", "nobody hears why calls failed"),
    (
        "sweep",
        "StatusWatcherFunctionSweep",
        "StatusWatcherFunction",
        "nothing that was missed is found again",
    ),
)
"""What a rule brings, its name in the template, where it leads, and what is missed without it."""

_READERS = (
    ("submitter", "SubmitterFunction", "DropQueue"),
    ("status_watcher", "StatusWatcherFunction", "SightingQueue"),
    ("log_router", "LogRouterFunction", "DiagnosisQueue"),
    ("notices", "LogRouterFunction", "Table"),
)
_DEAD_LETTERS = ("DropDeadLetters", "SightingDeadLetters", "DiagnosisDeadLetters")
_SERVICES = (("AWSServiceRoleForBatch", "batch"),)


def examine(place: Place, *, clock: Callable[[], float]) -> list[Finding]:
    """Look at everything, and return what was found in the order it is to be read.

    What may not be read, or is not answered, is a finding of its own: it hides
    none of the others.
    """
    patient = _Patient(place, clock)
    looks: tuple[tuple[Group, str, Callable[[], Iterable[Finding]]], ...] = (
        (Group.WIRING, "stack", patient.stack),
        *((Group.WIRING, one[0], patient.rule_look(*one)) for one in _RULES),
        *((Group.WIRING, one[0], patient.reader_look(*one)) for one in _READERS),
        (Group.WIRING, "inbox", patient.inbox),
        (Group.WIRING, "workflow bucket", patient.workflow_bucket),
        (Group.WIRING, "table", patient.the_table),
        (Group.WIRING, "recovery", patient.recovery),
        (Group.WIRING, "last sweep", patient.last_sweep),
        *((Group.QUEUES, name, patient.queue_look(name)) for name in _DEAD_LETTERS),
        (Group.QUEUES, "EventDeadLetters", patient.queue_look("EventDeadLetters")),
        (Group.CROMWELL, "answers", patient.cromwell),
        (Group.CROMWELL, "certificate", patient.certificate),
        (Group.CROMWELL, "tags", patient.tags),
        (Group.PEOPLE, "mails", patient.people),
        (Group.ACCOUNT, "clock", patient.clock),
        *(
            (Group.ACCOUNT, service, patient.role_look(role, service))
            for role, service in _SERVICES
            if not place.local
        ),
    )
    return [found for group, name, look in looks for found in _looked(group, name, look)]


def _looked(group: Group, name: str, look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    try:
        return list(look())
    except ClientError as error:
        why = f"AWS refused {error.operation_name} ({_code(error)})"
        return [doctor.unseen(group, name, why)]
    except (BotoCoreError, DropwellError, Failure) as error:
        return [doctor.unseen(group, name, str(error).rstrip("."))]


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _is_missing(error: ClientError) -> bool:
    return _code(error) in _NOT_THERE


@dataclass(frozen=True)
class _Patient:
    """A place, and what of it is asked only once."""

    place: Place
    time: Callable[[], float]

    @property
    def _now(self) -> int:
        return int(self.time())

    @cached_property
    def _stack(self) -> Mapping[str, Any]:
        (stack,) = self.place.client("cloudformation").describe_stacks(StackName=self.place.stack)[
            "Stacks"
        ]
        return dict(stack)

    @cached_property
    def _parameters(self) -> Mapping[str, str]:
        return settings_of(self._stack)

    @cached_property
    def _names(self) -> Mapping[str, str]:
        """Names by which AWS knows what the template describes; outputs where it is not told."""
        pages = (
            self.place.client("cloudformation")
            .get_paginator("list_stack_resources")
            .paginate(StackName=self.place.stack)
        )
        made = {
            one["LogicalResourceId"]: one.get("PhysicalResourceId", "")
            for page in pages
            for one in page["StackResourceSummaries"]
        }
        return made | {
            one["OutputKey"]: one["OutputValue"] for one in self._stack.get("Outputs", [])
        }

    def _named(self, logical: str) -> str:
        if name := self._names.get(logical):
            return name
        raise Failure(f"the stack has no {logical}")

    # Wiring

    def stack(self) -> Iterator[Finding]:
        yield doctor.stack(self._stack["StackStatus"])

    def rule_look(
        self, name: str, logical: str, to: str, missed: str
    ) -> Callable[[], Iterator[Finding]]:
        def look() -> Iterator[Finding]:
            known = self._rule(self._names.get(logical, ""))
            yield doctor.rule(name, missed, known, target=self._arn(to), to=to)

        return look

    def _rule(self, name: str) -> doctor.Rule | None:
        if not name:
            return None
        events = self.place.client("events")
        try:
            state = events.describe_rule(Name=name)["State"]
        except ClientError as error:
            if _is_missing(error):
                return None
            raise
        targets = events.list_targets_by_rule(Rule=name)["Targets"]
        return doctor.Rule(
            name=name,
            enabled=state != "DISABLED",
            targets=tuple(target["Arn"] for target in targets),
        )

    def reader_look(self, name: str, function: str, source: str) -> Callable[[], Iterator[Finding]]:
        def look() -> Iterator[Finding]:
            told = "the table's stream" if source == "Table" else source
            yield doctor.reader(name, self._mapping(function, self._arn(source)), source=told)

        return look

    def _mapping(self, function: str, source: str) -> doctor.Source | None:
        pages = (
            self.place.client("lambda")
            .get_paginator("list_event_source_mappings")
            .paginate(FunctionName=self._named(function))
        )
        for one in itertools.chain.from_iterable(page["EventSourceMappings"] for page in pages):
            # A stream's ARN is the table's and the time at which it was turned on.
            if one["EventSourceArn"].partition("/stream/")[0] == source:
                return doctor.Source(
                    uuid=one["UUID"],
                    state=one.get("State", "Enabled"),
                    result=one.get("LastProcessingResult", ""),
                )
        return None

    def _arn(self, name: str) -> str:
        if name == "Table":
            return str(self._table["TableArn"])
        if name.endswith("Function"):
            asked = self.place.client("lambda").get_function_configuration(
                FunctionName=self._named(name)
            )
            return str(asked["FunctionArn"])
        return self._queue(name)["QueueArn"]

    def inbox(self) -> Iterator[Finding]:
        s3, bucket = self.place.s3, self.place.inbox.name
        told = s3.get_bucket_notification_configuration(Bucket=bucket)
        versions = s3.get_bucket_versioning(Bucket=bucket).get("Status")
        arn = self._arn("DropQueue")
        prefixes = [
            rule["Value"]
            for one in told.get("QueueConfigurations", [])
            if one["QueueArn"] == arn
            for rule in one.get("Filter", {}).get("Key", {}).get("FilterRules", [])
            if rule["Name"].lower() == "prefix"
        ]
        yield doctor.inbox(prefixes, versioned=versions == "Enabled")

    def workflow_bucket(self) -> Iterator[Finding]:
        bucket = self._named("WorkflowBucket")
        told = self.place.s3.get_bucket_notification_configuration(Bucket=bucket)
        yield doctor.workflow_bucket(bucket, tells="EventBridgeConfiguration" in told)

    @cached_property
    def _table(self) -> Mapping[str, Any]:
        asked = self.place.client("dynamodb").describe_table(TableName=self._named("Table"))
        return dict(asked["Table"])

    def the_table(self) -> Iterator[Finding]:
        indexes = {
            one["IndexName"]: one.get("IndexStatus", "ACTIVE")
            for one in self._table.get("GlobalSecondaryIndexes", [])
        }
        yield doctor.index(indexes, table=self._named("Table"))
        streams = self._table.get("StreamSpecification", {})
        yield doctor.stream(on=bool(streams.get("StreamEnabled")))

    def recovery(self) -> Iterator[Finding]:
        asked = self.place.client("dynamodb").describe_continuous_backups(
            TableName=self._named("Table")
        )
        told = asked["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
        on = told.get("PointInTimeRecoveryStatus") == "ENABLED"
        yield doctor.recovery(on=on, local=self.place.local)

    def last_sweep(self) -> Iterator[Finding]:
        since = int(self._stack["CreationTime"].timestamp())
        yield doctor.sweep(self._last_sweep, now=self._now, since=since)

    @cached_property
    def _last_sweep(self) -> doctor.Sweep | None:
        """The last sweep, as the watcher logs each at its end: only it counts posts due."""
        pages = (
            self.place.client("logs")
            .get_paginator("filter_log_events")
            .paginate(
                logGroupName=self._named("StatusWatcherLogs"),
                filterPattern="posts_due",
                startTime=(self._now - SWEEP_GONE - 300) * 1000,
            )
        )
        last: doctor.Sweep | None = None
        for page in itertools.islice(pages, _LOG_PAGES):
            for event in page["events"]:
                away = _logged(event["message"]).get("cromwell_away")
                if away is not None and (last is None or event["timestamp"] >= last.at * 1000):
                    last = doctor.Sweep(at=event["timestamp"] // 1000, cromwell_away=bool(away))
        return last

    # Queues

    def _queue(self, name: str) -> Mapping[str, str]:
        asked = self.place.client("sqs").get_queue_attributes(
            QueueUrl=self._named(name),
            AttributeNames=[
                "QueueArn",
                "ApproximateNumberOfMessages",
                "ApproximateNumberOfMessagesNotVisible",
            ],
        )
        return dict(asked["Attributes"])

    def queue_look(self, name: str) -> Callable[[], Iterator[Finding]]:
        def look() -> Iterator[Finding]:
            told = self._queue(name)
            waiting = sum(
                int(count) for what, count in told.items() if what.startswith("Approximate")
            )
            yield doctor.dead_letters(name, waiting, arn=told["QueueArn"])

        return look

    # Cromwell

    @property
    def _url(self) -> str:
        if url := self._parameters.get("CromwellUrl"):
            return url.rstrip("/")
        raise Failure("the stack has no parameter CromwellUrl")

    @cached_property
    def _no_way(self) -> str:
        """Why no connection to Cromwell comes about; empty if one does."""
        try:
            socket.create_connection(_door(self._url), _CONNECT_SECONDS).close()
        except OSError as problem:
            return (problem.strerror or str(problem) or "no answer").lower()
        return ""

    def cromwell(self) -> Iterator[Finding]:
        if self._no_way:
            private = bool(self._parameters.get("SubnetIds")) and not self.place.local
            yield doctor.unreachable(
                self._url,
                self._no_way,
                private=private,
                last=self._seen_from_inside() if private else None,
                now=self._now,
            )
            return
        what = "the certificate's parameter"
        try:
            certificates = self._certificates()
            what = "the token's secret"
            token = self._token()
        except ClientError as error:
            yield doctor.keys_unread(what, _code(error), missing=_is_missing(error))
            return
        cromwell = Cromwell(
            self._url,
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            token=token,
            certificates=certificates,
        )
        try:
            version = cromwell.version()
        except NotLetIn as problem:
            yield doctor.not_let_in(str(problem))
        except (CromwellAway, DropwellError) as problem:
            yield doctor.strange(self._url, str(problem))
        else:
            yield doctor.answers(self._url)
            yield doctor.version(version)

    def _seen_from_inside(self) -> doctor.Sweep | None:
        try:
            return self._last_sweep
        except (BotoCoreError, ClientError):
            return None  # the check of the sweep says so

    def _certificates(self) -> _Text | None:
        name = self._parameters.get("CromwellCertificateParameter")
        if not name:
            return None
        return _Text(self.place.client("ssm").get_parameter(Name=name)["Parameter"]["Value"])

    def _token(self) -> _Text | None:
        arn = self._parameters.get("CromwellTokenSecretArn")
        if not arn:
            return None
        held = self.place.client("secretsmanager").get_secret_value(SecretId=arn)
        return _Text(held.get("SecretString", ""))

    def certificate(self) -> Iterator[Finding]:
        if not self._url.startswith("https:"):
            yield doctor.no_certificate()
        elif not self._no_way:
            try:
                ends = end_of_certificate(*_door(self._url))
            except OSError as problem:
                yield doctor.unseen(
                    Group.CROMWELL, "certificate", f"the server shows none ({problem})"
                )
                return
            yield doctor.certificate(ends, now=self._now)

    def tags(self) -> Iterator[Finding]:
        since = (self._now - _BATCH_REMEMBERS) * 1000
        runs = finding.listed(self.place.table, now=self._now, limit=_RUNS_SEEN)
        items = itertools.chain.from_iterable(
            self.place.table.query(one.run.run_id, JOB, limit=_JOBS_SEEN) for one in runs
        )
        latest = [one for one in items if one.get("created_at_ms", 0) > since][:_JOBS_SEEN]
        strays = self.place.table.query(UNATTRIBUTED, JOB, limit=_STRAYS_SEEN)
        lately = sum(one.get("created_at_ms", 0) > since for one in strays)
        ids = [one["sk"].removeprefix(JOB) for one in latest]
        known = Jobs(self.place.client("batch")).describe(ids) if ids else {}
        tagged = sum(
            any(name.startswith("cromwell-") for name, _ in seen.tags) for seen in known.values()
        )
        yield doctor.tags(tagged, len(known) - tagged, lately)

    # People

    def people(self) -> Iterator[Finding]:
        topic, sns = self._named("MailTopic"), self.place.client("sns")
        pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
        known = [
            self._subscription(sns, one)
            for one in itertools.chain.from_iterable(page["Subscriptions"] for page in pages)
        ]
        yield from doctor.people(known, topic=topic)

    def _subscription(self, sns: Any, one: Mapping[str, str]) -> doctor.Subscription:
        arn, told = one["SubscriptionArn"], {}
        if arn.startswith("arn:"):  # a pending one has a word in its place
            told = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
        return doctor.Subscription(
            endpoint=one["Endpoint"],
            protocol=one["Protocol"],
            pending=told.get("PendingConfirmation", "true").lower() == "true",
            authenticated=told.get("ConfirmationWasAuthenticated", "").lower() == "true",
        )

    # Account

    def clock(self) -> Iterator[Finding]:
        asked = self.place.client("cloudformation").describe_stacks(StackName=self.place.stack)
        theirs = parsedate_to_datetime(asked["ResponseMetadata"]["HTTPHeaders"]["date"])
        yield doctor.clock(int(theirs.timestamp()), now=self._now)

    def role_look(self, role: str, service: str) -> Callable[[], Iterator[Finding]]:
        def look() -> Iterator[Finding]:
            try:
                self.place.client("iam").get_role(RoleName=role)
                there = True
            except ClientError as error:
                if not _is_missing(error):
                    raise
                there = False
            yield doctor.service_role(role, there=there, service=service)

        return look


@dataclass(frozen=True, slots=True)
class _Text:
    """A text that was read just now; see `dropwell.cromwell.Kept`."""

    text: str

    def read(self, *, afresh: bool = False) -> str:
        return self.text


def _logged(message: str) -> Mapping[str, Any]:
    try:
        told = json.loads(message)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _door(url: str) -> tuple[str, int]:
    split = urlsplit(url)
    return split.hostname or "", split.port or (443 if split.scheme == "https" else 80)


def end_of_certificate(host: str, port: int) -> int:
    """Return when the certificate that a server shows ends, also if it has, whoever signed it.

    `ssl` tells what a certificate says only once it trusts it: so it is asked for
    first, and then trusted alone and for any time, to be read and for nothing else.
    """
    shown = ssl.get_server_certificate((host, port), timeout=_CONNECT_SECONDS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags = ssl.VerifyFlags(context.verify_flags | _NO_CHECK_TIME)
    context.load_verify_locations(cadata=shown)
    with (
        socket.create_connection((host, port), _CONNECT_SECONDS) as connection,
        context.wrap_socket(connection, server_hostname=host) as secured,
    ):
        told = secured.getpeercert() or {}
    return int(ssl.cert_time_to_seconds(str(told["notAfter"])))
