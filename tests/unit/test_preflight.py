from __future__ import annotations

import pytest

from dropwell.errors import BadBundle
from dropwell.preflight import (
    Finding,
    Severity,
    did_you_mean,
    errors_of,
    nearest,
    review_labels,
    shown_path,
)


def finding(**fields: object) -> Finding:
    return Finding(rule="r", message="something", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "where", "text"),
    [
        ({}, "", "something"),
        ({"file": "a.json"}, "a.json", "a.json  something"),
        ({"file": "a.json", "line": 7, "column": 3}, "a.json:7", "a.json:7  something"),
    ],
)
def test_a_finding_reads_with_its_place(fields: dict[str, object], where: str, text: str) -> None:
    assert (finding(**fields).where, str(finding(**fields))) == (where, text)


def test_only_errors_reject() -> None:
    error, warning = finding(), finding(severity=Severity.WARNING)
    assert errors_of([warning, error]) == (error,)


def test_a_bad_bundle_carries_its_findings() -> None:
    bad = BadBundle(finding(), finding())
    assert str(bad) == "something; something"
    assert len(bad.findings) == 2


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [
        ("w.ref_fata", ["w.ref_fasta", "w.reads"], "w.ref_fasta"),
        ("v.align.threads", ["w.align.threads", "w.sort.threads"], "w.align.threads"),
        ("DEPTH", ["w.depth"], "w.depth"),
        ("w.zzz", ["w.depth"], ""),
        ("w.depth", [], ""),
    ],
)
def test_the_nearest_name_is_the_one_meant(name: str, known: list[str], found: str) -> None:
    assert nearest(name, known) == found


def test_paths_are_compared_by_their_last_part() -> None:
    assert did_you_mean("ref.fa", ["x.json", "data/ref.fa"], parts="/") == (
        '. Did you mean "data/ref.fa"?'
    )
    assert did_you_mean("q.json", ["inputs/a.json"], parts="/") == ""


def test_so_many_names_are_not_compared_that_it_would_take_long() -> None:
    names = [f"w.input_{index}" for index in range(5000)]
    assert nearest("w.inptu_7", names) == ""
    assert nearest("input_7", names) == "w.input_7"


def test_a_place_within_inputs_is_written_as_people_do() -> None:
    assert shown_path(("w.a", "b", 0, "c")) == "w.a.b[0].c"


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("a", 3, "is not a string; labels are strings"),
        ("", "x", "has no name"),
        ("k" * 129, "x", "has 129 characters; 1 to 128 are allowed"),
        ("a", "v" * 256, "has a value of 256 characters; at most 255 are allowed"),
        ("AWS:x", "x", 'starts with "aws:", which AWS keeps for itself'),
        ("a;b", "x", "has characters that no tag may have; letters, digits, space and"),
        ("a", "x\n", "has a value with characters that no tag may have"),
    ],
)
def test_a_label_that_is_no_legal_tag_is_an_error(key: str, value: object, complaint: str) -> None:
    (found,) = review_labels({key: value}, file="labels.json")
    assert found.message.startswith(f'label "{key}" {complaint}')
    assert (found.file, found.is_error) == ("labels.json", True)


def test_labels_that_are_legal_tags_pass() -> None:
    labels = {"k" * 128: "v" * 255, "Größe 3": "a+b=c._d:/@-", "empty": ""}
    assert review_labels(labels, file="labels.json") == ()


def test_more_labels_than_fit_on_a_job_are_an_error() -> None:
    labels = {f"k{index}": "" for index in range(41)}
    assert [found.message for found in review_labels(labels, file="x")] == [
        "41 labels; at most 40 fit on a job"
    ]
