"""Cromwell's REST interface: its routes, status codes and bodies (CromwellApiService.scala)."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from dropwell_local.cromwell import metadata, outages, query, submission
from dropwell_local.cromwell.batch_service import BatchService
from dropwell_local.cromwell.events import Outbox
from dropwell_local.cromwell.outages import Outages
from dropwell_local.cromwell.settings import Settings
from dropwell_local.cromwell.store import Store, Workflow
from dropwell_local.cromwell.workflows import InUse, Workflows

Endpoint = Callable[[Request], Awaitable[Response]]


class Answer(Exception):
    """A request that ends in Cromwell's error body."""

    def __init__(self, code: int, message: str, status: str = "fail") -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


def error_response(code: int, message: str, status: str = "fail") -> Response:
    body = json.dumps({"status": status, "message": message}, indent=2)
    return Response(body, code, media_type="application/json")


class Api:
    """The routes, over what the server knows."""

    def __init__(self, settings: Settings, store: Store, workflows: Workflows) -> None:
        self._settings = settings
        self._store = store
        self._workflows = workflows

    def routes(self) -> list[Route]:
        base = "/api/workflows/{version}"
        return [
            Route(base, self.submit, methods=["POST"]),
            Route(f"{base}/query", self.query, methods=["GET", "POST"]),
            Route(f"{base}/backends", self.backends),
            Route(f"{base}/{{id}}/status", self.status),
            Route(f"{base}/{{id}}/outputs", self.outputs),
            Route(f"{base}/{{id}}/logs", self.logs),
            Route(f"{base}/{{id}}/metadata", self.metadata),
            Route(f"{base}/{{id}}/metadata/failed-jobs", self.failed_jobs),
            Route(f"{base}/{{id}}/labels", self.labels, methods=["GET"]),
            Route(f"{base}/{{id}}/labels", self.change_labels, methods=["PATCH"]),
            Route(f"{base}/{{id}}/abort", self.abort, methods=["POST"]),
            Route(f"{base}/{{id}}/releaseHold", self.release, methods=["POST"]),
            Route("/engine/{version}/version", self.version),
            Route("/engine/{version}/status", self.engine_status),
            Route("/engine/{version}/stats", self.stats),
        ]

    async def submit(self, request: Request) -> Response:
        """Take a submission, or refuse it in Cromwell's words; the WDL is never looked at."""
        parts = await self._parts(request)
        try:
            posted = submission.read(parts)
            workflow_id, status = self._workflows.submit(posted)
        except submission.Rejected as problem:
            raise Answer(400, str(problem)) from problem
        except InUse as taken:
            message = f"Requested workflow IDs are already in use: {taken}"
            raise Answer(400, message) from taken
        response = JSONResponse({"id": workflow_id, "status": status}, 201)
        for warning in posted.warnings:
            response.headers.append("Warning", f'299 cromwell/92 "{warning}"')
        return response

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
                "The request's Content-Type is not supported. Expected:\nmultipart/form-data",
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
            try:
                asked = json.loads(await request.body())
                terms = [(key, str(value)) for one in asked for key, value in one.items()]
            except (ValueError, AttributeError, TypeError) as problem:
                detail = f"The request content was malformed:\n{problem}"
                raise HTTPException(400, detail) from problem
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
        workflow, asked = self._seen(request), request.query_params
        keep = metadata.keep_of(asked.getlist("includeKey"), asked.getlist("excludeKey"))
        expand = asked.get("expandSubWorkflows", "false").lower() == "true"
        return JSONResponse(metadata.metadata(self._store, workflow, keep, expand=expand))

    async def failed_jobs(self, request: Request) -> Response:
        return JSONResponse(metadata.failed_jobs(self._store, self._seen(request)))

    async def labels(self, request: Request) -> Response:
        return JSONResponse(metadata.labels(self._seen(request)))

    async def change_labels(self, request: Request) -> Response:
        workflow = self._seen(request)
        try:
            labels = submission.check_labels(json.loads(await request.body()))
        except ValueError as problem:
            raise HTTPException(400, f"The request content was malformed:\n{problem}") from problem
        except submission.Rejected as problem:
            raise Answer(400, str(problem).replace("\n", ", ")) from problem
        return JSONResponse({"id": workflow.id, "labels": self._store.label(workflow.id, labels)})

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
        allowed = (problem.headers or {}).get("Allow", "GET").replace("HEAD", "").strip(", ")
        detail = f"HTTP method not allowed, supported methods: {allowed}"
    return PlainTextResponse(detail, problem.status_code)


def make_app(settings: Settings) -> ASGIApp:
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
            store.close()

    service = BatchService(settings, workflows.records, workflows.terminate_job)
    app = Starlette(
        routes=[
            *Api(settings, store, workflows).routes(),
            *service.routes(),
            *outages.routes(workflows.chaos),
        ],
        exception_handlers={Answer: _answer, HTTPException: _http_error},
        lifespan=lifespan,
    )
    return Outages(app, workflows.chaos)
