"""Prints what a shard costs the local stack in a wide scatter, beside a narrow one.

Run from the root of the project: ``python -m benchmarks.wide``.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure, show, title
from dropwell_local.stack import LocalStack, local_stack
from tests.e2e.footprint import Memory, processor_seconds
from tests.e2e.inbox import Inbox
from tests.e2e.test_wide import drop_wide

WARM, FIRST, NARROW, WIDE = 2, 1, 50, 500
_MOST_RATIO, _MOST_MB, _MOST_SECONDS = 1.5, 1024, 120
_REST_S = 3.0


@dataclass(frozen=True)
class Run:
    """What a scatter took, from the drop to the notice of its end; memory in bytes."""

    seconds: float
    processor: float
    memory: int
    complete: bool


def main() -> int:
    title(
        "Wide scatter",
        f"The whole local stack runs a scatter of {WIDE} shards that each say a number, and one of"
        f"\n{NARROW}. A shard's processor time is what each more of them costs: from {NARROW} to"
        f" {WIDE}, beside\nfrom {FIRST} to {NARROW}. A ratio of one says that it does not grow with"
        " the width.",
    )
    with (
        tempfile.TemporaryDirectory(prefix="dropwell-wide-") as work,
        local_stack(Path(work)) as stack,
    ):
        _run(stack, WARM)
        first, narrow, wide = (_run(stack, shards) for shards in (FIRST, NARROW, WIDE))
    ours = (wide.processor - narrow.processor) / (WIDE - NARROW) * 1000
    baseline = (narrow.processor - first.processor) / (NARROW - FIRST) * 1000
    ratio, megabytes = ours / baseline, wide.memory / (1 << 20)
    complete = first.complete and narrow.complete and wide.complete
    show(
        (
            Figure(
                name="processor time a shard, ms",
                ours=ours,
                baseline=baseline,
                ratio=ratio,
                goal=f"at most {_MOST_RATIO}x",
                met=ratio <= _MOST_RATIO,
            ),
            Figure(
                name="from drop to notice, s",
                ours=wide.seconds,
                baseline=narrow.seconds,
                goal=f"at most {_MOST_SECONDS}",
                met=wide.seconds <= _MOST_SECONDS,
            ),
            Figure(
                name="memory of all processes (PSS), MB",
                ours=megabytes,
                baseline=narrow.memory / (1 << 20),
                ratio=wide.memory / narrow.memory,
                goal=f"at most {_MOST_MB}",
                met=megabytes <= _MOST_MB,
            ),
            Figure(
                name="every run complete",
                ours="yes" if complete else "no",
                goal="yes",
                met=complete,
            ),
        ),
        against=f"{NARROW} shards",
    )
    return 0 if complete else 1


def _run(stack: LocalStack, shards: int) -> Run:
    inbox = Inbox(stack)
    before, began = processor_seconds(stack), time.monotonic()
    with Memory(stack) as memory:
        run_id = drop_wide(inbox, shards)
        seconds = time.monotonic() - began
        time.sleep(_REST_S)  # until the engine has been waited for
    used = processor_seconds(stack) - before
    return Run(seconds, used, memory.most, inbox.state(run_id) == "COMPLETE")


if __name__ == "__main__":
    sys.exit(main())
