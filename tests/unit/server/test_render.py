"""The renderer: what it refuses, what follows from what, and which Python can run it."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from server.render import PARAMETERS, BadParameters, checked, limits, render, write
from tests.stubs.server import PARAMETERS as GIVEN

SERVER = Path(__file__).parents[3] / "server"
CONF = "etc/dropwell/cromwell.conf"


def refusal(**change):
    with pytest.raises(BadParameters) as refused:
        render({**GIVEN, **change})
    return str(refused.value)


def test_what_must_be_given_is_missed_by_name():
    with pytest.raises(BadParameters) as refused:
        checked({})
    assert {line.partition(":")[0] for line in str(refused.value).splitlines()} == set(GIVEN)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"queue": "x"}, "queue: there is no such parameter"),
        ({"body_limit_mib": "64"}, "body_limit_mib: must be a whole number"),
        ({"body_limit_mib": True}, "body_limit_mib: must be a whole number"),
        ({"body_limit_mib": 1}, "body_limit_mib: must be from 8 to 128"),
        ({"call_caching": "yes"}, "call_caching: must be true or false"),
        ({"server_names": []}, "server_names: must be a list of strings, one at least"),
        ({"server_names": ["a", "b;c"]}, "server_names: 'b;c' is not allowed"),
        ({"database_name": "x`; DROP"}, "database_name: 'x`; DROP' is not allowed"),
        ({"proxy_user": "nginx;\n"}, "proxy_user: 'nginx;\\n' is not allowed"),
        ({"listen_address": "0.0.0.0;#"}, "listen_address: '0.0.0.0;#' is not allowed"),
        ({"cache_strategy": "hardlink"}, "cache_strategy: 'hardlink' is not allowed"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused_by_name(change, says):
    assert refusal(**change) == says


def test_the_page_has_every_parameter_with_its_default():
    page = (SERVER.parent / "docs/server.md").read_text()
    for name, parameter in PARAMETERS.items():
        told = {None: "", "": "none", True: "`true`", False: "`false`"}
        default = parameter.default
        shown = told[default] if not default or default is True else f"`{default}`"
        assert f"| `{name}` | {shown} |" in page, name


def test_everything_wrong_is_told_at_once():
    assert len(refusal(heap_percent=0, region=1, other=2).splitlines()) == 3


def test_no_placeholder_is_left():
    for name, (text, _mode) in render(GIVEN).items():
        assert "@{" not in text or name.endswith(".py"), name


def test_the_body_limits_follow_from_one_parameter():
    for mib in range(8, 129):
        told = limits(mib)
        assert told["proxy_body_mib"] << 20 < told["cromwell_body_bytes"]
        assert told["max_allowed_packet"] % 1024 == 0
        assert 2 * told["cromwell_body_bytes"] < told["max_allowed_packet"] <= 1 << 30
    files = render({**GIVEN, "body_limit_mib": 32})
    assert f"max-content-length = {33 << 20} " in files[CONF][0]
    assert f"max-to-strict-bytes = {33 << 20}\n" in files[CONF][0]
    assert json.loads(files["etc/dropwell/server.json"][0])["max_allowed_packet"] == 128 << 20


def test_whoever_waits_for_another_waits_longer():
    """So that it is the other who says what took too long, and none is cut off by the next."""
    files = {name: text for name, (text, _mode) in render(GIVEN).items()}

    def seconds(pattern, name):
        return int(re.search(pattern + r"(\d+)", files[name])[1])

    conf, nginx = CONF, "etc/dropwell/nginx.conf"
    assert (
        seconds("request-timeout = ", conf)
        < seconds("proxy_read_timeout ", nginx)
        < seconds("idle-timeout = ", conf)
    )
    assert (
        seconds("stop-io-activity.timeout = ", conf)
        < seconds("stopwaitsecs=", "etc/supervisord.conf")
        < seconds("TimeoutStopSec=", "etc/systemd/system/dropwell-server.service")
    )


def test_every_log_that_is_shipped_is_one_that_is_written():
    files = render(GIVEN)
    agent = json.loads(files["etc/dropwell/cloudwatch-agent.json"][0])
    shipped = agent["logs"]["logs_collected"]["files"]["collect_list"]
    written = files["etc/supervisord.conf"][0] + files["etc/dropwell/nginx.conf"][0]
    assert len(shipped) == 4
    for log in shipped:
        assert log["file_path"] in re.split(r"[=\s]", written)
        assert log["log_group_name"] == PARAMETERS["log_group"].default
    assert len({log["log_stream_name"] for log in shipped}) == 4


def test_no_secret_is_in_any_file():
    every = "".join(text for text, _ in render(GIVEN).values())
    assert "${CROMWELL_DATABASE_PASSWORD}" in every
    assert not any("password" in name for name in PARAMETERS)


def test_a_second_run_writes_nothing(tmp_path):
    files = render(GIVEN)
    assert len(write(files, tmp_path)) == len(files)
    assert write(files, tmp_path) == []
    changed = render({**GIVEN, "heap_percent": 50})
    assert [path.name for path in write(changed, tmp_path)] == ["server.json"]
    assert not list(tmp_path.rglob("*.new"))


def test_the_command_writes_a_tree_and_says_what_is_wrong(tmp_path):
    def run(parameters):
        (tmp_path / "p.json").write_text(json.dumps(parameters))
        return subprocess.run(
            [sys.executable, SERVER / "render.py", tmp_path / "p.json", tmp_path / "root"],
            capture_output=True,
            text=True,
            check=False,
        )

    assert run(GIVEN).returncode == 0
    assert (tmp_path / "root" / CONF).is_file()
    told = run({**GIVEN, "heap_percent": 99})
    assert (told.returncode, told.stderr) == (2, "heap_percent: must be from 10 to 90\n")


@pytest.mark.parametrize("path", sorted(SERVER.rglob("*.py")), ids=lambda path: path.name)
def test_what_runs_on_the_instance_is_python_3_9(path):
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
        )
    }
    ours = {"server", *(source.stem for source in SERVER.rglob("*.py"))}
    assert imported <= set(sys.stdlib_module_names) | ours
