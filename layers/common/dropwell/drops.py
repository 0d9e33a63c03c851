"""What lands in the inbox bucket, told apart by its key alone, and where each thing is kept after.

::

    inbox/<project>/…                          what is waiting
    rejected/<project>/<name>/<run_id>/        the bundle, report.md, report.json
    runs/<project>/<name>/<run_id>/            bundle.zip receipt.json status.json
                                               outputs.json failures/
    control/<project>/<action>/<run_id>.json   asks something of a run
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
import uuid
from dataclasses import dataclass
from enum import StrEnum

INBOX, CONTROL, RUNS, REJECTED = "inbox/", "control/", "runs/", "rejected/"
DEFAULT_PROJECT = "default"

DATA_FILES = "dropwell/inputs/"
"""Where in the workflow bucket a bundle's own data files are stored, a folder a run."""

_NAMESPACE = uuid.UUID("7f1d2c1e-58a4-5d0c-9f4e-2b8f6a0c3d11")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar")


class Action(StrEnum):
    """What a control file may ask."""

    ABORT = "abort"
    RELEASE = "release"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """One version of an object landing under ``inbox/<project>/``.

    Parameters
    ----------
    bucket, key, version_id : str
        Which version of which object; nothing else is ever read or removed.
    size : int
        Bytes, as the event said.
    principal : str
        Who dropped it, in AWS's words (``AWS:AROA…:alice``); empty if unknown.
    dropped_at : int
        Seconds since 1970.
    """

    bucket: str
    key: str
    version_id: str
    size: int = 0
    principal: str = ""
    dropped_at: int = 0

    @property
    def run_id(self) -> str:
        """The run's id, fixed by the drop before anything is posted.

        The same version of the same object has the same id wherever and however
        often its event arrives, and Cromwell takes an id only once
        (``requestedWorkflowId``, since 75): so one drop is one run.

        Examples
        --------
        >>> Drop(bucket="b", key="inbox/x.zip", version_id="1").run_id
        '1f1fb0f8-dba9-584c-ad61-3fb6c54d22af'
        """
        place = f"s3://{self.bucket}/{self.key}?versionId={self.version_id}"
        return str(uuid.uuid5(_NAMESPACE, place))

    @property
    def project(self) -> str:
        return project_of(self.key)

    @property
    def file_name(self) -> str:
        return self.key.rpartition("/")[2]

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class Control:
    """A control file: what is asked of which run, and by whose folder it may be asked."""

    project: str
    action: Action
    run_id: str


class Ignored(StrEnum):
    """Why an object starts nothing."""

    FOLDER = "a folder marker"
    PARTIAL = "a file still being written, or a temporary one"
    NOT_A_BUNDLE = "not a zip, nor a WDL directly in the project's folder"
    NOT_OURS = "outside inbox/ and control/"
    NOT_AN_ACTION = "not control/<project>/<action>/<run id>.json"


_PARTIAL = (".tmp", ".part", ".partial", ".filepart", ".crdownload", ".swp", "~")


def project_of(key: str) -> str:
    """Return the project a key belongs to: its first folder, `default` where there is none.

    Who may touch a folder decides who may touch a project, so two folders are
    never one project: a name that cannot stand in keys and labels as it is gets a
    hash of itself, behind a sign that no plain name has.

    >>> project_of("inbox/cardio/2026/wgs.zip"), project_of("inbox/wgs.zip")
    ('cardio', 'default')
    >>> project_of("inbox/a b/wgs.zip")
    'a-b@c8687a08'
    """
    _, *folders, _name = key.split("/")
    folder = folders[0] if folders else ""
    if not folder:
        return DEFAULT_PROJECT
    plain = safe_name(folder)
    if plain == folder:
        return folder
    return f"{plain}@{hashlib.sha256(folder.encode()).hexdigest()[:8]}"


def what_is(key: str, size: int) -> Control | Ignored | None:
    """Say what an object in the inbox bucket is; `None` when it is a drop to be run.

    A folder that is synced to the inbox must not start a hundred runs: of loose
    files only a WDL directly in a project's folder counts, and whatever looks
    unfinished is left alone.

    Parameters
    ----------
    key : str
        Decoded.
    size : int
        Bytes.

    Examples
    --------
    >>> what_is("inbox/cardio/wgs.zip", 1200) is None
    True
    >>> what_is("inbox/cardio/tasks/align.wdl", 1200).name
    'NOT_A_BUNDLE'
    >>> what_is("control/cardio/abort/42d3b0b2-f1a5-5cd3-9ddd-34b27dbecce2.json", 2).action.value
    'abort'
    """
    name = key.rpartition("/")[2]
    if key.startswith(CONTROL):
        return _control(key)
    if not key.startswith(INBOX):
        return Ignored.NOT_OURS
    if not name:
        return Ignored.FOLDER
    if name.startswith(".") or name.lower().endswith(_PARTIAL):
        return Ignored.PARTIAL
    if name.lower().endswith(_ARCHIVES):
        return None
    directly_in_project = key.count("/") <= 2
    if name.lower().endswith(".wdl") and directly_in_project:
        return None
    return Ignored.NOT_A_BUNDLE


def parted(file_name: str) -> tuple[str, str]:
    """Return a drop's bare name, and the end that says what it is, in small letters.

    >>> parted("inbox/cardio/wgs.2026.TAR.GZ"), parted("hello.wdl")
    (('wgs.2026', '.tar.gz'), ('hello', '.wdl'))
    """
    name = file_name.rpartition("/")[2]
    for suffix in _ARCHIVES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)], suffix
    stem, dot, end = name.rpartition(".")
    return (stem, dot + end.lower()) if dot else (name, "")


def _control(key: str) -> Control | Ignored:
    parts = key.split("/")
    if not parts[-1]:
        return Ignored.FOLDER
    if len(parts) != 4 or parts[2] not in set(Action) or not parts[3].endswith(".json"):
        return Ignored.NOT_AN_ACTION
    return Control(project_of(key), Action(parts[2]), parts[3].removesuffix(".json"))


def safe_name(text: str, otherwise: str = "unnamed") -> str:
    """Return a name as it can stand in an S3 key, a label and a mail subject; never empty.

    >>> safe_name("Kohorte Süd (2).final"), safe_name("../..")
    ('Kohorte-Sud-2-.final', 'unnamed')
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return _UNSAFE.sub("-", plain).strip("-._")[:64].rstrip("-._") or otherwise


def run_folder(project: str, name: str, run_id: str) -> str:
    """Return the key prefix of all that is kept of a run; ends in a slash."""
    return f"{RUNS}{project}/{name}/{run_id}/"


def rejected_folder(project: str, name: str, run_id: str) -> str:
    """Return the key prefix of all that is kept of a rejected drop; ends in a slash."""
    return f"{REJECTED}{project}/{name}/{run_id}/"
