"""What people ask of a run by a file: abort it, or release it from its hold.

The file is removed once it is acted on, and the answer shows in the run's
``status.json``. A project's folder reaches that project's runs and no others.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from enum import StrEnum

from dropwell import ledger
from dropwell.drops import Action, Control
from dropwell.errors import Refused
from dropwell.ports import Bucket, Cromwell, Table
from dropwell.reports import status_page
from dropwell.runs import Due, Run, State
from dropwell.submission import canceled, pass_on_abort


class Answer(StrEnum):
    """What became of a control file; only the last two leave it where it is."""

    DONE = "done"
    NOTHING_TO_DO = "nothing to do"
    UNKNOWN_RUN = "unknown run"
    ANOTHER_PROJECT = "another project's run"

    @property
    def acted(self) -> bool:
        return self in (Answer.DONE, Answer.NOTHING_TO_DO)


def act(asked: Control, *, now: int, table: Table, inbox: Bucket, cromwell: Cromwell) -> Answer:
    """Do what a control file asks.

    Parameters
    ----------
    asked : Control
        Read from the file's key; its content does not matter.
    now : int
        Seconds since 1970.

    Returns
    -------
    Answer
        Whether it was done. A run of another project is not touched, and not
        told apart from one that does not exist by anything but the log.
    """
    run = ledger.load(table, asked.run_id)
    if run is None:
        return Answer.UNKNOWN_RUN
    if run.project != asked.project:
        return Answer.ANOTHER_PROJECT
    if run.state.terminal:
        return Answer.NOTHING_TO_DO
    if asked.action is Action.ABORT:
        run = _abort(run, now=now, table=table, cromwell=cromwell)
    else:
        run = _release(run, now=now, table=table, cromwell=cromwell)
    inbox.put(run.folder + "status.json", status_page(run))
    return Answer.DONE


def _abort(run: Run, *, now: int, table: Table, cromwell: Cromwell) -> Run:
    """Abort a run, whether or not Cromwell has it yet.

    What nobody has tried to post is canceled on the spot. Where somebody has, or
    may be at it, the wish is noted: the submitter sees it before it posts, or
    right after.
    """

    def wished(known: Run) -> Run | None:
        if known.state.terminal or known.abort_at:
            return None
        wish = replace(known, abort_at=now)
        if known.submitted_at:
            return replace(wish, state=State.CANCELING).due(Due.POLL, now + 5)
        return wish.due(Due.SUBMIT, now) if known.waiting else wish

    run, _ = ledger.change(table, run, wished)
    if run.state.terminal:
        return run
    if run.submitted_at:
        pass_on_abort(run, cromwell)
        return run
    return run if run.tries else canceled(run, table, now)


def _release(run: Run, *, now: int, table: Table, cromwell: Cromwell) -> Run:
    if run.state is State.PAUSED:
        with suppress(Refused):  # it is not on hold any more
            cromwell.release(run.run_id)

    def soon(known: Run) -> Run | None:
        return known.due(Due.POLL, now + 5) if known.submitted_at else None

    return ledger.change(table, run, soon)[0]
