"""What a cold start spends on imports and clients: each built function beside bare boto3."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure, show, title
from benchmarks.settings import FUNCTIONS, PROJECT, SETTINGS, Function
from dropwell_local.build import Tools, built_template

ROUNDS = 15
GOAL = 1.5
HEAVY = ("pydantic", "WDL", "lark", "requests", "httpx")
"""What no cold start is to load; the submitter loads its WDL engine when it opens a bundle."""

_MEASURE = f"""
import sys, time
wall, cpu = time.perf_counter(), time.process_time()
%s
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
import json
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
heavy = [name for name in {HEAVY!r} if name in sys.modules]
print(json.dumps([wall * 1e3, cpu * 1e3, peak / 1024, heavy]))
"""


@dataclass(frozen=True, slots=True)
class Start:
    """One fresh process: milliseconds on the wall and of the processor, MB at its peak."""

    wall: float
    cpu: float
    peak: float
    heavy: list[str]


def main() -> int:
    title(
        "Cold import",
        "Each function as `sam build` leaves it for this Python, byte code included: imports,"
        f" settings\nand clients, in {ROUNDS} fresh processes, in turn with bare boto3 making the"
        " same clients there.",
    )
    tools = Tools()
    build = _build(tools)
    starts: dict[tuple[str, str], list[Start]] = defaultdict(list)
    for _ in range(ROUNDS):
        for name, function in FUNCTIONS.items():
            path = f"{build / function.logical_id}:{build / 'CommonLayer' / 'python'}"
            starts[name, "ours"].append(_start(_ours(function), path, tools))
            starts[name, "bare"].append(_start(_bare(function), "", tools))
    loaded = False
    for name in FUNCTIONS:
        ours, bare = starts[name, "ours"], starts[name, "bare"]
        show(_figures(name, ours, bare), against="bare boto3")
        loaded = loaded or any(start.heavy for start in ours)
    return int(loaded)


def _figures(name: str, ours: list[Start], bare: list[Start]) -> list[Figure]:
    def compared(
        what: str, here: float, there: float, *, goal: str = "", met: bool | None = None
    ) -> Figure:
        return Figure(
            name=f"{name}: {what}",
            ours=here,
            baseline=there,
            ratio=here / there,
            goal=goal,
            met=met,
        )

    def walls(of: list[Start]) -> list[float]:
        return [start.wall for start in of]

    def cpus(of: list[Start]) -> list[float]:
        return [start.cpu for start in of]

    def peaks(of: list[Start]) -> list[float]:
        return [start.peak for start in of]

    heavy = sorted({module for start in ours for module in start.heavy})
    return [
        compared(
            "wall, ms (fastest)",
            min(walls(ours)),
            min(walls(bare)),
            goal=f"at most {GOAL}x",
            met=min(walls(ours)) <= GOAL * min(walls(bare)),
        ),
        compared("wall, ms (median)", median(walls(ours)), median(walls(bare))),
        compared("CPU, ms (fastest)", min(cpus(ours)), min(cpus(bare))),
        compared("CPU, ms (median)", median(cpus(ours)), median(cpus(bare))),
        compared("peak memory, MB (median)", median(peaks(ours)), median(peaks(bare))),
        Figure(
            name=f"{name}: heavy modules loaded",
            ours=", ".join(heavy) or "none",
            goal="none",
            met=not heavy,
        ),
    ]


def _ours(function: Function) -> str:
    return f"import handler; handler.{function.door}()"


def _bare(function: Function) -> str:
    return f"import boto3; [boto3.client(name) for name in {function.clients!r}]"


def _start(what: str, path: str, tools: Tools) -> Start:
    result = subprocess.run(
        [str(tools.runtime_python), "-P", "-c", _MEASURE % what],
        env={**SETTINGS, "PATH": os.environ["PATH"], "PYTHONPATH": path}
        | {"PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tempfile.gettempdir(),
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        sys.exit(result.stderr)
    return Start(*json.loads(result.stdout))


def _build(tools: Tools) -> Path:
    builds = PROJECT / ".dropwell" / "builds"
    builds.mkdir(parents=True, exist_ok=True)
    build = built_template(builds=builds, tools=tools, log=builds / "build.log").parent
    for other in builds.iterdir():
        if other.is_dir() and other != build:
            shutil.rmtree(other)
    layer = build / "CommonLayer" / "python"
    if not any(layer.glob("dropwell/__pycache__/*.pyc")):
        sys.exit(f"The layer in {layer} holds no byte code, so there is nothing fair to measure.")
    return build


if __name__ == "__main__":
    sys.exit(main())
