"""Writes the function that makes the database's user into stacks/database.yaml, as it is."""

from __future__ import annotations

import re
from pathlib import Path

STACKS = Path(__file__).parent
DATABASE = STACKS / "database.yaml"
FUNCTION = STACKS / "database_user.py"

_SECTION = re.compile(
    r"(?<=# BEGIN stacks/database_user\.py: written by `make stacks`\n).*?(?=^ *# END)",
    re.DOTALL | re.MULTILINE,
)


def embedded(template: str) -> str:
    """Return the template with its function as that is now."""
    lines = [f"{' ' * 10}{line}" if line else "" for line in FUNCTION.read_text().splitlines()]
    text = "\n".join([f"{' ' * 8}ZipFile: |", *lines, ""])
    written, count = _SECTION.subn(lambda _: text, template)
    if count != 1:
        raise ValueError(f"{DATABASE} has {count} sections for {FUNCTION.name}, not one")
    return written


if __name__ == "__main__":
    DATABASE.write_text(embedded(DATABASE.read_text()))
