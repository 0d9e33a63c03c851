"""An engine's end of the socket to its server."""

from __future__ import annotations

import socket
import threading

import pytest

from dropwell_local.engine.wire import Wire


@pytest.fixture
def ends() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair()


@pytest.mark.parametrize("last", [b"", b'{"go": "j'], ids=["at rest", "in mid-line"])
def test_a_server_that_dies_is_noticed_with_words_unread(
    ends: tuple[socket.socket, socket.socket], last: bytes
) -> None:
    ours, theirs = ends
    lost = threading.Event()
    wire = Wire(theirs, on_lost=lost.set)
    wire.send("job", event="running", id="j")
    ours.sendall(last)

    ours.close()  # with what was sent unread, so that the connection is reset

    assert lost.wait(5)
    theirs.close()


def test_a_question_is_answered(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    lost = threading.Event()
    wire = Wire(theirs, on_lost=lost.set)
    answers: list[object] = []
    asking = threading.Thread(target=lambda: answers.append(wire.ask("cached", key="k")))
    asking.start()
    with ours.makefile("rb") as asked:
        assert asked.readline() == b'{"kind": "cached", "number": 0, "key": "k"}\n'

    ours.sendall(b'{"number": 0, "answer": {"code": 3}}\n')

    asking.join(5)
    assert answers == [{"code": 3}]
    ours.close()
    assert lost.wait(5)
    theirs.close()
