"""The form of Cromwell's answers: JSON, and its error body (ApiDataModels.scala)."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response


class Answer(Exception):
    """A request that ends in Cromwell's error body."""

    def __init__(self, code: int, message: str, status: str = "fail") -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


class JSONResponse(Response):
    """Compact JSON; half a character, which JSON can say and UTF-8 cannot, becomes ``?``."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        return text.encode(errors="replace")


def error_response(code: int, message: str, status: str = "fail") -> Response:
    body = json.dumps({"status": status, "message": message}, indent=2)
    return Response(body, code, media_type="application/json")
