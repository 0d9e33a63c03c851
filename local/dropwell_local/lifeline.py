"""How a process that was started for another ends when that one does, however it ended.

The parent holds the writing end of a pipe that is the child's stdin. A pipe
closes even when its holder is killed outright.
"""

from __future__ import annotations

import os
import signal
import threading


def end_with_stdin() -> None:
    """Send this process SIGTERM when the other end of stdin is gone.

    Stdin itself becomes empty, so that no child of this process can take
    anything from it.
    """
    lifeline = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def watch() -> None:
        while os.read(lifeline, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
