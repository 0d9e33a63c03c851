"""The entries of a dropped zip, read without trusting it and without writing any to disk.

A bundle comes from anybody. Names, sizes and kinds are judged from the zip's
directory before any entry is unfolded, and what is unfolded is counted as it is
read.
"""

from __future__ import annotations

import contextlib
import io
import posixpath
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from dropwell import strict_json
from dropwell.errors import BadBundle
from dropwell.preflight import Finding
from dropwell.strict_json import in_bytes


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


def archive_of(data: bytes, file_name: str, limits: Limits) -> Archive:
    name = file_name.casefold()
    if name.endswith(".wdl"):
        return Archive(_zip_of_one(posixpath.basename(file_name), data), limits)
    if name.endswith((".tar.gz", ".tgz", ".tar")):
        raise bad_bundle("not-a-zip", "the bundle is a tar archive; bundles are zip files", _AS_ZIP)
    for start, kind in _OTHER_ARCHIVES:
        if data.startswith(start):
            raise bad_bundle("not-a-zip", f"the file is a {kind} archive, not a zip", _AS_ZIP)
    return Archive(data, limits)


_AS_ZIP = "Pack the folder as a zip and drop that."


def _zip_of_one(name: str, data: bytes) -> bytes:
    folded = io.BytesIO()
    with zipfile.ZipFile(folded, "w") as one:
        one.writestr(zipfile.ZipInfo(name), data)
    return folded.getvalue()


class Archive:
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
            raise bad_bundle("damaged-zip", "the zip's directory is damaged", _PACK_AGAIN) from None
        named = [(_name_of(info), info) for info in self._zip.infolist()]
        for name, info in named:
            _refuse_entry(name, info, limits)
        _refuse_overlaps([info for _, info in named], self._zip.start_dir)
        _refuse_volume([info for _, info in named], limits)
        kept = [
            (normal(name), info)
            for name, info in named
            if not name.endswith("/") and not _CLUTTER.search(name)
        ]
        _refuse_collisions([name for name, _ in kept])
        wrapper = _wrapper([name for name, _ in kept])
        self.entries = {name[len(wrapper) :]: info for name, info in sorted(kept)}
        if not self.entries:
            raise bad_bundle(
                "empty-bundle", "the zip holds no files", "Put at least a main.wdl in it."
            )

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
            raise bad_bundle(
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
    return bad_bundle("damaged-zip", "the entry is damaged in the zip", _PACK_AGAIN, file=path)


def _count_entries(data: bytes, limits: Limits) -> None:
    """Refuse what is no zip, or one with too many entries, before a directory is built of it."""
    end = data.rfind(_END, max(0, len(data) - _END_SIZE - _MAX_COMMENT))
    if end < 0 or end + _END_SIZE > len(data):
        if data.startswith(b"PK"):
            raise bad_bundle(
                "damaged-zip", "the zip was cut short; its directory is missing", _PACK_AGAIN
            )
        raise bad_bundle("not-a-zip", "the file is no zip archive, whatever its name says", _AS_ZIP)
    (size,) = struct.unpack_from("<L", data, end + 12)
    record = end - _LOCATOR_SIZE - _END64_SIZE
    if record >= 0 and data.startswith(_END64, record):
        (size,) = struct.unpack_from("<Q", data, record + 40)
        end = record
    if size > limits.entries * _DIRECTORY_ENTRY:
        raise bad_bundle(
            "damaged-zip", "the zip's directory is too large for its entries", _PACK_AGAIN
        )
    if data.count(_ENTRY, max(0, end - size), end) > limits.entries:
        raise bad_bundle(
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


def normal(name: str) -> str:
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
    if not normal(name):
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
        raise bad_bundle(
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
            _refuse(name, f'differs from "{shown(other)}" only in case')
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
    raise bad_bundle("unsafe-zip", f'the entry "{shown(name)}" {complaint}', advice)


def shown(name: str) -> str:
    """Return a hostile name as it can stand in a message."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in name)
    return plain if len(plain) <= 80 else f"{plain[:77]}…"


def bad_bundle(rule: str, message: str, advice: str = "", file: str = "") -> BadBundle:
    return BadBundle(Finding(rule=rule, message=message, advice=advice, file=file))
