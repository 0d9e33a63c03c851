"""The server in this process: bound to loopback, said ready once, stopped whole."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys

import uvicorn

from dropwell_local.cromwell.app import Closing, make_app
from dropwell_local.cromwell.settings import Settings
from dropwell_local.engine import processes
from dropwell_local.lifeline import end_with_stdin


class _Server(uvicorn.Server):
    """Says where it listens, as one line of JSON, once it does; says that it stops, as it does."""

    def __init__(self, config: uvicorn.Config, closing: Closing, notice: float) -> None:
        super().__init__(config)
        self._closing, self._notice = closing, notice

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        host, port = (sockets or [])[0].getsockname()
        line = json.dumps({"url": f"http://{host}:{port}", "pid": os.getpid()})
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Say for a while that it is shutting down, as Cromwell does, before nobody answers."""
        self._closing.begun = True
        await asyncio.sleep(self._notice)
        await super().shutdown(sockets)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    for ending in (signal.SIGTERM, signal.SIGINT):
        # uvicorn stops on them, then raises them once more: by then all is done.
        signal.signal(ending, lambda number, frame: None)
    processes.adopt_strays()  # what is left of a task whose engine died
    if settings.end_with_stdin:
        end_with_stdin()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", settings.port))
    app = make_app(settings)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=2,
        server_header=False,
    )
    asyncio.run(_Server(config, app, settings.shutdown_notice).serve(sockets=[listener]))
