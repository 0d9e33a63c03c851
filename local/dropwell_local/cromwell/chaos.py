"""What the local Cromwell and its Batch do to people on purpose, and how they are told to.

Every decision is a function of the seed and of what it is about, never of the order in
which things happen: what befell a shard once befalls it again under the same seed.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

FATES = ("spot", "host", "oom", "timeout", "disk", "pull", "localize", "kms")
"""What ends an attempt in the command's place, without an rc file."""
OUTAGES = ("down", "slow", "error", "html", "truncate")
"""What a request to Cromwell meets instead of its answer, for a window of time."""
BLOCKAGES = ("blocked", "misconfigured")
"""Why Batch starts no job, for a window of time."""

DEFAULT_SECONDS: Mapping[str, float] = MappingProxyType(
    {
        "duplicate": 0.5,
        "delay": 5.0,
        "reorder": 2.0,
        "lose": 0.0,
        "lose-rc": 0.0,
        "late-rc": 5.0,
        **dict.fromkeys(FATES, 1.0),
        **dict.fromkeys(OUTAGES, 5.0),
        **dict.fromkeys(BLOCKAGES, 5.0),
    }
)
"""Every cruelty, and the seconds it takes if none are given.

Of *duplicate*: until the second copy comes. *delay*: how late. *reorder*: up to how late.
*late-rc*: how long after the job's end. Of a fate: how long the command may run before.
Of an outage or a blockage: how long a window is. The others take no time.
"""

_WORD = re.compile(r"([a-z-]+)=([0-9]+(?:\.[0-9]+)?)(?::([0-9]+(?:\.[0-9]+)?))?")


class BadChaos(ValueError):
    """A text that is no description of chaos; it says which word is wrong."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a decision is about: one Batch attempt of one call attempt, in any run."""

    fqn: str
    shard: int
    attempt: int
    batch_attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """What befalls one event: how many seconds later each of its copies is sent."""

    delays: tuple[float, ...] = (0.0,)


UNTOUCHED = Treatment()


@dataclass(frozen=True, kw_only=True)
class Chaos:
    """Which cruelties are on.

    Parameters
    ----------
    seed : int
        The same one repeats what happened.
    shares : mapping
        Of each cruelty that is on, to which share of its subjects it happens, 0 to 1.
    seconds : mapping
        Of each cruelty that is on; see `DEFAULT_SECONDS`.
    """

    seed: int = 0
    shares: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    def fate(self, subject: Subject, *, image: str) -> dict[str, Any]:
        """Return what will befall a Batch attempt, as the engine is told it; mostly nothing."""
        if not self.shares:
            return {}
        fate: dict[str, Any] = {}
        if self._happens("lose-rc", subject):
            fate["lose_rc"] = True
        if self._happens("late-rc", subject):
            fate["rc_late"] = self.seconds["late-rc"]
        for name in FATES:
            if self._happens(name, subject):
                instance = "i-" + self._digest("instance", subject)[:17]
                fate["end"] = {"name": name, "image": image, "instance": instance}
                fate["after"] = self.seconds[name]
                break
        return fate

    def treatment(self, subject: Subject, status: str) -> Treatment:
        """Return what befalls the event of a job's step."""
        if not self.shares:
            return UNTOUCHED
        if self._happens("lose", subject, status):
            return Treatment(delays=())
        late = self.seconds["delay"] if self._happens("delay", subject, status) else 0.0
        if self._happens("reorder", subject, status):
            late += self.seconds["reorder"] * self._draw("by", subject, status)
        if self._happens("duplicate", subject, status):
            return Treatment(delays=(late, late + self.seconds["duplicate"]))
        return Treatment(delays=(late,)) if late else UNTOUCHED

    def outage(self, at: float) -> str:
        """Return what requests meet at a time; empty, if nothing.

        Parameters
        ----------
        at : float
            Seconds since the chaos began.
        """
        return self._window(OUTAGES, at)[0]

    def blockage(self, at: float) -> tuple[str, int]:
        """Return why Batch starts no job at a time, empty if it does, and which window that is.

        Parameters
        ----------
        at : float
            Seconds since the chaos began.
        """
        return self._window(BLOCKAGES, at)

    def _window(self, names: tuple[str, ...], at: float) -> tuple[str, int]:
        for name in names:
            number = int(at / (self.seconds.get(name) or 1.0))
            if self._happens(name, number):
                return name, number
        return "", 0

    def __str__(self) -> str:
        """Return the text that `parse` reads.

        >>> str(parse("lose=0.1,seed=7"))
        'seed=7,lose=0.1:0'
        """
        words = [f"{name}={self.shares[name]:g}:{self.seconds[name]:g}" for name in self.shares]
        return ",".join([f"seed={self.seed}", *words]) if words else ""

    def _happens(self, name: str, *about: object) -> bool:
        return name in self.shares and self._draw(name, *about) < self.shares[name]

    def _draw(self, *about: object) -> float:
        """Return the number from 0 to below 1 that belongs to a subject."""
        return int(self._digest(*about)[:13], 16) / 16.0**13

    def _digest(self, *about: object) -> str:
        text = repr((self.seed, *about)).encode()
        return hashlib.sha1(text, usedforsecurity=False).hexdigest()


def parse(text: str) -> Chaos:
    """Read a description of chaos: ``name=share[:seconds]`` by commas, and ``seed=number``.

    Raises
    ------
    BadChaos
        A word is none of these, or a share is above 1.

    Examples
    --------
    >>> parse("seed=7,duplicate=0.2,spot=1:30").seconds["spot"]
    30.0
    >>> parse("").shares
    {}
    >>> parse("lose=2")
    Traceback (most recent call last):
    ...
    dropwell_local.cromwell.chaos.BadChaos: lose=2: the share that it happens to is from 0 to 1
    """
    seed, shares, seconds = 0, dict[str, float](), dict[str, float]()
    for word in filter(None, (one.strip() for one in text.split(","))):
        found = _WORD.fullmatch(word)
        if found is None:
            raise BadChaos(f"{word!r} is not like name=share, name=share:seconds or seed=number")
        name, value, lasting = found.groups()
        if name == "seed":
            if "." in value or lasting:
                raise BadChaos(f"{word}: a seed is a whole number")
            seed = int(value)
        elif name not in DEFAULT_SECONDS:
            raise BadChaos(f"{name} is not known; there are {', '.join(DEFAULT_SECONDS)}")
        elif float(value) > 1:
            raise BadChaos(f"{word}: the share that it happens to is from 0 to 1")
        else:
            shares[name] = float(value)
            seconds[name] = float(lasting) if lasting else DEFAULT_SECONDS[name]
    return Chaos(seed=seed, shares=shares, seconds=seconds)


class Dial:
    """The chaos of a running server, which can be turned while it runs."""

    def __init__(self, now: Chaos) -> None:
        self.turn(now)

    def turn(self, to: Chaos) -> None:
        self.now = to
        self._turned_at = time.monotonic()

    @property
    def seconds(self) -> float:
        """For how long this chaos has been on; windows are counted from its begin."""
        return time.monotonic() - self._turned_at
