"""Cromwell's query for workflows: its keys, its pages, and its words for a bad one."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from dropwell_local.cromwell.store import Workflow
from dropwell_local.cromwell.submission import Rejected, check_labels, parse_id

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
    """Return what is wrong, in Cromwell's order (WorkflowQueryParameters.runValidation)."""
    known = {status.lower() for status in _STATUSES}
    problems = [
        *_out_of_order(asked, "start", "end"),
        *_out_of_order(asked, "submission", "start"),
        *_joined(
            "Unrecognized status values",
            [value for value in asked["status"] if value.lower() not in known],
        ),
        *_joined(
            "Name values do not match allowed workflow naming pattern",
            [one for one in asked["name"] if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_]*", one)],
        ),
        *_joined(
            "Id values do match allowed workflow id pattern",
            [f"invalid Id value: '{one}'" for one in asked["id"] if parse_id(one) is None],
        ),
    ]
    for name in _LABELS:
        bad = [problem for one in asked[name] if (problem := _label_problem(one))]
        problems += _joined("Label values do not match allowed pattern label-key:label-value", bad)
    for name, (read, display, kind) in _ONCE.items():
        problems += _once_problems(name, asked[name], read, display, kind)
    problems += _joined(
        "Keys should be from List(labels, parentWorkflowId). Unrecognized values",
        [one for one in asked["additionalQueryResultFields"] if one not in _EXTRA],
    )
    problems += _joined(
        "Unrecognized 'metadata archive status' value(s)",
        [
            f"No such MetadataArchiveStatus: {one}"
            for one in asked["metadataArchiveStatus"]
            if one.lower() not in _ARCHIVE
        ],
    )
    return problems


def _joined(what: str, bad: Sequence[str]) -> list[str]:
    return [f"{what}: {', '.join(bad)}"] if bad else []


def _label_problem(pair: str) -> str:
    key, colon, value = pair.partition(":")
    if not colon:
        return pair
    try:
        check_labels({key: value})
    except Rejected as problem:
        return str(problem)
    return ""


def _once_problems(
    name: str, values: Sequence[str], read: Callable[[str], Any], display: str, kind: str
) -> list[str]:
    if len(values) > 1:
        return [
            f"Found {len(values)} values for key '{name.capitalize()}' but at most one is allowed."
        ]
    for value in values:
        try:
            if read(value) is _NOT_POSITIVE:
                return ["Integer value not greater than 0"]
        except ValueError:
            return [f"Value given for {display} does not parse as a {kind}: {value}"]
    return []


def _out_of_order(asked: dict[str, list[str]], first: str, second: str) -> list[str]:
    try:
        times = [_time(asked[name][0]) for name in (first, second) if len(asked[name]) == 1]
    except ValueError:
        return []
    if len(times) < 2 or times[0] <= times[1]:
        return []
    return [
        f"Specified {first} date is after specified {second} date: "
        f"{first}: {asked[first][0]}, {second}: {asked[second][0]}"
    ]


def _time(text: str) -> datetime:
    """Read a time that says its offset, as java.time.OffsetDateTime does."""
    if not _OFFSET_TIME.fullmatch(text):
        raise ValueError(text)
    return datetime.fromisoformat(text)


def _whole(text: str) -> Any:
    if not re.fullmatch(r"[+-]?[0-9]{1,10}", text) or abs(int(text)) >= 1 << 31:
        raise ValueError(text)
    return int(text) if int(text) > 0 else _NOT_POSITIVE


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


_NOT_POSITIVE = object()
_OFFSET_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})"
)
_LABELS = ("label", "labelor", "excludelabeland", "excludelabelor")
_EXTRA = ("labels", "parentWorkflowId")
_ARCHIVE = ("unarchived", "archived", "archivedanddeleted", "archivefailed", "toolargetoarchive")
_ONCE: dict[str, tuple[Callable[[str], Any], str, str]] = {
    "submission": (_time, "submission time", "datetime"),
    "start": (_time, "start date", "datetime"),
    "end": (_time, "end date", "datetime"),
    "page": (_whole, "page", "integer"),
    "pagesize": (_whole, "page size", "integer"),
    "includeSubworkflows": (_boolean, "include subworkflows", "boolean"),
    "newestFirst": (_boolean, "newest first", "boolean"),
}


def _flag(asked: dict[str, list[str]], name: str, otherwise: bool) -> bool:
    return asked[name][0].lower() == "true" if asked[name] else otherwise


def _wanted(workflow: Workflow, asked: dict[str, list[str]]) -> bool:
    if workflow.parent and not _flag(asked, "includeSubworkflows", True):
        return False
    if asked["id"] and workflow.id not in {value.lower() for value in asked["id"]}:
        return False
    if asked["status"] and workflow.status.lower() not in {one.lower() for one in asked["status"]}:
        return False
    archived = [value.lower() for value in asked["metadataArchiveStatus"]]
    if archived and "unarchived" not in archived:
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


def _result(workflow: Workflow, extra: Sequence[str]) -> dict[str, Any]:
    facts = workflow.facts
    result = {
        "id": workflow.id,
        "name": facts.get("workflowName"),
        "status": workflow.status,
        "submission": facts.get("submission"),
        "start": facts.get("start"),
        "end": facts.get("end"),
        "labels": (workflow.labels or None) if "labels" in extra else None,
        "parentWorkflowId": workflow.parent,  # asked for or not, since release 36
        "rootWorkflowId": workflow.root if workflow.parent else None,
        "metadataArchiveStatus": "Unarchived",
    }
    return {name: value for name, value in result.items() if value is not None}
