"""How an engine talks to the server that started it: JSON lines over an inherited socket."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any


class Wire:
    """The engine's end of the socket.

    The server is the scheduler, so a job asks and waits for its "go", which may come
    with a fate. Losing the server means losing the scheduler: whatever runs is then ended.

    Parameters
    ----------
    sock : socket.socket
        Connected to the server.
    on_lost : callable
        Called, once, from the reading thread when the server is gone.
    """

    def __init__(self, sock: socket.socket, on_lost: Callable[[], None]) -> None:
        self._socket = sock
        self._sending = threading.Lock()
        self._gates: dict[str, threading.Event] = {}
        self._fates: dict[str, dict[str, Any]] = {}
        self._terminated: dict[str, str] = {}
        self._questions = itertools.count()
        self._asked: dict[int, threading.Event] = {}
        self._answers: dict[int, Any] = {}
        self._on_lost = on_lost
        threading.Thread(target=self._read, name="wire", daemon=True).start()

    def send(self, kind: str, **facts: Any) -> None:
        line = json.dumps({"kind": kind, **facts}) + "\n"
        with self._sending, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(line.encode())

    def ask(self, kind: str, **facts: Any) -> Any:
        """Send something that the server answers, and wait for that."""
        number = next(self._questions)
        self._asked[number] = threading.Event()
        self.send(kind, number=number, **facts)
        self._asked[number].wait()
        del self._asked[number]
        return self._answers.pop(number)

    def expect_go(self, job_id: str) -> None:
        """Listen for a job's turn; call it before the job is announced."""
        self._gates[job_id] = threading.Event()

    def wait_for_go(self, job_id: str, give_up: Callable[[], bool]) -> bool:
        """Wait until the scheduler lets a job start.

        `False` when the run gives up or the job is terminated first.
        """
        gate = self._gates[job_id]
        while not gate.wait(0.5):
            if give_up():
                break
        del self._gates[job_id]
        return gate.is_set() and not give_up() and not self.terminated(job_id)

    def fate_of(self, job_id: str) -> Mapping[str, Any]:
        """Return what was said with a job's "go": cruelties that will befall this attempt."""
        return self._fates.get(job_id, {})

    def terminated(self, job_id: str) -> str:
        """Return why somebody asked Batch to end a job; empty if nobody did."""
        return self._terminated.get(job_id, "")

    def _read(self) -> None:
        try:
            # A server that is killed before it has read all that was sent resets the connection,
            # or is in the middle of a line.
            with contextlib.suppress(OSError, ValueError), self._socket.makefile("rb") as lines:
                for line in lines:
                    self._hear(json.loads(line))
        finally:
            self._on_lost()

    def _hear(self, message: Mapping[str, Any]) -> None:
        if "answer" in message:
            self._answer(message)
            return
        if "terminate" in message:
            job_id = message["terminate"]
            self._terminated[job_id] = message["reason"]
        else:
            job_id = message["go"]
            self._fates[job_id] = message.get("fate", {})
        gate = self._gates.get(job_id)
        if gate:
            gate.set()

    def _answer(self, message: Mapping[str, Any]) -> None:
        self._answers[message["number"]] = message["answer"]
        self._asked[message["number"]].set()
