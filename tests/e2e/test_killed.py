"""A submitter that is killed outright, at a moment that is known, leaves one run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import pytest

from tests.e2e.inbox import Inbox, eventually, hello
from tests.e2e.wire import Point, Stop, Wire


class Moment(Enum):
    """Where the submitter's post was when it was killed, and Cromwell's answer to each post."""

    LOST = (Point.BEFORE_CROMWELL, [None, 201])
    """Cromwell never got the first one."""
    LATE = (Point.BEFORE_CROMWELL, [400, 201])
    """Cromwell got it after the next submitter's."""
    UNANSWERED = (Point.AFTER_CROMWELL, [201, 400])
    """Cromwell had accepted it; the submitter never knew."""

    def __init__(self, point: Point, statuses: list[int | None]) -> None:
        self.point = point
        self.statuses = statuses


@dataclass(frozen=True, slots=True)
class Trial:
    """A drop whose submitter was killed."""

    moment: Moment
    stop: Stop
    run_id: str

    @property
    def name(self) -> str:
        return name_of(self.moment)


def name_of(moment: Moment) -> str:
    return f"killed_{moment.name.lower()}"


@pytest.fixture(scope="module")
def trials(inbox: Inbox, wire: Wire) -> dict[Moment, Trial]:
    """Drop three bundles, and kill -9 their submitters, each waiting for Cromwell's answer."""
    stops = {moment: wire.stop(name_of(moment), moment.point) for moment in Moment}
    trials = {
        moment: Trial(moment, stops[moment], inbox.drop(name_of(moment), hello(name_of(moment))))
        for moment in Moment
    }
    for trial in trials.values():
        # The first thing that it did is on record, what it was about to do is not.
        answer = 201 if trial.moment is Moment.UNANSWERED else None
        assert trial.stop.wait().status == answer
        known = inbox.items(trial.run_id)
        assert known["RUN"]["state"] == "QUEUED"
        assert "submitted_at" not in known["RUN"]
        assert "NOTICE#accepted" not in known
        assert not trial.stop.sender_gone(within=0)
    for process in inbox.submitters():
        process.kill()
    for trial in trials.values():
        assert trial.stop.sender_gone(within=5)
        if trial.moment is not Moment.LATE:
            trial.stop.let_go(deliver=False)
    # Now only the schedule's sweep knows of them.
    for trial in trials.values():
        eventually(
            lambda run_id=trial.run_id: inbox.items(run_id)["RUN"].get("submitted_at"),
            within=100,
            what=f"the next submitter of {trial.name}",
        )
    trials[Moment.LATE].stop.let_go(deliver=True)
    return trials


@pytest.mark.parametrize("moment", Moment, ids=name_of)
def test_one_run_is_left(
    inbox: Inbox, wire: Wire, trials: dict[Moment, Trial], moment: Moment
) -> None:
    trial = trials[moment]
    assert inbox.end_of(trial.run_id, sweeping=True) == "COMPLETE"
    inbox.assert_one_run(trial.name, trial.run_id)
    assert [post.status for post in wire.of(trial.run_id)] == moment.statuses
