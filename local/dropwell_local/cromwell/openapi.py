"""The local Cromwell's interface as an OpenAPI document, and a page that shows it."""

from __future__ import annotations

import io
from html import escape
from typing import Any

Json = dict[str, Any]

_ID = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "format": "uuid"},
    "description": "A workflow's id, in capitals or not.",
}
_VERSION = {
    "name": "version",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "default": "v1", "pattern": "^v[0-9]$"},
    "description": "Any one segment; its value is ignored.",
}
_TEXT = {"type": "string"}
_STRINGS = {"type": "object", "additionalProperties": _TEXT}
_ANYTHING: Json = {"type": "object"}
_ERROR = {
    "type": "object",
    "required": ["status", "message"],
    "properties": {"status": {"enum": ["fail", "error"]}, "message": _TEXT},
}
_STATUS = {
    "type": "object",
    "required": ["id", "status"],
    "properties": {"id": {"type": "string", "format": "uuid"}, "status": _TEXT},
}
_SOURCE = ("workflowSource", "workflowInputs", "workflowType", "workflowTypeVersion")
_SUBMISSION_PARTS = (
    *_SOURCE,
    "workflowUrl",
    "workflowRoot",
    "workflowInputs_2",
    "workflowOptions",
    "labels",
    "workflowDependencies",
    "workflowOnHold",
    "requestedWorkflowId",
)
_SUBMISSION = {"type": "object", "properties": dict.fromkeys(_SUBMISSION_PARTS, _TEXT)}
_DESCRIPTION = {"type": "object", "properties": dict.fromkeys(_SOURCE, _TEXT)}
_QUERY_KEYS = (
    ("submission", "date-time"),
    ("start", "date-time"),
    ("end", "date-time"),
    ("name", ""),
    ("id", "uuid"),
    ("status", ""),
    ("label", ""),
    ("labelor", ""),
    ("excludelabeland", ""),
    ("excludelabelor", ""),
    ("metadataArchiveStatus", ""),
    ("includeSubworkflows", ""),
    ("additionalQueryResultFields", ""),
    ("page", ""),
    ("pagesize", ""),
    ("newestFirst", ""),
)


def document() -> Json:
    """Return the document.

    >>> "/engine/{version}/version" in document()["paths"]
    True
    """
    base = "/api/workflows/{version}"
    one = f"{base}/{{id}}"
    queried = {"schema": {"type": "object", "required": ["results", "totalResultsCount"]}}
    metadata = [
        _many("includeKey"),
        _many("excludeKey"),
        _option("expandSubWorkflows", {"type": "boolean"}),
    ]
    paths = {
        base: {"post": _act("Submit a workflow", 201, _STATUS, form=_SUBMISSION)},
        f"{base}/batch": {
            "post": _act(
                "Submit a workflow for each element of workflowInputs",
                201,
                {"type": "array", "items": _STATUS},
                form=_SUBMISSION,
            )
        },
        f"{base}/query": {
            "get": _read("Find workflows", queried["schema"], _query_keys()),
            "post": _act(
                "Find workflows", 200, queried["schema"], body={"type": "array", "items": _STRINGS}
            ),
        },
        f"{base}/backends": {"get": _read("Backends", _ANYTHING)},
        f"{base}/callcaching/diff": {"get": _missing("Compare two calls' hashes")},
        f"{one}/status": {"get": _read("A workflow's status", _STATUS)},
        f"{one}/outputs": {"get": _read("Its outputs so far", _ANYTHING)},
        f"{one}/logs": {"get": _read("Where its calls' streams lie", _ANYTHING)},
        f"{one}/metadata": {"get": _read("All that is known of it", _ANYTHING, metadata)},
        f"{one}/metadata/failed-jobs": {"get": _read("Its failed calls", _ANYTHING)},
        f"{one}/labels": {
            "get": _read("Its labels", _ANYTHING),
            "patch": _act("Add labels to it; 500 for an id that is none", 200, _ANYTHING, _STRINGS),
        },
        f"{one}/timing": {"get": _page("Its calls as bars")},
        f"{one}/cost": {"get": _missing("Its cost")},
        f"{one}/abort": {"post": _act("Stop it", 200, _STATUS)},
        f"{one}/releaseHold": {"post": _act("Let it begin", 200, _STATUS)},
        "/api/womtool/{version}/describe": {
            "post": _act("Describe a WDL", 200, _ANYTHING, form=_DESCRIPTION)
        },
        "/engine/{version}/version": {"get": _read("Cromwell's version", _ANYTHING)},
        "/engine/{version}/status": {"get": _read("Its health", _ANYTHING)},
        "/engine/{version}/stats": {"get": _answers("Disabled", {403: _ERROR})},
    }
    for path, operations in paths.items():
        always = [_VERSION] * ("{version}" in path) + [_ID] * ("{id}" in path)
        for operation in operations.values():
            operation["parameters"] = [*always, *operation.get("parameters", [])]
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "Local Cromwell",
            "version": "92",
            "description": "What Dropwell's local stack answers in the place of Cromwell 92. "
            "Routes that say 501 are Cromwell's and not offered here.",
        },
        "paths": paths,
    }


def as_yaml() -> str:
    """Return the document as YAML."""
    from ruamel.yaml import YAML

    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.representer.ignore_aliases = lambda data: True
    written = io.StringIO()
    writer.dump(document(), written)
    return written.getvalue()


def page() -> str:
    """Return a page that lists the routes."""
    rows = "\n".join(
        f"<tr><td>{method.upper()}</td><td><code>{escape(path)}</code></td>"
        f"<td>{escape(operation['summary'])}</td></tr>"
        for path, operations in document()["paths"].items()
        for method, operation in operations.items()
    )
    return (
        "<html><head><meta charset='utf-8'><title>Local Cromwell</title><style>"
        "body { font: 14px/1.6 system-ui, sans-serif; margin: 2em; } td { padding-right: 1.5em; }"
        "</style></head><body><h1>Local Cromwell</h1>"
        f"<table>{rows}</table>"
        "<p>The same for programs: <a href='/swagger/openapi.json'>JSON</a>, "
        "<a href='/swagger/cromwell.yaml'>YAML</a>.</p></body></html>"
    )


def _answers(summary: str, bodies: dict[int, Any], **more: Any) -> Json:
    responses = {
        str(code): {
            "description": "Done" if code < 300 else "Refused, with the reason",
            "content": {"application/json": {"schema": schema}},
        }
        for code, schema in bodies.items()
    }
    return {"summary": summary, "responses": responses, **more}


def _read(summary: str, schema: Json, parameters: list[Json] | None = None) -> Json:
    bodies = {200: schema, 400: _ERROR, 404: _ERROR, 503: _ERROR}
    return _answers(summary, bodies, parameters=parameters or [])


def _act(
    summary: str, code: int, schema: Json, body: Json | None = None, form: Json | None = None
) -> Json:
    told = _answers(summary, {code: schema, 400: _ERROR, 404: _ERROR, 403: _ERROR, 503: _ERROR})
    for media_type, what in (("application/json", body), ("multipart/form-data", form)):
        if what is not None:
            told["requestBody"] = {"required": True, "content": {media_type: {"schema": what}}}
    return told


def _missing(summary: str) -> Json:
    return _answers(f"{summary} (not offered here)", {501: _ERROR})


def _page(summary: str) -> Json:
    told = _read(summary, _ANYTHING)
    told["responses"]["200"]["content"] = {"text/html": {"schema": _TEXT}}
    return told


def _option(name: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "schema": schema}


def _many(name: str, schema: Json = _TEXT) -> Json:
    return _option(name, {"type": "array", "items": schema})


def _query_keys() -> list[Json]:
    return [
        _many(name, {**_TEXT, **({"format": form} if form else {})}) for name, form in _QUERY_KEYS
    ]
