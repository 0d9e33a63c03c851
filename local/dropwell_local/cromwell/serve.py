"""The local Cromwell as a process of its own, started from Python."""

from __future__ import annotations

import contextlib
import json
import select
import signal
import subprocess
import sys
import threading
import urllib.parse
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from dropwell_local import LocalFailure
from dropwell_local.cromwell.settings import Settings

_START_S = 30.0
_STOP_S = 25.0
_PAUSE_S = 0.5


class CromwellFailed(LocalFailure):
    """The server did not come up; the text has the end of its log."""


class LocalCromwell:
    """The server as a process of its own, for as long as a ``with`` block lasts.

    Parameters
    ----------
    settings : Settings
        What it is told.
    env : dict, optional
        The process's environment: ``AWS_ENDPOINT_URL``, credentials and region. By
        default this process's.
    log : Path, optional
        Where its words go; by default ``cromwell.log`` in its data folder.
    supervised : bool
        Whether it is started again, at the same address, should it end by itself or be killed.

    Raises
    ------
    CromwellFailed
        It did not come up; the text has the end of its log.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        env: dict[str, str] | None = None,
        log: Path | None = None,
        supervised: bool = False,
    ) -> None:
        self.settings = settings
        self.url = ""
        self._supervised = supervised
        self._stopping, self._turn = threading.Event(), threading.Lock()
        self._env = env
        self._log = log or settings.data / "cromwell.log"
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> LocalCromwell:
        self._start()
        if self._supervised:
            port = urllib.parse.urlsplit(self.url).port or 0
            self.settings = replace(self.settings, port=port)
            threading.Thread(target=self._supervise, name="supervisor", daemon=True).start()
        return self

    def _supervise(self) -> None:
        while True:
            if self._process is not None:
                self._process.wait()
            if self._stopping.wait(_PAUSE_S):
                return
            with self._turn:
                if not self._stopping.is_set():
                    self._end()
                    with contextlib.suppress(CromwellFailed):  # its log has why; and so once more
                        self._start()

    def _start(self) -> None:
        self.settings.data.mkdir(parents=True, exist_ok=True)
        words = replace(self.settings, end_with_stdin=True).arguments()
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dropwell_local.cromwell", *words],
                env=self._env,
                stdin=subprocess.PIPE,  # it ends when this process does, however that ends
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _START_S)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            self._end()
            tail = self._log.read_text(errors="replace")[-2000:]
            raise CromwellFailed(f"The local Cromwell did not start:\n{tail}")
        self.url = json.loads(line)["url"]

    def stop(self) -> None:
        """Stop it and everything that it runs."""
        self._stopping.set()
        with self._turn:
            self._end()

    def _end(self) -> None:
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()  # its engines see the socket close, and end
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        self._process = None

    def __enter__(self) -> LocalCromwell:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
