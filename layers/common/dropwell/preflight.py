"""What preflight finds: findings with their place, and the rules that need no WDL engine."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

MAX_LABELS = 40
"""AWS allows 50 tags on a job; Cromwell sets five of its own, and we a few."""

_ALIKE = 0.6
_MOST_COMPARED = 3000  # names: comparing one with as many takes about a tenth of a second
_TAG_TEXT = re.compile(r"[\w +\-=.:/@]*")  # AWS tags: letters, digits, space and + - = . _ : / @
_MAX_KEY, _MAX_VALUE = 128, 255  # AWS: 128 and 256; Cromwell ends both at 255 (Label.scala)


class Severity(StrEnum):
    """An error rejects the drop; a warning is recorded and Cromwell decides."""

    ERROR = "ERROR"
    WARNING = "WARNING"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing a person should know about a bundle.

    Parameters
    ----------
    rule : str
        Short id of the rule that spoke, such as ``unknown-input``.
    message : str
        One sentence: what is there, and what was expected.
    file : str
        Path in the bundle, empty where it concerns the bundle as a whole.
    line, column : int or None
        From 1, where there are such.
    severity : Severity
        Whether it rejects the drop.
    advice : str
        What to do next, where the message does not say it.

    Examples
    --------
    >>> print(Finding(rule="unknown-input", message='unknown input "WGS.x"',
    ...               file="inputs.json", line=7))
    inputs.json:7  unknown input "WGS.x"
    """

    rule: str
    message: str
    file: str = ""
    line: int | None = None
    column: int | None = None
    severity: Severity = Severity.ERROR
    advice: str = ""

    @property
    def where(self) -> str:
        """The place as people write it: ``inputs.json:7``, ``inputs.json`` or nothing."""
        return self.file if not self.file or self.line is None else f"{self.file}:{self.line}"

    @property
    def is_error(self) -> bool:
        return self.severity is Severity.ERROR

    def __str__(self) -> str:
        return f"{self.where}  {self.message}" if self.where else self.message


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """An import statement of a WDL file of the bundle.

    Parameters
    ----------
    importer : str
        The file that holds the statement.
    uri : str
        As written.
    target : str
        The file of the bundle it means, empty for one that is fetched over the network.
    start, end : int
        Where the URI stands in the importer's text, quotes not counted.
    from_root : bool
        Cromwell looks it up from the root of the posted zip, whatever the importer's
        own folder: true in the main WDL, which Cromwell sees as text without a place,
        and in draft-2, where it hands one resolver to every level (WdlNamespace.scala).
    """

    importer: str
    uri: str
    target: str
    start: int
    end: int
    from_root: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSlot:
    """One input that the workflow takes."""

    name: str
    type: str
    required: bool
    default: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileValue:
    """A value given in the inputs where the workflow wants a File or Directory.

    Parameters
    ----------
    path : tuple of str or int
        From the inputs' key down to the value.
    value : str
        As given.
    directory : bool
        A Directory is wanted.
    """

    path: tuple[str | int, ...]
    value: str
    directory: bool = False

    @property
    def key(self) -> str:
        """The key of the inputs that gives it."""
        return str(self.path[0])


@dataclass(frozen=True, slots=True)
class QueueAsked:
    """A task that names its Batch queue itself: ``queueArn`` in its runtime.

    Cromwell takes that before ``default_runtime_attributes`` (AwsBatchRuntimeAttributes.scala).

    Parameters
    ----------
    file : str
        Where.
    line : int or None
        The line, where it could be told.
    value : str or None
        Which queue; `None` where that is only known when it runs.
    """

    file: str
    line: int | None = None
    value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What reading a bundle's WDL and inputs told.

    Parameters
    ----------
    workflow : str
        The name of what will run, empty if that could not be told.
    version : str
        The WDL version of the main file, ``draft-2`` where it declares none.
    findings : tuple of Finding
        Errors and warnings, those of WDL files before those of inputs.
    imports : tuple of Import
        Every import statement that is followed, from the main file down.
    inputs : tuple of InputSlot
        What the workflow takes, in the order of the source; empty if that could not be told.
    files : tuple of FileValue
        Every File and Directory given.
    queues : tuple of QueueAsked
        Every task that names its Batch queue itself.
    """

    workflow: str = ""
    version: str = ""
    findings: tuple[Finding, ...] = ()
    imports: tuple[Import, ...] = ()
    inputs: tuple[InputSlot, ...] = ()
    files: tuple[FileValue, ...] = ()
    queues: tuple[QueueAsked, ...] = ()

    @property
    def closure(self) -> tuple[str, ...]:
        """Paths of all imported files of the bundle, however deep."""
        return tuple(sorted({found.target for found in self.imports if found.target}))


def errors_of(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return those findings that reject a drop."""
    return tuple(finding for finding in findings if finding.is_error)


def told(findings: Iterable[Finding], at_most: int = 100) -> tuple[str, ...]:
    """Return findings as people read them: place, message and what to do, each advice once.

    Examples
    --------
    >>> told([Finding(rule="x", message="it is encrypted", advice="Pack it without a password.")])
    ('it is encrypted. Pack it without a password.',)
    """
    lines: list[str] = []
    said: set[str] = set()
    for finding in findings:
        line = str(finding)
        if finding.advice and finding.advice not in said:
            line += f"{'' if line.endswith(('.', '?')) else '.'} {finding.advice}"
        said.add(finding.advice)
        lines.append(line[:500])
    return tuple(lines[:at_most])


def nearest(name: str, known: Collection[str], *, parts: str = ".") -> str:
    """Return the known name that was probably meant, empty if none is near.

    A name whose last part is right, but for case, is as near as can be.

    Parameters
    ----------
    name : str
        As written.
    known : collection of str
        What could be meant.
    parts : str
        What stands between the parts of such names.

    Examples
    --------
    >>> nearest("WGS.ref_fata", ["WGS.ref_fasta", "WGS.depth"])
    'WGS.ref_fasta'
    >>> nearest("depth", ["WGS.ref_fasta", "WGS.depth"])
    'WGS.depth'
    >>> nearest("aligner", ["WGS.ref_fasta", "WGS.depth"]), nearest("WGS.k", ["WGS.n"])
    ('', '')
    """
    last = name.rpartition(parts)[2].casefold()
    same = [other for other in known if other.rpartition(parts)[2].casefold() == last]
    if len(same) == 1:
        return same[0]
    if len(same or known) > _MOST_COMPARED:
        return ""
    close = difflib.get_close_matches(name, same or list(known), n=1, cutoff=0.75)
    return close[0] if close and (same or _alike(name, close[0], parts)) else ""


def _alike(name: str, other: str, parts: str) -> bool:
    """Tell whether two names are alike in more than the parts that they share."""
    ours, theirs = name.split(parts), other.split(parts)
    while ours and theirs and ours[0] == theirs[0]:
        ours, theirs = ours[1:], theirs[1:]
    if not ours or not theirs:
        return True
    return difflib.SequenceMatcher(None, parts.join(ours), parts.join(theirs)).ratio() >= _ALIKE


def did_you_mean(name: str, known: Collection[str], *, parts: str = ".") -> str:
    """Return a closing sentence that names the nearest known name, empty if none is near."""
    found = nearest(name, known, parts=parts)
    return f'. Did you mean "{found}"?' if found else ""


def shown_path(path: Iterable[str | int]) -> str:
    """Return a place within the inputs as people write it.

    >>> shown_path(("WGS.samples", 1, "depth"))
    'WGS.samples[1].depth'
    """
    first, *steps = path
    return f"{first}{''.join(f'[{s}]' if isinstance(s, int) else f'.{s}' for s in steps)}"


def review_labels(
    labels: Mapping[str, object], *, file: str, line_of: Callable[[str], int | None] | None = None
) -> tuple[Finding, ...]:
    """Return what stands against labels that become tags of AWS Batch jobs.

    Cromwell 92 sends a run's labels to Batch as tags and does not check them: one
    that is no legal tag would fail every job of the run.

    Examples
    --------
    >>> [found.message for found in review_labels({"aws:team": "cardio"}, file="labels.json")]
    ['label "aws:team" starts with "aws:", which AWS keeps for itself']
    """
    found = [
        Finding(
            rule="label",
            message=f'label "{key}" {complaint}',
            file=file,
            line=line_of(key) if line_of else None,
        )
        for key, value in labels.items()
        if (complaint := _against_label(key, value))
    ]
    if len(labels) > MAX_LABELS:
        message = f"{len(labels)} labels; at most {MAX_LABELS} fit on a job"
        found.append(Finding(rule="label", message=message, file=file))
    return tuple(found)


def _against_label(key: str, value: object) -> str:
    allowed = "letters, digits, space and + - = . _ : / @ are allowed"
    if not isinstance(value, str):
        return "is not a string; labels are strings"
    if not key:
        return "has no name"
    if len(key) > _MAX_KEY:
        return f"has {len(key)} characters; 1 to {_MAX_KEY} are allowed"
    if len(value) > _MAX_VALUE:
        return f"has a value of {len(value)} characters; at most {_MAX_VALUE} are allowed"
    if key.casefold().startswith("aws:"):
        return 'starts with "aws:", which AWS keeps for itself'
    if not _TAG_TEXT.fullmatch(key):
        return f"has characters that no tag may have; {allowed}"
    if not _TAG_TEXT.fullmatch(value):
        return f"has a value with characters that no tag may have; {allowed}"
    return ""
