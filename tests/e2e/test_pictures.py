"""The pictures in the pages show what the commands print now."""

from __future__ import annotations

from pathlib import Path

import pytest

from pictures.__main__ import TAKES, Take, taken
from pictures.terminal import plain, stable, words


@pytest.fixture(scope="module")
def now(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, list[str]]:
    """Return the lines of every picture, taken again."""
    work = tmp_path_factory.mktemp("pictures")
    return {take.file: plain(lines) for take, lines in taken(work)}


@pytest.mark.parametrize("take", TAKES, ids=lambda take: take.name)
def test_a_picture_shows_what_its_command_prints(now: dict[Path, list[str]], take: Take) -> None:
    # `make pictures` takes them anew.
    assert [*map(stable, words(take.file.read_text()))] == [*map(stable, now[take.file])]
