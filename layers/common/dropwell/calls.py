"""Which call of which run: read from Cromwell's S3 keys, its Batch tags and its scripts.

The shapes are those of Cromwell's AWS backend, the same in every release from
36 to 92 (AwsBatchJobPaths.scala, AwsBatchJob.scala): a call's files lie under
``<root>/<workflow>/<uuid>/call-<alias>[/shard-N][/attempt-K]/``, sub-workflows
nest, and the shard is part of a file's name while the attempt is not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

UNSCATTERED = -1
"""Cromwell's shard index of a call that is not in a scatter."""

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_ID = re.compile(_UUID)
_LEVEL = re.compile(
    rf"""
    (?P<workflow>[^/]+)/(?P<workflow_id>{_UUID})
    /call-(?P<call>[^/]+)
    (?:/shard-(?P<shard>\d{{1,9}}))?
    (?:/attempt-(?P<attempt>[2-9]|[1-9]\d{{1,8}})|/(?P<cached>cacheCopy))?
    /
    """,
    re.VERBOSE,
)
_TASK_ID = re.compile(
    r"(?:[^/\s]*\.)?(?P<call>[^./\s]{1,255})-(?:None|Some_(?P<shard>\d{1,9})_)-(?P<attempt>\d{1,9})"
)
_RC_UPLOAD = re.compile(
    r"""(?:_s3_delocalize_with_retry|s3\s+cp\s+--no-progress)\s+   # Cromwell 91+ | before
        "?\S+-rc\.txt"?\s+
        "?s3://(?P<bucket>[^/\s"]+)/(?P<key>[^"\s]+-rc\.txt)""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True, order=True)
class CallId:
    """One attempt of one shard of one call.

    Parameters
    ----------
    workflow_id : str
        The workflow that directly holds the call: the run's own id, or that of
        one of its sub-workflows.
    call : str
        The call's alias in that workflow.
    shard : int
        The shard's index, `UNSCATTERED` for a call outside any scatter.
    attempt : int
        Cromwell's attempt, from 1. Retries that Batch makes within one job are
        not attempts.
    """

    workflow_id: str
    call: str
    shard: int = UNSCATTERED
    attempt: int = 1

    def __str__(self) -> str:
        """Return the one-line form that names the call's item in the table."""
        return f"{self.workflow_id}/{self.call}/{self.shard}/{self.attempt}"

    @classmethod
    def parse(cls, text: str) -> CallId:
        """Read back what `str` wrote.

        >>> CallId.parse(str(CallId("6f2c", "align", 3, 2))) == CallId("6f2c", "align", 3, 2)
        True
        """
        workflow_id, call, shard, attempt = text.split("/")
        return cls(workflow_id, call, int(shard), int(attempt))

    @property
    def label(self) -> str:
        """How people name the call: ``align``, ``align shard 17``, ``align shard 17 attempt 2``."""
        shard = "" if self.shard == UNSCATTERED else f" shard {self.shard}"
        attempt = "" if self.attempt == 1 else f" attempt {self.attempt}"
        return f"{self.call}{shard}{attempt}"


@dataclass(frozen=True, slots=True)
class CallPlace:
    """A call and where its files lie.

    Parameters
    ----------
    run_id, run_name : str
        The root workflow's id and WDL name.
    call_id : CallId
        The call itself.
    chain : tuple of str
        Aliases of the sub-workflow calls that lead to it, outermost first.
    bucket, root : str
        The call's folder: ``s3://bucket/root`` with no slash at the end.
    cached : bool
        The files were copied by call caching; nothing was executed.
    """

    run_id: str
    run_name: str
    call_id: CallId
    chain: tuple[str, ...]
    bucket: str
    root: str
    cached: bool = False

    @property
    def _stem(self) -> str:
        call = self.call_id
        return call.call if call.shard == UNSCATTERED else f"{call.call}-{call.shard}"

    @property
    def rc_key(self) -> str:
        return f"{self.root}/{self._stem}-rc.txt"

    @property
    def stdout_key(self) -> str:
        return f"{self.root}/{self._stem}-stdout.log"

    @property
    def stderr_key(self) -> str:
        return f"{self.root}/{self._stem}-stderr.log"


def place_of_rc_key(bucket: str, key: str) -> CallPlace | None:
    """Return the call whose return code is written at an S3 key, `None` if it is no such key.

    A task may write a file of its own that ends in ``-rc.txt``; only the name
    that Cromwell gives, directly in the call's folder, counts.

    Parameters
    ----------
    bucket, key : str
        As in the S3 event, decoded.

    Examples
    --------
    >>> uuid = "e6236763-c518-41d0-9688-432549a8bf7d"
    >>> place = place_of_rc_key("b", f"cromwell-execution/w/{uuid}/call-B/shard-2/B-2-rc.txt")
    >>> place.call_id.label, place.stderr_key.rpartition("/")[2]
    ('B shard 2', 'B-2-stderr.log')
    """
    levels: list[re.Match[str]] = []
    for level in _LEVEL.finditer(key):
        if levels and level.start() != levels[-1].end():
            return None
        levels.append(level)
    if not levels:
        return None
    first, last = levels[0], levels[-1]
    place = CallPlace(
        run_id=first["workflow_id"],
        run_name=first["workflow"],
        call_id=CallId(
            workflow_id=last["workflow_id"],
            call=last["call"],
            shard=UNSCATTERED if last["shard"] is None else int(last["shard"]),
            attempt=int(last["attempt"] or 1),
        ),
        chain=tuple(level["call"] for level in levels[:-1]),
        bucket=bucket,
        root=key[: last.end() - 1],
        cached=last["cached"] is not None,
    )
    return place if key == place.rc_key else None


def place_of_script(text: str) -> CallPlace | None:
    """Return the call that a Batch job's script runs, from the line that uploads its rc file.

    The script is the object that the container's ``BATCH_FILE_S3_URL`` names
    (every Cromwell since 52). It holds for any job state, whatever became of
    the job.
    """
    for upload in _RC_UPLOAD.finditer(text):
        if place := place_of_rc_key(upload["bucket"], upload["key"]):
            return place
    return None


@dataclass(frozen=True, slots=True)
class TaggedCall:
    """What the tags of a Batch job say of its call: no folder, but no request either."""

    run_id: str
    run_name: str
    call_id: CallId


def call_of_tags(tags: Mapping[str, str]) -> TaggedCall | None:
    """Return the call that Cromwell's tags name, `None` if they are absent or unreadable.

    Whoever may submit a job may tag it as he likes: ids that are no UUIDs, which
    Cromwell's always are, would lead to items of the table that are no run's.

    Parameters
    ----------
    tags : mapping
        The job's tags. Cromwell sets its own when ``tagResources`` is on (91 and
        later; AwsBatchJob.scala, lines 700-721). The form of a shard's
        ``cromwell-task-id`` is inferred from that source: ``wf.call-Some_3_-1``.

    Examples
    --------
    >>> uuid = "e6236763-c518-41d0-9688-432549a8bf7d"
    >>> tagged = call_of_tags({
    ...     "cromwell-root-workflow-id": uuid, "cromwell-workflow-id": uuid,
    ...     "cromwell-task-id": "wf.align-Some_3_-2"})
    >>> tagged.call_id.label, tagged.run_id == tagged.call_id.workflow_id == uuid
    ('align shard 3 attempt 2', True)
    """
    root = tags.get("cromwell-root-workflow-id", "")
    workflow = tags.get("cromwell-workflow-id", "")
    task = _TASK_ID.fullmatch(tags.get("cromwell-task-id", ""))
    if not _ID.fullmatch(root) or not _ID.fullmatch(workflow) or task is None:
        return None
    return TaggedCall(
        run_id=root,
        run_name=tags.get("cromwell-root-workflow-name", ""),
        call_id=CallId(
            workflow_id=workflow,
            call=task["call"],
            shard=UNSCATTERED if task["shard"] is None else int(task["shard"]),
            attempt=int(task["attempt"]),
        ),
    )
