"""Task commands as process groups of this machine: started, watched for memory, ended whole."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
"""Batch's container reason."""

JOB_ID = "AWS_BATCH_JOB_ID"
"""The variable by which a task, and whatever it starts, says whose it is."""

_PAGE = os.sysconf("SC_PAGE_SIZE")
_GRACE_S = 5.0


class How(Enum):
    """What ended a process: itself, the memory limit, or an abort."""

    EXITED = "exited"
    OUT_OF_MEMORY = "out of memory"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process ended.

    Parameters
    ----------
    exit_code : int
        As a shell counts: 128 and the signal for a process that a signal ended.
    how : How
        Who ended it.
    by_signal : bool
        The shell itself died of a signal, so that nothing after it was run.
    """

    exit_code: int
    how: How = How.EXITED
    by_signal: bool = False


def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdout: Path,
    stderr: Path,
    memory_limit: int,
    stop: Callable[[], bool],
    started: Callable[[int], None],
) -> Ending:
    """Run a command in a session of its own until it, its memory or an abort ends it.

    Parameters
    ----------
    memory_limit : int
        Bytes that the process and its children may hold together; 0 is no limit.
    stop : callable
        Asked five times a second whether the run is being aborted.
    started : callable
        Told the process's id, which is that of its group.
    """
    with stdout.open("wb") as out, stderr.open("wb") as err:
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    try:
        started(process.pid)
        how = _watch(process.pid, memory_limit, stop)
    finally:
        # Whatever it left in the background, too; before it is reaped, while the id is still its.
        _kill(process.pid, signal.SIGKILL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = code = os.waitstatus_to_exitcode(status)
        if JOB_ID in env:
            kill_strays({env[JOB_ID]})  # a container's end is the end of all in it
            _reap_strays()
    # Linux lets a child inherit its parent's peak through exec: a figure no higher than this
    # process's own says nothing.
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = usage.ru_maxrss
    if how is How.EXITED and memory_limit and peak << 10 > memory_limit and peak > own * 1.05:
        how = How.OUT_OF_MEMORY
    if how is How.OUT_OF_MEMORY:
        return Ending(137, how, by_signal=True)
    return Ending(128 - code if code < 0 else code, how, by_signal=code < 0)


def adopt_strays(adopt: bool = True) -> None:
    """Become the parent of whatever a task leaves in a session of its own, so it can be found."""
    pr_set_child_subreaper = 36
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_child_subreaper, int(adopt), 0, 0, 0)


def kill_strays(job_ids: Collection[str] | None = None) -> None:
    """End what hangs below this process, or only what certain jobs left there.

    What is left behind is adopted by the first thread (find_new_reaper in Linux's
    kernel/exit.c); what hangs below the others are tasks that still run. A wide scatter has
    hundreds of those, and asking each thread after every task would cost their square.
    """
    left = children(os.getpid()) if job_ids is None else _children_of(_thread(os.getpid()))
    for child in left:
        if job_ids is None or _job_of(child) in job_ids:
            for pid in _family(child):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)


def _reap_strays() -> None:
    """Let go of strays that have ended: bubblewrap leaves one a task, and no one else waits."""
    for pid in _children_of(_thread(os.getpid())):
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _job_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if entry.startswith(f"{JOB_ID}=".encode()):
                return entry.partition(b"=")[2].decode()
    return ""


def _watch(pid: int, memory_limit: int, stop: Callable[[], bool]) -> How:
    ended = select.poll()  # not select(): with hundreds of open logs, descriptors pass 1024
    fd = os.pidfd_open(pid)
    ended.register(fd, select.POLLIN)
    how, stopped_at = How.EXITED, 0.0
    try:
        while not ended.poll(200):
            if stop():
                now = time.monotonic()
                how, stopped_at = How.STOPPED, stopped_at or now
                _kill(pid, signal.SIGKILL if now - stopped_at > _GRACE_S else signal.SIGTERM)
            elif memory_limit and resident(pid) > memory_limit:
                how = How.OUT_OF_MEMORY
                _kill(pid, signal.SIGKILL)
    finally:
        os.close(fd)
    return how


def resident(pid: int) -> int:
    """Return the bytes that a process and its descendants hold in memory together."""
    total = 0
    for one in _family(pid):
        with contextlib.suppress(OSError, IndexError, ValueError):
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * _PAGE
    return total


def _family(pid: int) -> list[int]:
    """Return a process and all below it, itself first."""
    found, left = [], [pid]
    while left:
        found.append(left.pop())
        left += children(found[-1])
    return found


def children(pid: int) -> list[int]:
    """Return a process's children, zombies too."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += _children_of(thread)
    return found


def _children_of(thread: Path) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for child in (thread / "children").read_text().split()]
    return []


def _thread(pid: int) -> Path:
    """Return where the first thread of a process is described; its id is the process's."""
    return Path(f"/proc/{pid}/task/{pid}")


def _kill(group: int, sig: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, sig)
