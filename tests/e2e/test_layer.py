from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from dropwell_local.build import PROJECT, Tools

SHARED_LIBRARY_OF_ARM64 = b"\xb7\x00"
"""``e_machine`` of an ELF file, at byte 18: EM_AARCH64 (elf.h)."""


def build_layer(folder: Path, **settings: str) -> Path:
    """Run the layer's makefile as `sam build` does and return the folder of its modules."""
    # The sources are read where they lie; nothing is written there.
    subprocess.run(
        ["make", "--silent", "build-CommonLayer", f"ARTIFACTS_DIR={folder}"],
        cwd=PROJECT / "layers/common",
        env={**os.environ, "PATH": f"{Tools().sam.parent}:{os.environ['PATH']}", **settings},
        check=True,
    )
    return folder / "python"


def contents(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the layer as it goes to AWS."""
    return build_layer(tmp_path_factory.mktemp("layer"))


def test_the_layer_is_for_lambda_and_not_for_this_machine(layer: Path) -> None:
    libraries = list(layer.rglob("*.so"))
    assert libraries
    for library in libraries:
        assert library.read_bytes()[18:20] == SHARED_LIBRARY_OF_ARM64
        assert ".cpython-313-aarch64-linux-gnu." in library.name


def test_the_layer_carries_the_application_with_its_data(layer: Path) -> None:
    sources = PROJECT / "layers/common/dropwell"
    expected = {
        str(file.relative_to(sources.parent))
        for file in sources.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert expected <= contents(layer).keys()


def test_the_layer_carries_no_tests_and_nothing_that_lambda_brings(layer: Path) -> None:
    names = {path.name for path in layer.rglob("*")}
    assert not names & {"tests", "bin", "boto3", "botocore", "docker"}


def test_the_layer_fits_into_lambda_with_room_to_spare(layer: Path) -> None:
    size = sum(file.stat().st_size for file in layer.rglob("*") if file.is_file())
    assert size < 50_000_000  # of 250 MB unzipped, and every cold start unpacks it


def test_the_same_sources_make_the_same_layer(layer: Path, tmp_path: Path) -> None:
    assert contents(build_layer(tmp_path)) == contents(layer)


def test_without_the_target_python_the_layer_has_no_byte_code_and_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    hidden = tmp_path / "python3.13"
    hidden.write_text("#!/bin/sh\nexit 127\n")
    hidden.chmod(0o755)
    layer = build_layer(tmp_path / "layer", PATH=f"{tmp_path}:{Tools().sam.parent}:/usr/bin:/bin")
    assert not list(layer.rglob("*.pyc"))
    assert "no python3.13 here" in capfd.readouterr().err


def test_an_architecture_that_lambda_lacks_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        build_layer(tmp_path, LAYER_ARCH="riscv64")
    assert 'arm64 or x86_64, not "riscv64"' in capfd.readouterr().err
