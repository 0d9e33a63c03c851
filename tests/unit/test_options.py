from __future__ import annotations

from typing import Any

import pytest

from dropwell.options import overruled, overruled_labels, review_options


def nowhere(label: str) -> tuple[str, None]:
    raise AssertionError(label)


def told(options: dict[str, Any], **operator: Any) -> list[str]:
    _, findings = review_options(options, **operator)
    return [f"{'' if f.is_error else '(warning) '}{f}" for f in findings]


def test_ordinary_options_pass_untouched() -> None:
    options = {
        "write_to_cache": False,
        "read_from_cache": True,
        "workflow_failure_mode": "ContinueWhilePossible",
        "memory_retry_multiplier": 1.5,
        "default_runtime_attributes": {"maxRetries": 2, "docker": "ubuntu"},
    }
    made, findings = review_options(options)
    assert (made, findings) == (options, ())


def test_the_operators_options_win() -> None:
    made, findings = review_options(
        {"aws_s3_root": "s3://mine/x", "hogGroup": "me", "write_to_cache": False},
        enforced={"aws_s3_root": "s3://lab/x", "hogGroup": "cardio"},
    )
    assert findings == ()
    assert made == {"aws_s3_root": "s3://lab/x", "hogGroup": "cardio", "write_to_cache": False}


def test_the_operators_runtime_attributes_win_one_by_one() -> None:
    made, findings = review_options(
        {"default_runtime_attributes": {"queueArn": "mine", "cpu": 4}},
        enforced={"default_runtime_attributes": {"queueArn": "arn:lab"}},
    )
    assert findings == ()
    assert made == {"default_runtime_attributes": {"queueArn": "arn:lab", "cpu": 4}}


@pytest.mark.parametrize(
    "option",
    [
        "workflow_callback_uri",
        "aws_batch_job_role_arn",
        "aws_batch_script_bucket_prefix",
        "aws_s3_root",
        "call_cache_hit_path_prefixes",
        "backend",
    ],
)
def test_what_acts_with_cromwells_rights_is_open_only_where_the_operator_says(option: str) -> None:
    assert told({option: "x"}) == [f'options.json  the option "{option}" is not open to drops']
    assert told({option: "x"}, allowed_keys=[option]) == []


def test_a_refusal_says_who_can_allow_it() -> None:
    _, (finding,) = review_options({"workflow_callback_uri": "https://x"}, file="o.json")
    assert finding.file == "o.json"
    assert finding.advice == "Leave it out, or ask who runs this service to allow it."


def test_held_runtime_attributes_are_named_one_by_one() -> None:
    options = {"default_runtime_attributes": {"queueArn": "x", "cpu": 2, "scriptBucketName": "b"}}
    allowed = ["default_runtime_attributes.queueArn", "default_runtime_attributes.scriptBucketName"]
    assert told(options) == [
        f'options.json  the option "{name}" is not open to drops' for name in allowed
    ]
    assert told(options, allowed_keys=allowed) == []


@pytest.mark.parametrize(
    "option", ["final_workflow_outputs_dir", "final_workflow_log_dir", "final_call_logs_dir"]
)
def test_final_folders_are_held_to_the_operators_prefixes(option: str) -> None:
    prefixes = ["s3://results/cardio", "s3://scratch/"]
    for fine in ("s3://results/cardio", "s3://results/cardio/x/", "s3://scratch/y"):
        assert told({option: fine}, allowed_prefixes=prefixes) == []
    for wrong in ("s3://results/cardiology", "s3://results", "s3://scratch/../x", "/tmp", 3):
        assert told({option: wrong}, allowed_prefixes=prefixes) == [
            f'options.json  the option "{option}" may only point under s3://results/cardio or s3://scratch/'
        ]
    assert told({option: "/anywhere"}, allowed_keys=[option]) == []
    assert told({option: "s3://x/y"}) == [
        f'options.json  the option "{option}" is not open to drops'
    ]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"hogGroup": None}, 'the option "hogGroup" is null, which Cromwell does not take there'),
        (
            {"hogGroup": {"a": 1}},
            'the option "hogGroup" is an Object, which Cromwell does not take',
        ),
        (
            {"default_runtime_attributes": "x"},
            'the option "default_runtime_attributes" is a String; an object was expected',
        ),
    ],
)
def test_values_that_cromwell_refuses_are_errors(options: dict[str, Any], sentence: str) -> None:
    (line,) = told(options)
    assert line.startswith(f"options.json  {sentence}")


def test_unknown_options_are_warned_of_with_the_nearest_name() -> None:
    assert told({"write_to_cahce": True, "zzz": 1, "google_labels": {"a": "b"}}) == [
        '(warning) options.json  the option "write_to_cahce" is not known. '
        'Did you mean "write_to_cache"?',
        '(warning) options.json  the option "zzz" is not known',
    ]
    assert told({"zzz": 1}, enforced={"zzz": 2}) == []


def test_a_finding_names_the_line_of_its_option() -> None:
    _, (finding,) = review_options({"hogGrop": "x"}, line_of={"hogGrop": 3}.get)
    assert finding.where == "options.json:3"


def test_what_a_project_has_otherwise_is_told_with_both_values() -> None:
    findings = overruled(
        {"aws_s3_root": "s3://b/x", "default_runtime_attributes": {"queueArn": "arn:a", "cpu": 2}},
        {"aws_s3_root": "s3://b/c", "default_runtime_attributes": {"queueArn": "arn:b"}},
        file="o.json",
        line_of={"aws_s3_root": 2, "default_runtime_attributes": 3}.get,
    )
    ends = "for this project, and that is used"
    assert [str(finding) for finding in findings] == [
        'o.json:2  the option "aws_s3_root" asks for "s3://b/x"; '
        f'the operator sets "s3://b/c" {ends}',
        'o.json:3  the option "default_runtime_attributes.queueArn" asks for "arn:a"; '
        f'the operator sets "arn:b" {ends}',
    ]
    assert not any(finding.is_error for finding in findings)


def test_what_a_project_has_alike_is_not_worth_a_word() -> None:
    asked = {"aws_s3_root": "s3://b/c", "hogGroup": "me"}
    assert overruled(asked, {"aws_s3_root": "s3://b/c"}) == ()
    assert (
        overruled_labels({"team": "a", "mine": "b"}, {"team": "a", "other": "c"}, place_of=nowhere)
        == ()
    )


def test_labels_of_a_project_are_told_likewise() -> None:
    [finding] = overruled_labels(
        {"cost": "1"}, {"cost": "2"}, place_of=lambda _: ("labels.json", 4)
    )
    assert finding.where == "labels.json:4"
    assert finding.message.startswith('the label "cost" asks for "1"; the operator sets "2"')
