"""A worker from its first boot: provisioned whole, or gone; its scratch volume grows in time."""

from __future__ import annotations

import email
import hashlib
import json
import os
import subprocess
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.transformed import ROOT, stack

WORKER = ROOT / "worker"
SCRIPTS = sorted(WORKER.glob("*.sh"))
SECRET = {"username": "lab", "password": 'p"a\\ss'}

# Writes down how it was called, fails where the test wants it to, and stands in for the rest.
STUB = """#!/bin/bash
call="${0##*/} $*"
printf '%s\\n' "$call" >>"$CALLS"
if [[ -n "$FAILS" && "$call" == $FAILS ]]; then echo "stub: $call fails" >&2; exit 1; fi
"""
STANDS_IN = {
    "aws": 'case "$*" in *get-secret-value*) cat "$SECRET_FILE" ;; esac',
    "blkid": 'case "$*" in *UUID*) echo 1234-abcd ;; *) exit 2 ;; esac',
    "curl": 'while [ "$1" != -o ]; do shift; done; cp "$CLI_ZIP" "$2"',
    "lsblk": 'case "$*" in *MODEL*) printf "%s\\n" "/dev/nvme0n1 Amazon Elastic Block Store"'
    ' "/dev/nvme2n1 Amazon EC2 NVMe Instance Storage" "/dev/nvme1n1 Amazon Elastic Block Store" ;;'
    " *MOUNTPOINT*) ;; *nvme0n1) printf 'nvme0n1\\nnvme0n1p1\\n' ;; *) echo nvme1n1 ;; esac",
    "amazon-cloudwatch-agent-ctl": "",
    "dnf": "",
    "docker": "",
    "mkfs.xfs": "",
    "mount": "",
    "shutdown": "",
    "sleep": "",
    "systemctl": "",
}
INSTALLER = """#!/bin/bash
while [ $# -gt 0 ]; do case $1 in --install-dir) to=$2; shift ;; esac; shift; done
mkdir -p "$to/v2/2.0.0/dist" "$to/v2/2.0.0/bin"
printf '#!/bin/sh\\necho "real $* LD=$LD_LIBRARY_PATH"\\n' >"$to/v2/2.0.0/dist/aws"
chmod 755 "$to/v2/2.0.0/dist/aws"
ln -s ../dist/aws "$to/v2/2.0.0/bin/aws"
ln -s 2.0.0 "$to/v2/current"
"""


@dataclass
class Machine:
    """A scratch root in place of an instance, and programs that are only told what to do."""

    root: Path
    settings: dict[str, str] = field(default_factory=dict)

    def path(self, absolute: str) -> Path:
        return self.root / absolute.lstrip("/")

    def read(self, absolute: str) -> str:
        return self.path(absolute).read_text()

    def stub(self, name: str, then: str) -> None:
        file = self.root / "stubs" / name
        file.write_text(f"{STUB}{then}\n")
        file.chmod(0o755)

    def environment(self, fails: str = "") -> dict[str, str]:
        return {
            "PATH": f"{self.root}/stubs:/usr/sbin:/usr/bin:/sbin:/bin",
            "ROOT": str(self.root),
            "CALLS": str(self.root / "calls"),
            "FAILS": fails,
            "CLI_ZIP": str(self.root / "cli.zip"),
            "SECRET_FILE": str(self.root / "secret.json"),
            "AWS_DEFAULT_REGION": "eu-west-1",
            "LOG_GROUP": "workers",
            "CLI_VERSION": "2.0.0",
            **self.settings,
        }

    def provision(self, fails: str = "") -> int:
        script = self.path("/opt/worker/provision.sh")
        return subprocess.run(
            ["bash", str(script)], env=self.environment(fails), check=False, timeout=60
        ).returncode

    @property
    def calls(self) -> list[str]:
        return (self.root / "calls").read_text().splitlines()

    @property
    def log(self) -> str:
        return self.read("/var/log/worker-provision.log")

    @property
    def joined(self) -> bool:
        started = "systemctl start --no-block ecs" in self.calls
        assert self.path("/var/lib/worker/provisioned").exists() == started
        return started

    @property
    def terminated(self) -> bool:
        return self.calls[-1] == "shutdown -P now"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    for folder in ("stubs", "etc/ecs", "opt/worker", "var/lib/cloud/data"):
        machine.path(folder).mkdir(parents=True)
    for script in SCRIPTS:
        machine.path(f"opt/worker/{script.name}").write_text(script.read_text())
    machine.path("etc/os-release").write_text('NAME="Amazon Linux"\nID="amzn"\nVERSION_ID="2023"\n')
    machine.path("etc/ecs/ecs.config").write_text("ECS_CLUSTER=batch\nECS_ENABLE_TASK_IAM_ROLE=x\n")
    machine.path("var/lib/cloud/data/instance-id").write_text("i-0123\n")
    for name, then in STANDS_IN.items():
        machine.stub(name, then)
    agent = machine.path("opt/aws/amazon-cloudwatch-agent/bin")
    agent.mkdir(parents=True)
    (agent / "amazon-cloudwatch-agent-ctl").symlink_to(
        tmp_path / "stubs/amazon-cloudwatch-agent-ctl"
    )
    (tmp_path / "secret.json").write_text(json.dumps(SECRET, indent=1))
    with zipfile.ZipFile(tmp_path / "cli.zip", "w") as cli:
        entry = zipfile.ZipInfo("aws/install")
        entry.external_attr = 0o755 << 16
        cli.writestr(entry, INSTALLER)
    return machine


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_shellcheck_has_nothing_to_say(script: Path) -> None:
    told = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True, check=False)
    assert told.stdout == ""


class TestProvisioning:
    def test_ends_with_the_agents_start(self, machine: Machine) -> None:
        assert machine.provision() == 0, machine.log
        assert machine.joined
        assert machine.calls[-1] == "systemctl start --no-block ecs"
        assert not [call for call in machine.calls if call.startswith("shutdown")]

    def test_begins_by_holding_the_agent_back(self, machine: Machine) -> None:
        machine.provision()
        assert machine.calls[:2] == ["systemctl daemon-reload", "systemctl stop ecs"]
        [held] = machine.path("etc/systemd/system/ecs.service.d").iterdir()
        assert held.read_text() == "[Unit]\nConditionPathExists=/var/lib/worker/provisioned\n"

    def test_leaves_what_cromwells_job_definitions_mount(self, machine: Machine) -> None:
        machine.provision()
        fetch = machine.path("/usr/local/bin/fetch_and_run.sh")
        assert fetch.read_text() == (WORKER / "fetch_and_run.sh").read_text()
        assert fetch.stat().st_mode & 0o777 == 0o755
        assert os.access(machine.path("/usr/local/aws-cli/v2/current/bin/aws"), os.X_OK)
        assert machine.read("/var/lib/cloud/data/instance-id")

    def test_lets_the_cli_find_its_libraries_in_any_image(self, machine: Machine) -> None:
        machine.provision()
        place = "/usr/local/aws-cli/v2/current"
        text = machine.read(f"{place}/bin/aws").replace(place, str(machine.path(place)))
        told = subprocess.run(
            ["sh", "-c", text, "aws", "s3", "ls"], capture_output=True, text=True, check=True
        )
        assert told.stdout.strip() == f"real s3 ls LD={machine.path(place)}/dist"

    def test_tells_the_agent_what_batch_does_not(self, machine: Machine) -> None:
        machine.provision()
        lines = machine.read("/etc/ecs/ecs.config").splitlines()
        config = dict(line.split("=", 1) for line in lines)
        assert len(config) == len(lines), "each key once"
        assert config["ECS_CLUSTER"] == "batch"
        assert config["ECS_ENABLE_TASK_IAM_ROLE"] == "true"
        assert config["ECS_ENABLE_SPOT_INSTANCE_DRAINING"] == "true"
        assert config["ECS_DISABLE_PRIVILEGED"] == "true"
        assert "ECS_ENGINE_AUTH_DATA" not in config

    def test_lets_privileged_containers_be_only_when_asked(self, machine: Machine) -> None:
        machine.settings["ALLOW_PRIVILEGED"] = "true"
        machine.provision()
        assert "ECS_DISABLE_PRIVILEGED" not in machine.read("/etc/ecs/ecs.config")

    def test_logs_in_to_docker_hub_and_tells_nobody(self, machine: Machine) -> None:
        machine.settings["DOCKER_HUB_SECRET"] = "arn:secret"
        assert machine.provision() == 0, machine.log
        path = machine.path("/etc/ecs/ecs.config")
        config = dict(line.split("=", 1) for line in path.read_text().splitlines())
        assert config["ECS_ENGINE_AUTH_TYPE"] == "docker"
        assert json.loads(config["ECS_ENGINE_AUTH_DATA"]) == {"https://index.docker.io/v1/": SECRET}
        assert path.stat().st_mode & 0o077 == 0
        assert not [text for text in [machine.log, *machine.calls] if "ss\\" in text]

    def test_puts_what_docker_keeps_on_the_volume(self, machine: Machine) -> None:
        machine.provision()
        mounts = [call for call in machine.calls if call.startswith("mount")]
        root = machine.root
        assert mounts == [
            f"mount -o noatime /dev/nvme1n1 {root}/scratch",
            f"mount --bind {root}/scratch/docker {root}/var/lib/docker",
            f"mount --bind {root}/scratch/containerd {root}/var/lib/containerd",
        ]
        stopped = machine.calls.index("systemctl stop docker.socket docker containerd")
        started = machine.calls.index("systemctl start containerd docker")
        assert stopped < machine.calls.index(mounts[0]) < started
        assert "UUID=1234-abcd /scratch xfs" in machine.read("/etc/fstab")

    def test_ships_its_logs_by_instance(self, machine: Machine) -> None:
        machine.provision()
        config = json.loads(machine.read("/opt/aws/amazon-cloudwatch-agent/etc/worker.json"))
        files = config["logs"]["logs_collected"]["files"]["collect_list"]
        assert {file["log_group_name"] for file in files} == {"workers"}
        streams = {file["file_path"]: file["log_stream_name"] for file in files}
        assert streams["/var/log/ecs/ecs-agent.log"] == "{instance_id}/ecs-agent"
        assert "/var/log/worker-provision.log" in streams

    def test_watches_the_volume_when_it_may_grow(self, machine: Machine) -> None:
        machine.settings["SCRATCH_MAX_GIB"] = "2000"
        machine.provision()
        assert "systemctl enable --now --no-block grow-scratch" in machine.calls
        unit = machine.read("/etc/systemd/system/grow-scratch.service")
        assert "SCRATCH=/dev/nvme1n1 SCRATCH_MAX_GIB=2000" in unit

    def test_mounts_a_shared_file_system_when_there_is_one(self, machine: Machine) -> None:
        machine.settings["EFS_ID"] = "fs-1"
        machine.provision()
        assert f"mount -t efs -o tls,iam fs-1:/ {machine.root}/mnt/efs" in machine.calls
        assert any("amazon-efs-utils" in call for call in machine.calls)

    def test_takes_the_cli_from_s3_where_there_is_no_internet(self, machine: Machine) -> None:
        machine.settings["CLI_URL"] = "s3://bucket/awscli.zip"
        machine.stub("aws", '[ "$1" != s3 ] || cp "$CLI_ZIP" "${@: -1}"')
        assert machine.provision() == 0, machine.log
        assert not [call for call in machine.calls if call.startswith("curl")]

    def test_takes_the_cli_that_was_meant(self, machine: Machine) -> None:
        content = (machine.root / "cli.zip").read_bytes()
        machine.settings["CLI_SHA256"] = hashlib.sha256(content).hexdigest()
        assert machine.provision() == 0, machine.log

    def test_tries_again_what_may_pass(self, machine: Machine) -> None:
        machine.stub("dnf", 'if [ ! -e "$ROOT/once" ]; then touch "$ROOT/once"; exit 1; fi')
        assert machine.provision() == 0, machine.log
        assert len([call for call in machine.calls if call.startswith("dnf")]) == 2


FAILURES = [
    "dnf *",
    "systemctl daemon-reload",
    "systemctl stop ecs",
    "systemctl stop docker*",
    "mkfs.xfs *",
    "mount -o *",
    "mount --bind */docker *",
    "mount -t efs *",
    "systemctl start containerd docker",
    "systemctl enable --now --no-block grow-scratch",
    "curl *",
    "aws secretsmanager *",
    "amazon-cloudwatch-agent-ctl *",
    "docker info",
    "systemctl start --no-block ecs",
]


class TestAWorkerThatCannotBeProvisioned:
    @pytest.fixture(autouse=True)
    def everything_asked(self, machine: Machine) -> None:
        machine.settings |= {
            "DOCKER_HUB_SECRET": "arn:secret",
            "EFS_ID": "fs-1",
            "SCRATCH_MAX_GIB": "2000",
        }

    @pytest.mark.parametrize("call", FAILURES)
    def test_terminates_and_does_not_join(self, machine: Machine, call: str) -> None:
        assert machine.provision(fails=call) == 1
        assert machine.terminated
        assert not machine.path("/var/lib/worker/provisioned").exists()

    def test_covers_every_program_that_provisioning_runs(self, machine: Machine) -> None:
        machine.provision()
        named = {call.split()[0] for call in FAILURES}
        harmless = {"lsblk", "blkid", "sleep"}  # their failures show in what follows
        assert {call.split()[0] for call in machine.calls} <= named | harmless

    @pytest.mark.parametrize(
        ("what", "path", "content"),
        [
            ("another system", "etc/os-release", 'ID="amzn"\nVERSION_ID="2"\n'),
            ("no instance id", "var/lib/cloud/data/instance-id", ""),
            ("a page in place of the CLI", "cli.zip", "<html>403 Forbidden</html>"),
            ("a secret without password", "secret.json", '{"username": "lab"}'),
            ("a secret that is no JSON", "secret.json", "hunter2"),
        ],
        ids=lambda value: value if " " in str(value) and "\n" not in str(value) else "",
    )
    def test_terminates_for(self, machine: Machine, what: str, path: str, content: str) -> None:
        machine.path(path).write_text(content)
        assert machine.provision() == 1
        assert machine.terminated
        assert not machine.joined

    def test_terminates_for_another_cli_than_was_meant(self, machine: Machine) -> None:
        machine.settings["CLI_SHA256"] = "0" * 64
        machine.provision()
        assert machine.terminated
        assert not machine.joined

    def test_terminates_when_no_volume_comes(self, machine: Machine) -> None:
        machine.stub("lsblk", 'case "$*" in *MODEL*) echo "/dev/nvme0n1 Amazon Elastic Block Store"'
                     " ;; *) printf 'nvme0n1\\nnvme0n1p1\\n' ;; esac")  # fmt: skip
        machine.provision()
        assert machine.terminated
        assert not machine.joined

    def test_terminates_when_time_is_up(self, machine: Machine) -> None:
        script = machine.path("/opt/worker/provision.sh")
        script.write_text(script.read_text().replace("SECONDS_ALLOWED=900", "SECONDS_ALLOWED=1"))
        machine.stub("dnf", "/bin/sleep 30")
        machine.provision()
        assert machine.terminated
        assert not machine.joined

    def test_says_why_where_it_can_be_read_afterwards(self, machine: Machine) -> None:
        machine.provision(fails="docker info")
        [told] = [call for call in machine.calls if "put-log-events" in call]
        assert "--log-group-name workers --log-stream-name i-0123/gave-up" in told
        [event] = json.loads(told.split("--log-events ")[1])
        assert "stub: docker info fails" in event["message"]
        assert abs(event["timestamp"] / 1000 - time.time()) < 3600

    def test_terminates_also_when_it_cannot_say_why(self, machine: Machine) -> None:
        machine.stub("aws", "exit 1")
        machine.provision()
        assert machine.terminated
        assert not machine.joined

    def test_is_switched_off_where_it_cannot_be_shut_down(self, machine: Machine) -> None:
        machine.stub("dnf", "exit 1")
        machine.provision(fails="shutdown *")
        assert machine.calls[-2:] == ["shutdown -P now", "systemctl poweroff --force"]

    def test_waits_a_minute_lest_a_common_fault_cost_a_fleet(self, machine: Machine) -> None:
        machine.provision(fails="dnf *")
        assert machine.calls[-2] == "sleep 60"


GIB = 1 << 30
ATTACH = """
set -eu
device=$(losetup --find --show "$0")
{ mkfs.xfs -q "$device" && mount "$device" "$1"; } || { losetup --detach "$device"; exit 1; }
echo "$device"
"""
# What EBS does when it is asked for more: the disk is larger, the file system is not.
ENLARGE = """
case "$*" in *modify-volume*)
  while [ "$1" != --size ]; do shift; done
  truncate -s "${2}G" "$ROOT/disk.img"
  losetup --set-capacity "$SCRATCH"
esac
"""


@pytest.fixture
def disk(machine: Machine) -> Iterator[Path]:
    """Mount a disk of one GiB as the machine's scratch, and give its device.

    Where files may not be attached as disks, the programs that would are stubs.
    """
    image, scratch = machine.path("disk.img"), machine.path("scratch")
    scratch.mkdir()
    image.touch()
    os.truncate(image, GIB)
    machine.stub("lsblk", "echo ' vol0abc'")
    machine.stub("aws", ENLARGE)
    attach = ["bash", "-c", ATTACH, str(image), str(scratch)]
    told = subprocess.run(attach, capture_output=True, text=True, check=False)
    if told.returncode:
        machine.stub("losetup", "")
        machine.stub("blockdev", 'stat --format %s "$ROOT/disk.img"')
        machine.stub("df", 'echo Use%; cat "$ROOT/used" 2>/dev/null || echo "  3%"')
        machine.stub("xfs_growfs", "")
        yield image
        return
    device = told.stdout.strip()
    machine.stub("xfs_growfs", '/usr/sbin/xfs_growfs "$@"')
    try:
        yield Path(device)
    finally:
        subprocess.run(["umount", str(scratch)], check=True)
        subprocess.run(["losetup", "--detach", device], check=True)


def fill(machine: Machine, disk: Path) -> None:
    if disk.name == "disk.img":
        machine.path("used").write_text(" 75%\n")
    else:
        file = machine.path("scratch/filling")
        subprocess.run(["fallocate", "--length", str(GIB * 3 // 4), str(file)], check=True)


def look(machine: Machine, disk: Path, largest: int = 8, fails: str = "") -> tuple[int, list[str]]:
    """Have the volume looked after once; return the exit code and what was called."""
    calls = machine.path("calls")
    calls.write_text("")
    environment = {
        **machine.environment(fails),
        "SCRATCH": str(disk),
        "SCRATCH_MAX_GIB": str(largest),
    }
    done = subprocess.run(
        ["bash", str(machine.path("/opt/worker/grow_scratch.sh")), "once"],
        env=environment,
        check=False,
        stdout=subprocess.DEVNULL,
    )
    wanted = ("aws", "xfs_growfs")
    return done.returncode, [c for c in machine.calls if c.startswith(wanted)]


class TestTheScratchVolume:
    def test_grows_before_it_is_full(self, machine: Machine, disk: Path) -> None:
        fill(machine, disk)
        code, calls = look(machine, disk)
        assert code == 0
        assert calls == [
            "aws ec2 modify-volume --volume-id vol-0abc --size 2 --output text",
            f"xfs_growfs {machine.root}/scratch",
        ]
        if disk.name != "disk.img":
            assert os.statvfs(machine.path("scratch")).f_blocks * 4096 > 1.9 * GIB

    def test_is_left_alone_while_there_is_room(self, machine: Machine, disk: Path) -> None:
        assert look(machine, disk) == (0, [])

    @pytest.mark.parametrize("largest", [1, 0])
    def test_grows_no_further_than_it_may(self, machine: Machine, disk: Path, largest: int) -> None:
        fill(machine, disk)
        assert look(machine, disk, largest=largest) == (1, [])

    def test_that_ebs_does_not_enlarge_yet_is_left_for_later(
        self, machine: Machine, disk: Path
    ) -> None:
        fill(machine, disk)
        code, calls = look(machine, disk, fails="aws *")
        assert code == 1
        assert len(calls) == 1

    def test_is_formatted_mounted_and_kept_for_docker(self, machine: Machine) -> None:
        """The steps of provisioning with the machine's own mkfs and mount, where it may."""
        image = machine.path("fresh.img")
        image.touch()
        os.truncate(image, GIB)
        attach = ["losetup", "--find", "--show", str(image)]
        told = subprocess.run(attach, capture_output=True, text=True, check=False)
        if told.returncode:
            assert machine.provision() == 0
            return
        device = told.stdout.strip()
        machine.settings["SCRATCH_DEVICE"] = device
        for program in ("blkid", "mkfs.xfs", "mount"):
            (machine.root / "stubs" / program).unlink()
        try:
            assert machine.provision() == 0, machine.log
            machine.path("var/lib/docker/layer").write_text("kept")
            assert machine.read("/scratch/docker/layer") == "kept"
            assert os.path.ismount(machine.path("scratch"))
        finally:
            places = [
                f"{machine.root}/{p}" for p in ("var/lib/docker", "var/lib/containerd", "scratch")
            ]
            subprocess.run(["umount", *places], check=False)
            subprocess.run(["losetup", "--detach", device], check=True)


class TestUserData:
    """What the launch template says to cloud-init."""

    @pytest.fixture
    def text(self) -> str:
        core = stack("core", VpcId="vpc-1", SubnetIds="subnet-1", EfsId="fs-1")
        text: str = core.properties("WorkerTemplate")["LaunchTemplateData"]["UserData"]
        return text

    @pytest.fixture
    def parts(self, text: str) -> dict[str, str]:
        parts = email.message_from_string(text).get_payload()
        return {part.get_content_type(): part.get_payload() for part in parts}

    def test_is_taken_apart_by_cloud_init_as_it_is_meant(self, text: str) -> None:
        """Debian's own Python runs this, for cloud-init comes with it."""
        program = (
            "import sys; from cloudinit.user_data import convert_string;"
            "print(*(part.get_content_type() for part in convert_string(sys.stdin.read()).walk()))"
        )
        told = subprocess.run(
            ["/usr/bin/python3", "-c", program],
            input=text,
            capture_output=True,
            text=True,
            check=True,
            env={},
        )
        assert told.stdout.split() == ["multipart/mixed", "text/cloud-config", "text/x-shellscript"]

    def test_has_a_configuration_that_cloud_init_finds_valid(
        self, parts: dict[str, str], tmp_path: Path
    ) -> None:
        (tmp_path / "config.yaml").write_text(parts["text/cloud-config"])
        told = subprocess.run(
            ["/usr/bin/cloud-init", "schema", "--config-file", str(tmp_path / "config.yaml")],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": "/usr/bin:/bin"},
        )
        assert told.stdout.startswith("Valid cloud-config"), told.stderr

    def test_has_a_script_that_shellcheck_likes(
        self, parts: dict[str, str], tmp_path: Path
    ) -> None:
        (tmp_path / "part.sh").write_text(parts["text/x-shellscript"])
        checked = ["shellcheck", str(tmp_path / "part.sh")]
        assert subprocess.run(checked, capture_output=True, check=False).stdout == b""

    def test_provisions_a_worker(self, machine: Machine, parts: dict[str, str]) -> None:
        """The part as cloud-init runs it, but below the scratch root."""
        for script in SCRIPTS:
            machine.path(f"opt/worker/{script.name}").unlink()
        part = machine.path("part-002")
        script = parts["text/x-shellscript"].replace("/opt/worker", f"{machine.root}/opt/worker")
        part.write_text(script.replace("$ROOT" + str(machine.root), "$ROOT"))
        part.chmod(0o755)
        environment = machine.environment()
        for setting in ("LOG_GROUP", "CLI_VERSION", "AWS_DEFAULT_REGION"):
            del environment[setting]
        subprocess.run([str(part)], env=environment, check=True, timeout=60)
        assert machine.joined, machine.log
        for script in SCRIPTS:
            written = machine.read(f"opt/worker/{script.name}").replace(str(machine.root), "")
            assert written == script.read_text()
        assert "systemctl enable --now --no-block grow-scratch" in machine.calls
        assert f"mount -t efs -o tls,iam fs-1:/ {machine.root}/mnt/efs" in machine.calls
