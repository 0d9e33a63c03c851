"""What the operator sets for a project, on the stack as it is deployed."""

from __future__ import annotations

import json

from tests.e2e.inbox import PLACED, Inbox, hello


def test_a_run_works_where_the_operator_put_its_project(inbox: Inbox) -> None:
    """The function's own role reads the file; Cromwell follows it; the mails come as ever."""
    s3, workflows = inbox.stack.client("s3"), inbox.stack.outputs["WorkflowBucket"]
    asked = {"aws_s3_root": f"s3://{workflows}/of-oncology"}
    files = {**hello("placed"), "options.json": asked}
    run_id = inbox.drop("placed", files, project=PLACED)
    assert inbox.end_of(run_id) == "COMPLETE"
    receipt = json.loads(inbox.read(f"runs/{PLACED}/placed/{run_id}/receipt.json"))
    assert receipt["labels"] == {"cost-center": "4711"}
    root = f"s3://{workflows}/of-{PLACED}"
    assert f'the operator sets "{root}" for this project' in receipt["warnings"][0]
    placed = s3.list_objects_v2(Bucket=workflows, Prefix=f"of-{PLACED}/placed/{run_id}/")
    assert any(found["Key"].endswith("-rc.txt") for found in placed["Contents"])
    assert "Contents" not in s3.list_objects_v2(Bucket=workflows, Prefix="of-oncology/")
    assert [mail.attributes["kind"] for mail in inbox.mails(run_id)] == ["accepted", "ended"]
