"""What our client relies on, asked of a Cromwell: the local one, or any that CROMWELL_URL names.

The same tests for both, so that what holds of the local server is known to hold of the real
one. Against a real one, on AWS Batch, they run a handful of tiny jobs.
"""

from __future__ import annotations

import io
import os
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace

import boto3
import pytest

from dropwell.cromwell import Cromwell
from dropwell.errors import Refused, UnclearRefusal, UnknownRun
from dropwell.ports import Submission
from dropwell_local.cromwell.serve import LocalCromwell
from dropwell_local.cromwell.settings import Settings
from dropwell_local.emulator import CREDENTIALS, environment_of_owner, running_emulator
from tests.transformed import ROOT

BUCKET = "workflow-bucket"
PATIENCE_S = 1800.0
TASK = """task t {
  input { Int code  Int seconds = 0 }
  command <<< sleep ~{seconds}; echo done; exit ~{code} >>>
  output { String said = read_string(stdout()) }
  runtime { docker: "ubuntu:22.04" memory: "1 GB" cpu: 1 }
}
"""
MAIN = (
    "version 1.0\nworkflow w {\n  input { Int code  Int seconds = 0 }\n"
    "  call t { input: code = code, seconds = seconds }\n"
    "  output { String said = t.said }\n}\n" + TASK
)
OUTER = (
    'version 1.0\nimport "inner.wdl" as lib\n'
    "workflow outer { scatter (code in [3, 0]) { call lib.w { input: code = code } } }\n"
)
ENDED = ("Succeeded", "Failed", "Aborted")

# Where machines must first be found for jobs, a run takes minutes.
pytestmark = pytest.mark.timeout(2 * PATIENCE_S if "CROMWELL_URL" in os.environ else 120)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return where the Cromwell to ask is."""
    if named := os.environ.get("CROMWELL_URL"):
        yield named
        return
    python = ROOT / ".tools" / "emulator" / "bin" / "python"
    folder = tmp_path_factory.mktemp("cromwell")
    settings = Settings(
        data=folder,
        root=f"s3://{BUCKET}/cromwell-execution",
        script_bucket=BUCKET,
        events=(str(folder / "events.jsonl"),),
        launch_interval=0.05,
        visibility_lag=0.3,
        poll_lag=0.1,
    )
    with running_emulator(python=python, folder=tmp_path_factory.mktemp("aws")) as aws:
        session = boto3.session.Session(
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            region_name=CREDENTIALS["AWS_DEFAULT_REGION"],
        )
        session.client("s3", endpoint_url=aws).create_bucket(Bucket=BUCKET)
        with LocalCromwell(settings, env=environment_of_owner(aws)) as server:
            yield server.url


@pytest.fixture(scope="module")
def cromwell(url: str) -> Cromwell:
    return Cromwell(url)


def submission(source: str = MAIN, on_hold: bool = False, **inputs: int) -> Submission:
    return Submission(
        run_id=str(uuid.uuid4()),
        source=source,
        inputs={f"w.{name}": value for name, value in inputs.items()},
        options={"write_to_cache": False, "read_from_cache": False},
        labels={"dropwell-test": "contract"},
        on_hold=on_hold,
    )


def zipped(**files: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"{name}.wdl", text)
    return packed.getvalue()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    pause = 0.05
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(pause)
        pause = min(pause * 1.2, 10.0)


def status(cromwell: Cromwell, run_id: str) -> str:
    """Return a run's status, nothing as long as reads do not show it."""
    try:
        return cromwell.status(run_id)
    except UnknownRun:
        return ""


def ended(cromwell: Cromwell, run_id: str) -> str:
    until(lambda: status(cromwell, run_id) in ENDED)
    return cromwell.status(run_id)


def test_it_is_a_cromwell_that_lets_us_choose_ids(cromwell: Cromwell) -> None:
    assert int(cromwell.version().partition("-")[0]) >= 75


def test_a_run_is_followed_to_its_outputs(cromwell: Cromwell) -> None:
    posted = submission(code=0)

    assert cromwell.submit(posted) == "Submitted"
    assert ended(cromwell, posted.run_id) == "Succeeded"
    until(lambda: cromwell.outputs(posted.run_id) != {})

    assert cromwell.outputs(posted.run_id) == {"w.said": "done"}
    assert cromwell.statuses([posted.run_id, str(uuid.uuid4())]) == {posted.run_id: "Succeeded"}
    assert cromwell.failed_jobs(posted.run_id) == []
    assert cromwell.failures(posted.run_id) == ()


def test_sent_again_it_is_refused_and_known(cromwell: Cromwell) -> None:
    posted = submission(on_hold=True, code=0)
    cromwell.submit(posted)

    with pytest.raises(UnclearRefusal, match="already in use"):
        cromwell.submit(posted)

    until(lambda: status(cromwell, posted.run_id) == "On Hold")
    assert cromwell.abort(posted.run_id) == "Aborted"


def test_a_submission_that_breaks_a_rule_is_refused_with_it(cromwell: Cromwell) -> None:
    posted = replace(submission(code=0), options={"final_workflow_log_dir": None})

    with pytest.raises(Refused, match=r"^Error\(s\): Invalid workflow options provided: "):
        cromwell.submit(posted)

    with pytest.raises(UnknownRun):
        cromwell.status(posted.run_id)


def test_a_wdl_that_is_none_is_taken_and_fails_later(cromwell: Cromwell) -> None:
    posted = submission(source="version 1.0\nworkflow {")

    assert cromwell.submit(posted) == "Submitted"
    assert ended(cromwell, posted.run_id) == "Failed"
    until(lambda: cromwell.failures(posted.run_id) != ())
    assert cromwell.failed_jobs(posted.run_id) == []


def test_a_failed_call_is_told_whole(cromwell: Cromwell) -> None:
    posted = submission(code=3)
    cromwell.submit(posted)

    assert ended(cromwell, posted.run_id) == "Failed"
    until(lambda: len(cromwell.failed_jobs(posted.run_id)) == 1)
    [failed] = cromwell.failed_jobs(posted.run_id)

    assert (failed.fqn, failed.call_id.workflow_id) == ("w.t", posted.run_id)
    assert (failed.call_id.shard, failed.call_id.attempt) == (-1, 1)
    assert (failed.return_code, failed.execution_status) == (3, "Failed")
    assert failed.job_id
    assert failed.stderr.startswith("s3://")
    assert any("return code 3" in message for message in failed.messages)
    assert any("return code 3" in message for message in cromwell.failures(posted.run_id))


def test_a_shard_that_failed_inside_a_sub_workflow_is_found(cromwell: Cromwell) -> None:
    posted = replace(submission(source=OUTER), inputs={}, dependencies=zipped(inner=MAIN))
    cromwell.submit(posted)

    assert ended(cromwell, posted.run_id) == "Failed"
    until(lambda: len(cromwell.failed_jobs(posted.run_id)) == 1)
    [failed] = cromwell.failed_jobs(posted.run_id)

    assert failed.fqn == "w.t"
    assert failed.call_id.workflow_id != posted.run_id


def test_a_held_run_begins_when_it_is_let(cromwell: Cromwell) -> None:
    posted = submission(on_hold=True, code=0)
    assert cromwell.submit(posted) == "On Hold"
    until(lambda: status(cromwell, posted.run_id) == "On Hold")

    assert cromwell.release(posted.run_id) == "Submitted"
    assert ended(cromwell, posted.run_id) == "Succeeded"
    with pytest.raises(Refused, match="not in 'On Hold' state"):
        cromwell.release(posted.run_id)


def test_a_run_is_aborted_while_its_job_runs(cromwell: Cromwell) -> None:
    posted = submission(code=0, seconds=300)
    cromwell.submit(posted)
    until(lambda: status(cromwell, posted.run_id) == "Running")

    assert cromwell.abort(posted.run_id) == "Aborting"
    assert ended(cromwell, posted.run_id) == "Aborted"
    with pytest.raises(UnknownRun, match="no workflow with that ID is in progress"):
        cromwell.abort(posted.run_id)


def test_what_never_was_is_unknown(cromwell: Cromwell) -> None:
    nothing = str(uuid.uuid4())

    for ask in (cromwell.status, cromwell.outputs, cromwell.failures, cromwell.failed_jobs):
        with pytest.raises(UnknownRun, match=f"Unrecognized workflow ID: {nothing}"):
            ask(nothing)
    with pytest.raises(UnknownRun):
        cromwell.release(nothing)
    assert cromwell.statuses([nothing]) == {}


def test_an_id_that_is_none_is_refused(cromwell: Cromwell) -> None:
    with pytest.raises(Refused, match=r"^Invalid workflow ID: 'no id'\.$"):
        cromwell.status("no id")
