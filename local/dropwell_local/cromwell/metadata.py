"""The shapes in which Cromwell answers reads (MetadataBuilderActor.scala)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from dropwell_local.cromwell.store import Attempt, Store, Workflow

Json = dict[str, Any]
Keep = Callable[[str], bool]


def status(workflow: Workflow) -> Json:
    return {"status": workflow.status, "id": workflow.id}


def outputs(workflow: Workflow) -> Json:
    return {"outputs": workflow.facts.get("outputs", {}), "id": workflow.id}


def labels(workflow: Workflow) -> Json:
    return {"id": workflow.id, "labels": workflow.labels}


def logs(workflow: Workflow, calls: Sequence[Attempt]) -> Json:
    """Return where each attempt's streams lie."""
    by_name: Json = {}
    for attempt in calls:
        if "stdout" in attempt.facts:
            by_name.setdefault(attempt.fqn, []).append(
                {
                    "stderr": attempt.facts["stderr"],
                    "stdout": attempt.facts["stdout"],
                    "attempt": attempt.attempt,
                    "shardIndex": attempt.shard,
                }
            )
    return {**({"calls": by_name} if by_name else {}), "id": workflow.id}


def keep_of(include: Iterable[str], exclude: Iterable[str]) -> Keep:
    """Return whether a metadata key is asked for: both lists hold prefixes."""
    wanted, unwanted = tuple(include), tuple(exclude)
    return lambda key: (
        (not wanted or key.startswith(wanted)) and not (bool(unwanted) and key.startswith(unwanted))
    )


def metadata(
    store: Store, workflow: Workflow, keep: Keep, *, expand: bool = False, calls: bool = True
) -> Json:
    """Return a workflow's metadata; nothing at all, not even the id, if no key is asked for.

    Parameters
    ----------
    keep : callable
        Says of each key, of the workflow or of a call, whether it is asked for.
    expand : bool
        Put sub-workflows' metadata in place of their ids.
    calls : bool
        Look at calls at all: ``excludeKey=calls`` leaves them out (MetadataDatabaseAccess.scala).
    """
    whole = {
        **workflow.facts,
        "status": workflow.status,
        "labels": workflow.labels,
        "outputs": workflow.facts.get("outputs", {}),
        "inputs": workflow.facts.get("inputs", {}),
    }
    answer = _kept(whole, keep)
    answer["calls"] = {}
    for attempt in store.calls(workflow.id) if calls else ():
        facts = _attempt(attempt, keep)
        inner_id = attempt.facts.get("subWorkflowId")
        inner = store.get(inner_id) if expand and inner_id else None
        if inner is not None:
            facts.pop("subWorkflowId", None)
            facts["subWorkflowMetadata"] = metadata(store, inner, keep, expand=True)
        if facts.keys() - {"attempt", "shardIndex"}:
            answer["calls"].setdefault(attempt.fqn, []).append(facts)
    if len(answer) == 1 and not answer["calls"]:
        return {}
    answer["id"] = workflow.id
    return answer


def rows(told: Any) -> int:
    """Return how many rows of Cromwell's metadata table a value fills: one for each leaf.

    >>> rows({"id": "a", "calls": {"w.t": [{"inputs": {"n": [1, 2]}, "outputs": {}}]}})
    4
    """
    inner = told.values() if isinstance(told, dict) else told if isinstance(told, list) else ()
    return sum(map(rows, inner)) or 1


def _attempt(attempt: Attempt, keep: Keep) -> Json:
    return {
        **_kept(attempt.facts, keep),
        "attempt": attempt.attempt,
        "shardIndex": attempt.shard,
    }


def _kept(facts: Json, keep: Keep) -> Json:
    """Filter keys as Cromwell stores them: nested values are ``outputs:name`` rows."""
    kept: Json = {}
    for key, value in facts.items():
        if keep(key):
            kept[key] = value
        elif isinstance(value, dict):
            inner = {name: one for name, one in value.items() if keep(f"{key}:{name}")}
            if inner:
                kept[key] = inner
    return kept


def failed_jobs(store: Store, workflow: Workflow) -> Json:
    """Return ``/metadata/failed-jobs``: workflow id → ``{"calls": {name: [attempt, …]}}``.

    The rules are those of Cromwell's query (MetadataEntryComponent.scala,
    ``failedJobsMetadataWithWorkflowId``), its surprise included: of each call name it
    looks at the highest shard and the highest attempt only, so a failed shard with a
    higher shard after it is not told. Calls of sub-workflows are never told, the calls
    inside them are.
    """
    by_name: dict[str, list[Attempt]] = {}
    for one in store.of_root(workflow.id) or [workflow]:
        for attempt in store.calls(one.id):
            by_name.setdefault(attempt.fqn, []).append(attempt)
    answer: Json = {}
    for name, attempts in by_name.items():
        if any("subWorkflowId" in attempt.facts for attempt in attempts):
            continue
        failed = [attempt for attempt in attempts if _has_failed(attempt)]
        last = _highest(attempts)
        if not failed or _highest(failed) != last:
            continue
        for attempt in attempts:
            if (max(attempt.shard, 0), attempt.attempt) == last:
                calls = answer.setdefault(attempt.workflow, {"calls": {}})["calls"]
                calls.setdefault(name, []).append(_attempt(attempt, lambda key: True))
    return answer


def _has_failed(attempt: Attempt) -> bool:
    return "Failed" in (
        attempt.facts.get("executionStatus"),
        attempt.facts.get("backendStatus"),
    )


def _highest(attempts: Sequence[Attempt]) -> tuple[int, int]:
    return (
        max(max(attempt.shard, 0) for attempt in attempts),
        max(attempt.attempt for attempt in attempts),
    )
