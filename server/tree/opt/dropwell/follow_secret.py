#!/usr/bin/env python3
"""Start Cromwell anew when the database's secret is another than it was started with.

Its open connections live on with the old password; the next it opens would be refused.
"""

from __future__ import annotations

import subprocess
import sys

import instance
from run_cromwell import STARTED_WITH

_PROGRAM = "cromwell-server"


def main() -> int:
    if not STARTED_WITH.exists():
        return 0  # it was never started, or waits for the secret and will take the newest
    try:
        now = instance.secret_version(instance.settings()["database_secret"])
    except instance.Unavailable as problem:
        print(f"The database's secret could not be looked at: {problem}", file=sys.stderr)
        return 1
    if now == STARTED_WITH.read_text():
        return 0
    if "RUNNING" not in _supervisorctl("status"):
        return 0  # who stopped it wants it stopped; it takes the new one when it starts
    print("The database's secret has changed: Cromwell is started anew.", flush=True)
    print(_supervisorctl("restart"), end="")
    return 0


def _supervisorctl(verb: str) -> str:
    config = str(instance.ROOT / "etc/supervisord.conf")
    command = [_command(), "--configuration", config, verb, _PROGRAM]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout


def _command() -> str:
    ours = instance.ROOT / "opt/dropwell/supervisor/bin/supervisorctl"
    return str(ours) if ours.exists() else "supervisorctl"


if __name__ == "__main__":
    sys.exit(main())
