"""What can be dropped, and the bytes it becomes."""

from __future__ import annotations

import io
import os
import zipfile

import pytest

from dropwell_cli import Failure
from dropwell_cli.packing import packed


@pytest.fixture
def folder(tmp_path):
    """A folder with a hidden file, a hidden folder, and one folder in it."""
    bundle = tmp_path / "wgs"
    for path in ("main.wdl", "inputs.json", "tasks/align.wdl", ".DS_Store", ".git/config"):
        (bundle / path).parent.mkdir(parents=True, exist_ok=True)
        (bundle / path).write_text(f"this is {path}")
    return bundle


def names(parcel):
    return zipfile.ZipFile(io.BytesIO(parcel.data)).namelist()


def test_a_folder_becomes_a_zip_of_its_name(folder):
    parcel = packed(folder)
    assert parcel.file_name == "wgs.zip"
    assert parcel.name == "wgs"
    assert names(parcel) == ["inputs.json", "main.wdl", "tasks/align.wdl"]


def test_the_same_folder_becomes_the_same_bytes(folder):
    before = packed(folder)
    os.utime(folder / "main.wdl", (1, 1))
    assert packed(folder).data == before.data


def test_hidden_files_and_folders_stay_behind(folder):
    assert not [name for name in names(packed(folder)) if "." in (name[0], name)]


def test_a_folder_given_as_a_dot_is_called_by_its_name(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert packed(type(folder)(".")).file_name == "wgs.zip"


def test_what_a_link_points_to_is_packed_and_no_link(folder, tmp_path):
    (tmp_path / "reference.fa").write_text("ACGT")
    (folder / "reference.fa").symlink_to(tmp_path / "reference.fa")
    archive = zipfile.ZipFile(io.BytesIO(packed(folder).data))
    assert archive.read("reference.fa") == b"ACGT"
    assert archive.getinfo("reference.fa").external_attr >> 16 == 0o100644


@pytest.mark.parametrize("name", ["hello.wdl", "wgs.zip", "wgs.tar.gz"])
def test_a_file_is_dropped_as_it_is(tmp_path, name):
    (tmp_path / name).write_bytes(b"as it is")
    parcel = packed(tmp_path / name)
    assert (parcel.file_name, parcel.data) == (name, b"as it is")


@pytest.mark.parametrize("name", ["notes.txt", "wgs.zip.part", ".hidden.zip"])
def test_what_the_inbox_would_ignore_is_refused_at_once(tmp_path, name):
    (tmp_path / name).write_text("x")
    with pytest.raises(Failure, match=r"would be left alone.*Give a zip, a tar.gz, a WDL file"):
        packed(tmp_path / name)


def test_what_is_not_there_is_said_so(tmp_path):
    with pytest.raises(Failure, match="wgs is not there"):
        packed(tmp_path / "wgs")


def test_an_empty_folder_is_no_bundle(tmp_path):
    with pytest.raises(Failure, match="holds no files"):
        packed(tmp_path)
