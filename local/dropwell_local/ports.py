"""Free ports of the loopback address."""

from __future__ import annotations

import socket
from types import TracebackType

LOOPBACK = "127.0.0.1"


class ReservedPort:
    """A free port that nobody else is given while it is held.

    The stack must know where Cromwell will listen before it can start it: the
    address is a parameter of the deployment, and Cromwell's bucket a result.

    >>> with ReservedPort() as port, ReservedPort() as other:
    ...     port.number != other.number
    True
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind((LOOPBACK, 0))

    @property
    def number(self) -> int:
        return int(self._socket.getsockname()[1])

    def release(self) -> int:
        """Let the port go, right before its user takes it, and return its number."""
        number = self.number
        self._socket.close()
        return number

    def __enter__(self) -> ReservedPort:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()
