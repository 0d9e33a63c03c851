"""The timing page."""

from __future__ import annotations

from datetime import datetime

from dropwell_local.cromwell import timing
from dropwell_local.cromwell.store import Attempt, Workflow

ID = "11111111-1111-4111-8111-111111111111"
NOW = datetime.fromisoformat("2026-01-01T00:00:10Z").timestamp()


def page(*calls: Attempt, name: str = "wf") -> str:
    workflow = Workflow(ID, ID, None, "Running", 0.0, {"workflowName": name}, {})
    return timing.page(workflow, calls, now=NOW)


def call(shard: int, start: int, end: int | None, status: str = "Done") -> Attempt:
    facts = {"start": f"2026-01-01T00:00:0{start}.000Z", "executionStatus": status}
    if end is not None:
        facts["end"] = f"2026-01-01T00:00:0{end}.000Z"
    return Attempt(ID, "wf.t", shard, 1, facts)


def test_each_call_is_a_bar_where_it_ran() -> None:
    told = page(call(0, 0, 5), call(1, 5, None, "Running"))

    assert "class='bar Done' style='margin-left: 0.00%; width: 50.00%'" in told
    assert "class='bar Running' style='margin-left: 50.00%; width: 50.00%'" in told


def test_what_has_not_started_has_no_bar() -> None:
    told = page(Attempt(ID, "wf.t", -1, 1, {"executionStatus": "NotStarted"}))

    assert "No call has started." in told


def test_names_are_shown_as_text() -> None:
    assert "<script>" not in page(name="<script>")
