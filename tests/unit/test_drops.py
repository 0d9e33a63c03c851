"""What lands in the inbox bucket, told apart by its key; and where each thing is kept after."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropwell.calls import place_of_rc_key
from dropwell.drops import (
    CONTROL,
    DATA_FILES,
    INBOX,
    Action,
    Control,
    Drop,
    Ignored,
    project_of,
    rejected_folder,
    run_folder,
    safe_name,
    what_is,
)

RUN = "42d3b0b2-f1a5-5cd3-9ddd-34b27dbecce2"
text = st.text(max_size=40)


def drop(key="inbox/cardio/wgs.zip", version_id="v1", bucket="b", **more):
    return Drop(bucket=bucket, key=key, version_id=version_id, **more)


class TestTheIdOfARun:
    def test_is_the_same_however_the_drop_is_told_of(self):
        later = drop(size=9, principal="AWS:AROA:bob", dropped_at=7)
        assert drop().run_id == later.run_id

    @pytest.mark.parametrize(
        "other", [drop(version_id="v2"), drop(key="inbox/cardio/x.zip"), drop(bucket="c")]
    )
    def test_is_another_for_another_version_object_or_bucket(self, other):
        assert drop().run_id != other.run_id

    def test_is_a_uuid_as_cromwell_wants_it(self):
        assert str(uuid.UUID(drop().run_id)) == drop().run_id

    def test_has_not_changed_since_the_first_release(self):
        """A run on record would be posted a second time if it did."""
        assert drop().run_id == "d7abde7e-ec34-5374-8923-d61ce12c986f"


class TestProjects:
    @pytest.mark.parametrize(
        ("key", "project"),
        [
            ("inbox/cardio/wgs.zip", "cardio"),
            ("inbox/cardio/2026/deep/wgs.zip", "cardio"),
            ("inbox/wgs.zip", "default"),
            ("inbox//wgs.zip", "default"),
            ("control/cardio/abort/x.json", "cardio"),
        ],
    )
    def test_are_the_first_folder(self, key, project):
        assert project_of(key) == project

    @pytest.mark.parametrize(("one", "other"), [("kardio süd", "kardio sud"), ("a b", "a-b")])
    def test_that_differ_are_told_apart_though_their_names_look_alike(self, one, other):
        """Who may abort a run is decided by it."""
        assert project_of(f"inbox/{one}/x.zip") != project_of(f"inbox/{other}/x.zip")

    @given(text.filter(lambda name: "/" not in name))
    def test_of_any_name_are_a_harmless_part_of_a_key(self, name):
        project = project_of(f"inbox/{name}/x.zip")
        assert project
        assert "/" not in project
        assert project.isascii()
        assert project not in (".", "..")


class TestWhatItIs:
    @pytest.mark.parametrize(
        "key",
        [
            "inbox/cardio/a.zip",
            "inbox/cardio/a.ZIP",
            "inbox/cardio/deep/er/a.tar.gz",
            "inbox/a.tgz",
            "inbox/cardio/a.wdl",
            "inbox/a.wdl",
        ],
    )
    def test_a_drop(self, key):
        assert what_is(key, 9) is None

    @pytest.mark.parametrize(
        ("key", "why"),
        [
            ("inbox/", Ignored.FOLDER),
            ("inbox/cardio/", Ignored.FOLDER),
            ("control/", Ignored.FOLDER),
            ("control/cardio/abort/", Ignored.FOLDER),
            ("inbox/cardio/a.zip.part", Ignored.PARTIAL),
            ("inbox/cardio/a.zip~", Ignored.PARTIAL),
            ("inbox/cardio/.a.zip", Ignored.PARTIAL),
            ("inbox/cardio/a.TMP", Ignored.PARTIAL),
            ("inbox/cardio/lib/a.wdl", Ignored.NOT_A_BUNDLE),
            ("inbox/cardio/reads.fastq.gz", Ignored.NOT_A_BUNDLE),
            ("inbox/cardio/zip", Ignored.NOT_A_BUNDLE),
            ("runs/cardio/x/1/bundle.zip", Ignored.NOT_OURS),
            ("a.zip", Ignored.NOT_OURS),
            ("control/cardio/explode/x.json", Ignored.NOT_AN_ACTION),
            ("control/cardio/abort/x.txt", Ignored.NOT_AN_ACTION),
            ("control/cardio/x.json", Ignored.NOT_AN_ACTION),
            ("control/cardio/abort/deep/x.json", Ignored.NOT_AN_ACTION),
        ],
    )
    def test_nothing_to_act_on(self, key, why):
        assert what_is(key, 9) is why

    def test_a_control_file(self):
        key = f"control/cardio/release/{RUN}.json"
        assert what_is(key, 2) == Control("cardio", Action.RELEASE, RUN)

    def test_a_control_file_is_of_the_project_that_drops_of_its_folder_are(self):
        for name in ("cardio", "kardio süd", "a b"):
            asked = what_is(f"control/{name}/abort/{RUN}.json", 2)
            assert asked.project == project_of(f"inbox/{name}/x.zip")


class TestFolders:
    @given(text, text)
    def test_never_lie_where_they_would_start_something(self, project, name):
        for folder in (run_folder, rejected_folder):
            place = folder(safe_name(project), safe_name(name), RUN)
            assert not place.startswith((INBOX, CONTROL))
            assert place.count("/") == 4
            assert place.endswith(f"/{RUN}/")

    def test_of_data_files_are_no_place_of_a_call(self):
        assert place_of_rc_key("b", f"{DATA_FILES}{RUN}/x-rc.txt") is None
