"""Runtime attributes are read as Cromwell on Batch reads them, or refused in its words."""

from __future__ import annotations

from typing import Any

import pytest
import WDL

from dropwell_local.engine.attributes import Attributes, Invalid, memory_like_cromwell, read


def given(**attributes: Any) -> dict[str, Any]:
    return {name: WDL.Value.from_json(WDL.Type.Any(), value) for name, value in attributes.items()}


def test_what_a_call_does_not_say_is_cromwells_default() -> None:
    assert read({}) == Attributes()


def test_numbers_and_flags_may_be_texts() -> None:
    asked = read(given(maxRetries="2", failOnStderr="TRUE", jobTimeout=600, cpu="1.5"))

    assert (asked.retries, asked.fail_on_stderr, asked.timeout_s) == (2, True, 600)
    assert asked.shown == {
        "maxRetries": "2",
        "failOnStderr": "TRUE",
        "jobTimeout": "600",
        "cpu": "1.5",
    }


@pytest.mark.parametrize(
    ("codes", "read_as"),
    [(True, "*"), ("true", "*"), (False, 0), (3, 3), ([0, "4"], [0, 4])],
)
def test_accepted_return_codes_are_a_flag_a_number_or_a_list(codes: Any, read_as: Any) -> None:
    assert read(given(continueOnReturnCode=codes)).return_codes == read_as


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"maxRetries": -1}, "maxRetries runtime attribute value greater than or equal to 0"),
        ({"maxRetries": "often"}, "maxRetries runtime attribute to be an Integer"),
        ({"cpu": 0}, "cpu runtime attribute value greater than 0"),
        ({"jobTimeout": 30}, "jobTimeout runtime attribute value greater than or equal to 60"),
        ({"failOnStderr": "perhaps"}, "to be a Boolean or a String with values of"),
        ({"continueOnReturnCode": "some"}, "to be either a Boolean, a String"),
        ({"awsBatchRetryAttempts": 11}, "value lower than or equal to 10"),
    ],
)
def test_what_is_wrong_is_said_in_cromwells_words(attributes: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words) as refused:
        read(given(**attributes))
    assert str(refused.value).startswith("Runtime attribute validation failed:\nExpecting ")


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(Invalid) as refused:
        read(given(maxRetries=-1, cpu=0))
    assert len(str(refused.value).splitlines()) == 3


def test_no_timeout_is_0() -> None:
    assert read(given(jobTimeout=0)).timeout_s == 0


def test_a_gigabyte_is_1024_megabytes() -> None:
    assert memory_like_cromwell(given(memory="3 GB"))["memory"].value == "3 GiB"
