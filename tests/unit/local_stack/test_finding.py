from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest

from dropwell_local.stack import AlreadyRunning, LocalStack, NotRunning, local_stack

STATE = {
    "url": "http://127.0.0.1:1",
    "cromwell_url": "http://127.0.0.1:2",
    "folder": "/work/session",
    "outputs": {"Table": "table"},
}


def test_a_folder_that_never_held_a_stack_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="dropwell local up"):
        LocalStack.found(tmp_path)


def test_a_stack_that_has_stopped_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    (tmp_path / "local.json").write_text(json.dumps(STATE))
    with pytest.raises(NotRunning, match="dropwell local up"):
        LocalStack.found(tmp_path)


def test_a_stack_is_found_while_its_lock_is_held(tmp_path: Path) -> None:
    (tmp_path / "local.json").write_text(json.dumps(STATE))
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stack = LocalStack.found(tmp_path)
    assert stack == LocalStack(
        url="http://127.0.0.1:1",
        cromwell_url="http://127.0.0.1:2",
        folder=Path("/work/session"),
        outputs={"Table": "table"},
    )


def test_a_stack_that_is_still_starting_is_told_apart(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(NotRunning, match="still starting"):
            LocalStack.found(tmp_path)


def test_a_second_stack_in_one_folder_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(AlreadyRunning, match="already"), local_stack(tmp_path):
            pass
