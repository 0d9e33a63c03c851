"""How a bundle is posted to Cromwell: its main WDL, its imports as one zip, its own files.

Cromwell sees the main WDL as text without a place. The imports of the main
WDL, and every import in draft-2, are looked up from the root of the posted
zip; other imports from the importing file's own folder (ImportResolver.scala,
WdlNamespace.scala). Where a bundle writes an import otherwise, its URI is
rewritten, and nothing else of the text is.
"""

from __future__ import annotations

import copy
import io
import posixpath
import re
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dropwell.bundles import Bundle
from dropwell.errors import BadBundle
from dropwell.preflight import (
    Checked,
    FileValue,
    Finding,
    Import,
    Severity,
    did_you_mean,
    shown_path,
)
from dropwell.strict_json import in_bytes

MAX_FINDINGS = 100
"""File values told one by one; where so many are wrong, they are wrong alike."""

_EPOCH = (1980, 1, 1, 0, 0, 0)  # as early as zip can say
_S3 = re.compile(r"s3://[^/\s]+/.+")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def main_source(bundle: Bundle, checked: Checked) -> str:
    """Return the main WDL with its imports named from the root of the bundle.

    Examples
    --------
    A main WDL at ``wdl/main.wdl`` that says ``import "tasks.wdl"`` is posted
    saying ``import "wdl/tasks.wdl"``; line numbers stay.
    """
    return _rerooted(bundle, bundle.main, checked.imports)


def import_zip(bundle: Bundle, checked: Checked) -> bytes | None:
    """Return the zip of all imported files, `None` if nothing is imported.

    The same bundle gives the same bytes: names sorted, dates fixed.

    Raises
    ------
    BadBundle
        The zip is larger than Cromwell's door lets through.
    """
    if not checked.closure:
        return None
    folded = io.BytesIO()
    with zipfile.ZipFile(folded, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in checked.closure:
            entry = zipfile.ZipInfo(path, date_time=_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, _rerooted(bundle, path, checked.imports))
    data = folded.getvalue()
    if len(data) > bundle.limits.closure:
        most = in_bytes(bundle.limits.closure)
        message = f"the imported WDL files are {in_bytes(len(data))} as a zip; at most {most} fit"
        raise BadBundle(
            Finding(
                rule="imports-too-large",
                message=message,
                file=bundle.main,
                advice="Import only what the workflow uses.",
            )
        )
    return data


def _rerooted(bundle: Bundle, path: str, imports: Iterable[Import]) -> str:
    """Return a file's text with those URIs rewritten that Cromwell would not find."""
    text = bundle.source(path)
    own = {found.start: found for found in imports if found.importer == path and found.target}
    for start in sorted(own, reverse=True):
        found = own[start]
        folder = "" if found.from_root else posixpath.dirname(path)
        if posixpath.normpath(posixpath.join(folder, found.uri)) != found.target:
            text = text[:start] + posixpath.relpath(found.target, folder or ".") + text[found.end :]
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFiles:
    """What the File inputs of a run name.

    Parameters
    ----------
    carried : tuple of (FileValue, str)
        Values that name a file of the bundle, each with that file's path: to be
        stored on S3, and rewritten to where.
    findings : tuple of Finding
        Values that no job could read, and those that only Cromwell can judge.
    """

    carried: tuple[tuple[FileValue, str], ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def entries(self) -> tuple[str, ...]:
        """The files of the bundle that are to be stored, each once."""
        return tuple(sorted({entry for _, entry in self.carried}))


def data_files(bundle: Bundle, checked: Checked) -> DataFiles:
    """Tell what the File inputs of a bundle name.

    A path is read from the root of the bundle, else from the folder of the
    inputs file that gives it. Jobs on AWS Batch read their inputs from S3;
    other addresses are left to Cromwell, with a warning.
    """
    carried: list[tuple[FileValue, str]] = []
    findings: list[Finding] = []
    folders = _folders(bundle.entries)
    for given in checked.files:
        entry = _entry(bundle, given)
        if entry and not given.directory:
            carried.append((given, entry))
        elif len(findings) < MAX_FINDINGS:
            in_bundle = bool(entry) or posixpath.normpath(given.value) in folders
            findings += _against(bundle, given, in_bundle=in_bundle)
    return DataFiles(carried=tuple(carried), findings=tuple(findings))


def rewritten(
    inputs: Mapping[str, Any], files: DataFiles, uris: Mapping[str, str]
) -> dict[str, Any]:
    """Return inputs that name files on S3 where they named files of the bundle.

    Parameters
    ----------
    inputs : mapping
        The bundle's.
    files : DataFiles
        Knows where among them a file is named; equal strings elsewhere stay.
    uris : mapping of str to str
        From each path of `files.entries` to the ``s3://`` URI it is stored at.
    """
    made = copy.deepcopy(dict(inputs))
    for given, entry in files.carried:
        *way, last = given.path
        holder: Any = made
        for step in way:
            holder = holder[step]
        holder[last] = uris[entry]
    return made


def _entry(bundle: Bundle, given: FileValue) -> str:
    """Return the file of the bundle that a value names, empty if there is none."""
    if given.value.startswith("s3://"):
        return ""
    value = unicodedata.normalize("NFC", given.value)
    beside = posixpath.dirname(bundle.inputs_from.get(given.key, ""))
    for folder in ("", beside):
        path = posixpath.normpath(posixpath.join(folder, value))
        if bundle.holds(path):
            return path
    return ""


def _folders(entries: Iterable[str]) -> frozenset[str]:
    found: set[str] = set()
    for entry in entries:
        while (entry := posixpath.dirname(entry)) and entry not in found:
            found.add(entry)
    return frozenset(found)


_WANTED = "Give an s3:// URI or the path of a file in the bundle."


def _against(bundle: Bundle, given: FileValue, *, in_bundle: bool) -> Iterator[Finding]:
    """Yield what a person should know of a value that names no file of the bundle."""
    value = given.value
    if _S3.fullmatch(value):
        return
    name = f'"{shown_path(given.path)}"'
    scheme = found[1].casefold() if (found := _SCHEME.match(value)) else ""
    error = Severity.ERROR
    advice = _WANTED
    if value.casefold().startswith("s3:"):
        message = f'{name} is "{value}", which is no S3 URI; s3://bucket/key was expected'
    elif scheme and scheme != "file":
        message = (
            f"{name} is at {scheme}://, not on S3; jobs on AWS Batch may not be able to read it"
        )
        error, advice = Severity.WARNING, ""
    elif not value:
        message = f"{name} is an empty path; a call that reads it will fail"
        error, advice = Severity.WARNING, ""
    elif given.directory and in_bundle:
        message = f"{name} is a Directory within the bundle; only files are carried to S3"
        advice = "Give an s3:// URI, or take an Array[File]."
    elif in_bundle:
        message = f'{name} names "{value}", a folder of the bundle; a file was expected'
    else:
        guess = did_you_mean(value, bundle.entries, parts="/")
        message = f'{name} names "{value}", which is neither on S3 nor in the bundle{guess}'
        advice = "" if guess else _WANTED
    file, line = bundle.place_of(given.key, *given.path[1:])
    yield Finding(
        rule="file-input", message=message, file=file, line=line, severity=error, advice=advice
    )
