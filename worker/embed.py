"""Writes the worker's scripts into the launch template of stacks/core.yaml, as they are."""

from __future__ import annotations

import re
from pathlib import Path

WORKER = Path(__file__).parent
CORE = WORKER.parent / "stacks/core.yaml"
SCRIPTS = ("fetch_and_run.sh", "grow_scratch.sh", "provision.sh")

_SECTION = re.compile(
    r"(?<=# BEGIN worker/\*\.sh: written by `make stacks`\n).*?(?=^ *# END)",
    re.DOTALL | re.MULTILINE,
)
_ITEM = " " * 14
_TEXT = " " * 16


def embedded(template: str) -> str:
    """Return the template with its section of scripts as the scripts are now."""
    lines = [f"{_ITEM}- |", f"{_TEXT}mkdir -p /opt/worker"]
    for name in SCRIPTS:
        end = f"END_OF_{name}"
        here = [
            f"cat >/opt/worker/{name} <<'{end}'",
            *(WORKER / name).read_text().splitlines(),
            end,
        ]
        lines += [f"{_TEXT}{line}" if line else "" for line in here]
    written, count = _SECTION.subn(lambda _: "\n".join(lines) + "\n", template)
    if count != 1:
        raise ValueError(
            f"{CORE} has {count} sections between BEGIN and END of worker/*.sh, not one"
        )
    return written


if __name__ == "__main__":
    CORE.write_text(embedded(CORE.read_text()))
