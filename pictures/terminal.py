"""What a command shows in a terminal: recorded, made free of this machine, drawn as an SVG."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from html import escape, unescape

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

COLUMNS = 100
_ROWS = 50

_CONTROL = re.compile(r"\r?\n|\r|\x1b\[(?P<number>[?\d]*)(?P<what>[A-Za-ln-z])")
"""What moves or erases; colours, which end in ``m``, stay part of the line."""

_GIVES_WAY = (
    (r"\b\d{8}-\d{6}\b", "SESSION"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "RUN"),
    (r"\b[0-9a-f]{40}\b|\b[0-9a-f]{32}\b|\b[0-9a-f]{13}\b|\b[0-9a-f]{8}\b", "ID"),
    (r"\b\d\d:\d\d(:\d\d)?\b", "TIME"),
    (r"(\d+ h )?(\d+ min )?\b\d+ (s|min|h)\b", "SO LONG"),
    (r"tasks run (in bubblewrap|as plain processes).*", "tasks run as they can here"),
    (r"by \w+\b", "by SOMEBODY"),
    (r" +", " "),
)
"""What is another with every take, or on every machine, and the word for it."""

_THEME = TerminalTheme(
    (15, 23, 42),
    (226, 232, 240),
    [
        *((51, 65, 85), (248, 113, 113), (74, 222, 128), (250, 204, 21)),
        *((96, 165, 250), (232, 121, 249), (34, 211, 238), (226, 232, 240)),
    ],
)
_CHAR_WIDTH, _LINE_HEIGHT = 12.0, 24.4  # as rich has them, whose characters are 20 high
_MARGIN = 24

_SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 [[width]] [[height]]">
<title>[[title]]</title>
<desc>[[words]]</desc>
<style>
text {{ font: {char_height}px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", \
"Liberation Mono", monospace; white-space: pre }}
{styles}
</style>
<rect x="1" y="1" width="[[inner_width]]" height="[[inner_height]]" rx="12" fill="#0f172a" \
stroke="#475569" stroke-width="2"/>
<g transform="translate([[margin]] [[margin]])">
{backgrounds}{matrix}
</g>
</svg>
"""


def record(argv: Sequence[str], *, environment: Mapping[str, str], directory: str) -> str:
    """Run a command in a terminal of its own and return all that it wrote there, colours and all.

    Parameters
    ----------
    environment : mapping
        Over this process's; what would change colours or width is set here.
    """
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, COLUMNS, 0, 0))
    settled = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "COLUMNS": str(COLUMNS)}
    unwanted = {"NO_COLOR", "FORCE_COLOR", "COLORTERM", "LINES", "TTY_COMPATIBLE"}
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    with subprocess.Popen(
        argv,
        cwd=directory,
        env={**kept, **settled, **environment},
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    ):
        os.close(its)
        written = io.BytesIO()
        with open(ours, "rb", buffering=0) as terminal:  # noqa: PTH123 - a descriptor
            while chunk := _read(terminal):
                written.write(chunk)
    return written.getvalue().decode()


def _read(terminal: io.RawIOBase) -> bytes:
    try:
        return terminal.read(1 << 16) or b""
    except OSError:  # Linux's way to say that nobody is at the other end any more
        return b""


def screen(written: str) -> list[str]:
    r"""Return the lines that stay once everything was written, with their colours.

    Only what rich does is understood: a line is erased before it is written again.

    Examples
    --------
    >>> screen("one\r\n  50 %\r\n  100 %\x1b[1A\r\x1b[2K  done\r\n")
    ['one', '  done', '  100 %']
    """
    lines, row, begin = [""], 0, 0
    for found in _CONTROL.finditer(written):
        lines[row] += written[begin : found.start()]
        begin = found.end()
        match found["what"]:
            case None if found[0].endswith("\n"):
                row += 1
                lines += [""] * (row == len(lines))
            case "A":
                row = max(0, row - int(found["number"] or 1))
            case "K":
                lines[row] = ""
    lines[row] += written[begin:]
    while lines and not Text.from_ansi(lines[-1]).plain.strip():
        lines.pop()
    return lines


def plain(lines: Sequence[str]) -> list[str]:
    """Return lines without their colours."""
    return [Text.from_ansi(line).plain.rstrip() for line in lines]


def folded(lines: Sequence[str]) -> list[Text]:
    """Return lines as a terminal shows them: what is too long goes on below."""
    texts = [Text.from_ansi(line) for line in lines]
    return [
        part
        for text in texts
        for part in (text.divide(range(COLUMNS, len(text), COLUMNS)) if len(text) else [text])
    ]


def stable(line: str) -> str:
    """Return a line without what is another with every take: ids, times, how long it took.

    >>> stable("  12 s  Run: 8ceabf2f-557c-542f-9a12-9967818823de, ended 23:14 UTC")
    ' SO LONG Run: RUN, ended TIME UTC'
    """
    for pattern, word in _GIVES_WAY:
        line = re.sub(pattern, word, line)
    return line.rstrip()


def drawing(name: str, title: str, lines: Sequence[str]) -> str:
    """Return an SVG of lines with colours; its description has them as plain text.

    Parameters
    ----------
    name : str
        Begins the names within the SVG.
    title : str
        What there is to be seen.
    """
    texts = folded(lines)
    console = Console(
        record=True,
        width=COLUMNS,
        file=io.StringIO(),
        color_system="truecolor",
        force_terminal=True,
        legacy_windows=False,
        highlight=False,
    )
    for text in texts:
        console.print(text, no_wrap=True, overflow="ignore", crop=False)
    drawn = console.export_svg(
        title="", theme=_THEME, code_format=_SVG, font_aspect_ratio=_CHAR_WIDTH / 20, unique_id=name
    )
    drawn = re.sub(r' clip-path="[^"]*"', "", drawn)  # no line is longer than the terminal
    drawn = re.sub(r"<text [^>]*>\n</text>", "", drawn).replace("><text", ">\n<text")
    width = COLUMNS * _CHAR_WIDTH + 2 * _MARGIN
    height = len(texts) * _LINE_HEIGHT + 2 * _MARGIN
    filling = {
        "title": escape(title, quote=False),
        "words": escape("\n".join(plain(lines)), quote=False),
        "margin": f"{_MARGIN}",
        "width": f"{width:g}",
        "height": f"{height:g}",
        "inner_width": f"{width - 2:g}",
        "inner_height": f"{height - 2:g}",
    }
    return re.sub(r"\[\[(\w+)\]\]", lambda found: filling[found[1]], drawn)


def words(svg: str) -> list[str]:
    """Return the lines of a picture, whole where they are folded in it."""
    found = re.search(r"<desc>(.*?)</desc>", svg, re.DOTALL)
    return unescape(found[1]).split("\n") if found else []
