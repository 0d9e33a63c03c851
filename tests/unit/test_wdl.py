from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import pytest

from dropwell import wdl
from dropwell.archives import Limits
from dropwell.preflight import Checked, Severity
from dropwell.wdl.inputs import MAX_FINDINGS
from tests.unit.bundle_builders import opened

TASK = """version 1.0
task align {
  input { File reads Int? threads }
  command { echo }
  output { File bam = "x.bam" }
}
"""


def checked(
    main: str, inputs: object = None, files: Mapping[str, object] | None = None, **options: object
) -> Checked:
    given = {} if inputs is None else {"inputs.json": inputs}
    return wdl.check(opened({"main.wdl": main, **given, **(files or {})}), **options)  # type: ignore[arg-type]


def told(result: Checked) -> list[str]:
    """Return findings as a person reads them, warnings marked."""
    return [f"{'' if finding.is_error else '(warning) '}{finding}" for finding in result.findings]


def workflow(inputs: str, body: str = "", version: str = "1.0") -> str:
    return f"version {version}\nworkflow w {{\n  input {{\n    {inputs}\n  }}\n{body}}}\n"


def test_importing_this_module_does_not_load_the_engine() -> None:
    code = "import sys, dropwell.wdl; sys.exit('WDL' in sys.modules or 'lark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_sound_bundle_is_told_whole() -> None:
    result = checked(
        workflow("File ref\n Int depth = 30\n Array[File] reads", "  call t.align\n").replace(
            "workflow", 'import "lib/tasks.wdl" as t\nworkflow'
        ),
        {
            "w.ref": "s3://b/ref.fa",
            "w.reads": ["a.fq", "b.fq"],
            "w.align.reads": "c.fq",
            "w.align.threads": 4,
        },
        {"lib/tasks.wdl": TASK},
    )
    assert result.findings == ()
    assert (result.workflow, result.version) == ("w", "1.0")
    assert result.closure == ("lib/tasks.wdl",)
    assert [(given.path, given.value) for given in result.files] == [
        (("w.ref",), "s3://b/ref.fa"),
        (("w.reads", 0), "a.fq"),
        (("w.reads", 1), "b.fq"),
        (("w.align.reads",), "c.fq"),
    ]
    assert result.files[2].key == "w.reads"
    assert [(slot.name, slot.type, slot.required, slot.default) for slot in result.inputs] == [
        ("w.ref", "File", True, None),
        ("w.depth", "Int", False, "30"),
        ("w.reads", "Array[File]", True, None),
        ("w.align.reads", "File", True, None),
        ("w.align.threads", "Int?", False, None),
    ]


def test_a_single_task_can_be_run() -> None:
    result = checked(TASK, {"align.reads": "s3://b/x"})
    assert (result.workflow, told(result)) == ("align", [])


@pytest.mark.parametrize(
    ("main", "sentence"),
    [
        ("version 1.0\n", "main.wdl  the file has no workflow to run"),
        ("", "main.wdl  the file has no workflow to run"),
        (
            "version 1.0\ntask a { command {} }\ntask b { command {} }\n",
            "main.wdl  the file has no workflow to run, only 2 tasks",
        ),
    ],
)
def test_a_file_with_nothing_to_run_is_an_error(main: str, sentence: str) -> None:
    assert told(checked(main)) == [sentence]


# --- syntax ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("main", "line", "column", "message", "advice"),
    [
        (
            "version 1.0\nworkflow w {\n  call t { input: a=1 b=2 }\n}\n",
            3, 23, 'found "b" where "," or "}" was expected', "",
        ),
        (
            "version 1.0\nworkflow w {\n  call t\n\ntask t {\n  command {}\n}\n",
            5, 8, 'found "{" where it makes no sense', 'A closing "}" may be missing above.',
        ),
        (
            "version 1.0\nworkflow w {\n  Int x = 3\n",
            3, 11, "the file ends before all that it opens is closed",
            'A closing "}" may be missing above.',
        ),
        (
            "version 1.0\ntask t {\n  command <<< echo\n}\n",
            3, 14, "the file ends too early; something in it is not closed", "",
        ),
        (
            'version 1.0\nworkflow w {\n  String x = "abc\n}\n',
            3, 15, "the file ends, but a string or command is not closed", "",
        ),
        (
            "version 1.0\r\nworkflow w {\r\n  Int x = @3\r\n}\r\n",
            3, 11, 'found "@" where it makes no sense', "",
        ),
        (
            "\x89PNG\n",
            1, 1, "found an unreadable character where import, task, version or workflow "
            "was expected", "",
        ),
        (
            "version 1.0\nworkflow {\n}\n",
            2, 10, 'found "{" where a name was expected', "",
        ),
    ],
)  # fmt: skip
def test_a_syntax_error_says_where_it_is_and_what_was_expected(
    main: str, line: int, column: int, message: str, advice: str
) -> None:
    finding = next(found for found in checked(main).findings if found.is_error)
    assert (finding.rule, finding.file) == ("wdl-syntax", "main.wdl")
    assert (finding.line, finding.column) == (line, column)
    assert finding.message == f"WDL syntax: {message}"
    assert finding.advice == advice


def test_windows_line_ends_are_read_and_warned_of() -> None:
    result = checked('version 1.0\r\n# hi\r\nimport "t.wdl" as t\r\nworkflow w { }\r\n',
                     files={"t.wdl": TASK})  # fmt: skip
    assert told(result) == [
        "(warning) main.wdl  the file has Windows line ends; bash may stumble over them in its "
        "commands"
    ]
    assert result.closure == ("t.wdl",)


def test_a_comment_beside_the_version_is_read_over() -> None:
    assert told(checked("  version 1.0   # of the language\nworkflow w { }\n")) == []


@pytest.mark.parametrize("version", ["draft-3", "development-1.1", "1.2", "development"])
def test_versions_that_cromwell_or_the_engine_name_otherwise_are_read(version: str) -> None:
    result = checked(
        f"# about\nversion {version}\nworkflow w {{ input {{ Int x }} }}\n", {"w.x": 1}
    )
    assert (told(result), result.version) == ([], version)


def test_a_version_newer_than_the_engine_is_left_to_cromwell() -> None:
    assert told(checked("version 1.9\nworkflow w { }\n")) == [
        '(warning) main.wdl:1  WDL version "1.9" is not known here, so the file is not checked',
        "(warning) main.wdl  its inputs were checked only in part, as not all of its WDL could be",
    ]


def test_a_version_that_never_was_is_an_error() -> None:
    (finding,) = checked("# hi\n\nversion 1.O\nworkflow w { }\n").findings
    assert str(finding) == 'main.wdl:3  there is no WDL version "1.O"'
    assert finding.severity is Severity.ERROR


# --- types: what stops Cromwell, and what only the engine minds ---------------------------------


@pytest.mark.parametrize(
    ("main", "sentence"),
    [
        (workflow("Foo x"), 'main.wdl:4  WDL: there is no type "Foo"'),
        (workflow("", "  call nope\n"), 'main.wdl:6  WDL: there is no task or workflow "nope"'),
        (workflow("Int y = z"), 'main.wdl:4  WDL: nothing here is named "z"'),
        (workflow("Int y = nope(1)"), 'main.wdl:4  WDL: there is no function "nope"'),
        (workflow("Int y = [1]"), "main.wdl:4  WDL: Int is wanted here, and this is Array[Int]+"),
        (
            workflow("", "  call t { input: nope = 1 }\n")
            + "task t { input { Int x } command {} }\n",
            'main.wdl:6  WDL: what is called has no input "nope"',
        ),
    ],
)
def test_what_cromwell_would_not_run_is_an_error(main: str, sentence: str) -> None:
    assert told(checked(main))[0].startswith(sentence)


@pytest.mark.parametrize(
    "main",
    [
        workflow("Int x = 1", "  Int x = 2\n"),
        workflow("Object o = object { a: 1 }"),
        workflow("Array x = 1"),
        "version 1.0\nworkflow w { input { Int task = 3 } }\n",
        "version 1.0\nworkflow w { }\ntask w { command {} }\n",
        "version 1.0\nworkflow a { }\nworkflow b { }\n",
        "version 1.0\nworkflow w { call t { input: x = 1, x = 1 } }\n"
        "task t { input { Int x } command {} }\n",
        "version 1.0\nworkflow w { }\n"
        "task t { input { String s = 'x' } command { ~{sep=',' s} } }\n",
        'version 1.0\nimport "my-structs.wdl"\nworkflow w { }\n',
    ],
)
def test_what_only_the_engine_minds_is_a_warning(main: str) -> None:
    result = checked(main, files={"my-structs.wdl": "version 1.0\n"})
    assert result.findings
    assert all(finding.severity is Severity.WARNING for finding in result.findings)
    assert result.findings[-1].rule == "inputs-unchecked"


def test_optional_values_where_others_are_due_are_cromwells_to_judge() -> None:
    assert told(checked(workflow("Int? x\n Int y = x"))) == []


def test_a_workflow_that_the_engine_cannot_call_is_a_warning() -> None:
    sub = "version 1.0\nworkflow sub { call t }\ntask t { input { Int x } command {} }\n"
    main = 'version 1.0\nimport "sub.wdl" as s\nworkflow w { call s.sub }\n'
    result = checked(main, files={"sub.wdl": sub})
    assert [finding.rule for finding in result.findings] == ["wdl-doubt", "inputs-unchecked"]
    assert result.findings[0].advice == "Cromwell may take it; it will say if not."


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("Int y = 1.5", "Int is wanted here, and this is Float; perhaps try floor() or round()"),
        ("Int y = 1 + true", "+ is for numbers, and this is none"),
        ("Int y = length([1], [2])", "length() takes one value"),
        ("Int y = sub('a', 'b')", "sub() takes 3 values"),
        ("Int y = 1\n    Int y = 2", '"y" is declared twice'),
        ("Int y = z\n    Int z = y", "values depend on each other in a circle"),
        ("Pair[Int, Int] y = (1, 2)\n    Int z = y.middle", 'it has no member "middle"'),
    ],
)
def test_the_type_checker_is_put_into_words_for_people(body: str, words: str) -> None:
    assert f"  WDL: {words}" in told(checked(workflow(body)))[0]


def test_a_call_has_only_the_outputs_that_its_task_has() -> None:
    main = workflow("", "  call t\n  Int y = t.nope\n") + "task t { command {} }\n"
    assert told(checked(main))[0] == 'main.wdl:7  WDL: "t" has nothing named "nope"'


def test_several_errors_are_told_at_once() -> None:
    assert told(checked(workflow("Int a = p\n    Int b = q"))) == [
        'main.wdl:4  WDL: nothing here is named "p"',
        'main.wdl:5  WDL: nothing here is named "q"',
    ]


@pytest.mark.parametrize("step", ["parse_document", "typecheck"])
def test_a_fault_of_the_engine_is_a_warning(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import WDL

    def fail(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(WDL if step == "parse_document" else WDL.Document, step, fail)
    assert told(checked(workflow("Int x"), {"w.x": 1}))[0] == (
        "(warning) main.wdl  the WDL checker gave up on this file (AssertionError)"
    )


# --- imports -----------------------------------------------------------------------------------


def test_nested_imports_are_found_from_the_importing_files_folder() -> None:
    result = checked(
        'version 1.0\nimport "a/one.wdl" as one\nworkflow w { call one.t.align }\n',
        {"w.align.reads": "x"},
        {
            "a/one.wdl": 'version 1.0\nimport "../b/tasks.wdl" as t\n',
            "b/tasks.wdl": TASK,
        },
    )
    assert result.closure == ("a/one.wdl", "b/tasks.wdl")
    assert told(result)[0].startswith('main.wdl:3  WDL: there is no task or workflow "one.t.align"')


def test_a_file_imported_at_many_places_is_read_once() -> None:
    shared = "version 1.0\nstruct S { Int x }\ntask t { input { Int y = nope } command {} }\n"
    left = 'version 1.0\nimport "shared.wdl" as s\n'
    result = checked(
        'version 1.0\nimport "l.wdl" as l\nimport "r.wdl" as r\nworkflow w { }\n',
        files={"l.wdl": left, "r.wdl": left, "shared.wdl": shared},
    )
    assert told(result) == ['shared.wdl:3  WDL: nothing here is named "nope"']
    assert len(result.imports) == 4
    assert result.closure == ("l.wdl", "r.wdl", "shared.wdl")


def test_structs_of_imports_are_known() -> None:
    result = checked(
        'version 1.0\nimport "s.wdl" as s\nworkflow w { input { Sample one } }\n',
        {"w.one": {"id": "x", "bam": "x.bam"}},
        {"s.wdl": "version 1.0\nstruct Sample { String id File bam Int? depth }\n"},
    )
    assert told(result) == []
    assert [given.path for given in result.files] == [("w.one", "bam")]


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("taks.wdl", 'the import "taks.wdl" is not in the bundle. Did you mean "tasks.wdl"?'),
        ("zzz/nothing.wdl", 'the import "zzz/nothing.wdl" is not in the bundle'),
        ("../secret.wdl", 'the import "../secret.wdl" leads out of the bundle'),
        ("/etc/x.wdl", 'the import "/etc/x.wdl" leads out of the bundle'),
        ("https://example.org/x.wdl",
         'the import "https://example.org/x.wdl" comes from elsewhere, which is not allowed here'),
        ("file:///etc/passwd",
         'the import "file:///etc/passwd" comes from elsewhere, which is not allowed here'),
    ],
)  # fmt: skip
def test_an_import_that_is_not_in_the_bundle_is_an_error(uri: str, sentence: str) -> None:
    main = f'version 1.0\n\nimport "{uri}" as x\nworkflow w {{ }}\n'
    assert told(checked(main, files={"tasks.wdl": TASK})) == [f"main.wdl:3  {sentence}"]


@pytest.mark.parametrize(("url", "allowed"), [("https", True), ("http", False)])
def test_an_import_from_an_allowed_host_is_left_to_cromwell(url: str, allowed: bool) -> None:
    main = (
        f'version 1.0\nimport "{url}://raw.example.org/x.wdl" as x\nimport "t.wdl" as t\n'
        "workflow w {\n  input { Int depth }\n  call x.y\n}\n"
    )
    result = checked(
        main,
        {"w.dpth": 1, "w.y.anything": 2},
        {"t.wdl": TASK},
        import_hosts=["raw.example.org"],
    )
    assert result.findings[0].is_error is not allowed
    assert result.closure == ("t.wdl",)
    assert told(result)[-1] == ('inputs.json:2  unknown input "w.dpth". Did you mean "w.depth"?')


def test_imports_that_go_round_in_a_circle_are_told() -> None:
    result = checked(
        'version 1.0\nimport "a.wdl" as a\nworkflow w { }\n',
        files={
            "a.wdl": 'version 1.0\nimport "b.wdl" as b\n',
            "b.wdl": 'version 1.0\n\nimport "a.wdl" as a\n',
        },
    )
    assert told(result) == ["b.wdl:3  imports go round in a circle: a.wdl → b.wdl → a.wdl"]


def test_imports_nested_without_end_are_told() -> None:
    files = {f"f{n}.wdl": f'version 1.0\nimport "f{n + 1}.wdl" as f{n + 1}\n' for n in range(60)}
    result = checked('version 1.0\nimport "f0.wdl" as f0\nworkflow w { }\n', files=files)
    assert told(result) == ["f49.wdl:2  imports are nested more than 50 deep"]


def test_draft_2_looks_for_imports_from_the_root_first() -> None:
    main = 'import "lib/a.wdl" as a\nworkflow w { call a.t }\n'
    files = {
        "lib/a.wdl": 'import "b.wdl" as b\nimport "c.wdl" as c\ntask t { command {} }\n',
        "b.wdl": "task t { command {} }\n",
        "lib/b.wdl": "this is no WDL",
        "lib/c.wdl": "task t { command {} }\n",
    }
    result = checked(main, files=files)
    assert told(result) == []
    assert result.version == "draft-2"
    assert result.closure == ("b.wdl", "lib/a.wdl", "lib/c.wdl")


def test_a_file_that_cannot_be_read_is_told_and_others_still_are() -> None:
    result = checked(
        'version 1.0\nimport "a.wdl" as a\nimport "b.wdl" as b\nworkflow w { }\n',
        files={"a.wdl": b"\xff", "b.wdl": "version 1.0\nworkflow {"},
    )
    assert told(result) == [
        "a.wdl:1  the file is not UTF-8 text",
        'b.wdl:2  WDL syntax: found "{" where a name was expected',
    ]


def test_a_main_wdl_that_cannot_be_read_is_told() -> None:
    bundle = opened({"main.wdl": "x" * 50}, limits=Limits(source=10))
    assert told(wdl.check(bundle)) == [
        "main.wdl  the file is larger than 10 bytes, the most that is read"
    ]


def test_imports_of_a_file_that_the_engine_refuses_are_still_followed() -> None:
    main = (
        'version 1.0\n# import "not.wdl"\nimport "t.wdl" as t\nworkflow a { }\nworkflow b { }\n'
        'task go { command <<<\n  import "fmt"\n>>> }\n'
    )
    result = checked(main, files={"t.wdl": TASK})
    assert result.closure == ("t.wdl",)
    assert not any(finding.is_error for finding in result.findings)


def test_an_import_may_be_written_over_several_lines() -> None:
    main = "version 1.0\nimport # tasks\n  't.wdl' as t\nworkflow w { }\n"
    (found,) = checked(main, files={"t.wdl": TASK}).imports
    assert (found.uri, main[found.start : found.end]) == ("t.wdl", "t.wdl")


# --- inputs ------------------------------------------------------------------------------------

_STRUCT = "struct S { Int depth String? note }\n"


def _typed(kind: str) -> str:
    return f"version 1.0\n{_STRUCT}workflow w {{ input {{ {kind} x }} }}\n"


@pytest.mark.parametrize(
    ("kind", "value", "sentence"),
    [
        ("Int", "high", '"w.x" is a String; the workflow wants Int'),
        ("Int", 1.5, '"w.x" is a Float; the workflow wants Int'),
        ("Int", True, '"w.x" is a Boolean; the workflow wants Int'),
        ("Int?", "high", '"w.x" is a String; the workflow wants Int'),
        ("Int", None, '"w.x" is null; the workflow wants Int'),
        ("Float", "wide", '"w.x" is a String; the workflow wants Float'),
        ("Float", False, '"w.x" is a Boolean; the workflow wants Float'),
        ("Boolean", 1, '"w.x" is an Int; the workflow wants Boolean'),
        ("Boolean", "yes", '"w.x" is a String; the workflow wants Boolean'),
        ("String", 5, '"w.x" is an Int; the workflow wants String'),
        ("String", ["a"], '"w.x" is an Array; the workflow wants String'),
        ("File", 5, '"w.x" is an Int; the workflow wants File'),
        ("File", ["a"], '"w.x" is an Array; the workflow wants File'),
        ("Array[Int]", 5, '"w.x" is an Int; the workflow wants Array[Int]'),
        ("Array[Int]+", [], '"w.x" is an empty Array; the workflow wants Array[Int]+'),
        ("Array[Array[File]]", [["a"], [3]], '"w.x[1][0]" is an Int; the workflow wants File'),
        ("Map[String,Int]", {"k": "v"}, '"w.x.k" is a String; the workflow wants Int'),
        ("Map[String,Int]", ["k"], '"w.x" is an Array; the workflow wants Map[String,Int]'),
        ("Pair[Int,File]", {"left": "z", "right": "f"},
         '"w.x.left" is a String; the workflow wants Int'),
        ("Pair[Int,File]", {"left": 1},
         '"w.x" is an Object without just "left" and "right"; the workflow wants Pair[Int,File]'),
        ("Pair[Int,File]", [1, "f"], '"w.x" is an Array; the workflow wants Pair[Int,File]'),
        ("S", {"depth": "z"}, '"w.x.depth" is a String; the workflow wants Int'),
        ("S", {"note": "z"}, '"w.x" lacks "depth" (Int) of struct S'),
        ("S", 3, '"w.x" is an Int; the workflow wants S'),
        ("Array[S]", [{"depth": 1}, {"depth": None}],
         '"w.x[1].depth" is null; the workflow wants Int'),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_type_is_an_error(kind: str, value: object, sentence: str) -> None:
    (finding,) = checked(_typed(kind), {"w.x": value}).findings
    assert finding.message == sentence
    assert finding.is_error
    assert finding.file == "inputs.json"
    assert finding.line is not None


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("Int", 3),
        ("Int", 3.0),
        ("Int", "-3"),
        ("Float", 3),
        ("Float", "1e-3"),
        ("Float", " .5f "),
        ("Boolean", "TRUE"),
        ("Boolean", False),
        ("String", ""),
        ("String?", None),
        ("Int = 3", None),
        ("Array[Int]", []),
        ("Array[String?]", ["a", None]),
        ("Map[String,Int]", {}),
        ("Map[Int,Int]", {"1": "2"}),
        ("Pair[Int,Int]", {"Left": 1, "RIGHT": 2}),
        ("S", {"depth": 1}),
        ("S?", None),
    ],
)
def test_a_value_that_cromwell_coerces_is_fine(kind: str, value: object) -> None:
    main = f"version 1.0\n{_STRUCT}workflow w {{ input {{ {kind.replace(' =', ' x =')} "
    main += "} }\n" if "=" in kind else "x } }\n"
    assert told(checked(main, {"w.x": value})) == []


def test_a_number_where_a_file_is_due_says_what_to_give() -> None:
    (finding,) = checked(_typed("File"), {"w.x": 5}).findings
    assert finding.advice == "Give an s3:// URI or the path of a file in the bundle."


def test_an_int_beyond_32_bits_is_warned_of() -> None:
    assert told(checked(_typed("Int"), {"w.x": 2**31})) == [
        '(warning) inputs.json:2  "w.x" is too large for Cromwell, whose Int has 32 bits'
    ]
    assert told(checked(_typed("Int"), {"w.x": -(2**31)})) == []


def test_a_member_that_a_struct_does_not_have_is_warned_of() -> None:
    assert told(checked(_typed("S"), {"w.x": {"depth": 1, "ntoe": "x", "zzz": 1}})) == [
        '(warning) inputs.json:4  "w.x.ntoe" is no member of struct S. Did you mean "note"?',
        '(warning) inputs.json:5  "w.x.zzz" is no member of struct S',
    ]


def test_an_unknown_input_is_told_with_its_line_and_the_nearest_name() -> None:
    result = checked(
        workflow("File ref_fasta\n Int depth"),
        '{\n  "w.depth": 3,\n\n  "w.ref_fata": "s3://b/r.fa"\n}\n',
    )
    assert told(result) == [
        'inputs.json:4  unknown input "w.ref_fata". Did you mean "w.ref_fasta"?'
    ]


@pytest.mark.parametrize("key", ["depth", "other.depth", "W.depth"])
def test_a_wrong_or_missing_prefix_is_recognised(key: str) -> None:
    assert told(checked(workflow("Int depth"), {key: 3})) == [
        f'inputs.json:2  unknown input "{key}". Did you mean "w.depth"?'
    ]


def test_an_unknown_input_like_no_other_is_told_with_those_there_are() -> None:
    (finding,) = checked(workflow("Int depth = 3"), {"w.zzz": 3}).findings
    assert finding.advice == "The inputs of w: w.depth."
    (finding,) = checked("version 1.0\nworkflow w { }\n", {"w.zzz": 3}).findings
    assert finding.advice == "The inputs of w: none."
    many = "\n".join(f"Int number{index} = 1" for index in range(10))
    (finding,) = checked(workflow(many), {"w.zzz": 3}).findings
    assert finding.advice.endswith("w.number7 and 2 more.")


def test_each_missing_input_is_told() -> None:
    assert told(checked(workflow("File ref\n Int depth\n Int? x\n Int y = 1"), {})) == [
        'inputs.json  missing input "w.ref" (File)',
        'inputs.json  missing input "w.depth" (Int)',
    ]


def test_without_an_inputs_file_it_is_said_where_to_give_them() -> None:
    (finding,) = checked(workflow("File ref")).findings
    assert (str(finding), finding.advice) == (
        'missing input "w.ref" (File)',
        "Give it in inputs.json.",
    )


def test_unknown_inputs_are_a_warning_in_draft_2_where_cromwell_ignores_them() -> None:
    assert told(checked("workflow w { Int x }\n", {"w.x": 1, "w.y.z": 2})) == [
        '(warning) inputs.json:3  unknown input "w.y.z" is ignored'
    ]
    assert told(checked("workflow w { Int depth }\n", {"w.dpth": 1})) == [
        '(warning) inputs.json:2  unknown input "w.dpth" is ignored. Did you mean "w.depth"?',
        'inputs.json  missing input "w.depth" (Int)',
    ]


def test_overrides_of_a_tasks_runtime_are_left_to_cromwell() -> None:
    main = 'version 1.0\nimport "t.wdl" as t\nworkflow w { call t.align }\n'
    inputs = {"w.align.reads": "x", "w.align.runtime.memory": "4 GB"}
    assert told(checked(main, inputs, {"t.wdl": TASK})) == []


def test_the_long_form_of_sub_workflow_inputs_is_read() -> None:
    sub = "version 1.0\nworkflow sub { input { Int x Int y = 2 } output { Int z = x } }\n"
    main = (
        'version 1.0\nimport "sub.wdl" as s\nworkflow w { call s.sub as first { input: x = 1 } }\n'
    )
    assert told(checked(main, {"w.first.sub.y": 1}, {"sub.wdl": sub})) == []


def test_of_a_wdl_that_cannot_be_checked_only_what_is_sure_is_said_of_inputs() -> None:
    main = workflow("Int depth\n S sample\n Int twice = 1", "  Int twice = 2\n  call gone\n")
    inputs = {"w.depth": "x", "w.sample": {"any": 1}, "w.call.any": 1, "w.typo": 1, "v.x": 1}
    assert [
        str(finding) for finding in checked(main, inputs).findings if finding.file == "inputs.json"
    ] == [
        'inputs.json:2  "w.depth" is a String; the workflow wants Int',
        'inputs.json:7  unknown input "w.typo"',
        'inputs.json:8  unknown input "v.x"',
    ]


def test_of_an_unchecked_draft_2_workflow_no_input_is_sure() -> None:
    result = checked("workflow w {\n Int x\n Int x = 2\n}\n", {"w.y": 1})
    assert [finding.rule for finding in result.findings] == ["wdl-doubt", "inputs-unchecked"]


def test_of_very_many_findings_the_first_are_told_and_the_rest_counted() -> None:
    keys = {f"w.key{index}": 1 for index in range(150)}
    result = checked(workflow("Int depth"), keys)
    assert len(result.findings) == MAX_FINDINGS + 1
    assert told(result)[-1] == "and 51 more like these in the inputs"


def test_tasks_that_name_their_queue_are_told() -> None:
    lib = TASK.replace("command", 'runtime { docker: "x" queueArn: "arn:gpu" }\n  command')
    main = workflow("String q", "  call t.align\n  call own\n").replace(
        "workflow", 'import "lib/tasks.wdl" as t\nworkflow'
    )
    own = "task own {\n  input { String q }\n  command {}\n  runtime { queueArn: q }\n}\n"
    result = checked(main + own, files={"lib/tasks.wdl": lib})
    told = {(asked.file, asked.line, asked.value) for asked in result.queues}
    assert told == {("lib/tasks.wdl", 4, "arn:gpu"), ("main.wdl", 13, None)}


def test_what_looks_like_a_queue_is_told_of_a_file_that_cannot_be_parsed() -> None:
    [asked] = checked('version 1.0\ntask t {\n  runtime { queueArn : "arn:gpu" }\n').queues
    assert (asked.file, asked.line, asked.value) == ("main.wdl", 3, None)


def test_a_queue_that_only_a_comment_names_is_no_queue() -> None:
    assert checked(TASK.replace("command", "# queueArn: x\n  command")).queues == ()
