"""Pictures of a terminal show what was written there, and nothing of where they were taken."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET

import pytest

from pictures.__main__ import FOLDER, TAKES, Take
from pictures.terminal import COLUMNS, drawing, folded, plain, record, screen, stable, words

SVG = "{http://www.w3.org/2000/svg}"
ADDRESS = "s3://" + "a" * 120


def drawn(svg):
    """Return the lines that are to be seen, from where their words stand."""
    lines = {}
    for text in ET.fromstring(svg).iter(f"{SVG}text"):
        column = round(float(text.get("x")) / 12)
        line = lines.setdefault(float(text.get("y")), "")
        lines[float(text.get("y"))] = line.ljust(column) + text.text.replace("\xa0", " ")
    return [line.rstrip() for _, line in sorted(lines.items())]


class TestTheScreen:
    def test_forgets_what_was_erased(self):
        spinner = "\x1b[?25l\x1b[32m-\x1b[0m Starting\r\x1b[2K\x1b[32m+\x1b[0m Starting"
        assert screen(f"{spinner}\r\n\x1b[?25h\r\x1b[1A\x1b[2K  1 s  Starting\r\n") == [
            "  1 s  Starting"
        ]

    def test_keeps_colours(self):
        assert screen("\x1b[31mred\x1b[0m\r\n") == ["\x1b[31mred\x1b[0m"]

    def test_ends_with_the_last_line_that_says_something(self):
        assert screen("\r\nhello\r\n\x1b[0m\r\n\r\n") == ["", "hello"]

    def test_folds_a_long_line_as_a_terminal_does(self):
        assert [len(part) for part in folded([ADDRESS, ""])] == [COLUMNS, 25, 0]


class TestARecording:
    def test_is_of_a_terminal_of_100_columns_with_colours(self, tmp_path, monkeypatch):
        monkeypatch.setenv("NO_COLOR", "1")
        program = (
            "import os, sys; from rich.console import Console;"
            "told = f'{sys.stdout.isatty()} {os.get_terminal_size().columns}';"
            "Console(highlight=False).print(told, style='red')"
        )
        written = record([sys.executable, "-c", program], environment={}, directory=str(tmp_path))
        assert written == "\x1b[31mTrue 100\x1b[0m\r\n"


class TestADrawing:
    LINES = ("\x1b[1mWhy:\x1b[0m <a> & \x1b[31mb\x1b[0m", "", f"Log: {ADDRESS}", "  at the end")

    def test_shows_every_line(self):
        shown = [text.plain for text in folded(self.LINES) if text.plain]
        assert drawn(drawing("it", "A title", self.LINES)) == shown

    def test_describes_them_unfolded_for_those_who_do_not_see_it(self):
        told = words(drawing("it", "A title", self.LINES))
        assert told == plain(self.LINES) == ["Why: <a> & b", "", f"Log: {ADDRESS}", "  at the end"]

    def test_is_the_same_for_the_same_lines(self):
        assert drawing("it", "A title", self.LINES) == drawing("it", "A title", self.LINES)

    def test_has_the_colours(self):
        svg = drawing("it", "A title", ["\x1b[31mred\x1b[0m"])
        assert "fill: #f87171" in svg


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ended 23:14 UTC after 1 h 7 min.", "Ended 01:02 UTC after 59 s."),
        ("hello  COMPLETE  1/1 job    9 s", "hello  COMPLETE  1/1 job  13 s"),
        ("dropwell show 4e56dd8a", "dropwell show 12345678"),
        ("~/.dropwell/20261124-231403/", "~/.dropwell/20270101-000000/"),
        ("s3://x-94b5e90229312/runs/a/", "s3://x-fa7cbae970d6f/runs/a/"),
        ("tasks run in bubblewrap", "tasks run as plain processes (it is not installed)"),
        ("Dropped 23:14 UTC by root.", "Dropped 23:15 UTC by alice."),
    ],
)
def test_what_is_another_with_every_take_gives_way(one, other):
    assert stable(one) == stable(other)


@pytest.mark.parametrize("other", ["3 of 4 calls done; 1 failed", "4 of 4 calls done."])
def test_what_a_run_came_to_does_not(other):
    assert stable(other) != stable("2 of 4 calls done; 2 failed")


def test_every_picture_was_taken_and_every_take_is_a_picture():
    assert {take.file for take in TAKES} == set(FOLDER.glob("*.svg"))


@pytest.mark.parametrize("take", TAKES, ids=lambda take: take.name)
class TestAPictureOfThePages:
    def test_shows_what_it_describes_below_its_command(self, take: Take):
        svg = take.file.read_text()
        lines = words(svg)
        assert lines[0] == f"$ {take.command}"
        assert drawn(svg) == [part.plain for part in folded(lines) if part.plain]

    def test_is_wide_enough_for_its_lines(self, take: Take):
        assert max(map(len, drawn(take.file.read_text()))) <= COLUMNS

    def test_loads_nothing_and_names_no_place(self, take: Take):
        svg = take.file.read_text()
        assert re.findall(r"https?://[^\s\"<]+", svg) == ["http://www.w3.org/2000/svg"]
        assert not re.search(r"url\(|@import|href|<script", svg)
        assert not re.search(r"(?<![\w.])/(tmp|home|root|work|Users)/", svg)

    def test_has_a_title(self, take: Take):
        assert ET.fromstring(take.file.read_text()).findtext(f"{SVG}title") == take.title
