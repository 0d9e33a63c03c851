"""A real local Cromwell over emulated S3, SQS, EventBridge and CloudWatch Logs."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from dropwell_local.cromwell.serve import LocalCromwell
from dropwell_local.cromwell.settings import Settings
from dropwell_local.emulator import CREDENTIALS, environment_of_owner, running_emulator

BUCKET = "workflow-bucket"
EMULATOR = Path(__file__).parents[3] / ".tools" / "emulator" / "bin" / "python"
ENDED = ("Succeeded", "Failed", "Aborted")


@dataclass
class Cromwell:
    """A running server, and how to speak to it."""

    url: str
    pid: int
    data: Path
    objects: Any
    http: httpx.Client

    def post(self, path: str = "", **parts: Any) -> httpx.Response:
        return self.http.post(f"{self.url}/api/workflows/v1{path}", files=parts or None)

    def get(self, path: str, **query: Any) -> httpx.Response:
        return self.http.get(f"{self.url}/api/workflows/v1/{path}", params=query)

    def submit(
        self,
        source: str,
        inputs: dict[str, Any] | None = None,
        imports: dict[str, str] | None = None,
        **parts: Any,
    ) -> str:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name, text in (imports or {}).items():
                archive.writestr(name, text)
        if imports:
            parts["workflowDependencies"] = packed.getvalue()
        answer = self.post(workflowSource=source, workflowInputs=json.dumps(inputs or {}), **parts)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def status(self, run_id: str) -> str:
        return str(self.get(f"{run_id}/status").json().get("status", ""))

    def wait(self, run_id: str, *statuses: str) -> str:
        """Wait until a run has ended, or come to a status."""
        until(lambda: self.status(run_id) in (statuses or ENDED))
        return self.status(run_id)

    def metadata(self, run_id: str, **query: Any) -> Any:
        return self.get(f"{run_id}/metadata", **query).json()

    def calls(self, run_id: str) -> Any:
        return self.metadata(run_id)["calls"]

    def keys(self, run_id: str) -> list[str]:
        """Return what lies below a run's root, in the order in which it was written."""
        root = self.metadata(run_id)["workflowRoot"].removeprefix(f"s3://{BUCKET}/")
        pages = self.objects.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=root)
        found = [one for page in pages for one in page.get("Contents", [])]
        found.sort(key=lambda one: one["LastModified"])
        return [one["Key"].removeprefix(root) for one in found]

    def read(self, url: str) -> str:
        bucket, _, key = url.removeprefix("s3://").partition("/")
        return str(self.objects.get_object(Bucket=bucket, Key=key)["Body"].read().decode())

    def events(self, run_id: str | None = None) -> list[dict[str, Any]]:
        """Return the details of Batch's events, of one run or all, as they were sent."""
        return self._told("Batch Job State Change", run_id)

    def blocked(self, run_id: str) -> list[dict[str, Any]]:
        """Return the details of the events that call the queue blocked for a run's jobs."""
        return self._told("Batch Job Queue Blocked", run_id)

    def _told(self, kind: str, run_id: str | None) -> list[dict[str, Any]]:
        file = self.data / "events.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        told = [json.loads(line) for line in lines]
        details: list[dict[str, Any]] = [
            one["detail"] for one in told if one["detail-type"] == kind
        ]
        root = "cromwell-root-workflow-id"
        return [one for one in details if run_id in (None, one["tags"].get(root))]


def until(condition: Callable[[], bool], patience: float = 30) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("emulator")
    with running_emulator(python=EMULATOR, folder=folder) as url:
        yield url


@pytest.fixture(scope="session")
def aws(emulator: str) -> Callable[[str], Any]:
    session = boto3.session.Session(
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        region_name=CREDENTIALS["AWS_DEFAULT_REGION"],
    )
    return lambda service: session.client(  # type: ignore[call-overload]
        service, endpoint_url=emulator
    )


@pytest.fixture(scope="session")
def objects(aws: Callable[[str], Any]) -> Any:
    client = aws("s3")
    client.create_bucket(Bucket=BUCKET)
    client.put_object(Bucket=BUCKET, Key="data/lines.txt", Body=b"one\ntwo\nthree\n")
    return client


Start = Callable[..., AbstractContextManager[LocalCromwell]]


@pytest.fixture(scope="session")
def start(emulator: str, objects: Any) -> Start:
    """Return what makes a server; it must be used as a context manager."""

    def start(data: Path, **settings: Any) -> LocalCromwell:
        quick = {"launch_interval": 0.05, "visibility_lag": 0.0, "poll_lag": 0.1}
        quick["isolation"] = "none"  # what is installed here is to change nothing
        return LocalCromwell(
            Settings(
                data=data,
                root=f"s3://{BUCKET}/cromwell-execution",
                script_bucket=BUCKET,
                **{"events": (str(data / "events.jsonl"),), **quick, **settings},
            ),
            env=environment_of_owner(emulator),
        )

    return start


@pytest.fixture(scope="session")
def speak_to(objects: Any) -> Iterator[Callable[[LocalCromwell], Cromwell]]:
    # One client for all: each new one would read the machine's certificates again.
    with httpx.Client(timeout=20) as http:
        yield lambda server: Cromwell(server.url, server.pid, server.settings.data, objects, http)


@pytest.fixture(scope="module")
def cromwell(
    start: Start,
    speak_to: Callable[[LocalCromwell], Cromwell],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cromwell]:
    """Return a quick server of the test module's own."""
    with start(tmp_path_factory.mktemp("cromwell"), max_workflows=3) as server:
        yield speak_to(server)


@pytest.fixture(scope="module")
def waiting(
    start: Start,
    speak_to: Callable[[LocalCromwell], Cromwell],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cromwell]:
    """Return a server that launches nothing, so that what is submitted stays so."""
    with start(tmp_path_factory.mktemp("waiting"), max_workflows=0) as server:
        yield speak_to(server)
