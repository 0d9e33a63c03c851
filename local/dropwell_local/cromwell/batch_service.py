"""The Batch API, as far as anything here asks it: DescribeJobs, ListJobs, TerminateJob."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dropwell_local.cromwell import batch
from dropwell_local.cromwell.settings import Settings

_MOST_DESCRIBED = 100
_MOST_LISTED = 100
_STATUSES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")


class _ClientException(Exception):
    """A request that Batch refuses."""


class BatchService:
    """The REST-JSON operations over what Batch remembers.

    Parameters
    ----------
    settings : Settings
        Names in ARNs.
    records : Records
        The jobs.
    terminate : callable
        Told the id and the reason of a job to be ended.
    """

    def __init__(
        self, settings: Settings, records: batch.Records, terminate: Callable[[str, str], None]
    ) -> None:
        self._settings = settings
        self._records = records
        self._terminate = terminate

    def routes(self) -> list[Route]:
        operations = {
            "describejobs": self._describe_jobs,
            "listjobs": self._list_jobs,
            "terminatejob": self._terminate_job,
        }
        return [
            Route(f"/v1/{name}", _endpoint(operation), methods=["POST"])
            for name, operation in operations.items()
        ]

    def _describe_jobs(self, asked: dict[str, Any]) -> dict[str, Any]:
        ids = asked.get("jobs")
        if not isinstance(ids, list) or len(ids) > _MOST_DESCRIBED:
            raise _ClientException(f"jobs must be a list of up to {_MOST_DESCRIBED} job ids")
        found = [self._records.get(_plain_id(one)) for one in ids]
        return {"jobs": [batch.description(one, self._settings) for one in found if one]}

    def _list_jobs(self, asked: dict[str, Any]) -> dict[str, Any]:
        queue, status = asked.get("jobQueue"), asked.get("jobStatus", "RUNNING")
        if queue not in (self._settings.queue, self._settings.queue_arn):
            raise _ClientException(f"Job queue {queue} does not exist")
        if status not in _STATUSES:
            raise _ClientException(f"{status} is no job status")
        start, most = int(asked.get("nextToken") or 0), int(asked.get("maxResults") or _MOST_LISTED)
        found = [one for one in self._records if one.status == status]
        page = found[start : start + most]
        answer = {"jobSummaryList": [batch.summary(one, self._settings) for one in page]}
        more = {"nextToken": str(start + most)} if start + most < len(found) else {}
        return {**answer, **more}

    def _terminate_job(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Ask for a job's end; of one that has ended or is not known Batch says nothing."""
        if not asked.get("jobId") or not asked.get("reason"):
            raise _ClientException("jobId and reason are required")
        job = self._records.get(_plain_id(asked["jobId"]))
        if job is not None and not job.ended:
            self._terminate(job.id, str(asked["reason"]))
        return {}


def _plain_id(given: object) -> str:
    """Return the id of a job named by its id or its ARN."""
    return str(given).rpartition("/")[2]


def _endpoint(operation: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    async def endpoint(request: Request) -> Response:
        try:
            asked = json.loads(await request.body() or b"{}")
            if not isinstance(asked, dict):
                raise _ClientException("the request is no JSON object")
            return JSONResponse(operation(asked))
        except (_ClientException, ValueError) as problem:
            refusal = {"message": str(problem)}
            return JSONResponse(refusal, 400, {"x-amzn-errortype": "ClientException"})

    return endpoint
