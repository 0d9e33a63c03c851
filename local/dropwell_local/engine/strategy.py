"""Batch's retry strategy: how often one job is tried, and which of its ends are tried again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dropwell_local.engine.endings import EXITED, Ending

_CONDITIONS = ("onExitCode", "onReason", "onStatusReason")
_KEYS = {key.lower(): key for key in ("action", *_CONDITIONS)}
_MOST_CONDITIONS = 5
_REFERENCE = "https://docs.aws.amazon.com/batch/latest/APIReference/API_RetryStrategy.html"


class BadStrategy(ValueError):
    """The runtime attributes ask for none that there is; the text is Cromwell's."""


@dataclass(frozen=True)
class Strategy:
    """How often Batch tries within one job.

    Parameters
    ----------
    attempts : int
        ``awsBatchRetryAttempts``.
    rules : tuple of dict
        ``awsBatchEvaluateOnExit``, in Batch's own spelling.
    """

    attempts: int = 1
    rules: tuple[dict[str, str], ...] = ()

    def tries_again(self, ending: Ending, attempt: int) -> bool:
        """Whether Batch tries again after an end of its attempt of this number.

        The first rule all of whose conditions hold decides; where none does, it is tried
        again (API_EvaluateOnExit).

        Examples
        --------
        >>> lost = Ending(status_reason="Host EC2 (instance i-1) terminated.")
        >>> spot = {"onStatusReason": "Host EC2*", "action": "RETRY"}
        >>> only_spot = Strategy(3, (spot, {"onReason": "*", "action": "EXIT"}))
        >>> only_spot.tries_again(lost, 1), only_spot.tries_again(Ending(exit_code=1), 1)
        (True, False)
        """
        if ending.exit_code == 0 or not ending.retried or attempt >= self.attempts:
            return False
        for rule in self.rules:
            if all(_holds(rule[name], _told(ending, name)) for name in _CONDITIONS if name in rule):
                return rule["action"] == "RETRY"
        return True


def _told(ending: Ending, condition: str) -> str:
    if condition == "onExitCode":
        return "" if ending.exit_code is None else str(ending.exit_code)
    return ending.container_reason if condition == "onReason" else ending.status_reason or EXITED


def _holds(pattern: str, text: str) -> bool:
    """Whether a text is as a pattern says, of which only an asterisk at its end is special."""
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern


def read(attempts: Any, rules: Any) -> Strategy:
    """Read the runtime attributes (AwsBatchRuntimeAttributes.scala).

    Parameters
    ----------
    attempts, rules : object
        JSON values of ``awsBatchRetryAttempts`` and ``awsBatchEvaluateOnExit``; `None` where
        a call says nothing.

    Raises
    ------
    BadStrategy
        Cromwell or Batch would refuse it.

    Examples
    --------
    >>> read("2", [{"Action": "exit", "onexitcode": "1*"}]).rules
    ({'action': 'EXIT', 'onExitCode': '1*'},)
    """
    rules = [] if rules is None else rules
    if not isinstance(rules, list) or not all(isinstance(one, Mapping) for one in rules):
        raise BadStrategy("Expecting awsBatchEvaluateOnExit runtime attribute to be defined")
    found = tuple(_rule(one) for one in rules if one)
    if len(found) > _MOST_CONDITIONS:
        raise BadStrategy(f"evaluateOnExit has {len(found)} conditions; Batch takes up to 5")
    return Strategy(max(1, _attempts(attempts)), found)


def _attempts(given: Any) -> int:
    expecting = "Expecting awsBatchRetryAttempts runtime attribute"
    try:
        number = int(given or 0)
    except (TypeError, ValueError) as problem:
        raise BadStrategy(f"{expecting} to be an Integer") from problem
    if number < 0:
        raise BadStrategy(f"{expecting} value greater than or equal to 0")
    if number > 10:
        raise BadStrategy(f"{expecting} value lower than or equal to 10")
    return number


def _rule(given: Mapping[str, Any]) -> dict[str, str]:
    unknown = sorted(key.lower() for key in given if key.lower() not in _KEYS)
    if unknown:
        raise BadStrategy(
            f"Invalid keys in awsBatchEvaluateOnExit runtime attribute: Set({', '.join(unknown)}). "
            f"Only Set({', '.join(_KEYS.values())}) are accepted. Refer to {_REFERENCE}"
        )
    rule = {_KEYS[key.lower()]: str(value) for key, value in given.items()}
    action = rule.get("action", "").upper()
    if action not in ("RETRY", "EXIT"):
        raise BadStrategy(
            "Missing or invalid action key/value for runtime attribute: awsBatchEvaluateOnExit. "
            f"Refer to {_REFERENCE}"
        )
    return {**rule, "action": action}
