"""A Cromwell that cannot be reached or talks nonsense for a while, and the dial of all chaos."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dropwell_local.cromwell import chaos

ADMIN_PATH = "/dropwell/chaos"
"""Where the dial is: GET shows it, PUT turns it. No path of Cromwell's."""

_CROMWELLS = ("/api/", "/engine/", "/swagger")
_SLOW_S = 3.0
_HTML = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>\n"
_BROKEN = '{\n  "status": "error",\n  "message": "Database is not available"\n}'


class Outages:
    """An application in front of another, which answers in its place while there is an outage.

    Parameters
    ----------
    app : ASGIApp
        The server as it should be.
    dial : Dial
        What is on; off, a request costs one look at it.
    """

    def __init__(self, app: ASGIApp, dial: chaos.Dial) -> None:
        self._app = app
        self._dial = dial

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        now = self._dial.now
        if not now.shares or scope["type"] != "http" or not scope["path"].startswith(_CROMWELLS):
            await self._app(scope, receive, send)
            return
        match now.outage(self._dial.seconds):
            case "down":
                await _hang_up(receive, send)
            case "error":
                response = Response(_BROKEN, 500, media_type="application/json")
                await response(scope, receive, send)
            case "html":
                await HTMLResponse(_HTML, 502)(scope, receive, send)
            case "truncate":
                await self._truncate(scope, receive, send)
            case "slow":
                await asyncio.sleep(_SLOW_S)
                await self._app(scope, receive, send)
            case _:
                await self._app(scope, receive, send)

    async def _truncate(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Do what is asked, then hang up in the middle of the answer."""

        async def half(message: Message) -> None:
            if message["type"] == "http.response.body" and message.get("body"):
                body = message["body"]
                await send({**message, "body": body[: len(body) // 2], "more_body": True})
                await _hang_up(receive, send)
            else:
                await send(message)

        await self._app(scope, receive, half)


async def _hang_up(receive: Receive, send: Send) -> None:
    """Close the connection as a process that died would; nothing after this is answered.

    ASGI has no word for that, so the connection is asked of uvicorn's own `send`.
    """
    transport: Any = send.__self__.transport  # type: ignore[attr-defined]
    await asyncio.sleep(0.05)  # what was written before is on its way
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass


def routes(dial: chaos.Dial) -> list[Route]:
    """Return the route that shows and turns the dial."""

    async def show(request: Request) -> Response:
        return JSONResponse({"chaos": str(dial.now)})

    async def turn(request: Request) -> Response:
        try:
            dial.turn(chaos.parse((await request.body()).decode()))
        except ValueError as problem:
            return PlainTextResponse(f"{problem}\n", 400)
        return await show(request)

    return [Route(ADMIN_PATH, show, methods=["GET"]), Route(ADMIN_PATH, turn, methods=["PUT"])]
