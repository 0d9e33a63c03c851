"""Every refusal of Cromwell's interface, from one table that cites where each is written."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from .conftest import Cromwell

TABLE = json.loads((Path(__file__).parents[2] / "data" / "cromwell_errors.json").read_text())
SOURCE = "version 1.0\nworkflow w {}"


@pytest.fixture(scope="module")
def ids(waiting: Cromwell) -> dict[str, str]:
    """Return the ids that rows name."""
    known, ended = waiting.submit(SOURCE), waiting.submit(SOURCE)
    waiting.post(f"/{ended}/abort")
    return {"known": known, "ended": ended, "unknown": "abcdef00-0000-4000-8000-000000000000"}


@pytest.mark.parametrize("row", TABLE["rows"], ids=lambda row: row["name"])
def test_a_refusal(waiting: Cromwell, ids: dict[str, str], row: dict[str, Any]) -> None:
    fill = filler({**ids, "new": str(uuid.uuid4())})
    answer = ask(waiting, fill(row["request"]))

    assert answer.status_code == row["code"], answer.text
    if "text" in row:
        assert answer.headers["content-type"].startswith("text/plain")
        assert re.fullmatch(row["text"], answer.text, re.DOTALL), answer.text
        return
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert told["status"] == row["status"]
    if "pattern" in row:
        assert re.fullmatch(row["pattern"], told["message"], re.DOTALL), told["message"]
    else:
        assert told["message"] == fill(row["message"])


def test_every_row_cites_its_source() -> None:
    assert all(row["source"] for row in TABLE["rows"])
    assert len({row["name"] for row in TABLE["rows"]}) == len(TABLE["rows"])


def filler(ids: dict[str, str]) -> Callable[[Any], Any]:
    """Return what puts ids, as they are and in capitals, in the place of their names."""
    names = {**ids, **{name.upper(): value.upper() for name, value in ids.items()}}

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: fill(one) for key, one in value.items()}
        if isinstance(value, list):
            return [fill(one) for one in value]
        if isinstance(value, str):
            for name, workflow_id in names.items():
                value = value.replace(f"{{{name}}}", workflow_id)
        return value

    return fill


def ask(cromwell: Cromwell, request: dict[str, Any]) -> httpx.Response:
    parts = {name: (None, text) for name, text in request.get("parts", {}).items()}
    return cromwell.http.request(
        request["method"],
        cromwell.url + request["path"],
        files=parts or None,
        json=request.get("json"),
        content=request.get("body"),
        headers=request.get("headers"),
    )
