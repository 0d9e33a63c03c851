"""The shapes of Cromwell's metadata."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dropwell_local.cromwell import metadata
from dropwell_local.cromwell.store import Store, Workflow

ROOT, SUB = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "db.sqlite")
    store.add(
        Workflow(
            ROOT,
            ROOT,
            None,
            "Running",
            0.0,
            {"workflowName": "wf", "inputs": {"wf.n": 1}, "start": "t0"},
            {"l": "v"},
        )
    )
    yield store
    store.close()


@pytest.fixture
def workflow(store: Store) -> Workflow:
    known = store.get(ROOT)
    assert known is not None
    return known


def attempt(store: Store, fqn: str, shard: int, number: int, status: str, **facts: Any) -> None:
    facts = {"executionStatus": status, "start": "t1", **facts}
    store.note_call(facts.pop("workflow", ROOT), fqn, shard, number, facts)


def everything(key: str) -> bool:
    return True


def test_calls_are_sorted_by_shard_then_attempt(store: Store, workflow: Workflow) -> None:
    for shard, number in [(10, 1), (2, 2), (2, 1)]:
        attempt(store, "wf.t", shard, number, "Done")

    calls = metadata.metadata(store, workflow, everything)["calls"]["wf.t"]

    assert [(call["shardIndex"], call["attempt"]) for call in calls] == [(2, 1), (2, 2), (10, 1)]


def test_include_and_exclude_are_prefixes_of_keys_at_both_levels(
    store: Store, workflow: Workflow
) -> None:
    attempt(store, "wf.t", -1, 1, "Done", stdout="s3://o", stderr="s3://e", inputs={"n": 1})
    keep = metadata.keep_of(["st", "inputs:n", "id"], ["start"])

    answer = metadata.metadata(store, workflow, keep)

    assert answer == {
        "status": "Running",
        "id": ROOT,
        "calls": {
            "wf.t": [
                {
                    "stdout": "s3://o",
                    "stderr": "s3://e",
                    "inputs": {"n": 1},
                    "attempt": 1,
                    "shardIndex": -1,
                }
            ]
        },
    }


def test_metadata_that_no_key_asks_for_is_empty(store: Store, workflow: Workflow) -> None:
    attempt(store, "wf.t", -1, 1, "Done")

    assert metadata.metadata(store, workflow, metadata.keep_of(["nothing"], [])) == {}


def test_calls_can_be_left_out_as_a_whole(store: Store, workflow: Workflow) -> None:
    attempt(store, "wf.t", -1, 1, "Done")

    assert metadata.metadata(store, workflow, everything, calls=False)["calls"] == {}


def test_a_subworkflow_is_an_id_or_expanded_in_its_place(store: Store, workflow: Workflow) -> None:
    store.add(Workflow(SUB, ROOT, ROOT, "Running", 0.0, {"workflowName": "sub"}, {}))
    attempt(store, "wf.sub", -1, 1, "Running", subWorkflowId=SUB)
    attempt(store, "sub.t", -1, 1, "Done", workflow=SUB)

    plain = metadata.metadata(store, workflow, everything)["calls"]["wf.sub"][0]
    whole = metadata.metadata(store, workflow, everything, expand=True)["calls"]["wf.sub"][0]

    assert plain["subWorkflowId"] == SUB
    assert "subWorkflowId" not in whole
    assert whole["subWorkflowMetadata"]["calls"]["sub.t"][0]["executionStatus"] == "Done"


def test_logs_tell_of_calls_that_have_streams(store: Store, workflow: Workflow) -> None:
    attempt(store, "wf.t", 0, 1, "Running", stdout="s3://o", stderr="s3://e")
    attempt(store, "wf.u", 0, 1, "NotStarted")

    assert metadata.logs(workflow, store.calls(ROOT)) == {
        "calls": {
            "wf.t": [{"stderr": "s3://e", "stdout": "s3://o", "attempt": 1, "shardIndex": 0}]
        },
        "id": ROOT,
    }


def test_failed_jobs_are_grouped_by_the_workflow_that_holds_them(
    store: Store, workflow: Workflow
) -> None:
    store.add(Workflow(SUB, ROOT, ROOT, "Failed", 0.0, {"workflowName": "sub"}, {}))
    attempt(store, "wf.sub", -1, 1, "Failed", subWorkflowId=SUB)
    attempt(store, "wf.bad", -1, 1, "RetryableFailure", backendStatus="Failed")
    attempt(store, "wf.bad", -1, 2, "Failed", returnCode=3)
    attempt(store, "wf.good", -1, 1, "Done")
    attempt(store, "sub.t", -1, 1, "Failed", workflow=SUB)

    answer = metadata.failed_jobs(store, workflow)

    assert {key: list(value["calls"]) for key, value in answer.items()} == {
        ROOT: ["wf.bad"],
        SUB: ["sub.t"],
    }
    assert [call["attempt"] for call in answer[ROOT]["calls"]["wf.bad"]] == [2]


def test_failed_jobs_look_at_the_last_shard_only_as_cromwells_query_does(
    store: Store, workflow: Workflow
) -> None:
    for shard, status in enumerate(["Done", "Failed", "Done"]):
        attempt(store, "wf.middle", shard, 1, status)
    for shard, status in enumerate(["Failed", "Done", "Failed"]):
        attempt(store, "wf.last", shard, 1, status)

    calls = metadata.failed_jobs(store, workflow)[ROOT]["calls"]

    assert "wf.middle" not in calls
    assert [call["shardIndex"] for call in calls["wf.last"]] == [2]


def test_nothing_failed_is_an_empty_object(store: Store, workflow: Workflow) -> None:
    attempt(store, "wf.t", -1, 1, "Done")

    assert metadata.failed_jobs(store, workflow) == {}


@pytest.mark.parametrize("backwards", ["Submitted", "Running", "Aborting", "Aborted", "Succeeded"])
def test_a_status_never_goes_back(store: Store, backwards: str) -> None:
    assert store.turn(ROOT, "Succeeded")

    assert not store.turn(ROOT, backwards)
    known = store.get(ROOT)
    assert known is not None
    assert metadata.status(known) == {"status": "Succeeded", "id": ROOT}


def test_a_runs_end_closes_what_was_still_open(store: Store) -> None:
    store.add(Workflow(SUB, ROOT, ROOT, "Running", 0.0, {}, {}))
    attempt(store, "wf.t", 0, 1, "RetryableFailure")
    attempt(store, "wf.t", 0, 2, "Running")
    attempt(store, "sub.t", -1, 1, "Running", workflow=SUB)

    store.end(ROOT, "Aborted", "t9", {})

    statuses = [one.facts["executionStatus"] for one in store.calls(ROOT) + store.calls(SUB)]
    assert statuses == ["RetryableFailure", "Aborted", "Aborted"]
    sub = store.get(SUB)
    assert sub is not None
    assert sub.status == "Aborted"


def test_an_id_is_taken_once(store: Store) -> None:
    assert not store.add(Workflow(ROOT, ROOT, None, "Submitted", 0.0, {}, {}))
