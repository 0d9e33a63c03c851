"""What a blocked queue comes to: reason, window and words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dropwell.blockages import WINDOW, Blockage, blockage_of, blocked_event, put_blocked
from dropwell.mails import blocked_mail
from dropwell.notices import Detail, Severity

NOON = 1_795_521_600  # 2026-11-24 12:00 UTC, where a window begins
SEEN = Blockage(
    queue="arn:aws:batch:eu-west-1:1:job-queue/spot",
    reason="CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill",
    at=NOON,
    job_name="wgs_Align",
    vcpus="4",
    memory_mib=8000,
)


def test_what_is_recorded_is_what_is_told() -> None:
    assert blockage_of(put_blocked(SEEN, NOON).item) == SEEN


def test_without_a_time_it_is_of_now() -> None:
    assert blockage_of(put_blocked(replace(SEEN, at=0), NOON).item) == SEEN


@pytest.mark.parametrize("at", [NOON, NOON + 1, NOON + WINDOW - 1])
def test_one_window_is_one_notice(at: int) -> None:
    assert put_blocked(replace(SEEN, at=at), NOON).key == put_blocked(SEEN, NOON).key


@pytest.mark.parametrize(
    "other",
    [
        replace(SEEN, at=NOON + WINDOW),
        replace(SEEN, at=NOON - 1),
        replace(SEEN, reason="UNDETERMINED"),
        replace(SEEN, queue="other"),
    ],
)
def test_another_window_reason_or_queue_is_another(other: Blockage) -> None:
    assert put_blocked(other, NOON).key != put_blocked(SEEN, NOON).key
    assert other.notice_id != SEEN.notice_id


@pytest.mark.parametrize(
    ("reason", "title", "severity"),
    [
        ("CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY", "no machines to be had", Severity.WARNING),
        ("CAPACITY:SOMETHING_NEW - x", "no machines to be had", Severity.WARNING),
        (
            "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - x",
            "job larger than the environment",
            Severity.ERROR,
        ),
        ("MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT", "no machine large enough", Severity.ERROR),
        ("MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS", "set up wrongly", Severity.ERROR),
        ("UNDETERMINED - x", "reason unknown", Severity.WARNING),
        ("something else", "reason unknown", Severity.WARNING),
        ("", "reason unknown", Severity.WARNING),
    ],
)
def test_each_reason_has_its_words(reason: str, title: str, severity: Severity) -> None:
    seen = replace(SEEN, reason=reason)
    assert (seen.meaning.title, seen.severity) == (title, severity)
    letter = blocked_mail(seen, Detail.FULL)
    assert letter.subject == f"[batch] Queue blocked: spot, {title}"
    assert "Who acts: platform team. Next: " in letter.body


def test_minimal_leaves_out_what_batch_says_beyond_its_code() -> None:
    assert "Service cannot" not in blocked_mail(SEEN, Detail.MINIMAL).body
    assert "Service cannot" in blocked_mail(SEEN, Detail.STANDARD).body


def test_what_is_unknown_is_not_said() -> None:
    bare = Blockage(queue="spot", reason="", at=NOON)
    body = blocked_mail(bare, Detail.STANDARD).body
    assert "At its head" not in body
    assert "Run:" not in body
    assert set(blocked_event(bare)[1]["data"]) == {
        "queue", "reason", "severity", "actor", "window_hours"
    }  # fmt: skip
    assert "which asks" not in blocked_mail(replace(bare, job_name="x"), Detail.STANDARD).body
