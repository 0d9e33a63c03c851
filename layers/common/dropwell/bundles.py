"""What a dropped bundle holds: its main WDL, inputs, options, labels and files.

A bundle comes from anybody. Nothing of it is ever written to disk; names,
sizes and kinds are judged from the zip's directory before any entry is
unfolded, and what is unfolded is counted as it is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import posixpath
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, BinaryIO, TypeVar

from dropwell import strict_json
from dropwell.drops import safe_name
from dropwell.errors import BadBundle
from dropwell.preflight import Finding, Severity, did_you_mean, errors_of, review_labels
from dropwell.strict_json import in_bytes

MANIFEST = "MANIFEST.json"
"""The one file name with a meaning of its own; its keys are those of Amazon Genomics CLI."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of a bundle is read; sizes in bytes.

    Parameters
    ----------
    compressed : int
        The dropped file.
    entries : int
        Entries of the zip, folders included.
    unfolded : int
        What may be read from it in all.
    entry : int
        One entry, unfolded.
    ratio : int
        Times an entry of a megabyte or more may grow as it is unfolded.
    name, depth : int
        An entry's name in UTF-8 bytes, and in parts between slashes.
    inputs_json, small_json : int
        One inputs file; manifest, options and labels.
    source : int
        One WDL file.
    closure : int
        The zip of imports posted to Cromwell.
    """

    compressed: int = 200_000_000
    entries: int = 10_000
    unfolded: int = 1_000_000_000
    entry: int = 1_000_000_000
    ratio: int = 500
    name: int = 512
    depth: int = 32
    inputs_json: int = 20_000_000
    small_json: int = 1_000_000
    source: int = 5_000_000
    closure: int = 8 * 1024 * 1024


DEFAULT_LIMITS = Limits()


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
    _archive: _Archive = field(repr=False)

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
        """Return the size that the zip claims for an entry; reading never yields more."""
        return self._archive.entries[path].file_size

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
    """Open a dropped zip, or a bare WDL as a bundle of one, without trusting it.

    Parameters
    ----------
    data : bytes
        The dropped object.
    file_name : str
        Its key or name; ends in ``.zip`` or ``.wdl``.
    limits : Limits
        How much of it is read.

    Raises
    ------
    BadBundle
        It cannot be run whatever its WDL says; carries everything found so far.
    """
    if len(data) > limits.compressed:
        raise _bad(
            "bundle-too-large",
            f"the bundle is {in_bytes(len(data))}; at most {in_bytes(limits.compressed)} are taken",
            "Leave large data on S3 and name it by its s3:// URI in the inputs.",
        )
    return _Contents(_archive_of(data, file_name, limits), limits).bundle(
        file_name, hashlib.sha256(data).hexdigest()
    )


# --- the archive -------------------------------------------------------------------------------

_END = b"PK\x05\x06"
_END_SIZE, _MAX_COMMENT = 22, 65_535
_END64 = b"PK\x06\x06"
_END64_SIZE, _LOCATOR_SIZE = 56, 20
_ENTRY = b"PK\x01\x02"
_DIRECTORY_ENTRY = 1_024  # bytes: far above what names within their limit take on the whole
_LOCAL_HEADER = 30
_ENCRYPTED = 0x1 | 0x40
_UTF8 = 0x800
_RATIO_FROM = 1_000_000
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    struct.error,
    EOFError,
    ValueError,
    OSError,
)
_CLUTTER = re.compile(r"(?:^|/)(?:__MACOSX/|\.DS_Store$|\._[^/]*$|Thumbs\.db$|desktop\.ini$)")
_OTHER_ARCHIVES = (
    (b"\x1f\x8b", "gzip"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!", "RAR"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
)


def _archive_of(data: bytes, file_name: str, limits: Limits) -> _Archive:
    name = file_name.casefold()
    if name.endswith(".wdl"):
        return _Archive(_zip_of_one(posixpath.basename(file_name), data), limits)
    if name.endswith((".tar.gz", ".tgz", ".tar")):
        raise _bad("not-a-zip", "the bundle is a tar archive; bundles are zip files", _AS_ZIP)
    for start, kind in _OTHER_ARCHIVES:
        if data.startswith(start):
            raise _bad("not-a-zip", f"the file is a {kind} archive, not a zip", _AS_ZIP)
    return _Archive(data, limits)


_AS_ZIP = "Pack the folder as a zip and drop that."


def _zip_of_one(name: str, data: bytes) -> bytes:
    folded = io.BytesIO()
    with zipfile.ZipFile(folded, "w") as one:
        one.writestr(zipfile.ZipInfo(name), data)
    return folded.getvalue()


class _Archive:
    """The entries of a zip by their safe names, read within limits."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        self._limits = limits
        self._left = limits.unfolded
        self._texts: dict[str, str] = {}
        self._places: dict[str, strict_json.Places] = {}
        _count_entries(data, limits)
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except _UNREADABLE:
            raise _bad("damaged-zip", "the zip's directory is damaged", _PACK_AGAIN) from None
        named = [(_name_of(info), info) for info in self._zip.infolist()]
        for name, info in named:
            _refuse_entry(name, info, limits)
        _refuse_overlaps([info for _, info in named], self._zip.start_dir)
        _refuse_volume([info for _, info in named], limits)
        kept = [
            (_normal(name), info)
            for name, info in named
            if not name.endswith("/") and not _CLUTTER.search(name)
        ]
        _refuse_collisions([name for name, _ in kept])
        wrapper = _wrapper([name for name, _ in kept])
        self.entries = {name[len(wrapper) :]: info for name, info in sorted(kept)}
        if not self.entries:
            raise _bad("empty-bundle", "the zip holds no files", "Put at least a main.wdl in it.")

    def open(self, path: str) -> BinaryIO:
        try:
            stream = self._zip.open(self.entries[path])
        except _UNREADABLE:
            raise _damaged(path) from None
        return io.BufferedReader(_Metered(stream, path, self._spend))

    def text(self, path: str, max_bytes: int) -> str:
        """Return a whole entry as text; kept, since findings come back to it."""
        if path not in self._texts:
            with self.open(path) as stream:
                data = stream.read(min(max_bytes, self.entries[path].file_size) + 1)
            self._texts[path] = strict_json.decode(data, file=path, max_bytes=max_bytes)
        return self._texts[path]

    def places(self, path: str, max_bytes: int) -> strict_json.Places:
        """Return where the values of a JSON entry stand; it was read and is sound."""
        if path not in self._places:
            self._places[path] = strict_json.Places(self.text(path, max_bytes))
        return self._places[path]

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise _bad(
                "unfolds-too-far",
                f"more than {in_bytes(self._limits.unfolded)} would be read from the bundle",
                "Leave large data on S3 and name it by its s3:// URI in the inputs.",
            )


class _Metered(io.RawIOBase):
    """An entry's stream that reports each read, and damage in our own words."""

    def __init__(self, stream: Any, path: str, spend: Callable[[int], None]) -> None:
        self._stream, self._path, self._spend = stream, path, spend

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._stream.read(len(buffer))
        except _UNREADABLE:
            raise _damaged(self._path) from None
        self._spend(len(data))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


_PACK_AGAIN = "Pack it again, or check that the upload was complete."


def _damaged(path: str) -> BadBundle:
    return _bad("damaged-zip", "the entry is damaged in the zip", _PACK_AGAIN, file=path)


def _count_entries(data: bytes, limits: Limits) -> None:
    """Refuse what is no zip, or one with too many entries, before a directory is built of it."""
    end = data.rfind(_END, max(0, len(data) - _END_SIZE - _MAX_COMMENT))
    if end < 0 or end + _END_SIZE > len(data):
        if data.startswith(b"PK"):
            raise _bad(
                "damaged-zip", "the zip was cut short; its directory is missing", _PACK_AGAIN
            )
        raise _bad("not-a-zip", "the file is no zip archive, whatever its name says", _AS_ZIP)
    (size,) = struct.unpack_from("<L", data, end + 12)
    record = end - _LOCATOR_SIZE - _END64_SIZE
    if record >= 0 and data.startswith(_END64, record):
        (size,) = struct.unpack_from("<Q", data, record + 40)
        end = record
    if size > limits.entries * _DIRECTORY_ENTRY:
        raise _bad("damaged-zip", "the zip's directory is too large for its entries", _PACK_AGAIN)
    if data.count(_ENTRY, max(0, end - size), end) > limits.entries:
        raise _bad(
            "too-many-entries",
            f"the zip holds more than {limits.entries} entries",
            "Pack only what the workflow needs.",
        )


def _name_of(info: zipfile.ZipInfo) -> str:
    """Return an entry's name as its packer meant it.

    Old packers store UTF-8 and do not say so; Python then reads code page 437.
    """
    name = info.orig_filename
    if not info.flag_bits & _UTF8:
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return unicodedata.normalize("NFC", name)


def _normal(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _refuse_entry(name: str, info: zipfile.ZipInfo, limits: Limits) -> None:
    """Raise on an entry that a well-meant bundle never has."""
    parts = name.rstrip("/").split("/")
    mode = info.external_attr >> 16
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
        _refuse(name, "has control characters in its name")
    if "\\" in name:
        _refuse(name, "has a backslash in its name", "Pack it with forward slashes in its paths.")
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        _refuse(name, "has an absolute path; paths within the bundle are expected")
    if ".." in parts:
        _refuse(name, 'leads out of the bundle ("..")')
    if not _normal(name):
        _refuse(name, "has no name")
    if len(name.encode("utf-8", "replace")) > limits.name:
        _refuse(name, f"has a name longer than {limits.name} bytes")
    if max(len(part.encode("utf-8", "replace")) for part in parts) > 255:
        _refuse(name, "has a part longer than 255 bytes, more than file systems take")
    if len(parts) > limits.depth:
        _refuse(name, f"lies more than {limits.depth} folders deep")
    if info.flag_bits & _ENCRYPTED:
        _refuse(name, "is encrypted", "Pack the zip without a password.")
    if stat.S_ISLNK(mode):
        _refuse(
            name, "is a symbolic link", "Pack the file that it points to (zip does by default)."
        )
    if mode and stat.S_IFMT(mode) and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        _refuse(name, "is neither a file nor a folder")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        _refuse(name, "is compressed in a way that is not read here", "Use plain zip (deflate).")


def _refuse_overlaps(infos: Iterable[zipfile.ZipInfo], directory: int) -> None:
    """Raise where entries share compressed bytes: the trick of zips that unfold without end."""
    ordered = sorted(infos, key=lambda info: info.header_offset)
    ends = [*(info.header_offset for info in ordered[1:]), directory]
    for info, end in zip(ordered, ends, strict=False):
        if info.header_offset + _LOCAL_HEADER + info.compress_size > end:
            _refuse(_name_of(info), "overlaps another entry in the zip, as no packer writes it")


def _refuse_volume(infos: Sequence[zipfile.ZipInfo], limits: Limits) -> None:
    """Raise on what would unfold to more than is read. Reading never exceeds what is claimed."""
    total = sum(info.file_size for info in infos)
    if total > limits.unfolded:
        raise _bad(
            "unfolds-too-far",
            f"the zip unfolds to {in_bytes(total)}; at most {in_bytes(limits.unfolded)} are read",
            "Leave large data on S3 and name it by its s3:// URI in the inputs.",
        )
    for info in infos:
        if info.file_size > limits.entry:
            _refuse(_name_of(info), f"unfolds to more than {in_bytes(limits.entry)}")
        if info.file_size > max(_RATIO_FROM, limits.ratio * info.compress_size):
            _refuse(
                _name_of(info),
                f"unfolds to more than {limits.ratio} times its size, as real data does not",
            )


def _refuse_collisions(names: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        other = seen.get(name.casefold())
        if other == name:
            _refuse(name, "is there twice")
        if other is not None:
            _refuse(name, f'differs from "{_shown(other)}" only in case')
        seen[name.casefold()] = name
    for name in names:
        parts = name.casefold().split("/")
        for depth in range(1, len(parts)):
            if "/".join(parts[:depth]) in seen:
                _refuse(name, "lies in a folder that is also a file")


def _wrapper(names: Sequence[str]) -> str:
    """Return the one directory that holds everything, with its slash; empty if there is none."""
    tops = {name.partition("/")[0] for name in names}
    return f"{tops.pop()}/" if len(tops) == 1 and all("/" in name for name in names) else ""


def _refuse(name: str, complaint: str, advice: str = "") -> None:
    raise _bad("unsafe-zip", f'the entry "{_shown(name)}" {complaint}', advice)


def _shown(name: str) -> str:
    """Return a hostile name as it can stand in a message."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in name)
    return plain if len(plain) <= 80 else f"{plain[:77]}…"


# --- what its files mean -----------------------------------------------------------------------

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

    def __init__(self, archive: _Archive, limits: Limits) -> None:
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
        stem = posixpath.splitext(posixpath.basename(file_name))[0]
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
                self._warn("manifest-key", f'the key "{_shown(key)}" is not known{guess}', key=key)
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
        self._findings += review_labels(labels, file=file)
        return labels

    def _named(self, key: str, path: str) -> str:
        """Return the entry that a path in the manifest means, empty (and a finding) if none."""
        name = _normal(path)
        if name in self._archive.entries:
            return name
        if _REMOTE.match(path):
            message = f'"{key}" is an address ("{_shown(path)}"); what runs must be in the bundle'
            self._complain("manifest-remote", message, key, "Pack the file into the bundle.")
        elif path:
            guess = did_you_mean(name, self._archive.entries.keys() - {MANIFEST}, parts="/")
            message = f'"{key}" names "{_shown(path)}", which is not in the bundle{guess}'
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

    def _line_of(self, key: str) -> int | None:
        place = self._archive.places(MANIFEST, self._limits.small_json).of(key)
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
    shown = [_shown(name) for name in names[:at_most]]
    if len(names) > at_most:
        return f"{', '.join(shown)} and {len(names) - at_most} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


def _bad(rule: str, message: str, advice: str = "", file: str = "") -> BadBundle:
    return BadBundle(Finding(rule=rule, message=message, advice=advice, file=file))
