"""Tasks in bubblewrap: what they see of this machine, what they can change, and how they end."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dropwell_local.engine import processes
from dropwell_local.engine.processes import Ending, How
from dropwell_local.engine.sandbox import command_line, find

Run = Callable[..., Ending]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "task"
    folder.mkdir()
    return folder


@pytest.fixture
def run(folder: Path) -> Run:
    """Return what runs a command as the engine does, in a sandbox."""

    def run(command: str, memory_limit: int = 0, stop_after: float = 30) -> Ending:
        deadline = time.monotonic() + stop_after
        return processes.run(
            command_line(
                find("bubblewrap").bwrap, folder=folder, argv=["/bin/bash", "-c", command]
            ),
            cwd=folder,
            env={"PATH": os.environ["PATH"], processes.JOB_ID: "job-of-the-test"},
            stdout=folder / "stdout",
            stderr=folder / "stderr",
            memory_limit=memory_limit,
            stop=lambda: time.monotonic() > deadline,
            started=lambda pid: None,
        )

    return run


def said(folder: Path) -> str:
    return (folder / "stdout").read_text().strip()


def test_a_task_writes_into_its_own_folder(run: Run, folder: Path) -> None:
    assert run("pwd; echo kept > kept.txt; exit 3").exit_code == 3
    assert said(folder) == str(folder)
    assert (folder / "kept.txt").read_text() == "kept\n"


def test_a_task_cannot_write_elsewhere(run: Run, folder: Path) -> None:
    beside = folder.parent / "beside.txt"
    beside.write_text("whole")

    run(f"echo spoiled > {beside}")
    assert run("touch /etc/spoiled").exit_code != 0
    assert beside.read_text() == "whole"


def test_a_task_has_a_tmp_of_its_own(run: Run, folder: Path) -> None:
    theirs = Path("/tmp/of-this-machine-for-a-test")
    theirs.touch()
    try:
        run(f"ls {theirs}; mktemp; echo $HOME; touch /tmp/{folder.parent.name}")
    finally:
        theirs.unlink()
    assert said(folder).splitlines()[0].startswith("/tmp/tmp.")
    assert (folder / "tmp" / folder.parent.name).exists()
    assert not Path("/tmp", folder.parent.name).exists()


def test_a_task_sees_no_other_process(run: Run, folder: Path) -> None:
    run("ls /proc | grep -c '^[0-9]'")
    assert int(said(folder)) < 8


def test_a_task_over_its_memory_is_ended(run: Run) -> None:
    ending = run("x=$(head -c 200000000 /dev/zero | tr '\\0' x); sleep 30", memory_limit=50 << 20)
    assert ending.how is How.OUT_OF_MEMORY
    assert ending.by_signal


def test_a_stopped_task_leaves_nothing_behind(run: Run) -> None:
    assert run("sleep 4711 & sleep 4711", stop_after=0.5).how is How.STOPPED
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert "sleep 4711" not in running.stdout
