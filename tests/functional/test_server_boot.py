"""A fresh machine becomes the server, or ends itself; its commands answer as they are told."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import zipfile

import pytest

from tests.contract.test_cromwell_stack import told as told_by_the_stack
from tests.transformed import ROOT

MACHINE = "i-0new"

_AWS = """#!/bin/bash
cd {folder}
echo "aws $*" >>told
case "$1 $2" in
"ec2 describe-network-interfaces")
  cat holder
  [ ! -e next ] || mv next holder
  ;;
"ec2 attach-network-interface") echo {machine} >holder ;;
"lambda get-layer-version-by-arn")
  [ ! -e no-layer ] || exit 254
  printf '%s\\t%s\\n' {folder}/programs.zip "$(cat sum)"
  ;;
"logs put-log-events") printf '%s' "${{@: -1}}" >last-words ;;
esac
"""
_CURL = """#!/bin/bash
while [ $# -gt 1 ]; do [ "$1" = -o ] && to=$2; shift; done
cp "$1" "$to"
"""
_INSTALL = """import os, pathlib, sys
folder = pathlib.Path({folder!r})
with (folder / "told").open("a") as told:
    told.write("install\\n")
    if "HTTPS_PROXY" in os.environ:
        told.write("proxy " + os.environ["HTTPS_PROXY"] + "\\n")
(folder / "parameters").write_text(pathlib.Path(sys.argv[1]).read_text())
fails = folder / "install.fails"
left = int(fails.read_text()) if fails.exists() else 0
fails.write_text(str(left - 1))
sys.exit("The step 'jar' failed." if left > 0 else 0)
"""


class Machine:
    def __init__(self, folder):
        self.folder = folder
        self.root = folder / "root"
        (self.root / "var/lib/cloud/data").mkdir(parents=True)
        (self.root / "var/lib/cloud/data/instance-id").write_text(f"{MACHINE}\n")
        here = self.root / "opt/dropwell-server"
        here.mkdir(parents=True)
        (here / "stack.json").write_text('{"region": "eu-west-1", "body_limit_mib": 64}')
        (here / "settings.json").write_text('{"body_limit_mib": 32, "workflow_limit": 5}')
        (here / "environment").write_text("\n")
        with zipfile.ZipFile(folder / "programs.zip", "w") as archive:
            archive.writestr("server/install.py", _INSTALL.format(folder=str(folder)))
        digest = hashlib.sha256((folder / "programs.zip").read_bytes()).digest()
        (folder / "sum").write_text(base64.b64encode(digest).decode())
        (folder / "bin").mkdir()
        self.command("aws", _AWS.format(folder=folder, machine=MACHINE))
        self.command("curl", _CURL)
        for name in ("shutdown", "systemctl"):
            self.command(name, f'#!/bin/bash\necho "{name} $*" >>{folder}/told\n')
        self.holds("None")

    def command(self, name, text):
        path = self.folder / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def holds(self, holder, then=None):
        (self.folder / "holder").write_text(f"{holder}\n")
        (self.folder / "next").unlink(missing_ok=True)
        if then:
            (self.folder / "next").write_text(f"{then}\n")

    def boot(self):
        env = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "ROOT": str(self.root),
            "PAUSE": "0",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "STACK": "lab",
            "ADDRESS": "eni-1",
            "PROGRAMS": "arn:layer:1",
            "LOG_GROUP": "server-logs",
        }
        ended = subprocess.run(
            ["bash", ROOT / "stacks/server_boot.sh"],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ended.stdout, ended.stderr) == ("", "")
        return ended.returncode

    @property
    def told(self):
        return (self.folder / "told").read_text().splitlines()

    @property
    def log(self):
        return (self.root / "var/log/dropwell-boot.log").read_text()

    def did(self, words):
        return [line for line in self.told if line.startswith(words)]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_takes_the_address_then_the_programs_and_says_that_it_is_up(machine):
    assert machine.boot() == 0
    assert [line.split(" --")[0] for line in machine.told] == [
        "aws ec2 describe-network-interfaces",
        "aws ec2 attach-network-interface",
        "aws ec2 describe-network-interfaces",
        "aws lambda get-layer-version-by-arn",
        "install",
        "aws cloudformation signal-resource",
    ]
    [attached] = machine.did("aws ec2 attach")
    assert f"--network-interface-id eni-1 --instance-id {MACHINE} --device-index 1" in attached
    [signal] = machine.did("aws cloudformation")
    assert f"--stack-name lab --logical-resource-id Server --unique-id {MACHINE}" in signal
    assert signal.endswith("--status SUCCESS")


def test_gives_the_server_the_stacks_parameters_and_what_is_set_besides(machine):
    machine.boot()
    assert json.loads((machine.folder / "parameters").read_text()) == {
        "region": "eu-west-1",
        "body_limit_mib": 32,
        "workflow_limit": 5,
    }


def test_gives_everything_the_variables_that_the_stack_names(machine):
    given = "HTTPS_PROXY=http://proxy:3128;JAVA_TOOL_OPTIONS=-Dhttps.proxyHost=proxy -Dx=y"
    (machine.root / "opt/dropwell-server/environment").write_text(f"{given}\n")
    assert machine.boot() == 0
    assert (machine.root / "etc/dropwell/environment").read_text() == (
        'HTTPS_PROXY="http://proxy:3128"\nJAVA_TOOL_OPTIONS="-Dhttps.proxyHost=proxy -Dx=y"\n'
    )
    assert "proxy http://proxy:3128" in machine.told


def test_waits_for_the_last_server_to_be_gone_before_it_does_anything(machine):
    machine.holds("i-0old", then="None")
    assert machine.boot() == 0
    assert "The address is held by i-0old" in machine.log
    assert machine.told.index(machine.did("aws ec2 attach")[0]) == 2


def test_goes_on_where_it_holds_the_address_already(machine):
    machine.holds(MACHINE)
    assert machine.boot() == 0
    assert machine.did("aws ec2 attach") == []


def test_never_starts_a_second_server_where_the_address_stays_another_ones(machine):
    machine.holds("i-0old")
    assert machine.boot() == 1
    assert (
        machine.did("install") == machine.did("aws lambda") == machine.did("aws ec2 attach") == []
    )
    assert machine.did("shutdown") == ["shutdown -P now"]


def test_runs_no_programs_but_those_of_the_stack(machine):
    (machine.folder / "sum").write_text("another")
    assert machine.boot() == 1
    assert machine.did("install") == []
    assert "have the checksum" in machine.log


def test_tries_the_installer_twice(machine):
    (machine.folder / "install.fails").write_text("1")
    assert machine.boot() == 0
    assert len(machine.did("install")) == 2


@pytest.mark.parametrize("fault", ["install", "layer"])
def test_that_cannot_be_made_the_server_says_why_and_ends(machine, fault):
    if fault == "install":
        (machine.folder / "install.fails").write_text("9")
    else:
        (machine.folder / "no-layer").touch()
    assert machine.boot() == 1
    [signal] = machine.did("aws cloudformation")
    assert signal.endswith("--status FAILURE")
    [event] = json.loads((machine.folder / "last-words").read_text())
    assert "could not become the server" in event["message"]
    assert ("The step 'jar' failed." in event["message"]) == (fault == "install")
    assert f"--log-stream-name {MACHINE}/gave-up" in machine.did("aws logs put")[0]
    assert machine.told[-1] == "shutdown -P now"


def test_runs_the_installer_as_it_is_with_the_parameters_of_the_template(machine):
    with zipfile.ZipFile(machine.folder / "programs.zip", "w") as archive:
        for path in [*(ROOT / "server").glob("*.py"), *(ROOT / "server/tree").rglob("*")]:
            archive.write(path, path.relative_to(ROOT))
    digest = hashlib.sha256((machine.folder / "programs.zip").read_bytes()).digest()
    (machine.folder / "sum").write_text(base64.b64encode(digest).decode())
    (machine.root / "opt/dropwell-server/stack.json").write_text(json.dumps(told_by_the_stack()))
    machine.command("dnf", "#!/bin/bash\n")
    machine.command("java", "#!/bin/bash\necho 'openjdk version \"11.0.2\"' >&2\n")
    assert machine.boot() == 1
    assert "The step 'java' failed. Cromwell needs Java 17 or later" in machine.log
