"""The entries of a dropped archive, read without trusting it and without writing any to disk.

A bundle comes from anybody. What may be in an archive at all is judged here, for
every kind of archive alike; `zips` and `tarballs` know how each is written, judge
names, sizes and kinds before anything is believed of them, and count what is
unfolded as it is read.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

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


@dataclass(frozen=True, slots=True)
class Member:
    """One entry as an archive's reader found it.

    Parameters
    ----------
    name : str
        As its packer meant it; a folder's ends in a slash.
    size : int
        Bytes, unfolded; reading never yields more.
    opened : callable
        Returns a stream of it; raises `BadBundle` where it is damaged.
    """

    name: str
    size: int
    opened: Callable[[], Any]


_CLUTTER = re.compile(r"(?:^|/)(?:__MACOSX/|\.DS_Store$|\._[^/]*$|Thumbs\.db$|desktop\.ini$)")


RATIO_FROM = 1_000_000
PACK_AGAIN = "Pack it again, or check that the upload was complete."
KEEP_ON_S3 = "Leave large data on S3 and name it by its s3:// URI in the inputs."
OTHER_ARCHIVES = (
    (b"\x1f\x8b", "gzip"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!", "RAR"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
)


class Archive:
    """The entries of an archive by their safe names, read within limits.

    Parameters
    ----------
    kind : str
        What people call it: ``zip``, ``tar``.
    members : sequence of Member
        Everything in it, each one's name judged already.
    limits : Limits
        How much of it is read.
    """

    def __init__(self, kind: str, members: Sequence[Member], limits: Limits) -> None:
        self._limits = limits
        self._left = limits.unfolded
        self._texts: dict[str, str] = {}
        self._places: dict[str, strict_json.Places] = {}
        kept = [
            (normal(member.name), member)
            for member in members
            if not member.name.endswith("/") and not _CLUTTER.search(member.name)
        ]
        _refuse_collisions([name for name, _ in kept])
        wrapper = _wrapper([name for name, _ in kept])
        ordered = sorted(kept, key=lambda entry: entry[0])
        self.entries = {name[len(wrapper) :]: member for name, member in ordered}
        if not self.entries:
            raise bad_bundle(
                "empty-bundle", f"the {kind} holds no files", "Put at least a main.wdl in it."
            )

    def open(self, path: str) -> BinaryIO:
        return io.BufferedReader(_Metered(self.entries[path].opened(), self._spend))

    def text(self, path: str, max_bytes: int) -> str:
        """Return a whole entry as text; kept, since findings come back to it."""
        if path not in self._texts:
            with self.open(path) as stream:
                data = stream.read(min(max_bytes, self.entries[path].size) + 1)
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
                KEEP_ON_S3,
            )


class _Metered(io.RawIOBase):
    """An entry's stream that reports each read."""

    def __init__(self, stream: Any, spend: Callable[[int], None]) -> None:
        self._stream, self._spend = stream, spend

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        self._spend(len(data))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


def normal(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def refuse_name(name: str, limits: Limits) -> None:
    """Raise on a name that a well-meant bundle never has."""
    parts = name.rstrip("/").split("/")
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
        refuse(name, "has control characters in its name")
    if "\\" in name:
        refuse(name, "has a backslash in its name", "Pack it with forward slashes in its paths.")
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        refuse(name, "has an absolute path; paths within the bundle are expected")
    if ".." in parts:
        refuse(name, 'leads out of the bundle ("..")')
    if not normal(name):
        refuse(name, "has no name")
    if len(name.encode("utf-8", "replace")) > limits.name:
        refuse(name, f"has a name longer than {limits.name} bytes")
    if max(len(part.encode("utf-8", "replace")) for part in parts) > 255:
        refuse(name, "has a part longer than 255 bytes, more than file systems take")
    if len(parts) > limits.depth:
        refuse(name, f"lies more than {limits.depth} folders deep")


def _refuse_collisions(names: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        other = seen.get(name.casefold())
        if other == name:
            refuse(name, "is there twice")
        if other is not None:
            refuse(name, f'differs from "{shown(other)}" only in case')
        seen[name.casefold()] = name
    for name in names:
        parts = name.casefold().split("/")
        for depth in range(1, len(parts)):
            if "/".join(parts[:depth]) in seen:
                refuse(name, "lies in a folder that is also a file")


def _wrapper(names: Sequence[str]) -> str:
    """Return the one directory that holds everything, with its slash; empty if there is none."""
    tops = {name.partition("/")[0] for name in names}
    return f"{tops.pop()}/" if len(tops) == 1 and all("/" in name for name in names) else ""


def refuse(name: str, complaint: str, advice: str = "") -> NoReturn:
    raise bad_bundle("unsafe-entry", f'the entry "{shown(name)}" {complaint}', advice)


def shown(name: str) -> str:
    """Return a hostile name as it can stand in a message."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in name)
    return plain if len(plain) <= 80 else f"{plain[:77]}…"


def bad_bundle(rule: str, message: str, advice: str = "", file: str = "") -> BadBundle:
    return BadBundle(Finding(rule=rule, message=message, advice=advice, file=file))
