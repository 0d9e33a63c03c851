"""The doctor over a running stack: all is well, and what is broken there it names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dropwell_cli.doctor import Finding, Level
from tests.e2e.inbox import Inbox, eventually


def ill(inbox: Inbox) -> dict[str, Finding]:
    """Return what the doctor finds that is not well, by name."""
    return {name: one for name, one in inbox.looked().items() if one.level is not Level.OK}


def test_of_a_stack_that_runs_all_is_well(inbox: Inbox) -> None:
    assert ill(inbox) == {}


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


def test_a_rule_that_is_off_is_named_with_what_turns_it_on(inbox: Inbox) -> None:
    with without_rule(inbox, "QueueBlockedRule") as name:
        found = ill(inbox)
    assert list(found) == ["blocked queues"]
    assert found["blocked queues"].command == f"aws events enable-rule --name {name}"
    assert ill(inbox) == {}


def test_a_dead_letter_is_named_until_it_is_gone(inbox: Inbox) -> None:
    sqs, url = inbox.stack.client("sqs"), inbox.stack.outputs["DiagnosisDeadLetters"]
    sqs.send_message(QueueUrl=url, MessageBody="{}")
    try:
        assert list(ill(inbox)) == ["DiagnosisDeadLetters"]
    finally:
        sqs.purge_queue(QueueUrl=url)
    eventually(lambda: not ill(inbox), within=10, what="an empty queue")
