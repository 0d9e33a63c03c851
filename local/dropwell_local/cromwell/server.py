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

from dropwell_local.cromwell.app import make_app
from dropwell_local.cromwell.settings import Settings
from dropwell_local.engine import processes
from dropwell_local.lifeline import end_with_stdin


class _Server(uvicorn.Server):
    """Says where it listens, as one line of JSON, once it does."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        host, port = (sockets or [])[0].getsockname()
        line = json.dumps({"url": f"http://{host}:{port}", "pid": os.getpid()})
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


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
    config = uvicorn.Config(
        make_app(settings),
        log_level="warning",
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=2,
        server_header=False,
    )
    asyncio.run(_Server(config).serve(sockets=[listener]))
