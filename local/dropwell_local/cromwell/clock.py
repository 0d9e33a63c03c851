"""How the server writes times: Cromwell's way, and Batch's."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def stamp(at: float | None = None) -> str:
    """Return a time as Cromwell's metadata has it: UTC, milliseconds (TimeUtil.scala).

    Parameters
    ----------
    at : float, optional
        Seconds since 1970; now by default.

    Examples
    --------
    >>> stamp(0.5)
    '1970-01-01T00:00:00.500Z'
    """
    moment = datetime.fromtimestamp(time.time() if at is None else at, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def milliseconds() -> int:
    return time.time_ns() // 1_000_000
