from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from dropwell_local.build import Tools
from dropwell_local.emulator import EmulatorFailed, environment_of_owner, running_emulator
from dropwell_local.emulator_process import single_permission, this_user
from dropwell_local.ports import ReservedPort

OWNER = """
import sys, time
from pathlib import Path
from dropwell_local.emulator import running_emulator
with running_emulator(python=Path(sys.argv[1]), folder=Path(sys.argv[2])):
    print("ready", flush=True)
    time.sleep(60)
"""


def processes_below(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def alone(client: Callable[..., Any], *statements: dict[str, Any]) -> tuple[str, str]:
    """Return the keys of a user who may do what the statements say, and nothing else."""
    iam = client("iam")
    name = f"user-{time.monotonic_ns()}"
    iam.create_user(UserName=name)
    policy = {"Version": "2012-10-17", "Statement": list(statements)}
    iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


def test_it_listens_on_the_loopback_address_only(tmp_path: Path) -> None:
    with running_emulator(python=Tools().emulator_python, folder=tmp_path):
        listening = [
            socket.laddr.ip
            for process in processes_below(os.getpid())
            for socket in process.net_connections("inet")
            if socket.status == psutil.CONN_LISTEN
        ]
    assert set(listening) == {"127.0.0.1"}


def test_it_leaves_no_process_behind(tmp_path: Path) -> None:
    before = set(processes_below(os.getpid()))
    with running_emulator(python=Tools().emulator_python, folder=tmp_path):
        (process,) = set(processes_below(os.getpid())) - before
    assert not process.is_running()


def test_it_ends_when_its_owner_is_killed_outright(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(Tools().emulator_python), str(tmp_path)],
        stdout=subprocess.PIPE,
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"ready\n"
        (emulator,) = processes_below(owner.pid)
        owner.kill()
    emulator.wait(timeout=10)


def test_it_keeps_objects_as_files(tmp_path: Path) -> None:
    with running_emulator(python=Tools().emulator_python, folder=tmp_path) as url:
        environment = environment_of_owner(url)
        script = (
            "import boto3; s3 = boto3.client('s3'); s3.create_bucket(Bucket='kept');"
            "s3.put_object(Bucket='kept', Key='runs/a.txt', Body=b'kept')"
        )
        subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    assert (tmp_path / "s3/123456789012/kept/runs/a.txt").read_text() == "kept"


def test_a_program_of_the_owner_sees_nothing_that_this_shell_says_of_aws(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://s3.amazonaws.com")
    environment = environment_of_owner("http://127.0.0.1:1")
    assert {name for name in environment if name.startswith("AWS_")} == {
        "AWS_ACCESS_KEY_ID",
        "AWS_CONFIG_FILE",
        "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SHARED_CREDENTIALS_FILE",
    }


def test_a_start_that_fails_shows_the_end_of_the_log(tmp_path: Path) -> None:
    # A Python without ministack.
    with (
        pytest.raises(EmulatorFailed, match="No module named 'ministack'"),
        running_emulator(python=Path(sys.executable), folder=tmp_path),
    ):
        pass


def test_what_a_role_may_not_do_is_refused(client: Callable[..., Any]) -> None:
    key, secret = alone(client, {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"})
    with pytest.raises(ClientError, match="AccessDenied"):
        client("sqs", key=key, secret=secret).create_queue(QueueName="mine")


def test_leave_to_send_is_leave_to_send_in_batches(client: Callable[..., Any]) -> None:
    queue = client("sqs").create_queue(QueueName="batches")["QueueUrl"]
    key, secret = alone(client, {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"})
    answer = client("sqs", key=key, secret=secret).send_message_batch(
        QueueUrl=queue, Entries=[{"Id": "1", "MessageBody": "hello"}]
    )
    assert [sent["Id"] for sent in answer["Successful"]] == ["1"]


def test_a_drop_is_told_of_with_its_version_and_the_name_of_this_user(
    client: Callable[..., Any],
) -> None:
    arn = "arn:aws:sqs:us-east-1:123456789012:drops"
    allowed = {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    queue = client("sqs").create_queue(QueueName="drops", Attributes={"Policy": policy})["QueueUrl"]
    s3 = client("s3")
    s3.create_bucket(Bucket="inbox")
    s3.put_bucket_versioning(Bucket="inbox", VersioningConfiguration={"Status": "Enabled"})
    told = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    s3.put_bucket_notification_configuration(Bucket="inbox", NotificationConfiguration=told)
    version = s3.put_object(Bucket="inbox", Key="inbox/a.zip", Body=b"zip")["VersionId"]
    records: list[Any] = []
    while not records:
        answer = client("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=5)
        bodies = [json.loads(message["Body"]) for message in answer.get("Messages", [])]
        records = [record for body in bodies for record in body.get("Records", [])]
        for message in answer.get("Messages", []):
            client("sqs").delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    assert records[0]["s3"]["object"]["versionId"] == version
    assert records[0]["userIdentity"] == {"principalId": f"AWS:{this_user()}"}


def test_requests_count_as_having_come_over_tls(client: Callable[..., Any]) -> None:
    topic = client("sns").create_topic(Name="secure")["TopicArn"]
    key, secret = alone(
        client,
        {
            "Effect": "Allow",
            "Action": "sns:Publish",
            "Resource": topic,
            "Condition": {"Bool": {"aws:SecureTransport": "true"}},
        },
    )
    assert client("sns", key=key, secret=secret).publish(TopicArn=topic, Message="hello")


@pytest.mark.parametrize(
    ("asked", "needed"),
    [
        ("sqs:SendMessageBatch", "sqs:SendMessage"),
        ("sqs:DeleteMessage", "sqs:DeleteMessage"),
        ("dynamodb:BatchGetItem", "dynamodb:BatchGetItem"),
        (None, None),
    ],
)
def test_only_batches_of_messages_need_another_permission(
    asked: str | None, needed: str | None
) -> None:
    assert single_permission(lambda: asked)() == needed


def test_a_reserved_port_is_free_once_it_is_released() -> None:
    with ReservedPort() as port:
        number = port.release()
    with ReservedPort() as other:
        assert other.number != 0
    assert number != 0
