"""What Cromwell takes as a submission, and its words for what it does not."""

from __future__ import annotations

import pytest

from dropwell_local.cromwell.submission import Rejected, check_labels, read, read_batch

ID = "e6236763-c518-41d0-9688-432549a8bf7d"
SOURCE = {"workflowSource": "workflow w {}"}


def parts(**given: str) -> dict[str, bytes]:
    return {name: text.encode() for name, text in given.items()}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({**SOURCE, "wrong": "x"}, "Error(s): Unexpected body part name: wrong"),
        ({}, "Error(s): workflowSource or workflowUrl needs to be supplied"),
        (
            {**SOURCE, "workflowUrl": "https://x/y.wdl"},
            "Error(s): workflowSource and workflowUrl can't both be supplied",
        ),
        (
            {**SOURCE, "wdlSource": "x"},
            "Error(s): wdlSource and workflowSource can't both be supplied",
        ),
        (
            {"wdlSource": "x", "workflowUrl": "https://x/y.wdl"},
            "Error(s): wdlSource and workflowUrl can't both be supplied",
        ),
        (
            {**SOURCE, "wdlSource": "x", "workflowUrl": "https://x/y.wdl"},
            "Error(s): wdlSource, workflowSource and workflowUrl all 3 can't be supplied",
        ),
        (
            {**SOURCE, "wdlDependencies": "x", "workflowDependencies": "y"},
            "Error(s): wdlDependencies and workflowDependencies can't both be supplied",
        ),
        (
            {"workflowUrl": "htpps://x/y.wdl"},
            "Error(s): Error while validating workflow url: unknown protocol: htpps",
        ),
        (
            {"workflowUrl": "//[x/y.wdl"},
            "Error(s): Error while validating workflow url: no protocol: //[x/y.wdl",
        ),
        (
            {"workflowUrl": "https://" + "x" * 1993},
            "Error(s): Invalid workflow url: url has length 2001, longer than the maximum "
            "allowed 2000 characters",
        ),
        (
            {**SOURCE, "workflowInputs": "text"},
            "Error(s): Submitted input '\"text\"' of type JsString is not a valid JSON object.",
        ),
        (
            {**SOURCE, "workflowInputs": "[{}, {}]"},
            "To submit more than one workflow at a time, use the batch endpoint.",
        ),
        (
            {**SOURCE, "workflowOptions": '{"a": null, "b": {"c": 1}}'},
            "Error(s): Invalid workflow options provided: "
            "Unsupported key/value pair in WorkflowOptions: a -> null\n"
            'Unsupported key/value pair in WorkflowOptions: b -> {"c":1}',
        ),
        (
            {**SOURCE, "workflowOptions": "[1]"},
            "Error(s): Invalid workflow options provided: Expecting JSON object, got [1]",
        ),
        (
            {**SOURCE, "labels": "[]"},
            "Error(s): Invalid workflow labels JSON. Expected a JsObject of "
            '"labelKey": "labelValue" values.',
        ),
        (
            {**SOURCE, "labels": '{"n": 1}'},
            "Error(s): Invalid label n: 1 : Labels must be strings. A Label key must be non-empty.",
        ),
        ({**SOURCE, "labels": '{"": "v"}'}, "Error(s): Invalid label: `` can't be empty"),
        (
            {**SOURCE, "requestedWorkflowId": "no-uuid"},
            "Error(s): Failed to parse requested workflow ID as UUID (reason 1 of 1): "
            "Invalid UUID string: no-uuid",
        ),
        (
            {**SOURCE, "requestedWorkflowId": "7"},
            "Error(s): Requested workflow IDs must be strings but got: '7'",
        ),
        (
            {**SOURCE, "requestedWorkflowId": f'["{ID}", "{ID}"]'},
            "Error(s): Mismatch between requested IDs count (2) and workflow inputs counts (1)",
        ),
        ({**SOURCE, "workflowOnHold": "maybe"}, 'Error(s): For input string: "maybe"'),
        (
            {"wrong": "x", "labels": "[]"},
            "Error(s): Unexpected body part name: wrong\n"
            "workflowSource or workflowUrl needs to be supplied",
        ),
        (
            {**SOURCE, "workflowInputs": "1", "labels": "[]"},
            "Error(s): Submitted input '1' of type JsNumber is not a valid JSON object.\n"
            "Invalid workflow labels JSON. Expected a JsObject of "
            '"labelKey": "labelValue" values.',
        ),
        ({**SOURCE, "workflowInputs_x": "{}"}, 'Error(s): For input string: "x"'),
    ],
)
def test_a_bad_submission_is_refused_in_cromwells_words(
    given: dict[str, str], message: str
) -> None:
    with pytest.raises(Rejected) as refusal:
        read(parts(**given))

    assert str(refusal.value) == message


@pytest.mark.parametrize("text", ["{unclosed", '{"a": 1, "b"'])
def test_inputs_that_are_neither_json_nor_yaml_are_shown_back(text: str) -> None:
    with pytest.raises(Rejected) as refusal:
        read(parts(**SOURCE, workflowInputs=text))

    start = f"Error(s): Input file is not a valid yaml or json. Inputs data: '{text}'. Error: "
    assert str(refusal.value).startswith(start)


def test_a_url_that_no_host_could_have_is_taken_all_the_same() -> None:
    assert read(parts(workflowUrl="http://[")).url == "http://["


@pytest.mark.parametrize("text", ['{"a":' * 50_000, "{a: " * 5_000, "&a [*a]", "? [a, b]\n: 1"])
def test_inputs_that_json_cannot_hold_are_refused_not_choked_on(text: str) -> None:
    with pytest.raises(Rejected, match=r"^Error\(s\): "):
        read(parts(**SOURCE, workflowInputs=text))


def test_a_batch_has_a_workflow_for_each_element_of_its_inputs() -> None:
    other = ID.replace("e6", "f7", 1)
    given = parts(
        **SOURCE,
        workflowInputs='[{"w.a": 1}, {"w.a": 2}]',
        workflowInputs_2='{"w.b": 3}',
        requestedWorkflowId=f'["{ID}", "{other}"]',
    )

    assert [(one.requested_id, one.inputs) for one in read_batch(given)] == [
        (ID, {"w.a": 1, "w.b": 3}),
        (other, {"w.a": 2, "w.b": 3}),
    ]


def test_a_batch_needs_inputs_where_a_single_submission_does_not() -> None:
    with pytest.raises(Rejected, match=r"^Error\(s\): No inputs were provided$"):
        read_batch(parts(**SOURCE))

    assert read(parts(**SOURCE, workflowInputs="[]")).inputs == {}
    assert read(parts(**SOURCE, workflowInputs='[{"w.a": 1}]')).inputs == {"w.a": 1}


def test_what_yaml_knows_and_json_does_not_comes_as_text() -> None:
    assert read(parts(**SOURCE, workflowInputs="w.day: 2026-01-02")).inputs == {
        "w.day": "2026-01-02"
    }


def test_a_label_may_be_255_characters_long_and_no_longer() -> None:
    assert check_labels({"k": "v" * 255})

    with pytest.raises(Rejected, match=r"is 256 characters\. The maximum is 255\."):
        check_labels({"k": "v" * 256})


@pytest.mark.parametrize("text", [ID, f'"{ID}"', f'["{ID}"]', ID.upper()])
def test_a_requested_id_may_be_bare_quoted_or_an_array_of_one(text: str) -> None:
    assert read(parts(**SOURCE, requestedWorkflowId=text)).requested_id == ID


def test_later_inputs_override_earlier_ones_by_number() -> None:
    given = parts(
        **SOURCE,
        workflowInputs='{"w.a": 1, "w.b": 1, "w.c": 1}',
        workflowInputs_10='{"w.b": 10}',
        workflowInputs_2='{"w.a": 2, "w.b": 2}',
    )

    assert read(given).inputs == {"w.a": 2, "w.b": 10, "w.c": 1}


def test_numbered_inputs_without_the_main_ones_are_ignored() -> None:
    assert read(parts(**SOURCE, workflowInputs_2='{"w.a": 2}')).inputs == {}


def test_numbered_inputs_must_be_json_even_though_the_main_ones_may_be_yaml() -> None:
    assert read(parts(**SOURCE, workflowInputs="w.a: 1")).inputs == {"w.a": 1}

    with pytest.raises(Rejected, match=r"Failed to parse input: 'w\.a: 1', which is not a valid"):
        read(parts(**SOURCE, workflowInputs="{}", workflowInputs_2="w.a: 1"))


def test_objects_are_options_only_under_the_two_keys_that_may_have_them() -> None:
    options = read(
        parts(
            **SOURCE, workflowOptions='{"default_runtime_attributes": {"cpu": 2}, "x": [1], "y": 2}'
        )
    ).options

    assert options == {"default_runtime_attributes": {"cpu": 2}, "x": [1], "y": 2}


def test_the_wdl_is_never_looked_at() -> None:
    assert read(parts(workflowSource="this is no workflow {{{")).source.startswith("this")
    assert read(parts(workflowSource="")).source == ""


def test_the_old_name_of_the_source_still_works_and_is_warned_of() -> None:
    posted = read(parts(wdlSource="workflow w {}"))

    assert posted.source == "workflow w {}"
    assert posted.warnings[0].startswith("The 'wdlSource' parameter name has been deprecated")


@pytest.mark.parametrize(("text", "held"), [("true", True), ("TRUE", True), ("false", False)])
def test_a_workflow_may_be_held(text: str, held: bool) -> None:
    assert read(parts(**SOURCE, workflowOnHold=text)).on_hold is held
