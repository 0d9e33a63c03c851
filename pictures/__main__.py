"""Takes the pictures of ``docs/local.md``: runs the commands on a local stack and draws them.

A picture is drawn anew only if its words have changed, ids and times aside, so that taking
them once more changes nothing. `--all` draws every one.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dropwell_cli.places import WORK_VARIABLE
from dropwell_local.stack import local_stack
from pictures.terminal import drawing, plain, record, screen, stable, words

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs/pictures"
HOME = "~/.dropwell"
"""What a reader's work folder is called, in place of the one that was used."""


@dataclass(frozen=True, kw_only=True)
class Take:
    """A picture to be taken.

    Parameters
    ----------
    name : str
        Of its file.
    title : str
        What there is to be seen.
    command : str
        What is typed.
    alone : bool
        Whether no local stack runs at the time, so that the command starts one.
    """

    name: str
    title: str
    command: str
    alone: bool = False

    @property
    def file(self) -> Path:
        return FOLDER / f"{self.name}.svg"


TAKES = (
    Take(
        name="good",
        title="A run that goes well, on a local stack of its own",
        command="dropwell local run examples/hello",
        alone=True,
    ),
    Take(
        name="failing",
        title="A run that fails, and why",
        command="dropwell local run examples/failing",
    ),
    Take(name="logs", title="What the failed call wrote", command="dropwell logs failing"),
    Take(
        name="typo",
        title="A bundle that is not started, for a typo in its inputs",
        command="dropwell local run examples/typo",
    ),
)


def taken(work: Path) -> Iterator[tuple[Take, list[str]]]:
    """Yield each picture with the lines of its terminal, taken in a work folder of their own."""
    with local_stack(work):
        for take in TAKES:
            if not take.alone:
                yield take, _shot(take, work)
    for take in TAKES:
        if take.alone:
            yield take, _shot(take, work)


def _shot(take: Take, work: Path) -> list[str]:
    program, *rest = shlex.split(take.command)
    command = [str(Path(sys.executable).with_name(program)), *rest]
    written = record(command, environment={WORK_VARIABLE: str(work)}, directory=str(ROOT))
    prompt = f"\x1b[32m$\x1b[0m \x1b[1m{take.command}\x1b[0m"
    return [prompt, *screen(written.replace(str(work), HOME))]


def main(draw_all: bool) -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dropwell-pictures-") as work:
        for take, lines in taken(Path(work)):
            before = words(take.file.read_text()) if take.file.exists() else []
            same = [*map(stable, before)] == [*map(stable, plain(lines))]
            if draw_all or not same:
                take.file.write_text(drawing(take.name, take.title, lines))
            told = "is as it was" if same and not draw_all else "is new"
            sys.stdout.write(f"{take.file.relative_to(ROOT)} {told}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main("--all" in sys.argv[1:])
