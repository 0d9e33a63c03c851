"""Tarballs: what a tar, folded by gzip or plain, says of its entries, in one bounded pass.

A tar has no directory, so all of it is unfolded once, and no further than the
limits go. What is kept is where each entry lies and, every few megabytes, the
state of the unfolding, from which an entry is read again later.

The fields are those of POSIX pax (IEEE 1003.1) and of GNU tar's tar.h.
"""

from __future__ import annotations

import unicodedata
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Any, Protocol

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

_BLOCK = 512
_STEP = 256 * 1024  # bytes unfolded at a time
_FED = 64 * 1024  # bytes given to zlib at a time
_MARK_EVERY = 2 * 1024 * 1024  # a mark takes about 40 kB
_EXTENDED = 256 * 1024  # bytes of a pax header or a long name, far above what packers write
_MOST_PADDING = 4 * 1024 * 1024  # bytes of zeros at the end; GNU tar writes 10 kB at most
_MOST_STREAMS = 65_536  # gzips on end; a bgzip of a gigabyte has 16 thousand
_AS_TAR = "Pack the folder as a .tar.gz or as a zip, and drop that."
_GZIP = b"\x1f\x8b"
_WINDOW = zlib.MAX_WBITS | 16  # with gzip's own header and checksum

_FILES = (b"0", b"\0", b"7")
_FOLDER = b"5"
_LINKS = {
    b"1": ("is a hard link", "Pack it with tar --hard-dereference."),
    b"2": ("is a symbolic link", "Pack the file that it points to, with tar --dereference."),
}
_LONG_NAME, _LONG_LINK, _PAX, _PAX_FOR_ALL = b"L", b"K", b"x", b"g"
_EXTENSIONS = (_LONG_NAME, _LONG_LINK, _PAX, _PAX_FOR_ALL)
_SPARSE = b"S"


def tar_members(data: bytes, limits: Limits, *, folded: bool) -> list[Member]:
    """Return what a tar holds, folders included, after one pass over all of it.

    Parameters
    ----------
    data : bytes
        The dropped object.
    limits : Limits
        How much of it is read.
    folded : bool
        Whether gzip folded it, as its name says.

    Raises
    ------
    BadBundle
        It is no such tar, or one that is not to be trusted.
    """
    _refuse_others(data, folded=folded)
    source: _Source = _Gunzip(data) if folded else _Plain(data)
    return list(_Pass(source, limits).members())


def _refuse_others(data: bytes, *, folded: bool) -> None:
    """Raise on a file that is not what its name says."""
    for start, kind in (*OTHER_ARCHIVES, (b"PK\x03\x04", "zip")):
        if data.startswith(start) and not (folded and start == _GZIP):
            wanted = "a .tar.gz" if folded else "a plain .tar"
            message = f"the file is a {kind} archive, not {wanted} as its name says"
            raise bad_bundle("not-a-tar", message, _AS_TAR)
    if folded and not data.startswith(_GZIP):
        message = "the file is not folded by gzip, whatever its name says"
        raise bad_bundle("not-a-tar", message, _AS_TAR)


# Bytes, unfolded


class _Source(Protocol):
    """The bytes of a tar from some place on."""

    @property
    def consumed(self) -> int | None:
        """How many bytes of the dropped file were taken so far; `None` if nothing is folded."""

    def read(self, count: int) -> bytes:
        """Return up to `count` bytes, none at the end only."""

    def at(self, offset: int) -> _Source:
        """Return the same bytes from `offset` on; `offset` was passed before."""


class _Plain:
    def __init__(self, data: bytes, offset: int = 0) -> None:
        self._data, self._offset = data, offset

    @property
    def consumed(self) -> None:
        return None

    def read(self, count: int) -> bytes:
        piece = self._data[self._offset : self._offset + count]
        self._offset += len(piece)
        return piece

    def at(self, offset: int) -> _Plain:
        return _Plain(self._data, offset)


@dataclass(frozen=True, slots=True)
class _Mark:
    """The state of the unfolding where `position` bytes had come out."""

    position: int
    consumed: int
    state: Any


class _Gunzip:
    """What gzip unfolds to, in one stream or several on end, without reading ahead."""

    def __init__(self, data: bytes, mark: _Mark | None = None) -> None:
        self._data = memoryview(data)
        self._raw = data
        start = mark or _Mark(0, 0, zlib.decompressobj(_WINDOW))
        self._position, self.consumed = start.position, start.consumed
        self._state = start.state.copy()
        self._streams = 1
        self._marks: list[_Mark] | None = None if mark else [start]

    def read(self, count: int) -> bytes:
        piece = b""
        while not piece and not (self._state.eof and not self._begin_next()):
            fed = self._data[self.consumed : self.consumed + _FED]
            try:
                piece = self._state.decompress(fed, count)
            except zlib.error:
                raise bad_bundle("damaged-tar", "the gzip is damaged", PACK_AGAIN) from None
            ended = self._state.eof
            left = self._state.unused_data if ended else self._state.unconsumed_tail
            self.consumed += len(fed) - len(left)
            if not fed and not piece and not ended:
                raise _cut_short()
        self._position += len(piece)
        self._keep_mark()
        return piece

    def at(self, offset: int) -> _Gunzip:
        marks = takewhile(lambda mark: mark.position <= offset, self._marks or ())
        again = _Gunzip(self._raw, max(marks, key=lambda mark: mark.position))
        while (ahead := offset - again._position) > 0:
            again.read(min(ahead, _STEP))
        return again

    def _begin_next(self) -> bool:
        """Go on with the next gzip on end, as parallel packers write them; false if none is."""
        if not self._raw.startswith(_GZIP, self.consumed):
            if self._raw.count(b"\0", self.consumed) == len(self._raw) - self.consumed:
                return False
            raise bad_bundle("damaged-tar", "something else follows the gzip", PACK_AGAIN)
        self._streams += 1
        if self._streams > _MOST_STREAMS:
            raise bad_bundle("damaged-tar", "the gzip is in too many pieces", _AS_TAR)
        self._state = zlib.decompressobj(_WINDOW)
        return True

    def _keep_mark(self) -> None:
        if self._marks and self._position >= self._marks[-1].position + _MARK_EVERY:
            self._marks.append(_Mark(self._position, self.consumed, self._state.copy()))


class _Part:
    """One entry's bytes."""

    def __init__(self, source: _Source, size: int) -> None:
        self._source, self._left = source, size

    def read(self, count: int) -> bytes:
        piece = self._source.read(min(count, self._left, _STEP)) if self._left else b""
        self._left -= len(piece)
        return piece

    def close(self) -> None:
        self._left = 0


def _opened(source: _Source, offset: int, size: int) -> _Part:
    return _Part(source.at(offset), size)


# Entries


@dataclass(slots=True)
class _Header:
    """One header block, as it stands there."""

    name: bytes
    size: int
    kind: bytes


class _Pass:
    """The one pass over a tar, which goes no further than the limits."""

    def __init__(self, source: _Source, limits: Limits) -> None:
        self._source, self._limits = source, limits
        self._position = 0
        self._headers = self._entries = 0

    def members(self) -> Iterator[Member]:
        extended: dict[str, bytes] = {}
        while (header := self._header()) is not None:
            if header.kind in _EXTENSIONS:
                self._extend(extended, header)
                continue
            name, size = _name_and_size(header, extended)
            extended = {}
            self._count()
            if header.kind == _FOLDER:
                name = f"{name.rstrip('/')}/"
            if name == "./":
                continue  # as `tar -c .` begins
            self._refuse_member(name, size, header.kind)
            yield Member(name, size, partial(_opened, self._source, self._position, size))
            self._skip(name, size)
        if extended:
            raise _damaged()
        self._read_out()

    def _header(self) -> _Header | None:
        """Return the next header, `None` where the tar says that it ends."""
        block = self._exactly(_BLOCK)
        if not block.strip(b"\0"):
            return None
        self._headers += 1
        if not _sound(block):
            if self._headers == 1:
                message = "the file holds no tar, whatever its name says"
                raise bad_bundle("not-a-tar", message, _AS_TAR)
            raise _damaged()
        name = _text(block[:100])
        if block[257:263] == b"ustar\0" and (prefix := _text(block[345:500])):
            name = prefix + b"/" + name
        return _Header(name, _number(block[124:136]), block[156:157])

    def _count(self) -> None:
        self._entries += 1
        if self._entries > self._limits.entries:
            raise bad_bundle(
                "too-many-entries",
                f"the tar holds more than {self._limits.entries} entries",
                "Pack only what the workflow needs.",
            )

    def _extend(self, extended: dict[str, bytes], header: _Header) -> None:
        """Read what a header says of the entry after it; each kind comes once at most."""
        kind = header.kind.decode()
        if header.size > _EXTENDED or kind in extended:
            raise _damaged()
        content = self._exactly(header.size + _padding(header.size))[: header.size]
        extended[kind] = content
        if header.kind == _PAX_FOR_ALL and _pax(content).keys() & {"path", "size"}:
            raise bad_bundle(
                "unsafe-entry", "the tar gives one name or size to all its entries", _AS_TAR
            )

    def _refuse_member(self, name: str, size: int, kind: bytes) -> None:
        refuse_name(name, self._limits)
        if kind in _LINKS:
            refuse(name, *_LINKS[kind])
        if kind == _SPARSE:
            _refuse_sparse(name)
        if kind not in (*_FILES, _FOLDER):
            refuse(name, "is neither a file nor a folder")
        if name.endswith("/") and size:
            refuse(name, "is a folder, and yet has content")
        if size > self._limits.entry:
            refuse(name, f"unfolds to more than {in_bytes(self._limits.entry)}")
        self._refuse_volume(self._position + size)

    def _refuse_volume(self, total: int) -> None:
        # Headers and padding are the tar's own.
        if total > self._limits.unfolded + 4 * _BLOCK * self._headers + _STEP:
            message = f"the tar unfolds to more than the {in_bytes(self._limits.unfolded)} read"
            raise bad_bundle("unfolds-too-far", message, KEEP_ON_S3)

    def _skip(self, name: str, size: int) -> None:
        """Pass over an entry, unless it grows as real data does not."""
        before, left = self._source.consumed, size + _padding(size)
        start = self._position
        while left:
            left -= len(self._some(min(left, _STEP)))
            if before is None:
                continue
            taken = (self._source.consumed or 0) - before
            if self._position - start > max(RATIO_FROM, self._limits.ratio * taken):
                refuse(
                    name,
                    f"unfolds to more than {self._limits.ratio} times its size,"
                    " as real data does not",
                )

    def _read_out(self) -> None:
        """Read to the very end: gzip's checksum stands there, and nothing else may."""
        end = self._position + _MOST_PADDING
        while piece := self._source.read(_STEP):
            self._position += len(piece)
            if self._position > end or piece.strip(b"\0"):
                message = "the tar goes on after its end, which some programs read and some do not"
                raise bad_bundle("unsafe-entry", message, _AS_TAR)

    def _exactly(self, count: int) -> bytes:
        pieces = []
        while count:
            pieces.append(self._some(count))
            count -= len(pieces[-1])
        return b"".join(pieces)

    def _some(self, count: int) -> bytes:
        piece = self._source.read(count)
        if not piece:
            raise _cut_short()
        self._position += len(piece)
        return piece


def _name_and_size(header: _Header, extended: Mapping[str, bytes]) -> tuple[str, int]:
    """Return what an entry is called and how long it is, by the header that has the last word."""
    name, size = extended.get("L", header.name).rstrip(b"\0"), header.size
    told = _pax(extended.get("x", b""))
    name = told.get("path", name)
    if "size" in told:
        if not told["size"].isdigit() or len(told["size"]) > 15:
            raise _damaged()
        size = int(told["size"])
    shown = unicodedata.normalize("NFC", name.decode(errors="replace"))
    try:
        name.decode()
    except UnicodeDecodeError:
        refuse(shown, "has a name that is not UTF-8")
    if any(key.startswith("GNU.sparse.") for key in told):
        _refuse_sparse(shown)
    return shown, size


def _refuse_sparse(name: str) -> None:
    refuse(name, "is stored with holes (sparse)", "Pack it without tar's --sparse.")


def _pax(content: bytes) -> dict[str, bytes]:
    """Return the records of a pax header, each ``length key=value`` and a line feed."""
    records: dict[str, bytes] = {}
    while content:
        digits, space, _ = content[:8].partition(b" ")
        length = int(digits) if space and digits.isdigit() else 0
        record, content = content[len(digits) + 1 : length], content[length:]
        key, equals, value = record.partition(b"=")
        if not equals or len(digits) + 1 + len(record) != length or not record.endswith(b"\n"):
            raise _damaged()
        records[key.decode(errors="replace")] = value[:-1]
    return records


def _number(digits: bytes) -> int:
    """Return a number as tar writes it: octal digits or, where those do not reach, bytes."""
    if digits[0] == 0x80:
        return int.from_bytes(digits[1:], "big")
    plain = digits.strip(b" \0")
    if not all(digit in b"01234567" for digit in plain):
        raise _damaged()
    return int(plain or b"0", 8)


def _sound(block: bytes) -> bool:
    """Whether a header's checksum holds, which is taken as if it were spaces itself."""
    told = block[148:156].strip(b" \0")
    total = sum(block[:148]) + 8 * ord(" ") + sum(block[156:])
    return told.isdigit() and not told.strip(b"01234567") and int(told, 8) == total


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _padding(size: int) -> int:
    return -size % _BLOCK


def _damaged() -> BadBundle:
    return bad_bundle(
        "damaged-tar", "the tar is damaged: a header of it makes no sense", PACK_AGAIN
    )


def _cut_short() -> BadBundle:
    return bad_bundle("damaged-tar", "the tar was cut short; its end is missing", PACK_AGAIN)
