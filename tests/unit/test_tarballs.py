"""What holds for a bundle as a tar: all that holds for a zip, and what only a tar can get wrong."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import tracemalloc
from collections.abc import Callable

import pytest

from dropwell.archives import Limits
from dropwell.bundles import open_bundle
from dropwell.errors import BadBundle
from tests.unit.bundle_builders import (
    HELLO,
    dense_bomb,
    pax,
    raw_tar,
    refusals,
    tar_bomb,
    tar_bomb_after_its_end,
    tar_bomb_within_its_claims,
    tar_entry,
    tarred,
    zipped,
)

FILES: dict[str, object] = {
    "main.wdl": HELLO,
    "lib/tasks.wdl": "version 1.0\n",
    "inputs.json": {"hello.name": "Ada"},
    "MANIFEST.json": {"labels": {"cohort": "A 1"}},
    "data/größe.fq": "@r\n",
}


def refusal(data: bytes, *, name: str = "b.tar.gz", limits: Limits | None = None) -> str:
    (finding,) = refusals(data, name=name, limits=limits)
    assert finding.message.isprintable()
    return finding.message


# --- what a tar may look like ------------------------------------------------------------------


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("name", ["wgs.2026.tar.gz", "wgs.2026.TGZ", "wgs.2026.tar"])
def test_a_tar_is_read_as_a_zip_of_the_same_files_is(name: str, form: int) -> None:
    data = tarred(FILES, format=form)
    bundle = open_bundle(gzip.decompress(data) if name.endswith(".tar") else data, name)
    same = open_bundle(zipped(FILES), "wgs.2026.zip")
    assert (bundle.name, bundle.entries) == (same.name, same.entries) == ("wgs.2026", same.entries)
    assert (bundle.main, bundle.inputs, bundle.labels) == (same.main, same.inputs, same.labels)
    for entry in same.entries:
        assert bundle.size(entry) == same.size(entry)
        assert bundle.open(entry).read() == same.open(entry).read()


def test_a_wrapper_directory_and_clutter_of_desktops_are_ignored() -> None:
    bundle = open_bundle(
        tarred({"run/main.wdl": HELLO, "run/._main.wdl": "x", "__MACOSX/x": "x"}), "b.tgz"
    )
    assert bundle.entries == ("main.wdl",)


def test_a_folder_packed_from_within_is_read() -> None:
    data = raw_tar(
        tar_entry(b"./", kind=b"5"), tar_entry(b"./a", kind=b"5"), tar_entry(b"./a/x.txt", b"x")
    )
    assert open_bundle(data, "b.tar.gz").entries == ("a/x.txt", "main.wdl")


def test_long_names_are_read_in_each_way_they_are_written() -> None:
    long = "d" * 120 + "/" + "f" * 60
    for data in (
        raw_tar(pax(path=long), tar_entry(b"short", b"x")),
        raw_tar(tar_entry(b"", long.encode() + b"\0", kind=b"L"), tar_entry(b"short", b"x")),
        raw_tar(tar_entry(b"f" * 60, b"x", prefix=b"d" * 120)),
    ):
        assert open_bundle(data, "b.tar.gz").open(long).read() == b"x"


def test_what_packers_tell_besides_is_passed_over() -> None:
    data = raw_tar(
        tar_entry(b"pax_global_header", b"15 comment=abc\n", kind=b"g"),
        pax(mtime="1.5", LIBARCHIVE__xattr="x"),
        tar_entry(b"x.txt", b"x"),
    )
    assert open_bundle(data, "b.tar.gz").holds("x.txt")


def test_a_gzip_in_several_streams_and_with_zeros_after_it_is_read() -> None:
    plain = gzip.decompress(tarred(FILES))
    data = gzip.compress(plain[:700]) + gzip.compress(plain[700:]) + bytes(2000)
    assert open_bundle(data, "b.tar.gz").open("inputs.json").read().startswith(b"{")


def test_entries_far_apart_are_read_in_any_order_from_a_large_tar() -> None:
    noise = {f"{index}.bin": os.urandom(1_500_000) for index in range(5)}
    bundle = open_bundle(tarred({"main.wdl": HELLO} | noise, compresslevel=1), "b.tar.gz")
    for index in (4, 0, 3, 1, 2, 4):
        assert bundle.open(f"{index}.bin").read() == noise[f"{index}.bin"]


def test_two_entries_are_read_at_once() -> None:
    bundle = open_bundle(tarred({"main.wdl": HELLO, "a": "abc", "b": "xyz"}), "b.tar.gz")
    with bundle.open("a") as a, bundle.open("b") as b:
        assert (a.read(1), b.read(2), a.read(), b.read()) == (b"a", b"xy", b"bc", b"z")


# --- hostile and broken ones -------------------------------------------------------------------


def _whole() -> bytes:
    return tarred({"main.wdl": HELLO, "x.bin": os.urandom(3000)})


def _sparse_by_pax() -> bytes:
    return raw_tar(pax(GNU__sparse__major="1"), tar_entry(b"x", b"x"))


_HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "no gzip": (lambda: b"hello, I am text", "the file is not folded by gzip"),
    "nothing": (lambda: b"", "the file is not folded by gzip"),
    "a plain tar": (lambda: gzip.decompress(_whole()), "the file is not folded by gzip"),
    "a zip": (lambda: zipped(FILES), "the file is a zip archive, not a .tar.gz as its name says"),
    "bzip2": (lambda: b"BZh91AY", "the file is a bzip2 archive, not a .tar.gz"),
    "a gzip of something else": (
        lambda: gzip.compress(HELLO.encode() * 20),
        "the file holds no tar, whatever its name says",
    ),
    "a gzip of nothing": (lambda: gzip.compress(b""), "the tar was cut short"),
    "cut short": (lambda: _whole()[:-900], "the tar was cut short; its end is missing"),
    "cut within the checksum": (lambda: _whole()[:-6], "the tar was cut short"),
    "no end": (
        lambda: gzip.compress(gzip.decompress(raw_tar())[:-1024]),
        "the tar was cut short",
    ),
    "wrong checksum": (lambda: _whole()[:-8] + b"\1\2\3\4" + _whole()[-4:], "the gzip is damaged"),
    "something after the gzip": (lambda: _whole() + b"more", "something else follows the gzip"),
    "a second tar": (
        lambda: gzip.compress(gzip.decompress(raw_tar()) * 2),
        "the tar goes on after its end",
    ),
    "damaged header": (lambda: raw_tar(b"x" * 512), "the tar is damaged"),
    "empty": (lambda: tarred({}), "the tar holds no files"),
    "only folders": (lambda: gzip.compress(tar_entry(b"a", kind=b"5") + bytes(1024)),
                     "the tar holds no files"),
    "traversal": (lambda: raw_tar(tar_entry(b"a/../../etc/x")), "leads out of the bundle"),
    "traversal by pax": (
        lambda: raw_tar(pax(path="../x"), tar_entry(b"x")),
        'the entry "../x" leads out of the bundle',
    ),
    "absolute": (lambda: raw_tar(tar_entry(b"/etc/passwd")), "has an absolute path"),
    "absolute folder": (lambda: raw_tar(tar_entry(b"/", kind=b"5")), "has an absolute path"),
    "drive": (lambda: raw_tar(tar_entry(b"C:/x")), "has an absolute path"),
    "backslash": (lambda: raw_tar(tar_entry(b"..\\x")), "has a backslash in its name"),
    "null": (lambda: raw_tar(pax(path="a\0b"), tar_entry(b"x")), "has control characters"),
    "no name": (lambda: raw_tar(tar_entry(b"")), "has no name"),
    "no utf-8": (lambda: raw_tar(tar_entry(b"\xff\xfe")), "has a name that is not UTF-8"),
    "long name": (
        lambda: raw_tar(pax(path="/".join(["x" * 200] * 3)), tar_entry(b"x")),
        "a name longer than 512 bytes",
    ),
    "long part": (lambda: raw_tar(pax(path="x" * 256), tar_entry(b"x")), "longer than 255 bytes"),
    "deep": (lambda: raw_tar(tar_entry(b"/".join([b"d"] * 40))), "more than 32 folders deep"),
    "symlink": (lambda: raw_tar(tar_entry(b"link", kind=b"2")), "is a symbolic link"),
    "hard link": (lambda: raw_tar(tar_entry(b"link", kind=b"1")), "is a hard link"),
    "device": (lambda: raw_tar(tar_entry(b"dev", kind=b"3")), "is neither a file nor a folder"),
    "pipe": (lambda: raw_tar(tar_entry(b"pipe", kind=b"6")), "is neither a file nor a folder"),
    "unknown kind": (lambda: raw_tar(tar_entry(b"x", kind=b"Z")), "is neither a file nor a folder"),
    "folder with content": (
        lambda: raw_tar(tar_entry(b"a", b"x", kind=b"5")), "is a folder, and yet has content"
    ),
    "sparse": (lambda: raw_tar(tar_entry(b"x", kind=b"S")), "is stored with holes (sparse)"),
    "sparse by pax": (_sparse_by_pax, "is stored with holes (sparse)"),
    "one name for all": (
        lambda: raw_tar(tar_entry(b"g", b"10 path=x\n", kind=b"g"), tar_entry(b"y")),
        "the tar gives one name or size to all its entries",
    ),
    "size in words": (lambda: raw_tar(pax(size="-1"), tar_entry(b"x")), "the tar is damaged"),
    "size beyond all": (
        lambda: raw_tar(pax(size="9" * 12), tar_entry(b"x")), "unfolds to more than 1 GB"
    ),
    "size in bytes": (
        lambda: raw_tar(tar_entry(b"x", size=1 << 60)), "unfolds to more than 1 GB"
    ),
    "size beyond the end": (lambda: raw_tar(tar_entry(b"x", size=90_000)), "was cut short"),
    "pax that lies of its length": (
        lambda: raw_tar(tar_entry(b"p", b"99 path=x\n", kind=b"x"), tar_entry(b"x")),
        "the tar is damaged",
    ),
    "pax without end": (
        lambda: raw_tar(tar_entry(b"p", bytes(300_000), kind=b"x")), "the tar is damaged"
    ),
    "pax twice": (lambda: raw_tar(pax(a="1"), pax(a="2"), tar_entry(b"x")), "the tar is damaged"),
    "pax of nothing": (lambda: raw_tar(pax(path="x")), "the tar is damaged"),
    "number in letters": (
        lambda: raw_tar(tar_entry(b"x").replace(b"00000000000\0", b"0000000000z\0", 1)),
        "the tar is damaged",
    ),
    "twice": (lambda: raw_tar(tar_entry(b"main.wdl")), 'the entry "main.wdl" is there twice'),
    "twice, spelled apart": (lambda: raw_tar(tar_entry(b"./main.wdl")), "is there twice"),
    "case": (lambda: raw_tar(tar_entry(b"MAIN.wdl")), 'differs from "main.wdl" only in case'),
    "file as folder": (lambda: raw_tar(tar_entry(b"main.wdl/x")), "a folder that is also a file"),
    "ratio": (
        lambda: tarred({"main.wdl": HELLO, "x": bytes(5_000_000)}),
        'the entry "x" unfolds to more than 500 times its size, as real data does not',
    ),
    "bomb": (tar_bomb, 'the entry "inputs.json" unfolds to more than 1 GB'),
    "bomb within its claims": (
        tar_bomb_within_its_claims, 'the entry "inputs.json" unfolds to more than 500 times'
    ),
    "bomb after its end": (tar_bomb_after_its_end, "the tar goes on after its end"),
}  # fmt: skip


@pytest.mark.parametrize(("made", "told"), _HOSTILE.values(), ids=_HOSTILE.keys())
def test_a_hostile_or_broken_tar_is_refused_with_one_sentence(
    made: Callable[[], bytes], told: str
) -> None:
    assert told in refusal(made())


def test_a_plain_tar_is_what_its_name_says() -> None:
    assert refusal(_whole(), name="b.tar").startswith("the file is a gzip archive, not a plain")
    assert refusal(gzip.decompress(_whole())[:900], name="b.tar").startswith("the tar was cut")


def test_more_entries_than_are_taken_are_refused() -> None:
    many: dict[str, object] = {f"f{index}": b"" for index in range(30)}
    assert refusal(tarred(many), limits=Limits(entries=29)) == "the tar holds more than 29 entries"
    told = refusals(tarred(many), name="b.tgz", limits=Limits(entries=30))
    assert [finding.rule for finding in told] == ["main-wdl"]


def test_more_than_is_read_in_all_is_refused() -> None:
    data = tarred({"main.wdl": HELLO, **{f"{index}": os.urandom(400_000) for index in range(3)}})
    told = refusal(data, limits=Limits(unfolded=800_000))
    assert told == "the tar unfolds to more than the 800 kB read"
    bundle = open_bundle(data, "b.tar.gz", Limits(unfolded=1_300_000))
    for _ in range(3):
        bundle.open("1").read()
    with pytest.raises(BadBundle, match=r"more than 1\.3 MB would be read"):
        bundle.open("1").read()


def test_a_gzip_in_endless_pieces_is_refused() -> None:
    told = refusal(gzip.compress(b"") * 70_000)
    assert told == "the gzip is in too many pieces"


@pytest.mark.parametrize("bomb", [tar_bomb, tar_bomb_within_its_claims, tar_bomb_after_its_end])
def test_refusing_a_bomb_takes_little_memory(bomb: Callable[[], bytes]) -> None:
    data = bomb()
    tracemalloc.start()
    refusal(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000


def test_what_lies_in_a_tar_is_a_file_like_any_other() -> None:
    carried = dense_bomb()[:100_000]
    bundle = open_bundle(tarred({"main.wdl": HELLO, "bomb.zip": carried}), "b.tar.gz")
    assert io.BytesIO(carried).read() == bundle.open("bomb.zip").read()
