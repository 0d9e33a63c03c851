"""Which job may start: vCPUs and memory that the server's workflows take in turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from dropwell_local.cromwell.batch import Job

_Slots = tuple[int, int]
_Entry = tuple[Job, Callable[[], None]]


class Scheduler:
    """Gives jobs their slots, one group after the other, so that a wide workflow starves nobody.

    Cromwell lets hog groups take turns at its job tokens: who had one goes behind all others
    (TokenQueue.scala). Behind them Batch would serve first who came first; with a few slots and
    not a thousand, that would undo the turns, so they are taken here, where the slots are.
    Within a group, who came first is first.

    Parameters
    ----------
    vcpus, memory_mib : int
        The machine.

    Notes
    -----
    Whoever's turn it is waits until there is room, and nobody overtakes: between two jobs of
    a group starts one of every other that waits meanwhile, small or large. A job larger than
    the machine runs alone rather than never.
    """

    def __init__(self, vcpus: int, memory_mib: int) -> None:
        self._size: _Slots = (vcpus, memory_mib)
        self._free = self._size
        self._waiting: dict[str, deque[_Entry]] = {}
        """Of each group that waits its jobs; whose turn it is comes first."""
        self._held: dict[str, _Slots] = {}
        self._open = True

    def submit(self, job: Job, start: Callable[[], None], *, group: str) -> None:
        """Queue a job of a group; `start` is called when its turn has come, perhaps at once."""
        self._waiting.setdefault(group, deque()).append((job, start))
        self._grant()

    def leave(self, job_id: str) -> None:
        """Take a job out, running or waiting."""
        held = self._held.pop(job_id, None)
        if held is None:
            self._take_out(job_id)
        else:
            self._free = (self._free[0] + held[0], self._free[1] + held[1])
        self._grant()

    @property
    def head(self) -> Job | None:
        """The job at the queue's head, whose turn it is; `None` if none waits."""
        return next((queue[0][0] for queue in self._waiting.values()), None)

    def open(self, whether: bool) -> None:
        """Let jobs start, or none until told otherwise."""
        self._open = whether
        self._grant()

    def _take_out(self, job_id: str) -> None:
        for group, queue in self._waiting.items():
            left = deque(entry for entry in queue if entry[0].id != job_id)
            if len(left) < len(queue):
                if left:
                    self._waiting[group] = left
                else:
                    del self._waiting[group]
                return

    def _grant(self) -> None:
        while self._open and self._waiting:
            group = next(iter(self._waiting))
            job, start = self._waiting[group][0]
            wanted = (min(job.vcpus, self._size[0]), min(job.memory_mib, self._size[1]))
            if wanted[0] > self._free[0] or wanted[1] > self._free[1]:
                return
            queue = self._waiting.pop(group)
            queue.popleft()
            if queue:
                self._waiting[group] = queue  # behind all others
            self._held[job.id] = wanted
            self._free = (self._free[0] - wanted[0], self._free[1] - wanted[1])
            start()
