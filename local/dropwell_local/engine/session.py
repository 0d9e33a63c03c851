"""What one engine process knows of its run: where files go, what they became on S3, what failed."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dropwell_local.engine import store
from dropwell_local.engine.caching import Mode
from dropwell_local.engine.endings import Ending
from dropwell_local.engine.holding import Going
from dropwell_local.engine.layout import Call, Holder, locate, parse_call
from dropwell_local.engine.retrying import Policy
from dropwell_local.engine.wire import Wire

Failure = dict[str, Any]
"""``{"message": …, "causedBy": [Failure, …]}``, as Cromwell's metadata has it."""


def failure(message: str, *causes: Failure) -> Failure:
    return {"message": message, "causedBy": list(causes)}


def failed(causes: list[Failure]) -> Failure:
    return failure("Workflow failed", *causes)


def now() -> str:
    """Return the time as Cromwell writes it: UTC, milliseconds (TimeUtil.scala)."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Past:
    """What the server knows, from before it stopped, of an attempt of a call.

    Parameters
    ----------
    job_id : str
        Its job.
    batch_attempt : int
        Which of Batch's attempts it had come to.
    ending : Ending, optional
        How that ended, if it had.
    last : bool
        Whether Cromwell would give the call no other attempt, whatever the ending looks like.
    """

    job_id: str
    batch_attempt: int
    ending: Ending | None = None
    last: bool = False


@dataclass(frozen=True)
class Inner:
    """A workflow that a call runs; `scatter` if it is an inner scatter's."""

    call: Call
    holder: Holder
    scatter: bool = False


@dataclass
class Session:
    """One run.

    Parameters
    ----------
    run_id, root, script_url : str
        The run, where its files go, and the prefix of its scripts.
    directory : Path
        On this machine; inputs are downloaded below it.
    labels : dict
        Of the run; they become tags.
    wire : Wire
        To the server.
    bwrap : str
        The program that keeps tasks apart from this machine; empty, none does.
    policy : Policy
        What is to be made of failures.
    past : dict
        Of each call attempt (the workflow that holds it, name, shard, attempt) that was begun
        before the server stopped, what became of it.
    caching : Mode
        Whether calls come from the cache, and go there.
    going : Going
        What goes on, so that failures can be held back.
    tokens : Semaphore
        One for each call that may have a job at the same time; the others wait in Cromwell.
    """

    run_id: str
    root: str
    script_url: str
    directory: Path
    labels: dict[str, str]
    wire: Wire
    bwrap: str = ""
    policy: Policy = field(default_factory=Policy)
    past: dict[tuple[str, str, int, int], Past] = field(default_factory=dict)
    caching: Mode = field(default_factory=Mode)
    going: Going = field(default_factory=Going)
    tokens: threading.Semaphore = field(default_factory=threading.Semaphore)
    run: Holder | None = None
    holders: dict[tuple[str, ...], Holder] = field(default_factory=dict)
    scatters: dict[tuple[str, ...], dict[str, tuple[str, ...]]] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    _failures: dict[str, list[Failure]] = field(default_factory=lambda: defaultdict(list))
    _urls: dict[str, str] = field(default_factory=dict)
    _content: dict[str, str] = field(default_factory=dict)
    _inner: dict[str, Inner] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def past_of(self, call: Call, attempt: int) -> Past | None:
        return self.past.get((call.holder.workflow_id, call.fqn, call.shard, attempt))

    def locate(self, stack: list[str]) -> Call:
        """Return the call that miniwdl's stack of ids names; enter inner scatters on the way."""
        within = tuple(stack[:-1])
        alias, _ = parse_call(stack[-1])
        call, passed = locate(self.holders[within], stack[-1], self.scatters[within].get(alias, ()))
        for through, holder in passed:
            self.enter(Inner(through, holder, scatter=True))
        return call

    def enter(self, inner: Inner, **facts: Any) -> None:
        """Tell of a workflow that a call runs, the first time it is entered."""
        call, holder = inner.call, inner.holder
        with self._lock:
            if holder.workflow_id in self._inner:
                return
            self._inner[holder.workflow_id] = inner
        self.wire.send(
            "workflow",
            id=holder.workflow_id,
            parent=call.holder.workflow_id,
            facts={
                "workflowName": holder.folder,
                "workflowRoot": holder.root + "/",
                "start": now(),
                **facts,
            },
        )
        given = {"inputs": facts["inputs"]} if "inputs" in facts else {}
        self.tell_call(
            call,
            1,
            executionStatus="Running",
            subWorkflowId=holder.workflow_id,
            start=now(),
            **given,
        )

    def leave(self, holder: Holder, status: str, **facts: Any) -> None:
        """Tell how a workflow ended, and with it the call that ran it."""
        self.wire.send("workflow-ended", id=holder.workflow_id, status=status, facts=facts)
        inner = self._inner.get(holder.workflow_id)
        if inner is not None:
            done = "Done" if status == "Succeeded" else status
            self.tell_call(inner.call, 1, executionStatus=done, end=now(), **facts)

    def blame(self, workflow_id: str, why: Failure) -> None:
        with self._lock:
            self._failures[workflow_id].append(why)

    def failures_of(self, workflow_id: str) -> list[Failure]:
        """Return what failed in a workflow: its calls, then the workflows within, nested."""
        with self._lock:
            own = list(self._failures[workflow_id])
            within = [
                inner.holder.workflow_id
                for inner in self._inner.values()
                if inner.call.holder.workflow_id == workflow_id
            ]
        nested = [failed(self.failures_of(one)) for one in within if self.failures_of(one)]
        return own + nested

    def close(self, aborted: bool) -> None:
        """Tell of the ends that only the run's end settles.

        Calls that ran on after a first failure may have failed as well, and an inner
        scatter, which miniwdl knows nothing of, is over when its run is.
        """
        for inner in list(self._inner.values()):
            causes = self.failures_of(inner.holder.workflow_id)
            if causes:
                self.leave(inner.holder, "Failed", failures=[failed(causes)])
            elif inner.scatter:
                self.leave(inner.holder, "Aborted" if aborted else "Succeeded")

    def tell_call(self, call: Call, attempt: int, **facts: Any) -> None:
        self.wire.send(
            "call",
            workflow=call.holder.workflow_id,
            fqn=call.fqn,
            shard=call.shard,
            attempt=attempt,
            facts=facts,
        )

    def remember(self, path: Path, url: str) -> str:
        """Note that a file of this machine is an object."""
        with self._lock:
            return self._urls.setdefault(str(path.resolve()), url)

    def url_of(self, path: str) -> str | None:
        with self._lock:
            return self._urls.get(str(Path(path).resolve()))

    def content_of(self, place: str) -> str:
        """Return the mark of a file's content: of an object its ETag.

        Raises
        ------
        Unreadable
            It is an object that cannot be read.
        """
        url = place if place.startswith("s3://") else self.url_of(place)
        if url is None:
            return hashlib.md5(Path(place).read_bytes(), usedforsecurity=False).hexdigest()
        if url not in self._content:
            self._content[url] = store.etag(url)
        return self._content[url]

    def know_content(self, url: str, mark: str) -> None:
        """Note that an object has the content of another; S3 may mark a copy otherwise."""
        self._content[url] = mark

    def as_urls(self, value: Any) -> Any:
        """Return JSON with every known file of this machine replaced by its object."""
        if isinstance(value, str):
            return (self.url_of(value) or value) if value.startswith("/") else value
        if isinstance(value, list):
            return [self.as_urls(item) for item in value]
        if isinstance(value, dict):
            return {key: self.as_urls(item) for key, item in value.items()}
        return value

    def upload(self, path: Path, url: str) -> str:
        """Store a file, or all files of a directory, unless it is an object already."""
        known = self.url_of(str(path))
        if known:
            return known
        if path.is_dir():
            for part in sorted(path.rglob("*")):
                if part.is_file():
                    store.put_file(f"{url}/{part.relative_to(path)}", part)
        else:
            store.put_file(url, path)
        return self.remember(path, url)


_current: Session | None = None


def begin(session: Session) -> None:
    global _current
    _current = session


def current() -> Session | None:
    """Return this process's run; `None` in any other use of miniwdl, where nothing is touched."""
    return _current


def inner_scatter_names(workflow: Any) -> dict[str, tuple[str, ...]]:
    """Return, for each call of a workflow, Cromwell's names of the inner scatters around it.

    Parameters
    ----------
    workflow : WDL.Tree.Workflow
        Scatters are told by their attributes, so that this module does not load the engine.
    """
    source = Path(workflow.pos.abspath)  # not a path where it was imported over the network
    lines = source.read_text().splitlines() if source.exists() else []
    names: dict[str, tuple[str, ...]] = {}

    def visit(nodes: list[Any], around: tuple[str, ...]) -> None:
        for node in nodes:
            if hasattr(node, "callee_id"):
                names[node.name] = around[1:]
            elif hasattr(node, "variable"):
                visit(node.body, (*around, _scatter_name(node.pos, lines)))
            elif hasattr(node, "body"):
                visit(node.body, around)

    visit(workflow.body, ())
    return names


def _scatter_name(pos: Any, lines: list[str]) -> str:
    """Name a scatter by the line and column of its variable (AstToScatterElement.scala)."""
    line = lines[pos.line - 1] if lines else ""
    head = re.compile(r"scatter\s*\(?\s*").match(line, pos.column - 1)
    return f"ScatterAt{pos.line}_{head.end() + 1 if head else pos.column}"
