"""Makes Cromwell's schema and its user, by the database's own HTTP endpoint."""

from __future__ import annotations

import json
import os
import re
import time
import urllib.request
from typing import Any

import boto3
from botocore.exceptions import ClientError

TRIES, PAUSE_S = 10, 15.0


class Unusable(Exception):
    """The secret is not what it should be."""


def statements(schema: str, user: str, password: str) -> list[str]:
    """Return the SQL of server/tree/opt/dropwell/bootstrap_database.py.

    Each goes its own way, without a session that could say how quotes are written: so
    the password has none.
    """
    if not re.fullmatch(r"[A-Za-z0-9._~+=-]+", password):
        raise Unusable("The password may have letters, digits and . _ ~ + = - only.")
    who = f"'{user}'@'%' IDENTIFIED BY '{password}' REQUIRE SSL"
    return [
        f"CREATE DATABASE IF NOT EXISTS `{schema}` CHARACTER SET utf8mb4",
        f"CREATE USER IF NOT EXISTS {who}",
        f"ALTER USER {who}",
        f"GRANT ALL PRIVILEGES ON `{schema}`.* TO '{user}'@'%'",
    ]


def make_user(database: Any, secrets: Any) -> None:
    """Make both, or see that they are there with the password of today."""
    told = json.loads(secrets.get_secret_value(SecretId=os.environ["SECRET"])["SecretString"])
    for sql in statements(os.environ["SCHEMA"], told["username"], told["password"]):
        execute(database, sql)


def execute(database: Any, sql: str) -> None:
    """Have patience: a role is new, or the database wakes up."""
    for left in reversed(range(TRIES)):
        try:
            database.execute_statement(
                resourceArn=os.environ["CLUSTER"], secretArn=os.environ["MASTER_SECRET"], sql=sql
            )
            return
        except ClientError:
            if not left:
                raise
        time.sleep(PAUSE_S)


def handler(event: dict[str, Any], context: Any) -> None:
    """Serve CloudFormation, and whoever changed the secret and calls without an event."""
    if "ResponseURL" not in event:
        make_user(boto3.client("rds-data"), boto3.client("secretsmanager"))
        return
    answer = {name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")}
    answer |= {"PhysicalResourceId": os.environ["SCHEMA"], "Status": "FAILED"}
    answer["Reason"] = f"See the log stream {context.log_stream_name}"
    try:
        if event["RequestType"] != "Delete":  # the user stays for as long as the database
            make_user(boto3.client("rds-data"), boto3.client("secretsmanager"))
        answer["Status"] = "SUCCESS"
    except (ClientError, Unusable) as problem:
        answer["Reason"] = str(problem)[:500]
    finally:  # without an answer a stack waits for an hour
        request = urllib.request.Request(
            event["ResponseURL"], json.dumps(answer).encode(), {"Content-Type": ""}, method="PUT"
        )
        urllib.request.urlopen(request, timeout=30).close()
