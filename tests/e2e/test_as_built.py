"""The template exactly as `sam build` leaves it, with handlers in the emulator's own worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from dropwell_local import stack
from tests.e2e.inbox import Inbox, hello


def test_a_hello_runs_without_any_change_to_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = stack.built_template
    monkeypatch.setattr(
        stack, "built_template", lambda **build: changed(**build).with_name("template.yaml")
    )
    with stack.local_stack(tmp_path) as running:
        functions = running.client("lambda").list_functions()["Functions"]
        assert {function["Runtime"] for function in functions} == {"python3.13"}
        inbox = Inbox(running)
        run_id = inbox.drop("as_built", hello("as_built"))
        assert inbox.end_of(run_id) == "COMPLETE"
        inbox.assert_one_run("as_built", run_id)
