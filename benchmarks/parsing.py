"""What reading an event costs beyond `json.loads`: every sample of a Batch job in ``events/``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.figures import Figure, show, title
from benchmarks.settings import PROJECT
from dropwell.aws import events

REPEATS = 200
ROUNDS = 15


def main() -> int:
    bodies = _bodies()
    title(
        "Reading a sighting",
        f"{len(bodies)} samples of {sum(map(len, bodies)) // len(bodies):,} bytes on average, as"
        f" compact JSON; the fastest of {ROUNDS} rounds.",
    )
    read, parsed = _fastest(bodies, events.sighting, json.loads)
    show(
        [
            Figure(
                name="µs a sighting, json.loads included",
                ours=read,
                baseline=parsed,
                ratio=read / parsed,
            ),
            Figure(name="µs a sighting beyond json.loads", ours=read - parsed),
        ],
        against="json.loads",
    )
    return 0


def _bodies() -> list[str]:
    read = [json.loads(path.read_text()) for path in (PROJECT / "events").glob("batch_*.json")]
    jobs = [event for event in read if event["detail-type"] == "Batch Job State Change"]
    return [json.dumps(event, separators=(",", ":")) for event in jobs]


def _fastest(bodies: list[str], *ways: Callable[[str], Any]) -> list[float]:
    """Return microseconds a body for each way: rounds in turn, the least disturbed of each."""
    best = [float("inf")] * len(ways)
    for _ in range(ROUNDS):
        for number, way in enumerate(ways):
            started = time.process_time()
            for _ in range(REPEATS):
                for body in bodies:
                    way(body)
            spent = (time.process_time() - started) / REPEATS / len(bodies) * 1e6
            best[number] = min(best[number], spent)
    return best


if __name__ == "__main__":
    sys.exit(main())
