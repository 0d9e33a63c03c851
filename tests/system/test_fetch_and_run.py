"""What runs in a task's container: fetches Cromwell's script from S3, whole, and leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest

from dropwell.causes import Evidence, judge
from dropwell_local.emulator import environment_of_owner, running_emulator
from tests.transformed import ROOT

SCRIPT = ROOT / "worker/fetch_and_run.sh"
KEY = "scripts/0f343b0931126a20f133d67c2b018a3b"

# The AWS CLI against the emulator. It writes down its calls; its first FAULTS fail as FAULT says.
CLI = """#!/bin/bash
echo "$*" >>"$CALLS"
if [ "$(wc -l <"$CALLS")" -le "$FAULTS" ]; then
  case "$FAULT" in
  refused) echo "An error occurred (SlowDown)" >&2; exit 254 ;;
  cut) echo 9999; printf 12345 >"${@: -1}"; exit 0 ;;
  esac
fi
exec /usr/bin/aws --endpoint-url "$URL" "$@"
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    python = ROOT / ".tools/emulator/bin/python"
    with running_emulator(python=python, folder=tmp_path_factory.mktemp("aws")) as url:
        yield url


@dataclass
class Container:
    """The environment that Cromwell's job definitions give a task."""

    folder: Path
    url: str

    def environment(self, faults: int = 0, fault: str = "", **more: str) -> dict[str, str]:
        return {
            **environment_of_owner(self.url),
            "PATH": f"{self.folder}/bin:/usr/bin:/bin",
            "TMPDIR": str(self.folder / "tmp"),
            "FETCH_AWS": str(self.folder / "bin/aws"),
            "CALLS": str(self.folder / "calls"),
            "URL": self.url,
            "FAULTS": str(faults),
            "FAULT": fault,
            "BATCH_FILE_TYPE": "script",
            "BATCH_FILE_S3_URL": f"s3://workflows/{KEY}",
            **more,
        }

    def run(
        self, faults: int = 0, fault: str = "", **more: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", str(SCRIPT)],
            env=self.environment(faults, fault, **more),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    @property
    def calls(self) -> list[str]:
        calls = self.folder / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    @property
    def left(self) -> list[Path]:
        return list((self.folder / "tmp").iterdir())


@pytest.fixture
def container(tmp_path: Path, url: str) -> Container:
    for folder in ("bin", "tmp"):
        (tmp_path / folder).mkdir()
    for name, text in {
        "aws": CLI,
        "sleep": '#!/bin/bash\necho "$1" >>"$TMPDIR/../slept"\n',
    }.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    return Container(tmp_path, url)


@pytest.fixture
def stored(url: str) -> Callable[[str], None]:
    """Return what stores a script where Cromwell would."""
    s3 = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    s3.create_bucket(Bucket="workflows")
    return lambda text: s3.put_object(Bucket="workflows", Key=KEY, Body=text.encode())


def test_the_script_runs_and_its_code_is_the_tasks(container: Container, stored) -> None:
    stored("#!/bin/bash\necho from the task\nexit 42\n")
    done = container.run()
    assert (done.stdout, done.returncode) == ("from the task\n", 42)
    assert len(container.calls) == 1


def test_nothing_is_left_behind(container: Container, stored) -> None:
    stored("#!/bin/bash\nexit 1\n")
    container.run()
    assert container.left == []


def test_the_script_is_left_to_be_looked_at_when_asked(container: Container, stored) -> None:
    stored("#!/bin/bash\n")
    container.run(KEEP_BATCH_FILE_CONTENTS="1")
    assert [file.name for folder in container.left for file in folder.iterdir()] == ["script"]


@pytest.mark.parametrize("fault", ["refused", "cut"])
def test_what_fails_or_comes_in_part_is_fetched_again(
    container: Container, stored, fault: str
) -> None:
    stored("#!/bin/bash\necho whole\n")
    done = container.run(faults=4, fault=fault)
    assert (done.stdout, done.returncode) == ("whole\n", 0)
    waits = [int(line) for line in (container.folder / "slept").read_text().split()]
    assert len(waits) == 4
    assert all(5 * try_ <= wait < 5 * try_ + 5 for try_, wait in enumerate(waits, start=1))


@pytest.mark.parametrize(
    ("fault", "said"), [("refused", "SlowDown"), ("cut", "bytes, and 5 arrived")]
)
def test_what_never_comes_whole_is_never_run(
    container: Container, stored, fault: str, said: str
) -> None:
    stored("#!/bin/bash\necho whole\n")
    done = container.run(faults=99, fault=fault)
    assert (done.stdout, done.returncode) == ("", 1)
    assert said in done.stderr
    assert done.stderr.rstrip().endswith(
        f"s3://workflows/{KEY} could not be fetched in 5 tries. See the words of the AWS CLI above."
    )
    assert len(container.calls) == 5
    assert container.left == []


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("BATCH_FILE_TYPE", "zip", "BATCH_FILE_TYPE is 'zip'; only 'script' is run here."),
        ("BATCH_FILE_S3_URL", "", "BATCH_FILE_S3_URL is '', which names no object in S3."),
        ("BATCH_FILE_S3_URL", "s3://bucket", "which names no object in S3."),
        ("FETCH_AWS", "/nowhere/aws", "There is no AWS CLI at /nowhere/aws"),
    ],
)
def test_what_it_cannot_do_it_says(
    container: Container, setting: str, value: str, said: str
) -> None:
    done = container.run(**{setting: value})
    assert done.returncode == 1
    assert said in done.stderr
    assert container.calls == []


def test_batchs_term_reaches_the_script(container: Container, stored) -> None:
    stored(
        '#!/bin/bash\ntrap "echo saved; exit 7" TERM\n'
        "echo started\nwhile :; do /bin/sleep 0.1; done\n"
    )
    process = subprocess.Popen(
        ["bash", "-c", str(SCRIPT)],
        env=container.environment(),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=20)[0] == "saved\n"
        assert process.returncode == 7
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert container.left == []


def diagnosed(done: subprocess.CompletedProcess[str]) -> str:
    """Return the rule by which the pipeline would tell people of this."""
    said = Evidence(
        job_status="FAILED",
        job_reason="Essential container in task exited",
        exit_code=done.returncode,
        rc_present=False,
        job_log=done.stderr,
    )
    return judge(said).rule


def test_what_it_says_is_understood_by_those_who_tell_people(container: Container, stored) -> None:
    assert diagnosed(container.run(FETCH_AWS="/nowhere/aws")) == "log-worker-without-cli"
    missing = container.run(BATCH_FILE_S3_URL="s3://workflows/scripts/none")
    assert "NoSuchKey" in missing.stderr
    assert diagnosed(missing) == "log-script-not-fetched"


def test_a_job_without_a_role_is_told_of_as_such(container: Container, stored) -> None:
    stored("#!/bin/bash\n")
    bare = {
        "AWS_ACCESS_KEY_ID": "",
        "AWS_SECRET_ACCESS_KEY": "",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    done = container.run(**bare)
    assert done.returncode == 1
    assert diagnosed(done) == "log-no-credentials"
