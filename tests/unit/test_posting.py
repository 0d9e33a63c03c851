from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import pytest

from dropwell import posting, wdl
from dropwell.archives import Limits
from dropwell.bundles import Bundle
from dropwell.errors import BadBundle
from dropwell.posting import data_files, import_zip, main_source, rewritten
from dropwell.preflight import Checked
from tests.unit.bundle_builders import opened

MANIFEST = {"mainWorkflowURL": "wdl/main.wdl"}
MAIN = """version 1.0
# import "tasks.wdl" as not_this
import "tasks.wdl" as t
import "../shared/s.wdl" as s
workflow w { input { String x = "tasks.wdl" } }
"""
NESTED = {
    "MANIFEST.json": MANIFEST,
    "wdl/main.wdl": MAIN,
    "wdl/tasks.wdl": 'version 1.0\nimport "deep/d.wdl" as d\n',
    "wdl/deep/d.wdl": 'version 1.0\nimport "../../shared/s.wdl" as s\n',
    "shared/s.wdl": "version 1.0\nstruct S { Int x }\n",
    "unused.wdl": "version 1.0\n",
}


def both(files: Mapping[str, object], limits: Limits | None = None) -> tuple[Bundle, Checked]:
    bundle = opened(files, limits=limits)
    return bundle, wdl.check(bundle)


def unzipped(data: bytes | None) -> dict[str, str]:
    assert data is not None
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_the_main_wdl_names_its_imports_from_the_root_and_nothing_else_changes() -> None:
    bundle, checked = both(NESTED)
    assert main_source(bundle, checked) == MAIN.replace(
        'import "tasks.wdl" as t', 'import "wdl/tasks.wdl" as t'
    ).replace('"../shared/s.wdl"', '"shared/s.wdl"')


def test_the_zip_holds_the_imports_as_they_are_at_their_paths() -> None:
    bundle, checked = both(NESTED)
    assert unzipped(import_zip(bundle, checked)) == {
        path: NESTED[path] for path in ("shared/s.wdl", "wdl/deep/d.wdl", "wdl/tasks.wdl")
    }


def test_what_is_posted_means_the_same_when_it_is_read_from_the_root() -> None:
    bundle, checked = both(NESTED)
    posted = unzipped(import_zip(bundle, checked)) | {"main.wdl": main_source(bundle, checked)}
    again = wdl.check(opened(dict(posted)))
    assert (again.findings, again.closure) == ((), checked.closure)


def test_the_same_bundle_gives_the_same_bytes() -> None:
    first, second = (import_zip(*both(files)) for files in (NESTED, dict(reversed(NESTED.items()))))
    assert first == second


def test_a_bundle_without_imports_has_no_zip_and_its_text_is_untouched() -> None:
    text = "version 1.0\r\nworkflow w { }\r\n"
    bundle, checked = both({"main.wdl": text})
    assert import_zip(bundle, checked) is None
    assert main_source(bundle, checked) == text


def test_an_import_found_only_from_the_root_is_rewritten_for_cromwell() -> None:
    bundle, checked = both(
        {
            "main.wdl": 'version 1.0\nimport "lib/a.wdl" as a\nworkflow w { }\n',
            "lib/a.wdl": 'version 1.0\nimport "other/b.wdl" as b\n',
            "other/b.wdl": "version 1.0\n",
        }
    )
    posted = unzipped(import_zip(bundle, checked))
    assert posted["lib/a.wdl"] == 'version 1.0\nimport "../other/b.wdl" as b\n'


def test_draft_2_imports_are_named_from_the_root_at_every_level() -> None:
    bundle, checked = both(
        {
            "main.wdl": 'import "lib/a.wdl" as a\nworkflow w { call a.t }\n',
            "lib/a.wdl": 'import "b.wdl" as b\ntask t { command {} }\n',
            "lib/b.wdl": "task t { command {} }\n",
        }
    )
    posted = unzipped(import_zip(bundle, checked))
    assert posted["lib/a.wdl"].startswith('import "lib/b.wdl" as b\n')


def test_remote_imports_stay_as_they_are() -> None:
    main = 'version 1.0\nimport "https://h.example/x.wdl" as x\nworkflow w { }\n'
    bundle = opened({"main.wdl": main})
    checked = wdl.check(bundle, import_hosts=["h.example"])
    assert main_source(bundle, checked) == main
    assert import_zip(bundle, checked) is None


def test_imports_beyond_what_fits_are_refused() -> None:
    bundle, checked = both(NESTED, Limits(closure=100))
    with pytest.raises(
        BadBundle, match=r"the imported WDL files are .+ as a zip; at most 100 bytes"
    ):
        import_zip(bundle, checked)


# --- files -------------------------------------------------------------------------------------

TAKES_FILES = """version 1.0
struct S { File bam String note }
workflow w {
  input {
    File ref
    Array[File] reads = []
    S? sample
    Map[String, File]? by_name
    String label = ""
  }
}
"""


def with_inputs(inputs: dict[str, object], **files: object) -> tuple[Bundle, Checked]:
    named = {name.replace("__", "/").replace("_", "."): text for name, text in files.items()}
    bundle, checked = both({"main.wdl": TAKES_FILES, "inputs.json": inputs, **named})
    assert checked.findings == ()
    return bundle, checked


def test_files_of_the_bundle_are_rewritten_wherever_a_file_is_wanted_and_nowhere_else() -> None:
    inputs: dict[str, object] = {
        "w.ref": "./data/ref.fa",
        "w.reads": ["data/a.fq", "s3://b/c.fq", "data/a.fq"],
        "w.sample": {"bam": "data/a.fq", "note": "data/a.fq"},
        "w.by_name": {"data/a.fq": "data/ref.fa"},
        "w.label": "data/a.fq",
    }
    bundle, checked = with_inputs(inputs, data__ref_fa="ACGT", data__a_fq="@")
    files = data_files(bundle, checked)
    assert (files.entries, files.findings) == (("data/a.fq", "data/ref.fa"), ())
    uris = {entry: f"s3://wf/{entry}" for entry in files.entries}
    assert rewritten(bundle.inputs, files, uris) == {
        "w.ref": "s3://wf/data/ref.fa",
        "w.reads": ["s3://wf/data/a.fq", "s3://b/c.fq", "s3://wf/data/a.fq"],
        "w.sample": {"bam": "s3://wf/data/a.fq", "note": "data/a.fq"},
        "w.by_name": {"data/a.fq": "s3://wf/data/ref.fa"},
        "w.label": "data/a.fq",
    }
    assert bundle.inputs == inputs


def test_a_path_may_be_given_from_the_folder_of_its_inputs_file() -> None:
    bundle, checked = both(
        {
            "MANIFEST.json": {"inputFileURLs": ["in/a.json", "also/b.json"]},
            "main.wdl": TAKES_FILES,
            "in/a.json": {"w.ref": "x.fa"},
            "also/b.json": {"w.reads": ["x.fa", "../in/x.fa", "in/x.fa"]},
            "in/x.fa": "1",
            "also/x.fa": "2",
        }
    )
    carried = data_files(bundle, checked).carried
    assert [entry for _, entry in carried] == ["in/x.fa", "also/x.fa", "in/x.fa", "in/x.fa"]


def test_names_are_matched_however_their_accents_are_encoded() -> None:
    bundle, checked = both(
        {"main.wdl": TAKES_FILES, "inputs.json": {"w.ref": "donne\u0301es.fa"}, "données.fa": "A"}
    )
    assert data_files(bundle, checked).entries == ("données.fa",)


@pytest.mark.parametrize(
    ("value", "sentence", "is_error"),
    [
        (
            "ref.fa",
            'inputs.json:2  "w.ref" names "ref.fa", which is neither on S3 nor in the bundle. '
            'Did you mean "data/ref.fa"?',
            True,
        ),
        ("data", 'inputs.json:2  "w.ref" names "data", a folder of the bundle; a file was expected',
         True),
        ("/home/me/x.vcf",
         'inputs.json:2  "w.ref" names "/home/me/x.vcf", which is neither on S3 nor in the bundle',
         True),
        ("../x.vcf",
         'inputs.json:2  "w.ref" names "../x.vcf", which is neither on S3 nor in the bundle', True),
        ("file:///x.vcf",
         'inputs.json:2  "w.ref" names "file:///x.vcf", which is neither on S3 nor in the bundle',
         True),
        ("s3:/b/x", 'inputs.json:2  "w.ref" is "s3:/b/x", which is no S3 URI; s3://bucket/key was '
         "expected", True),
        ("s3://bucket", 'inputs.json:2  "w.ref" is "s3://bucket", which is no S3 URI; '
         "s3://bucket/key was expected", True),
        ("gs://b/x", 'inputs.json:2  "w.ref" is at gs://, not on S3; jobs on AWS Batch may not be '
         "able to read it", False),
        ("", 'inputs.json:2  "w.ref" is an empty path; a call that reads it will fail', False),
    ],
)  # fmt: skip
def test_a_file_that_no_job_could_read_is_told(value: str, sentence: str, is_error: bool) -> None:
    bundle, checked = with_inputs({"w.ref": value}, data__ref_fa="A")
    files = data_files(bundle, checked)
    (finding,) = files.findings
    assert (str(finding), finding.is_error) == (sentence, is_error)
    assert files.carried == ()


def test_the_line_is_that_of_the_value_in_its_array() -> None:
    bundle, checked = with_inputs({"w.ref": "s3://b/r", "w.reads": ["s3://b/a", "nope.fq"]})
    (finding,) = data_files(bundle, checked).findings
    assert finding.where == "inputs.json:5"
    assert finding.message.startswith('"w.reads[1]" names "nope.fq"')


def test_a_folder_of_the_bundle_cannot_be_a_directory_input() -> None:
    main = "version development\nworkflow w { input { Directory d } }\n"
    for value, told in (
        ("data/x/", ['"w.d" is a Directory within the bundle; only files are carried to S3']),
        ("data/x/a.fq", ['"w.d" is a Directory within the bundle; only files are carried to S3']),
        ("s3://b/data/", []),
    ):
        bundle, checked = both(
            {"main.wdl": main, "inputs.json": {"w.d": value}, "data/x/a.fq": "A"}
        )
        assert [finding.message for finding in data_files(bundle, checked).findings] == told


def test_of_very_many_wrong_files_the_first_are_told() -> None:
    bundle, checked = with_inputs({"w.ref": "s3://b/r", "w.reads": ["nope.fq"] * 300})
    assert len(data_files(bundle, checked).findings) == posting.MAX_FINDINGS
