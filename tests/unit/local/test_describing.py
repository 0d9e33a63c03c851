"""What a WDL is, as Cromwell's describe route tells it."""

from __future__ import annotations

from dropwell_local.cromwell.describing import describe

WORKFLOW = """version 1.0
workflow w {
  input { Array[File]+ reads  Map[String, Pair[Int, Float]]? depths  Int n = 3 }
  meta { author: "lab" tags: ["a", 1] }
  parameter_meta { n: "how many" }
  call t
  output { String said = t.said }
}
task t {
  command <<< echo >>>
  output { String said = read_string(stdout()) }
  runtime { docker: "ubuntu:22.04" }
}
"""


def test_a_workflow_is_told_with_its_inputs_outputs_and_images() -> None:
    told = describe(WORKFLOW)

    assert (told["valid"], told["validWorkflow"], told["errors"]) == (True, True, [])
    assert (told["name"], told["isRunnableWorkflow"]) == ("w", True)
    assert told["submittedDescriptorType"] == {
        "descriptorType": "WDL",
        "descriptorTypeVersion": "1.0",
    }
    inputs = {one["name"]: one for one in told["inputs"]}
    assert list(inputs) == ["depths", "n", "reads"]
    assert inputs["reads"]["valueType"] == {"typeName": "Array", "arrayType": {"typeName": "File"}}
    assert inputs["depths"]["valueType"]["optionalType"]["mapType"]["valueType"] == {
        "typeName": "Pair",
        "pairType": {"leftType": {"typeName": "Int"}, "rightType": {"typeName": "Float"}},
    }
    assert [(one["optional"], one["default"]) for one in inputs.values()] == [
        (True, None),
        (True, "3"),
        (False, None),
    ]
    assert [(one["name"], one["typeDisplayName"]) for one in told["outputs"]] == [
        ("said", "String")
    ]
    assert told["images"] == ["ubuntu:22.04"]
    assert told["meta"] == {"author": "lab", "tags": ["a", 1]}
    assert told["parameterMeta"] == {"n": "how many"}


def test_a_task_alone_is_described_but_cannot_be_run() -> None:
    told = describe("version 1.0\ntask t { input { Boolean b } command {} }")

    assert (told["name"], told["isRunnableWorkflow"]) == ("t", False)
    assert [one["name"] for one in told["inputs"]] == ["b"]


def test_several_tasks_have_no_name() -> None:
    told = describe("version 1.0\ntask t { command {} }\ntask u { command {} }")

    assert (told["valid"], told["name"]) == (True, "")


def test_what_is_wrong_is_told_with_its_line() -> None:
    syntax = describe("version 1.0\nworkflow {")
    types = describe(
        "version 1.0\nworkflow w { call t { input: n = [0] } call t as u { input: n = [1] } }\n"
        "task t { input { Int n } command {} }"
    )

    assert not syntax["valid"]
    assert "line 2" in syntax["errors"][0]
    assert [one.endswith(")") for one in types["errors"]] == [True, True]


def test_imports_cannot_be_given_and_so_fail() -> None:
    told = describe('version 1.0\nimport "a.wdl" as a\nworkflow w {}')

    assert (told["valid"], told["validWorkflow"]) == (False, False)
    assert "'a.wdl'" in told["errors"][0]


def test_inputs_that_do_not_fit_make_a_valid_workflow_invalid() -> None:
    source = "version 1.0\nworkflow w { input { Int n } }"

    good, bad = describe(source, '{"w.n": 1}'), describe(source, '{"w.m": 1}')

    assert good["valid"]
    assert (bad["valid"], bad["validWorkflow"], len(bad["errors"])) == (False, True, 2)
    assert not describe(source, "[")["valid"]
    assert not describe(source, "[]")["valid"]


def test_unknown_inputs_are_named_with_the_known_ones_and_passed_over_in_draft_2() -> None:
    source = "workflow w { Int n }"

    new = describe(
        f"version 1.0\n{source.replace('Int n', 'input { Int n }')}", '{"w.m": 1, "w.n": 1}'
    )
    old = describe(source, '{"w.m": 1, "w.n": 1, "note": "for the lab"}')

    assert new["errors"] == ["WARNING: Unexpected input provided: w.m (expected inputs: [w.n])"]
    assert (old["valid"], old["errors"]) == (True, [])


def test_structs_are_objects() -> None:
    source = "version 1.0\nstruct S { Int n }\nworkflow w { input { S s } }"

    assert describe(source)["inputs"][0]["valueType"] == {
        "typeName": "Object",
        "objectFieldTypes": [{"fieldName": "n", "fieldType": {"typeName": "Int"}}],
    }
