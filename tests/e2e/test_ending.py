from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from dropwell_local.stack import LocalStack, NotRunning
from tests.e2e.inbox import Inbox, eventually

UP = """
import sys, threading
from pathlib import Path
from dropwell_local.stack import local_stack
with local_stack(Path(sys.argv[1])):
    threading.Event().wait()
"""

SLOW = """\
version 1.0

workflow slow {
  call wait
}

task wait {
  command <<< sleep 600 >>>
  output { String done = "done" }
  runtime { docker: "debian:12" }
}
"""


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Give a process of its own that runs a stack, with a task at work in it."""
    with subprocess.Popen([sys.executable, "-c", UP, str(tmp_path)]) as owner:
        try:
            eventually(lambda: found(tmp_path), within=60, what="the stack")
            Inbox(LocalStack.found(tmp_path)).drop("slow", {"main.wdl": SLOW})
            eventually(lambda: sleeping(owner), within=60, what="the task")
            yield owner
        finally:
            owner.kill()


def found(work: Path) -> LocalStack | None:
    try:
        return LocalStack.found(work)
    except NotRunning:
        return None


def below(owner: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(owner.pid).children(recursive=True)


def sleeping(owner: subprocess.Popen[bytes]) -> bool:
    return any(process.name() == "sleep" for process in below(owner))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
def test_nothing_is_left_running(
    owner: subprocess.Popen[bytes], tmp_path: Path, how: signal.Signals
) -> None:
    started = below(owner)
    owner.send_signal(how)
    owner.wait(timeout=30)
    _, left = psutil.wait_procs(started, timeout=15)
    assert left == []
    assert found(tmp_path) is None
    assert list(tmp_path.glob("*/emulator.log"))
