"""A scatter of five hundred shards, on the whole stack, with what an ordinary machine has.

An ordinary machine gives a process 1024 open files. Memory is what all processes of the stack
hold together, pages that several share counted once (PSS): the emulator, the functions that it
runs, Cromwell, the run's engine and its tasks.
"""

from __future__ import annotations

import contextlib
import resource
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import psutil
import pytest

from dropwell_local.stack import LocalStack, local_stack
from tests.e2e.inbox import Inbox, eventually

SHARDS = 500
_FILES = 1024
_MEMORY = 1 << 30
_PATIENCE_S = 400

WIDE = """\
version 1.0

workflow wide {
  input { Int n }
  scatter (i in range(n)) { call say { input: i = i } }
  output { Array[Int] said = say.said }
}

task say {
  input { Int i }
  command <<< echo ~{i} >>>
  output { Int said = read_int(stdout()) }
  runtime { docker: "debian:12" memory: "256 MB" }
}
"""


@dataclass
class Memory:
    """The most that a stack's processes held together, looked at once a second."""

    stack: LocalStack
    most: int = 0
    _done: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Memory:
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watch.join()

    def _look(self) -> None:
        while not self._done.wait(1.0):
            self.most = max(self.most, sum(map(_held, self._processes())))

    def _processes(self) -> set[psutil.Process]:
        """Return this stack's processes: another one may run below this process as well."""
        found: set[psutil.Process] = set()
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if process.environ().get("AWS_ENDPOINT_URL") == self.stack.url:
                    found |= {process, *process.children(recursive=True)}
        return found


def _held(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return int(process.memory_full_info().pss)
    return 0


@pytest.fixture(scope="module")
def inbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inbox]:
    """Give the inbox of a stack whose processes begin with the usual limit of open files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, before[1]))
    try:
        with local_stack(tmp_path_factory.mktemp("wide")) as stack:
            yield Inbox(stack)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_five_hundred_shards_are_run_counted_and_told_of(
    inbox: Inbox, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    with Memory(inbox.stack) as memory:
        run_id = inbox.drop("wide", {"main.wdl": WIDE, "inputs.json": {"wide.n": SHARDS}})

        def told() -> bool:
            kinds = {mail.attributes["kind"] for mail in inbox.mails(run_id)}
            return bool(kinds & {"ended", "rejected"})

        eventually(told, within=_PATIENCE_S, what="the end of five hundred shards")
    seconds, held = time.monotonic() - began, memory.most / (1 << 20)
    with capsys.disabled():
        sys.stdout.write(f"\n{SHARDS} shards: {seconds:.0f} s, {held:.0f} MiB at most\n")

    items = inbox.items(run_id)
    assert items["RUN"]["state"] == "COMPLETE"
    assert inbox.jobs(run_id) == {"SUCCEEDED": SHARDS}
    assert (items["COUNTS"]["jobs"], items["COUNTS"]["succeeded"]) == (SHARDS, SHARDS)
    notices = [key for key in items if key.startswith("NOTICE#")]
    assert len(inbox.mails(run_id)) == len(notices) <= 4
    assert _complaints(inbox.stack) == []
    assert 0 < memory.most < _MEMORY


def _complaints(stack: LocalStack) -> list[str]:
    """Return what any log of the stack says of too many open files."""
    return [
        f"{log.name}: {line}"
        for log in stack.folder.rglob("*.log")
        for line in log.read_text(errors="replace").splitlines()
        if "Too many open files" in line or "Errno 24" in line
    ]
