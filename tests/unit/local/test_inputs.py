"""What a run is given: Cromwell's leniency, and its words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import WDL

from dropwell_local.engine.inputs import BadInputs, bind

SOURCE = """version 1.0
struct Sample { String name Int depth }
workflow w {
  input {
    Int n
    Float x = 0.5
    Boolean? yes
    Array[Int] many = []
    Map[String, Float] by_name = {}
    Sample? sample
    File? f
    Array[File] files = []
  }
}
"""


@pytest.fixture(scope="module")
def workflow(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("wdl") / "w.wdl"
    path.write_text(SOURCE)
    return WDL.load(str(path)).workflow


def bound(workflow: Any, given: dict[str, Any]) -> dict[str, Any]:
    return {binding.name: binding.value.json for binding in bind(workflow, given)}


@pytest.mark.parametrize(
    ("name", "given", "read"),
    [
        ("n", "3", 3),
        ("x", "2.5", 2.5),
        ("yes", "TRUE", True),
        ("many", ["1", 2], [1, 2]),
        ("by_name", {"a": "1"}, {"a": 1.0}),
        ("sample", {"name": "NA1", "depth": "30"}, {"name": "NA1", "depth": 30}),
        ("f", "s3://bucket/a.bam", "s3://bucket/a.bam"),
    ],
)
def test_strings_are_read_as_the_numbers_that_a_type_wants(
    workflow: Any, name: str, given: Any, read: Any
) -> None:
    assert bound(workflow, {"w.n": 1, f"w.{name}": given})[name] == read


def test_comments_are_passed_over(workflow: Any) -> None:
    assert bound(workflow, {"w.n": 1, "#note": "x"}) == {"n": 1}


def problems(workflow: Any, given: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(BadInputs) as refusal:
        bind(workflow, given)
    return refusal.value.messages


def test_every_problem_is_told_at_once(workflow: Any) -> None:
    unknown, missing = problems(workflow, {"w.nn": 1})

    assert unknown.startswith(
        "WARNING: Unexpected input provided: w.nn (expected inputs: [w.by_name, w.f"
    )
    assert missing == "Required workflow input 'w.n' not specified"


def test_draft_2_passes_over_what_it_does_not_know_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "old.wdl").write_text("workflow w { Int n }")
    old = WDL.load(str(tmp_path / "old.wdl")).workflow

    assert bound(old, {"w.n": 1, "w.nn": 2, "x": [], "w.t.u": {}}) == {"n": 1}
    assert problems(old, {"w.nn": 2}) == ("Required workflow input 'w.n' not specified",)
    (message,) = problems(old, {"w.n": "many"})
    assert message.startswith("No coercion defined")


def test_a_value_of_the_wrong_type_is_not_also_missing(workflow: Any) -> None:
    (message,) = problems(workflow, {"w.n": "many"})

    assert message.startswith("No coercion defined from ''many'' to 'Int' for input 'w.n'")


@pytest.mark.parametrize("where", ["/data/a.bam", "gs://bucket/a.bam", "relative.bam"])
def test_a_file_that_is_not_on_s3_is_refused_wherever_it_hides(
    workflow: Any, where: str, tmp_path: Path
) -> None:
    (message,) = problems(workflow, {"w.n": 1, "w.files": ["s3://b/k", where]})

    assert message.startswith(f'Could not build the path "{where}"')
    assert "Supported filesystems are: s3" in message
