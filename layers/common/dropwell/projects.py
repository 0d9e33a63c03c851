"""What the operator sets for each project, in ``config/projects.json`` of the inbox bucket.

The file is read as a whole or not at all: a word in it that is not understood may be
the one that keeps two projects apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from dropwell.drops import INBOX, project_of
from dropwell.errors import BadBundle, ProjectsUnreadable
from dropwell.notices import Detail
from dropwell.preflight import Finding, did_you_mean, review_labels, told
from dropwell.strict_json import Places, Step, decode, kind_of, parse_object

PROJECTS_FILE = "config/projects.json"
"""The key in the inbox bucket. Nothing that lands under ``config/`` starts anything."""

MOST_BYTES = 256 << 10

_TOP = ("$schema", "ask", "closed", "default", "projects")
_ENTRY = ("s3_root", "job_role_arn", "queue_arn", "notice_detail", "labels", "cache_prefixes")
_OURS = ("dropwell-", "cromwell-")
_S3 = re.compile(r"s3://(?P<bucket>[a-z0-9.-]{3,63})(?:/[^\s/*?]+)+/?")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]+")
_QUEUE = re.compile(r"arn:aws[a-z-]*:batch:[a-z0-9-]+:[0-9]{12}:job-queue/[A-Za-z0-9_-]+")
_ASK = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_FINDINGS_TOLD = 3

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What the operator sets for the runs of a project; what is empty is left as it is.

    Parameters
    ----------
    s3_root : str
        Where Cromwell works for it, in the workflow bucket; without a slash at its end.
    job_role_arn : str
        The role that its jobs act with.
    queue_arn : str
        The Batch queue of its jobs.
    notice_detail : str
        How much mails of it tell, in place of the stack's.
    labels : mapping of str to str
        Tags of its jobs, for the bill.
    cache_prefixes : tuple of str
        Whence results may be used again; each with a slash at its end, for Cromwell
        compares letters and not folders.
    """

    s3_root: str = ""
    job_role_arn: str = ""
    queue_arn: str = ""
    notice_detail: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    cache_prefixes: tuple[str, ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        """The workflow options that say so to Cromwell.

        Examples
        --------
        >>> Project(s3_root="s3://work/cardio", queue_arn="arn:q").options
        {'aws_s3_root': 's3://work/cardio', 'default_runtime_attributes': {'queueArn': 'arn:q'}}
        """
        options: dict[str, Any] = {
            "aws_s3_root": self.s3_root,
            "aws_batch_job_role_arn": self.job_role_arn,
            "call_cache_hit_path_prefixes": list(self.cache_prefixes),
            "default_runtime_attributes": {"queueArn": self.queue_arn} if self.queue_arn else {},
        }
        return {name: value for name, value in options.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Projects:
    """All projects that the operator's file names, and what holds for the others.

    Parameters
    ----------
    named : mapping of str to Project
        By project.
    default : Project
        What holds for a project that is not named.
    closed : bool
        Whether drops of such a project are rejected.
    ask : str
        Who can open one, as people are told it.
    """

    named: Mapping[str, Project] = field(default_factory=dict)
    default: Project = field(default_factory=Project)
    closed: bool = False
    ask: str = ""

    def of(self, project: str) -> Project | None:
        """Return what is set for a project, `None` if it is not open.

        Examples
        --------
        >>> Projects().of("cardio") == Project()
        True
        >>> Projects(closed=True, ask="Ada").of("cardio") is None
        True
        """
        return self.named.get(project, None if self.closed else self.default)

    def not_open(self, project: str) -> Finding:
        """Return what is told to who drops for a project that is not open.

        The names of the others are not told: they may be nobody's business.
        """
        return Finding(
            rule="project-not-open",
            message=f'the project "{project}" is not open here',
            advice=f"See whether the folder under {INBOX} is the right one; to have it opened,"
            f" ask {self.ask}.",
        )


def no_projects() -> Projects:
    """Return what holds where the operator has no such file: everything as bundles ask."""
    return Projects()


def read_projects(data: bytes, *, workflow_bucket: str) -> Projects:
    """Read the operator's file of projects.

    Parameters
    ----------
    data : bytes
        The file.
    workflow_bucket : str
        Where every ``s3_root`` must lie: of return codes and logs elsewhere nobody
        would tell us.

    Raises
    ------
    ProjectsUnreadable
        Says what is wrong with it, and in which line. It is no finding against a
        drop, whose author cannot mend it.

    Examples
    --------
    >>> read = read_projects(b'{"projects": {"cardio": {"labels": {"cost-center": "4711"}}}}',
    ...                      workflow_bucket="work")
    >>> read.of("cardio").labels
    {'cost-center': '4711'}
    >>> read_projects(b'{"projcts": {}}', workflow_bucket="work")
    Traceback (most recent call last):
    dropwell.errors.ProjectsUnreadable: config/projects.json:1  the key "projcts" is not known. \
Did you mean "projects"?
    """
    try:
        page = parse_object(data, file=PROJECTS_FILE, max_bytes=MOST_BYTES)
        reader = _Reader(Places(decode(data, file=PROJECTS_FILE)), workflow_bucket)
    except BadBundle as bad:
        raise _unreadable(list(bad.findings)) from None
    projects = reader.projects(page)
    if reader.findings:
        raise _unreadable(reader.findings)
    return projects


def _unreadable(findings: list[Finding]) -> ProjectsUnreadable:
    lines = told(findings, at_most=_FINDINGS_TOLD)
    more = len(findings) - len(lines)
    return ProjectsUnreadable("; ".join(lines) + (f"; and {more} more" if more else ""))


def _s3(text: str) -> re.Match[str] | None:
    """Return the match of a folder on S3, `None` where it has steps that lead elsewhere."""
    match = _S3.fullmatch(text)
    return None if match and {".", ".."} & set(text.split("/")) else match


class _Reader:
    """Reads the parsed file and gathers all that is wrong with it."""

    def __init__(self, places: Places, workflow_bucket: str) -> None:
        self._places = places
        self._bucket = workflow_bucket
        self.findings: list[Finding] = []

    def projects(self, page: Mapping[str, Any]) -> Projects:
        self._known(page, _TOP)
        closed = self._value(page, (), "closed", bool, False)
        ask = self._matching(page, (), "ask", _ASK, "one line of text, of at most 200 characters")
        if closed and not ask and "ask" not in page:
            self._say("the file is closed and does not say who is to be asked", "closed",
                      advice='Add "ask": a name or an address.')  # fmt: skip
        if closed and "default" in page:
            self._say('"default" has no use beside "closed"', "default")
        named = {
            self._project(name): self._entry(entry, "projects", name)
            for name, entry in self._value(page, (), "projects", dict, {}).items()
        }
        default = self._entry(page.get("default", {}), "default")
        return Projects(named=named, default=default, closed=closed, ask=ask)

    def _project(self, folder: str) -> str:
        """Return the project that a folder under ``inbox/`` stands for."""
        if not folder or "/" in folder:
            message = f'"{folder}" is no name of a folder directly under {INBOX}'
            self._say(message, "projects", folder)
        return project_of(f"{INBOX}{folder}/bundle.zip")

    def _entry(self, entry: Any, *at: Step) -> Project:
        if not isinstance(entry, dict):
            self._say(f'"{at[-1]}" is {kind_of(entry)}; an Object was expected', *at)
            return Project()
        self._known(entry, _ENTRY, *at)
        role = "the ARN of an IAM role"
        return Project(
            s3_root=self._root(entry, at),
            job_role_arn=self._matching(entry, at, "job_role_arn", _ROLE, role),
            queue_arn=self._matching(entry, at, "queue_arn", _QUEUE, "the ARN of a Batch queue"),
            notice_detail=self._detail(entry, at),
            labels=self._labels(entry, at),
            cache_prefixes=self._prefixes(entry, at),
        )

    def _root(self, entry: Mapping[str, Any], at: tuple[Step, ...]) -> str:
        root = self._matching(entry, at, "s3_root", _S3, "s3://bucket/folder")
        match = _S3.fullmatch(root)
        if match and match["bucket"] != self._bucket:
            message = (
                f'"s3_root" lies in the bucket {match["bucket"]}; jobs are followed only in'
                f" {self._bucket}, the workflow bucket"
            )
            self._say(message, *at, "s3_root")
        return root.rstrip("/")

    def _detail(self, entry: Mapping[str, Any], at: tuple[Step, ...]) -> str:
        known = re.compile("|".join(Detail))
        return self._matching(entry, at, "notice_detail", known, " or ".join(Detail))

    def _prefixes(self, entry: Mapping[str, Any], at: tuple[Step, ...]) -> tuple[str, ...]:
        given = self._value(entry, at, "cache_prefixes", list, [])
        place = (*at, "cache_prefixes")
        for index, prefix in enumerate(given):
            if not isinstance(prefix, str) or not _s3(prefix):
                message = f'item {index + 1} of "cache_prefixes" is not s3://bucket/folder'
                self._say(message, *place, index)
        return tuple(f"{str(prefix).rstrip('/')}/" for prefix in given)

    def _labels(self, entry: Mapping[str, Any], at: tuple[Step, ...]) -> dict[str, str]:
        labels: dict[str, str] = self._value(entry, at, "labels", dict, {})
        line_of = partial(self._line, *at, "labels")
        self.findings += review_labels(labels, file=PROJECTS_FILE, line_of=line_of)
        for key in labels:
            if key.startswith(_OURS):
                message = f'label "{key}" begins as those do that Dropwell and Cromwell set'
                self._say(message, *at, "labels", key)
        return labels

    def _matching(
        self,
        page: Mapping[str, Any],
        at: tuple[Step, ...],
        key: str,
        pattern: re.Pattern[str],
        expected: str,
    ) -> str:
        text = self._value(page, at, key, str, "")
        fits = _s3(text) if pattern is _S3 else pattern.fullmatch(text)
        if key in page and isinstance(page[key], str) and not fits:
            self._say(f'"{key}" is not {expected}', *at, key)
            return ""
        return text

    def _value(
        self,
        page: Mapping[str, Any],
        at: tuple[Step, ...],
        key: str,
        kind: type[_Value],
        otherwise: _Value,
    ) -> _Value:
        value = page.get(key, otherwise)
        if isinstance(value, kind):
            return value
        expected = kind_of(kind())
        self._say(f'"{key}" is {kind_of(value)}; {expected} was expected', *at, key)
        return otherwise

    def _known(self, page: Mapping[str, Any], known: tuple[str, ...], *at: Step) -> None:
        for key in page:
            if key not in known:
                self._say(f'the key "{key}" is not known{did_you_mean(key, known)}', *at, key)

    def _line(self, first: Step, *steps: Step) -> int | None:
        place = self._places.of(first, *steps)
        return place[0] if place else None

    def _say(self, message: str, *at: Step, advice: str = "") -> None:
        line = self._line(*at)
        self.findings.append(
            Finding(rule="projects", message=message, file=PROJECTS_FILE, line=line, advice=advice)
        )
