"""CloudFormation on a socket, as far as it tells of stacks: moto's needs packages of its own."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

_XMLNS = "http://cloudformation.amazonaws.com/doc/2010-05-15/"


@dataclass
class StacksStub:
    """Answers DescribeStacks and ListStackResources for the stacks it is given.

    Attributes
    ----------
    stacks : dict
        Name to outputs and parameters.
    resources : dict
        Name to what it is made of: logical to physical names.
    status : str
        Of every stack.
    refusal : tuple of str
        Code and message with which everything is refused, if there is one.
    """

    stacks: dict[str, tuple[Mapping[str, str], Mapping[str, str]]] = field(default_factory=dict)
    resources: dict[str, Mapping[str, str]] = field(default_factory=dict)
    status: str = "CREATE_COMPLETE"
    refusal: tuple[str, str] | None = None

    def __enter__(self) -> Self:
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                status, body = stub.answer(asked["Action"][0], asked["StackName"][0])
                self.send_response(status)
                self.send_header("Content-Type", "text/xml")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, action: str, name: str) -> tuple[int, bytes]:
        if self.refusal:
            return _refused(*self.refusal)
        if name not in self.stacks:
            return _refused("ValidationError", f"Stack with id {name} does not exist")
        if action == "ListStackResources":
            made = "".join(
                f"<member><LogicalResourceId>{logical}</LogicalResourceId>"
                f"<PhysicalResourceId>{escape(physical)}</PhysicalResourceId></member>"
                for logical, physical in self.resources.get(name, {}).items()
            )
            return _told(action, f"<StackResourceSummaries>{made}</StackResourceSummaries>")
        outputs, parameters = self.stacks[name]
        stack = (
            f"<StackName>{escape(name)}</StackName><StackStatus>{self.status}</StackStatus>"
            "<CreationTime>2025-11-01T10:00:00Z</CreationTime>"
            f"<Outputs>{_members('Output', outputs)}</Outputs>"
            f"<Parameters>{_members('Parameter', parameters)}</Parameters>"
        )
        return _told(action, f"<Stacks><member>{stack}</member></Stacks>")


def _told(action: str, result: str) -> tuple[int, bytes]:
    body = f"<{action}Result>{result}</{action}Result>"
    return 200, f'<{action}Response xmlns="{_XMLNS}">{body}</{action}Response>'.encode()


def _refused(code: str, message: str) -> tuple[int, bytes]:
    told = (
        f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    )
    return 400, f'<ErrorResponse xmlns="{_XMLNS}">{told}</ErrorResponse>'.encode()


def _members(kind: str, values: Mapping[str, str]) -> str:
    return "".join(
        f"<member><{kind}Key>{name}</{kind}Key><{kind}Value>{escape(value)}</{kind}Value></member>"
        for name, value in values.items()
    )
