"""A world in memory for the paths: a table, buckets, queues, a Cromwell, and a clock that jumps.

Every effect on the world passes `World.effect`, where a schedule may crash the
function that is running, before the effect or after it, or let another delivery
run in between. After every write the invariants are checked.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any

from dropwell.errors import (
    CromwellAway,
    Missing,
    Superseded,
    TooLarge,
    UnclearRefusal,
    UnknownRun,
)
from dropwell.jobs import JobStatus, Sighting
from dropwell.ports import FailedCall, Submission, Tail
from dropwell.records import (
    ABSENT,
    COUNTS,
    JOB,
    NOTICE,
    RUN,
    Item,
    Key,
    Put,
    Write,
    recount,
    run_of,
)
from dropwell.runs import State

VISIBILITY = 360
"""Seconds after which a message that was not finished with is delivered again."""


STATUSES = ["", "On Hold", "Submitted", "Running", "Aborting", "Aborted", "Succeeded", "Failed"]
"""Cromwell's, in the order in which it goes through them."""


class Crash(BaseException):
    """The function died here: nothing may catch it."""


@dataclass(slots=True)
class Delivery:
    """A message under way."""

    due: int
    number: int
    queue: str
    message: Any
    receives: int = 0


@dataclass
class World:
    """Everything outside the paths.

    Parameters
    ----------
    seed : int
        Of all that is left to chance.
    crash_at : set of int
        Numbers of effects, counted from 0 over the world's life, at which the
        running function dies. Twice the number for before, and one more for after.
    interleave : float
        Chance that another delivery runs before an effect.
    """

    seed: int = 0
    crash_at: frozenset[int] = frozenset()
    interleave: float = 0.0
    now: int = 1_714_564_800
    effects: int = 0
    depth: int = 0
    trace: list[str] = field(default_factory=list)
    pending: list[Delivery] = field(default_factory=list)
    dead: list[Delivery] = field(default_factory=list)
    doors: dict[str, Callable[[Any], None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.numbers = itertools.count()

    def effect(self, name: str, act: Callable[[], Any]) -> Any:
        """Let something happen to the world, or crash before or after it."""
        if self.depth < 3 and self.interleave and self.random.random() < self.interleave:
            self.step()
        number, self.effects = self.effects, self.effects + 1
        self.trace.append(name)
        if 2 * number in self.crash_at:
            raise Crash(f"before {name}")
        result = act()
        if 2 * number + 1 in self.crash_at:
            raise Crash(f"after {name}")
        return result

    def send(self, queue: str, message: Any, delay: int = 0) -> None:
        self.pending.append(Delivery(self.now + delay, next(self.numbers), queue, message))

    def step(self) -> bool:
        """Deliver one of the messages that are due; say whether there was one."""
        due = [delivery for delivery in self.pending if delivery.due <= self.now]
        if not due:
            return False
        self.deliver(self.random.choice(due))
        return True

    def deliver(self, delivery: Delivery) -> None:
        self.pending.remove(delivery)
        delivery.receives += 1
        self.depth += 1
        try:
            self.doors[delivery.queue](delivery.message)
        except (Crash, Exception) as error:
            self.trace.append(f"{delivery.queue}: {type(error).__name__}: {error}")
            if not isinstance(error, Crash | Superseded | CromwellAway):
                raise
            delivery.due = self.now + VISIBILITY
            if delivery.receives >= 8:
                self.dead.append(delivery)
            else:
                self.pending.append(delivery)
        finally:
            self.depth -= 1

    def run(self, *, sweep: Callable[[], None], until: Callable[[], bool], most: int = 400) -> None:
        """Let time pass, with a sweep each minute, until all is done."""
        for _ in range(most):
            while self.step():
                pass
            if until():
                return
            following = [delivery.due for delivery in self.pending if delivery.due > self.now]
            next_sweep = self.now - self.now % 60 + 60
            self.now = min([*following, next_sweep])
            if self.now == next_sweep:
                try:
                    sweep()
                except Crash:
                    self.trace.append("sweep: crash")
        raise AssertionError("not done in time:\n" + "\n".join(self.trace[-40:]))


class MemoryTable:
    """The table in memory: conditional writes, all or none; checks the invariants at each."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.items: dict[Key, Item] = {}
        self.notices: dict[Key, int] = defaultdict(int)
        self.stream_copies = 1

    def get(self, key: Key) -> Item | None:
        return copy.deepcopy(self.items.get(key))

    def get_many(self, keys: Iterable[Key], *, only: Sequence[str] = ()) -> dict[Key, Item]:
        found = {key: copy.deepcopy(self.items[key]) for key in keys if key in self.items}
        if not only:
            return found
        wanted = {"pk", "sk", *only}
        return {
            key: {name: value for name, value in item.items() if name in wanted}
            for key, item in found.items()
        }

    def query(
        self, pk: str, prefix: str = "", *, newest_first: bool = False, limit: int | None = None
    ) -> Iterator[Item]:
        keys = sorted(key for key in self.items if key[0] == pk and key[1].startswith(prefix))
        if newest_first:
            keys.reverse()
        return iter([copy.deepcopy(self.items[key]) for key in keys[:limit]])

    def due(self, kind: str, until: int, limit: int) -> list[Key]:
        found = [
            (item["due_at"], key)
            for key, item in self.items.items()
            if item.get("due_kind") == kind and item["due_at"] <= until
        ]
        return [key for _, key in sorted(found)[:limit]]

    def write(self, *writes: Write) -> None:
        names = ", ".join(_key(write)[1] for write in writes)
        self.world.effect(f"write {names}", lambda: self._write(writes))

    def _write(self, writes: Sequence[Write]) -> None:
        keys = [_key(write) for write in writes]
        assert len(writes) <= 100, "a transaction holds 100 writes"
        assert len(set(keys)) == len(keys), "a transaction may touch an item once"
        for write in writes:
            known = self.items.get(_key(write))
            for name, value in write.expect.items():
                have = (known or {}).get(name, ABSENT)
                if have is not value and have != value:
                    raise Superseded(str(_key(write)))
        before = {key: copy.deepcopy(self.items.get(key)) for key in keys}
        for write in writes:
            self._apply(write)
        for key in keys:
            self._check(key, before[key], self.items[key], {k for k, v in before.items() if not v})

    def _apply(self, write: Write) -> None:
        if isinstance(write, Put):
            self.items[write.key] = _stored(write.item)
            return
        item = self.items.setdefault(write.key, {"pk": write.key[0], "sk": write.key[1]})
        item.update(_stored(write.set))
        for name, amount in write.add.items():
            item[name] = item.get(name, 0) + amount
        for name in write.remove:
            item.pop(name, None)

    def _check(self, key: Key, before: Item | None, after: Item, new: set[Key]) -> None:
        pk, sk = key
        if sk.startswith(JOB):
            assert not before or _order(after) > _order(before), "a job went back"
        if sk == COUNTS or sk.startswith(JOB):
            counts = self.items.get((pk, COUNTS), {})
            told = {k: v for k, v in counts.items() if k not in ("pk", "sk") and v}
            assert told == recount(self.query(pk)), "counters differ from a recount"
        if sk == RUN and before and State(before["state"]).terminal:
            assert after["state"] == before["state"], "a state that had ended changed"
        if sk == RUN and before:
            words = [item.get("cromwell_status", "") for item in (before, after)]
            assert words == sorted(words, key=STATUSES.index), "a run's status went back"
        if sk == RUN and State(after["state"]).terminal and run_of(after).ours:
            kinds = ("ended", "rejected")
            assert any((pk, f"{NOTICE}{kind}") in self.items for kind in kinds), "an end untold"
        if sk.startswith(NOTICE) and key in new:
            self.notices[key] += 1
            assert self.notices[key] == 1, "a notice was recorded twice"
            for _ in range(self.stream_copies):
                self.world.send("diagnoses", {"notice": {"run_id": pk, "sk": sk}})


def _key(write: Write) -> Key:
    return write.key


def _order(job: Item) -> tuple[bool, int, int]:
    """Return how far a job had come, in our own words and not by its rank."""
    status = JobStatus(job["status"])
    return status.terminal, job["attempts"], list(JobStatus).index(status)


def _stored(item: Mapping[str, Any]) -> Item:
    """Return an item as the table gives it back: lists for tuples, text for enumerations."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: plain(entry) for name, entry in value.items()}
        if isinstance(value, list | tuple):
            return [plain(entry) for entry in value]
        return str(value) if isinstance(value, str) else value

    return {name: plain(value) for name, value in item.items()}


class MemoryBucket:
    """A versioned bucket in memory."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.objects: dict[str, dict[str, bytes]] = defaultdict(dict)

    def uri(self, key: str) -> str:
        return f"s3://{self.name}/{key}"

    def keys(self, prefix: str = "") -> list[str]:
        return sorted(
            k for k, versions in self.objects.items() if versions and k.startswith(prefix)
        )

    def drop(self, key: str, body: bytes, version_id: str = "v1") -> None:
        self.objects[key][version_id] = body

    def read(self, key: str, *, version_id: str = "", limit: int) -> bytes:
        body = self._body(key, version_id)
        if len(body) > limit:
            raise TooLarge(key)
        return body

    def tail(self, key: str, most: int) -> Tail:
        body = self._body(key)
        return Tail(body[-most:], len(body))

    def size(self, key: str) -> int | None:
        try:
            return len(self._body(key))
        except Missing:
            return None

    def put(self, key: str, body: bytes | str, content_type: str = "application/json") -> None:
        data = body.encode() if isinstance(body, str) else body
        self.world.effect(f"put {key}", lambda: self.objects.__setitem__(key, {"v1": data}))

    def put_stream(self, key: str, stream: IO[bytes]) -> None:
        self.put(key, stream.read())

    def copy(self, key: str, version_id: str, to: str) -> None:
        self.put(to, self._body(key, version_id))

    def remove(self, key: str, version_id: str) -> None:
        self.world.effect(f"remove {key}", lambda: self.objects[key].pop(version_id, None))

    def _body(self, key: str, version_id: str = "") -> bytes:
        versions = self.objects.get(key) or {}
        if not versions or (version_id and version_id not in versions):
            raise Missing(key)
        return versions[version_id] if version_id else list(versions.values())[-1]


class MemoryQueue:
    """A queue of the world."""

    def __init__(self, world: World, name: str, delay: int = 0) -> None:
        self.world = world
        self.name = name
        self.delay = delay

    def send(self, *messages: Mapping[str, Any], delay: int | None = None) -> None:
        for message in messages:
            wait = self.delay if delay is None else delay
            self.world.effect(
                f"send {self.name}", partial(self.world.send, self.name, message, wait)
            )


class MemoryTopic:
    """Mails that reached the wire."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.mails: list[tuple[str, str, dict[str, str]]] = []

    def publish(self, subject: str, body: str, attributes: Mapping[str, str]) -> None:
        assert subject.isascii()
        assert len(subject) <= 100
        mail = (subject, body, dict(attributes))
        self.world.effect("publish", lambda: self.mails.append(mail))

    @property
    def told(self) -> list[str]:
        """Return the ids of the notices that were mailed."""
        return [attributes["notice_id"] for _, _, attributes in self.mails]


class MemoryBus:
    """Events that reached the bus."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.events: list[tuple[str, Mapping[str, Any]]] = []

    def put(self, detail_type: str, detail: Mapping[str, Any]) -> None:
        self.world.effect("put event", lambda: self.events.append((detail_type, detail)))


class MemoryLogs:
    """Job logs."""

    name = "/aws/batch/job"

    def __init__(self) -> None:
        self.streams: dict[str, str] = {}

    def tail(self, stream: str, lines: int) -> str:
        return "\n".join(self.streams.get(stream, "").splitlines()[-lines:])


class MemoryJobs:
    """Batch's own records."""

    def __init__(self) -> None:
        self.known: dict[str, Sighting] = {}

    def describe(self, job_ids: Sequence[str]) -> dict[str, Sighting]:
        return {job_id: self.known[job_id] for job_id in job_ids if job_id in self.known}


class MemoryCromwell:
    """A Cromwell that takes each id once, and shows what it took only after a while."""

    def __init__(self, world: World, lag: int = 8) -> None:
        self.world = world
        self.lag = lag
        self.away = False
        self.lose_acks = 0
        self.accepted: dict[str, Submission] = {}
        self.posts: list[str] = []
        self.seen_from: dict[str, int] = {}
        self.now_is: dict[str, str] = {}
        self.made: dict[str, dict[str, Any]] = {}
        self.failed: dict[str, list[FailedCall]] = {}

    def _here(self) -> None:
        if self.away:
            raise CromwellAway("connection refused")

    def submit(self, submission: Submission) -> str:
        self._here()
        return str(self.world.effect("POST submit", lambda: self._submit(submission)))

    def _submit(self, submission: Submission) -> str:
        self.posts.append(submission.run_id)
        if submission.run_id in self.accepted:
            raise UnclearRefusal(f"Requested workflow IDs are already in use: {submission.run_id}")
        self.accepted[submission.run_id] = submission
        self.seen_from[submission.run_id] = self.world.now + self.lag
        self.now_is[submission.run_id] = "On Hold" if submission.on_hold else "Submitted"
        if self.lose_acks:
            self.lose_acks -= 1
            raise CromwellAway("read timed out")
        return self.now_is[submission.run_id]

    def status(self, run_id: str) -> str:
        self._here()
        if self.seen_from.get(run_id, self.world.now + 1) > self.world.now:
            raise UnknownRun(run_id)
        return self.now_is[run_id]

    def statuses(self, run_ids: Sequence[str]) -> dict[str, str]:
        self._here()
        seen = [i for i in run_ids if self.seen_from.get(i, self.world.now + 1) <= self.world.now]
        told = {run_id: self.now_is[run_id] for run_id in seen}
        self.world.effect("statuses on their way", lambda: None)
        return told

    def outputs(self, run_id: str) -> dict[str, Any]:
        self._here()
        return self.made.get(run_id, {})

    def failures(self, run_id: str) -> tuple[str, ...]:
        self._here()
        return tuple(message for call in self.failed.get(run_id, []) for message in call.messages)

    def failed_jobs(self, run_id: str) -> Sequence[FailedCall]:
        self._here()
        return self.failed.get(run_id, [])

    def abort(self, run_id: str) -> str:
        self._here()
        return str(self.world.effect("POST abort", lambda: self._abort(run_id)))

    def _abort(self, run_id: str) -> str:
        status = self.now_is.get(run_id)
        if status in (None, "Succeeded", "Failed", "Aborted"):
            raise UnknownRun(run_id)
        self.now_is[run_id] = "Aborted" if status in ("Submitted", "On Hold") else "Aborting"
        return self.now_is[run_id]

    def release(self, run_id: str) -> str:
        self._here()
        self.now_is[run_id] = "Submitted"
        return "Submitted"


def same(items: Mapping[Key, Item], *, but: Iterable[str]) -> str:
    """Return a fingerprint of a table's content without some attributes."""
    left_out = set(but)
    told = sorted(
        (key, sorted((n, repr(v)) for n, v in item.items() if n not in left_out))
        for key, item in items.items()
    )
    return hashlib.sha256(repr(told).encode()).hexdigest()
