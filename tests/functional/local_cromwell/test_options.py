"""What a workflow's options ask for is done: when its last job has ended, or when one fails."""

from __future__ import annotations

import json
from typing import Any

from .conftest import BUCKET, Cromwell, until
from .test_running import COHORT, SUB

PLACE = f"s3://{BUCKET}/final"
FILES = """version 1.0
workflow w {
  scatter (i in [0, 1]) { call t { input: i = i } }
  output { Array[File] files = t.file  String place = "s3://nowhere/at/all" }
}
task t {
  input { Int i }
  command <<< mkdir out; echo ~{i} > out/~{NAME}.txt >>>
  output { File file = "out/~{NAME}.txt" }
  runtime { docker: "ubuntu:22.04" memory: "256 MB" }
}
"""
DISTINCT, SAME = FILES.replace("~{NAME}", "~{i}"), FILES.replace("~{NAME}", "one")


def ended(cromwell: Cromwell, source: str, **options: Any) -> tuple[str, str]:
    """Run a workflow; return its id and how it ended."""
    run_id = cromwell.submit(source, workflowOptions=json.dumps(options))
    return run_id, cromwell.wait(run_id)


def below(cromwell: Cromwell, place: str) -> list[str]:
    prefix = place.removeprefix(f"s3://{BUCKET}/") + "/"
    found = cromwell.objects.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    return sorted(one["Key"].removeprefix(prefix) for one in found)


def test_outputs_are_copied_with_their_folders(cromwell: Cromwell) -> None:
    run_id, status = ended(cromwell, SAME, final_workflow_outputs_dir=f"{PLACE}/whole/")

    assert status == "Succeeded"
    assert below(cromwell, f"{PLACE}/whole") == [
        f"w/{run_id}/call-t/shard-{i}/out/one.txt" for i in (0, 1)
    ]
    outputs = cromwell.metadata(run_id)["outputs"]
    assert outputs["w.files"][0].startswith(f"s3://{BUCKET}/cromwell-execution/w/")


def test_outputs_are_copied_without_their_calls_folders(cromwell: Cromwell) -> None:
    place = f"{PLACE}/flat"
    options = {"final_workflow_outputs_dir": place, "use_relative_output_paths": True}
    _, status = ended(cromwell, DISTINCT, **options)

    assert status == "Succeeded"
    assert below(cromwell, place) == ["out/0.txt", "out/1.txt"]
    assert cromwell.read(f"{place}/out/1.txt") == "1\n"


def test_two_outputs_for_one_place_fail_the_run(cromwell: Cromwell) -> None:
    place = f"{PLACE}/clash"
    options = {"final_workflow_outputs_dir": place, "use_relative_output_paths": True}
    run_id, status = ended(cromwell, SAME, **options)

    assert status == "Failed"
    (failure,) = cromwell.metadata(run_id)["failures"]
    assert failure["message"].startswith(
        "Cannot copy output files to given final_workflow_outputs_dir as multiple files will be "
        "copied to the same path: \n"
    )
    assert failure["message"].endswith(f"shard-1/out/one.txt -> {place}/out/one.txt")
    assert below(cromwell, place) == []
    assert cromwell.metadata(run_id)["outputs"]["w.files"]


def test_a_place_that_is_not_on_s3_fails_the_run_that_has_outputs(cromwell: Cromwell) -> None:
    run_id, status = ended(cromwell, DISTINCT, final_workflow_outputs_dir="/home/me")

    assert status == "Failed"
    (failure,) = cromwell.metadata(run_id)["failures"]
    assert failure["message"].startswith('Could not build the path "/home/me".')


def test_a_bucket_that_is_not_there_fails_the_run(cromwell: Cromwell) -> None:
    run_id, status = ended(cromwell, DISTINCT, final_workflow_outputs_dir="s3://no-such-bucket/a")

    assert status == "Failed"
    (failure,) = cromwell.metadata(run_id)["failures"]
    assert "NoSuchBucket" in failure["message"]


def test_streams_and_the_workflows_log_are_kept_of_a_failed_run_too(cromwell: Cromwell) -> None:
    options = {"final_call_logs_dir": f"{PLACE}/logs", "final_workflow_log_dir": f"{PLACE}/log"}
    run_id = cromwell.submit(
        COHORT,
        {"cohort.samples": ["bad"]},
        {"lib/per_sample.wdl": SUB},
        workflowOptions=json.dumps(options),
    )

    assert cromwell.wait(run_id) == "Failed"
    sub_id = cromwell.calls(run_id)["cohort.per_sample"][0]["subWorkflowId"]
    call = f"cohort/{run_id}/call-per_sample/shard-0/per_sample/{sub_id}/call-describe"
    assert below(cromwell, f"{PLACE}/logs") == [
        f"{call}/describe-stderr.log",
        f"{call}/describe-stdout.log",
    ]
    kept = f"{PLACE}/log/workflow.{run_id}.log"
    until(lambda: cromwell.metadata(run_id).get("workflowLog") == kept)  # after the end is shown
    assert "per_sample" in cromwell.read(kept)
