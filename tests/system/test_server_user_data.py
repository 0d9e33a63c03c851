"""What a fresh server machine runs first, as shellcheck reads it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.contract.test_cromwell_stack import EVERYTHING, script


@pytest.mark.parametrize("parameters", [{}, EVERYTHING], ids=["least", "most"])
def test_shellcheck_has_nothing_to_say(tmp_path: Path, parameters: dict[str, str]) -> None:
    part = tmp_path / "user-data.sh"
    part.write_text(script(**parameters))
    told = subprocess.run(["shellcheck", str(part)], capture_output=True, text=True, check=False)
    assert told.stdout == ""


def test_nor_to_the_boot_script_within(tmp_path: Path) -> None:
    boot = tmp_path / "boot.sh"
    boot.write_text(script().split("END_OF_server_boot.sh")[1].lstrip("'\n"))
    told = subprocess.run(["shellcheck", str(boot)], capture_output=True, text=True, check=False)
    assert told.stdout == ""
