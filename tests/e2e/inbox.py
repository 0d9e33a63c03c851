"""What a user of the stack does and sees: drops bundles, waits, reads mails and files."""

from __future__ import annotations

import contextlib
import io
import json
import time
import urllib.parse
import urllib.request
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import psutil
from boto3.dynamodb.types import TypeDeserializer

from dropwell.drops import Drop
from dropwell.projects import PROJECTS_FILE
from dropwell_cli.doctor import Finding
from dropwell_cli.examining import examine
from dropwell_cli.places import local_place
from dropwell_local.mailbox import Mail
from dropwell_local.stack import LocalStack

EVENTS = Path(__file__).parents[2] / "events"

ENDED = {"COMPLETE", "EXECUTOR_ERROR", "SYSTEM_ERROR", "CANCELED", "REJECTED"}

PLACED = "placed"
"""The project for which the operator has set something."""

HELLO = """\
version 1.0

workflow {name} {{
  call greet
}}

task greet {{
  command <<< echo hello >>>
  output {{ String greeting = read_string(stdout()) }}
  runtime {{ docker: "debian:12" }}
}}
"""

Seen = TypeVar("Seen")


def eventually(look: Callable[[], Seen | None], *, within: float, what: str) -> Seen:
    """Look again and again until there is something to see, and return it."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if seen := look():
            return seen
        time.sleep(0.2)
    raise AssertionError(f"not within {within:.0f} s: {what}")


def zipped(files: Mapping[str, object]) -> bytes:
    """Return a zip of files; what is no text is written as JSON."""
    folded = io.BytesIO()
    with zipfile.ZipFile(folded, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            archive.writestr(path, text)
    return folded.getvalue()


def hello(name: str) -> dict[str, object]:
    """Return the files of a bundle that needs nothing; its workflow has that name."""
    return {"main.wdl": HELLO.format(name=name)}


class Inbox:
    """The inbox of one running stack."""

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        self.bucket = stack.outputs["InboxBucket"]
        self._s3 = stack.client("s3")
        self._table = stack.client("dynamodb")

    def drop(self, name: str, files: Mapping[str, object], *, project: str = "demo") -> str:
        """Drop a zip of files and return the run's id."""
        return self.put(f"inbox/{project}/{name}.zip", zipped(files)).run_id

    def put(self, key: str, body: bytes) -> Drop:
        """Put an object into the inbox bucket and return which drop it is."""
        put = self._s3.put_object(Bucket=self.bucket, Key=key, Body=body)
        return Drop(bucket=self.bucket, key=key, version_id=put["VersionId"], size=len(body))

    def items(self, run_id: str) -> dict[str, dict[str, Any]]:
        """Return everything the table knows of a run, by sort key."""
        plain = TypeDeserializer().deserialize
        pages = self._table.get_paginator("query").paginate(
            TableName=self.stack.outputs["Table"],
            KeyConditionExpression="pk = :run",
            ExpressionAttributeValues={":run": {"S": run_id}},
        )
        found = [item for page in pages for item in page["Items"]]
        items = [{name: plain(value) for name, value in item.items()} for item in found]
        return {item["sk"]: item for item in items}

    def state(self, run_id: str) -> str:
        return str(self.items(run_id).get("RUN", {}).get("state", ""))

    def sweep(self, *, asking: str = "") -> None:
        """Let the sweep look now, as its schedule would within the minute.

        Parameters
        ----------
        asking : str
            A run that Cromwell is to be asked about now, not when its turn comes.
        """
        if asking and self.items(asking).get("RUN", {}).get("due_kind") == "POLL":
            self._table.update_item(
                TableName=self.stack.outputs["Table"],
                Key={"pk": {"S": asking}, "sk": {"S": "RUN"}},
                UpdateExpression="SET due_at = :now",
                ExpressionAttributeValues={":now": {"N": str(int(time.time()))}},
            )
        self.stack.client("lambda").invoke(
            FunctionName=self.stack.outputs["StatusWatcherFunction"],
            Payload=(EVENTS / "schedule_tick.json").read_bytes(),
        )

    def end_of(self, run_id: str, *, within: float = 60, sweeping: bool = False) -> str:
        """Wait until a run has ended and its readers have heard; return its state."""

        def told() -> str | None:
            if sweeping:
                self.sweep()
            state = self.state(run_id)
            said = {mail.attributes["kind"] for mail in self.mails(run_id)}
            return state if state in ENDED and said & {"ended", "rejected"} else None

        return eventually(told, within=within, what=f"the end of {run_id}")

    def mails(self, run_id: str) -> list[Mail]:
        """Return the mails so far that speak of a run."""
        return [mail for mail in self.stack.mails() if run_id in mail.text]

    def events(self, run_id: str) -> list[dict[str, Any]]:
        """Return what machines were told of a run so far."""
        told = [event["detail"]["data"] for event in self.stack.events()]
        return [data for data in told if data.get("run_id") == run_id]

    def workflows(self, name: str) -> list[dict[str, Any]]:
        """Return what Cromwell knows of the workflows of a WDL name."""
        query = urllib.parse.urlencode({"name": name})
        url = f"{self.stack.cromwell_url}/api/workflows/v1/query?{query}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)["results"]
        return found

    def keys(self, prefix: str) -> list[str]:
        """Return the keys of the inbox bucket under a prefix."""
        listed = self._s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix)
        return [entry["Key"] for entry in listed.get("Contents", [])]

    def read(self, key: str) -> str:
        body = self._s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return str(body.decode())

    def jobs(self, run_id: str) -> Counter[str]:
        """Count the jobs of a run by status, from their own items."""
        return Counter(
            item["status"] for key, item in self.items(run_id).items() if key.startswith("JOB#")
        )

    def looked(self) -> dict[str, Finding]:
        """Return what the doctor finds in the stack, by name."""
        return {one.name: one for one in examine(local_place(self.stack), clock=time.time)}

    def place_a_project(self) -> None:
        """Let the operator give one project a root and a label of its own."""
        root = f"s3://{self.stack.outputs['WorkflowBucket']}/of-{PLACED}"
        page = {"projects": {PLACED: {"s3_root": root, "labels": {"cost-center": "4711"}}}}
        self._s3.put_object(Bucket=self.bucket, Key=PROJECTS_FILE, Body=json.dumps(page))

    def submitters(self) -> list[psutil.Process]:
        """Return the processes that run the submitter now."""
        found = []
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                name = process.environ().get("AWS_LAMBDA_FUNCTION_NAME")
                if name == self.stack.outputs["SubmitterFunction"]:
                    found.append(process)
        return found

    def assert_one_run(self, name: str, run_id: str) -> None:
        """Assert that a drop became one run, told of once, and that its bundle is kept."""
        assert self.state(run_id) == "COMPLETE"
        assert [workflow["id"] for workflow in self.workflows(name)] == [run_id]
        assert [mail.attributes["kind"] for mail in self.mails(run_id)] == ["accepted", "ended"]
        kept = {key.rpartition("/")[2] for key in self.keys(f"runs/demo/{name}/{run_id}/")}
        assert {"bundle.zip", "receipt.json", "status.json", "outputs.json"} <= kept
        assert self.keys(f"inbox/demo/{name}.zip") == []
