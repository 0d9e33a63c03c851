from __future__ import annotations

import json

from tests.e2e.inbox import Inbox, eventually

HELLO = """\
version 1.0

workflow hello {
  input { String name }
  call greet { input: name = name }
  output { String greeting = greet.greeting }
}

task greet {
  input { String name }
  command <<< echo "Hello, ~{name}." >>>
  output { String greeting = read_string(stdout()) }
  runtime { docker: "debian:12" }
}
"""

SQUARES = """\
version 1.0

workflow squares {
  input { Int n }
  scatter (i in range(n)) { call square { input: i = i } }
  call total { input: squares = square.squared }
  output { Int sum = total.sum }
}

task square {
  input { Int i }
  command <<< echo $(( ~{i} * ~{i} )) >>>
  output { Int squared = read_int(stdout()) }
  runtime { docker: "debian:12" }
}

task total {
  input { Array[Int] squares }
  command <<< echo $(( ~{sep="+" squares} )) >>>
  output { Int sum = read_int(stdout()) }
  runtime { docker: "debian:12" }
}
"""

FAILING = """\
version 1.0

workflow counting {
  call count
}

task count {
  command <<<
    echo "chr7: no such contig" >&2
    exit 3
  >>>
  output { Int n = read_int(stdout()) }
  runtime { docker: "debian:12" }
}
"""


def test_a_dropped_hello_runs_and_its_people_hear(inbox: Inbox) -> None:
    run_id = inbox.drop("hello", {"main.wdl": HELLO, "inputs.json": {"hello.name": "Ada"}})
    assert inbox.end_of(run_id) == "COMPLETE"

    assert [mail.attributes["kind"] for mail in inbox.mails(run_id)] == ["accepted", "ended"]
    folder = f"runs/demo/hello/{run_id}/"
    assert {"bundle.zip", "receipt.json", "status.json", "outputs.json"} <= {
        key.removeprefix(folder) for key in inbox.keys(folder)
    }
    assert "Hello, Ada." in inbox.read(f"{folder}outputs.json")
    assert inbox.keys("inbox/") == []
    assert [data["state"] for data in inbox.events(run_id)] == ["QUEUED", "COMPLETE"]
    assert inbox.looked()["tags"].found.startswith("on ")  # by them its jobs were known


def test_a_task_that_fails_is_explained_in_its_own_words(inbox: Inbox) -> None:
    run_id = inbox.drop("counting", {"main.wdl": FAILING})
    assert inbox.end_of(run_id) == "EXECUTOR_ERROR"

    ended = inbox.mails(run_id)[-1]
    assert ended.attributes["kind"] == "ended"
    assert ended.subject.startswith("[demo] FAILED: counting")
    assert "chr7: no such contig" in ended.text
    assert "count ended with return code 3" in ended.text


def test_a_typo_in_the_inputs_is_told_before_anything_runs(inbox: Inbox) -> None:
    run_id = inbox.drop("typo", {"main.wdl": HELLO, "inputs.json": {"hello.nam": "Ada"}})
    assert inbox.end_of(run_id) == "REJECTED"

    (mail,) = inbox.mails(run_id)
    assert mail.attributes["kind"] == "rejected"
    assert 'Did you mean "hello.name"?' in mail.text
    kept = inbox.keys(f"rejected/demo/typo/{run_id}/")
    assert {key.rpartition("/")[2] for key in kept} >= {"report.md", "report.json"}
    assert inbox.jobs(run_id).total() == 0


def test_a_hundred_shards_are_counted_right_and_told_in_few_words(inbox: Inbox) -> None:
    run_id = inbox.drop("squares", {"main.wdl": SQUARES, "inputs.json": {"squares.n": 100}})
    assert inbox.end_of(run_id, within=150) == "COMPLETE"

    outputs = json.loads(inbox.read(f"runs/demo/squares/{run_id}/outputs.json"))
    assert "328350" in json.dumps(outputs)
    assert len(inbox.mails(run_id)) <= 4
    assert inbox.jobs(run_id) == {"SUCCEEDED": 101}
    counts = inbox.items(run_id)["COUNTS"]
    assert (counts["jobs"], counts["succeeded"]) == (101, 101)


OLD = {
    "flows/main.wdl": 'import "lib/twice.wdl" as lib\n'
    "workflow old { Int n call lib.twice { input: n = n } }",
    "flows/lib/twice.wdl": 'import "add.wdl" as add\n'
    "workflow twice { Int n call add.add { input: a = n, b = n } output { Int sum = add.sum } }",
    "flows/lib/add.wdl": "task add { Int a Int b command { echo $((${a} + ${b})) } "
    'output { Int sum = read_int(stdout()) } runtime { docker: "debian:12" } }',
    "MANIFEST.json": {"mainWorkflowURL": "flows/main.wdl"},
    "inputs.json": {"old.n": 21, "old.m": 1, "note": "for the lab"},
}


def test_an_old_bundle_runs_with_what_it_does_not_know_passed_over(inbox: Inbox) -> None:
    run_id = inbox.drop("old", OLD)
    assert inbox.end_of(run_id) == "COMPLETE"

    assert json.loads(inbox.read(f"runs/demo/old/{run_id}/outputs.json")) == {"old.twice.sum": 42}
    told = inbox.mails(run_id)[0].text
    assert 'unknown input "old.m" is ignored' in told


def test_a_call_that_ran_before_comes_from_the_cache(inbox: Inbox) -> None:
    files = {"main.wdl": HELLO, "inputs.json": {"hello.name": "the cache"}}
    assert inbox.end_of(inbox.drop("kept", files)) == "COMPLETE"

    run_id = inbox.drop("again", files)

    def complete() -> bool:  # no job ends, so that nobody tells of it before Cromwell is asked
        inbox.sweep(asking=run_id)
        return inbox.state(run_id) == "COMPLETE"

    eventually(complete, within=60, what="the end of the second run")
    assert "Hello, the cache." in inbox.read(f"runs/demo/again/{run_id}/outputs.json")
    assert inbox.jobs(run_id).total() == 0

    def cached() -> list[object]:
        items = inbox.items(run_id)
        return [items[key].get("cached") for key in items if key.startswith("CALL#")]

    assert eventually(cached, within=20, what="the copy of the call") == [True]
