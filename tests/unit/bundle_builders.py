"""Builds bundles for tests: well-meant ones, and archives that no packer would write."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dropwell.archives import Limits
from dropwell.bundles import Bundle, open_bundle
from dropwell.errors import BadBundle
from dropwell.preflight import Finding

HELLO = "version 1.0\nworkflow hello {\n  input { String name = 'you' }\n}\n"


def zipped(files: Mapping[str, object]) -> bytes:
    """Return a zip of files; what is neither text nor bytes is written as JSON, a key a line."""
    folded = io.BytesIO()
    with zipfile.ZipFile(folded, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, _content(content))
    return folded.getvalue()


def tarred(files: Mapping[str, object], **how: int) -> bytes:
    """Return a tar.gz of the same files as `zipped`; `how` is as `tarfile` takes it."""
    folded = io.BytesIO()
    with tarfile.open(fileobj=folded, mode="w:gz", **how) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            told = _content(content)
            data = told if isinstance(told, bytes) else told.encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return folded.getvalue()


def opened(
    files: Mapping[str, object], *, name: str = "bundle.zip", limits: Limits | None = None
) -> Bundle:
    return open_bundle(zipped(files), name, limits or Limits())


def refusals(
    data: bytes, *, name: str = "bundle.zip", limits: Limits | None = None
) -> list[Finding]:
    """Return why a file is no bundle; empty if it is one."""
    try:
        open_bundle(data, name, limits or Limits())
    except BadBundle as bad:
        return list(bad.findings)
    return []


@dataclass(kw_only=True)
class Entry:
    """One entry of a zip, with every field open to a lie."""

    name: bytes
    data: bytes = b""
    method: int = 0
    size: int | None = None
    flags: int = 0x800
    mode: int = 0o100644
    crc: int | None = None
    offset: int | None = None
    packed_size: int | None = None


def raw_zip(entries: Iterable[Entry], *, comment: bytes = b"", zip64: bool = False) -> bytes:
    """Write a zip field by field, without a packer's scruples."""
    out = bytearray()
    directory = bytearray()
    count = 0
    for entry in entries:
        count += 1
        packed = len(entry.data) if entry.packed_size is None else entry.packed_size
        size = packed if entry.size is None else entry.size
        crc = zlib.crc32(entry.data) if entry.crc is None else entry.crc
        offset = len(out) if entry.offset is None else entry.offset
        fields = (entry.flags, entry.method, 0, 0x21, crc, packed, size, len(entry.name))
        if entry.offset is None:
            out += b"PK\x03\x04" + struct.pack("<5H3L2H", 20, *fields, 0) + entry.name + entry.data
        directory += b"PK\x01\x02" + struct.pack("<6H3L2H", 0x31E, 20, *fields, 0)
        directory += struct.pack("<3H2L", 0, 0, 0, entry.mode << 16, offset) + entry.name
    start = len(out)
    out += directory
    shown = (count, len(directory), start)
    if zip64:
        at = len(out)
        out += b"PK\x06\x06" + struct.pack(
            "<Q2H2L4Q", 44, 45, 45, 0, 0, count, count, len(directory), start
        )
        out += b"PK\x06\x07" + struct.pack("<LQL", 0, at, 1)
        shown = (0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
    out += b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, min(shown[0], 0xFFFF), min(shown[0], 0xFFFF),
                                       *shown[1:], len(comment)) + comment  # fmt: skip
    return bytes(out)


def zeros_packed(segments: int) -> bytes:
    """Return raw deflate data of `segments` times 16 MB of zeros, made from one segment."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    segment = packer.compress(bytes(16 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return segment * segments + packer.flush()


def overlapping_bomb() -> bytes:
    """Return 30 kB that claim to unfold to 4 GB: 250 entries that share one kernel of zeros."""
    kernel = zeros_packed(1)
    files = 250
    quoted = [
        Entry(
            name=b"%03d" % index,
            method=8,
            size=4_000_000_000 // files,
            packed_size=len(kernel),
            offset=0,
            crc=0,
        )
        for index in range(1, files)
    ]
    first = Entry(name=b"000", data=kernel, method=8, size=4_000_000_000 // files, crc=0)
    return raw_zip([first, *quoted])


def dense_bomb() -> bytes:
    """Return 4 MB that honestly unfold to 4 GB of zeros, as one entry named inputs.json."""
    data = zeros_packed(256)
    return raw_zip(
        [
            Entry(name=b"main.wdl", data=HELLO.encode()),
            Entry(name=b"inputs.json", data=data, method=8, size=(1 << 32) - 1, crc=0),
        ]
    )


def lying_bomb() -> bytes:
    """Return 4 MB that claim to unfold to 1 kB, and would to 4 GB."""
    data = zeros_packed(256)
    return raw_zip(
        [
            Entry(name=b"main.wdl", data=HELLO.encode()),
            Entry(name=b"inputs.json", data=data, method=8, size=1000, crc=0),
        ]
    )


def tar_entry(
    name: bytes,
    data: bytes = b"",
    *,
    kind: bytes = b"0",
    size: int | None = None,
    prefix: bytes = b"",
    magic: bytes = b"ustar\x0000",
) -> bytes:
    """Write one entry of a tar field by field, without a packer's scruples."""
    claimed = len(data) if size is None else size
    length = b"%011o\0" % claimed if claimed < 8**11 else b"\x80" + claimed.to_bytes(11, "big")
    block = name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + length
    block += b"00000000000\0" + b" " * 8 + kind + bytes(100) + magic
    block = block.ljust(345, b"\0") + prefix
    block = block.ljust(512, b"\0")
    block = block[:148] + b"%06o\0 " % sum(block) + block[156:]
    return block + data + bytes(-len(data) % 512)


def pax(**records: str) -> bytes:
    """Write a pax header for the next entry; ``__`` in a key stands for a dot."""
    content = b""
    for key, value in records.items():
        rest = f" {key.replace('__', '.')}={value}\n".encode()
        length = len(rest)
        while length != len(rest) + len(str(length)):
            length = len(rest) + len(str(length))
        content += str(length).encode() + rest
    return tar_entry(b"pax", content, kind=b"x")


def raw_tar(*entries: bytes) -> bytes:
    """Return a tar.gz of entries written by `tar_entry`, with a main WDL before them."""
    return gzip.compress(tar_entry(b"main.wdl", HELLO.encode()) + b"".join(entries) + bytes(1024))


def tar_bomb(claimed: int | None = None) -> bytes:
    """Return 4 MB that unfold to a tar of one entry of 4 GB of zeros, or less if it claims less."""
    size = 1 << 32
    head = tar_entry(b"main.wdl", HELLO.encode()) + tar_entry(
        b"inputs.json", size=size if claimed is None else claimed
    )
    first = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = first.compress(head) + first.flush(zlib.Z_FULL_FLUSH) + zeros_packed(256)
    return b"\x1f\x8b\x08" + bytes(6) + b"\x03" + packed + bytes(4) + struct.pack("<L", 0)


def tar_bomb_within_its_claims() -> bytes:
    """Return 4 MB that unfold to 4 GB, of which each entry claims what is allowed."""
    return tar_bomb(999_000_000)


def tar_bomb_after_its_end() -> bytes:
    """Return 4 MB that unfold to 4 GB of zeros after the end of the tar."""
    return tar_bomb(0)


def _content(content: object) -> str | bytes:
    return content if isinstance(content, str | bytes) else json.dumps(content, indent=1)
