"""The engine process: one run, from its files on this machine to its last word to the server.

miniwdl keeps one flag and its signal handlers for the whole process, so every run has a
process of its own.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import resource
import socket
import sys
import threading
import time
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import WDL
import WDL.runtime

from dropwell_local.engine import processes, retrying
from dropwell_local.engine.caching import mode_of
from dropwell_local.engine.endings import Ending
from dropwell_local.engine.holding import Going
from dropwell_local.engine.inputs import BadInputs, bind
from dropwell_local.engine.session import Failure, Past, Session, begin, failed, failure
from dropwell_local.engine.wire import Wire

_MAX_IMPORTS = 1 << 30
_MAX_SOURCE = 64 << 20

_SETTINGS: dict[str, dict[str, Any]] = {
    "scheduler": {
        "container_backend": "dropwell_host",
        "task_concurrency": 600,  # all shards are calls at once; tokens say how many are jobs
        "subworkflow_concurrency": 64,
        "scatter_tag_max": 0,
        "fail_fast": False,  # NoNewCalls
    },
    "file_io": {"root": "/", "allow_any_input": False},
    "task_runtime": {"cpu_max": -1, "memory_max": -1, "memory_limit_multiplier": 1.0},
    "call_cache": {"put": False, "get": False},
}
_RUNTIME_DEFAULTS = {"docker": "ubuntu:22.04", "cpu": 1, "memory": "2 GB"}


def main(fd: int, directory: Path, bwrap: str) -> None:
    """Run what `directory` holds and tell the server over `fd`.

    ``run.json`` has ``id``, ``root``, ``script_url``, ``labels``, ``options``, ``inputs``,
    ``workflow_url``, ``runtime_defaults``, ``memory_retry_keys``, ``trust_rc``,
    ``job_limit``, ``call_caching``; beside it lie ``main.wdl``, perhaps ``imports.zip`` and, of
    a run that was begun before, ``past.json``. `bwrap` is the program that keeps tasks apart,
    or empty.
    """
    lock = (directory / "lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)  # an engine that lost its server may be about to end
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # each running task holds log files
    processes.adopt_strays()
    wire = Wire(socket.socket(fileno=fd), on_lost=_lost)
    what = json.loads((directory / "run.json").read_text())
    session = Session(
        what["id"], what["root"], what["script_url"], directory, what["labels"], wire, bwrap
    )
    session.past = _past(directory / "past.json")
    session.tokens = threading.Semaphore(what["job_limit"])
    session.caching = mode_of(what["options"], enabled=what["call_caching"])
    begin(session)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    status, problems = _run(session, what)
    session.close(aborted=status == "Aborted")
    causes = session.failures_of(session.run_id)
    wire.send("finished", status=status, failures=[failed(causes)] if causes else problems)
    processes.kill_strays()


def _past(file: Path) -> dict[tuple[str, str, int, int], Past]:
    """Read what the server knows of call attempts from before it stopped."""
    past = {}
    for one in json.loads(file.read_text()) if file.exists() else []:
        workflow, fqn, shard, attempt = one.pop("call")
        ending = one.pop("ending")
        if ending is not None:
            ending = Ending(**{**ending, "log": tuple(ending["log"])})
        past[workflow, fqn, shard, attempt] = Past(**one, ending=ending)
    return past


def _lost() -> None:
    """End at once, with every task: nobody is left to say what may run."""
    for _ in range(3):  # a process that was being started shows only afterwards
        processes.kill_strays()
        time.sleep(0.05)
    os._exit(70)


def _run(session: Session, what: dict[str, Any]) -> tuple[str, list[Failure]]:
    directory = session.directory
    try:
        session.policy = retrying.Policy(
            memory_keys=tuple(what["memory_retry_keys"]),
            memory_factor=retrying.memory_factor(what["options"]),
            trust_rc=what["trust_rc"],
        )
        session.going = Going(hold=retrying.continues(what["options"]))
        workflow = _load(directory, what["workflow_url"])
        inputs = bind(workflow, what["inputs"])
    except BadInputs as error:
        causes = [failure(message) for message in error.messages]
        return "Failed", [failure("Workflow input processing failed", *causes)]
    except (
        WDL.Error.SyntaxError,
        WDL.Error.ImportError,
        WDL.Error.ValidationError,
        WDL.Error.MultipleValidationErrors,
        OSError,
        ValueError,
        zipfile.BadZipFile,
    ) as error:
        causes = [failure(text) for text in _sayings(error, directory)]
        return "Failed", [failure("Workflow input processing failed", *causes)]
    logger = logging.getLogger("dropwell-engine")
    cfg = WDL.runtime.config.Loader(logger, filenames=[])
    own = what["options"].get("default_runtime_attributes", {})
    defaults = {**_RUNTIME_DEFAULTS, **what["runtime_defaults"], **own}
    cfg.override({**_SETTINGS, "task_runtime": {**_SETTINGS["task_runtime"], "defaults": defaults}})
    try:
        WDL.runtime.run(cfg, workflow, inputs, run_dir=f"{directory}/execution/.")
    except WDL.runtime.Terminated:
        return "Aborted", []
    except WDL.runtime.RunFailed as error:
        cause: BaseException = error
        while isinstance(cause, WDL.runtime.RunFailed) and cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, WDL.runtime.Terminated):
            return "Aborted", []
        return "Failed", [failed([failure(str(cause))])]
    return "Succeeded", []


def _load(directory: Path, url: str) -> Any:
    """Return the workflow, its imports taken from the zip or over http(s)."""
    main_file, imports = directory / "source" / "main.wdl", directory / "imports"
    if url:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"Failed to resolve '{url}': only http and https can be fetched")
        if not main_file.stat().st_size:  # else it was fetched before the server stopped
            main_file.write_bytes(_fetch(url))
    imports.mkdir(exist_ok=True)
    if (directory / "imports.zip").exists():
        _unpack(directory / "imports.zip", imports)

    async def read_source(uri: str, path: list[str], importer: Any) -> Any:
        if "://" in uri:
            return await WDL.read_source_default(uri, path, importer)
        found = main_file if importer is None else _imported(uri, importer, main_file, imports)
        return await WDL.read_source_default(str(found), [], None)

    document = WDL.load(str(main_file), check_quant=False, read_source=read_source)
    if document.workflow is None:
        raise ValueError("The WDL source has no workflow, so there is nothing to run")
    return document.workflow


def _fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as answer:
        source: bytes = answer.read(_MAX_SOURCE)
    return source


def _imported(uri: str, importer: Any, main_file: Path, imports: Path) -> Path:
    """Return the file of the zip that an import means.

    Cromwell looks it up from the importing file's folder; from the zip's root where that is
    the main file, and everywhere in draft-2 (ImportResolver.scala, WdlNamespace.scala).
    """
    source = Path(importer.pos.abspath)
    from_root = source == main_file or importer.effective_wdl_version == "draft-2"
    found = (imports if from_root else source.parent).joinpath(uri).resolve()
    if not found.is_relative_to(imports.resolve()) or not found.is_file():
        raise FileNotFoundError(f"Import file not found '{uri}'")
    return found


def _unpack(archive: Path, target: Path) -> None:
    with zipfile.ZipFile(archive) as zipped:
        if sum(entry.file_size for entry in zipped.infolist()) > _MAX_IMPORTS:
            raise ValueError("The imports unfold to more than 1 GiB")
        zipped.extractall(target)  # drops '..' and leading slashes from names


def _sayings(error: BaseException, directory: Path) -> list[str]:
    """Return one line for each thing wrong, with its place in the submitted files."""
    if isinstance(error, WDL.Error.MultipleValidationErrors):
        return [line for one in error.exceptions for line in _sayings(one, directory)]
    if isinstance(error, WDL.Error.ImportError) and error.__cause__ is not None:
        inner = _sayings(error.__cause__, directory)
        return [f"{error}: {text}" for text in inner]
    pos = getattr(error, "pos", None)
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    for folder in ("source", "imports"):
        text = text.replace(f"{directory / folder}/", "")
    if pos is None:
        return [text]
    return [f"{Path(pos.abspath or pos.uri).name} line {pos.line} column {pos.column}: {text}"]


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
