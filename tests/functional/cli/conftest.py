"""The command over a stack in memory, with the functions at hand that play their part in it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from dropwell_cli import main
from dropwell_cli.places import STACK_VARIABLE, WORK_VARIABLE, Place, deployed
from dropwell_local import stack as local_stack
from tests.functional.conftest import INBOX, LOGS, WORKFLOWS, Cloud
from tests.stubs.stacks import StacksStub

STACK = "dropwell-test"


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    out: str
    error: str

    @property
    def told(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def nothing_around(monkeypatch, tmp_path):
    """Keep out of the tests what the machine may have: a local stack, variables."""
    monkeypatch.delenv(STACK_VARIABLE, raising=False)
    monkeypatch.delenv(WORK_VARIABLE, raising=False)
    monkeypatch.setattr(local_stack, "DEFAULT_WORK", tmp_path / "work")


@pytest.fixture
def stacks(monkeypatch: pytest.MonkeyPatch) -> Iterator[StacksStub]:
    with StacksStub() as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDFORMATION", stub.url)
        yield stub


@pytest.fixture
def stack(cloud: Cloud, stacks: StacksStub) -> str:
    """The name of a stack whose outputs and parameters are ours."""
    outputs = {"Table": "table", "InboxBucket": INBOX, "WorkflowBucket": WORKFLOWS}
    stacks.stacks[STACK] = outputs, {"NoticeDetail": "minimal", "BatchLogGroup": LOGS}
    return STACK


@pytest.fixture
def place(stack: str) -> Place:
    return deployed(stack)


@pytest.fixture
def dropwell(
    cloud: Cloud,
    stacks: StacksStub,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., Ended]:
    """Run the command as a shell would, at the tests' time."""

    def run(*words: str) -> Ended:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["dropwell", *words])
        with pytest.raises(SystemExit) as ended:
            main.main()
        said = capsys.readouterr()
        return Ended(int(ended.value.code or 0), said.out, said.err)

    clock = SimpleNamespace(time=cloud.clock.time, monotonic=lambda: 0, sleep=lambda seconds: None)
    monkeypatch.setattr(main, "time", clock)
    monkeypatch.setenv("COLUMNS", "80")
    return run


@pytest.fixture
def ask(dropwell, stack) -> Callable[..., Ended]:
    """Run a command that looks at our stack."""
    return lambda *words: dropwell(*words, "--stack", stack)
