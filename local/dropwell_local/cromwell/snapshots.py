"""Setting the server back, on demand, to what it knew at an earlier time."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from dropwell_local.cromwell.workflows import Workflows

ADMIN_PATH = "/dropwell/snapshots"
"""Where snapshots are made and returned to. No path of Cromwell's."""


def routes(workflows: Workflows) -> list[Route]:
    """Return the routes that make a snapshot and that return to one."""

    async def save(request: Request) -> Response:
        name = request.path_params["name"]
        try:
            workflows.save_as(name)
        except ValueError as problem:
            return PlainTextResponse(f"{problem}\n", 400)
        return JSONResponse({"snapshot": name}, 201)

    async def restore(request: Request) -> Response:
        name = request.path_params["name"]
        try:
            await workflows.return_to(name)
        except ValueError as problem:
            return PlainTextResponse(f"{problem}\n", 400)
        except FileNotFoundError:
            return PlainTextResponse(f"There is no snapshot {name}.\n", 404)
        return JSONResponse({"snapshot": name})

    one = f"{ADMIN_PATH}/{{name}}"
    return [
        Route(one, save, methods=["POST"]),
        Route(f"{one}/restore", restore, methods=["POST"]),
    ]
