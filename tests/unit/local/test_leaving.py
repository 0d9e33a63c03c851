"""What can be known of a task's files before it has run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import WDL

from dropwell_local.engine.leaving import Leaving, expected


def left(outputs: str, **inputs: str) -> Leaving:
    source = f"""version 1.0
    task t {{
      input {{ File? data  String? stem  Int n = 2 }}
      String base = basename(select_first([data, "none.bam"]), ".bam")
      command {{}}
      output {{ {outputs} }}
    }}"""
    known: Any = WDL.Env.Bindings()
    for name, value in inputs.items():
        known = known.bind(name, WDL.Value.String(value))
    return expected(_task(source), known)


def _task(source: str) -> Any:
    document = WDL.parse_document(source)
    document.typecheck(check_quant=False)
    return document.tasks[0]


def test_paths_are_put_together_from_inputs_declarations_and_other_outputs() -> None:
    leaving = left(
        'File a = "a.txt"  File b = "~{base}.~{n}.txt"  String s = "x"  File c = s + ".txt"  '
        'Array[File] d = ["d1", "d2"]',
        data="/in/sample.bam",
    )

    assert leaving.paths == ("a.txt", "sample.2.txt", "x.txt", "d1", "d2")


def test_what_may_be_missing_or_is_not_known_is_not_expected() -> None:
    leaving = left(
        'File? a = "a.txt"  Array[File?] b = ["b"]  File c = read_string("name.txt")  '
        'File d = stdout()  String e = "e.txt"  File f = select_first([data])',
        data="s3://b/in.bam",
    )

    assert leaving.paths == ()


def test_patterns_of_globs_are_evaluated() -> None:
    leaving = left('Array[File] a = glob("*.txt")  File b = glob("./p/~{base}*")[0]')

    assert leaving.globs == ("*.txt", "p/none*")


def test_what_is_not_there_is_missing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()

    assert Leaving(("a.txt",)).missing(tmp_path) == []
    assert Leaving(("a.txt", "b.txt")).missing(tmp_path) == ["b.txt"]
