from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.inbox import Inbox, eventually, zipped

EVENTS = Path(__file__).parents[2] / "events"

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


def submitters(inbox: Inbox) -> list[psutil.Process]:
    """Return the processes that run the submitter now."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            name = process.environ().get("AWS_LAMBDA_FUNCTION_NAME")
            if name == inbox.stack.outputs["SubmitterFunction"]:
                found.append(process)
    return found


def test_a_drop_that_is_told_of_twenty_times_is_one_run(inbox: Inbox) -> None:
    drop = inbox.put(
        "inbox/demo/told_often.zip", zipped({"main.wdl": HELLO.format(name="told_often")})
    )
    event = json.loads((EVENTS / "s3_drop.json").read_text())
    told = event["Records"][0]["s3"]
    told["bucket"] |= {"name": drop.bucket, "arn": f"arn:aws:s3:::{drop.bucket}"}
    told["object"] |= {"key": drop.key, "versionId": drop.version_id, "size": drop.size}
    for _ in range(2):
        inbox.stack.client("sqs").send_message_batch(
            QueueUrl=inbox.stack.outputs["DropQueue"],
            Entries=[{"Id": str(number), "MessageBody": json.dumps(event)} for number in range(10)],
        )
    assert inbox.end_of(drop.run_id) == "COMPLETE"
    assert [workflow["id"] for workflow in inbox.workflows("told_often")] == [drop.run_id]
    assert [mail.attributes["kind"] for mail in inbox.mails(drop.run_id)] == ["accepted", "ended"]


@pytest.mark.parametrize("after", [0.0, 0.03, 0.1])
def test_a_submitter_that_is_killed_leaves_one_run(inbox: Inbox, after: float) -> None:
    name = f"killed_{int(after * 1000)}"
    run_id = inbox.drop(name, {"main.wdl": HELLO.format(name=name)})
    eventually(lambda: inbox.state(run_id), within=20, what="the run's record")
    time.sleep(after)
    killed = submitters(inbox)
    for process in killed:
        process.kill()
    assert killed
    assert inbox.end_of(run_id, within=150) == "COMPLETE"
    assert [workflow["id"] for workflow in inbox.workflows(name)] == [run_id]
    assert [mail.attributes["kind"] for mail in inbox.mails(run_id)] == ["accepted", "ended"]
