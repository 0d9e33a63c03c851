"""A scatter of five hundred shards, on the whole stack, with what an ordinary machine has.

An ordinary machine gives a process 1024 open files. Memory is that of all processes of the stack
together: the emulator, the functions that it runs, Cromwell, the run's engine and its tasks.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator

import pytest

from dropwell_local.stack import LocalStack, local_stack
from tests.e2e.footprint import Memory
from tests.e2e.inbox import Inbox, eventually

SHARDS = 500
_FILES = 1024
_MEMORY = 1 << 30
_PATIENCE_S = 400

WIDE = """\
version 1.0

workflow wide {
  input { Int n }
  scatter (i in range(n)) { call say { input: i = i, of = n } }
  output { Array[Int] said = say.said }
}

task say {
  input { Int i  Int of }
  command <<< echo ~{i}  # of ~{of}, so that no other width finds it in the cache >>>
  output { Int said = read_int(stdout()) }
  runtime { docker: "debian:12" memory: "256 MB" }
}
"""


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


def drop_wide(inbox: Inbox, shards: int) -> str:
    """Drop a scatter, and wait until it is told how its run ended; return the run's id."""
    run_id = inbox.drop("wide", {"main.wdl": WIDE, "inputs.json": {"wide.n": shards}})

    def told() -> bool:
        kinds = {mail.attributes["kind"] for mail in inbox.mails(run_id)}
        return bool(kinds & {"ended", "rejected"})

    eventually(told, within=_PATIENCE_S, what=f"the end of {shards} shards")
    return run_id


def test_five_hundred_shards_are_run_counted_and_told_of(
    inbox: Inbox, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    with Memory(inbox.stack) as memory:
        run_id = drop_wide(inbox, SHARDS)
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
