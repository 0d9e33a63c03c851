"""Cromwell's REST interface: its routes, status codes and bodies (CromwellApiService.scala)."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import time
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from dropwell_local.cromwell import (
    describing,
    metadata,
    openapi,
    outages,
    query,
    snapshots,
    submission,
    timing,
)
from dropwell_local.cromwell.batch_service import BatchService
from dropwell_local.cromwell.events import Outbox
from dropwell_local.cromwell.outages import Outages
from dropwell_local.cromwell.responses import Answer, JSONResponse, error_response
from dropwell_local.cromwell.settings import Settings
from dropwell_local.cromwell.store import Store, Workflow
from dropwell_local.cromwell.workflows import InUse, Workflows

_UNSUPPORTED = "The request's Content-Type is not supported. Expected:\n{}"


class Api:
    """The routes, over what the server knows."""

    def __init__(self, settings: Settings, store: Store, workflows: Workflows) -> None:
        self._settings = settings
        self._store = store
        self._workflows = workflows

    def routes(self) -> list[Route]:
        base = "/api/workflows/{version}"
        one = f"{base}/{{id}}"
        wes = "/api/ga4gh/wes/v1"
        return [
            Route(base, self.submit, methods=["POST"]),
            Route(f"{base}/batch", self.submit_batch, methods=["POST"]),
            Route(f"{base}/query", self.query, methods=["GET", "POST"]),
            Route(f"{base}/backends", self.backends),
            Route(f"{base}/callcaching/diff", self.not_offered),
            Route(f"{one}/status", self.status),
            Route(f"{one}/outputs", self.outputs),
            Route(f"{one}/logs", self.logs),
            Route(f"{one}/metadata", self.metadata),
            Route(f"{one}/metadata/failed-jobs", self.failed_jobs),
            Route(f"{one}/labels", self.labels, methods=["GET", "PATCH"]),
            Route(f"{one}/timing", self.timing),
            Route(f"{one}/cost", self.not_offered),
            Route(f"{one}/abort", self.abort, methods=["POST"]),
            Route(f"{one}/releaseHold", self.release, methods=["POST"]),
            Route("/api/womtool/{version}/describe", self.describe, methods=["POST"]),
            Route(f"{wes}/service-info", self.wes_not_offered),
            Route(f"{wes}/runs", self.wes_not_offered, methods=["GET", "POST"]),
            Route(f"{wes}/runs/{{id}}", self.wes_not_offered),
            Route(f"{wes}/runs/{{id}}/status", self.wes_not_offered),
            Route(f"{wes}/runs/{{id}}/cancel", self.wes_not_offered, methods=["POST"]),
            Route("/engine/{version}/version", self.version),
            Route("/engine/{version}/status", self.engine_status),
            Route("/engine/{version}/stats", self.stats),
            Route("/", self.to_swagger),
            Route("/swagger", self.swagger),
            Route("/swagger/openapi.json", self.openapi),
            Route("/swagger/cromwell.yaml", self.openapi_yaml),
        ]

    async def submit(self, request: Request) -> Response:
        """Take a submission, or refuse it in Cromwell's words; the WDL is never looked at."""
        parts = await self._parts(request)
        taken, warnings = self._take(lambda: [submission.read(parts)])
        return _created(taken[0], warnings)

    async def submit_batch(self, request: Request) -> Response:
        """Take a workflow for each element of the inputs, all of them or none."""
        parts = await self._parts(request)
        taken, warnings = self._take(lambda: submission.read_batch(parts))
        return _created(taken, warnings)

    def _take(
        self, read: Callable[[], list[submission.Submission]]
    ) -> tuple[list[dict[str, str]], tuple[str, ...]]:
        try:
            posted = read()
            taken = self._workflows.submit(posted)
        except (submission.Rejected, InUse) as problem:
            raise Answer(400, str(problem)) from problem
        ids = [{"id": workflow_id, "status": status} for workflow_id, status in taken]
        return ids, posted[0].warnings

    async def _parts(self, request: Request) -> dict[str, bytes]:
        limit = self._settings.max_request_mib << 20
        length = int(request.headers.get("content-length", 0))
        if length > limit:
            raise HTTPException(
                413,
                f"EntityStreamSizeException: incoming entity size ({length}) exceeded size limit "
                f"({limit} bytes)! This may have been a parser limit (set via "
                "`akka.http.[server|client].parsing.max-content-length`), a decoder limit (set via "
                "`akka.http.routing.decode-max-size`), or a custom limit set with "
                "`withSizeLimit`.",
            )
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            raise HTTPException(
                415,
                _UNSUPPORTED.format("multipart/form-data"),
            )
        # A part need not say that it is a file to hold any bytes, such as a zip of
        # imports: read as latin-1, a text gives back exactly the bytes that were sent.
        headers = Headers({"content-type": f"{request.headers['content-type']}; charset=latin-1"})
        parser = MultiPartParser(
            headers, request.stream(), max_files=5000, max_fields=5000, max_part_size=limit
        )
        try:
            form = await parser.parse()
        except (MultiPartException, HTTPException) as problem:
            detail = getattr(problem, "detail", None) or getattr(problem, "message", "")
            raise HTTPException(400, f"The request content was malformed:\n{detail}") from problem
        parts: dict[str, bytes] = {}
        for name, value in form.multi_items():  # of parts with one name the last wins
            sent = await value.read() if isinstance(value, UploadFile) else value.encode("latin-1")
            parts[name] = sent
        await form.close()
        return parts

    async def query(self, request: Request) -> Response:
        terms = list(request.query_params.multi_items())
        if request.method == "POST":
            terms = []
            for one in await _json_of(request, list):
                terms += _strings(one).items()
        seen = [workflow for workflow in self._store.everything() if self._visible(workflow)]
        try:
            return JSONResponse(query.run(seen, terms))
        except query.BadQuery as problem:
            raise Answer(400, str(problem)) from problem

    async def status(self, request: Request) -> Response:
        return JSONResponse(metadata.status(self._seen(request)))

    async def outputs(self, request: Request) -> Response:
        return JSONResponse(metadata.outputs(self._seen(request)))

    async def logs(self, request: Request) -> Response:
        workflow = self._seen(request)
        return JSONResponse(metadata.logs(workflow, self._store.calls(workflow.id)))

    async def metadata(self, request: Request) -> Response:
        asked = request.query_params
        expand = _flag(asked.get("expandSubWorkflows"), "expandSubWorkflows")
        workflow = self._seen(request)
        excluded = asked.getlist("excludeKey")
        keep = metadata.keep_of(asked.getlist("includeKey"), excluded)
        told = metadata.metadata(
            self._store, workflow, keep, expand=expand, calls="calls" not in excluded
        )
        rows, limit = metadata.rows(told), self._settings.max_metadata_rows
        if rows > limit:
            raise Answer(
                500,
                f"Metadata for workflow {workflow.id} exists in database but cannot be served "
                f"because row count of {rows} exceeds configured limit of {limit}.",
                "error",
            )
        return _encoded(JSONResponse(told), request.headers.get("accept-encoding", ""))

    async def failed_jobs(self, request: Request) -> Response:
        return JSONResponse(metadata.failed_jobs(self._store, self._seen(request)))

    async def labels(self, request: Request) -> Response:
        if request.method == "PATCH":
            return await self._change_labels(request)
        return JSONResponse(metadata.labels(self._seen(request)))

    async def _change_labels(self, request: Request) -> Response:
        """Merge labels; of an id that is none this route alone says 500 (MetadataRouteSupport)."""
        given = _strings(await _json_of(request, dict))
        try:
            labels = submission.check_labels(given)
        except submission.Rejected as problem:
            raise Answer(400, str(problem).replace("\n", ",")) from problem
        try:
            workflow = self._seen(request)
        except Answer as answer:
            if answer.code == 400:
                raise Answer(500, answer.message, "error") from answer
            raise
        return JSONResponse({"id": workflow.id, "labels": self._store.label(workflow.id, labels)})

    async def timing(self, request: Request) -> Response:
        workflow = self._seen(request)
        return HTMLResponse(timing.page(workflow, self._store.calls(workflow.id), now=time.time()))

    async def abort(self, request: Request) -> Response:
        """Abort; unlike reads it does not wait for a submission to become visible."""
        workflow_id = self._id(request)
        status = self._workflows.abort(workflow_id)
        if status is None:
            raise Answer(
                404,
                f"Couldn't abort {workflow_id} because no workflow with that ID is in progress",
                "error",
            )
        return JSONResponse({"id": workflow_id, "status": status})

    async def release(self, request: Request) -> Response:
        workflow = self._seen(request)
        if not self._workflows.release(workflow.id):
            raise Answer(
                403,
                f"Couldn't change status of workflow {workflow.id} to 'Submitted' because the "
                "workflow is not in 'On Hold' state",
                "error",
            )
        return JSONResponse({"id": workflow.id, "status": "Submitted"})

    async def backends(self, request: Request) -> Response:
        return JSONResponse({"supportedBackends": ["AWSBATCH"], "defaultBackend": "AWSBATCH"})

    async def version(self, request: Request) -> Response:
        return JSONResponse({"cromwell": "92"})

    async def engine_status(self, request: Request) -> Response:
        return JSONResponse({})

    async def stats(self, request: Request) -> Response:
        raise Answer(403, "The /stats endpoint is currently disabled.")

    async def describe(self, request: Request) -> Response:
        """Say what a WDL is and whether it is valid; imports cannot be given, as in Cromwell."""
        parts = await self._parts(request)
        texts = {name: value.decode(errors="replace") for name, value in parts.items()}
        source, url = texts.get("workflowSource"), texts.get("workflowUrl")
        if source is not None and url is not None:
            raise Answer(400, "Both workflow source and url can't be supplied")
        if url is not None:
            raise Answer(501, "The local Cromwell describes no workflow by its URL.", "error")
        if source is None:
            raise Answer(400, "Either workflow source or url has to be supplied")
        inputs = texts.get("workflowInputs", "")
        return JSONResponse(await run_in_threadpool(describing.describe, source, inputs))

    async def not_offered(self, request: Request) -> Response:
        raise Answer(501, "The local Cromwell does not offer this route.", "error")

    async def wes_not_offered(self, request: Request) -> Response:
        told = {"msg": "The local Cromwell does not offer WES.", "status_code": 501}
        return JSONResponse(told, 501)

    async def to_swagger(self, request: Request) -> Response:
        return RedirectResponse("/swagger")

    async def swagger(self, request: Request) -> Response:
        return HTMLResponse(openapi.page())

    async def openapi(self, request: Request) -> Response:
        return JSONResponse(openapi.document())

    async def openapi_yaml(self, request: Request) -> Response:
        return Response(openapi.as_yaml(), media_type="application/yaml")

    def _id(self, request: Request) -> str:
        given = request.path_params["id"]
        workflow_id = submission.parse_id(given)
        if workflow_id is None:
            raise Answer(400, f"Invalid workflow ID: '{given}'.")
        return workflow_id

    def _seen(self, request: Request) -> Workflow:
        """Return the workflow asked for, once Cromwell's summary would show it."""
        workflow_id = self._id(request)
        workflow = self._store.get(workflow_id)
        if workflow is None or not self._visible(workflow):
            raise Answer(404, f"Unrecognized workflow ID: {workflow_id}")
        return workflow

    def _visible(self, workflow: Workflow) -> bool:
        if workflow.parent:
            return True
        return time.time() - workflow.submitted_at >= self._settings.visibility_lag


def _created(told: object, warnings: tuple[str, ...]) -> Response:
    response = JSONResponse(told, 201)
    for warning in warnings:
        response.headers.append("Warning", f'299 cromwell/92 "{warning}"')
    return response


async def _json_of(request: Request, kind: type) -> Any:
    """Return a request's body as spray reads it, or answer as akka-http does."""
    body = await request.body()
    if not body:
        raise HTTPException(400, "Request entity expected but not supplied")
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, _UNSUPPORTED.format("application/json"))
    try:
        value = submission.loads(body)
    except ValueError as problem:
        raise _malformed(str(problem)) from problem
    if not isinstance(value, kind):
        raise _malformed(f"Expected a JSON {'array' if kind is list else 'object'}")
    return value


def _strings(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _malformed(f"Expected Map as JsObject, but got {json.dumps(value)}")
    for one in value.values():
        if not isinstance(one, str):
            raise _malformed(f"Expected String as JsString, but got {json.dumps(one)}")
    return value


def _malformed(why: str) -> HTTPException:
    return HTTPException(400, f"The request content was malformed:\n{why}")


def _flag(value: str | None, name: str) -> bool:
    """Read a flag of a query as akka-http does (PredefinedFromStringUnmarshallers.scala)."""
    if value is None or value.lower() in ("false", "no", "off", "0"):
        return False
    if value.lower() in ("true", "yes", "on", "1"):
        return True
    raise HTTPException(
        400,
        f"The query parameter '{name}' was malformed:\n'{value}' is not a valid Boolean value",
    )


def _encoded(response: Response, accepted: str) -> Response:
    """Compress an answer, if the client takes that."""
    wanted = {one.partition(";")[0].strip().lower() for one in accepted.split(",")}
    if "gzip" in wanted:
        response.body, name = gzip.compress(response.body, 5), "gzip"
    elif "deflate" in wanted:
        response.body, name = zlib.compress(response.body, 5), "deflate"
    else:
        return response
    response.headers["Content-Encoding"] = name
    response.headers["Content-Length"] = str(len(response.body))
    return response


async def _answer(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Answer)
    return error_response(problem.code, problem.message, problem.status)


async def _http_error(request: Request, problem: Exception) -> Response:
    """Say what akka-http itself says: plain text."""
    assert isinstance(problem, HTTPException)
    detail = problem.detail
    if problem.status_code == 404:
        detail = "The requested resource could not be found."
    if problem.status_code == 405:
        allow = (problem.headers or {}).get("Allow", "GET")
        allowed = sorted({one.strip() for one in allow.split(",")} - {"HEAD", ""})
        detail = f"HTTP method not allowed, supported methods: {', '.join(allowed)}"
    return PlainTextResponse(detail.encode(errors="replace"), problem.status_code)


class Closing:
    """Answers 503 to whatever would ask the engine, once the server is told to stop."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if self.begun and scope["type"] == "http" and scope["path"].startswith("/api/"):
            app = error_response(503, "Cromwell service is shutting down.")
        await app(scope, receive, send)


def make_app(settings: Settings) -> Closing:
    """Return the application; its store, engines and outbox live as long as it is served."""
    settings.data.mkdir(parents=True, exist_ok=True)
    store = Store(Path(settings.data) / "cromwell.sqlite")
    outbox = Outbox(settings.events, patience=settings.delivery_patience, logs=settings.logs)
    workflows = Workflows(settings, store, outbox)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        workflows.start()
        try:
            yield
        finally:
            await workflows.stop()
            outbox.close()
            await asyncio.sleep(0)  # what it sent last is noted
            store.close()

    service = BatchService(settings, workflows.records, workflows.terminate_job)
    app = Starlette(
        routes=[
            *Api(settings, store, workflows).routes(),
            *service.routes(),
            *outages.routes(workflows.chaos),
            *snapshots.routes(workflows),
        ],
        exception_handlers={Answer: _answer, HTTPException: _http_error},
        lifespan=lifespan,
    )
    return Closing(Outages(app, workflows.chaos))
