"""Bundles as the packers of this world write them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from dropwell.bundles import Bundle, open_bundle
from dropwell.errors import BadBundle

PACKERS = {
    "zip": 'zip -qr "$OUT" .',
    "zip into a pipe": 'zip -qr - . | cat >"$OUT"',
    "zip, stored": 'zip -qr0 "$OUT" .',
    "zip of the folder itself": 'cd .. && zip -qr "$OUT" bundle',
    "7z": '7z a -bd -tzip "$OUT" . >/dev/null',
    "bsdtar": 'bsdtar -a -cf "$OUT" *',
}
TARS = {
    "tar": 'tar -czf "$OUT" .',
    "tar of the folder itself": 'tar -czf "$OUT" -C .. bundle',
    "tar, as POSIX has it": 'tar --format=posix -czf "$OUT" *',
    "tar, as of old": 'tar --format=v7 -czf "$OUT" *',
    "bsdtar": 'bsdtar -czf "$OUT" .',
    "tar folded in two": 'tar -cf - . | (head -c 5000 | gzip; cat | gzip) >"$OUT"',
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder that a scientist would pack."""
    folder = tmp_path / "bundle"
    files = {
        "main.wdl": 'version 1.0\nimport "tasks/größe.wdl" as sizes\nworkflow w {}\n',
        "tasks/größe.wdl": "version 1.0\ntask t { command {} }\n",
        "inputs.json": '{"w.reads": "reads.fastq"}',
        "reads.fastq": "@r1\nACGT\n+\n!!!!\n" * 1000,
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def opened(folder: Path, command: str, name: str = "out.zip") -> Bundle:
    out = folder.parent / name
    subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env={**os.environ, "OUT": str(out)},
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return open_bundle(out.read_bytes(), out.name)


@pytest.mark.parametrize("packer", PACKERS)
def test_what_a_packer_writes_is_read(folder: Path, packer: str) -> None:
    assert_whole(opened(folder, PACKERS[packer]), folder)


@pytest.mark.parametrize("packer", TARS)
def test_what_tar_writes_is_read(folder: Path, packer: str) -> None:
    assert_whole(opened(folder, TARS[packer], "out.tar.gz"), folder)


def assert_whole(bundle: Bundle, folder: Path) -> None:
    assert bundle.main == "main.wdl"
    assert bundle.inputs == {"w.reads": "reads.fastq"}
    assert set(bundle.entries) == {"main.wdl", "tasks/größe.wdl", "inputs.json", "reads.fastq"}
    assert bundle.open("reads.fastq").read() == (folder / "reads.fastq").read_bytes()
    assert bundle.findings == ()


def test_an_encrypted_bundle_is_refused_in_words(folder: Path) -> None:
    with pytest.raises(BadBundle, match="encrypted"):
        opened(folder, 'zip -qr --password secret "$OUT" .')


def test_what_tar_links_is_refused(folder: Path) -> None:
    (folder / "again.wdl").hardlink_to(folder / "main.wdl")
    with pytest.raises(BadBundle, match="hard link"):
        opened(folder, 'tar -czf "$OUT" .', "out.tar.gz")
    opened(folder, 'tar --hard-dereference -czf "$OUT" .', "out.tar.gz")


def test_a_link_out_of_the_bundle_is_refused(folder: Path) -> None:
    (folder / "secrets").symlink_to("/etc/passwd")
    with pytest.raises(BadBundle, match="link"):
        opened(folder, 'zip -qry "$OUT" .')
