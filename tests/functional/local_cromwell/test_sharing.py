"""Ten workflows share the machine: one of them is wide, and all but one hardly notice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dropwell_local.cromwell.serve import LocalCromwell

from .conftest import Cromwell, Start, until

WIDE = """version 1.0
workflow wide { scatter (i in range(100)) { call t { input: i = i } } }
task t {
  input { Int i }
  command <<< sleep 2; echo ~{i} >>>
  runtime { docker: "debian:12" memory: "64 MB" }
}
"""
SMALL = """version 1.0
workflow small { call t }
task t { command <<< echo small >>> runtime { docker: "debian:12" memory: "64 MB" } }
"""


GROUP = '{"hogGroup": "them"}'


def test_small_workflows_do_not_wait_for_a_wide_one_but_for_that_of_their_own_group(
    start: Start, speak_to: Callable[[LocalCromwell], Cromwell], tmp_path: Path
) -> None:
    with start(tmp_path, vcpus=2, job_limit=10) as server:
        cromwell = speak_to(server)
        wide = cromwell.submit(WIDE, workflowOptions=GROUP)
        until(lambda: shards(cromwell, wide)["Running"] == 10)
        assert shards(cromwell, wide)["QueuedInCromwell"] >= 80, "they have no job yet"
        assert len(jobs(cromwell, wide)) <= 20

        grouped = cromwell.submit(SMALL, workflowOptions=GROUP)
        smalls = [cromwell.submit(SMALL) for _ in range(8)]
        for small in (grouped, *smalls):
            until(lambda small=small: cromwell.status(small) == "Succeeded", 120)  # type: ignore[misc]

        assert cromwell.status(wide) == "Running"
        assert shards(cromwell, wide)["QueuedInCromwell"] > 0
        for small in smalls:
            assert meanwhile(cromwell.events(), small).count(wide) <= 1
        assert meanwhile(cromwell.events(), grouped).count(wide) >= 5
        cromwell.post(f"/{wide}/abort")
        assert cromwell.wait(wide) == "Aborted"


def shards(cromwell: Cromwell, run_id: str) -> Counter[str]:
    """Count the shards of the only call of a run by their status."""
    calls = cromwell.metadata(run_id).get("calls", {})
    return Counter(one["executionStatus"] for one in calls.get("wide.t", []))


def jobs(cromwell: Cromwell, run_id: str) -> set[str]:
    return {one["jobId"] for one in cromwell.events(run_id)}


def meanwhile(events: list[dict[str, Any]], run_id: str) -> list[str]:
    """Return whose jobs started while the only job of a run waited."""
    told = [(one["tags"]["cromwell-root-workflow-id"], one["status"]) for one in events]
    since, until = told.index((run_id, "RUNNABLE")), told.index((run_id, "STARTING"))
    return [whose for whose, status in told[since:until] if status == "STARTING"]
