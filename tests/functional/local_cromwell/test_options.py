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


BRANCHED = """version 1.0
import "sub.wdl" as lib
workflow w {
  call lib.t as bad { input: line = "exit 3" }
  call lib.t as slow { input: line = "sleep 2.5; echo slow" }
  call lib.t as more { input: line = "echo " + slow.said }
  call lib.t as never { input: line = "echo " + bad.said }
  scatter (i in [0, 1]) { call lib.s { input: i = i } }
}
"""
BRANCH = """version 1.0
workflow s {
  input { Int i }
  call t as first { input: line = "exit ~{i}" }
  call t as slow { input: line = "sleep 0.5; echo x" }
  call t as second { input: line = "echo " + slow.said }
  output { String said = second.said }
}
task t {
  input { String line }
  command <<< ~{line} >>>
  output { String said = read_string(stdout()) }
  runtime { docker: "ubuntu:22.04" memory: "256 MB" }
}
"""


def branched(cromwell: Cromwell, mode: str) -> tuple[str, dict[str, list[str]]]:
    """Run what fails here and there; return its id and how the calls of all workflows ended."""
    options = json.dumps({"workflow_failure_mode": mode})
    run_id = cromwell.submit(BRANCHED, {}, {"sub.wdl": BRANCH}, workflowOptions=options)
    assert cromwell.wait(run_id) == "Failed"
    calls = dict(cromwell.calls(run_id))
    for call in calls["w.s"]:
        for name, attempts in cromwell.calls(call["subWorkflowId"]).items():
            calls.setdefault(name, []).extend(attempts)
    return run_id, {name: [one["executionStatus"] for one in calls[name]] for name in calls}


def test_after_a_failure_what_runs_goes_on_and_nothing_starts(cromwell: Cromwell) -> None:
    _, calls = branched(cromwell, "NoNewCalls")

    assert calls["w.bad"] == ["Failed"]
    assert calls["w.slow"] == ["Done"]
    assert "w.more" not in calls


def test_what_does_not_need_a_failed_call_goes_on_where_it_is_wanted(cromwell: Cromwell) -> None:
    run_id, calls = branched(cromwell, "ContinueWhilePossible")

    assert calls["w.bad"] == ["Failed"]
    assert calls["w.more"] == ["Done"]
    assert "w.never" not in calls
    assert calls["w.s"] == ["Done", "Failed"]
    assert calls["s.first"] == ["Done", "Failed"]
    assert calls["s.second"] == ["Done", "Done"]  # in the failed inner workflow, too
    (failure,) = cromwell.metadata(run_id)["failures"]
    assert [one["message"].partition(" ")[0] for one in failure["causedBy"]] == ["Job", "Workflow"]


def test_an_abort_reaches_a_run_that_holds_failures_back(cromwell: Cromwell) -> None:
    source = BRANCH.replace("sleep 0.5", "sleep 60")
    options = json.dumps({"workflow_failure_mode": "continuewhilepossible"})
    run_id = cromwell.submit(source, {"s.i": 2}, workflowOptions=options)
    until(lambda: "FAILED" in [one["status"] for one in cromwell.events(run_id)])

    cromwell.post(f"/{run_id}/abort")

    assert cromwell.wait(run_id) == "Aborted"
    ends = {name: one[0]["executionStatus"] for name, one in cromwell.calls(run_id).items()}
    assert ends == {"s.first": "Failed", "s.slow": "Aborted"}


def test_a_mode_that_there_is_none_of_fails_the_workflow(cromwell: Cromwell) -> None:
    run_id, status = ended(cromwell, DISTINCT, workflow_failure_mode="Whatever")

    assert status == "Failed"
    (failure,) = cromwell.metadata(run_id)["failures"]
    assert failure["causedBy"][0]["message"] == "Invalid workflow failure mode: Whatever"
