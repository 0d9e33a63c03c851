"""The local stack, started once for all of these tests, and what its users do with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dropwell_local.stack import local_stack
from tests.e2e.inbox import Inbox
from tests.e2e.wire import Wire


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def wire() -> Iterator[Wire]:
    """Give the wire over which the functions reach Cromwell."""
    with Wire() as wire:
        yield wire


@pytest.fixture(scope="session")
def inbox(tmp_path_factory: pytest.TempPathFactory, wire: Wire) -> Iterator[Inbox]:
    """Give the inbox of a running stack, built from nothing."""
    # A submitter that was killed is followed by the next within a minute, not three, and a run
    # that Cromwell does not know is lost sooner.
    parameters = {"CromwellUrl": wire.url, "LeaseSeconds": "10", "VisibilitySeconds": "5"}
    with local_stack(tmp_path_factory.mktemp("dropwell"), parameters=parameters) as stack:
        wire.cromwell = stack.cromwell_url
        inbox = Inbox(stack)
        inbox.place_a_project()  # before any function is warm, which would look a minute later
        yield inbox
