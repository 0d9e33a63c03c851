from __future__ import annotations

import fcntl
import json
import time
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError

from dropwell_local.build import ToolMissing, Tools
from dropwell_local.ports import ReservedPort
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


def test_batch_is_asked_where_it_answers(tmp_path: Path) -> None:
    stack = LocalStack(
        url="http://127.0.0.1:1",
        cromwell_url="http://127.0.0.1:2",
        folder=tmp_path,
        outputs={},
        batch_url="http://127.0.0.1:2",
    )
    assert stack.client("batch").meta.endpoint_url == "http://127.0.0.1:2"
    assert stack.client("sqs").meta.endpoint_url == "http://127.0.0.1:1"


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


def session(work: Path, name: str) -> Path:
    folder = work / name
    folder.mkdir()
    (folder / "emulator.log").touch()
    return folder


def test_the_latest_sessions_are_kept_and_nothing_else_is_touched(tmp_path: Path) -> None:
    old = [session(tmp_path, f"2025110{day}-120000") for day in range(1, 8)]
    (tmp_path / "20250101-120000").mkdir()  # no session: it has no log of an emulator
    session(tmp_path, "reads")
    with pytest.raises(ToolMissing), local_stack(tmp_path, tools=Tools(tmp_path)):
        pass
    assert [folder.exists() for folder in old] == [False] * 3 + [True] * 4
    assert (tmp_path / "20250101-120000").exists()
    assert (tmp_path / "reads").exists()


def test_a_stack_that_is_gone_is_noticed_soon() -> None:
    with ReservedPort() as nobody:
        stack = LocalStack(
            url=f"http://127.0.0.1:{nobody.number}",
            cromwell_url="",
            folder=Path(),
            outputs={},
        )
        asked = time.monotonic()
        with pytest.raises(EndpointConnectionError):
            stack.client("dynamodb").list_tables()
    assert time.monotonic() - asked < 5
