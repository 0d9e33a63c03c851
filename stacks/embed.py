"""Writes the programs that templates carry into them, as they are: the database's, the server's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

STACKS = Path(__file__).parent


class Program(NamedTuple):
    """A file, the template that carries it, what opens and ends it there, and how deep it lies."""

    path: str
    template: str
    opens: list[str]
    ends: list[str]
    depth: int


PROGRAMS = (
    Program("stacks/database_user.py", "database.yaml", ["        ZipFile: |"], [], 10),
    Program(
        "stacks/server_boot.sh",
        "cromwell.yaml",
        [
            "              - |",
            "                cat >/opt/dropwell-server/boot.sh <<'END_OF_server_boot.sh'",
        ],
        ["                END_OF_server_boot.sh"],
        16,
    ),
)


def embedded(program: Program, template: str) -> str:
    """Return the template with its program as that is now."""
    lines = (STACKS.parent / program.path).read_text().splitlines()
    inner = [f"{' ' * program.depth}{line}" if line else "" for line in lines]
    section = re.compile(
        rf"(?<=# BEGIN {re.escape(program.path)}: written by `make stacks`\n).*?(?=^ *# END)",
        re.DOTALL | re.MULTILINE,
    )
    text = "\n".join([*program.opens, *inner, *program.ends, ""])
    written, count = section.subn(lambda _: text, template)
    if count != 1:
        raise ValueError(f"{program.template} has {count} sections for {program.path}, not one")
    return written


if __name__ == "__main__":
    for program in PROGRAMS:
        path = STACKS / program.template
        path.write_text(embedded(program, path.read_text()))
