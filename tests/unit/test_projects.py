"""The operator's file of projects: what it says, and how it is refused."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import jsonschema
import pytest

from dropwell.errors import ProjectsUnreadable, TryAgain
from dropwell.projects import MOST_BYTES, Project, Projects, no_projects, read_projects

ROLE = "arn:aws:iam::123456789012:role/jobs/cardio"
QUEUE = "arn:aws:batch:eu-west-1:123456789012:job-queue/cardio"
CARDIO = {
    "s3_root": "s3://work/cardio/",
    "job_role_arn": ROLE,
    "queue_arn": QUEUE,
    "notice_detail": "minimal",
    "labels": {"cost-center": "4711"},
    "cache_prefixes": ["s3://work/cardio", "s3://work/common/"],
}
SCHEMA = jsonschema.Draft202012Validator(
    json.loads((files("dropwell") / "schemas/projects.json").read_text("utf-8"))
)


def read(page: Any) -> Projects:
    return read_projects(json.dumps(page, indent=1).encode(), workflow_bucket="work")


def refused(data: Any) -> str:
    body = data if isinstance(data, bytes) else json.dumps(data, indent=1).encode()
    with pytest.raises(ProjectsUnreadable) as error:
        read_projects(body, workflow_bucket="work")
    return str(error.value)


def test_a_project_has_what_is_set_for_it() -> None:
    cardio = read({"projects": {"cardio": CARDIO}}).of("cardio")
    assert cardio == Project(
        s3_root="s3://work/cardio",
        job_role_arn=ROLE,
        queue_arn=QUEUE,
        notice_detail="minimal",
        labels={"cost-center": "4711"},
        cache_prefixes=("s3://work/cardio/", "s3://work/common/"),
    )


def test_it_is_told_to_cromwell_in_cromwells_words() -> None:
    cardio = read({"projects": {"cardio": CARDIO}}).of("cardio")
    assert cardio
    assert cardio.options == {
        "aws_s3_root": "s3://work/cardio",
        "aws_batch_job_role_arn": ROLE,
        "call_cache_hit_path_prefixes": ["s3://work/cardio/", "s3://work/common/"],
        "default_runtime_attributes": {"queueArn": QUEUE},
    }


def test_what_is_not_set_is_left_to_cromwell() -> None:
    assert Project().options == {}


def test_a_project_that_is_not_named_gets_the_default() -> None:
    projects = read({"default": {"queue_arn": QUEUE}, "projects": {"cardio": {}}})
    assert projects.of("oncology") == Project(queue_arn=QUEUE)
    assert projects.of("cardio") == Project(), "what is named takes nothing from the default"


@pytest.mark.parametrize("projects", [no_projects(), read({}), read({"closed": False})])
def test_where_nothing_is_said_nothing_is_set(projects: Projects) -> None:
    assert projects.of("cardio") == Project()


def test_a_closed_file_opens_only_what_it_names() -> None:
    projects = read({"closed": True, "ask": "ada@example.org", "projects": {"cardio": {}}})
    assert projects.of("cardio") == Project()
    assert projects.of("cardoi") is None
    finding = projects.not_open("cardoi")
    assert finding.message == 'the project "cardoi" is not open here'
    assert finding.advice.endswith("to have it opened, ask ada@example.org.")
    assert "cardio" not in f"{finding.message}{finding.advice}"


def test_a_folder_is_named_as_it_is_in_the_inbox() -> None:
    projects = read({"projects": {"a b": {"queue_arn": QUEUE}}})
    assert projects.of("a-b@c8687a08") == Project(queue_arn=QUEUE)
    assert projects.of("a-b") == Project()


GOOD: list[dict[str, Any]] = [
    {},
    {"$schema": "x"},
    {"projects": {"cardio": CARDIO, "a b": {}}, "default": CARDIO},
    {"closed": True, "ask": "Ada"},
    {"projects": {"a": {"labels": {}, "cache_prefixes": []}}},
]
BAD = [
    ({"projcts": {}}, ':2  the key "projcts" is not known. Did you mean "projects"?'),
    ({"projects": []}, ':2  "projects" is an Array; an Object was expected'),
    ({"projects": {"a": 1}}, ':3  "a" is an Int; an Object was expected'),
    ({"default": None}, ':2  "default" is null; an Object was expected'),
    ({"projects": {"a/b": {}}}, ':3  "a/b" is no name of a folder directly under inbox/'),
    ({"projects": {"": {}}}, ':3  "" is no name of a folder directly under inbox/'),
    ({"projects": {"a": {"root": "x"}}}, ':4  the key "root" is not known'),
    ({"closed": "yes"}, ':2  "closed" is a String; a Boolean was expected'),
    ({"closed": True}, ":2  the file is closed and does not say who is to be asked"),
    ({"ask": ""}, ':2  "ask" is not one line of text'),
    ({"ask": "a\nb"}, ':2  "ask" is not one line of text'),
    ({"closed": True, "ask": "Ada", "default": {}}, ':4  "default" has no use beside "closed"'),
    *(
        ({"projects": {"a": {key: value}}}, f":4  {message}")
        for key, value, message in [
            ("s3_root", "s3://work", '"s3_root" is not s3://bucket/folder'),
            ("s3_root", "s3://work/a/../b", '"s3_root" is not s3://bucket/folder'),
            ("s3_root", "", '"s3_root" is not s3://bucket/folder'),
            ("s3_root", 3, '"s3_root" is an Int; a String was expected'),
            ("job_role_arn", "cardio", '"job_role_arn" is not the ARN of an IAM role'),
            ("queue_arn", ROLE, '"queue_arn" is not the ARN of a Batch queue'),
            ("notice_detail", "all", '"notice_detail" is not minimal or standard or full'),
            ("labels", ["x"], '"labels" is an Array; an Object was expected'),
            ("cache_prefixes", "s3://work/a", '"cache_prefixes" is a String; an Array was'),
        ]
    ),
    *(
        ({"projects": {"a": {"labels": labels}}}, f":5  {message}")
        for labels, message in [
            ({"aws:x": "y"}, 'label "aws:x" starts with "aws:"'),
            ({"x": "ä;b"}, 'label "x" has a value with characters that no tag may have'),
            ({"x": 4711}, 'label "x" is not a string'),
            ({"dropwell-project": "b"}, 'label "dropwell-project" begins as those do that'),
        ]
    ),
    (
        {"projects": {"a": {"cache_prefixes": ["s3://work/a", "work/a"]}}},
        ':6  item 2 of "cache_prefixes" is not s3://bucket/folder',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("page", "told"), BAD)
def test_what_is_not_understood_is_refused_with_its_line(page: Any, told: str) -> None:
    assert refused(page).startswith(f"config/projects.json{told}")


def test_a_line_break_at_the_end_is_no_part_of_an_arn() -> None:
    assert "not the ARN of a Batch queue" in refused({"default": {"queue_arn": f"{QUEUE}\n"}})


def test_a_root_outside_the_workflow_bucket_is_refused() -> None:
    assert "jobs are followed only in work, the workflow bucket" in refused(
        {"projects": {"a": {"s3_root": "s3://elsewhere/a"}}}
    )


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "not valid JSON: the file is empty"),
        (b'{"projects": {"a": {}, "a": {}}}', 'the key "a" is there twice'),
        (b"[]", "the file holds an Array; an object was expected"),
        (b'{"ask": "\xff"}', "the file is not UTF-8 text"),
        (b" " * (MOST_BYTES + 1), "larger than 262 kB"),
    ],
)
def test_what_is_no_json_is_refused_as_anywhere(data: bytes, told: str) -> None:
    assert told in refused(data)


def test_many_faults_are_told_in_short() -> None:
    assert refused({f"x{n}": 1 for n in range(9)}).endswith("; and 6 more")


def test_a_file_that_is_refused_is_not_held_against_a_drop() -> None:
    assert issubclass(ProjectsUnreadable, TryAgain)


@pytest.mark.parametrize("page", GOOD)
def test_the_schema_takes_what_the_reader_takes(page: Any) -> None:
    read(page)
    SCHEMA.validate(page)


@pytest.mark.parametrize("page", [page for page, _ in BAD])
def test_the_schema_refuses_what_the_reader_refuses(page: Any) -> None:
    assert not SCHEMA.is_valid(page)
