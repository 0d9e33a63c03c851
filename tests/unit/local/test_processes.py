"""Task commands as process groups, for real."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dropwell_local.engine import processes
from dropwell_local.engine.processes import Ending, How


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Ending]:
    def run(command: str, memory_limit: int = 0, stop_after: float | None = None) -> Ending:
        start = time.monotonic()
        return processes.run(
            ["/bin/bash", "-c", command],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], processes.JOB_ID: "job-of-the-test"},
            stdout=tmp_path / "stdout",
            stderr=tmp_path / "stderr",
            memory_limit=memory_limit,
            stop=lambda: stop_after is not None and time.monotonic() - start > stop_after,
            started=lambda pid: None,
        )

    return run


def gone(pid: int) -> bool:
    """Return whether a process ends, or has ended, within a moment."""
    status = Path(f"/proc/{pid}/status")
    for _ in range(100):
        try:
            if "\nState:\tZ" in status.read_text():
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


def test_an_exit_code_is_the_commands_own(run: Callable[..., Ending], tmp_path: Path) -> None:
    assert run("echo out; echo err >&2; exit 3") == Ending(3)
    assert (tmp_path / "stdout").read_text() == "out\n"
    assert (tmp_path / "stderr").read_text() == "err\n"


def test_a_shell_that_a_signal_ends_has_no_word_after(run: Callable[..., Ending]) -> None:
    assert run("kill -9 $$") == Ending(137, by_signal=True)


def test_too_much_memory_ends_the_whole_group(run: Callable[..., Ending]) -> None:
    ending = run(
        "python3 -c 'import time; x = bytearray(200 << 20); time.sleep(20)' & wait",
        memory_limit=100 << 20,
    )

    assert ending == Ending(137, How.OUT_OF_MEMORY, by_signal=True)


def test_a_spike_between_samples_is_seen_afterwards(run: Callable[..., Ending]) -> None:
    # A child inherits the peak of its parent, which in a long session of tests is no small one.
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    size = max(400 << 20, 2 * own)
    ending = run(f"exec python3 -c 'x = bytearray({size})'", memory_limit=size // 2)

    assert ending.how is How.OUT_OF_MEMORY


def test_an_abort_reaches_children_too(run: Callable[..., Ending], tmp_path: Path) -> None:
    ending = run("sleep 60 & echo $! > child; wait", stop_after=0.3)

    assert ending.how is How.STOPPED
    assert gone(int((tmp_path / "child").read_text()))


def test_nothing_stays_in_the_background(run: Callable[..., Ending], tmp_path: Path) -> None:
    assert run("sleep 60 & echo $! > child").exit_code == 0

    assert gone(int((tmp_path / "child").read_text()))


def test_not_even_in_a_session_of_its_own(run: Callable[..., Ending], tmp_path: Path) -> None:
    processes.adopt_strays()
    try:
        assert run("setsid sleep 60 & echo $! > child; sleep 0.2").exit_code == 0

        child = int((tmp_path / "child").read_text())
        assert gone(child)
        run("true")
        assert child not in processes.children(os.getpid()), "it is to be let go of by the next"
    finally:
        processes.adopt_strays(False)
