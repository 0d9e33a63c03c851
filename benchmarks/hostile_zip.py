"""Prints what it costs to refuse a hostile zip or tar, and to open the largest honest bundle.

Run from the root of the project: ``python -m benchmarks.hostile_zip``. Each
case runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from benchmarks.figures import title
from dropwell.bundles import open_bundle
from dropwell.errors import BadBundle
from tests.unit.bundle_builders import (
    HELLO,
    dense_bomb,
    lying_bomb,
    overlapping_bomb,
    tar_bomb,
    tar_bomb_within_its_claims,
    tarred,
    zipped,
)


def twenty_megabytes_of_inputs() -> bytes:
    names = [f"s3://bucket/cohort/sample-{number:07}.g.vcf.gz" for number in range(400_000)]
    return zipped({"main.wdl": HELLO, "inputs.json": json.dumps({"hello.gvcfs": names})})


def ten_thousand_entries() -> bytes:
    return zipped({"main.wdl": HELLO} | {f"data/{number:05}.txt": b"x" for number in range(9_999)})


def two_hundred_megabytes() -> bytes:
    return zipped({"main.wdl": HELLO, "data.bin": os.urandom(199_000_000)})


def two_hundred_megabytes_of_tar() -> bytes:
    return tarred({"main.wdl": HELLO, "data.bin": os.urandom(199_000_000)}, compresslevel=1)


MOST_MS, MOST_MB = 200, 20
HOSTILE = (overlapping_bomb, dense_bomb, lying_bomb, tar_bomb, tar_bomb_within_its_claims)
CASES: tuple[Callable[[], bytes], ...] = (
    *HOSTILE,
    ten_thousand_entries,
    twenty_megabytes_of_inputs,
    two_hundred_megabytes,
    two_hundred_megabytes_of_tar,
)


def main() -> int:
    title(
        "Hostile archives",
        "From bytes in memory to a bundle or a refusal, each in a process of its own. The first"
        f"\nfive would unfold to 4 GB, and are to be refused in {MOST_MS} ms and {MOST_MB} MB; the"
        " rest are honest, and large.",
    )
    missed = 0
    print(f"{'case':<30}{'size':>10}{'ms':>9}{'+MB':>8}   outcome")
    for case in CASES:
        ours, theirs = multiprocessing.Pipe()
        worker = multiprocessing.get_context("fork").Process(target=_measure, args=(case, theirs))
        worker.start()
        size, milliseconds, megabytes, outcome = ours.recv()
        worker.join()
        name = case.__name__.replace("_", " ")
        too_much = case in HOSTILE and (milliseconds > MOST_MS or megabytes > MOST_MB)
        missed += too_much
        verdict = "MISSED: " if too_much else ""
        print(
            f"{name:<30}{size / 1e6:>7.2f} MB{milliseconds:>9.1f}{megabytes:>8.1f}"
            f"   {verdict}{outcome}"
        )
    return missed


def _measure(case: Callable[[], bytes], answer: Connection) -> None:
    data = case()
    before = _peak_after_reset()  # the builder's own would hide what opening takes
    started = time.perf_counter()
    try:
        name = "bundle.tar.gz" if data.startswith(b"\x1f\x8b") else "bundle.zip"
        outcome = f"opened, {len(open_bundle(data, name).entries)} entries"
    except BadBundle as bad:
        outcome = str(bad)
    milliseconds = (time.perf_counter() - started) * 1000
    answer.send((len(data), milliseconds, _peak() - before, outcome))


def _peak_after_reset() -> float:
    """Let the kernel forget the peak so far (Linux), and return the new one in MB."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as clear:  # noqa: PTH123
        clear.write("5")
    return _peak()


def _peak() -> float:
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
