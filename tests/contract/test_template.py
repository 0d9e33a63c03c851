"""The template against the code that it deploys: settings, events, rights, queues, keeping."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from dropwell.aws import tables
from dropwell.aws.bus import SOURCE
from dropwell.drops import CONTROL, DATA_FILES, INBOX, rejected_folder, run_folder
from dropwell.projects import PROJECTS_FILE
from dropwell.records import COUNTS, JOB, NOTICE, RUN
from dropwell.settings import LogRouterSettings, StatusWatcherSettings, SubmitterSettings
from dropwell_local.cromwell.patterns import matches
from tests.transformed import ROOT, template

EVENTS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "events").glob("*.json")}
WORKFLOWS = "dropwell-workflows-123456789012"
QUEUE = "arn:aws:batch:eu-west-1:123456789012:job-queue/dropwell-spot"
SECRETS = "arn:aws:secretsmanager:eu-west-1:123456789012:secret"
KEYS = "arn:aws:kms:eu-west-1:123456789012"
STACK = template(CromwellUrl="http://cromwell", WorkflowBucketName=WORKFLOWS)

FUNCTIONS = {
    "SubmitterFunction": SubmitterSettings,
    "StatusWatcherFunction": StatusWatcherSettings,
    "LogRouterFunction": LogRouterSettings,
}
FOLDERS = {
    "SubmitterFunction": "submitter",
    "StatusWatcherFunction": "status_watcher",
    "LogRouterFunction": "log_router",
}


def handler(function: str) -> Path:
    return ROOT / "functions" / FOLDERS[function] / "handler.py"


def settings_read(path: Path) -> set[str]:
    """Return the fields that a handler takes from its settings."""
    return {
        node.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "settings"
    }


class TestSettings:
    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_are_the_functions_variables_and_no_others(self, function):
        variables = {
            name for name in STACK.environment(function) if not name.startswith("POWERTOOLS_")
        }
        assert variables == {setting.name.upper() for setting in fields(FUNCTIONS[function])}

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_can_be_read_from_the_defaults(self, function):
        settings = FUNCTIONS[function].of(STACK.environment(function))
        assert settings.retention_days == 400

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_of_a_functions_own_are_all_used_by_it(self, function):
        shared = set.intersection(
            *({setting.name for setting in fields(kind)} for kind in FUNCTIONS.values())
        )
        own = {setting.name for setting in fields(FUNCTIONS[function])} - shared
        assert own <= settings_read(handler(function))

    def test_that_all_share_are_used_by_some(self):
        used = set.union(*(settings_read(handler(function)) for function in FUNCTIONS))
        shared = {setting.name for setting in fields(StatusWatcherSettings)} & {
            setting.name for setting in fields(LogRouterSettings)
        }
        assert shared - used == {"retention_days"}, "read as retention_seconds"
        assert "retention_seconds" in used

    def test_without_a_default_are_never_empty(self):
        for function, kind in FUNCTIONS.items():
            environment = STACK.environment(function)
            for setting in fields(kind):
                if setting.default is MISSING:
                    assert environment[setting.name.upper()], setting.name

    def test_the_lease_outlasts_the_function_that_holds_it(self):
        lease = int(STACK.environment("SubmitterFunction")["LEASE_SECONDS"])
        assert lease > STACK.properties("SubmitterFunction")["Timeout"]


def pattern(rule, stack=STACK):
    return stack.properties(rule)["EventPattern"]


FORWARDED = {
    "batch_runnable",
    "batch_running",
    "batch_running_again",
    "batch_succeeded",
    "batch_failed",
    "batch_retry_runnable",
    "batch_spot_lost",
    "batch_host_lost",
    "batch_out_of_memory",
    "batch_cromwell_attempt_2",
    "batch_timeout",
    "batch_image_pull_failed",
    "batch_aborted",
    "batch_untagged",
    "batch_sub_workflow_shard",
    "batch_not_cromwell",
    "batch_array_child",
}
RETURN_CODES = {
    "rc_created",
    "rc_created_shard_attempt",
    "rc_created_sub_workflow",
    "rc_cache_copy_created",
}


class TestEventPatterns:
    @pytest.mark.parametrize("name", sorted(EVENTS))
    def test_of_jobs_take_what_moves_a_count(self, name):
        assert matches(pattern("JobStateRule"), EVENTS[name]) == (name in FORWARDED)

    @pytest.mark.parametrize("name", sorted(EVENTS))
    def test_of_queues_take_what_tells_that_one_is_blocked(self, name):
        assert matches(pattern("QueueBlockedRule"), EVENTS[name]) == (name == "batch_queue_blocked")

    @pytest.mark.parametrize(("queues", "taken"), [(QUEUE, True), ("arn:another", False)])
    def test_of_queues_take_those_that_are_named(self, queues, taken):
        narrowed = template(CromwellUrl="http://c", JobQueueArns=queues)
        blocked = EVENTS["batch_queue_blocked"]
        assert matches(pattern("QueueBlockedRule", narrowed), blocked) is taken

    @pytest.mark.parametrize("name", sorted(EVENTS))
    def test_of_return_codes_take_those_of_our_bucket(self, name):
        assert matches(pattern("ReturnCodeRule"), EVENTS[name]) == (name in RETURN_CODES)

    def test_of_return_codes_leave_other_buckets_alone(self):
        elsewhere = template(CromwellUrl="http://c", WorkflowBucketName="another")
        assert not matches(pattern("ReturnCodeRule", elsewhere), EVENTS["rc_created"])

    @pytest.mark.parametrize("queues", [QUEUE, f"arn:another,{QUEUE}"])
    def test_of_jobs_take_the_queues_that_are_named(self, queues):
        narrowed = template(CromwellUrl="http://c", JobQueueArns=queues)
        assert matches(pattern("JobStateRule", narrowed), EVENTS["batch_running"])

    def test_of_jobs_leave_other_queues_alone(self):
        narrowed = template(CromwellUrl="http://c", JobQueueArns="arn:another")
        assert not matches(pattern("JobStateRule", narrowed), EVENTS["batch_running"])


class TestTheStreamsFilter:
    @pytest.fixture
    def wanted(self):
        mapping = STACK.properties("LogRouterFunctionNotices")
        [found] = mapping["FilterCriteria"]["Filters"]
        return lambda record: matches(json.loads(found["Pattern"]), record)

    @pytest.fixture
    def record(self):
        [record] = EVENTS["table_notice_inserted"]["Records"]
        return json.loads(json.dumps(record))

    def test_takes_a_notice_that_is_new(self, wanted, record):
        assert wanted(record)

    @pytest.mark.parametrize("sk", [RUN, COUNTS, f"{JOB}1", f"X{NOTICE}ended"])
    def test_leaves_every_other_item(self, wanted, record, sk):
        record["dynamodb"]["Keys"]["sk"]["S"] = sk
        assert not wanted(record)

    @pytest.mark.parametrize("what", ["MODIFY", "REMOVE"])
    def test_leaves_what_became_of_a_notice(self, wanted, record, what):
        record["eventName"] = what
        assert not wanted(record)


# Who may do what, to what. Whoever widens a role says so here.
OWN_LOG = ("logs:CreateLogStream", "logs:PutLogEvents")
TAKE = ("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage")
REMEMBER = (
    "dynamodb:BatchGetItem",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:UpdateItem",
)
BUCKET = f"arn:aws:s3:::{WORKFLOWS}"
RIGHTS = {
    "SubmitterRole": {
        OWN_LOG: {"SubmitterLogs.Arn"},
        TAKE: {"DropQueue.Arn"},
        ("s3:DeleteObjectVersion", "s3:GetObjectVersion"): {
            "InboxBucket.Arn/inbox/*",
            "InboxBucket.Arn/control/*",
        },
        ("s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"): {
            "InboxBucket.Arn/runs/*",
            "InboxBucket.Arn/rejected/*",
        },
        ("s3:GetObject",): {f"InboxBucket.Arn/{PROJECTS_FILE}"},
        ("s3:ListBucket", "s3:ListBucketVersions"): {"InboxBucket.Arn"},
        ("s3:AbortMultipartUpload", "s3:PutObject"): {f"{BUCKET}/{DATA_FILES}*"},
        REMEMBER: {"Table.Arn"},
    },
    "StatusWatcherRole": {
        OWN_LOG: {"StatusWatcherLogs.Arn"},
        TAKE: {"SightingQueue.Arn"},
        ("sqs:SendMessage",): {
            "SightingQueue.Arn",
            "DiagnosisQueue.Arn",
            "DropQueue.Arn",
            "EventDeadLetters.Arn",
        },
        REMEMBER: {"Table.Arn"},
        ("dynamodb:Query",): {f"Table.Arn/index/{tables.INDEX}"},
        ("s3:GetObject",): {f"{BUCKET}/*"},
        ("s3:ListBucket",): {BUCKET},
        ("s3:PutObject",): {"InboxBucket.Arn/runs/*"},
        ("batch:DescribeJobs",): {"*"},
    },
    "LogRouterRole": {
        OWN_LOG: {"LogRouterLogs.Arn"},
        (*TAKE, "sqs:SendMessage"): {"DiagnosisQueue.Arn"},
        ("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"): {
            "Table.StreamArn"
        },
        ("dynamodb:ListStreams",): {"*"},
        REMEMBER: {"Table.Arn"},
        ("s3:GetObject",): {f"{BUCKET}/*"},
        ("s3:ListBucket",): {BUCKET, "InboxBucket.Arn"},
        ("s3:GetObject", "s3:PutObject"): {"InboxBucket.Arn/runs/*", "InboxBucket.Arn/rejected/*"},
        ("logs:GetLogEvents",): {
            "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/batch/job",
            "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/batch/job:*",
        },
        ("sns:Publish",): {"MailTopic"},
        ("events:PutEvents",): {"Bus.Arn"},
        ("sqs:SendMessage",): {"EventDeadLetters.Arn"},
    },
}
IN_A_VPC = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
)


def listed(value):
    return value if isinstance(value, list) else [value]


def rights(role, stack=STACK):
    found = {}
    for statement in stack.statements(role):
        assert statement["Effect"] == "Allow"
        actions = tuple(sorted(listed(statement["Action"])))
        found.setdefault(actions, set()).update(listed(statement["Resource"]))
    return found


class TestRights:
    @pytest.mark.parametrize("role", RIGHTS)
    def test_are_exactly_these(self, role):
        assert rights(role) == RIGHTS[role]

    def test_are_of_no_other_role(self):
        roles = {name for name, r in STACK.resources.items() if r["Type"] == "AWS::IAM::Role"}
        assert roles == set(RIGHTS)

    @pytest.mark.parametrize("role", RIGHTS)
    def test_name_their_actions(self, role):
        assert not [action for actions in rights(role) for action in actions if "*" in action]

    @pytest.mark.parametrize("role", RIGHTS)
    def test_hang_on_no_managed_policy(self, role):
        assert "ManagedPolicyArns" not in STACK.properties(role)

    @pytest.mark.parametrize("role", RIGHTS)
    def test_are_taken_up_by_lambda_alone(self, role):
        [statement] = STACK.properties(role)["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}

    def test_in_a_vpc_are_these_more_for_who_calls_cromwell(self):
        inside = template(CromwellUrl="http://c", SubnetIds="subnet-1", SecurityGroupIds="sg-1")
        outside = template(CromwellUrl="http://c")
        for role in ("SubmitterRole", "StatusWatcherRole"):
            more = {k: v for k, v in rights(role, inside).items() if k not in rights(role, outside)}
            assert more == {IN_A_VPC: {"*"}}
        assert rights("LogRouterRole", inside) == rights("LogRouterRole", outside)
        assert "VpcConfig" not in inside.properties("LogRouterFunction")

    def test_open_cromwells_door_with_exactly_what_is_named_where_cromwell_is_called(self):
        token, key = f"{SECRETS}:token-AbCdEf", "arn:aws:kms:eu-west-1:123456789012:key/a"
        pin = {"CromwellCertificateParameter": "/gwfcore/one/cromwell/certificate"}
        read = {
            ("ssm:GetParameter",): {
                "arn:aws:ssm:eu-west-1:123456789012:parameter/gwfcore/one/cromwell/certificate"
            }
        }
        ask = {("secretsmanager:GetSecretValue",): {token}}
        for parameters, expected in (
            (pin, read),
            ({"CromwellTokenSecretArn": token}, ask),
            ({"CromwellTokenKeyArn": key}, {}),
            (
                {**pin, "CromwellTokenSecretArn": token, "CromwellTokenKeyArn": key},
                {**read, **ask, ("kms:Decrypt",): {key}},
            ),
        ):
            opened = template(CromwellUrl="https://c", **parameters)
            for role in RIGHTS:
                more = {k: v for k, v in rights(role, opened).items() if k not in rights(role)}
                assert more == ({} if role == "LogRouterRole" else expected)

    def test_use_a_tokens_key_for_that_token_alone(self):
        token, key = f"{SECRETS}:token-AbCdEf", "arn:aws:kms:eu-west-1:123456789012:key/a"
        opened = template(
            CromwellUrl="https://c", CromwellTokenSecretArn=token, CromwellTokenKeyArn=key
        )
        [decrypt] = [s for s in opened.statements("SubmitterRole") if s["Resource"] == key]
        assert decrypt["Condition"] == {"StringEquals": {"kms:EncryptionContext:SecretARN": token}}

    def test_use_the_keys_of_buckets_that_have_their_own(self):
        keys = {"arn:aws:kms:eu-west-1:1:key/a", "arn:aws:kms:eu-west-1:1:key/b"}
        keyed = template(CromwellUrl="http://c", BucketKeyArns=",".join(sorted(keys)))
        for role in RIGHTS:
            more = {k: v for k, v in rights(role, keyed).items() if k not in rights(role)}
            stores = ("kms:Decrypt", "kms:GenerateDataKey")
            assert more == {stores if role == "SubmitterRole" else ("kms:Decrypt",): keys}

    def test_reach_scripts_that_lie_in_a_bucket_of_their_own(self):
        apart = template(
            CromwellUrl="http://c", WorkflowBucketName=WORKFLOWS, ScriptBucketName="scripts"
        )
        for role in ("StatusWatcherRole", "LogRouterRole"):
            assert "arn:aws:s3:::scripts/*" in rights(role, apart)["s3:GetObject",]
            assert "arn:aws:s3:::scripts" in rights(role, apart)["s3:ListBucket",]

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_belong_to_one_function_each(self, function):
        role = function.removesuffix("Function") + "Role"
        assert STACK.properties(function)["Role"] == f"{role}.Arn"


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("parameters", "said"),
        [
            ({"SubnetIds": "subnet-1"}, "SubnetIds needs SecurityGroupIds"),
            ({"CromwellTokenKeyArn": "arn"}, "CromwellTokenKeyArn is the key of"),
        ],
    )
    def test_is_half_of_what_belongs_together(self, parameters, said):
        [refusal] = template(CromwellUrl="https://c", **parameters).refusals()
        assert refusal.startswith(said)

    @pytest.mark.parametrize(
        ("parameter", "good", "bad"),
        [
            (
                "CromwellCertificateParameter",
                ["", "/a", "/gwfcore/one/c"],
                ["a", "/", "/a*", "/a/"],
            ),
            (
                "CromwellTokenSecretArn",
                ["", f"{SECRETS}:token-AbCdEf"],
                ["token", f"{SECRETS}:*", f"{SECRETS}:t\n"],
            ),
            (
                "CromwellTokenKeyArn",
                ["", f"{KEYS}:key/a"],
                ["a", f"{KEYS}:alias/a", f"{KEYS}:key/*"],
            ),
        ],
    )
    def test_is_a_name_that_would_open_more_than_one_thing(self, parameter, good, bad):
        pattern = STACK.document["Parameters"][parameter]["AllowedPattern"]
        assert [text for text in [*good, *bad] if re.fullmatch(pattern, text)] == good


QUEUES = STACK.of_type("AWS::SQS::Queue")
READERS = {
    mapping["EventSourceArn"].removesuffix(".Arn"): mapping
    for mapping in STACK.of_type("AWS::Lambda::EventSourceMapping").values()
}


class TestQueues:
    @pytest.mark.parametrize("name", sorted(QUEUES))
    def test_that_are_read_give_up_into_another_and_the_others_keep_for_two_weeks(self, name):
        queue = QUEUES[name]
        if name not in READERS:
            assert name.endswith("DeadLetters")
            assert queue["MessageRetentionPeriod"] == 14 * 86400
            return
        redrive = queue["RedrivePolicy"]
        assert redrive["deadLetterTargetArn"].removesuffix(".Arn") in QUEUES
        assert redrive["maxReceiveCount"] >= 5

    @pytest.mark.parametrize("name", sorted(set(READERS) & set(QUEUES)))
    def test_hide_a_message_six_times_as_long_as_its_reader_may_take(self, name):
        reader = READERS[name]
        timeout = STACK.properties(reader["FunctionName"])["Timeout"]
        window = reader.get("MaximumBatchingWindowInSeconds", 0)
        assert QUEUES[name]["VisibilityTimeout"] >= 6 * timeout + window

    @pytest.mark.parametrize("name", sorted(READERS))
    def test_have_readers_that_name_what_failed(self, name):
        assert READERS[name]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]

    @pytest.mark.parametrize("name", sorted(QUEUES))
    def test_are_encrypted(self, name):
        assert QUEUES[name]["SqsManagedSseEnabled"] is True

    def test_are_written_only_by_whom_they_are_for(self):
        writers = {}
        for policy in STACK.of_type("AWS::SQS::QueuePolicy").values():
            for statement in policy["PolicyDocument"]["Statement"]:
                assert statement["Effect"] == "Allow"
                assert statement["Action"] == "sqs:SendMessage"
                assert statement["Condition"], "no confused deputy"
                [queue] = policy["Queues"]
                assert statement["Resource"] == f"{queue}.Arn"
                writers.setdefault(queue, set()).add(statement["Principal"]["Service"])
        assert writers == {
            "DropQueue": {"s3.amazonaws.com"},
            "SightingQueue": {"events.amazonaws.com"},
            "DiagnosisQueue": {"events.amazonaws.com"},
            "EventDeadLetters": {"events.amazonaws.com", "sns.amazonaws.com"},
        }


class TestRules:
    @pytest.mark.parametrize("name", sorted(STACK.of_type("AWS::Events::Rule")))
    def test_say_how_often_they_try_and_where_they_give_up(self, name):
        for target in STACK.properties(name)["Targets"]:
            assert set(target["RetryPolicy"]) == {
                "MaximumEventAgeInSeconds",
                "MaximumRetryAttempts",
            }
            assert target["DeadLetterConfig"] == {"Arn": "EventDeadLetters.Arn"}

    def test_the_stream_gives_up_into_a_queue_as_well(self):
        stream = STACK.properties("LogRouterFunctionNotices")
        assert stream["DestinationConfig"] == {"OnFailure": {"Destination": "EventDeadLetters.Arn"}}
        assert stream["MaximumRetryAttempts"] >= 1
        assert stream["BisectBatchOnFunctionError"] is True


class TestTheTable:
    @pytest.fixture
    def table(self):
        return STACK.properties("Table")

    def test_is_keyed_and_indexed_as_the_adapter_asks(self, table):
        keys = {key["AttributeName"]: key["KeyType"] for key in table["KeySchema"]}
        assert keys == {"pk": "HASH", "sk": "RANGE"}
        [index] = table["GlobalSecondaryIndexes"]
        assert index["IndexName"] == tables.INDEX
        assert [key["AttributeName"] for key in index["KeySchema"]] == ["due_kind", "due_at"]
        assert index["Projection"] == {"ProjectionType": "KEYS_ONLY"}

    def test_forgets_after_retention_by_the_attribute_that_is_written(self, table):
        assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}

    def test_is_kept_safe(self, table):
        recovery = table["PointInTimeRecoverySpecification"]
        assert recovery == {"PointInTimeRecoveryEnabled": True}
        assert table["SSESpecification"] == {"SSEEnabled": True}
        assert table["DeletionProtectionEnabled"] == "true"
        assert STACK.resources["Table"]["DeletionPolicy"] == "Retain"
        assert STACK.resources["Table"]["UpdateReplacePolicy"] == "Retain"

    def test_streams_keys_which_is_all_that_the_router_reads(self, table):
        assert table["StreamSpecification"] == {"StreamViewType": "KEYS_ONLY"}


NOTIFIED = [
    rule["Value"]
    for configuration in STACK.properties("InboxBucket")["NotificationConfiguration"][
        "QueueConfigurations"
    ]
    for rule in configuration["Filter"]["S3Key"]["Rules"]
]


class TestBuckets:
    def test_of_drops_keeps_versions_and_tells_of_drops_and_control_files(self):
        assert STACK.properties("InboxBucket")["VersioningConfiguration"] == {"Status": "Enabled"}
        assert sorted(NOTIFIED) == sorted([INBOX, CONTROL])

    @pytest.mark.parametrize("name", ["..", "", "inbox", "control/x", "/inbox/", "a/../../inbox/b"])
    @pytest.mark.parametrize("folder", [run_folder, rejected_folder])
    def test_are_never_told_of_what_we_write_ourselves(self, folder, name):
        assert not folder(name, name, name).startswith(tuple(NOTIFIED))

    @pytest.mark.parametrize("name", ["InboxBucket", "WorkflowBucket"])
    def test_are_private_encrypted_and_outlive_the_stack(self, name):
        bucket = template(CromwellUrl="http://c").properties(name)
        assert all(bucket["PublicAccessBlockConfiguration"].values())
        assert bucket["BucketEncryption"]
        assert STACK.resources[name]["DeletionPolicy"] == "Retain"

    @pytest.mark.parametrize("name", ["InboxBucket", "WorkflowBucket"])
    def test_are_reached_over_tls_only(self, name):
        policy = template(CromwellUrl="http://c").properties(f"{name}Policy")["PolicyDocument"]
        [statement] = policy["Statement"]
        assert (statement["Effect"], statement["Action"]) == ("Deny", "s3:*")
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}

    def test_what_was_removed_outlives_queue_and_redrive(self):
        [days] = [
            rule["NoncurrentVersionExpiration"]["NoncurrentDays"]
            for rule in STACK.properties("InboxBucket")["LifecycleConfiguration"]["Rules"]
            if "NoncurrentVersionExpiration" in rule
        ]
        assert days * 86400 > 2 * QUEUES["DropQueue"]["MessageRetentionPeriod"]

    def test_one_that_is_made_tells_eventbridge_of_return_codes(self):
        made = template(CromwellUrl="http://c").properties("WorkflowBucket")
        assert made["NotificationConfiguration"] == {
            "EventBridgeConfiguration": {"EventBridgeEnabled": True}
        }


class TestFunctions:
    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_have_a_handler_where_the_template_looks_for_it(self, function):
        assert STACK.properties(function)["Handler"] == "handler.lambda_handler"
        tree = ast.parse(handler(function).read_text())
        assert "lambda_handler" in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_bring_no_requirements_of_their_own(self, function):
        assert sorted(path.name for path in handler(function).parent.glob("*.*")) == ["handler.py"]

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_keep_their_logs_for_a_while(self, function):
        logs = STACK.properties(function)["LoggingConfig"]["LogGroup"]
        assert STACK.properties(logs)["RetentionInDays"] == 90

    def test_speak_on_a_bus_under_our_name(self):
        assert SOURCE == "dropwell"
