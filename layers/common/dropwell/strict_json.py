"""How JSON that people write is read: strictly, and with the line where it goes wrong."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from dropwell.errors import BadBundle
from dropwell.preflight import Finding

MAX_DEPTH = 100
"""Deeper than any inputs file a person writes, and far below what exhausts a parser."""

Step = str | int
"""One step into a JSON value: the key of an object or the index of an array."""

_DECODER = json.JSONDecoder()
_BLANK = re.compile(r"[ \t\n\r]*")
_STRING = r'"(?:[^"\\]++|\\.)*+"'  # possessive: a string that never ends costs one pass
_TOKEN = re.compile(rf"{_STRING}|[\[\]{{}}]", re.DOTALL)
_NUMBER = re.compile(rf"{_STRING}|(-?Infinity|NaN|-?\d[\d.eE+-]*)", re.DOTALL)
_LONE_SURROGATE = re.compile(
    r"(?<!\\)(?:\\\\)*(?:\\ud[89ab]..(?!\\ud[c-f])|(?<!\\ud[89ab]..)\\ud[c-f]..)", re.IGNORECASE
)
_WORDS = {
    "Expecting value": "a value is missing or not in a form JSON knows",
    "Expecting ',' delimiter": "a comma is missing before this point",
    "Expecting ':' delimiter": "a colon is missing after a key",
    "Expecting property name enclosed in double quotes": "a key in double quotes was expected",
    "Extra data": "something follows the end of the JSON",
    "Invalid control character at": "a string contains a raw line break or tab",
    "Unterminated string starting at": "a string is not closed",
}

_SLIPS = (
    (("//", "/*", "#"), "there are no comments in JSON"),
    (
        ("\u201c", "\u201d", "\u201e", "\u00ab"),
        'a curly quote stands where a straight one (") belongs',
    ),
    ("'", "single quotes stand where double ones belong"),
    (("True", "False", "None"), "JSON writes true, false and null, not as Python does"),
)
"""What people who write JSON by hand often begin a value or key with."""


class _Unsound(Exception):
    """Raised inside the parser, where the place is not known yet; says only which rule broke."""


def parse(
    data: str | bytes, *, file: str, max_bytes: int | None = None, max_depth: int = MAX_DEPTH
) -> Any:
    """Return the value of a JSON text, or say where and why it is not sound.

    What the standard library takes in silence is refused here, because it
    hides mistakes: of two equal keys one would be lost, ``NaN`` is no JSON
    that Cromwell reads, and half a surrogate pair cannot be written out again.
    A byte order mark is tolerated.

    Parameters
    ----------
    data : str or bytes
        The text, or UTF-8.
    file : str
        Its name, for the finding.
    max_bytes, max_depth : int
        Size and nesting beyond which nothing is read.

    Raises
    ------
    BadBundle
        With one finding that carries file, line and column.

    Examples
    --------
    >>> parse('{"depth": 30}', file="inputs.json")
    {'depth': 30}
    >>> parse('{"a": 1, "a": 2}', file="inputs.json")
    Traceback (most recent call last):
    dropwell.errors.BadBundle: the key "a" is there twice
    """
    text = decode(data, file=file, max_bytes=max_bytes)
    try:
        value = _STRICT.decode(text)
    except json.JSONDecodeError as error:
        offset, message = _in_words(error)
        raise _bad(file, "json-syntax", message, text, offset) from None
    except RecursionError:
        raise _too_deep(file, text, max_depth) from None
    except _Unsound as error:
        rule = str(error)
        offset, message = _second_key(text) if rule == "json-duplicate-key" else _bad_number(text)
        raise _bad(file, rule, message, text, offset) from None
    except ValueError:  # Python ends whole numbers at 4300 digits
        offset, message = _bad_number(text)
        raise _bad(file, "json-number", message, text, offset) from None
    # Counting brackets bounds the depth from above; only what exceeds it is looked at closely.
    if text.count("[") + text.count("{") > max_depth and _opening_beyond(text, max_depth) >= 0:
        raise _too_deep(file, text, max_depth)
    if "\\ud" in text or "\\uD" in text or "\\Ud" in text:
        _refuse_lone_surrogates(file, text, value)
    return value


def parse_object(data: str | bytes, *, file: str, max_bytes: int | None = None) -> dict[str, Any]:
    """Return the JSON object in a file, as `parse` does; any other value is a finding."""
    value = parse(data, file=file, max_bytes=max_bytes)
    if isinstance(value, dict):
        return value
    raise BadBundle(
        Finding(
            rule="json-not-object",
            message=f"the file holds {kind_of(value)}; an object was expected",
            advice='Write it as { "key": value, … }.',
            file=file,
            line=1,
        )
    )


def decode(data: str | bytes, *, file: str, max_bytes: int | None = None) -> str:
    """Return a file's text: UTF-8 within a size, less a byte order mark."""
    if max_bytes is not None and len(data) > max_bytes:
        message = f"the file is larger than {in_bytes(max_bytes)}, the most that is read"
        raise BadBundle(Finding(rule="file-too-large", message=message, file=file))
    if isinstance(data, str):
        return data.removeprefix("\ufeff")
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise BadBundle(
            Finding(
                rule="not-utf8",
                message="the file is not UTF-8 text",
                file=file,
                line=data.count(b"\n", 0, error.start) + 1,
                advice="Save it as UTF-8.",
            )
        ) from None


class Places:
    """Where the values of a sound JSON text stand, found out only when a finding asks.

    Values on the way are skipped at the speed of the C scanner; the top level
    is walked once, however many findings there are.

    Examples
    --------
    >>> Places('{"a": 1,\\n "b": [10, 20]}').of("b", 1)
    (2, 12)
    """

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def _top(self) -> dict[Step, tuple[int, int]]:
        return {name: (place, value) for name, place, value in _members(self._text, 0)}

    def of(self, first: Step, *steps: Step) -> tuple[int, int] | None:
        """Return line and column of a key (or array item), `None` if it is not there."""
        place, value = self._top.get(first, (-1, -1))
        for step in steps:
            inner = (found[1:] for found in _members(self._text, value) if found[0] == step)
            place, value = next(inner, (-1, -1)) if place >= 0 else (-1, -1)
        return _line_and_column(self._text, place) if place >= 0 else None


def kind_of(value: object) -> str:
    """Name a JSON value in WDL's words, with its article.

    >>> kind_of(3), kind_of("x"), kind_of(None)
    ('an Int', 'a String', 'null')
    """
    if isinstance(value, bool):  # before int: Python's True is one
        return "a Boolean"
    kinds = {str: "a String", int: "an Int", float: "a Float", list: "an Array", dict: "an Object"}
    return kinds.get(type(value), "null")


def in_bytes(count: int) -> str:
    """Write a size for people.

    >>> in_bytes(20_000_000), in_bytes(1_500_000_000), in_bytes(900)
    ('20 MB', '1.5 GB', '900 bytes')
    """
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _Unsound("json-duplicate-key")
    return made


def _constant(_: str) -> float:
    raise _Unsound("json-number")


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):  # written out again it would be Infinity
        raise _Unsound("json-number")
    return number


_STRICT = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_float)


def _bad(file: str, rule: str, message: str, text: str, offset: int) -> BadBundle:
    line, column = _line_and_column(text, offset)
    return BadBundle(Finding(rule=rule, message=message, file=file, line=line, column=column))


def _too_deep(file: str, text: str, max_depth: int) -> BadBundle:
    message = f"values are nested more than {max_depth} deep"
    return _bad(file, "json-too-deep", message, text, _opening_beyond(text, max_depth))


def _refuse_lone_surrogates(file: str, text: str, value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        broken = _LONE_SURROGATE.search(text)
        message = "a \\u escape names half a character (a surrogate without its partner)"
        raise _bad(
            file, "json-character", message, text, broken.end() - 6 if broken else 0
        ) from None


def _in_words(error: json.JSONDecodeError) -> tuple[int, str]:
    """Return where the parser tripped, and over what in one plain clause.

    A trailing comma is named, at the comma, whichever way this Python reports it.
    """
    text, at = error.doc, error.pos
    before = text[:at].rstrip()
    if not text.strip():
        return 0, "not valid JSON: the file is empty"
    if before.endswith(",") and text.startswith(("}", "]"), at):
        at = len(before) - 1
    if text.startswith(",", at) and text.startswith(("}", "]"), _blank(text, at + 1)):
        return at, f"not valid JSON: a comma stands before the closing {text[_blank(text, at + 1)]}"
    if slip := next((words for start, words in _SLIPS if text.startswith(start, at)), ""):
        return at, f"not valid JSON: {slip}"
    return at, f"not valid JSON: {_WORDS.get(error.msg, error.msg[:1].lower() + error.msg[1:])}"


def _opening_beyond(text: str, max_depth: int) -> int:
    """Return the offset of the first bracket that opens more than `max_depth` levels, else -1."""
    depth = 0
    for token in _TOKEN.finditer(text):
        if token[0] in ("[", "{"):
            depth += 1
            if depth > max_depth:
                return token.start()
        elif token[0] in ("]", "}"):
            depth -= 1
    return -1


def _second_key(text: str) -> tuple[int, str]:
    """Return where the first repeated key stands and what to say of it.

    Walks the whole text and is slow; only called once it is known that there is one.
    """
    open_objects: list[set[str]] = []
    for token in _TOKEN.finditer(text):
        if token[0] in ("[", "{"):
            open_objects.append(set())
        elif token[0] in ("]", "}"):
            open_objects.pop()
        elif text.startswith(":", _blank(text, token.end())):
            name = str(_DECODER.raw_decode(text, token.start())[0])
            if name in open_objects[-1]:
                return token.start(), f'the key "{name}" is there twice'
            open_objects[-1].add(name)
    return 0, "a key is there twice"


def _bad_number(text: str) -> tuple[int, str]:
    """Return where the first number stands that JSON or Python cannot hold, and what to say."""
    for token in _NUMBER.finditer(text):
        match token[1]:
            case None:
                continue
            case "NaN" | "Infinity" | "-Infinity" as word:
                return token.start(), f"{word} is no JSON; Cromwell would not read it"
            case digits if len(digits) > 4000 or math.isinf(float(digits)):
                return token.start(), "a number is too large to be read"
    return 0, "a number is too large to be read"


def _members(text: str, start: int) -> Iterator[tuple[Step, int, int]]:
    """Yield (key or index, its offset, offset of its value) of the object or array at `start`."""
    at = _blank(text, start)
    opened = text[at : at + 1]
    if opened not in ("{", "["):
        return
    at, index = _blank(text, at + 1), 0
    while text[at] not in "}]":
        name: Step = index
        value = at
        if opened == "{":
            name, colon = _DECODER.raw_decode(text, at)
            value = _blank(text, _blank(text, colon) + 1)
        yield name, at, value
        at = _blank(text, _DECODER.raw_decode(text, value)[1])
        if text[at] == ",":
            at = _blank(text, at + 1)
        index += 1


def _blank(text: str, at: int) -> int:
    """Return the offset of the first character from `at` on that is not blank."""
    match = _BLANK.match(text, at)
    return match.end() if match else at


def _line_and_column(text: str, offset: int) -> tuple[int, int]:
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
