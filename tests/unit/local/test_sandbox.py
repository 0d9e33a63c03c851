"""Whether tasks run in bubblewrap, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dropwell_local.engine.sandbox import NoSandbox, find


@pytest.fixture
def broken(tmp_path: Path) -> str:
    """Return a bubblewrap that fails as it does where namespaces are not allowed."""
    program = tmp_path / "bwrap"
    program.write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1"
    )
    program.chmod(0o755)
    return str(program)


def test_where_there_is_none_tasks_run_plainly_and_it_is_said() -> None:
    found = find("auto", program="no-such-program")
    assert found.bwrap == ""
    assert str(found) == "run as plain processes (bubblewrap is not installed)"


def test_where_it_does_not_work_its_own_words_are_said(broken: str) -> None:
    found = find("auto", program=broken)
    assert found.bwrap == ""
    assert "No permissions to create new namespace" in str(found)


@pytest.mark.parametrize("program", ["no-such-program", None])
def test_whoever_insists_on_it_is_refused_without(program: str | None, broken: str) -> None:
    with pytest.raises(NoSandbox, match=r"Tasks cannot be kept apart: .*\."):
        find("bubblewrap", program=program or broken)


def test_whoever_wants_none_gets_none() -> None:
    assert str(find("none", program="sh")) == "run as plain processes (as asked for)"
