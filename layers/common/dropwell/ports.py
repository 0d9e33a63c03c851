"""What the paths ask of the world outside, so that a simulation can stand in for it.

Each protocol has two implementations: an adapter that calls AWS or Cromwell, and
an in-memory twin of the tests, which a contract test holds to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Protocol

from dropwell.calls import CallId
from dropwell.jobs import Sighting
from dropwell.records import Item, Key, Write


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of an object.

    Parameters
    ----------
    data : bytes
        The last bytes, as many as were asked for or as there are.
    size : int
        Bytes of the whole object.
    """

    data: bytes
    size: int


class Table(Protocol):
    def get(self, key: Key) -> Item | None: ...
    def get_many(self, keys: Iterable[Key], *, only: Sequence[str] = ...) -> dict[Key, Item]: ...
    def query(
        self, pk: str, prefix: str = "", *, newest_first: bool = False, limit: int | None = None
    ) -> Iterator[Item]: ...
    def due(self, kind: str, until: int, limit: int) -> list[Key]: ...
    def write(self, *writes: Write) -> None: ...


class Bucket(Protocol):
    name: str

    def uri(self, key: str) -> str: ...
    def read(self, key: str, *, version_id: str = "", limit: int) -> bytes: ...
    def tail(self, key: str, most: int) -> Tail: ...
    def size(self, key: str) -> int | None: ...
    def put(self, key: str, body: bytes | str, content_type: str = ...) -> None: ...
    def put_stream(self, key: str, stream: IO[bytes]) -> None: ...
    def copy(self, key: str, version_id: str, to: str) -> None: ...
    def remove(self, key: str, version_id: str) -> None: ...


class Queue(Protocol):
    def send(self, *messages: Mapping[str, Any], delay: int | None = None) -> None: ...


class Topic(Protocol):
    def publish(self, subject: str, body: str, attributes: Mapping[str, str]) -> None: ...


class Bus(Protocol):
    def put(self, detail_type: str, detail: Mapping[str, Any]) -> None: ...


class LogGroup(Protocol):
    name: str

    def tail(self, stream: str, lines: int) -> str: ...


class Jobs(Protocol):
    def describe(self, job_ids: Sequence[str]) -> dict[str, Sighting]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What is posted to Cromwell for a run.

    Parameters
    ----------
    run_id : str
        The id the run shall have (``requestedWorkflowId``).
    source : str
        The main WDL.
    inputs, options : mapping
        JSON objects.
    labels : mapping
        Legal both as Cromwell's labels and as AWS tags.
    dependencies : bytes or None
        A zip of the files it imports.
    on_hold : bool
        Whether it waits for a release.
    """

    run_id: str
    source: str
    inputs: Mapping[str, Any]
    options: Mapping[str, Any]
    labels: Mapping[str, str]
    dependencies: bytes | None = None
    on_hold: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedCall:
    """A call that failed, in Cromwell's words."""

    fqn: str
    call_id: CallId
    execution_status: str = ""
    return_code: int | None = None
    job_id: str = ""
    messages: tuple[str, ...] = ()
    stdout: str = ""
    stderr: str = ""

    @property
    def lasting(self) -> bool:
        """Whether Cromwell will not try it again (it says ``RetryableFailure`` otherwise)."""
        return self.execution_status == "Failed"


class Cromwell(Protocol):
    def submit(self, submission: Submission) -> str: ...
    def status(self, run_id: str) -> str: ...
    def statuses(self, run_ids: Sequence[str]) -> dict[str, str]: ...
    def outputs(self, run_id: str) -> dict[str, Any]: ...
    def failures(self, run_id: str) -> tuple[str, ...]: ...
    def failed_jobs(self, run_id: str) -> Sequence[FailedCall]: ...
    def abort(self, run_id: str) -> str: ...
    def release(self, run_id: str) -> str: ...
