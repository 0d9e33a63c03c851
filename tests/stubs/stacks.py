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
    """Answers DescribeStacks for the stacks it is given: name to outputs and parameters."""

    stacks: dict[str, tuple[Mapping[str, str], Mapping[str, str]]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                status, body = stub.answer(asked["StackName"][0])
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

    def answer(self, name: str) -> tuple[int, bytes]:
        if name not in self.stacks:
            told = (
                "<Error><Type>Sender</Type><Code>ValidationError</Code>"
                f"<Message>Stack with id {escape(name)} does not exist</Message></Error>"
            )
            return 400, f'<ErrorResponse xmlns="{_XMLNS}">{told}</ErrorResponse>'.encode()
        outputs, parameters = self.stacks[name]
        stack = (
            f"<StackName>{escape(name)}</StackName><StackStatus>CREATE_COMPLETE</StackStatus>"
            "<CreationTime>2025-11-01T10:00:00Z</CreationTime>"
            f"<Outputs>{_members('Output', outputs)}</Outputs>"
            f"<Parameters>{_members('Parameter', parameters)}</Parameters>"
        )
        result = "DescribeStacksResult"
        body = f"<{result}><Stacks><member>{stack}</member></Stacks></{result}>"
        root = "DescribeStacksResponse"
        return 200, f'<{root} xmlns="{_XMLNS}">{body}</{root}>'.encode()


def _members(kind: str, values: Mapping[str, str]) -> str:
    return "".join(
        f"<member><{kind}Key>{name}</{kind}Key><{kind}Value>{escape(value)}</{kind}Value></member>"
        for name, value in values.items()
    )
