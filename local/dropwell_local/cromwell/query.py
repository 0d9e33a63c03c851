"""Cromwell's query for workflows: its keys, its pages, and its words for a bad one."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from dropwell_local.cromwell.store import Workflow
from dropwell_local.cromwell.submission import parse_id

_STATUSES = ("On Hold", "Submitted", "Running", "Aborting", "Aborted", "Succeeded", "Failed")
_KEYS = {
    name.lower(): name
    for name in (
        "submission",
        "start",
        "end",
        "name",
        "id",
        "status",
        "label",
        "labelor",
        "excludelabeland",
        "excludelabelor",
        "metadataArchiveStatus",
        "includeSubworkflows",
        "additionalQueryResultFields",
        "page",
        "pagesize",
        "newestFirst",
    )
}
_ONCE = ("submission", "start", "end", "page", "pagesize", "includeSubworkflows", "newestFirst")


class BadQuery(Exception):
    """Cromwell answers 400 with these messages, one a line."""


def run(workflows: Iterable[Workflow], terms: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Answer a query.

    Parameters
    ----------
    workflows : iterable of Workflow
        All that may be seen, newest first.
    terms : sequence of (key, value)
        Keys in any case; a key may come again (WorkflowQueryKey.scala).

    Raises
    ------
    BadQuery
        A key is unknown, a value malformed, or a key that may be given once came twice.
    """
    asked: dict[str, list[str]] = defaultdict(list)
    unknown = []
    for key, value in terms:
        name = _KEYS.get(key.lower())
        if name is None:
            unknown.append(key)
        else:
            asked[name].append(value)
    problems = [f"Unrecognized query keys: {', '.join(unknown)}"] if unknown else []
    problems += _problems(asked)
    if problems:
        raise BadQuery("\n".join(problems))
    found = [workflow for workflow in workflows if _wanted(workflow, asked)]
    if not _flag(asked, "newestFirst", True):
        found.reverse()
    total = len(found)
    if asked["pagesize"]:
        size = int(asked["pagesize"][0])
        start = (int(asked["page"][0]) - 1 if asked["page"] else 0) * size
        found = found[start : start + size]
    extra = asked["additionalQueryResultFields"]
    return {
        "results": [_result(workflow, extra) for workflow in found],
        "totalResultsCount": total,
    }


def _problems(asked: dict[str, list[str]]) -> list[str]:
    problems = [
        f"Found {len(asked[name])} values for key '{name}' but at most one is allowed."
        for name in _ONCE
        if len(asked[name]) > 1
    ]
    for name in ("page", "pagesize"):
        for value in asked[name][:1]:
            if not re.fullmatch(r"-?\d+", value):
                problems.append(f'For input string: "{value}"')
            elif int(value) <= 0:
                problems.append("Integer value not greater than 0")
    for name in ("submission", "start", "end"):
        for value in asked[name][:1]:
            try:
                datetime.fromisoformat(value)
            except ValueError:
                problems.append(f"Unable to parse date-time '{value}' for key '{name}'")
    known = {status.lower() for status in _STATUSES}
    bad = [value for value in asked["status"] if value.lower() not in known]
    if bad:
        problems.append(f"Unrecognized status values: {', '.join(bad)}")
    problems += [
        f"Id values do match allowed workflow id pattern: invalid Id value: '{value}'"
        for value in asked["id"]
        if parse_id(value) is None
    ]
    bad = [value for value in asked["name"] if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_]*", value)]
    if bad:
        problems.append(
            f"Name values do not match allowed workflow naming pattern: {', '.join(bad)}"
        )
    return problems


def _flag(asked: dict[str, list[str]], name: str, otherwise: bool) -> bool:
    return asked[name][0].lower() == "true" if asked[name] else otherwise


def _wanted(workflow: Workflow, asked: dict[str, list[str]]) -> bool:
    if workflow.parent and not _flag(asked, "includeSubworkflows", True):
        return False
    if asked["id"] and workflow.id not in {value.lower() for value in asked["id"]}:
        return False
    if asked["status"] and workflow.status.lower() not in {one.lower() for one in asked["status"]}:
        return False
    if asked["name"] and workflow.facts.get("workflowName") not in asked["name"]:
        return False
    has = [_has_label(workflow, pair) for pair in asked["label"]]
    has_or = [_has_label(workflow, pair) for pair in asked["labelor"]]
    not_all = [_has_label(workflow, pair) for pair in asked["excludelabeland"]]
    not_any = [_has_label(workflow, pair) for pair in asked["excludelabelor"]]
    if not all(has) or (has_or and not any(has_or)):
        return False
    if any(not_any) or (not_all and all(not_all)):
        return False
    return _in_time(workflow, asked)


def _has_label(workflow: Workflow, pair: str) -> bool:
    key, _, value = pair.partition(":")
    return workflow.labels.get(key) == value


def _in_time(workflow: Workflow, asked: dict[str, list[str]]) -> bool:
    """Keep what was submitted, started not before, and ended not after the times asked for."""
    for name in ("submission", "start"):
        at = workflow.facts.get(name)
        if asked[name] and not (at and _time(at) >= _time(asked[name][0])):
            return False
    end = workflow.facts.get("end")
    return not asked["end"] or bool(end and _time(end) <= _time(asked["end"][0]))


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _result(workflow: Workflow, extra: Sequence[str]) -> dict[str, Any]:
    facts = workflow.facts
    result = {
        "id": workflow.id,
        "name": facts.get("workflowName"),
        "status": workflow.status,
        "submission": facts.get("submission"),
        "start": facts.get("start"),
        "end": facts.get("end"),
        "labels": workflow.labels if "labels" in extra else None,
        "parentWorkflowId": workflow.parent if "parentWorkflowId" in extra else None,
        "rootWorkflowId": workflow.root if workflow.parent else None,
        "metadataArchiveStatus": "Unarchived",
    }
    return {name: value for name, value in result.items() if value is not None}
