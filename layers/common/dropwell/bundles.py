"""What a dropped bundle holds: its main WDL, inputs, options, labels and files.

Which files mean what, and which of them are amiss; what may be in an archive at
all is judged in `archives`.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, BinaryIO, TypeVar

from dropwell import strict_json
from dropwell.archives import (
    DEFAULT_LIMITS,
    Archive,
    Limits,
    bad_bundle,
    normal,
    shown,
)
from dropwell.drops import parted, safe_name
from dropwell.errors import BadBundle
from dropwell.preflight import Finding, Severity, did_you_mean, errors_of, review_labels
from dropwell.strict_json import in_bytes
from dropwell.tarballs import tar_members
from dropwell.zips import zip_members, zip_of_one

MANIFEST = "MANIFEST.json"
"""The one file name with a meaning of its own; its keys are those of Amazon Genomics CLI."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle that was opened and understood; its WDL is not looked at yet.

    Parameters
    ----------
    name : str
        The manifest's, else the file's, made safe for S3 keys.
    main : str
        Path of the main WDL.
    inputs : dict
        All inputs files merged, later ones first, less ``#comment`` keys: Cromwell takes
        those for inputs and refuses them in WDL 1.0 and later (Executable.scala).
    inputs_from : mapping of str to str
        The file that each key of `inputs` comes from.
    inputs_files : tuple of str
        The inputs files, in the order they were merged.
    options, labels : dict
        As given, not judged.
    options_file : str
        Where the options come from, empty if there are none.
    entries : tuple of str
        Paths of all files of the bundle, less a wrapper directory.
    dry_run, hold : bool
        What the manifest asks for.
    findings : tuple of Finding
        Warnings, and errors that did not keep the rest from being read.
    sha256 : str
        Of the dropped bytes.
    """

    name: str
    main: str
    inputs: dict[str, Any]
    inputs_from: Mapping[str, str]
    inputs_files: tuple[str, ...]
    options: dict[str, Any]
    options_file: str
    labels: dict[str, str]
    entries: tuple[str, ...]
    dry_run: bool
    hold: bool
    findings: tuple[Finding, ...]
    sha256: str
    limits: Limits
    _archive: Archive = field(repr=False)

    @property
    def files(self) -> tuple[str, ...]:
        """Entries that are neither WDL nor one of the files read here: data, documentation."""
        read = {MANIFEST, "labels.json", self.options_file, *self.inputs_files}
        return tuple(name for name in self.entries if name not in read and not _is_wdl(name))

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if not finding.is_error)

    def holds(self, path: str) -> bool:
        return path in self._archive.entries

    def size(self, path: str) -> int:
        """Return the size that the archive claims for an entry; reading never yields more."""
        return self._archive.entries[path].size

    def open(self, path: str) -> BinaryIO:
        """Return an entry as a stream that counts against `Limits.unfolded` as it is read."""
        return self._archive.open(path)

    def source(self, path: str) -> str:
        """Return the text of a WDL file."""
        return self._archive.text(path, self.limits.source)

    def place_of(self, key: str, *path: strict_json.Step) -> tuple[str, int | None]:
        """Return file and line of an input, or of a value within it."""
        file = self.inputs_from.get(key, "")
        if not file:
            return "", None
        places = self._archive.places(file, self.limits.inputs_json)
        place = places.of(key, *path) or places.of(key)
        return file, place[0] if place else None


def open_bundle(data: bytes, file_name: str, limits: Limits = DEFAULT_LIMITS) -> Bundle:
    """Open a dropped zip or tar, or a bare WDL as a bundle of one, without trusting it.

    Parameters
    ----------
    data : bytes
        The dropped object.
    file_name : str
        Its key or name; says by its end what it is: ``.zip``, ``.tar.gz``, ``.tgz``,
        ``.tar`` or ``.wdl``.
    limits : Limits
        How much of it is read.

    Raises
    ------
    BadBundle
        It cannot be run whatever its WDL says; carries everything found so far.
    """
    if len(data) > limits.compressed:
        raise bad_bundle(
            "bundle-too-large",
            f"the bundle is {in_bytes(len(data))}; at most {in_bytes(limits.compressed)} are taken",
            "Leave large data on S3 and name it by its s3:// URI in the inputs.",
        )
    return _Contents(_archive_of(data, file_name, limits), limits).bundle(
        file_name, hashlib.sha256(data).hexdigest()
    )


_FOLDED = (".tar.gz", ".tgz")
_TARS = (*_FOLDED, ".tar")


def _archive_of(data: bytes, file_name: str, limits: Limits) -> Archive:
    suffix = parted(file_name)[1]
    if suffix == ".wdl":
        data = zip_of_one(posixpath.basename(file_name), data)
    elif suffix in _TARS:
        return Archive("tar", tar_members(data, limits, folded=suffix in _FOLDED), limits)
    return Archive("zip", zip_members(data, limits), limits)


_Value = TypeVar("_Value")
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_MAIN, _INPUTS, _OPTIONS, _OPTION = (
    "mainWorkflowURL",
    "inputFileURLs",
    "optionsFileURL",
    "optionFileURL",  # as Amazon Genomics CLI documents it; its code reads the other one
)
_KEYS = (_MAIN, _INPUTS, _OPTIONS, _OPTION, "engineOptions", "name", "labels", "dryRun", "hold")


class _Contents:
    """Reads an archive's files by their meaning and gathers what is wrong with them."""

    def __init__(self, archive: Archive, limits: Limits) -> None:
        self._archive = archive
        self._limits = limits
        self._findings: list[Finding] = []

    def bundle(self, file_name: str, sha256: str) -> Bundle:
        main = self._main()
        inputs: dict[str, Any] = {}
        inputs_from: dict[str, str] = {}
        inputs_files = self._inputs_files()
        for file in inputs_files:
            given = self._json(file, self._limits.inputs_json)
            told = {key: value for key, value in given.items() if not key.startswith("#")}
            inputs |= told
            inputs_from |= dict.fromkeys(told, file)
        options_file = self._options_file()
        options = self._json(options_file) if options_file else {}
        labels = self._labels()
        name = self._setting("name", str, "a string", "")
        dry_run = self._setting("dryRun", bool, "true or false", False)
        hold = self._setting("hold", bool, "true or false", False)
        if any(finding.rule not in _NOT_FATAL for finding in errors_of(self._findings)):
            raise BadBundle(*self._findings)
        stem, _ = parted(file_name)
        return Bundle(
            name=safe_name(name or stem),
            main=main,
            inputs=inputs,
            inputs_from=inputs_from,
            inputs_files=inputs_files,
            options=options,
            options_file=options_file,
            labels=labels,
            entries=tuple(self._archive.entries),
            dry_run=dry_run,
            hold=hold,
            findings=tuple(self._findings),
            sha256=sha256,
            limits=self._limits,
            _archive=self._archive,
        )

    @cached_property
    def _manifest(self) -> dict[str, Any]:
        if MANIFEST not in self._archive.entries:
            for name in self._root_files(re.compile(re.escape(MANIFEST), re.IGNORECASE)):
                self._warn("manifest-name", f"the file is not read; a manifest is named {MANIFEST}",
                           file=name)  # fmt: skip
            return {}
        manifest = self._json(MANIFEST)
        if self._findings:
            raise BadBundle(*self._findings)
        for key in manifest:
            if key not in _KEYS:
                guess = did_you_mean(key, _KEYS)
                self._warn("manifest-key", f'the key "{shown(key)}" is not known{guess}', key=key)
        if "engineOptions" in manifest:
            self._warn("manifest-key", '"engineOptions" is not used here', key="engineOptions")
        return manifest

    def _setting(self, key: str, kind: type[_Value], expected: str, default: _Value) -> _Value:
        value = self._manifest.get(key, default)
        if isinstance(value, kind):
            return value
        found = strict_json.kind_of(value)
        self._complain("manifest-value", f'"{key}" is {found}; {expected} was expected', key)
        return default

    def _main(self) -> str:
        if _MAIN in self._manifest:
            return self._named(_MAIN, self._setting(_MAIN, str, "the path of a WDL file", ""))
        usual = [name for name in ("main.wdl", "workflow.wdl") if name in self._archive.entries]
        at_root = usual or self._root_files(re.compile(r".*\.wdl", re.IGNORECASE))
        if len(at_root) == 1:
            return at_root[0]
        if at_root:
            message = f"which WDL is the main one? There are {_and(at_root)}"
            advice = f'Name it in {MANIFEST}: {{ "{_MAIN}": "{at_root[0]}" }}'
        elif deeper := [name for name in self._archive.entries if _is_wdl(name)]:
            message = f"no WDL file lies at the root of the bundle, only {_and(deeper)}"
            advice = f'Name the main one in {MANIFEST}: {{ "{_MAIN}": "{deeper[0]}" }}'
        else:
            message = "the bundle holds no WDL file"
            advice = "Put the workflow in it, as main.wdl at its root."
        self._findings.append(Finding(rule="main-wdl", message=message, advice=advice))
        return ""

    def _inputs_files(self) -> tuple[str, ...]:
        if _INPUTS in self._manifest:
            given = self._manifest[_INPUTS]
            paths = [given] if isinstance(given, str) else given
            if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
                message = f'"{_INPUTS}" is not a list of paths'
                self._complain("manifest-value", message, _INPUTS)
                return ()
            found = [self._named(_INPUTS, path) for path in paths]
        else:
            found = self._root_files(re.compile(r"inputs.*\.(?:json|ya?ml)"))
            found.sort(key=_natural)
            if not found:
                self._warn_of_unread_inputs()
        for name in found:
            if name.endswith((".yaml", ".yml")):
                self._findings.append(
                    Finding(
                        rule="yaml-inputs",
                        message="inputs are read as JSON only, and this is YAML",
                        file=name,
                        advice="Write them as inputs.json.",
                    )
                )
        return tuple(name for name in found if name and not name.endswith((".yaml", ".yml")))

    def _warn_of_unread_inputs(self) -> None:
        for name in self._root_files(re.compile(r".*inputs?.*\.json", re.IGNORECASE)):
            message = "the file is not read; inputs are named inputs.json, or in a manifest"
            self._warn("inputs-name", message, file=name)

    def _options_file(self) -> str:
        given = {key: self._setting(key, str, "the path of a JSON file", "")
                 for key in (_OPTIONS, _OPTION) if key in self._manifest}  # fmt: skip
        if not given:
            return "options.json" if "options.json" in self._archive.entries else ""
        if len(set(given.values())) > 1:
            message = f'"{_OPTIONS}" and "{_OPTION}" name different files'
            self._complain("manifest-value", message, _OPTION, "Keep one of them.")
            return ""
        if _OPTION in given:
            self._warn("manifest-key", f'"{_OPTION}" is read as "{_OPTIONS}"', key=_OPTION)
        key, path = next(iter(given.items()))
        return self._named(key, path)

    def _labels(self) -> dict[str, str]:
        labels: dict[str, str] = {}
        if "labels.json" in self._archive.entries:
            labels |= self._judged_labels(self._json("labels.json"), "labels.json")
        asked = self._setting("labels", dict, "an object of strings", {})
        return labels | self._judged_labels(asked, MANIFEST)

    def _judged_labels(self, labels: dict[str, Any], file: str) -> dict[str, str]:
        way = ("labels",) if file == MANIFEST else ()
        self._findings += review_labels(
            labels, file=file, line_of=lambda key: self._line_of(*way, key, file=file)
        )
        return labels

    def _named(self, key: str, path: str) -> str:
        """Return the entry that a path in the manifest means, empty (and a finding) if none."""
        name = normal(path)
        if name in self._archive.entries:
            return name
        if _REMOTE.match(path):
            message = f'"{key}" is an address ("{shown(path)}"); what runs must be in the bundle'
            self._complain("manifest-remote", message, key, "Pack the file into the bundle.")
        elif path:
            guess = did_you_mean(name, self._archive.entries.keys() - {MANIFEST}, parts="/")
            message = f'"{key}" names "{shown(path)}", which is not in the bundle{guess}'
            self._complain("manifest-missing", message, key)
        elif isinstance(self._manifest.get(key), str | list):
            self._complain("manifest-missing", f'"{key}" is an empty path', key)
        return ""

    def _json(self, file: str, max_bytes: int | None = None) -> dict[str, Any]:
        """Return a JSON object of the bundle; empty, with a finding, if it is not sound."""
        try:
            text = self._archive.text(file, max_bytes or self._limits.small_json)
            return strict_json.parse_object(text, file=file)
        except BadBundle as bad:
            self._findings += bad.findings
            return {}

    def _root_files(self, pattern: re.Pattern[str]) -> list[str]:
        return [
            name for name in self._archive.entries if pattern.fullmatch(name) and "/" not in name
        ]

    def _complain(self, rule: str, message: str, key: str, advice: str = "") -> None:
        line = self._line_of(key)
        self._findings.append(
            Finding(rule=rule, message=message, file=MANIFEST, line=line, advice=advice)
        )

    def _warn(self, rule: str, message: str, key: str = "", file: str = MANIFEST) -> None:
        line = self._line_of(key) if key else None
        warning = Severity.WARNING
        self._findings.append(
            Finding(rule=rule, message=message, file=file, line=line, severity=warning)
        )

    def _line_of(self, *path: str, file: str = MANIFEST) -> int | None:
        place = self._archive.places(file, self._limits.small_json).of(*path)
        return place[0] if place else None


_NOT_FATAL = frozenset({"label"})
"""Rules whose errors reject the drop but leave the rest readable, so that it is read too."""


def _is_wdl(name: str) -> bool:
    return name.casefold().endswith(".wdl")


def _natural(name: str) -> list[str | int]:
    """Sort key that puts ``inputs.json`` before ``inputs2.json`` before ``inputs10.json``."""
    parts = re.split(r"(\d+)", posixpath.splitext(name)[0])
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


def _and(names: Sequence[str], at_most: int = 5) -> str:
    told = [shown(name) for name in names[:at_most]]
    if len(names) > at_most:
        return f"{', '.join(told)} and {len(names) - at_most} more"
    return " and ".join(filter(None, [", ".join(told[:-1]), told[-1]]))
