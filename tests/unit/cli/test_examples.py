"""The example bundles are what their pages say, and make up the demonstration."""

from __future__ import annotations

from pathlib import Path

import pytest

from dropwell import wdl
from dropwell.bundles import open_bundle
from dropwell.posting import data_files, import_zip
from dropwell_cli.demo import EXAMPLES, parcels
from dropwell_cli.packing import packed

FOLDER = Path(__file__).parents[3] / "examples"


def opened(name):
    parcel = packed(FOLDER / name)
    bundle = open_bundle(parcel.data, parcel.file_name)
    return bundle, wdl.check(bundle)


def test_every_example_is_in_the_demonstration_and_on_the_page():
    folders = {path.name for path in FOLDER.iterdir() if path.is_dir()}
    assert {example.folder for example in EXAMPLES} == folders
    assert [parcel.name for parcel in parcels()] == [example.folder for example in EXAMPLES]
    page = (FOLDER / "README.md").read_text()
    for example in EXAMPLES:
        assert f"| [{example.folder}]({example.folder}) |" in page
        assert f"| {example.state.value} |" in page
        assert (FOLDER / example.folder / "README.md").exists()


@pytest.mark.parametrize("name", ["hello", "fastq-stats", "subworkflows", "failing"])
def test_nothing_stands_against_an_example_that_is_to_run(name):
    bundle, checked = opened(name)
    assert (bundle.findings, checked.findings, data_files(bundle, checked).findings) == ((),) * 3
    assert bundle.name == name


def test_the_typo_is_found_and_its_right_spelling_is_named():
    _, checked = opened("typo")
    assert [str(found) for found in checked.findings if found.is_error] == [
        'inputs.json:2  unknown input "count_bases.refrence". Did you mean "count_bases.reference"?'
    ]


def test_fastq_stats_carries_its_reads():
    bundle, checked = opened("fastq-stats")
    assert data_files(bundle, checked).entries == ("data/reads.fastq",)


def test_subworkflows_imports_up_and_over():
    bundle, checked = opened("subworkflows")
    assert any(found.uri.startswith("../") for found in checked.imports)
    assert import_zip(bundle, checked)
    assert checked.version == "1.1"


def test_an_example_ended_as_it_should_only_with_its_state_and_its_cause():
    failing = next(example for example in EXAMPLES if example.folder == "failing")
    assert failing.ended_so("EXECUTOR_ERROR", "TASK_ERROR")
    assert not failing.ended_so("EXECUTOR_ERROR", "OUT_OF_MEMORY")
    assert not failing.ended_so("COMPLETE", None)
