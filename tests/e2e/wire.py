"""The wire between the functions and Cromwell: posts are counted, and stopped where a test asks."""

from __future__ import annotations

import http.client
import select
import socket
import threading
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import urlsplit

SUBMISSIONS = "/api/workflows/v1"


class Point(Enum):
    """How far a post has come when it is stopped."""

    BEFORE_CROMWELL = "sent, and not yet with Cromwell"
    AFTER_CROMWELL = "answered by Cromwell, and the answer not yet with the sender"


@dataclass
class Post:
    """One submission on the wire; `status` is Cromwell's answer, if it was asked."""

    body: bytes
    status: int | None = None


@dataclass
class Stop:
    """Where the first post that has a word in it is stopped."""

    word: bytes
    point: Point
    post: Post | None = None
    _arrived: threading.Event = field(default_factory=threading.Event)
    _goes_on: threading.Event = field(default_factory=threading.Event)
    _delivered: bool = False
    _sender: socket.socket | None = None

    def wait(self) -> Post:
        """Wait until a post is stopped here."""
        assert self._arrived.wait(30), f"no post of {self.word!r}"
        assert self.post is not None
        return self.post

    def sender_gone(self, within: float) -> bool:
        """Return whether the sender's end of the connection closes within some seconds."""
        assert self._sender is not None
        readable, _, _ = select.select([self._sender], [], [], within)
        try:
            return bool(readable) and self._sender.recv(1, socket.MSG_PEEK) == b""
        except ConnectionResetError:
            return True

    def let_go(self, *, deliver: bool) -> None:
        """Let the post, or its answer, go on; or drop it."""
        self._delivered = deliver
        self._goes_on.set()

    def hold(self, post: Post, sender: socket.socket) -> bool:
        """Keep a post here until it may go on; return whether it is to be delivered."""
        self.post, self._sender = post, sender
        self._arrived.set()
        self._goes_on.wait()
        return self._delivered


class Wire:
    """A proxy on a socket of this machine, for as long as a `with` block lasts."""

    def __init__(self) -> None:
        self.cromwell = ""
        self.posts: list[Post] = []
        self._stops: list[Stop] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def of(self, run_id: str) -> list[Post]:
        """Return every post of a run, in the order they were sent."""
        return [post for post in self.posts if run_id.encode() in post.body]

    def stop(self, word: str, point: Point) -> Stop:
        """Stop the next post that has a word in it."""
        stop = Stop(word.encode(), point)
        with self._lock:
            self._stops.append(stop)
        return stop

    def sent(self, body: bytes) -> tuple[Post, Stop | None]:
        """Write down a post; return where it is to be stopped."""
        post = Post(body)
        with self._lock:
            self.posts.append(post)
            here = next((stop for stop in self._stops if stop.word in body), None)
            if here:
                self._stops.remove(here)
        return post, here

    def __enter__(self) -> Wire:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(wire: Wire) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(*self._ask(b""))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path != SUBMISSIONS:
                self._answer(*self._ask(body))
                return
            post, stop = wire.sent(body)
            before = stop if stop and stop.point is Point.BEFORE_CROMWELL else None
            after = stop if stop and stop.point is Point.AFTER_CROMWELL else None
            if before and not before.hold(post, self.connection):
                self.close_connection = True
                return
            answer = self._ask(body)
            post.status = answer[0]
            if after and not after.hold(post, self.connection):
                self.close_connection = True
                return
            self._answer(*answer)

        def _ask(self, body: bytes) -> tuple[int, str, bytes]:
            cromwell = http.client.HTTPConnection(urlsplit(wire.cromwell).netloc, timeout=60)
            try:
                headers = {name: word for name, word in self.headers.items() if name != "Host"}
                cromwell.request(self.command, self.path, body, headers)
                answer = cromwell.getresponse()
                return answer.status, answer.headers.get("Content-Type", ""), answer.read()
            finally:
                cromwell.close()

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            try:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # nobody waits for it any more

        def log_message(self, format: str, *words: object) -> None:
            """Say nothing."""

    return Handler
