"""Workflows really run, and leave what Cromwell on AWS Batch would leave."""

from __future__ import annotations

import psutil
import pytest

from dropwell.calls import place_of_script

from .conftest import BUCKET, Cromwell, until

HELLO = """version 1.0
workflow hello {
  input { String name = "world" }
  call greet { input: name = name }
  output { String said = greet.said  File kept = greet.kept }
}
task greet {
  input { String name }
  command <<<
    echo "Hello, ~{name}"; echo "a word on stderr" >&2; echo kept > kept.txt
  >>>
  output { String said = read_string(stdout())  File kept = "kept.txt" }
  runtime { docker: "ubuntu:22.04" cpu: 1 memory: "1 GB" }
}
"""

SCATTER = """version 1.0
workflow scatter_gather {
  input { Int n  Boolean twice  File lines }
  scatter (i in range(n)) { call count { input: i = i, lines = lines } }
  scatter (a in range(2)) {
    scatter (b in range(2)) { call count as deep { input: i = a + b, lines = lines } }
  }
  call total { input: files = count.counted }
  if (twice) { call total as again { input: files = count.counted } }
  output { Int sum = total.sum  Int? sum_again = again.sum  Array[Array[File]] all = deep.counted }
}
task count {
  input { Int i  File lines }
  command <<<
    echo $(( $(wc -l < ~{lines}) + ~{i} )) > counted.txt
    echo spoiled > ~{lines}
    mkdir parts; echo 1 > parts/a.part; echo 2 > parts/b.part
  >>>
  output { File counted = "counted.txt"  Array[File] parts = glob("parts/*.part") }
  runtime { docker: "ubuntu:22.04" memory: "256 MB" }
}
task total {
  input { Array[File] files }
  command <<< cat ~{sep=" " files} | awk '{ s += $1 } END { print s }' >>>
  output { Int sum = read_int(stdout()) }
  runtime { docker: "ubuntu:22.04" memory: "256 MB" }
}
"""

SUB = """version 1.0
workflow per_sample {
  input { String sample }
  call describe { input: sample = sample }
  output { String described = describe.described }
}
task describe {
  input { String sample }
  command <<< if [ ~{sample} = bad ]; then exit 4; fi; echo "sample ~{sample}" >>>
  output { String described = read_string(stdout()) }
  runtime { docker: "ubuntu:22.04" memory: "256 MB" }
}
"""
COHORT = """version 1.0
import "lib/per_sample.wdl" as lib
workflow cohort {
  input { Array[String] samples }
  scatter (sample in samples) { call lib.per_sample { input: sample = sample } }
  output { Array[String] all = per_sample.described }
}
"""


def task(command: str, *, output: str = "", runtime: str = 'memory: "1 GB"') -> str:
    return f"""version 1.0
workflow one {{
  input {{ File? given }}
  call t {{ input: given = given }}
}}
task t {{
  input {{ File? given }}
  command <<<
    {command}
  >>>
  output {{ {output} }}
  runtime {{ docker: "ubuntu:22.04" {runtime} }}
}}
"""


@pytest.fixture(scope="module")
def hello(cromwell: Cromwell) -> str:
    """Return the id of a hello that has run."""
    run_id = cromwell.submit(HELLO, {"hello.name": "you"}, labels='{"project": "cardio"}')
    assert cromwell.wait(run_id) == "Succeeded"
    return run_id


@pytest.fixture(scope="module")
def scattered(cromwell: Cromwell) -> str:
    """Return the id of a scatter-gather that has run; its inputs are given as strings."""
    given = {"n": "3", "twice": "true", "lines": f"s3://{BUCKET}/data/lines.txt"}
    run_id = cromwell.submit(SCATTER, {f"scatter_gather.{key}": one for key, one in given.items()})
    assert cromwell.wait(run_id) == "Succeeded"
    return run_id


def test_a_hello_gives_its_outputs(cromwell: Cromwell, hello: str) -> None:
    outputs = cromwell.get(f"{hello}/outputs").json()["outputs"]
    root = f"s3://{BUCKET}/cromwell-execution/hello/{hello}/call-greet"
    assert outputs == {"hello.said": "Hello, you", "hello.kept": f"{root}/kept.txt"}
    assert cromwell.read(outputs["hello.kept"]) == "kept\n"
    logs = cromwell.get(f"{hello}/logs").json()["calls"]["hello.greet"]
    assert cromwell.read(logs[0]["stdout"]) == "Hello, you\n"
    assert cromwell.read(logs[0]["stderr"]) == "a word on stderr\n"


def test_rc_comes_first_then_stderr_then_stdout_then_outputs(
    cromwell: Cromwell, hello: str
) -> None:
    written = [key.removeprefix("call-greet/") for key in cromwell.keys(hello)]

    assert sorted(written[:2]) == ["reconfigured-script.sh", "script"]
    assert written[2:] == ["greet-rc.txt", "greet-stderr.log", "greet-stdout.log", "kept.txt"]


def test_batch_tells_of_a_job_from_runnable_to_its_end(cromwell: Cromwell, hello: str) -> None:
    events = cromwell.events(hello)

    assert [one["status"] for one in events] == ["RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"]
    assert {one["jobId"] for one in events} == {cromwell.calls(hello)["hello.greet"][0]["jobId"]}
    assert {one["jobName"] for one in events} == {"hello_greet"}
    assert events[0]["tags"]["project"] == "cardio"
    assert events[-1]["attempts"][0]["container"]["exitCode"] == 0


def test_the_script_that_an_event_names_leads_to_the_call(cromwell: Cromwell, hello: str) -> None:
    environment = cromwell.events(hello)[0]["container"]["environment"]
    url = next(one["value"] for one in environment if one["name"] == "BATCH_FILE_S3_URL")

    place = place_of_script(cromwell.read(url))

    assert place is not None
    assert (place.run_id, place.call_id.label) == (hello, "greet")
    assert cromwell.read(f"s3://{place.bucket}/{place.rc_key}") == "0\n"


def test_a_scatter_gathers_and_inner_scatters_are_workflows(
    cromwell: Cromwell, scattered: str
) -> None:
    outputs = cromwell.metadata(scattered)["outputs"]
    assert (outputs["scatter_gather.sum"], outputs["scatter_gather.sum_again"]) == (12, 12)
    calls = cromwell.calls(scattered)
    assert [call["shardIndex"] for call in calls["scatter_gather.count"]] == [0, 1, 2]
    inner = [call for name, some in calls.items() if name.startswith("ScatterAt") for call in some]
    assert [call["executionStatus"] for call in inner] == ["Done", "Done"]
    deep = cromwell.calls(inner[1]["subWorkflowId"])["scatter_gather.deep"]
    assert [call["shardIndex"] for call in deep] == [0, 1]
    assert outputs["scatter_gather.all"][1][0] == f"{deep[0]['callRoot']}/counted.txt"


def test_globs_have_folders_of_their_own_and_inputs_stay_as_they_were(
    cromwell: Cromwell, scattered: str
) -> None:
    parts = cromwell.calls(scattered)["scatter_gather.count"][0]["outputs"]["parts"]

    folder = parts[0].rpartition("/")[0]
    assert folder.rpartition("/")[2].startswith(".glob-")
    assert cromwell.read(f"{folder}.list") == "a.part\nb.part\n"
    assert cromwell.read(f"s3://{BUCKET}/data/lines.txt") == "one\ntwo\nthree\n"


def test_subworkflows_nest_with_ids_of_their_own(cromwell: Cromwell) -> None:
    run_id = cromwell.submit(COHORT, {"cohort.samples": ["a", "b"]}, {"lib/per_sample.wdl": SUB})

    assert cromwell.wait(run_id) == "Succeeded"
    first, second = cromwell.calls(run_id)["cohort.per_sample"]
    assert first["subWorkflowId"] != second["subWorkflowId"]
    inner = cromwell.metadata(second["subWorkflowId"])
    assert (inner["rootWorkflowId"], inner["workflowName"]) == (run_id, "per_sample")
    assert inner["calls"]["per_sample.describe"][0]["callRoot"] == (
        f"s3://{BUCKET}/cromwell-execution/cohort/{run_id}/call-per_sample/shard-1"
        f"/per_sample/{second['subWorkflowId']}/call-describe"
    )
    tags = [one["tags"] for one in cromwell.events(run_id)]
    assert {one["cromwell-workflow-id"] for one in tags} == {
        first["subWorkflowId"],
        second["subWorkflowId"],
    }


def test_failures_nest_as_the_workflows_do(cromwell: Cromwell) -> None:
    run_id = cromwell.submit(COHORT, {"cohort.samples": ["bad"]}, {"lib/per_sample.wdl": SUB})

    assert cromwell.wait(run_id) == "Failed"
    ((outer,),) = [cromwell.metadata(run_id)["failures"]]
    (inner,) = outer["causedBy"]
    assert (outer["message"], inner["message"]) == ("Workflow failed", "Workflow failed")
    assert inner["causedBy"][0]["message"].startswith(
        "Job per_sample.describe:NA:1 exited with return code 4 which has not been declared"
    )
    failed = cromwell.get(f"{run_id}/metadata/failed-jobs").json()
    sub_id = cromwell.calls(run_id)["cohort.per_sample"][0]["subWorkflowId"]
    assert {key: list(one["calls"]) for key, one in failed.items()} == {
        sub_id: ["per_sample.describe"]
    }


def test_a_retry_is_a_new_job_in_a_folder_of_its_own(cromwell: Cromwell) -> None:
    failing = task("echo sorry >&2; exit 3", runtime='maxRetries: 1 memory: "1 GB"')
    run_id = cromwell.submit(failing)

    assert cromwell.wait(run_id) == "Failed"
    first, second = cromwell.calls(run_id)["one.t"]
    assert (first["executionStatus"], second["executionStatus"]) == ("RetryableFailure", "Failed")
    assert (first["retryableFailure"], second["retryableFailure"]) == (True, False)
    assert (first["returnCode"], second["returnCode"]) == (3, 3)
    assert first["jobId"] != second["jobId"]
    assert second["callRoot"] == first["callRoot"] + "/attempt-2"
    assert cromwell.read(f"{second['callRoot']}/t-rc.txt") == "3\n"
    assert second["failures"][0]["message"] == (
        "Job one.t:NA:2 exited with return code 3 which has not been declared as a valid return "
        "code. See 'continueOnReturnCode' runtime attribute for more details."
    )
    failed = [one["jobId"] for one in cromwell.events(run_id) if one["status"] == "FAILED"]
    assert failed == [first["jobId"], second["jobId"]]


def test_a_retry_that_works_is_a_run_that_works(cromwell: Cromwell) -> None:
    # The first attempt's folder is moved aside; what lies beside it tells the second apart.
    flaky = "if [ -e ../work.attempt-1 ]; then echo well; else exit 1; fi"
    run_id = cromwell.submit(task(flaky, runtime='maxRetries: 2 memory: "1 GB"'))

    assert cromwell.wait(run_id) == "Succeeded"
    assert [call["executionStatus"] for call in cromwell.calls(run_id)["one.t"]] == [
        "RetryableFailure",
        "Done",
    ]


def test_too_much_memory_is_a_kill_without_rc(cromwell: Cromwell) -> None:
    hog = task(
        "python3 -c 'import time; x = bytearray(400 << 20); time.sleep(20)'",
        runtime='memory: "200 MB"',
    )
    run_id = cromwell.submit(hog)

    assert cromwell.wait(run_id) == "Failed"
    ended = cromwell.events(run_id)[-1]
    assert ended["container"]["exitCode"] == 137
    assert ended["container"]["reason"] == (
        "OutOfMemoryError: Container killed due to memory usage"
    )
    assert not [key for key in cromwell.keys(run_id) if key.endswith("-rc.txt")]
    assert cromwell.calls(run_id)["one.t"][0]["returnCode"] == 1  # Cromwell reads no rc as 1


def test_a_missing_output_fails_the_job_after_rc_0(cromwell: Cromwell) -> None:
    run_id = cromwell.submit(task("true", output='File f = "absent.txt"'))

    assert cromwell.wait(run_id) == "Failed"
    (call,) = cromwell.calls(run_id)["one.t"]
    assert call["failures"][0]["message"].startswith(
        "Job one.t:NA:1 exited with success code '0' but failed status 'Failed'."
    )
    assert cromwell.read(f"{call['callRoot']}/t-rc.txt") == "0\n"
    assert cromwell.events(run_id)[-1]["container"]["exitCode"] == 1


def test_an_input_that_s3_does_not_have_fails_the_job_before_it_runs(cromwell: Cromwell) -> None:
    run_id = cromwell.submit(task("cat ~{given}"), {"one.given": f"s3://{BUCKET}/absent"})

    assert cromwell.wait(run_id) == "Failed"
    ended = cromwell.events(run_id)[-1]
    assert (ended["status"], ended["container"]["exitCode"]) == ("FAILED", 1)
    assert not [key for key in cromwell.keys(run_id) if key.endswith("-rc.txt")]


def test_a_path_of_this_machine_is_no_input(cromwell: Cromwell) -> None:
    run_id = cromwell.submit(task("cat ~{given}"), {"one.given": "/etc/hostname"})

    assert cromwell.wait(run_id) == "Failed"
    (failure,) = cromwell.metadata(run_id)["failures"]
    assert failure["message"] == "Workflow input processing failed"
    assert failure["causedBy"][0]["message"].startswith('Could not build the path "/etc/hostname"')
    assert cromwell.events(run_id) == []


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("version 1.0\nworkflow w { call absent }", "line 2 column 14: No such task/workflow"),
        ("version 1.0\nworkflow w {", "main.wdl line 2 column"),
        ('version 1.0\nimport "absent.wdl"\nworkflow w {}', "Failed to import absent.wdl"),
        ("version 1.0\ntask t { command {} }", "has no workflow"),
    ],
)
def test_bad_wdl_is_accepted_and_fails(cromwell: Cromwell, source: str, said: str) -> None:
    run_id = cromwell.submit(source)

    assert cromwell.wait(run_id) == "Failed"
    assert said in cromwell.metadata(run_id)["failures"][0]["causedBy"][0]["message"]


def test_draft_2_runs(cromwell: Cromwell) -> None:
    run_id = cromwell.submit(
        "task t { Int n command { echo ${n} } output { Int m = read_int(stdout()) } "
        'runtime { docker: "ubuntu:22.04" } } workflow old { call t { input: n = 7 } }'
    )

    assert cromwell.wait(run_id) == "Succeeded"
    assert cromwell.metadata(run_id)["outputs"] == {"old.t.m": 7}


def test_draft_2_passes_over_inputs_that_it_does_not_know(cromwell: Cromwell) -> None:
    given = {"w.m": 1, "note": "ours"}
    old, new = cromwell.submit("workflow w { }", given), cromwell.submit(EMPTY, given)

    assert (cromwell.wait(old), cromwell.wait(new)) == ("Succeeded", "Failed")
    told = cromwell.metadata(new)["failures"][0]["causedBy"]
    assert [one["message"] for one in told] == [
        f"WARNING: Unexpected input provided: {name} (expected inputs: [])" for name in given
    ]


EMPTY = "version 1.0\nworkflow w { }"


@pytest.mark.parametrize(
    ("version", "outer", "inner", "status"),
    [
        ("draft-2", "a/outer.wdl", "inner.wdl", "Succeeded"),
        ("draft-2", "a/outer.wdl", "a/inner.wdl", "Failed"),
        ("draft-2", "inner/outer.wdl", "inner.wdl", "Succeeded"),
        ("1.0", "a/outer.wdl", "a/inner.wdl", "Succeeded"),
        ("1.0", "a/outer.wdl", "inner.wdl", "Failed"),
    ],
)
def test_an_import_of_an_import_is_looked_up_where_cromwell_does(
    cromwell: Cromwell, version: str, outer: str, inner: str, status: str
) -> None:
    head = "" if version == "draft-2" else f"version {version}\n"
    run_id = cromwell.submit(
        f'{head}import "{outer}" as outer\nworkflow w {{ call outer.outer }}',
        imports={
            outer: f'{head}import "inner.wdl" as i\nworkflow outer {{ call i.inner }}',
            inner: f"{head}workflow inner {{ }}",
        },
    )

    assert cromwell.wait(run_id) == status
    if status == "Failed":
        told = cromwell.metadata(run_id)["failures"][0]["causedBy"][0]["message"]
        assert "Import file not found 'inner.wdl'" in told


def test_imports_reach_nothing_beside_the_zip(cromwell: Cromwell) -> None:
    for uri in ("main.wdl", "../source/main.wdl", "/etc/passwd"):
        run_id = cromwell.submit(f'version 1.0\nimport "{uri}" as x\nworkflow w {{ }}')
        assert cromwell.wait(run_id) == "Failed"
        told = cromwell.metadata(run_id)["failures"][0]["causedBy"][0]["message"]
        assert f"Import file not found '{uri}'" in told


def test_an_abort_ends_jobs_as_terminated(cromwell: Cromwell) -> None:
    run_id = cromwell.submit(task("echo $$ > pid; sleep 60 & wait"))
    until(lambda: "RUNNING" in [one["status"] for one in cromwell.events(run_id)])

    answer = cromwell.post(f"/{run_id}/abort")

    assert answer.json() == {"id": run_id, "status": "Aborting"}
    assert cromwell.wait(run_id) == "Aborted"
    ended = cromwell.events(run_id)[-1]
    assert (ended["status"], ended["statusReason"]) == ("FAILED", "cromwell abort called")
    assert cromwell.calls(run_id)["one.t"][0]["executionStatus"] == "Aborted"
    assert not [key for key in cromwell.keys(run_id) if key.endswith("-rc.txt")]
    assert cromwell.post(f"/{run_id}/abort").status_code == 404
    tasks = [one for one in psutil.process_iter(["cmdline"]) if run_id in str(one.info["cmdline"])]
    assert tasks == []
