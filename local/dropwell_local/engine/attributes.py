"""What a call's runtime attributes ask for, read and refused as Cromwell on Batch does it.

The words are those of AwsBatchRuntimeAttributes.scala and of the validations beside
RuntimeAttributesValidation.scala.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import WDL

from dropwell_local.engine import strategy
from dropwell_local.engine.strategy import Strategy

_SHORTEST_TIMEOUT_S = 60
_BOOLEANS = {"true": True, "false": False}


class Invalid(WDL.Error.RuntimeError):  # type: ignore[misc]
    """Attributes that Cromwell refuses: the call fails without a job."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("Runtime attribute validation failed:\n" + "\n".join(problems))


@dataclass(frozen=True, kw_only=True)
class Attributes:
    """What a call asks for, beside what miniwdl itself reads.

    Parameters
    ----------
    shown : dict
        All of them as text, as metadata shows them.
    retries : int
        ``maxRetries``.
    strategy : Strategy
        How often Batch tries within one job.
    timeout_s : int
        ``jobTimeout``; 0 is none.
    fail_on_stderr : bool
        ``failOnStderr``.
    return_codes : str, int or list of int, optional
        ``continueOnReturnCode`` as WDL 1.1 says it: ``returnCodes``.
    """

    shown: dict[str, str] = field(default_factory=dict)
    retries: int = 0
    strategy: Strategy = field(default_factory=Strategy)
    timeout_s: int = 0
    fail_on_stderr: bool = False
    return_codes: str | int | list[int] | None = None


def read(evaluated: Mapping[str, Any]) -> Attributes:
    """Read attributes.

    Parameters
    ----------
    evaluated : mapping
        WDL values by name.

    Raises
    ------
    Invalid
        Cromwell takes one of them for none of its own; all that is wrong is said at once.

    Examples
    --------
    >>> read({"maxRetries": WDL.Value.String("2")}).retries
    2
    """
    given = {name: value.json for name, value in evaluated.items()}
    problems: list[str] = []
    _number(given, "cpu", 1, 1, problems, "greater than 0", kind=float)
    retries = _number(given, "maxRetries", 0, 0, problems)
    timeout = _number(given, "jobTimeout", 0, _SHORTEST_TIMEOUT_S, problems)
    stderr = _flag(given, problems)
    codes = _return_codes(given.get("continueOnReturnCode"), problems)
    try:
        tried = strategy.read(
            given.get("awsBatchRetryAttempts"), given.get("awsBatchEvaluateOnExit")
        )
    except strategy.BadStrategy as problem:
        problems.append(str(problem))
        tried = Strategy()
    if problems:
        raise Invalid(problems)
    return Attributes(
        shown={name: _text(value) for name, value in evaluated.items()},
        retries=retries,
        strategy=tried,
        timeout_s=timeout,
        fail_on_stderr=stderr,
        return_codes=codes,
    )


def memory_like_cromwell(evaluated: Mapping[str, Any]) -> dict[str, Any]:
    """Read GB as GiB, as Cromwell does (MemoryUnit.java); miniwdl reads it as 10^9."""
    memory = evaluated.get("memory")
    if not isinstance(memory, WDL.Value.String):
        return {}
    return {"memory": WDL.Value.String(re.sub(r"([KMGT])B?$", r"\1iB", memory.value.strip()))}


def _number(
    given: Mapping[str, Any],
    name: str,
    otherwise: int,
    least: int,
    problems: list[str],
    bound: str = "",
    kind: type = int,
) -> int:
    """Read a whole number; what nobody asks for, and 0 where there is a least, is `otherwise`."""
    if name not in given:
        return otherwise
    expecting = f"Expecting {name} runtime attribute"
    try:
        number = int(kind(given[name]))
    except (TypeError, ValueError):
        problems.append(f"{expecting} to be an Integer")
        return otherwise
    if number < least and not (number == 0 and otherwise == 0):
        problems.append(f"{expecting} value {bound or f'greater than or equal to {least}'}")
    return number


def _flag(given: Mapping[str, Any], problems: list[str]) -> bool:
    text = str(given.get("failOnStderr", "false")).lower()
    if text not in _BOOLEANS:
        problems.append(
            "Expecting failOnStderr runtime attribute to be a Boolean or a String with values of "
            "'true' or 'false'"
        )
    return _BOOLEANS.get(text, False)


def _return_codes(given: Any, problems: list[str]) -> str | int | list[int] | None:
    if given is None:
        return None
    text = str(given).lower()
    if text in ("true", "*"):
        return "*"
    try:
        if isinstance(given, list):
            return [int(one) for one in given]
        return 0 if text == "false" else int(given)
    except (TypeError, ValueError):
        problems.append(
            "Expecting continueOnReturnCode runtime attribute to be either a Boolean, a String "
            "'true' or 'false', or an Array[Int]"
        )
        return None


def _text(value: Any) -> str:
    return str(value.value) if isinstance(value, WDL.Value.String) else str(value)
