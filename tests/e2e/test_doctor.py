"""The doctor over a running stack: all is well, and what is broken there it names."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dropwell_cli.doctor import Finding, Level
from dropwell_cli.examining import examine
from dropwell_cli.places import Place, local_place
from tests.e2e.inbox import Inbox, eventually, hello


@pytest.fixture
def place(inbox: Inbox) -> Place:
    return local_place(inbox.stack)


def ill(place: Place) -> dict[str, Finding]:
    """Return what the doctor finds that is not well, by name."""
    found = examine(place, clock=time.time)
    return {one.name: one for one in found if one.level is not Level.OK}


def test_of_a_stack_at_work_all_is_well(inbox: Inbox, place: Place) -> None:
    assert inbox.end_of(inbox.drop("well", hello("well"))) == "COMPLETE"
    assert ill(place) == {}
    found = {one.name: one.found for one in examine(place, clock=time.time)}
    assert found["tags"].startswith("on ")
    assert found["last sweep"].endswith(("ago", "old"))


@contextmanager
def without_rule(inbox: Inbox, logical: str) -> Iterator[str]:
    """Turn a rule off for a while, and tell its name."""
    events: Any = inbox.stack.client("events")
    listed = events.list_rules()["Rules"]
    [name] = [one["Name"] for one in listed if logical in one["Name"]]
    events.disable_rule(Name=name)
    try:
        yield name
    finally:
        events.enable_rule(Name=name)


def test_a_rule_that_is_off_is_named_with_what_turns_it_on(inbox: Inbox, place: Place) -> None:
    with without_rule(inbox, "QueueBlockedRule") as name:
        found = ill(place)
    assert list(found) == ["blocked queues"]
    assert found["blocked queues"].command == f"aws events enable-rule --name {name}"
    assert ill(place) == {}


def test_a_dead_letter_is_named_until_it_is_gone(inbox: Inbox, place: Place) -> None:
    sqs, url = inbox.stack.client("sqs"), inbox.stack.outputs["DiagnosisDeadLetters"]
    sqs.send_message(QueueUrl=url, MessageBody="{}")
    try:
        assert list(ill(place)) == ["DiagnosisDeadLetters"]
    finally:
        sqs.purge_queue(QueueUrl=url)
    eventually(lambda: not ill(place), within=10, what="an empty queue")
