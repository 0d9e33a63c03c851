"""Where Cromwell's AWS Batch backend puts a call's files, and what it names and tags its job.

miniwdl names a call ``call-ALIAS-I-J`` by the indices of the scatters around it.
Cromwell has one index a call: an inner scatter is a sub-workflow of its own,
``ScatterAt<line>_<column>`` (ScatterElementToGraphNode.scala), whose calls keep the
name of the enclosing workflow.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from dropwell.calls import UNSCATTERED, CallId, CallPlace
from dropwell_local.engine import store

_CALL = re.compile(r"call-([A-Za-z][A-Za-z0-9_]*)((?:-\d+)*)")
_MOST_TAGS = 50
_TAG_KEY = re.compile(r"[\w\s+\-=.:/@]{1,128}")
_TAG_VALUE = re.compile(r"[\w\s+\-=.:/@]{0,256}")


@dataclass(frozen=True, slots=True)
class Holder:
    """A workflow that holds calls: the run itself, a sub-workflow, or an inner scatter.

    Parameters
    ----------
    workflow_id : str
        Its UUID.
    folder : str
        The name of its folder, which is its WDL name or ``ScatterAt<line>_<column>``.
    name : str
        What the names of its calls begin with.
    root : str
        ``s3://…/<folder>/<uuid>``, no slash at the end.
    chain : tuple of str
        Aliases of the calls that lead to it.
    """

    workflow_id: str
    folder: str
    name: str
    root: str
    chain: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """One shard of one call in the workflow that directly holds it."""

    holder: Holder
    alias: str
    shard: int
    fqn: str

    @property
    def folder(self) -> str:
        shard = "" if self.shard == UNSCATTERED else f"/shard-{self.shard}"
        return f"{self.holder.root}/call-{self.alias}{shard}"


def root_holder(workflow_id: str, name: str, root: str) -> Holder:
    return Holder(workflow_id, name, name, f"{root.rstrip('/')}/{name}/{workflow_id}")


def parse_call(run_id: str) -> tuple[str, tuple[int, ...]]:
    """Split miniwdl's id of a call into its alias and the indices around it, outermost first.

    >>> parse_call("call-align-3-0")
    ('align', (3, 0))
    """
    match = _CALL.fullmatch(run_id)
    if match is None:
        raise ValueError(f"not the id of a call: {run_id}")
    return match[1], tuple(int(index) for index in match[2].split("-") if index)


def inner_call(holder: Holder, alias: str, shard: int, folder: str, name: str) -> Holder:
    """Return the workflow that a call of `holder` runs: a sub-workflow or an inner scatter."""
    call = Call(holder, alias, shard, "")
    workflow_id = str(uuid.uuid5(uuid.UUID(holder.workflow_id), f"{alias}/{shard}"))
    return Holder(
        workflow_id, folder, name, f"{call.folder}/{folder}/{workflow_id}", (*holder.chain, alias)
    )


def locate(
    holder: Holder, run_id: str, inner_scatters: Sequence[str] = ()
) -> tuple[Call, list[tuple[Call, Holder]]]:
    """Return the call that an id of miniwdl names, and the inner scatters that lead to it.

    Parameters
    ----------
    holder : Holder
        The WDL workflow that the call stands in.
    run_id : str
        As in `parse_call`.
    inner_scatters : sequence of str
        Cromwell's names of all scatters around the call but the outermost.

    Examples
    --------
    >>> top = root_holder("e6236763-c518-41d0-9688-432549a8bf7d", "w", "s3://b/r")
    >>> call, passed = locate(top, "call-t-2-5", ["ScatterAt6_14"])
    >>> call.fqn, call.shard, call.holder.folder, passed[0][0].shard
    ('w.t', 5, 'ScatterAt6_14', 2)
    """
    alias, indices = parse_call(run_id)
    passed: list[tuple[Call, Holder]] = []
    for name, index in zip(inner_scatters, indices, strict=False):
        through = Call(holder, name, index, name)
        holder = inner_call(holder, name, index, folder=name, name=holder.name)
        passed.append((through, holder))
    shard = indices[-1] if indices else UNSCATTERED
    return Call(holder, alias, shard, f"{holder.name}.{alias}"), passed


def place_of(run: Holder, call: Call, attempt: int) -> CallPlace:
    """Return where the files of one attempt of a call lie (AwsBatchJobPaths.scala)."""
    bucket, key = store.split(call.folder + (f"/attempt-{attempt}" if attempt > 1 else ""))
    return CallPlace(
        run_id=run.workflow_id,
        run_name=run.folder,
        call_id=CallId(call.holder.workflow_id, call.alias, call.shard, attempt),
        chain=call.holder.chain,
        bucket=bucket,
        root=key,
    )


def glob_folder(pattern: str, workflow_id: str) -> str:
    """Return where the files of a glob lie below their call (AwsBatchGlobFunctions.scala).

    Parameters
    ----------
    workflow_id : str
        Of the workflow that holds the call.

    Examples
    --------
    >>> glob_folder("parts/*.part", "e6236763-c518-41d0-9688-432549a8bf7d")
    'parts/.glob-3d7c0c790cbfaf1799752d36c0ad63d1'
    """
    folder = PurePosixPath(pattern).parent
    while "*" in str(folder):
        folder = folder.parent
    digest = hashlib.md5(f"{pattern}-{workflow_id}".encode(), usedforsecurity=False).hexdigest()
    return str(folder / f".glob-{digest}")


def tags_of(run: Holder, call: Call, attempt: int, labels: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of a call's job (AwsBatchJob.scala, lines 700-721): labels, then its own.

    >>> top = root_holder("e6236763-c518-41d0-9688-432549a8bf7d", "w", "s3://b/r")
    >>> tags_of(top, locate(top, "call-t-2")[0], 1, {})["cromwell-task-id"]
    'w.t-Some_2_-1'
    """
    index = "None" if call.shard == UNSCATTERED else f"Some({call.shard})"
    return {
        **labels,
        "cromwell-workflow-name": call.holder.folder,
        "cromwell-workflow-id": call.holder.workflow_id,
        "cromwell-task-id": re.sub(r"[^a-zA-Z0-9_.:/=+-@]+", "_", f"{call.fqn}-{index}-{attempt}"),
        "cromwell-root-workflow-name": run.folder,
        "cromwell-root-workflow-id": run.workflow_id,
    }


def against_tags(tags: Mapping[str, str]) -> str:
    """Say why Batch takes no job with such tags; empty, if it does.

    Cromwell looks at none of this (AwsBatchJob.scala, lines 700-721); the limits are those of
    Batch's user guide, "Tag restrictions", the words are ours.

    Examples
    --------
    >>> against_tags({"project": "cardio"}), against_tags({"aws:team": "cardio"})
    ('', 'the tag key "aws:team" is reserved for AWS')
    """
    if len(tags) > _MOST_TAGS:
        return f"{len(tags)} tags, of which a job can have {_MOST_TAGS}"
    for key, value in tags.items():
        if key.lower().startswith("aws:"):
            return f'the tag key "{key}" is reserved for AWS'
        if not _TAG_KEY.fullmatch(key):
            return f'"{key}" is no tag key'
        if not _TAG_VALUE.fullmatch(value):
            return f'"{value}" is no value of a tag'
    return ""


def job_tag(call: Call, attempt: int) -> str:
    """How Cromwell's failure texts name a call: ``wf.task:NA:1``, ``wf.task:3:2``."""
    return f"{call.fqn}:{'NA' if call.shard == UNSCATTERED else call.shard}:{attempt}"
