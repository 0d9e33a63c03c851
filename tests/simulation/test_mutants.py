"""The simulation sees it when a guard is missing: each is taken out in turn, and must be missed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dropwell import (
    control,
    diagnosis,
    ledger,
    polling,
    records,
    runs,
    submission,
    telling,
    tracking,
)
from dropwell.errors import Superseded
from dropwell.jobs import Sighting
from dropwell.runs import State
from tests.simulation import lab as lab_module
from tests.simulation.lab import Job, Lab
from tests.simulation.test_tracking import SCATTER, TIMING, counts
from tests.simulation.world import MemoryCromwell, World, same

Patch = Callable[[pytest.MonkeyPatch], None]


def unconditional(write: Any) -> Any:
    return replace(write, expect={})


def wrapped(module: Any, name: str, around: Callable[[Any], Any]) -> Patch:
    return lambda patch: patch.setattr(module, name, around(getattr(module, name)))


def any_write_of(module: Any, name: str) -> Patch:
    """Make a conditional write an unconditional one."""
    return wrapped(module, name, lambda make: lambda *a, **k: unconditional(make(*a, **k)))


def ids_are_not_taken_once(patch: pytest.MonkeyPatch) -> None:
    submit = MemoryCromwell._submit

    def again(self: MemoryCromwell, submission: Any) -> str:
        self.accepted.pop(submission.run_id, None)
        status = submit(self, submission)
        self.accepted[f"{submission.run_id} #{len(self.posts)}"] = submission
        return status

    patch.setattr(MemoryCromwell, "_submit", again)


def rank_without_attempts(patch: pytest.MonkeyPatch) -> None:
    rank = Sighting.rank.fget  # type: ignore[attr-defined]
    patch.setattr(Sighting, "rank", property(lambda self: rank(replace(self, attempts=0))))


def status_goes_back(patch: pytest.MonkeyPatch) -> None:
    heard = runs.heard
    patch.setattr(
        polling, "heard", lambda run, status, now: heard(replace(run, state=State.RUNNING,
        cromwell_status=""), status, now),
    )  # fmt: skip


def last_summary_wins(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(diagnosis, "better_summary", lambda known, heard: heard)


def unconfirmed_moves(patch: pytest.MonkeyPatch) -> None:
    decide = submission._decide

    def moved_first(run: Any, desk: Any, now: int) -> Any:
        desk.inbox.objects[run.key].pop(run.version_id, None)
        return decide(run, desk, now)

    patch.setattr(submission, "_decide", moved_first)


def abort_never_noted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(control, "_abort", lambda run, **_: run)


def failing_without_asking_whether_it_lasts(patch: pytest.MonkeyPatch) -> None:
    doubt = polling._doubt

    def at_once(run: Any, watch: Any, now: int) -> Any:
        if any(call.lasting for call in watch.cromwell.failed_jobs(run.run_id)):
            return doubt(run, watch, now)
        failing = replace(run, failing_at=now)
        return ledger.change(watch.table, run, lambda _: failing, notice="failing", now=now)[0]

    patch.setattr(polling, "_doubt", at_once)


def claims_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(telling, "_claim", lambda key, notice, table, now: notice)


def no_lease(patch: pytest.MonkeyPatch) -> None:
    take = submission._take
    patch.setattr(submission, "_take", lambda drop, desk, now: take(drop, desk, now + 10**6))


def sends_nothing_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lab_module, "sweep", lambda watch, now: {})


def consequences_of_news_only(patch: pytest.MonkeyPatch) -> None:
    keep, follow = tracking._keep_later, tracking._consequences
    news: dict[str, Any] = {}

    def kept(run_id: str, *rest: Any) -> Any:
        news[run_id] = keep(run_id, *rest)
        return news[run_id]

    def only_news(run_id: str, group: Any, *rest: Any, now: int) -> None:
        if news.get(run_id):
            follow(run_id, news[run_id], *rest, now=now)

    patch.setattr(tracking, "_keep_later", kept)
    patch.setattr(tracking, "_consequences", only_news)


def asks_batch_of_no_lost_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(polling, "_hear_out", lambda run, failed, watch, now: None)


MUTANTS: dict[str, Patch] = {
    "a run's write does not name the one it read": any_write_of(ledger, "put_run"),
    "a job's write does not name the rank it read": any_write_of(tracking, "put_job"),
    "a call's write does not name the one it read": any_write_of(diagnosis, "_put_call"),
    "Cromwell takes an id again": ids_are_not_taken_once,
    "the rank forgets attempts": rank_without_attempts,
    "an old status turns a run back": status_goes_back,
    "the last summary wins": last_summary_wins,
    "the bundle leaves the inbox first": unconfirmed_moves,
    "an abort is forgotten": abort_never_noted,
    "a failed job is a failed call": failing_without_asking_whether_it_lasts,
    "two may say a notice at once": claims_nothing,
    "two may work on a drop at once": no_lease,
    "nothing is ever swept": sends_nothing_again,
    "what an earlier delivery left undone stays so": consequences_of_news_only,
    "ends that no event told stay unknown": asks_batch_of_no_lost_end,
}


def scenarios() -> None:
    """Live through enough that any missing guard shows."""
    calm = Lab(World())
    drop = calm.drop()
    calm.plan(drop, SCATTER, "Failed")
    calm.settle()
    for seed in range(40):
        crashes = frozenset(World(seed=seed).random.sample(range(400), 12)) if seed % 2 else ()
        lab = Lab(
            World(seed=seed, interleave=0.3, crash_at=frozenset(crashes)), copies=3, spread=300
        )
        drop = lab.drop(times=3)
        lab.plan(drop, SCATTER, "Failed")
        lab.cromwell.lose_acks = seed % 3
        lab.settle()
        assert len(lab.cromwell.accepted) == 1
        assert counts(lab, drop.run_id) == counts(calm, drop.run_id)
        assert _table(lab) == _table(calm)
        assert lab.inbox.keys(f"runs/cardio/hello/{drop.run_id}/bundle.zip")
        if not crashes:
            assert len(lab.mails.told) == len(set(lab.mails.told))
    _scenario_of_a_crowd()
    _scenario_of_batch_retries()
    _scenario_of_an_overtaken_answer()
    _scenario_of_an_outage()
    _scenario_of_a_retry()
    _scenario_of_an_abort()
    _scenario_of_lost_events()


def _table(lab: Lab) -> str:
    kept = lab.kept("RUN", records.JOB, records.CALL, records.SIG)
    return same(kept, but=TIMING | {"waiting", "warnings"})


def _scenario_of_lost_events() -> None:
    """Lose all that Batch would tell, and hear of the failure all the same."""
    lab = Lab(World(), lost=1.0)
    drop = lab.drop()
    lab.plan(drop, SCATTER, "Failed")
    lab.settle()
    assert counts(lab, drop.run_id) == {"jobs": 1, "failed": 1}
    assert lab.mails.mails[-1][2]["cause"] == "TASK_ERROR"


def _scenario_of_a_crowd() -> None:
    """Have everything told at once, several times."""
    for seed in range(10):
        lab = Lab(World(seed=seed, interleave=0.5), copies=4)
        lab.table.stream_copies = 3
        drop = lab.drop()
        lab.plan(drop, [Job("a", shard, return_code=1) for shard in range(4)], "Failed")
        lab.settle()
        signatures = lab.table.query(drop.run_id, records.SIG)
        assert sum(item["count"] for item in signatures) == 4
        assert len(lab.mails.told) == len(set(lab.mails.told))


def _scenario_of_batch_retries() -> None:
    """Have Batch run jobs again and again, and tell of it in any order."""
    for seed in range(5):
        lab = Lab(World(seed=seed), copies=2, spread=120)
        drop = lab.drop()
        lab.plan(drop, [Job("a", shard, retries=2) for shard in range(6)], "Succeeded")
        lab.settle()
        assert lab.run(drop).state is State.COMPLETE


def _scenario_of_an_overtaken_answer() -> None:
    """Have an answer of Cromwell's reach us after a later one."""
    lab = Lab(World())
    drop = lab.drop()
    lab.world.step()
    lab.world.now += 30
    ask = lab.cromwell.statuses

    def overtaken(run_ids: Any) -> dict[str, str]:
        late = ask(run_ids)
        lab.cromwell.statuses = ask  # type: ignore[method-assign]
        lab.cromwell.now_is[drop.run_id] = "Running"
        polling.poll([drop.run_id], lab.watch, now=lab.world.now)
        return late

    lab.cromwell.statuses = overtaken  # type: ignore[method-assign, assignment]
    polling.poll([drop.run_id], lab.watch, now=lab.world.now)
    assert lab.run(drop).state is State.RUNNING


def _scenario_of_an_outage() -> None:
    lab = Lab(World())
    lab.cromwell.away = True
    drop = lab.drop()
    lab.world.step()
    lab.cromwell.away = False
    lab.settle()
    assert lab.run(drop).state is State.COMPLETE


def _scenario_of_a_retry() -> None:
    lab = Lab(World())
    drop = lab.drop()
    lab.plan(drop, [Job("a", return_code=1, lasting=False), Job("a", attempt=3)], "Succeeded")
    lab.settle()
    assert lab.notices(drop) == ["accepted", "ended"]


def _scenario_of_an_abort() -> None:
    lab = Lab(World())
    drop = lab.drop()
    lab.world.step()
    lab.abort(drop, delay=2)
    lab.settle()
    assert lab.run(drop).state is State.CANCELED


def test_nothing_is_missed_while_every_guard_stands():
    scenarios()


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_missing_guard_is_missed(mutant, monkeypatch):
    MUTANTS[mutant](monkeypatch)
    with pytest.raises((AssertionError, Superseded)):
        scenarios()
