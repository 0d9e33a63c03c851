"""What `dropwell submit` leaves in the inbox, and what the submitter makes of it."""

from __future__ import annotations

import pytest

from dropwell.drops import Drop, what_is
from dropwell_cli.demo import parcels
from tests.functional.conftest import INBOX, client

HELLO = "version 1.0\nworkflow hello {}\n"


@pytest.fixture
def wdl(tmp_path):
    file = tmp_path / "hello.wdl"
    file.write_text(HELLO)
    return file


def test_the_bundle_lies_in_its_projects_folder_as_it_is(ask, cloud, wdl):
    assert ask("submit", str(wdl), "--project", "cardio").code == 0
    assert cloud.text("inbox/cardio/hello.wdl") == HELLO


def test_the_run_is_named_before_anybody_took_the_drop(ask, cloud, wdl):
    told = ask("submit", str(wdl), "--json").told
    [version] = cloud.versions("inbox/default/hello.wdl")
    drop = Drop(bucket=INBOX, key="inbox/default/hello.wdl", version_id=version)
    assert told == {"bundle": str(wdl), "run_id": drop.run_id, "project": "default"}


def test_a_person_is_told_how_to_follow_it(ask, wdl):
    out = ask("submit", str(wdl)).out
    run_id = out.split()[out.split().index("Run") + 1]
    assert f"dropwell watch {run_id} --stack dropwell-test\n" in out


def test_every_example_is_taken_for_a_drop():
    for parcel in parcels():
        assert what_is(f"inbox/demo/{parcel.file_name}", len(parcel.data)) is None


def test_a_bundle_that_is_not_there_is_said_so_before_anything_is_asked(dropwell):
    ended = dropwell("submit", "nosuch.zip", "--stack", "nosuch")
    assert (ended.code, ended.error) == (1, "nosuch.zip is not there.\n")


def test_a_bucket_without_versions_takes_no_drops(ask, wdl):
    client("s3").put_bucket_versioning(
        Bucket=INBOX, VersioningConfiguration={"Status": "Suspended"}
    )
    ended = ask("submit", str(wdl))
    assert ended.code == 1
    assert "keeps no versions" in ended.error
