"""A Batch queue that is blocked on purpose: for a while none of its jobs starts, and Batch says so.

The reasons are those of the AWS Batch user guide, *Jobs stuck in a RUNNABLE status*.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from dropwell_local.cromwell.batch import Job
from dropwell_local.cromwell.chaos import Dial
from dropwell_local.cromwell.scheduling import Scheduler

REASONS: Mapping[str, str] = MappingProxyType(
    {
        "blocked": "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill the capacity"
        " requested for instance type [m6i.large]",
        "misconfigured": "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement"
        " (vCPU/memory/GPU) is higher than that can be met by the CE(s) attached to the job queue.",
    }
)
"""Of each of `chaos.BLOCKAGES` what Batch says."""


class Blocking:
    """Shuts the queue for windows of time, and says of each job at its head that it is blocked.

    Parameters
    ----------
    dial : Dial
        Says whether this is such a window.
    say : callable
        Sends the event of a job and a reason.
    """

    def __init__(self, dial: Dial, say: Callable[[Job, str], None]) -> None:
        self._dial = dial
        self._say = say
        self._window: object = None
        self._said: set[str] = set()

    def look(self, scheduler: Scheduler) -> None:
        """Do what the time wants: Batch speaks of the same job once a window."""
        name, number = self._dial.now.blockage(self._dial.seconds)
        scheduler.open(not name)
        head = scheduler.head if name else None
        window = (self._dial.now, name, number)
        if self._window != window:
            self._window, self._said = window, set()
        if head is not None and head.id not in self._said:
            self._said.add(head.id)
            self._say(head, REASONS[name])
