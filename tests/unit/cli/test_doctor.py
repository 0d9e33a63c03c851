"""Where the doctor draws its lines, and how it says what it found."""

from __future__ import annotations

import pytest
from rich.console import Console

from dropwell_cli import doctor, faces
from dropwell_cli.doctor import Level, Source, Subscription, Sweep

NOW = 1_762_336_800
DAY = 86400
TOPIC = "arn:aws:sns:eu-west-1:123456789012:mails"


@pytest.mark.parametrize(
    ("ago", "level"),
    [(-5, Level.OK), (60, Level.OK), (180, Level.OK), (181, Level.WARN), (601, Level.FAIL)],
)
def test_a_sweep_is_late_after_three_minutes_and_gone_after_ten(ago, level):
    assert doctor.sweep(Sweep(at=NOW - ago), now=NOW, since=0).level is level


def test_a_new_stack_need_not_have_swept():
    assert doctor.sweep(None, now=NOW, since=NOW - 40).found == "none yet: the stack is 40 s old"
    assert doctor.sweep(None, now=NOW, since=NOW - DAY).level is Level.FAIL


@pytest.mark.parametrize(
    ("skew", "level"),
    [(0, Level.OK), (-30, Level.OK), (31, Level.WARN), (-299, Level.WARN), (300, Level.FAIL)],
)
def test_a_clock_may_differ_by_half_a_minute(skew, level):
    assert doctor.clock(NOW, now=NOW + skew).level is level


def test_a_clock_is_told_which_way_it_is_wrong():
    assert "2 min ahead of AWS's" in doctor.clock(NOW, now=NOW + 120).found
    assert "2 min behind AWS's" in doctor.clock(NOW, now=NOW - 120).found


@pytest.mark.parametrize(
    ("left", "level"), [(15 * DAY, Level.OK), (13 * DAY, Level.WARN), (0, Level.FAIL)]
)
def test_a_certificate_is_to_be_renewed_two_weeks_before_its_end(left, level):
    assert doctor.certificate(NOW + left, now=NOW).level is level


@pytest.mark.parametrize(
    ("told", "level"),
    [
        ("74", Level.FAIL),
        ("75", Level.WARN),
        ("91-ab12cde-SNAP", Level.WARN),
        ("92", Level.OK),
        ("nginx", Level.FAIL),
    ],
)
def test_a_version_is_judged_by_what_is_needed_of_it(told, level):
    assert doctor.version(told).level is level


def test_a_source_that_lambda_cannot_read_is_named_in_lambdas_words():
    known = Source(uuid="1", state="Enabled", result="PROBLEM: Function call failed")
    found = doctor.reader("submitter", known, source="DropQueue")
    assert found.level is Level.FAIL
    assert "PROBLEM: Function call failed" in found.found


def test_a_source_that_is_being_turned_on_is_waited_for():
    found = doctor.reader("submitter", Source(uuid="1", state="Enabling"), source="DropQueue")
    assert found.level is Level.WARN


def test_queues_have_no_unsubscribe_link():
    queue = Subscription(endpoint="arn:aws:sqs:eu-west-1:1:mailbox", protocol="sqs")
    [found] = doctor.people([queue], topic=TOPIC)
    assert (found.level, found.name) == (Level.OK, "mailbox")


@pytest.mark.parametrize(
    ("status", "level"),
    [
        ("UPDATE_COMPLETE", Level.OK),
        ("UPDATE_ROLLBACK_COMPLETE", Level.OK),
        ("UPDATE_IN_PROGRESS", Level.WARN),
        ("UPDATE_ROLLBACK_FAILED", Level.FAIL),
    ],
)
def test_a_stack_is_judged_by_its_status(status, level):
    assert doctor.stack(status).level is level


def shown(width: int) -> str:
    console = Console(
        width=width, force_terminal=True, color_system=None, highlight=False, markup=False
    )
    findings = [
        doctor.stack("CREATE_COMPLETE"),
        doctor.dead_letters("DropDeadLetters", 2, arn="arn:aws:sqs:eu-west-1:1:dead"),
    ]
    with console.capture() as captured:
        faces.health(console, "the stack one", findings)
    return captured.get()


def test_people_see_groups_cures_and_commands():
    page = [line.rstrip() for line in shown(100).splitlines()]
    assert page[0] == "Looked at the stack one."
    assert page[2:4] == ["Wiring", "  ok    stack            CREATE_COMPLETE"]
    assert page[6] == "  fail  DropDeadLetters  2 messages could not be handled"
    assert page[7].strip().startswith("→ Read the submitter's log")
    assert page[-1] == "Of 2 checks 1 fails."


@pytest.mark.parametrize("width", [32, 60, 100])
def test_a_command_to_be_typed_stays_in_one_piece(width):
    command = "aws sqs start-message-move-task --source-arn arn:aws:sqs:eu-west-1:1:dead"
    assert any(line.strip() == command for line in shown(width).splitlines())
