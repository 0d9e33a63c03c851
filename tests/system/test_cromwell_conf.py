"""cromwell.conf as the real Typesafe Config reads it, whatever the parameters hold."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from server.render import render
from tests.stubs.server import PARAMETERS

HERE = Path(__file__).parent
TYPESAFE = Path("/usr/share/java/typesafe-config.jar")
KEYS = json.loads((HERE.parent / "data/cromwell_config_keys.json").read_text())
BACKEND = "backend.providers.AWSBATCH.config."
HOSTILE = [
    'quo"te',
    "back\\slash\\",
    "${HOME}",
    "${?NOWHERE}",
    'a", b = "c',
    "new\nline",
    "# no comment // nor this",
    "größe \U0001f9ec \u2028",
    "@{root}",
    "",
]


def parsed(tmp_path: Path, *texts: str, password: str = "secret") -> list[dict[str, Any]]:
    (tmp_path / "application.conf").write_text("akka.loggers = [theirs]\n")
    files = [tmp_path / f"{number}.conf" for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    told = subprocess.run(
        ["java", "-cp", f"{TYPESAFE}:{tmp_path}", str(HERE / "HoconToJson.java"), *map(str, files)],
        env={
            **os.environ,
            "CROMWELL_DATABASE_USER": "cromwell",
            "CROMWELL_DATABASE_PASSWORD": password,
        },
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert told.returncode == 0, told.stderr
    return [json.loads(line) for line in told.stdout.rstrip("\n").split("\n")]


def conf(**change: Any) -> str:
    return render({**PARAMETERS, **change})["etc/dropwell/cromwell.conf"][0]


def leaves(value: Any, path: str = "") -> set[str]:
    if not isinstance(value, dict):
        return {path}
    return {leaf for name, below in value.items() for leaf in leaves(below, f"{path}.{name}")}


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return parsed(tmp_path_factory.mktemp("conf"), conf())[0]


@pytest.fixture(scope="module")
def backend(read: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = read["backend"]["providers"]["AWSBATCH"]["config"]
    return config


def test_values_arrive_as_they_were_given_whatever_they_hold(tmp_path: Path) -> None:
    told = parsed(
        tmp_path,
        *(conf(root=value, batch_log_group=value, script_bucket=value) for value in HOSTILE),
        password='p"a\\s${s}',
    )
    for value, config in zip(HOSTILE, told, strict=True):
        backend = config["backend"]["providers"]["AWSBATCH"]["config"]
        attributes = backend["default-runtime-attributes"]
        assert backend["root"] == value
        assert attributes["logGroupName"] == attributes["scriptBucketName"] == value
        assert config["database"]["db"]["password"] == 'p"a\\s${s}'


def test_cromwells_own_application_conf_is_kept(read: dict[str, Any]) -> None:
    assert read["akka"]["loggers"] == ["theirs"]


def test_every_key_is_one_that_cromwell_reads(read: dict[str, Any]) -> None:
    known = {*KEYS["keys"], *(BACKEND + key for key in KEYS["aws_backend"]), "akka.loggers"}
    assert {leaf.lstrip(".") for leaf in leaves(read)} <= known


def test_no_key_is_listed_that_is_not_used_or_the_backends(read: dict[str, Any]) -> None:
    used = {leaf.lstrip(".") for leaf in leaves(read)}
    assert set(KEYS["keys"]) <= used


def test_what_the_backend_cannot_do_without_is_there(backend: dict[str, Any]) -> None:
    assert backend["root"] == PARAMETERS["root"]
    assert backend["tagResources"] is True
    assert backend["filesystems"]["s3"]["caching"]["duplication-strategy"] == "copy"
    attributes = backend["default-runtime-attributes"]
    assert attributes["queueArn"] == PARAMETERS["queue_arn"]
    assert attributes["scriptBucketName"] == PARAMETERS["script_bucket"]


def test_batch_tries_again_only_where_a_host_was_lost(backend: dict[str, Any]) -> None:
    attributes = backend["default-runtime-attributes"]
    assert attributes["awsBatchRetryAttempts"] == 3
    assert attributes["awsBatchEvaluateOnExit"] == [
        {"action": "RETRY", "onStatusReason": "Host EC2*"},
        {"action": "EXIT", "onReason": "*"},
    ]


def test_cromwell_listens_on_loopback_only(read: dict[str, Any]) -> None:
    assert read["webservice"] == {"port": 8000, "interface": "127.0.0.1"}


def test_the_database_is_reached_over_tls_with_its_name_checked(read: dict[str, Any]) -> None:
    assert "sslMode=VERIFY_IDENTITY" in read["database"]["db"]["url"]
    assert "useSSL=false" not in read["database"]["db"]["url"]
