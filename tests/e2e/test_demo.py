"""What `make demo` runs, seen as its user sees it: from nothing to five endings."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from dropwell_local.stack import LocalStack, NotRunning


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def demo(work: Path) -> subprocess.CompletedProcess[str]:
    """Return how the demonstration ended, and what it printed."""
    command = [Path(sys.executable).with_name("dropwell"), "local", "demo", "--work", work]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def test_five_drops_end_as_they_should(demo: subprocess.CompletedProcess[str]) -> None:
    endings = re.findall(r"^(\S+) +(COMPLETE|EXECUTOR_ERROR|REJECTED)\b", demo.stdout, re.MULTILINE)
    assert endings == [
        ("hello", "COMPLETE"),
        ("fastq-stats", "COMPLETE"),
        ("subworkflows", "COMPLETE"),
        ("failing", "EXECUTOR_ERROR"),
        ("typo", "REJECTED"),
    ]
    assert demo.returncode == 0
    assert demo.stderr == ""


@pytest.mark.parametrize(
    "told",
    [
        "FAILED: failing, task error in check",  # cause and call
        "Why: check shard 2 ended with return code 3",
        "Last lines of stderr: Checking a depth of 12 ERROR: depth 12 is below the 20",
        "Who acts: pipeline author. Next: read the end of its stderr",
    ],
)
def test_the_failed_one_is_explained(demo: subprocess.CompletedProcess[str], told: str) -> None:
    _, found, rest = demo.stdout.partition("[demo] FAILED: failing")
    notice = found + rest.split("\n────", 1)[0]
    assert told in " ".join(notice.split())


def test_the_rejected_one_says_what_was_meant(demo: subprocess.CompletedProcess[str]) -> None:
    assert 'Did you mean "count_bases.reference"?' in " ".join(demo.stdout.split())


def test_what_ran_is_kept_and_nothing_runs_on(
    demo: subprocess.CompletedProcess[str], work: Path
) -> None:
    with pytest.raises(NotRunning):
        LocalStack.found(work)
    for folder in re.findall(r"^ +((?:runs|rejected)/demo/\S+)$", demo.stdout, re.MULTILINE):
        assert any(work.glob(f"*/s3/*/*/{folder}*"))
