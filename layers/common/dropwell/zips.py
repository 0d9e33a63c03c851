"""Zips: what a zip says of its entries, and which zips no honest packer writes.

Names, sizes and kinds are judged from the zip's directory before any entry is
unfolded.
"""

from __future__ import annotations

import contextlib
import io
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from functools import partial
from typing import IO

from dropwell.archives import (
    KEEP_ON_S3,
    OTHER_ARCHIVES,
    PACK_AGAIN,
    RATIO_FROM,
    Limits,
    Member,
    bad_bundle,
    refuse,
    refuse_name,
)
from dropwell.errors import BadBundle
from dropwell.strict_json import in_bytes

_END = b"PK\x05\x06"
_END_SIZE, _MAX_COMMENT = 22, 65_535
_END64 = b"PK\x06\x06"
_END64_SIZE, _LOCATOR_SIZE = 56, 20
_ENTRY = b"PK\x01\x02"
_DIRECTORY_ENTRY = 1_024  # bytes: far above what names within their limit take on the whole
_LOCAL_HEADER = 30
_ENCRYPTED = 0x1 | 0x40
_UTF8 = 0x800
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    struct.error,
    EOFError,
    ValueError,
    OSError,
)
_AS_ZIP = "Pack the folder as a zip and drop that."


def zip_of_one(name: str, data: bytes) -> bytes:
    folded = io.BytesIO()
    with zipfile.ZipFile(folded, "w") as one:
        one.writestr(zipfile.ZipInfo(name), data)
    return folded.getvalue()


def zip_members(data: bytes, limits: Limits) -> list[Member]:
    """Return what a zip holds, folders included; nothing is unfolded yet.

    Parameters
    ----------
    data : bytes
        The dropped object.
    limits : Limits
        How much of it is read.

    Raises
    ------
    BadBundle
        It is no zip, or one that is not to be trusted.
    """
    for start, kind in OTHER_ARCHIVES:
        if data.startswith(start):
            raise bad_bundle("not-a-zip", f"the file is a {kind} archive, not a zip", _AS_ZIP)
    _count_entries(data, limits)
    try:
        folded = zipfile.ZipFile(io.BytesIO(data))
    except _UNREADABLE:
        raise bad_bundle("damaged-zip", "the zip's directory is damaged", PACK_AGAIN) from None
    named = [(_name_of(info), info) for info in folded.infolist()]
    for name, info in named:
        refuse_name(name, limits)
        _refuse_entry(name, info)
    _refuse_overlaps([info for _, info in named], folded.start_dir)
    _refuse_volume([info for _, info in named], limits)
    return [Member(name, info.file_size, partial(_opened, folded, info)) for name, info in named]


def _opened(folded: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Mended:
    try:
        return _Mended(folded.open(info), info)
    except _UNREADABLE:
        raise _damaged(info) from None


class _Mended:
    """An entry's stream that tells of damage in our own words."""

    def __init__(self, stream: IO[bytes], info: zipfile.ZipInfo) -> None:
        self._stream, self._info = stream, info

    def read(self, count: int) -> bytes:
        try:
            return self._stream.read(count)
        except _UNREADABLE:
            raise _damaged(self._info) from None

    def close(self) -> None:
        self._stream.close()


def _damaged(info: zipfile.ZipInfo) -> BadBundle:
    return bad_bundle("damaged-zip", "the entry is damaged in the zip", PACK_AGAIN, _name_of(info))


def _count_entries(data: bytes, limits: Limits) -> None:
    """Refuse what is no zip, or one with too many entries, before a directory is built of it."""
    end = data.rfind(_END, max(0, len(data) - _END_SIZE - _MAX_COMMENT))
    if end < 0 or end + _END_SIZE > len(data):
        if data.startswith(b"PK"):
            raise bad_bundle(
                "damaged-zip", "the zip was cut short; its directory is missing", PACK_AGAIN
            )
        raise bad_bundle("not-a-zip", "the file is no zip archive, whatever its name says", _AS_ZIP)
    (size,) = struct.unpack_from("<L", data, end + 12)
    record = end - _LOCATOR_SIZE - _END64_SIZE
    if record >= 0 and data.startswith(_END64, record):
        (size,) = struct.unpack_from("<Q", data, record + 40)
        end = record
    if size > limits.entries * _DIRECTORY_ENTRY:
        raise bad_bundle(
            "damaged-zip", "the zip's directory is too large for its entries", PACK_AGAIN
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


def _refuse_entry(name: str, info: zipfile.ZipInfo) -> None:
    """Raise on an entry of a kind that a well-meant bundle never has."""
    mode = info.external_attr >> 16
    if info.flag_bits & _ENCRYPTED:
        refuse(name, "is encrypted", "Pack the zip without a password.")
    if stat.S_ISLNK(mode):
        refuse(name, "is a symbolic link", "Pack the file that it points to (zip does by default).")
    if mode and stat.S_IFMT(mode) and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        refuse(name, "is neither a file nor a folder")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        refuse(name, "is compressed in a way that is not read here", "Use plain zip (deflate).")


def _refuse_overlaps(infos: Iterable[zipfile.ZipInfo], directory: int) -> None:
    """Raise where entries share compressed bytes: the trick of zips that unfold without end."""
    ordered = sorted(infos, key=lambda info: info.header_offset)
    ends = [*(info.header_offset for info in ordered[1:]), directory]
    for info, end in zip(ordered, ends, strict=False):
        if info.header_offset + _LOCAL_HEADER + info.compress_size > end:
            refuse(_name_of(info), "overlaps another entry in the zip, as no packer writes it")


def _refuse_volume(infos: Sequence[zipfile.ZipInfo], limits: Limits) -> None:
    """Raise on what would unfold to more than is read. Reading never exceeds what is claimed."""
    total = sum(info.file_size for info in infos)
    if total > limits.unfolded:
        raise bad_bundle(
            "unfolds-too-far",
            f"the zip unfolds to {in_bytes(total)}; at most {in_bytes(limits.unfolded)} are read",
            KEEP_ON_S3,
        )
    for info in infos:
        if info.file_size > limits.entry:
            refuse(_name_of(info), f"unfolds to more than {in_bytes(limits.entry)}")
        if info.file_size > max(RATIO_FROM, limits.ratio * info.compress_size):
            refuse(
                _name_of(info),
                f"unfolds to more than {limits.ratio} times its size, as real data does not",
            )
