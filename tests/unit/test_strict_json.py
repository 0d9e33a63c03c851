from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropwell import strict_json
from dropwell.errors import BadBundle
from dropwell.strict_json import Places, in_bytes, kind_of, parse, parse_object

_SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)  # fmt: skip
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=20,
)


@given(_VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_what_json_can_say_is_read_as_the_standard_library_reads_it(
    value: Any, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert parse(text.encode(), file="x.json") == json.loads(text)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), _VALUES, min_size=1))
def test_every_key_is_found_where_it_stands(value: dict[str, Any]) -> None:
    text = json.dumps(value, indent=1)
    for key in value:
        place = Places(text).of(key)
        assert place is not None
        line, column = place
        assert text.split("\n")[line - 1][column - 1 :].startswith(json.dumps(key))


@pytest.mark.parametrize(
    ("text", "rule", "line", "column", "message"),
    [
        ('{"a": 1,\n}', "json-syntax", 1, 8, "a comma stands before the closing }"),
        ("[1,\n\n]", "json-syntax", 1, 3, "a comma stands before the closing ]"),
        ('{"a" 1}', "json-syntax", 1, 6, "a colon is missing after a key"),
        ('{"a": 1\n "b": 2}', "json-syntax", 2, 2, "a comma is missing before this point"),
        ("{a: 1}", "json-syntax", 1, 2, "a key in double quotes was expected"),
        ("{'a': 1}", "json-syntax", 1, 2, "single quotes stand where double ones belong"),
        ("{\u201ca\u201d: 1}", "json-syntax", 1, 2, "a curly quote stands where a straight one"),
        ('{"a": True}', "json-syntax", 1, 7, "JSON writes true, false and null"),
        ('{\n// x\n"a": 1}', "json-syntax", 2, 1, "there are no comments in JSON"),
        ('{"a": tru}', "json-syntax", 1, 7, "a value is missing or not in a form JSON knows"),
        ('{"a": 1} x', "json-syntax", 1, 10, "something follows the end of the JSON"),
        ('{"a": "x\ny"}', "json-syntax", 1, 9, "a string contains a raw line break or tab"),
        ('{"a": "x', "json-syntax", 1, 7, "a string is not closed"),
        (' \n', "json-syntax", 1, 1, "the file is empty"),
        ('{"a": "\\q"}', "json-syntax", 1, 8, "invalid \\escape"),
        ('{"b": "NaN", \n"a": NaN}', "json-number", 2, 6, "NaN is no JSON; Cromwell"),
        ('[-Infinity]', "json-number", 1, 2, "-Infinity is no JSON"),
        ('{"a": 1e999}', "json-number", 1, 7, "a number is too large to be read"),
        ('{"a": 3, "b": ' + "9" * 5000 + "}", "json-number", 1, 15, "a number is too large"),
        ('{"a": {"b": 1,\n "b": 2}}', "json-duplicate-key", 2, 2, 'the key "b" is there twice'),
        ('[{"x": "y"}, {"x": 1, "\\u0078": 2}]', "json-duplicate-key", 1, 23, 'the key "x" is'),
        ("[" * 101 + "]" * 101, "json-too-deep", 1, 101, "values are nested more than 100 deep"),
        ('{"a": "\\ud800"}', "json-character", 1, 8, "a \\u escape names half a character"),
        ('{"a": "\\udc00x"}', "json-character", 1, 8, "a \\u escape names half a character"),
    ],
)  # fmt: skip
def test_unsound_json_is_refused_with_its_place(
    text: str, rule: str, line: int, column: int, message: str
) -> None:
    with pytest.raises(BadBundle) as bad:
        parse(text, file="inputs.json")
    (finding,) = bad.value.findings
    assert (finding.file, finding.rule, finding.line, finding.column) == (
        "inputs.json",
        rule,
        line,
        column,
    )
    assert message in finding.message


def test_nesting_that_would_exhaust_the_parser_is_refused() -> None:
    deep = "[" * 200_000 + "]" * 200_000
    with pytest.raises(BadBundle, match="nested more than 100 deep"):
        parse(deep, file="inputs.json")


def test_many_brackets_that_are_not_deep_are_fine() -> None:
    assert parse(json.dumps([["[[["]] * 200), file="x.json") == [["[[["]] * 200


def test_a_whole_surrogate_pair_and_an_escaped_backslash_are_fine() -> None:
    assert parse('["\\ud83d\\ude00", "\\\\ud800"]', file="x.json") == ["😀", "\\ud800"]


def test_a_byte_order_mark_is_tolerated() -> None:
    assert parse(b'\xef\xbb\xbf{"a": 1}', file="x.json") == {"a": 1}
    assert parse('\ufeff{"a": 1}', file="x.json") == {"a": 1}


def test_text_that_is_not_utf8_is_refused_with_its_line() -> None:
    with pytest.raises(BadBundle, match="not UTF-8") as bad:
        parse(b'{"a": 1,\n"b": "\xe9"}', file="x.json")
    assert bad.value.findings[0].where == "x.json:2"


def test_more_bytes_than_are_read_are_refused_before_parsing() -> None:
    with pytest.raises(BadBundle, match="larger than 10 bytes"):
        parse("[" * 11, file="x.json", max_bytes=10)


def test_a_list_where_an_object_is_due_is_named() -> None:
    with pytest.raises(BadBundle, match="the file holds an Array; an object was expected"):
        parse_object("[1]", file="inputs.json")
    assert parse_object("{}", file="inputs.json") == {}


def test_places_lead_into_arrays_and_objects() -> None:
    places = Places('{"a": [1, {"b" : [\n 7]}],\n "c": "x"}')
    assert places.of("a", 1, "b", 0) == (2, 2)
    assert places.of("c") == (3, 2)


@pytest.mark.parametrize("path", [("z",), ("z", 0), ("a", 5), ("a", "b"), ("c", 0), ("e", 0)])
def test_places_of_what_is_not_there_are_none(path: tuple[strict_json.Step, ...]) -> None:
    assert Places('{"a": [1], "c": "x", "e": []}').of(*path) is None


def test_values_are_named_in_words_of_wdl() -> None:
    values = ["x", True, 1, 1.5, [], {}, None]
    assert [kind_of(value) for value in values] == [
        "a String", "a Boolean", "an Int", "a Float", "an Array", "an Object", "null",
    ]  # fmt: skip


def test_sizes_are_written_for_people() -> None:
    assert [in_bytes(n) for n in (1, 8_388_608, 12_300)] == ["1 bytes", "8.39 MB", "12.3 kB"]
