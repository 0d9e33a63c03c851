"""Runs every benchmark, each in a process of its own, one after the other."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time

BENCHMARKS = ("flood", "cold_import", "log_tail", "hostile_zip", "parsing", "wide")


def main() -> int:
    # Others at work on the machine stretch every time that is not a processor's own.
    print(f"Load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"Python {platform.python_version()} on {platform.machine()}, {platform.system()}")
    started = time.monotonic()
    failed = []
    for name in BENCHMARKS:
        print(flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode:
            failed.append(name)
    print(f"\nTook {time.monotonic() - started:.0f} s. docs/benchmarks.md says what each means.")
    if failed:
        print(f"Not finished, or what must be exact was not: {', '.join(failed)}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
