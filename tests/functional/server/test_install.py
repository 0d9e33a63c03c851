"""The installer on a machine whose commands only write down what they were told."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.stubs.server import PARAMETERS

ROOT = Path(__file__).parents[3]
JAR = b"PK\x03\x04 a jar"
AGENT = "opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl"
UNITS = (
    "dropwell-proxy.service dropwell-server.service"
    " dropwell-certificate.timer dropwell-secret.timer dropwell-token.timer"
)

# Fails as often as there are lines in a file named for it, then does what it is for.
_COMMAND = """#!/bin/bash
name=${{0##*/}}
echo "$name $*" >>{folder}/told
fails={folder}/$name.fails
if [ -s "$fails" ]; then head -1 "$fails" >&2; sed -i 1d "$fails"; exit 1; fi
case "$name $1 $2" in
  "java -version "*) cat {folder}/java.version >&2 ;;
  "aws s3 cp") cp "{folder}/s3/${{4##*/}}" "$5" ;;
  "python3 -m venv") mkdir -p "$3/bin"; ln -sf {folder}/bin/dnf "$3/bin/python" ;;
esac
"""


class _Version(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"cromwell": "92"}')

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class Machine:
    """What there is before, the installer as it is delivered, and what it did."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.prefix = folder / "machine"
        shutil.copytree(
            ROOT / "server", folder / "server", ignore=shutil.ignore_patterns("__pycache__")
        )
        commands = ["dnf", "java", "aws", "systemd-sysusers", "systemd-tmpfiles", "systemctl"]
        for path in [*(folder / "bin" / name for name in commands), self.prefix / AGENT]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_COMMAND.format(folder=folder))
            path.chmod(0o755)
        (folder / "bin/python3").symlink_to("dnf")
        (folder / "java.version").write_text('openjdk version "17.0.15" 2025-04-15 LTS\n')
        (folder / "s3").mkdir()
        (folder / "s3/cromwell.jar").write_bytes(JAR)
        (folder / "s3/authorities.pem").write_text("-----BEGIN CERTIFICATE-----\n…\n")
        self.parameters: dict[str, Any] = {
            **PARAMETERS,
            "prefix": str(self.prefix),
            "cromwell_port": port,
            "jar_url": "s3://jars/cromwell.jar",
            "jar_sha256": hashlib.sha256(JAR).hexdigest(),
            "database_ca_url": "s3://jars/authorities.pem",
        }

    def install(self, **change: Any) -> subprocess.CompletedProcess[str]:
        (self.folder / "told").write_text("")
        parameters = self.folder / "parameters.json"
        parameters.write_text(json.dumps({**self.parameters, **change}))
        command = [sys.executable, "-m", "server.install", str(parameters)]
        return subprocess.run(
            [*command, "--pause=0.01", "--wait=0"],
            cwd=self.folder,
            env={
                **{name: text for name, text in os.environ.items() if name != "PYTHONPATH"},
                "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def fails(self, command: str, times: int = 1) -> None:
        (self.folder / f"{command}.fails").write_text("it says no\n" * times)

    @property
    def told(self) -> list[str]:
        text = (self.folder / "told").read_text()
        return text.replace(str(self.prefix), "").replace(str(self.folder), "").splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Version) as cromwell:
        thread = threading.Thread(target=cromwell.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield Machine(tmp_path, cromwell.server_address[1])
        cromwell.shutdown()
        thread.join()


def test_a_machine_becomes_a_server_step_by_step(machine: Machine) -> None:
    done = machine.install()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("Cromwell is up.\n")
    commands = [line.split()[0] for line in machine.told]
    assert commands == [
        *("dnf", "java", "systemd-sysusers", "systemd-tmpfiles", "aws", "aws", "python3", "python"),
        *("amazon-cloudwatch-agent-ctl", "systemctl", "systemctl", "systemctl", "systemctl"),
    ]
    assert machine.told[-4:] == [
        "systemctl daemon-reload",
        f"systemctl enable {UNITS}",
        f"systemctl start {UNITS}",
        "systemctl reload dropwell-proxy.service",
    ]
    assert (machine.prefix / "opt/cromwell/cromwell.jar").read_bytes() == JAR
    assert (machine.prefix / "etc/dropwell/database-ca.pem").exists()
    assert (machine.prefix / "etc/dropwell/cromwell.conf").exists()
    link = machine.prefix / "usr/local/bin/supervisorctl"
    assert link.readlink() == machine.prefix / "opt/dropwell/supervisor/bin/supervisorctl"


def test_what_is_installed_is_there_for_every_unit(machine: Machine) -> None:
    machine.install()
    units = [*(machine.prefix / "etc/systemd/system").iterdir()]
    assert {name for unit in units for name in [unit.name]} >= set(UNITS.split())
    for unit in units:
        for line in unit.read_text().splitlines():
            if line.startswith("Exec") and "/opt/dropwell/" in line:
                program = line.split("=", 1)[1].lstrip("-").split()[0]
                if "supervisor" not in program:
                    assert os.access(machine.prefix / program.lstrip("/"), os.X_OK), program


def test_a_second_run_does_not_do_again_what_is_done(machine: Machine) -> None:
    machine.install()
    done = machine.install()
    assert done.returncode == 0
    assert "wrote" not in done.stdout
    assert "python3" not in [line.split()[0] for line in machine.told]
    assert [line for line in machine.told if "cromwell.jar" in line] == []


def test_supervisor_is_pinned_and_comes_from_wheels_where_they_are(machine: Machine) -> None:
    (machine.folder / "server/wheels").mkdir()
    machine.install()
    (pip,) = [line for line in machine.told if " -m pip " in line]
    assert pip == (
        "python -m pip install --no-deps --require-hashes --no-index"
        " --find-links /server/wheels --requirement /server/supervisor.txt"
    )


def test_busy_mirrors_are_asked_again(machine: Machine) -> None:
    machine.fails("dnf", times=3)
    assert machine.install().returncode == 0


@pytest.mark.parametrize(
    ("command", "step"),
    [
        ("dnf", "packages"),
        ("systemd-sysusers", "files"),
        ("systemd-tmpfiles", "files"),
        ("aws", "database authorities"),
        ("python3", "supervisor"),
        ("python", "supervisor"),
        ("amazon-cloudwatch-agent-ctl", "logs"),
        ("systemctl", "start"),
    ],
)
def test_a_step_that_fails_is_named_and_ends_it(machine: Machine, command: str, step: str) -> None:
    machine.fails(command, times=9)
    done = machine.install()
    assert done.returncode == 1
    assert done.stderr.startswith(f"The step '{step}' failed. ")
    assert "it says no" in done.stderr
    assert machine.told[-1].startswith(command + " ")
    assert "Traceback" not in done.stderr


def test_an_old_java_is_refused(machine: Machine) -> None:
    (machine.folder / "java.version").write_text('openjdk version "11.0.2" 2019-01-15\n')
    done = machine.install()
    assert done.returncode == 1
    assert "The step 'java' failed. Cromwell needs Java 17 or later" in done.stderr


def test_a_wrong_jar_is_refused(machine: Machine) -> None:
    done = machine.install(jar_sha256="1" * 64)
    assert done.returncode == 1
    assert "The step 'jar' failed." in done.stderr
    assert "its sha256 is" in done.stderr
    assert not (machine.prefix / "opt/cromwell/cromwell.jar").exists()


def test_authorities_that_are_none_are_refused(machine: Machine) -> None:
    (machine.folder / "s3/authorities.pem").write_text("<html>")
    done = machine.install()
    assert "The step 'database authorities' failed." in done.stderr
    assert not (machine.prefix / "etc/dropwell/database-ca.pem").exists()


def test_a_cromwell_that_does_not_answer_is_no_success(machine: Machine) -> None:
    done = machine.install(cromwell_port=9)
    assert done.returncode == 1
    assert "The step 'cromwell' failed. It does not answer" in done.stderr


def test_bad_parameters_are_told_before_anything_is_done(machine: Machine) -> None:
    done = machine.install(heap_percent=99)
    assert done.returncode == 2
    assert "heap_percent: must be from 10 to 90" in done.stderr
    assert machine.told == []
