"""What the page on projects shows: a file that is taken, and rights that reach no further."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest

from dropwell.drops import CONTROL, INBOX, Control, project_of, what_is
from dropwell.projects import PROJECTS_FILE, Project, read_projects
from tests.transformed import ROOT

PAGE = (ROOT / "docs/projects.md").read_text()
FILE, DROPPER, READER, OPERATOR = map(json.loads, re.findall(r"```json\n(.*?)```", PAGE, re.S))
SCHEMA = json.loads((ROOT / "layers/common/dropwell/schemas/projects.json").read_text())
ID = "42d3b0b2-f1a5-5cd3-9ddd-34b27dbecce2"


def fits(pattern: str, text: str) -> bool:
    """Match as IAM does: ``*`` any letters, a slash too, ``?`` one, all else itself."""
    made = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern)
    return bool(re.fullmatch(made, text, re.S))


def listed(value):
    return value if isinstance(value, list) else [value]


def allowed(policy, action, key="", *, bucket="INBOX", prefix=None):
    """Tell whether a policy allows an action; listing is asked with the prefix it names."""
    resource = f"arn:aws:s3:::{bucket}" + (f"/{key}" if key else "")
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        assert set(statement) <= {"Sid", "Effect", "Action", "Resource", "Condition"}
        if action not in listed(statement["Action"]):
            continue
        if not any(fits(pattern, resource) for pattern in listed(statement["Resource"])):
            continue
        condition = statement.get("Condition")
        if condition is None:
            return True
        assert set(condition) == {"StringLike"}
        assert set(condition["StringLike"]) == {"s3:prefix"}
        if prefix is not None and any(
            fits(pattern, prefix) for pattern in listed(condition["StringLike"]["s3:prefix"])
        ):
            return True
    return False


class TestTheFile:
    def test_is_taken_as_it_is_shown(self):
        text = json.dumps(FILE).replace("WORKFLOWS", "workflows")
        jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(text))
        projects = read_projects(text.encode(), workflow_bucket="workflows")
        assert projects.of("cardio").notice_detail == "minimal"
        assert projects.of("oncology") == Project()

    def test_has_no_key_that_the_page_does_not_explain(self):
        rows = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.M))
        keys = {*SCHEMA["properties"], *SCHEMA["$defs"]["project"]["properties"]} - {"$schema"}
        assert rows == keys

    def test_shows_every_key_of_a_project(self):
        assert set(FILE["projects"]["cardio"]) == set(SCHEMA["$defs"]["project"]["properties"])

    def test_is_told_to_cromwell_as_the_page_says(self):
        for option in ("aws_s3_root", "aws_batch_job_role_arn", "call_cache_hit_path_prefixes"):
            assert f"`{option}`" in PAGE
            assert option in Project(s3_root="s", job_role_arn="r", cache_prefixes=("c",)).options


THEIR_OWN = [f"{INBOX}cardio/wgs.zip", f"{INBOX}cardio/2026/wgs.tar.gz"]
ASKED = [f"{CONTROL}cardio/abort/{ID}.json", f"{CONTROL}cardio/release/{ID}.json"]
OTHERS = [
    f"{INBOX}oncology/wgs.zip",
    f"{INBOX}cardiology/wgs.zip",
    f"{INBOX}wgs.zip",
    f"{INBOX}Cardio/wgs.zip",
    f"{CONTROL}oncology/abort/{ID}.json",
    f"{CONTROL}cardio2/abort/{ID}.json",
    PROJECTS_FILE,
    "config/inbox/cardio/x",
    f"runs/cardio/wgs/{ID}/status.json",
    f"rejected/cardio/wgs/{ID}/report.md",
]
WRITES = ["s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:PutObjectAcl"]


class TestWhoDropsForOneProject:
    @pytest.mark.parametrize("key", THEIR_OWN + ASKED)
    def test_may_drop_and_ask(self, key):
        assert allowed(DROPPER, "s3:PutObject", key)

    @pytest.mark.parametrize("action", WRITES)
    @pytest.mark.parametrize("key", OTHERS)
    def test_may_write_nothing_else(self, key, action):
        assert not allowed(DROPPER, action, key)

    @pytest.mark.parametrize(
        "key",
        [
            *THEIR_OWN,
            f"{INBOX}cardio/../oncology/wgs.zip",
            f"{INBOX}cardio//wgs.zip",
            f"{INBOX}cardio/inbox/oncology/wgs.zip",
        ],
    )
    def test_drops_for_that_project_whatever_the_name(self, key):
        assert allowed(DROPPER, "s3:PutObject", key)
        assert project_of(key) == "cardio"

    @pytest.mark.parametrize("key", ASKED)
    def test_asks_for_that_project(self, key):
        asked = what_is(key, 2)
        assert isinstance(asked, Control)
        assert asked.project == "cardio"

    def test_may_read_what_became_of_it_and_of_nothing_else(self):
        for folder in ("runs", "rejected"):
            assert allowed(DROPPER, "s3:GetObject", f"{folder}/cardio/wgs/{ID}/report.md")
            assert not allowed(DROPPER, "s3:GetObject", f"{folder}/oncology/wgs/{ID}/report.md")
        for key in (*THEIR_OWN, PROJECTS_FILE):
            assert not allowed(DROPPER, "s3:GetObject", key)

    @pytest.mark.parametrize("prefix", [None, "", "inbox/", "runs/", "runs/oncology/", "runs/card"])
    def test_may_not_list_what_others_have(self, prefix):
        assert not allowed(DROPPER, "s3:ListBucket", prefix=prefix)

    @pytest.mark.parametrize("folder", ["inbox", "control", "runs", "rejected"])
    def test_may_list_their_own(self, folder):
        assert allowed(DROPPER, "s3:ListBucket", prefix=f"{folder}/cardio/")


class TestWhoReadsOfOneProject:
    @pytest.mark.parametrize("action", WRITES)
    @pytest.mark.parametrize("key", THEIR_OWN + ASKED + OTHERS)
    def test_may_write_nothing(self, key, action):
        assert not allowed(READER, action, key)

    def test_may_read_runs_and_results_of_that_project_alone(self):
        result = f"hello/{ID}/call-say/stdout"
        assert allowed(READER, "s3:GetObject", f"runs/cardio/wgs/{ID}/outputs.json")
        assert allowed(READER, "s3:GetObject", f"cardio/{result}", bucket="WORKFLOWS")
        assert not allowed(READER, "s3:GetObject", f"oncology/{result}", bucket="WORKFLOWS")
        assert not allowed(READER, "s3:GetObject", "scripts/1", bucket="WORKFLOWS")
        assert not allowed(READER, "s3:GetObject", PROJECTS_FILE)

    def test_finds_results_where_the_file_has_the_projects_root(self):
        root = FILE["projects"]["cardio"]["s3_root"].removeprefix("s3://WORKFLOWS/")
        assert allowed(READER, "s3:GetObject", f"{root}/x", bucket="WORKFLOWS")


class TestWhoSetsTheProjects:
    def test_may_write_that_file_and_no_other(self):
        assert allowed(OPERATOR, "s3:PutObject", PROJECTS_FILE)
        for key in {*THEIR_OWN, *ASKED, *OTHERS} - {PROJECTS_FILE}:
            assert not allowed(OPERATOR, "s3:PutObject", key)
