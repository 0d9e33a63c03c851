"""Where a command looks, and what it says where there is nothing to look at."""

from __future__ import annotations

import pytest
import typer
from botocore.exceptions import NoCredentialsError

from dropwell_cli import main
from dropwell_cli.places import STACK_VARIABLE
from tests.functional.conftest import INBOX, client


def test_without_any_place_it_says_how_to_get_one(dropwell):
    ended = dropwell("runs")
    assert (ended.code, ended.out) == (1, "")
    assert ended.error == (
        "No local stack runs, and no deployed one was named. Start one with `dropwell local up`,"
        " or name one with --stack NAME or the variable DROPWELL_STACK.\n"
    )


def test_the_usual_stack_is_named_by_a_variable(dropwell, stack, monkeypatch):
    monkeypatch.setenv(STACK_VARIABLE, stack)
    ended = dropwell("runs")
    assert ended.code == 0
    assert ended.out == "No runs in the stack dropwell-test, as far as 6 months back.\n"


def test_every_command_that_looks_at_a_stack_takes_its_name_as_other_aws_tools_do():
    for name, command in typer.main.get_command(main.app).commands.items():
        options = [option for option in command.params if "--stack" in option.opts]
        assert name == "local" or "--stack-name" in options[0].opts, name


def test_a_stack_is_looked_at_by_either_option(dropwell, stack):
    for option in ("--stack", "--stack-name"):
        assert dropwell("runs", option, stack).out.startswith("No runs in the stack dropwell-test")


def test_the_local_stack_is_not_replaced_by_another_when_it_was_asked_for(
    dropwell, stack, monkeypatch
):
    monkeypatch.setenv(STACK_VARIABLE, stack)
    ended = dropwell("runs", "--local")
    assert ended.code == 1
    assert "No local stack runs in" in ended.error


def test_a_stack_that_is_not_there_is_said_so(dropwell):
    ended = dropwell("runs", "--stack", "nosuch")
    assert ended.code == 1
    assert ended.error == 'There is no stack "nosuch" in eu-west-1 of this account.\n'


def test_a_stack_of_something_else_is_told_apart(dropwell, stacks):
    stacks.stacks["other"] = {"Url": "https://example.org"}, {}
    ended = dropwell("runs", "--stack", "other")
    assert ended.code == 1
    assert ended.error.startswith('The stack "other" is no Dropwell: it has no output InboxBucket')


def test_two_places_at_once_are_one_too_many(dropwell, stack):
    assert dropwell("runs", "--local", "--stack", stack).error == (
        "Name a stack or the local one, not both.\n"
    )


def test_what_aws_refuses_is_told_in_one_sentence(ask, tmp_path):
    client("s3").delete_bucket(Bucket=INBOX)
    (tmp_path / "hello.wdl").write_text("version 1.0")
    ended = ask("submit", str(tmp_path / "hello.wdl"))
    assert ended.code == 1
    assert ended.error == "AWS refused PutObject: The specified bucket does not exist\n"


def test_a_local_stack_that_has_gone_is_told_in_one_sentence(dropwell, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDFORMATION", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    ended = dropwell("runs", "--stack", "dropwell-prod")
    assert ended.code == 1
    assert ended.error == "The local stack does not answer any more. Was it stopped?\n"


def test_missing_credentials_are_told_in_one_sentence(dropwell, stack, monkeypatch):
    def none(*args, **more):
        raise NoCredentialsError

    monkeypatch.setattr("dropwell_cli.places.deployed", none)
    ended = dropwell("runs", "--stack", stack)
    assert (ended.code, ended.error) == (
        1,
        "AWS cannot be asked: Unable to locate credentials.\n",
    )


@pytest.mark.parametrize(
    "words",
    [
        ("nosuch",),
        ("show",),
        ("runs", "--state", "MEDITATING"),
        ("submit", "x.zip", "--project", "a/b"),
        ("local", "run"),
    ],
)
def test_a_command_that_cannot_be_understood_ends_with_2(dropwell, words):
    ended = dropwell(*words)
    assert (ended.code, ended.out) == (2, "")
    assert "Traceback" not in ended.error
