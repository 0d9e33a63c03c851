"""The log of one try of a job, as CloudWatch would have it: its script's own words, both streams.

The words are those of AwsBatchJob.scala. A stream's lines come while the job runs, of many at
once the last.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from dropwell_local.engine.endings import Ending

_TAIL = 64 << 10
"""Bytes of each stream that go to the log at once."""
_EVERY_S = 2.0
_LAST_WORDS = (
    "DELOCALIZATION RESULT: 0",
    "*** COMPLETED DELOCALIZATION ***",
    "*** EXITING WITH RETURN CODE ***",
)


class JobLog:
    """What a try of a job says, written to a file as it is said.

    Parameters
    ----------
    file : Path
        Where it is written.
    stdout, stderr : Path
        The command's streams.
    """

    def __init__(self, file: Path, *, stdout: Path, stderr: Path) -> None:
        self.file = file
        self._streams = (stdout, stderr)
        self._head, self._foot = ["*** LOCALIZING INPUTS ***"], list[str]()
        self._head_written = 0
        self._read: dict[Path, int] = {}
        self._written_at = time.monotonic()

    def localized(self) -> None:
        self._head.append("*** COMPLETED LOCALIZATION ***")

    def delocalizing(self) -> None:
        self._foot.append("*** DELOCALIZING OUTPUTS ***")

    def ended(self, ending: Ending) -> None:
        """Say what the script says at such an end."""
        if ending.rc is None:
            self._head += ending.log
        elif ending.log:
            self._foot += ending.log
        else:
            self._foot += [*_LAST_WORDS, str(ending.rc)]

    def goes_on(self) -> bool:
        """Write what the command has written since, now and then; return whether it has."""
        if time.monotonic() < self._written_at + _EVERY_S:
            return False
        self._written_at = time.monotonic()
        news = b"".join(self._news(path) for path in self._streams)
        if news:
            self._write(news)
        return bool(news)

    def finish(self) -> None:
        """Write the rest."""
        rest = b"".join(self._news(path, to_the_end=True) for path in self._streams)
        self._write(rest + _lines(self._foot))

    def _write(self, text: bytes) -> None:
        with self.file.open("ab" if self._head_written else "wb") as file:
            file.write(_lines(self._head[self._head_written :]) + text)
        self._head_written = len(self._head)

    def _news(self, path: Path, *, to_the_end: bool = False) -> bytes:
        """Return the whole lines of a stream that are not logged yet, of many the last."""
        if not path.exists():
            return b""
        with path.open("rb") as stream:
            stream.seek(max(self._read.get(path, 0), path.stat().st_size - _TAIL))
            text = stream.read()
            end = stream.tell()
        if to_the_end:
            return text if not text or text.endswith(b"\n") else text + b"\n"
        whole, newline, begun = text.rpartition(b"\n")
        if newline:
            self._read[path] = end - len(begun)
        return whole + newline


def _lines(some: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in some).encode()
