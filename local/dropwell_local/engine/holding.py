"""Calls that have failed, held back while others of the run can go on (ContinueWhilePossible).

miniwdl starts nothing more in a workflow once it hears of a failure. So it does not hear of
one until nothing of the run has moved for a moment: then nothing more can start anyway.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType


class Going:
    """What is going on in a run.

    Parameters
    ----------
    hold : bool
        Whether failures are held back at all.
    quiet : float
        For how many seconds nothing may have moved before they are let go; within that time
        a workflow starts whatever the end of a call allows it to start.
    clock : callable
        Seconds that only grow.
    """

    def __init__(
        self,
        hold: bool = False,
        *,
        quiet: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hold, self._quiet, self._clock = hold, quiet, clock
        self._changed = threading.Condition()
        self._active = 0
        self._moved_at = clock()
        self._let_go = False

    def moved(self, by: int = 0) -> None:
        """Note that something begins or ends, or just that something happens."""
        with self._changed:
            self._active += by
            self._moved_at = self._clock()

    def wait_for_quiet(self) -> None:
        """Wait until nothing goes on; once that was so, nobody waits any more."""
        with self._changed:
            while self._hold and not self._let_go:
                still = self._clock() - self._moved_at >= self._quiet
                self._let_go = still and not self._active
                if self._let_go:
                    self._changed.notify_all()
                else:
                    self._changed.wait(0.1)


class Activity:
    """Something that goes on, as long as a ``with`` block lasts or until it is held back."""

    def __init__(self, going: Going) -> None:
        self._going, self._counted = going, False

    def __enter__(self) -> Activity:
        self._counted = True
        self._going.moved(1)
        return self

    def hold(self) -> None:
        """Wait until nothing else goes on."""
        self._end()
        self._going.wait_for_quiet()

    def _end(self) -> None:
        if self._counted:
            self._counted = False
            self._going.moved(-1)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()
