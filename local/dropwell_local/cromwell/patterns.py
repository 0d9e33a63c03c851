"""EventBridge event patterns: whether a rule wants an event.

The operators are those of the EventBridge user guide: exact values, ``prefix``,
``suffix``, ``equals-ignore-case``, ``anything-but`` (with values, ``prefix``,
``suffix``, ``equals-ignore-case`` or ``wildcard`` inside), ``exists``, ``numeric``, ``cidr``,
``wildcard`` and ``$or``.
"""

from __future__ import annotations

import ipaddress
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

_MISSING = object()
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Return whether an event matches a pattern.

    Examples
    --------
    >>> rule = {"source": ["aws.batch"], "detail": {"status": [{"anything-but": "PENDING"}]}}
    >>> matches(rule, {"source": "aws.batch", "detail": {"status": "FAILED"}})
    True
    >>> matches(rule, {"source": "aws.s3", "detail": {"status": "FAILED"}})
    False
    """
    return all(_field(name, wanted, event) for name, wanted in pattern.items())


def _field(name: str, wanted: Any, event: Any) -> bool:
    if name == "$or":
        return any(matches(alternative, event) for alternative in wanted)
    # An array of objects matches when one of its elements does.
    if isinstance(event, list):
        return any(_field(name, wanted, element) for element in event)
    value = event.get(name, _MISSING) if isinstance(event, Mapping) else _MISSING
    if isinstance(wanted, Mapping):
        if isinstance(value, list):
            return any(matches(wanted, element) for element in value)
        return matches(wanted, value if isinstance(value, Mapping) else {})
    values = value if isinstance(value, list) else [value]
    return any(_leaf(one, values) for one in wanted)


def _leaf(wanted: Any, values: list[Any]) -> bool:
    """Return whether one of a field's values is what one element of a pattern asks for."""
    present = [value for value in values if value is not _MISSING]
    if isinstance(wanted, Mapping):
        ((name, argument),) = wanted.items()
        if name == "exists":
            # The guide: exists works on leaves only.
            leaf = any(not isinstance(value, Mapping) for value in present)
            return leaf == bool(argument)
        return any(_operator(name, argument, value) for value in present)
    return any(_same(wanted, value) for value in present)


def _same(wanted: Any, value: Any) -> bool:
    if isinstance(wanted, bool) or isinstance(value, bool):
        return wanted is value
    return bool(wanted == value)


def _operator(name: str, argument: Any, value: Any) -> bool:
    if name == "anything-but":
        return not _excluded(argument, value)
    if name == "numeric":
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        pairs = zip(argument[::2], argument[1::2], strict=True)
        return all(_COMPARE[sign](value, bound) for sign, bound in pairs)
    if not isinstance(value, str):
        return False
    if name in ("prefix", "suffix"):
        return _affix(name, argument, value)
    if name == "equals-ignore-case":
        return bool(value.lower() == argument.lower())
    if name == "wildcard":
        return _wildcard(argument, value)
    if name == "cidr":
        try:
            return ipaddress.ip_address(value) in ipaddress.ip_network(argument)
        except ValueError:
            return False
    raise ValueError(f"EventBridge has no operator {name!r}")


def _affix(name: str, argument: Any, value: str) -> bool:
    if isinstance(argument, Mapping):
        argument, value = argument["equals-ignore-case"].lower(), value.lower()
    return value.startswith(argument) if name == "prefix" else value.endswith(argument)


def _wildcard(pattern: str, value: str) -> bool:
    escaped = re.sub(r"\\\*", "\0", pattern)
    parts = (re.escape(part).replace("\0", r"\*") for part in escaped.split("*"))
    return re.fullmatch(".*".join(parts), value, re.DOTALL) is not None


def _excluded(argument: Any, value: Any) -> bool:
    if isinstance(argument, Mapping):
        ((name, inner),) = argument.items()
        inners = inner if isinstance(inner, list) else [inner]
        return any(_operator(name, one, value) for one in inners)
    arguments = argument if isinstance(argument, list) else [argument]
    return any(_same(one, value) for one in arguments)
