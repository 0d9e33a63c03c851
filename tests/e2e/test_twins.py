"""The promises of table and bucket, kept by the emulator as by the simulation's twins.

The story is that of the functional tests, told once more on another stage.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dropwell.errors import Superseded
from dropwell.records import NEW, Put, Update
from tests.e2e.inbox import Inbox
from tests.functional import test_buckets, test_tables, twins

EMULATED = twins.KINDS[0]

COUNTS = ("p", "COUNTS")


@pytest.fixture
def stage(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> Inbox:
    """Let what the story is told with be made in the emulator."""
    monkeypatch.setattr(twins, "client", inbox.stack.client)
    return inbox


@pytest.fixture
def table(stage: Inbox) -> Iterator[Any]:
    yield twins.table(EMULATED)
    stage.stack.client("dynamodb").delete_table(TableName="twin")


@pytest.fixture
def bucket(stage: Inbox) -> Iterator[Any]:
    yield twins.bucket(EMULATED)
    s3 = stage.stack.client("s3")
    listed = s3.list_object_versions(Bucket="twin")
    for version in [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]:
        s3.delete_object(Bucket="twin", Key=version["Key"], VersionId=version["VersionId"])
    s3.delete_bucket(Bucket="twin")


TestReadingItems, TestWritingItems = test_tables.TestReading, test_tables.TestWriting
TestReadingObjects, TestMovingObjects = test_buckets.TestReading, test_buckets.TestMoving


def test_jobs_of_many_transactions_are_counted_right(table: Any) -> None:
    """Ninety-nine jobs and one sum a transaction, from four writers at once."""

    def write(batch: int) -> None:
        jobs = [Put({"pk": "p", "sk": f"JOB#{batch}-{job}"}, NEW) for job in range(99)]
        table.write(*jobs, Update(COUNTS, add={"jobs": 99}))

    with ThreadPoolExecutor(4) as writers:
        list(writers.map(write, range(20)))
    assert table.get(COUNTS)["jobs"] == 20 * 99
    assert len(list(table.query("p", "JOB#"))) == 20 * 99


def test_of_racing_writers_one_wins_each_item(table: Any) -> None:
    assert wins(table, lambda turn: Put({"pk": "p", "sk": f"A#{turn % 5}"}, NEW)) == 5
    assert table.get(COUNTS)["wins"] == 5


def test_racing_writers_lose_no_change(table: Any) -> None:
    for number in range(5):
        table.write(Put({"pk": "p", "sk": f"A#{number}", "rev": 0}, {}))

    def next_revision(turn: int) -> Update:
        key = ("p", f"A#{turn % 5}")
        rev = table.get(key)["rev"]
        return Update(key, set={"rev": rev + 1}, expect={"rev": rev})

    won = wins(table, next_revision)
    assert 5 <= won <= 200
    assert table.get(COUNTS)["wins"] == won
    assert sum(item["rev"] for item in table.query("p", "A#")) == won


def wins(table: Any, change: Any) -> int:
    """Let ten writers try twenty changes each, every one with a sum; return how many were made."""

    def attempts(writer: int) -> int:
        made = 0
        for turn in range(20):
            try:
                table.write(change(writer + turn), Update(COUNTS, add={"wins": 1}))
                made += 1
            except Superseded:
                continue
        return made

    with ThreadPoolExecutor(10) as writers:
        return sum(writers.map(attempts, range(10)))
