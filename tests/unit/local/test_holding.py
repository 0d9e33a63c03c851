"""Failures wait until nothing else of a run goes on, and never longer."""

from __future__ import annotations

import threading

from dropwell_local.engine.holding import Activity, Going


def held(going: Going, activity: Activity) -> threading.Thread:
    thread = threading.Thread(target=activity.hold, daemon=True)
    thread.start()
    return thread


def test_a_failure_waits_for_what_goes_on_and_for_a_moment_after() -> None:
    now = [0.0]
    going = Going(hold=True, quiet=1.0, clock=lambda: now[0])
    with Activity(going), Activity(going) as failed:
        waiting = held(going, failed)
        now[0] = 10.0
        waiting.join(0.3)
        assert waiting.is_alive()  # something else goes on
    waiting.join(0.3)
    assert waiting.is_alive()  # which may let something start
    now[0] = 11.1
    waiting.join(5)
    assert not waiting.is_alive()


def test_all_that_wait_are_let_go_together_and_nobody_waits_afterwards() -> None:
    going = Going(hold=True, quiet=0.2)
    failures = [held(going, Activity(going).__enter__()) for _ in range(20)]
    for one in failures:
        one.join(1.5)
        assert not one.is_alive()
    with Activity(going), Activity(going) as late:
        late.hold()


def test_without_the_mode_nobody_waits() -> None:
    with Activity(going := Going()), Activity(going) as failed:
        failed.hold()
