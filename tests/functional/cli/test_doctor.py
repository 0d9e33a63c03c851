"""What the doctor says of a stack that is well, and of each fault: its name and its cure."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import boto3
import pytest
from moto.backends import get_backend
from moto.core.config import default_user_config

from dropwell.jobs import JobStatus, Sighting
from dropwell.records import UNATTRIBUTED, put_job
from tests.functional.cli.conftest import STACK, Ended
from tests.functional.conftest import (
    ACCOUNT,
    INBOX,
    LOGS,
    REGION,
    RUN_ID,
    WORKFLOWS,
    Cloud,
    client,
)
from tests.stubs.cromwell import CromwellStub, Mode
from tests.stubs.door import certificate, ended, key_and_certificate, show, showing
from tests.stubs.stacks import StacksStub
from tests.transformed import template

WATCHER_LOGS = "/dropwell/watcher"
QUEUE_OF = {
    "JobStateRule": "SightingQueue",
    "QueueBlockedRule": "SightingQueue",
    "ReturnCodeRule": "DiagnosisQueue",
}
READS = {
    "SubmitterFunction": "DropQueue",
    "StatusWatcherFunction": "SightingQueue",
    "LogRouterFunction": "DiagnosisQueue",
}
ASSUMED_BY_LAMBDA = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "lambda.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
)


def queue_arn(name: str) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


class Stack:
    """What the template makes beside what the functions need, as CloudFormation would leave it."""

    def __init__(self, cloud: Cloud, stacks: StacksStub, cromwell: CromwellStub) -> None:
        self.stacks = stacks
        self.mappings: dict[str, str] = {}
        self.outputs = dict(cloud.names) | {"WorkflowBucket": WORKFLOWS}
        self.parameters: dict[str, str] = {"CromwellUrl": cromwell.url, "BatchLogGroup": LOGS}
        self.resources: dict[str, str] = {"StatusWatcherLogs": WATCHER_LOGS}
        role = client("iam").create_role(
            RoleName="functions", AssumeRolePolicyDocument=ASSUMED_BY_LAMBDA
        )["Role"]["Arn"]
        client("dynamodb").update_table(
            TableName="table",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"},
        )
        client("dynamodb").update_continuous_backups(
            TableName="table",
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
        )
        for function, queue in READS.items():
            arn = client("lambda").create_function(
                FunctionName=function,
                Role=role,
                Runtime="python3.13",
                Handler="handler.lambda_handler",
                Code={"ZipFile": b"none"},
            )["FunctionArn"]
            self.outputs[function] = function
            self._read(function, queue, queue_arn(queue))
            if function == "StatusWatcherFunction":
                self._rule("StatusWatcherFunctionSweep", arn, ScheduleExpression="rate(1 minute)")
        table = client("dynamodb").describe_table(TableName="table")["Table"]
        self._read("LogRouterFunction", "stream", table["LatestStreamArn"])
        for rule, queue in QUEUE_OF.items():
            pattern = template().properties(rule)["EventPattern"]
            self._rule(rule, queue_arn(queue), EventPattern=json.dumps(pattern))
        self._notify()
        client("logs").create_log_group(logGroupName=WATCHER_LOGS)
        client("logs").create_log_stream(logGroupName=WATCHER_LOGS, logStreamName="one")
        self.sweep()
        stacks.stacks[STACK] = self.outputs, self.parameters
        stacks.resources[STACK] = self.resources

    def _read(self, function: str, what: str, source: str) -> None:
        more = {"StartingPosition": "TRIM_HORIZON"} if what == "stream" else {}
        self.mappings[what] = client("lambda").create_event_source_mapping(
            FunctionName=function, EventSourceArn=source, **more
        )["UUID"]

    def _rule(self, name: str, target: str, **when: str) -> None:
        self.resources[name] = f"{STACK}-{name}-1ABC"
        client("events").put_rule(Name=self.resources[name], **when)
        client("events").put_targets(
            Rule=self.resources[name], Targets=[{"Id": "one", "Arn": target}]
        )

    def _notify(self) -> None:
        told = [
            {
                "QueueArn": queue_arn("DropQueue"),
                "Events": ["s3:ObjectCreated:*"],
                "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}]}},
            }
            for prefix in ("inbox/", "control/")
        ]
        client("s3").put_bucket_notification_configuration(
            Bucket=INBOX, NotificationConfiguration={"QueueConfigurations": told}
        )
        client("s3").put_bucket_notification_configuration(
            Bucket=WORKFLOWS, NotificationConfiguration={"EventBridgeConfiguration": {}}
        )

    def sweep(self, *, ago: int = 20, away: bool = False) -> None:
        """Log a sweep as the watcher does."""
        logged = {"level": "INFO", "message": "watched", "posts_due": 0, "cromwell_away": int(away)}
        client("logs").put_log_events(
            logGroupName=WATCHER_LOGS,
            logStreamName="one",
            logEvents=[{"timestamp": int(time.time() - ago) * 1000, "message": json.dumps(logged)}],
        )


@pytest.fixture
def made(
    cloud: Cloud,
    stacks: StacksStub,
    cromwell: CromwellStub,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Stack]:
    # moto is to keep functions and jobs, not to run them.
    monkeypatch.setattr("moto.awslambda.models.LambdaFunction.invoke", lambda *asked: "")
    monkeypatch.setitem(default_user_config, "batch", {"use_docker": False})
    cloud.clock.now = int(time.time())
    client("iam").create_role(
        RoleName="AWSServiceRoleForBatch", AssumeRolePolicyDocument=ASSUMED_BY_LAMBDA
    )
    events = boto3._get_default_session().events  # type: ignore[attr-defined]
    events.register(NOTIFICATIONS_TOLD, with_event_bridge)
    yield Stack(cloud, stacks, cromwell)
    events.unregister(NOTIFICATIONS_TOLD, with_event_bridge)


NOTIFICATIONS_TOLD = "after-call.s3.GetBucketNotificationConfiguration"


def with_event_bridge(parsed: dict[str, Any], **more: object) -> None:
    """Have moto tell of notifications to EventBridge, as S3 does: it keeps them, and no more."""
    bucket = get_backend("s3")[ACCOUNT]["aws"].buckets[WORKFLOWS]
    kept = bucket.notification_configuration
    if kept and kept.event_bridge is not None:
        parsed["EventBridgeConfiguration"] = {}


Looked = Callable[..., dict[str, Any]]


@pytest.fixture
def look(dropwell: Callable[..., Ended], made: Stack) -> Looked:
    """Have the doctor look, and return what it found by name."""

    def look() -> dict[str, Any]:
        ended = dropwell("doctor", "--json", "--stack-name", STACK)
        assert ended.error == ""
        checks = {check["name"]: check for check in ended.told["checks"]}
        failing = [name for name, check in checks.items() if check["level"] == "fail"]
        assert ended.code == (1 if failing else 0)
        assert ended.told["sound"] is not bool(failing)
        return checks

    return look


def ill(checks: Mapping[str, Any]) -> dict[str, str]:
    """Return the level of each check that is not well."""
    return {name: check["level"] for name, check in checks.items() if check["level"] != "ok"}


def test_a_stack_that_is_well_has_nothing_to_be_done(look):
    assert ill(look()) == {}


def test_people_read_one_line_a_check(dropwell, made):
    told = dropwell("doctor", "--stack-name", STACK)
    assert told.code == 0
    *lines, last = told.out.splitlines()
    assert last == f"All {len(lines)} checks are well."
    assert all(line.startswith("ok    ") for line in lines)
    assert "ok    Cromwell: version: is 92." in lines


class TestWiring:
    @pytest.mark.parametrize(
        ("name", "rule", "missed"),
        [
            ("job events", "JobStateRule", "nobody hears how jobs fare"),
            ("sweep", "StatusWatcherFunctionSweep", "nothing that was missed is found again"),
        ],
    )
    def test_a_rule_that_is_off_is_to_be_turned_on(self, look, made, name, rule, missed):
        client("events").disable_rule(Name=made.resources[rule])
        checks = look()
        assert ill(checks) == {name: "fail"}
        assert checks[name]["found"] == f"its rule is off: {missed}"
        assert checks[name]["command"] == f"aws events enable-rule --name {made.resources[rule]}"

    def test_a_rule_without_its_target_is_to_be_deployed_again(self, look, made):
        rule = made.resources["ReturnCodeRule"]
        client("events").remove_targets(Rule=rule, Ids=["one"])
        checks = look()
        assert ill(checks) == {"return codes": "fail"}
        assert "does not lead to DiagnosisQueue" in checks["return codes"]["found"]
        assert "Deploy the template again" in checks["return codes"]["cure"]

    def test_a_rule_that_is_gone_is_to_be_deployed_again(self, look, made):
        rule = made.resources["QueueBlockedRule"]
        client("events").remove_targets(Rule=rule, Ids=["one"])
        client("events").delete_rule(Name=rule)
        assert look()["blocked queues"]["found"].startswith("its rule is gone")

    def test_a_function_that_reads_no_longer_is_to_be_turned_on(self, look, made):
        uuid = made.mappings["SightingQueue"]
        client("lambda").update_event_source_mapping(UUID=uuid, Enabled=False)
        checks = look()
        assert ill(checks) == {"status_watcher": "fail"}
        assert checks["status_watcher"]["command"].endswith(f"--uuid {uuid} --enabled")

    def test_a_function_that_lost_its_source_is_to_be_deployed_again(self, look, made):
        client("lambda").delete_event_source_mapping(UUID=made.mappings["stream"])
        assert "the table's stream: the mapping is gone" in look()["notices"]["found"]

    def test_a_missing_index_is_named(self, look):
        client("dynamodb").update_table(
            TableName="table", GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "due"}}]
        )
        checks = look()
        assert ill(checks) == {"index": "fail"}
        assert "the table table has no index due" in checks["index"]["found"]
        assert "due_kind, due_at" in checks["index"]["cure"]

    def test_a_table_that_cannot_be_brought_back_is_a_warning(self, look):
        client("dynamodb").update_continuous_backups(
            TableName="table",
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False},
        )
        assert ill(look()) == {"recovery": "warn"}

    def test_an_inbox_whose_notifications_were_replaced_is_named(self, look):
        client("s3").put_bucket_notification_configuration(
            Bucket=INBOX, NotificationConfiguration={}
        )
        checks = look()
        assert ill(checks) == {"inbox": "fail"}
        assert "control/ and inbox/" in checks["inbox"]["found"]

    def test_a_workflow_bucket_that_tells_nobody_is_named(self, look):
        client("s3").put_bucket_notification_configuration(
            Bucket=WORKFLOWS, NotificationConfiguration={}
        )
        assert ill(look()) == {"workflow bucket": "fail"}

    def test_a_sweep_that_comes_no_more_is_named(self, look, made):
        client("logs").delete_log_stream(logGroupName=WATCHER_LOGS, logStreamName="one")
        checks = look()
        assert ill(checks) == {"last sweep": "fail"}
        assert "StatusWatcherFunction" in checks["last sweep"]["cure"]

    def test_a_stack_left_half_done_is_named(self, look, stacks):
        stacks.status = "UPDATE_ROLLBACK_FAILED"
        assert ill(look()) == {"stack": "fail"}


def test_a_dead_letter_is_counted_and_can_be_sent_back(look, made):
    url = made.outputs["SightingDeadLetters"]
    client("sqs").send_message(QueueUrl=url, MessageBody="{}")
    checks = look()
    assert ill(checks) == {"SightingDeadLetters": "fail"}
    found = checks["SightingDeadLetters"]
    assert found["found"] == "1 message could not be handled"
    assert found["command"].endswith(f"--source-arn {queue_arn('SightingDeadLetters')}")


class TestCromwell:
    def test_that_the_stack_made_is_found_by_its_outputs(self, look, cromwell, made):
        made.outputs["CromwellUrl"] = made.parameters["CromwellUrl"]
        made.parameters["CromwellUrl"] = ""
        made.outputs["SubnetIds"] = "subnet-1"
        assert ill(look()) == {}
        cromwell.mode = Mode.DOWN
        assert ill(look()) == {"answers": "warn"}

    def test_that_is_down_is_named(self, look, cromwell):
        cromwell.mode = Mode.DOWN
        checks = look()
        assert ill(checks) == {"answers": "fail"}
        assert checks["answers"]["found"].endswith("cannot be reached: connection refused")
        assert "supervisorctl status" in checks["answers"]["cure"]

    def test_in_a_private_network_need_not_answer_here(self, look, cromwell, made):
        made.parameters["SubnetIds"] = "subnet-1"
        cromwell.mode = Mode.DOWN
        checks = look()
        assert ill(checks) == {"answers": "warn"}
        assert "not reachable from here" in checks["answers"]["found"]
        assert checks["answers"]["command"].startswith("curl http://localhost:8000/")

    def test_in_a_private_network_that_the_functions_do_not_reach_fails(self, look, cromwell, made):
        made.parameters["SubnetIds"] = "subnet-1"
        cromwell.mode = Mode.DOWN
        made.sweep(ago=5, away=True)
        checks = look()
        assert ill(checks) == {"answers": "fail"}
        assert "did not answer the last sweep either" in checks["answers"]["found"]

    def test_behind_a_proxy_that_speaks_for_itself_is_named(self, look, cromwell):
        cromwell.mode = Mode.GATEWAY
        checks = look()
        assert ill(checks) == {"answers": "fail"}
        assert "502" in checks["answers"]["found"]

    def test_of_old_is_to_be_upgraded(self, look, cromwell):
        cromwell.version = "74"
        checks = look()
        assert ill(checks) == {"version": "fail"}
        assert checks["version"]["found"].startswith("is 74: before 75")
        assert checks["version"]["cure"].startswith("Upgrade Cromwell")

    def test_of_yesterday_lacks_what_it_lacks(self, look, cromwell):
        cromwell.version = "91"
        checks = look()
        assert ill(checks) == {"version": "warn"}
        assert checks["version"]["found"] == "is 91: jobs bear no tags (92)"


PARAMETER = "/gwfcore/one/cromwell/certificate"
SECRET = "dropwell/token-AbCdEf"  # moto takes an ARN of ours for one without its last characters


class TestTheDoor:
    @pytest.fixture
    def tls(self) -> ssl.SSLContext:
        return showing(key_and_certificate())

    @pytest.fixture
    def cromwell(self, tls: ssl.SSLContext) -> Iterator[CromwellStub]:
        with CromwellStub(tls=tls) as stub:
            stub.token = "token-of-this-server"
            yield stub

    @pytest.fixture(autouse=True)
    def keys(self, made):
        made.parameters["CromwellCertificateParameter"] = PARAMETER
        made.parameters["CromwellTokenSecretArn"] = (
            f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{SECRET}"
        )
        pem = certificate(key_and_certificate())
        client("ssm").put_parameter(Name=PARAMETER, Value=pem, Type="String")
        client("secretsmanager").create_secret(Name=SECRET, SecretString="token-of-this-server")

    def test_that_opens_tells_how_long_its_certificate_lasts(self, look):
        checks = look()
        assert ill(checks) == {}
        assert checks["certificate"]["found"] in (
            "good for 364 days more",
            "good for 365 days more",
        )

    def test_with_an_expired_certificate_is_named(self, look, tls):
        old = ended(key_and_certificate())
        show(tls, old)
        client("ssm").put_parameter(
            Name=PARAMETER, Value=certificate(old), Type="String", Overwrite=True
        )
        checks = look()
        assert ill(checks) == {"answers": "fail", "certificate": "fail"}
        assert checks["certificate"]["found"].startswith("has expired, ")
        assert "dropwell-certificate" in checks["certificate"]["cure"]
        assert "certificate has expired" in checks["answers"]["found"]

    def test_that_refuses_the_token_is_named(self, look, cromwell):
        cromwell.token = "another-token-of-this-server"
        checks = look()
        assert ill(checks) == {"answers": "fail"}
        assert "refuses our token (401)" in checks["answers"]["found"]
        assert "CromwellTokenSecretArn" in checks["answers"]["cure"]

    def test_without_its_secret_is_named(self, look):
        client("secretsmanager").delete_secret(SecretId=SECRET, ForceDeleteWithoutRecovery=True)
        checks = look()
        assert ill(checks) == {"answers": "fail"}
        assert "the token's secret is not there" in checks["answers"]["found"]


class TestTags:
    @pytest.fixture
    def submit(self, cloud, made):
        """Have Batch know a job that a run's table has too, with such tags."""
        batch = client("batch")
        role = client("iam").create_role(
            RoleName="batch", AssumeRolePolicyDocument=ASSUMED_BY_LAMBDA
        )["Role"]["Arn"]
        environment = batch.create_compute_environment(
            computeEnvironmentName="one", type="UNMANAGED", state="ENABLED", serviceRole=role
        )["computeEnvironmentArn"]
        queue = batch.create_job_queue(
            jobQueueName="one",
            state="ENABLED",
            priority=1,
            computeEnvironmentOrder=[{"order": 1, "computeEnvironment": environment}],
        )["jobQueueArn"]
        definition = batch.register_job_definition(
            jobDefinitionName="one",
            type="container",
            containerProperties={"image": "debian:12", "vcpus": 1, "memory": 64},
        )["jobDefinitionArn"]

        def submit(tags: Mapping[str, str]) -> None:
            job_id = batch.submit_job(
                jobName="call", jobQueue=queue, jobDefinition=definition, tags=tags
            )["jobId"]
            self.keep(cloud, RUN_ID, job_id)

        return submit

    @staticmethod
    def keep(cloud: Cloud, pk: str, job_id: str) -> None:
        seen = Sighting(job_id=job_id, status=JobStatus.RUNNING, created_at=int(time.time() * 1000))
        cloud.table.write(put_job(pk, None, seen, None))

    def test_on_are_seen(self, look, cloud, submit):
        cloud.running(dropped_at=int(time.time()))
        submit({"cromwell-workflow-id": RUN_ID})
        checks = look()
        assert ill(checks) == {}
        assert checks["tags"]["found"] == "on 1 of the latest 1 job"

    def test_off_are_to_be_turned_on(self, look, cloud, submit):
        cloud.running(dropped_at=int(time.time()))
        submit({})
        checks = look()
        assert ill(checks) == {"tags": "warn"}
        assert "are off: none on the latest 1 job" in checks["tags"]["found"]
        assert "tagResources = true" in checks["tags"]["cure"]

    def test_that_place_no_job_are_named(self, look, cloud):
        self.keep(cloud, UNATTRIBUTED, "job-1")
        checks = look()
        assert ill(checks) == {"tags": "warn"}
        assert checks["tags"]["found"] == "1 job of the last 7 days could be given to no run"


class TestPeople:
    @pytest.fixture
    def subscribed(self, made) -> Any:
        """Subscribe an address; moto confirms at once, so what it keeps is to be changed."""
        topic = made.outputs["MailTopic"]
        arn = client("sns").subscribe(
            TopicArn=topic, Protocol="email", Endpoint="ada@example.org", ReturnSubscriptionArn=True
        )["SubscriptionArn"]
        return get_backend("sns")[ACCOUNT][REGION].subscriptions[arn]

    def test_that_have_not_confirmed_hear_nothing(self, look, subscribed):
        subscribed.arn = "PendingConfirmation"  # what AWS lists in its place
        checks = look()
        assert ill(checks) == {"ada@example.org": "fail"}
        assert checks["ada@example.org"]["found"].startswith("is not confirmed")
        assert "by the link in AWS's mail" in checks["ada@example.org"]["cure"]

    def test_whose_mail_was_sent_on_can_be_unsubscribed(self, look, subscribed):
        subscribed.attributes["ConfirmationWasAuthenticated"] = "false"
        checks = look()
        assert ill(checks) == {"ada@example.org": "warn"}
        assert "unsubscribe link" in checks["ada@example.org"]["found"]
        assert checks["ada@example.org"]["command"].endswith("--authenticate-on-unsubscribe true")

    def test_are_none_where_nobody_is_subscribed(self, look, made):
        sns = client("sns")
        for one in sns.list_subscriptions()["Subscriptions"]:
            sns.unsubscribe(SubscriptionArn=one["SubscriptionArn"])
        checks = look()
        assert ill(checks) == {"mails": "warn"}
        assert checks["mails"]["command"].startswith("aws sns subscribe")


class TestTheClock:
    def test_that_is_ten_minutes_ahead_is_named(self, look, cloud):
        cloud.clock.pass_by(630)
        checks = look()
        assert checks["clock"]["level"] == "fail"
        assert checks["clock"]["found"].startswith("this machine's is 10 min ahead of AWS's")
        assert "timedatectl" in checks["clock"]["cure"]

    def test_that_aws_takes_nothing_from_is_named_by_every_command(self, ask, stacks):
        stacks.refusal = "SignatureDoesNotMatch", "Signature expired: 20251105T100000Z is earlier"
        for command in ("doctor", "runs"):
            ended = ask(command)
            assert ended.code == 1
            assert "AWS refuses what this machine's clock says" in ended.error


def test_what_may_not_be_read_is_a_warning_and_hides_nothing_else(look, made):
    del made.outputs["EventDeadLetters"]
    made.outputs["EventDeadLetters"] = "https://sqs.eu-west-1.amazonaws.com/1/nosuch"
    checks = look()
    assert ill(checks) == {"EventDeadLetters": "warn"}
    assert "AWS refused GetQueueAttributes" in checks["EventDeadLetters"]["found"]


def test_a_missing_service_role_is_a_warning(look):
    client("iam").delete_role(RoleName="AWSServiceRoleForBatch")
    checks = look()
    assert ill(checks) == {"role for batch": "warn"}


def test_what_an_older_template_did_not_make_is_said_so(look, made):
    del made.resources["StatusWatcherLogs"]
    checks = look()
    assert ill(checks) == {"last sweep": "warn"}
    assert "the stack has no StatusWatcherLogs" in checks["last sweep"]["found"]
