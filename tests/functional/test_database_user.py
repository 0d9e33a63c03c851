"""The function that makes the database's user: what it asks for, and what the stack hears of it."""

from __future__ import annotations

import http.server
import importlib.util
import json
import threading
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError

from tests.transformed import ROOT

CLUSTER = "arn:aws:rds:eu-west-1:123456789012:cluster:cromwell"
MASTER = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:master"
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:cromwell"


class DataApi:
    """The endpoint of a database, and the secrets: says no as often as it is told."""

    def __init__(self, refusals=0, password="abc123"):
        self.refusals, self.password, self.done = refusals, password, []

    def execute_statement(self, resourceArn, secretArn, sql):
        assert (resourceArn, secretArn) == (CLUSTER, MASTER)
        if self.refusals:
            self.refusals -= 1
            refusal = {"Code": "DatabaseResumingException", "Message": "It is waking up"}
            raise ClientError({"Error": refusal}, "ExecuteStatement")
        self.done.append(sql.split(" IF ")[0].split(" ON ")[0][:24])

    def get_secret_value(self, SecretId):
        assert SecretId == SECRET
        told = {"username": "cromwell", "password": self.password}
        return {"SecretString": json.dumps(told)}


MADE = ["CREATE DATABASE", "CREATE USER", "ALTER USER 'cromwell'@'%", "GRANT ALL PRIVILEGES"]


@pytest.fixture
def function(monkeypatch):
    spec = importlib.util.spec_from_file_location("user", ROOT / "stacks/database_user.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PAUSE_S", 0)
    told = {"CLUSTER": CLUSTER, "MASTER_SECRET": MASTER, "SECRET": SECRET, "SCHEMA": "cromwell"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    module.use = lambda api: monkeypatch.setattr(module.boto3, "client", lambda _: api)
    return module


@pytest.fixture
def formation():
    """Return where CloudFormation waits for answers, and the answers."""
    answers = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_PUT(self):
            answers.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", answers
        server.shutdown()


def call(function, formation, request="Create"):
    url, answers = formation
    event = {"ResponseURL": url, "RequestType": request}
    event |= {"StackId": "s", "RequestId": "r", "LogicalResourceId": "User"}
    function.handler(event, SimpleNamespace(log_stream_name="2026/stream"))
    [answer] = answers
    return answer


def test_the_user_is_made_and_the_stack_is_told(function, formation):
    api = DataApi()
    function.use(api)
    answer = call(function, formation)
    assert api.done == MADE
    assert (answer["Status"], answer["PhysicalResourceId"]) == ("SUCCESS", "cromwell")
    assert [answer[name] for name in ("StackId", "RequestId", "LogicalResourceId")] == [
        *("s", "r", "User")
    ]


def test_a_database_that_wakes_up_is_waited_for(function, formation):
    api = DataApi(refusals=3)
    function.use(api)
    assert call(function, formation)["Status"] == "SUCCESS"
    assert api.done == MADE


def test_a_database_that_never_answers_fails_the_stack_in_its_words(function, formation):
    function.use(DataApi(refusals=99))
    answer = call(function, formation)
    assert answer["Status"] == "FAILED"
    assert "It is waking up" in answer["Reason"]


@pytest.mark.parametrize(
    "password", ["a'; DROP DATABASE cromwell; -- ", "back\\slash", ":name", ""]
)
def test_a_password_that_sql_could_read_is_used_for_nothing_and_not_told(
    function, formation, password
):
    api = DataApi(password=password)
    function.use(api)
    answer = call(function, formation)
    assert (answer["Status"], api.done) == ("FAILED", [])
    assert answer["Reason"].startswith("The password may have letters, digits")


def test_what_nobody_foresaw_reaches_the_stack_and_the_log(function, formation):
    function.use(None)
    with pytest.raises(AttributeError):
        call(function, formation)
    [answer] = formation[1]
    assert answer["Status"] == "FAILED"
    assert "2026/stream" in answer["Reason"]


def test_when_the_stack_goes_the_user_stays(function, formation):
    api = DataApi()
    function.use(api)
    assert call(function, formation, "Delete")["Status"] == "SUCCESS"
    assert api.done == []


def test_called_by_hand_it_gives_the_user_the_password_of_today(function):
    api = DataApi()
    function.use(api)
    function.handler({}, None)
    assert api.done == MADE
