"""What is delivered to the Cromwell instance: gathered alike twice, and enough by itself."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def gathered(folder: Path) -> Path:
    """Run the makefile as `sam build` does, and return what it made."""
    subprocess.run(
        ["make", "--silent", "build-ServerFiles", f"ARTIFACTS_DIR={folder}"],
        cwd=ROOT / "server",
        check=True,
    )
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gathered(tmp_path_factory.mktemp("files"))


def contents(folder: Path) -> dict[str, tuple[str, int, float]]:
    return {
        path.relative_to(folder).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mode,
            path.stat().st_mtime,
        )
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_it_is_the_same_each_time(files: Path, tmp_path: Path) -> None:
    assert contents(gathered(tmp_path)) == contents(files)


def test_it_has_the_whole_tree_and_nothing_of_this_machines(files: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "server"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    wheels = {name for name in contents(files) if name.endswith(".whl")}
    assert len(wheels) == 1
    assert contents(files).keys() - wheels == {*tracked.stdout.split()} - {"server/Makefile"}


def test_supervisor_is_installed_from_its_wheel_alone(files: Path, tmp_path: Path) -> None:
    step = "from server.install import supervisor; supervisor({'prefix': '" + str(tmp_path) + "'})"
    env = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    command = ["python3", "-c", step]
    subprocess.run(
        command, cwd=files, env={**env, "PIP_INDEX_URL": "http://127.0.0.1:9"}, check=True
    )
    told = subprocess.run(
        [tmp_path / "opt/dropwell/supervisor/bin/supervisord", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() in (ROOT / "server/supervisor.txt").read_text()
