"""What Cromwell accepts as a submission, and the exact words in which it refuses one.

The rules are those of PartialWorkflowSources.scala, WorkflowOptions.scala and Label.scala
in release 92. WDL is never looked at: a bad one is accepted, and fails later.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_PREFIX = "Error(s): "
_AUX_PREFIX = "workflowInputs_"
_MAX_URL = 2000
_MAX_LABEL = 255
_PLAIN_PARTS = {
    "workflowSource",
    "workflowUrl",
    "workflowRoot",
    "workflowType",
    "workflowTypeVersion",
    "workflowInputs",
    "workflowOptions",
    "labels",
    "workflowDependencies",
    "workflowOnHold",
    "requestedWorkflowId",
    "wdlSource",
    "wdlDependencies",
}
_OBJECT_OPTIONS = ("default_runtime_attributes", "google_labels")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PROTOCOL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_JAVA_PROTOCOLS = ("http", "https", "ftp", "file", "jar", "mailto")


class Rejected(Exception):
    """Cromwell answers 400 with this message."""


@dataclass(frozen=True, kw_only=True)
class Submission:
    """One workflow to run, as posted."""

    source: str
    url: str = ""
    root: str = ""
    workflow_type: str = ""
    type_version: str = ""
    inputs: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    imports: bytes = b""
    on_hold: bool = False
    requested_id: str | None = None
    warnings: tuple[str, ...] = ()


def read(parts: Mapping[str, bytes]) -> Submission:
    """Read the parts of a submission of one workflow.

    Parameters
    ----------
    parts : mapping
        Each part's bytes by its name; of parts with one name, the last.

    Raises
    ------
    Rejected
        With Cromwell's message.

    Examples
    --------
    >>> read({"workflowSource": b"workflow w {}", "workflowInputs": b"w.n: 3"}).inputs
    {'w.n': 3}
    """
    submissions = _read(parts, inputs_wanted=False)
    if len(submissions) != 1:
        raise Rejected("To submit more than one workflow at a time, use the batch endpoint.")
    return submissions[0]


def read_batch(parts: Mapping[str, bytes]) -> list[Submission]:
    """Read the parts of a submission of one workflow for each element of its inputs.

    Raises
    ------
    Rejected
        With Cromwell's message.

    Examples
    --------
    >>> sent = {"workflowSource": b"workflow w {}", "workflowInputs": b'[{"w.n": 1}, {"w.n": 2}]'}
    >>> [one.inputs for one in read_batch(sent)]
    [{'w.n': 1}, {'w.n': 2}]
    """
    return _read(parts, inputs_wanted=True)


def _read(parts: Mapping[str, bytes], *, inputs_wanted: bool) -> list[Submission]:
    """Read in two rounds, as Cromwell does: what the first refuses, the second never sees."""
    texts = {
        name: value.decode(errors="replace")
        for name, value in parts.items()
        if not name.endswith("Dependencies")
    }
    problems = [
        f"Unexpected body part name: {name}"
        for name in parts
        if name not in _PLAIN_PARTS and not name.startswith(_AUX_PREFIX)
    ]
    problems += _source_problems(texts)
    main = _collect(problems, _main_inputs, texts.get("workflowInputs"), otherwise=[])
    more = _collect(problems, _more_inputs, texts, otherwise=[])
    if "wdlDependencies" in parts and "workflowDependencies" in parts:
        problems.append("wdlDependencies and workflowDependencies can't both be supplied")
    on_hold = _collect(problems, _boolean, texts.get("workflowOnHold", "false"), otherwise=False)
    ids = _collect(problems, _requested_ids, texts.get("requestedWorkflowId"), otherwise=None)
    _refuse(problems)

    if not main and inputs_wanted:
        problems.append("No inputs were provided")
    # Without the main part Cromwell ignores the numbered ones.
    merged = [_collect(problems, _merged, [one, *more], otherwise={}) for one in main] or [{}]
    if ids is not None and len(ids) != len(merged):
        problems.append(
            f"Mismatch between requested IDs count ({len(ids)}) and workflow inputs counts "
            f"({len(merged)})"
        )
    options = _collect(problems, _options, texts.get("workflowOptions", "{}"), otherwise={})
    labels = _collect(problems, _labels, texts.get("labels", "{}"), otherwise={})
    if "workflowUrl" in texts:
        problems += _url_problems(texts["workflowUrl"])
    _refuse(problems)

    return [
        Submission(
            source=texts.get("workflowSource", texts.get("wdlSource", "")),
            url=texts.get("workflowUrl", ""),
            root=texts.get("workflowRoot", ""),
            workflow_type=texts.get("workflowType", ""),
            type_version=texts.get("workflowTypeVersion", ""),
            inputs=inputs,
            options=options,
            labels=labels,
            imports=parts.get("workflowDependencies", parts.get("wdlDependencies", b"")),
            on_hold=on_hold,
            requested_id=requested,
            warnings=tuple(_deprecations(parts)),
        )
        for inputs, requested in zip(merged, ids or [None] * len(merged), strict=True)
    ]


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise Rejected(_PREFIX + "\n".join(problems))


def _collect(problems: list[str], read_one: Any, given: Any, *, otherwise: Any) -> Any:
    try:
        return read_one(given)
    except Rejected as problem:
        problems.append(str(problem))
        return otherwise


def _source_problems(texts: Mapping[str, str]) -> list[str]:
    old, new, url = (name in texts for name in ("wdlSource", "workflowSource", "workflowUrl"))
    problems = []
    if old and new and url:
        problems.append("wdlSource, workflowSource and workflowUrl all 3 can't be supplied")
    elif old and new:
        problems.append("wdlSource and workflowSource can't both be supplied")
    elif old and url:
        problems.append("wdlSource and workflowUrl can't both be supplied")
    elif new and url:
        problems.append("workflowSource and workflowUrl can't both be supplied")
    elif not (old or new or url):
        problems.append("workflowSource or workflowUrl needs to be supplied")
    return problems


def _url_problems(url: str) -> list[str]:
    if len(url) > _MAX_URL:
        return [
            f"Invalid workflow url: url has length {len(url)}, "
            f"longer than the maximum allowed {_MAX_URL} characters"
        ]
    match = _PROTOCOL.match(url.strip())
    if match is None:
        return [f"Error while validating workflow url: no protocol: {url}"]
    if (protocol := match[1].lower()) not in _JAVA_PROTOCOLS:
        return [f"Error while validating workflow url: unknown protocol: {protocol}"]
    return []


def _main_inputs(text: str | None) -> list[Any]:
    """Return what each workflow gets: of an array each element, otherwise the whole."""
    value = [] if text is None else _yaml(text)
    return value if isinstance(value, list) else [value]


def _more_inputs(texts: Mapping[str, str]) -> list[str]:
    """Return the numbered inputs as they were sent, lowest number first."""
    numbered = []
    for name, text in texts.items():
        if name.startswith(_AUX_PREFIX):
            number = name.removeprefix(_AUX_PREFIX)
            if not re.fullmatch(r"[+-]?[0-9]{1,9}", number):
                raise Rejected(f'For input string: "{number}"')
            numbered.append((int(number), text))
    return [text for _, text in sorted(numbered)]


def _merged(inputs: Sequence[Any]) -> dict[str, Any]:
    """Merge the main inputs, read already, with the numbered ones, which must be JSON."""
    main, *more = inputs
    merged = dict(_object(main))
    for text in more:
        try:
            value = loads(text)
        except ValueError as error:
            raise Rejected(
                f"Failed to parse input: '{text}', which is not a valid json. Please check "
                f"for syntactical errors. (reason 1 of 1): {error}"
            ) from error
        merged.update(_object(value))
    return merged


def loads(text: str | bytes) -> Any:
    """Read JSON as strictly as Cromwell's reader: no NaN, no endless nesting.

    Raises
    ------
    ValueError
        It is no JSON.
    """
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("JSON input was nested too deeply") from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"Unexpected character '{name[0]}', expected JSON Value")


def _yaml(text: str) -> Any:
    """Read YAML, which JSON is a kind of; what JSON cannot say comes as text."""
    try:
        return loads(text)
    except ValueError:
        pass
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        value = YAML(typ="safe", pure=True).load(text)
        return loads(json.dumps(value, default=str))
    except (YAMLError, ValueError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise Rejected(
            f"Input file is not a valid yaml or json. Inputs data: '{text}'. "
            f"Error: {type(error).__name__}: {reason}."
        ) from error


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Rejected(
            f"Submitted input '{_json(value)}' of type {_js_type(value)} "
            "is not a valid JSON object."
        )
    return value


def _js_type(value: Any) -> str:
    """Name a JSON value as spray does."""
    if value is None:
        return "JsNull$"
    if isinstance(value, bool):
        return "JsTrue$" if value else "JsFalse$"
    if isinstance(value, (int, float)):
        return "JsNumber"
    return "JsArray" if isinstance(value, list) else "JsString"


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), default=str)


def _options(text: str) -> dict[str, Any]:
    try:
        options = loads(text)
    except ValueError as error:
        raise Rejected(f"Invalid workflow options provided: {error}") from error
    if not isinstance(options, dict):
        raise Rejected(
            f"Invalid workflow options provided: Expecting JSON object, got {_json(options)}"
        )
    bad = [
        f"Unsupported key/value pair in WorkflowOptions: {key} -> {_json(value)}"
        for key, value in options.items()
        if value is None or (isinstance(value, dict) and key not in _OBJECT_OPTIONS)
    ]
    if bad:
        raise Rejected("Invalid workflow options provided: " + "\n".join(bad))
    return options


def _labels(text: str) -> dict[str, str]:
    try:
        labels = loads(text)
    except ValueError as error:
        raise Rejected(f"Workflow contains invalid labels JSON: {error}") from error
    return check_labels(labels)


def check_labels(labels: Any) -> dict[str, str]:
    """Return labels that Cromwell takes.

    Raises
    ------
    Rejected
        They are no JSON object of strings, or too long.
    """
    if not isinstance(labels, dict):
        raise Rejected(
            'Invalid workflow labels JSON. Expected a JsObject of "labelKey": "labelValue" values.'
        )
    bad: list[str] = []
    for key, value in labels.items():
        if not isinstance(value, str):
            bad.append(
                f"Invalid label {key}: {_json(value)} : Labels must be strings. "
                "A Label key must be non-empty."
            )
            continue
        if not key:
            bad.append(f"Invalid label: `{key}` can't be empty")
        bad += [
            f"Invalid label: `{text}` is {len(text)} characters. The maximum is {_MAX_LABEL}."
            for text in (key, value)
            if len(text) > _MAX_LABEL
        ]
    if bad:
        raise Rejected("\n".join(bad))
    return labels


def _requested_ids(text: str | None) -> list[str] | None:
    """Read ids given bare, as a JSON string, or as an array."""
    if text is None:
        return None
    value = _yaml(text)
    ids = []
    for one in value if isinstance(value, list) else [value]:
        if not isinstance(one, str):
            raise Rejected(f"Requested workflow IDs must be strings but got: '{_json(one)}'")
        workflow_id = parse_id(one)
        if workflow_id is None:
            raise Rejected(
                "Failed to parse requested workflow ID as UUID (reason 1 of 1): "
                f"Invalid UUID string: {one}"
            )
        ids.append(workflow_id)
    return ids


def parse_id(text: str) -> str | None:
    """Return a workflow id as Cromwell prints it; `None` for what is none.

    >>> parse_id("E6236763-C518-41D0-9688-432549A8BF7D")
    'e6236763-c518-41d0-9688-432549a8bf7d'
    """
    return text.lower() if _UUID.fullmatch(text) else None


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise Rejected(f'For input string: "{text}"')
    return text.lower() == "true"


def _deprecations(parts: Mapping[str, bytes]) -> list[str]:
    return [
        f"The '{old}' parameter name has been deprecated in favor of '{new}'. Support for "
        f"'{old}' will be removed from future versions of Cromwell. Please switch to using "
        f"'{new}' in future submissions."
        for old, new in (
            ("wdlSource", "workflowSource"),
            ("wdlDependencies", "workflowDependencies"),
        )
        if old in parts
    ]
