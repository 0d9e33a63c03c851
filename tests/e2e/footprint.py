"""What all processes of one local stack take together: memory, and processor time."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field

import psutil

from dropwell_local.stack import LocalStack


def processes_of(stack: LocalStack) -> set[psutil.Process]:
    """Return the emulator, the functions that it runs, Cromwell, its engines and their tasks.

    Another stack may run below this process as well.
    """
    found: set[psutil.Process] = set()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.environ().get("AWS_ENDPOINT_URL") == stack.url:
                found |= {process, *process.children(recursive=True)}
    return found


def processor_seconds(stack: LocalStack) -> float:
    """Return what a stack has used so far, with what ran and has ended; exact while it rests."""
    used = 0.0
    for process in processes_of(stack):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            used += sum(process.cpu_times()[:4])  # its own, and of those it has waited for
    return used


@dataclass
class Memory:
    """The most that a stack's processes held together, looked at once a second.

    Pages that several share are counted once (PSS).
    """

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
            self.most = max(self.most, sum(map(_held, processes_of(self.stack))))


def _held(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return int(process.memory_full_info().pss)
    return 0
