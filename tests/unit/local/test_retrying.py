"""What Cromwell makes of jobs that have ended, row by row."""

from __future__ import annotations

import pytest

from dropwell_local.engine.retrying import Policy, Seen, Verdict, judge, memory_factor

GOOD, ABORTED = "", "aborted from outside"
WRONG, LOST, STARVED = "has not been declared", "Suspecting spot kill", "might have run out of"


@pytest.mark.parametrize(
    ("seen", "accepted", "words"),
    [
        (Seen(rc=0, exit_code=0), [0], GOOD),
        (Seen(rc=3, exit_code=3), [0], WRONG),
        (Seen(rc=0, exit_code=1), [0], LOST),  # an output was missing
        (Seen(rc=0, exit_code=None), [0], LOST),  # the machine went after the rc file was there
        (Seen(rc=4, exit_code=4), [0, 4], LOST),
        (Seen(rc=None, exit_code=0), [0], WRONG),  # no rc file is read as 1
        (Seen(rc=None, exit_code=0), [0, 1], GOOD),
        (Seen(rc=None, exit_code=None), [0], WRONG),
        (Seen(rc=None, exit_code=137), [0], STARVED),
        (Seen(rc=137, exit_code=137), [0], STARVED),
        (Seen(rc=137, exit_code=137), [0, 137], LOST),
        (Seen(rc=137, exit_code=1), [0], ABORTED),
        (Seen(rc=143, exit_code=143), [0, 143], ABORTED),
        (Seen(rc=130, exit_code=130), [0], ABORTED),
        (Seen(rc=None, exit_code=1, container_reason="OutOfMemoryError: x"), [0], STARVED),
        (Seen(rc=143, exit_code=143, container_reason="Killed"), [0], STARVED),
        (Seen(rc=None, exit_code=143), [0], WRONG),
    ],
)
def test_an_end_is_judged_as_cromwell_judges_it(
    seen: Seen, accepted: list[int], words: str
) -> None:
    verdict = judge(seen, job_tag="w.t:NA:1", accepts=accepted.__contains__, policy=Policy())

    assert words in verdict.message
    assert bool(verdict.message) == bool(words)
    assert verdict.more_memory == (words == STARVED)
    assert verdict.retryable == (words != ABORTED)


def test_stderr_is_looked_at_before_all_else_and_only_if_asked() -> None:
    loud = Seen(rc=137, exit_code=137, stderr_bytes=5)

    def verdict(asked: bool) -> Verdict:
        return judge(
            loud,
            job_tag="w.t:NA:1",
            accepts=lambda rc: True,
            policy=Policy(),
            fail_on_stderr=asked,
        )

    assert "has length 5" in verdict(True).message
    assert LOST in verdict(False).message


def test_a_trusted_return_code_does_not_hide_a_missing_output() -> None:
    def verdict(seen: Seen) -> str:
        policy = Policy(trust_rc=True)
        return judge(seen, job_tag="t", accepts=lambda rc: True, policy=policy).message

    assert verdict(Seen(rc=4, exit_code=4)) == GOOD
    assert LOST in verdict(Seen(rc=0, exit_code=1))


@pytest.mark.parametrize("given", [0.9, 99.1, "many", [2]])
def test_a_multiplier_out_of_range_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match=r"1\.0 ≤ n ≤ 99\.0"):
        memory_factor({"memory_retry_multiplier": given})
