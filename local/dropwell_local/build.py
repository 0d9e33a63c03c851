"""`sam build` of this project for this machine, kept while nothing that it reads changes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dropwell_local import LocalFailure, handlers_here

PROJECT = Path(__file__).parents[2]
_INPUTS = (
    "template.yaml",
    "stacks",
    "server",
    "functions",
    "layers/common",
    "local/dropwell_local/handlers_here.py",
)


@dataclass(frozen=True, slots=True)
class Tools:
    """The environments that `make setup` makes beside the one this runs in."""

    folder: Path = PROJECT / ".tools"

    @property
    def sam(self) -> Path:
        return self._program("sam", "sam")

    @property
    def sam_python(self) -> Path:
        return self._program("sam", "python")

    @property
    def emulator_python(self) -> Path:
        return self._program("emulator", "python")

    @property
    def runtime_python(self) -> Path:
        return self._program("runtime", "python")

    def _program(self, environment: str, name: str) -> Path:
        program = self.folder / environment / "bin" / name
        if not program.exists():
            raise ToolMissing(f"{program} is not there yet. Run `make setup` in {PROJECT} first.")
        return program


class ToolMissing(LocalFailure):
    """Set-up was not run."""


class CommandFailed(LocalFailure):
    """A program that the stack needs ended with an error; the text ends with what it said."""


def architecture() -> str:
    """Lambda's word for this machine's processor."""
    return "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"


def built_template(*, builds: Path, tools: Tools, log: Path, project: Path = PROJECT) -> Path:
    """Return a template that `sam deploy` can deploy to the emulator, building what it needs.

    Parameters
    ----------
    builds : Path
        Where builds are kept, one folder for each state of the sources.
    tools : Tools
        The environments to build with and for.
    log : Path
        Where the tools' own words go.
    project : Path
        The sources.
    """
    build = builds / digest(project, tools)
    template = build / handlers_here.TEMPLATE
    builds.mkdir(parents=True, exist_ok=True)
    with _alone_in(builds):
        if not template.exists():
            shutil.rmtree(build, ignore_errors=True)
            _build(build, project, tools, log)
    return template


def _build(build: Path, project: Path, tools: Tools, log: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{tools.sam.parent}:{os.environ['PATH']}",
        "SAM_CLI_TELEMETRY": "0",
        "LAYER_PYTHON": _python_version(tools.runtime_python),
        "LAYER_ARCH": architecture(),
    }
    run(
        str(tools.sam),
        "build",
        *("--template", str(project / "template.yaml")),
        *("--build-dir", str(build)),
        *("--parameter-overrides", f"Architecture={architecture()}"),
        environment=environment,
        log=log,
    )
    run(
        str(tools.sam_python),
        handlers_here.__file__,
        str(build),
        str(tools.runtime_python),
        environment=environment,
        log=log,
    )


@contextlib.contextmanager
def _alone_in(builds: Path) -> Iterator[None]:
    """Keep two stacks that start at once from making the same build."""
    with (builds / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(*command: str, environment: dict[str, str], log: Path) -> None:
    """Run a program to its end, its words going to a log.

    Raises
    ------
    CommandFailed
        With the end of what it said.
    """
    with log.open("ab") as output:
        start = output.tell()
        result = subprocess.run(
            command,
            env=environment,
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if result.returncode:
        said = log.read_bytes()[start:][-3000:].decode(errors="replace")
        name = " ".join([Path(command[0]).name, *command[1:2]])
        raise CommandFailed(f"`{name}` failed. The end of {log}:\n{said}")


def _python_version(python: Path) -> str:
    """Return the ``3.11`` of an environment, from the name of its library folder."""
    (library,) = (python.parents[1] / "lib").glob("python3.*")
    return library.name.removeprefix("python")


def digest(project: Path, tools: Tools) -> str:
    """Name everything that a build depends on: sources, interpreter, processor."""
    python = tools.runtime_python
    name = hashlib.sha256(f"{python} {_python_version(python)} {architecture()}".encode())
    for source in _sources(project):
        executable = source.stat().st_mode & 0o111
        name.update(f"\n{source.relative_to(project)} {executable}\n".encode())
        name.update(hashlib.sha256(source.read_bytes()).digest())
    return name.hexdigest()[:16]


def _sources(project: Path) -> Iterator[Path]:
    for name in _INPUTS:
        path = project / name
        for source in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if source.is_file() and "__pycache__" not in source.parts:
                yield source
