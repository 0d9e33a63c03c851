"""What a call writes can be read while it runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.e2e.inbox import Inbox, eventually

SLOW = """\
version 1.0

workflow slow {
  call count
}

task count {
  command <<< for i in 1 2 3 4; do echo "tick $i"; sleep 2; done >>>
  runtime { docker: "debian:12" }
}
"""


def test_a_log_is_followed_from_a_running_call_to_its_end(inbox: Inbox) -> None:
    run_id = inbox.drop("slow", {"main.wdl": SLOW})
    eventually(lambda: inbox.jobs(run_id)["RUNNING"], within=60, what="a job that runs")

    program = Path(sys.executable).with_name("dropwell")
    work = inbox.stack.folder.parent
    with subprocess.Popen(
        [program, "logs", run_id, "count", "--follow", "--work", work],
        stdout=subprocess.PIPE,
        text=True,
    ) as following:
        assert following.stdout is not None
        told = []
        while not told or "tick 1" not in told[-1]:
            told.append(following.stdout.readline())
            assert told[-1], told
        assert inbox.jobs(run_id) == {"RUNNING": 1}
        told += following.stdout.readlines()

    assert following.returncode == 0
    ticks = [line.strip() for line in told if "tick" in line]
    assert ticks == [f"count  tick {number}" for number in (1, 2, 3, 4)]
    assert inbox.end_of(run_id) == "COMPLETE"
