"""The local Cromwell as a process of its own, started from Python."""

from __future__ import annotations

import contextlib
import json
import select
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from dropwell_local import LocalFailure
from dropwell_local.cromwell.settings import Settings

_START_S = 30.0
_STOP_S = 25.0


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

    Raises
    ------
    CromwellFailed
        It did not come up; the text has the end of its log.
    """

    def __init__(
        self, settings: Settings, *, env: dict[str, str] | None = None, log: Path | None = None
    ) -> None:
        self.settings = settings
        self.url = ""
        self._env = env
        self._log = log or settings.data / "cromwell.log"
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> LocalCromwell:
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
            self.stop()
            tail = self._log.read_text(errors="replace")[-2000:]
            raise CromwellFailed(f"The local Cromwell did not start:\n{tail}")
        self.url = json.loads(line)["url"]
        return self

    def stop(self) -> None:
        """Stop it and everything that it runs."""
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
