"""What the operator sets for a project, on the stack as it is deployed."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from dropwell.projects import PROJECTS_FILE
from tests.e2e.inbox import Inbox, hello


@pytest.fixture
def root(inbox: Inbox) -> Iterator[str]:
    """Let the operator give the project a root of its own, and take it away afterwards."""
    root = f"s3://{inbox.stack.outputs['WorkflowBucket']}/of-cardio"
    page = {"projects": {"cardio": {"s3_root": root, "labels": {"cost-center": "4711"}}}}
    s3 = inbox.stack.client("s3")
    s3.put_object(Bucket=inbox.bucket, Key=PROJECTS_FILE, Body=json.dumps(page))
    for process in inbox.submitters():  # a warm one may have looked just now, for a minute
        process.kill()
    yield root
    s3.delete_object(Bucket=inbox.bucket, Key=PROJECTS_FILE)


def test_a_run_works_where_the_operator_put_its_project(inbox: Inbox, root: str) -> None:
    """The function's own role reads the file; Cromwell follows it; the mails come as ever."""
    s3, workflows = inbox.stack.client("s3"), inbox.stack.outputs["WorkflowBucket"]
    asked = {"aws_s3_root": f"s3://{workflows}/of-oncology"}
    files = {**hello("placed"), "options.json": asked}
    run_id = inbox.drop("placed", files, project="cardio")
    assert inbox.end_of(run_id) == "COMPLETE"
    receipt = json.loads(inbox.read(f"runs/cardio/placed/{run_id}/receipt.json"))
    assert receipt["labels"] == {"cost-center": "4711"}
    assert f'the operator sets "{root}" for this project' in receipt["warnings"][0]
    placed = s3.list_objects_v2(Bucket=workflows, Prefix=f"of-cardio/placed/{run_id}/")
    assert any(found["Key"].endswith("-rc.txt") for found in placed["Contents"])
    assert "Contents" not in s3.list_objects_v2(Bucket=workflows, Prefix="of-oncology/")
    assert [mail.attributes["kind"] for mail in inbox.mails(run_id)] == ["accepted", "ended"]
