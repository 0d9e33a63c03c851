"""Querying for workflows, as Cromwell's clients do."""

from __future__ import annotations

import uuid

import pytest

from dropwell_local.cromwell import query
from dropwell_local.cromwell.store import Workflow

IDS = [str(uuid.UUID(int=number)) for number in range(5)]
WORKFLOWS = [
    Workflow(
        IDS[0],
        IDS[0],
        None,
        "Running",
        4.0,
        {"workflowName": "wgs", "submission": "2026-01-04T00:00:00.000Z"},
        {"p": "a"},
    ),
    Workflow(IDS[1], IDS[0], IDS[0], "Running", 4.0, {"workflowName": "sub"}, {}),
    Workflow(
        IDS[2],
        IDS[2],
        None,
        "Succeeded",
        3.0,
        {
            "workflowName": "wgs",
            "submission": "2026-01-03T00:00:00.000Z",
            "end": "2026-01-03T01:00:00.000Z",
        },
        {"p": "b"},
    ),
    Workflow(
        IDS[3], IDS[3], None, "On Hold", 2.0, {"submission": "2026-01-02T00:00:00.000Z"}, {"p": "a"}
    ),
]


def found(*terms: tuple[str, str]) -> list[str]:
    return [result["id"] for result in query.run(WORKFLOWS, terms)["results"]]


@pytest.mark.parametrize(
    ("terms", "places"),
    [
        ([], [0, 1, 2, 3]),
        ([("includeSubworkflows", "false")], [0, 2, 3]),
        ([("INCLUDESUBWORKFLOWS", "false"), ("Status", "succeeded")], [2]),
        ([("status", "Running"), ("status", "On Hold")], [0, 1, 3]),
        ([("id", IDS[2]), ("id", IDS[3])], [2, 3]),
        ([("name", "wgs")], [0, 2]),
        ([("label", "p:a")], [0, 3]),
        ([("label", "p:a"), ("label", "p:b")], []),
        ([("labelor", "p:a"), ("labelor", "p:b")], [0, 2, 3]),
        ([("excludelabelor", "p:a")], [1, 2]),
        ([("submission", "2026-01-03T00:00:00Z")], [0, 2]),
        ([("end", "2026-01-04T00:00:00Z")], [2]),
        ([("newestFirst", "false")], [3, 2, 1, 0]),
        ([("pagesize", "3")], [0, 1, 2]),
        ([("pagesize", "3"), ("page", "2")], [3]),
        ([("page", "2")], [0, 1, 2, 3]),
    ],
)
def test_terms_select_workflows(terms: list[tuple[str, str]], places: list[int]) -> None:
    assert found(*terms) == [IDS[place] for place in places]


def test_the_count_is_of_all_pages() -> None:
    assert query.run(WORKFLOWS, [("pagesize", "1")])["totalResultsCount"] == 4


def test_a_sub_workflow_names_its_parent_and_root_unasked() -> None:
    told = query.run(WORKFLOWS, [("id", IDS[1])])["results"][0]

    assert (told["parentWorkflowId"], told["rootWorkflowId"]) == (IDS[0], IDS[0])


def test_an_end_before_the_start_is_refused() -> None:
    terms = [("start", "2026-01-03T00:00:00Z"), ("end", "2026-01-02T00:00:00+01:00")]

    with pytest.raises(query.BadQuery, match=r"^Specified start date is after specified end date"):
        query.run(WORKFLOWS, terms)


def test_every_problem_is_told_on_a_line_of_its_own() -> None:
    terms = [("page", "1"), ("page", "2"), ("x", "1"), ("status", "a"), ("status", "b")]

    with pytest.raises(query.BadQuery) as refusal:
        query.run(WORKFLOWS, terms)

    assert str(refusal.value).splitlines() == [
        "Unrecognized query keys: x",
        "Unrecognized status values: a, b",
        "Found 2 values for key 'Page' but at most one is allowed.",
    ]


def test_labels_come_only_when_asked_for() -> None:
    plain = query.run(WORKFLOWS, [("id", IDS[0])])["results"][0]
    asked = query.run(WORKFLOWS, [("id", IDS[0]), ("additionalQueryResultFields", "labels")])

    assert "labels" not in plain
    assert asked["results"][0]["labels"] == {"p": "a"}


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (("x", "1"), "Unrecognized query keys: x"),
        (("status", "foo"), "Unrecognized status values: foo"),
        (("id", "x"), "Id values do match allowed workflow id pattern: invalid Id value: 'x'"),
        (("pagesize", "0"), "Integer value not greater than 0"),
        (("name", "1x"), "Name values do not match allowed workflow naming pattern: 1x"),
        (("page", "x"), "Value given for page does not parse as a integer: x"),
        (
            ("start", "2026-01-02"),
            "Value given for start date does not parse as a datetime: 2026-01-02",
        ),
        (("newestfirst", "1"), "Value given for newest first does not parse as a boolean: 1"),
        (
            ("LABEL", "x"),
            "Label values do not match allowed pattern label-key:label-value: x",
        ),
        (
            ("additionalQueryResultFields", "x"),
            "Keys should be from List(labels, parentWorkflowId). Unrecognized values: x",
        ),
    ],
)
def test_a_bad_term_is_refused_in_cromwells_words(term: tuple[str, str], message: str) -> None:
    with pytest.raises(query.BadQuery) as refusal:
        query.run(WORKFLOWS, [term])

    assert str(refusal.value) == message
