"""A call that was run before is not run again: its files are copied, and no job is heard of."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from dropwell.calls import place_of_rc_key
from dropwell_local.cromwell.serve import LocalCromwell

from .conftest import BUCKET, Cromwell, Start, until

CHAIN = """version 1.0
workflow chain {
  input { File lines  String word = "a"  String log }
  call make { input: lines = lines, word = word, log = log }
  call use { input: given = make.made, parts = make.parts, log = log }
  output { String used = use.used  File made = make.made  Array[File] parts = make.parts }
}
task make {
  input { File lines  String word  String log }
  Int n = 2
  command <<<
    echo make >> ~{log}
    cat ~{lines} ~{write_lines([word])} > whole.txt; ln -s $PWD/whole.txt made.txt
    mkdir parts; echo ~{n} > parts/1.part; echo said; echo warned >&2; echo 7 > seven
  >>>
  output {
    File made = "made.txt"
    Array[File] parts = glob("parts/*.part")
    Int seven = read_int("seven")
    String said = read_string(stdout())
  }
  runtime { docker: "ubuntu:22.04" memory: "100 MB" }
}
task use {
  input { File given  Array[File] parts  String log }
  command <<< echo use >> ~{log}; cat ~{given} ~{sep=" " parts} | tr '\\n' ' ' >>>
  output { String used = read_string(stdout()) }
  runtime { docker: "ubuntu:22.04" memory: "100 MB" }
}
"""

Speak = Callable[[LocalCromwell], Cromwell]


@pytest.fixture(scope="module")
def caching(
    start: Start, speak_to: Speak, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cromwell]:
    with start(tmp_path_factory.mktemp("caching"), call_caching=True) as server:
        yield speak_to(server)


def run(cromwell: Cromwell, log: Path, *, source: str = CHAIN, options: Any = None) -> str:
    given = {"chain.lines": f"s3://{BUCKET}/data/lines.txt", "chain.log": str(log)}
    run_id = cromwell.submit(source, given, workflowOptions=json.dumps(options or {}))
    assert cromwell.wait(run_id) == "Succeeded"
    return run_id


def ran(log: Path) -> list[str]:
    return log.read_text().split()


def hits(cromwell: Cromwell, run_id: str) -> dict[str, bool | None]:
    calls = cromwell.calls(run_id)
    return {name: some[0]["callCaching"].get("hit") for name, some in calls.items()}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "ran.txt"


@pytest.fixture(scope="module")
def first(caching: Cromwell, log: Path) -> str:
    return run(caching, log)


@pytest.fixture(scope="module")
def second(caching: Cromwell, first: str, log: Path) -> str:
    """Return a run of the same, by other names."""
    source = CHAIN.replace("call make {", "call made as make {").replace("task make", "task made")
    run_id = run(caching, log, source=source)
    assert ran(log) == ["make", "use"]
    return run_id


def test_what_was_never_run_is_a_miss(caching: Cromwell, first: str) -> None:
    (make,) = caching.calls(first)["chain.make"]

    told = dict(make["callCaching"])
    assert set(told.pop("hashes")) >= {"command template", "input", "output expression"}
    assert told == {
        "hit": False,
        "result": "Cache Miss",
        "allowResultReuse": True,
        "effectiveCallCachingMode": "ReadAndWriteCache",
    }


def test_a_hit_says_whose_copy_it_is_and_has_no_job(
    caching: Cromwell, first: str, second: str
) -> None:
    (make,) = caching.calls(second)["chain.make"]

    assert make["callCaching"]["hit"] is True
    assert make["callCaching"]["result"] == f"Cache Hit: {first}:chain.make:-1"
    assert (make["executionStatus"], make["returnCode"]) == ("Done", 0)
    assert "jobId" not in make
    assert caching.events(second) == []


def test_a_hit_leaves_copies_where_cromwell_puts_them(
    caching: Cromwell, first: str, second: str
) -> None:
    (make,) = caching.calls(second)["chain.make"]
    before, after = (caching.metadata(run_id)["outputs"] for run_id in (first, second))

    assert make["callRoot"].endswith("/call-make/cacheCopy")
    assert after["chain.used"] == before["chain.used"] == "one two three a 2 "
    assert after["chain.made"].startswith(f"{make['callRoot']}/")
    assert caching.read(after["chain.made"]) == caching.read(before["chain.made"])
    assert after["chain.parts"][0].startswith(f"{make['callRoot']}/")
    assert caching.read(after["chain.parts"][0]) == "2\n"
    assert after["chain.parts"][0].split("/")[-2:] == before["chain.parts"][0].split("/")[-2:]
    assert caching.read(make["stdout"]) == "said\n"
    assert caching.read(make["stderr"]) == "warned\n"
    root = make["callRoot"].removeprefix(f"s3://{BUCKET}/")
    place = place_of_rc_key(BUCKET, f"{root}/make-rc.txt")
    assert place is not None
    assert place.cached
    assert caching.read(f"s3://{BUCKET}/{place.rc_key}") == "0\n"
    assert make["outputs"]["seven"] == 7


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"ubuntu:22.04" memory', '"debian:12" memory'),
        ("echo said", "echo  said"),
        ("Int n = 2", "Int n = 3"),
        ("Int seven = read", "Float seven = read"),
    ],
    ids=["image", "command", "declaration", "output"],
)
def test_another_call_is_a_miss(
    caching: Cromwell, first: str, tmp_path: Path, old: str, new: str
) -> None:
    other = run(caching, tmp_path / "log", source=CHAIN.replace(old, new, 1))

    assert hits(caching, other)["chain.make"] is False


def test_other_content_is_a_miss(caching: Cromwell, first: str, log: Path) -> None:
    before = len(ran(log))
    caching.objects.put_object(Bucket=BUCKET, Key="data/others.txt", Body=b"other\n")
    given = {"chain.lines": f"s3://{BUCKET}/data/others.txt", "chain.log": str(log)}

    run_id = caching.submit(CHAIN, given)

    assert caching.wait(run_id) == "Succeeded"
    assert len(ran(log)) == before + 2


def test_options_keep_calls_out_of_the_cache_and_the_cache_out_of_calls(
    caching: Cromwell, tmp_path: Path
) -> None:
    log = tmp_path / "ran.txt"
    unwritten = run(caching, log, options={"write_to_cache": False})
    written = run(caching, log, options={"read_from_cache": False})

    again = run(caching, log, options={"read_from_cache": "false", "write_to_cache": False})
    read = run(caching, log)

    def modes(run_id: str) -> tuple[str, bool]:
        told = caching.calls(run_id)["chain.make"][0]["callCaching"]
        return told["effectiveCallCachingMode"], told["allowResultReuse"]

    assert (modes(unwritten), modes(written)) == (("ReadCache", False), ("WriteCache", True))
    assert modes(again) == ("CallCachingOff", False)
    assert hits(caching, unwritten)["chain.make"] is False
    assert hits(caching, read) == {"chain.make": True, "chain.use": True}
    assert ran(log) == ["make", "use"] * 3


def test_what_failed_is_run_again(caching: Cromwell, tmp_path: Path) -> None:
    source = CHAIN.replace("echo 7 > seven", "exit 3")
    given = {"chain.lines": f"s3://{BUCKET}/data/lines.txt", "chain.log": str(tmp_path / "ran")}
    for _ in range(2):
        run_id = caching.submit(source, given)
        assert caching.wait(run_id) == "Failed"
    told = caching.calls(run_id)["chain.make"][0]["callCaching"]
    assert (told["hit"], told["allowResultReuse"]) == (False, False)
    assert ran(tmp_path / "ran") == ["make", "make"]


@pytest.mark.parametrize("where", ["S3", "disk"])
def test_files_that_are_gone_are_a_miss(caching: Cromwell, tmp_path: Path, where: str) -> None:
    log = tmp_path / "ran.txt"
    before = run(caching, log)
    (make,) = caching.calls(before)["chain.make"]
    if where == "S3":
        key = f"{make['callRoot'].removeprefix(f's3://{BUCKET}/')}/whole.txt"
        caching.objects.delete_object(Bucket=BUCKET, Key=key)
    else:
        shutil.rmtree(caching.data / "workflows" / before / "execution" / "call-make")

    after = run(caching, log)

    assert hits(caching, after)["chain.make"] is False
    assert ran(log)[:3] == ["make", "use", "make"]


def test_without_caching_metadata_says_that_it_is_off(cromwell: Cromwell, tmp_path: Path) -> None:
    run_id = run(cromwell, tmp_path / "ran")

    assert cromwell.calls(run_id)["chain.make"][0]["callCaching"] == {
        "effectiveCallCachingMode": "CallCachingOff",
        "allowResultReuse": False,
    }


def test_the_cache_outlives_the_server(start: Start, speak_to: Speak, tmp_path: Path) -> None:
    log = tmp_path / "ran.txt"
    with start(tmp_path, call_caching=True) as server:
        cromwell = speak_to(server)
        run(cromwell, log)
        psutil.Process(cromwell.pid).kill()
        until(lambda: psutil.Process(cromwell.pid).status() == psutil.STATUS_ZOMBIE)

    with start(tmp_path, call_caching=True) as server:
        cromwell = speak_to(server)
        assert hits(cromwell, run(cromwell, log)) == {"chain.make": True, "chain.use": True}
    assert ran(log) == ["make", "use"]
