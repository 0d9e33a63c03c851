"""What Cromwell copies to the places that a run's options name, when its last job has ended.

Which file goes where is OutputsLocationHelper.scala's and PathCopier.scala's doing, in
release 92; that a clash fails the run is CopyWorkflowOutputsActor.scala's.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from dropwell_local.engine import store
from dropwell_local.engine.inputs import not_on_s3

OUTPUTS, CALL_LOGS, WORKFLOW_LOG = (
    "final_workflow_outputs_dir",
    "final_call_logs_dir",
    "final_workflow_log_dir",
)
_UP_TO_THE_CALL = re.compile(
    r".*/call-[^/]*/(shard-[0-9]+/)?(cacheCopy/)?(attempt-[0-9]+/)?(execution/)?"
)


class NotFinalized(Exception):
    """Something could not be copied; the text says what and why."""


def output_copies(
    files: Iterable[str], options: Mapping[str, Any], *, root: str
) -> list[tuple[str, str]]:
    """Return each output file with the place that it is to be copied to.

    Parameters
    ----------
    files : iterable of str
        What the run's outputs name.
    root : str
        ``…config.root``, below which files keep their folders unless the options say
        ``use_relative_output_paths``.

    Raises
    ------
    NotFinalized
        The place is not on S3, or two files would go to one.

    Examples
    --------
    >>> file = "s3://b/r/w/e6/call-t/shard-0/out.txt"
    >>> output_copies([file], {OUTPUTS: "s3://o/all"}, root="s3://b/r")[0][1]
    's3://o/all/w/e6/call-t/shard-0/out.txt'
    >>> flat = {OUTPUTS: "s3://o/all/", "use_relative_output_paths": True}
    >>> output_copies([file], flat, root="s3://b/r")[0][1]
    's3://o/all/out.txt'
    """
    if OUTPUTS not in options:
        return []
    folder = _folder(options[OUTPUTS])
    flat = str(options.get("use_relative_output_paths", "")).lower() == "true"
    copies = {
        file: f"{folder}/{_UP_TO_THE_CALL.sub('', file, 1) if flat else _below(root, file)}"
        for file in files
    }
    clashes = [
        f"{file} -> {place}"
        for place, file in sorted((place, file) for file, place in copies.items())
        if list(copies.values()).count(place) > 1
    ]
    if clashes:
        raise NotFinalized(
            "Cannot copy output files to given final_workflow_outputs_dir as multiple files will "
            "be copied to the same path: \n" + "\n".join(clashes)
        )
    return list(copies.items())


def log_copies(
    logs: Iterable[str], options: Mapping[str, Any], *, root: str
) -> list[tuple[str, str]]:
    """Return each call's streams with the place that they are to be copied to."""
    if CALL_LOGS not in options:
        return []
    folder = _folder(options[CALL_LOGS])
    return [(log, f"{folder}/{_below(root, log)}") for log in logs]


def finalize(
    *, files: Iterable[str], logs: Iterable[str], options: Mapping[str, Any], root: str
) -> list[str]:
    """Copy what is to be copied; return what went wrong, for each of which the run fails.

    Parameters
    ----------
    files, logs : iterable of str
        The files of the run's outputs, and the streams of all its calls.
    """
    problems = []
    try:
        for source, place in output_copies(files, options, root=root):
            _copy(source, place)
    except NotFinalized as problem:
        problems.append(str(problem))
    try:
        for source, place in log_copies(logs, options, root=root):
            with contextlib.suppress(NotFinalized):  # a log that is not there fails nothing
                _copy(source, place)
    except NotFinalized as problem:
        problems.append(str(problem))
    return problems


def _copy(source: str, place: str) -> None:
    try:
        store.copy(source, place)
    except (ClientError, BotoCoreError) as error:
        raise NotFinalized(f"Failed to copy {source} to {place}: {error}") from error


def keep_workflow_log(workflow_id: str, directory: Path, options: Mapping[str, Any]) -> str:
    """Store what the run's engine wrote to its log; return where, or nothing.

    Parameters
    ----------
    directory : Path
        The run's, on this machine.

    Raises
    ------
    NotFinalized
        It could not be stored, which does not fail the run.
    """
    if WORKFLOW_LOG not in options:
        return ""
    place = f"{_folder(options[WORKFLOW_LOG])}/workflow.{workflow_id}.log"
    logs = (directory / "execution" / "workflow.log", directory / "engine.log")
    text = "".join(log.read_text(errors="replace") for log in logs if log.exists())
    try:
        store.put_text(place, text)
    except (ClientError, BotoCoreError) as error:
        raise NotFinalized(f"Could not copy workflow logs: {error}") from error
    return place


def _folder(given: Any) -> str:
    if not str(given).startswith("s3://"):
        raise NotFinalized(not_on_s3(str(given)))
    return str(given).rstrip("/")


def _below(root: str, file: str) -> str:
    """Return a file's path without the folders that it has in common with the root.

    >>> _below("s3://b/r", "s3://b/data/in.txt"), _below("s3://b/r", "s3://c/in.txt")
    ('data/in.txt', 'c/in.txt')
    """
    above, path = root.removeprefix("s3://").split("/"), file.removeprefix("s3://").split("/")
    while above and path[1:] and above[0] == path[0]:
        above, path = above[1:], path[1:]
    return "/".join(path)
