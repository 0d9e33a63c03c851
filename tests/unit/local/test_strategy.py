"""Which ends of a job's attempt Batch tries again."""

from __future__ import annotations

from typing import Any

import pytest

from dropwell_local.engine.endings import OUT_OF_MEMORY, TIMEOUT, Ending
from dropwell_local.engine.strategy import BadStrategy, Strategy, read

LOST = Ending(status_reason="Host EC2 (instance i-0a) terminated.")
FAILED = Ending(exit_code=12, rc=12)
RETRY, EXIT = {"action": "RETRY"}, {"action": "EXIT"}


@pytest.mark.parametrize(
    ("rules", "ending", "again"),
    [
        ([], FAILED, True),
        ([], Ending(exit_code=0, rc=0), False),
        ([], TIMEOUT, False),
        ([{"onExitCode": "12", **EXIT}], FAILED, False),
        ([{"onExitCode": "1", **EXIT}], FAILED, True),
        ([{"onExitCode": "1*", **EXIT}], FAILED, False),
        ([{"onExitCode": "12", "onReason": "Out*", **EXIT}], FAILED, True),
        ([{"onReason": "OutOfMemoryError:*", **EXIT}], OUT_OF_MEMORY, False),
        ([{"onReason": "OutOf*", **RETRY}, {"onReason": "*", **EXIT}], OUT_OF_MEMORY, True),
        ([{"onStatusReason": "Essential container*", **EXIT}], FAILED, False),
        ([{"onStatusReason": "Host EC2*", **RETRY}, {"onExitCode": "*", **EXIT}], LOST, True),
    ],
)
def test_the_first_rule_that_holds_decides(
    rules: list[dict[str, str]], ending: Ending, again: bool
) -> None:
    assert Strategy(2, tuple(rules)).tries_again(ending, 1) == again
    assert not Strategy(2, tuple(rules)).tries_again(ending, 2)


@pytest.mark.parametrize(
    ("attempts", "rules", "words"),
    [
        (-1, None, "greater than or equal to 0"),
        ("many", None, "to be an Integer"),
        (1, [{"onReason": "*"}], "Missing or invalid action key/value"),
        (1, [{"action": "STOP"}], "Missing or invalid action key/value"),
        (1, [{"onMonday": "*", **EXIT}], r"Invalid keys in .* Set\(onmonday\)"),
        (1, [EXIT] * 6, "Batch takes up to 5"),
        (1, "RETRY", "to be defined"),
    ],
)
def test_what_is_no_strategy_is_refused(attempts: Any, rules: Any, words: str) -> None:
    with pytest.raises(BadStrategy, match=words):
        read(attempts, rules)


def test_no_word_of_it_is_one_attempt() -> None:
    assert read(None, None) == Strategy(1, ())
    assert read(0, [{}]) == Strategy(1, ())
