from __future__ import annotations

import hashlib
import io
import json
import tracemalloc
import zipfile
from collections.abc import Callable

import pytest

from dropwell.archives import Limits
from dropwell.bundles import open_bundle
from dropwell.drops import safe_name
from dropwell.errors import BadBundle
from dropwell.preflight import Severity
from tests.unit.bundle_builders import (
    HELLO,
    Entry,
    dense_bomb,
    lying_bomb,
    opened,
    overlapping_bomb,
    raw_zip,
    refusals,
    zipped,
)

# --- what a bundle may look like ---------------------------------------------------------------


def test_a_plain_bundle_is_read_whole() -> None:
    bundle = opened(
        {
            "main.wdl": HELLO,
            "lib/tasks.wdl": "version 1.0\n",
            "inputs.json": {"hello.name": "Ada"},
            "options.json": {"write_to_cache": False},
            "labels.json": {"cohort": "A 1"},
            "data/reads.fq": "@r\n",
            "README.md": "hi",
        },
        name="inbox/cardio/wgs 0412.zip",
    )
    assert (bundle.name, bundle.main) == ("wgs-0412", "main.wdl")
    assert bundle.inputs == {"hello.name": "Ada"}
    assert bundle.options == {"write_to_cache": False}
    assert bundle.options_file == "options.json"
    assert bundle.labels == {"cohort": "A 1"}
    assert bundle.holds("data/reads.fq")
    assert bundle.files == ("README.md", "data/reads.fq")
    assert bundle.source("lib/tasks.wdl") == "version 1.0\n"
    assert bundle.open("data/reads.fq").read() == b"@r\n"
    assert bundle.size("data/reads.fq") == 3
    assert (bundle.dry_run, bundle.hold, bundle.findings) == (False, False, ())


def test_a_bare_wdl_is_a_bundle_of_one() -> None:
    bundle = open_bundle(HELLO.encode(), "inbox/default/hello.wdl")
    assert (bundle.name, bundle.main, bundle.inputs) == ("hello", "hello.wdl", {})
    assert bundle.source("hello.wdl") == HELLO


def test_its_hash_is_of_the_dropped_bytes() -> None:
    data = zipped({"main.wdl": HELLO})
    assert open_bundle(data, "b.zip").sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("files", "main"),
    [
        ({"main.wdl": "", "other.wdl": ""}, "main.wdl"),
        ({"workflow.wdl": "", "other.wdl": ""}, "workflow.wdl"),
        ({"align.wdl": "", "lib/tasks.wdl": ""}, "align.wdl"),
        ({"Align.WDL": ""}, "Align.WDL"),
    ],
)
def test_without_a_manifest_the_main_wdl_is_found_by_its_name(
    files: dict[str, object], main: str
) -> None:
    assert opened(files).main == main


def test_a_wrapper_directory_and_clutter_of_desktops_are_ignored() -> None:
    bundle = opened(
        {
            "my run/main.wdl": HELLO,
            "my run/inputs.json": {"hello.name": "Ada"},
            "my run/.DS_Store": "x",
            "my run/._main.wdl": "x",
            "__MACOSX/my run/._main.wdl": "x",
        }
    )
    assert bundle.entries == ("inputs.json", "main.wdl")


def test_only_one_wrapper_directory_is_taken_off() -> None:
    with pytest.raises(BadBundle, match=r"no WDL file lies at the root .* only b/main\.wdl"):
        opened({"a/b/main.wdl": HELLO})


def test_inputs_files_are_merged_in_the_order_of_their_numbers() -> None:
    bundle = opened(
        {
            "main.wdl": HELLO,
            "inputs10.json": {"w.a": 10},
            "inputs.json": {"w.a": 0, "w.b": 0, "w.c": 0},
            "inputs2.json": {"w.a": 2, "w.b": 2},
        }
    )
    assert bundle.inputs == {"w.a": 10, "w.b": 2, "w.c": 0}
    assert bundle.inputs_files == ("inputs.json", "inputs2.json", "inputs10.json")
    assert bundle.place_of("w.b") == ("inputs2.json", 3)
    assert bundle.place_of("w.nowhere") == ("", None)


def test_a_place_within_a_value_is_found_or_else_that_of_its_key() -> None:
    bundle = opened({"main.wdl": HELLO, "inputs.json": {"w.a": [1, {"b": 2}]}})
    assert bundle.place_of("w.a", 1, "b") == ("inputs.json", 5)
    assert bundle.place_of("w.a", 7) == ("inputs.json", 2)


def test_comment_keys_are_no_inputs() -> None:
    bundle = opened({"main.wdl": HELLO, "inputs.json": {"# who": "me", "hello.name": "Ada"}})
    assert bundle.inputs == {"hello.name": "Ada"}


def test_names_that_an_old_packer_wrote_are_read_as_utf8() -> None:
    name = "données.fq".encode()
    data = raw_zip([Entry(name=b"main.wdl"), Entry(name=name, flags=0)])
    assert "données.fq" in open_bundle(data, "b.zip").entries
    code_page = raw_zip([Entry(name=b"main.wdl"), Entry(name=b"donn\x82es.fq", flags=0)])
    assert "données.fq" in open_bundle(code_page, "b.zip").entries


def test_a_zip_with_a_comment_and_one_in_zip64_are_read() -> None:
    for data in (
        raw_zip([Entry(name=b"main.wdl")], comment=b"made by hand"),
        raw_zip([Entry(name=b"./main.wdl")], zip64=True),
    ):
        assert open_bundle(data, "b.zip").main == "main.wdl"


def test_names_are_made_safe() -> None:
    assert safe_name("../../etc/passwd") == "etc-passwd"
    assert len(safe_name("x" * 200)) == 64


# --- the manifest ------------------------------------------------------------------------------


def test_a_manifest_names_what_to_read() -> None:
    bundle = opened(
        {
            "MANIFEST.json": {
                "mainWorkflowURL": "./wdl/run.wdl",
                "inputFileURLs": ["in/b.json", "in/a.json"],
                "optionsFileURL": "conf/opts.json",
                "name": "WGS of Ada",
                "labels": {"cohort": "B"},
                "dryRun": True,
                "hold": True,
            },
            "wdl/run.wdl": HELLO,
            "in/a.json": {"w.x": "a"},
            "in/b.json": {"w.x": "b", "w.y": "b"},
            "conf/opts.json": {"write_to_cache": True},
            "labels.json": {"cohort": "A", "by": "me"},
            "inputs.json": {"w.x": "not read"},
        }
    )
    assert (bundle.main, bundle.name) == ("wdl/run.wdl", "WGS-of-Ada")
    assert bundle.inputs == {"w.x": "a", "w.y": "b"}
    assert bundle.options == {"write_to_cache": True}
    assert bundle.labels == {"cohort": "B", "by": "me"}
    assert (bundle.dry_run, bundle.hold) == (True, True)


def test_what_a_manifest_does_not_name_is_found_as_without_one() -> None:
    bundle = opened(
        {
            "MANIFEST.json": {"name": "x"},
            "main.wdl": HELLO,
            "inputs.json": {"w.x": 1},
            "options.json": {"a": 1},
        }
    )
    assert (bundle.main, bundle.inputs, bundle.options) == ("main.wdl", {"w.x": 1}, {"a": 1})


def test_one_inputs_file_may_be_named_without_a_list_and_none_by_an_empty_one() -> None:
    files = {"main.wdl": HELLO, "a.json": {"w.x": 1}, "inputs.json": {"w.x": 2}}
    assert opened({**files, "MANIFEST.json": {"inputFileURLs": "a.json"}}).inputs == {"w.x": 1}
    assert opened({**files, "MANIFEST.json": {"inputFileURLs": []}}).inputs == {}


def test_both_spellings_of_the_options_key_are_read() -> None:
    files = {"main.wdl": HELLO, "o.json": {"a": 1}}
    aliased = opened({**files, "MANIFEST.json": {"optionFileURL": "o.json"}})
    assert aliased.options == {"a": 1}
    assert [str(f) for f in aliased.warnings] == [
        'MANIFEST.json:2  "optionFileURL" is read as "optionsFileURL"'
    ]
    both = {"optionFileURL": "o.json", "optionsFileURL": "o.json"}
    assert opened({**files, "MANIFEST.json": both}).options == {"a": 1}


def test_keys_of_a_manifest_that_mean_nothing_are_warned_of() -> None:
    manifest = {"mainWorkflowUrl": "x.wdl", "engineOptions": "--x", "zzz": 1}
    bundle = opened({"main.wdl": HELLO, "MANIFEST.json": manifest})
    assert [str(f) for f in bundle.warnings] == [
        'MANIFEST.json:2  the key "mainWorkflowUrl" is not known. Did you mean "mainWorkflowURL"?',
        'MANIFEST.json:4  the key "zzz" is not known',
        'MANIFEST.json:3  "engineOptions" is not used here',
    ]


def test_files_whose_names_are_nearly_right_are_warned_of() -> None:
    bundle = opened({"main.wdl": HELLO, "manifest.json": {}, "hello.inputs.json": {}})
    assert [str(f) for f in bundle.warnings] == [
        "manifest.json  the file is not read; a manifest is named MANIFEST.json",
        "hello.inputs.json  the file is not read; inputs are named inputs.json, or in a manifest",
    ]


# --- what is wrong with a bundle ---------------------------------------------------------------

_BROKEN: list[tuple[dict[str, object], list[str]]] = [
    (
        {"main.wdl": "", "workflow.wdl": ""},
        ["which WDL is the main one? There are main.wdl and workflow.wdl"],
    ),
    (
        {f"{letter}.wdl": "" for letter in "abcdefg"},
        ["which WDL is the main one? There are a.wdl, b.wdl, c.wdl, d.wdl, e.wdl and 2 more"],
    ),
    ({"README.md": ""}, ["the bundle holds no WDL file"]),
    (
        {"main.wdl": "", "inputs.json": '{"a": 1,}', "options.json": "[]", "labels.json": "{"},
        [
            "inputs.json:1  not valid JSON: a comma stands before the closing }",
            "options.json:1  the file holds an Array; an object was expected",
            "labels.json:1  not valid JSON: a key in double quotes was expected",
        ],
    ),
    (
        {"main.wdl": "", "inputs.json": '{"w.a": 1,\n "w.a": 2}'},
        ['inputs.json:2  the key "w.a" is there twice'],
    ),
    (
        {"main.wdl": "", "inputs.yaml": "w.a: 1", "inputs.json": "{}"},
        ["inputs.yaml  inputs are read as JSON only, and this is YAML"],
    ),
    (
        {"main.wdl": "", "in.yml": "", "MANIFEST.json": {"inputFileURLs": ["in.yml"]}},
        ["in.yml  inputs are read as JSON only, and this is YAML"],
    ),
    (
        {"main.wdl": "", "MANIFEST.json": "{x}"},
        ["MANIFEST.json:1  not valid JSON: a key in double quotes was expected"],
    ),
    (
        {"main.wdl": "", "MANIFEST.json": {"mainWorkflowURL": "s3://bucket/main.wdl"}},
        [
            'MANIFEST.json:2  "mainWorkflowURL" is an address ("s3://bucket/main.wdl"); what runs '
            "must be in the bundle"
        ],
    ),
    (
        {"main.wdl": "", "MANIFEST.json": {"mainWorkflowURL": "mian.wdl"}},
        [
            'MANIFEST.json:2  "mainWorkflowURL" names "mian.wdl", which is not in the bundle. '
            'Did you mean "main.wdl"?'
        ],
    ),
    (
        {"main.wdl": "", "MANIFEST.json": {"mainWorkflowURL": 3}},
        ['MANIFEST.json:2  "mainWorkflowURL" is an Int; the path of a WDL file was expected'],
    ),
    (
        {"main.wdl": "", "MANIFEST.json": {"mainWorkflowURL": ""}},
        ['MANIFEST.json:2  "mainWorkflowURL" is an empty path'],
    ),
    (
        {"main.wdl": "", "MANIFEST.json": {"inputFileURLs": {"a": 1}}},
        ['MANIFEST.json:2  "inputFileURLs" is not a list of paths'],
    ),
    (
        {"main.wdl": "", "MANIFEST.json": {"inputFileURLs": ["x.json", "../y.json", ""]}},
        [
            'MANIFEST.json:2  "inputFileURLs" names "x.json", which is not in the bundle',
            'MANIFEST.json:2  "inputFileURLs" names "../y.json", which is not in the bundle',
            'MANIFEST.json:2  "inputFileURLs" is an empty path',
        ],
    ),
    (
        {
            "main.wdl": "",
            "a.json": {},
            "b.json": {},
            "MANIFEST.json": {"optionFileURL": "a.json", "optionsFileURL": "b.json"},
        },
        ['MANIFEST.json:2  "optionsFileURL" and "optionFileURL" name different files'],
    ),
    (
        {
            "main.wdl": "",
            "MANIFEST.json": {"name": 1, "labels": [], "dryRun": "yes", "hold": 1},
        },
        [
            'MANIFEST.json:3  "labels" is an Array; an object of strings was expected',
            'MANIFEST.json:2  "name" is an Int; a string was expected',
            'MANIFEST.json:4  "dryRun" is a String; true or false was expected',
            'MANIFEST.json:5  "hold" is an Int; true or false was expected',
        ],
    ),
    (
        {"main.wdl": "", "inputs.json": b'{"a": "\xff"}'},
        ["inputs.json:1  the file is not UTF-8 text"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("files", "told"), _BROKEN, ids=lambda value: str(value)[:60])
def test_a_broken_bundle_is_told_with_file_and_line(
    files: dict[str, object], told: list[str]
) -> None:
    assert [str(finding) for finding in refusals(zipped(files))] == told


def test_bad_labels_are_told_without_keeping_the_rest_from_being_read() -> None:
    bundle = opened(
        {"main.wdl": HELLO, "labels.json": {"x": 3}, "inputs.json": {"hello.name": "A"}}
    )
    (finding,) = bundle.findings
    assert (finding.rule, finding.severity) == ("label", Severity.ERROR)
    assert str(finding) == 'labels.json:2  label "x" is not a string; labels are strings'
    assert bundle.warnings == ()


def test_an_inputs_file_beyond_the_limit_is_refused() -> None:
    (finding,) = refusals(
        zipped({"main.wdl": HELLO, "inputs.json": {"a": "x" * 100}}),
        limits=Limits(inputs_json=50),
    )
    assert str(finding) == "inputs.json  the file is larger than 50 bytes, the most that is read"


def test_a_bundle_beyond_the_limit_is_refused() -> None:
    (finding,) = refusals(zipped({"main.wdl": HELLO}), limits=Limits(compressed=100))
    assert finding.message.startswith("the bundle is ")
    assert finding.message.endswith("; at most 100 bytes are taken")


def test_what_is_read_in_all_is_bounded_whatever_the_zip_claims() -> None:
    bundle = opened({"main.wdl": HELLO, "a.txt": "x" * 600}, limits=Limits(unfolded=1000))
    bundle.open("a.txt").read()
    with pytest.raises(BadBundle, match="more than 1 kB would be read"):
        bundle.open("a.txt").read()


# --- hostile archives --------------------------------------------------------------------------


def _named(name: bytes, **fields: int) -> bytes:
    return raw_zip([Entry(name=b"main.wdl"), Entry(name=name, data=b"x", **fields)])


def _encrypted() -> bytes:
    return _named(b"secret.txt", flags=0x801)


def _damaged_entry() -> bytes:
    return raw_zip(
        [Entry(name=b"main.wdl", data=b"x", crc=1), Entry(name=b"inputs.json", data=b"{}", crc=1)]
    )


_HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "no zip": (lambda: b"hello, I am text", "the file is no zip archive, whatever its name says"),
    "nothing": (lambda: b"", "the file is no zip archive"),
    "gzip": (lambda: b"\x1f\x8b\x08rest", "the file is a gzip archive, not a zip"),
    "7z": (lambda: b"7z\xbc\xaf\x27\x1crest", "the file is a 7z archive, not a zip"),
    "cut short": (lambda: zipped({"main.wdl": HELLO})[:-10], "the zip was cut short"),
    "empty": (lambda: zipped({}), "the zip holds no files"),
    "only folders": (lambda: zipped({"a/": "", "__MACOSX/x": ""}), "the zip holds no files"),
    "broken directory": (
        lambda: zipped({"main.wdl": HELLO}).replace(b"PK\x01\x02", b"PK\x01\x03"),
        "the zip's directory is damaged",
    ),
    "name in no encoding": (lambda: _named(b"\xff\xfe"), "the zip's directory is damaged"),
    "damaged entry": (_damaged_entry, "the entry is damaged in the zip"),
    "no local header": (
        lambda: raw_zip([Entry(name=b"main.wdl"), Entry(name=b"inputs.json", data=b"{}")]).replace(
            b"PK\x03\x04", b"PK\x03\x05"
        ),
        "the entry is damaged in the zip",
    ),
    "encrypted": (_encrypted, 'the entry "secret.txt" is encrypted'),
    "traversal": (lambda: _named(b"a/../../etc/x"), "leads out of the bundle"),
    "absolute": (lambda: _named(b"/etc/passwd"), "has an absolute path"),
    "drive": (lambda: _named(b"C:/x"), "has an absolute path"),
    "backslash": (lambda: _named(b"..\\x"), "has a backslash in its name"),
    "null": (lambda: _named(b"a\0b"), 'the entry "a?b" has control characters in its name'),
    "no name": (lambda: _named(b"./"), "has no name"),
    "escape sequence": (lambda: _named(b"a\x1b[2Jb"), "has control characters in its name"),
    "long name": (lambda: _named(b"/".join([b"x" * 200] * 3)), "a name longer than 512 bytes"),
    "long part": (lambda: _named(b"x" * 256), "has a part longer than 255 bytes"),
    "deep": (lambda: _named(b"/".join([b"d"] * 40)), "lies more than 32 folders deep"),
    "symlink": (lambda: _named(b"link", mode=0o120777), "is a symbolic link"),
    "device": (lambda: _named(b"dev", mode=0o020644), "is neither a file nor a folder"),
    "lzma": (lambda: _named(b"x", method=14), "is compressed in a way that is not read here"),
    "twice": (lambda: _named(b"main.wdl"), 'the entry "main.wdl" is there twice'),
    "twice, spelled apart": (lambda: _named(b"./main.wdl"), "is there twice"),
    "case": (lambda: _named(b"MAIN.wdl"), 'differs from "main.wdl" only in case'),
    "file as folder": (lambda: _named(b"main.wdl/x"), "lies in a folder that is also a file"),
    "overlap": (overlapping_bomb, "overlaps another entry in the zip"),
    "dense": (dense_bomb, "the zip unfolds to 4.29 GB; at most 1 GB are read"),
    "lying size": (lying_bomb, "the entry is damaged in the zip"),
    "ratio": (
        lambda: zipped({"main.wdl": HELLO, "x": bytes(5_000_000)}),
        'the entry "x" unfolds to more than 500 times its size',
    ),
}


@pytest.mark.parametrize(("made", "told"), _HOSTILE.values(), ids=_HOSTILE.keys())
def test_a_hostile_or_broken_archive_is_refused_with_one_sentence(
    made: Callable[[], bytes], told: str
) -> None:
    (finding,) = refusals(made())
    assert told in finding.message
    assert finding.message.isprintable()


def test_one_entry_beyond_its_limit_is_refused() -> None:
    (finding,) = refusals(zipped({"main.wdl": HELLO, "x": "abc" * 99}), limits=Limits(entry=200))
    assert finding.message == 'the entry "x" unfolds to more than 200 bytes'


def test_more_entries_than_are_taken_are_refused_before_any_is_looked_at() -> None:
    many = {f"f{index}": b"" for index in range(30)}
    (finding,) = refusals(zipped(many), limits=Limits(entries=29))
    assert finding.message == "the zip holds more than 29 entries"
    assert [f.rule for f in refusals(zipped(many), limits=Limits(entries=30))] == ["main-wdl"]


def test_a_directory_of_endless_names_is_refused_before_it_is_read() -> None:
    data = raw_zip(Entry(name=b"%d" % index + b"x" * 60_000) for index in range(200))
    (finding,) = refusals(data)
    assert finding.message == "the zip's directory is too large for its entries"


def test_entries_of_a_zip_carried_as_data_are_not_counted() -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        for index in range(50):
            archive.writestr(f"f{index}", "")
    bundle = opened({"main.wdl": HELLO, "data.zip": inner.getvalue()}, limits=Limits(entries=10))
    assert bundle.files == ("data.zip",)


def test_a_bomb_within_the_bundle_is_a_file_like_any_other() -> None:
    bundle = opened({"main.wdl": HELLO, "bomb.zip": overlapping_bomb()})
    assert bundle.open("bomb.zip").read() == overlapping_bomb()


def test_a_long_hostile_name_is_shortened_in_the_message() -> None:
    (finding,) = refusals(_named(b"\x1b" + b"x" * 300))
    assert len(finding.message) < 150


@pytest.mark.parametrize("bomb", [overlapping_bomb, dense_bomb, lying_bomb])
def test_refusing_a_bomb_takes_little_memory(bomb: Callable[[], bytes]) -> None:
    data = bomb()
    refusals(data)
    tracemalloc.start()
    refusals(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000


def test_the_bomb_of_the_limit_is_as_small_as_it_is_said_to_be() -> None:
    assert len(overlapping_bomb()) < 43_000


def test_a_bundle_of_ten_thousand_entries_is_opened() -> None:
    data = zipped({"main.wdl": HELLO, **{f"d/{index}.txt": b"" for index in range(9_999)}})
    assert len(open_bundle(data, "b.zip").entries) == 10_000


def test_a_stream_of_an_entry_can_be_closed_and_read_in_part() -> None:
    bundle = opened({"main.wdl": HELLO, "x.txt": "abcdef"})
    with bundle.open("x.txt") as stream:
        assert stream.read(3) == b"abc"
    assert stream.closed


def test_the_json_of_a_manifest_may_hold_anything_readable() -> None:
    manifest = json.dumps({"name": "\u202eevil\u0007"})
    assert opened({"main.wdl": HELLO, "MANIFEST.json": manifest}).name == "evil"
