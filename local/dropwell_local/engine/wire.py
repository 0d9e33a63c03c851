"""How an engine talks to the server that started it: JSON lines over an inherited socket."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from typing import Any


class Wire:
    """The engine's end of the socket.

    The server is the scheduler, so a job asks and waits for its "go". Losing the
    server means losing the scheduler: whatever runs is then ended.

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
        self._on_lost = on_lost
        threading.Thread(target=self._read, name="wire", daemon=True).start()

    def send(self, kind: str, **facts: Any) -> None:
        line = json.dumps({"kind": kind, **facts}) + "\n"
        with self._sending, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(line.encode())

    def expect_go(self, job_id: str) -> None:
        """Listen for a job's turn; call it before the job is announced."""
        self._gates[job_id] = threading.Event()

    def wait_for_go(self, job_id: str, give_up: Callable[[], bool]) -> bool:
        """Wait until the scheduler lets a job start; `False` when the run gives up first."""
        gate = self._gates[job_id]
        while not gate.wait(0.5):
            if give_up():
                break
        del self._gates[job_id]
        return gate.is_set() and not give_up()

    def _read(self) -> None:
        with self._socket.makefile("rb") as lines:
            for line in lines:
                gate = self._gates.get(json.loads(line)["go"])
                if gate:
                    gate.set()
        self._on_lost()
