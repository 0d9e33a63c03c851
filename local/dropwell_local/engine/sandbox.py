"""Whether tasks are kept apart from this machine, by bubblewrap, and with which command line."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from dropwell_local import LocalFailure

_TRIAL_S = 10.0


class Isolation(Enum):
    """What is wanted: bubblewrap where it works, always, or never."""

    AUTO = "auto"
    BUBBLEWRAP = "bubblewrap"
    NONE = "none"


class NoSandbox(LocalFailure):
    """Bubblewrap was asked for, and does not work here."""


@dataclass(frozen=True)
class Sandbox:
    """How tasks run here.

    Parameters
    ----------
    bwrap : str
        The program, if it is to be used; else empty.
    why_not : str
        Why it is not used.
    """

    bwrap: str
    why_not: str = ""

    def __str__(self) -> str:
        """Say it in words, of tasks.

        >>> print(Sandbox("", "bubblewrap is not installed"))
        run as plain processes (bubblewrap is not installed)
        """
        return "run in bubblewrap" if self.bwrap else f"run as plain processes ({self.why_not})"


def find(wanted: str, *, program: str = "bwrap") -> Sandbox:
    """Return how tasks are to be run on this machine.

    Parameters
    ----------
    wanted : str
        A value of `Isolation`.

    Raises
    ------
    NoSandbox
        Nothing but bubblewrap was wanted, and it does not work.
    """
    if Isolation(wanted) is Isolation.NONE:
        return Sandbox("", "as asked for")
    found = shutil.which(program)
    why_not = _trouble(found) if found else "bubblewrap is not installed"
    if found and not why_not:
        return Sandbox(found)
    if Isolation(wanted) is Isolation.BUBBLEWRAP:
        raise NoSandbox(f"Tasks cannot be kept apart: {why_not}.")
    return Sandbox("", why_not)


def command_line(bwrap: str, *, folder: Path, argv: Sequence[str]) -> list[str]:
    """Return what runs a task where it can write only its own folder and a /tmp of its own.

    The rest of the machine it can read, as an image it would have instead is not here. It
    sees no process but its own, and ends with whoever started it.

    Parameters
    ----------
    folder : Path
        The task's own; its /tmp is in it, on disk.
    argv : sequence of str
        The task.
    """
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    return [
        bwrap,
        *("--ro-bind", "/", "/"),
        *("--dev", "/dev"),
        *("--proc", "/proc"),
        *("--bind", str(temporary), "/tmp"),
        *("--bind", str(folder), str(folder)),
        *("--setenv", "HOME", "/tmp"),
        *("--setenv", "TMPDIR", "/tmp"),
        "--unshare-pid",
        "--unshare-ipc",
        "--die-with-parent",
        *argv,
    ]


def _trouble(bwrap: str) -> str:
    """Return why bubblewrap cannot be used; empty if it can."""
    try:
        tried = subprocess.run(
            [bwrap, "--ro-bind", "/", "/", "--proc", "/proc", "--unshare-pid", "true"],
            capture_output=True,
            text=True,
            timeout=_TRIAL_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        return f"bubblewrap does not start: {problem}"
    if tried.returncode:
        said = tried.stderr.strip().splitlines()
        return f"bubblewrap does not work here: {said[-1] if said else tried.returncode}"
    return ""
