"""From a drop to a run: read, check, post once, tell, keep.

Every step may be the last one before a crash, and every drop may be announced
many times. What makes that harmless: the run's id is fixed by the drop, Cromwell
takes an id once, each step can be done again, and the bundle leaves the inbox
last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from dropwell import ledger
from dropwell.archives import Limits
from dropwell.bundles import Bundle, open_bundle
from dropwell.drops import Drop, parted, safe_name
from dropwell.errors import (
    BadBundle,
    CromwellAway,
    Missing,
    ProjectsUnreadable,
    Refused,
    TooLarge,
    TryAgain,
    UnclearRefusal,
    UnknownRun,
)
from dropwell.notices import Kind
from dropwell.ports import Bucket, Cromwell, Submission, Table
from dropwell.preflight import Checked, Finding, Severity, errors_of, told
from dropwell.preparing import Rules, prepare
from dropwell.projects import Projects, no_projects
from dropwell.records import put_same_bytes
from dropwell.reports import receipt, rejection_page, rejection_record, status_page
from dropwell.runs import Due, Run, State, next_try
from dropwell.strict_json import in_bytes

FIRST_POLL = 20
"""Seconds until Cromwell is first asked about a run that no job event has told of."""

_MOST_UNCLEAR = 5
_MOST_BROKEN_OFF = 6


class Outcome(StrEnum):
    """What became of one delivery of a drop."""

    SUBMITTED = "submitted"
    REJECTED = "rejected"
    CANCELED = "canceled"
    WAITING = "waiting"
    BUSY = "busy"
    KNOWN = "known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the submitter works with.

    Parameters
    ----------
    table, inbox, workflows, cromwell
        The adapters; `workflows` is the bucket that Cromwell reads inputs from.
    check : callable
        Reads a bundle's WDL and inputs; the engine behind it is loaded when it is
        first called, after it is known that the drop is no duplicate.
    rules : Rules
        What bundles may ask.
    lease : int
        Seconds that one delivery may work on a drop before another takes over.
    projects : callable
        Returns what the operator sets for each project, as it is now.
    """

    table: Table
    inbox: Bucket
    workflows: Bucket
    cromwell: Cromwell
    check: Callable[[Bundle], Checked]
    rules: Rules
    lease: int
    projects: Callable[[], Projects] = no_projects


def submit(drop: Drop, desk: Desk, *, now: int) -> Outcome:
    """Bring a drop as far as it will go: posted, rejected, or waiting for Cromwell.

    Parameters
    ----------
    drop : Drop
        Exactly one version of an object.
    desk : Desk
        What to work with.
    now : int
        Seconds since 1970.

    Returns
    -------
    Outcome
        In every case the message that brought the drop is done with; what is
        left to do stands in the table, where the sweep finds it.

    Raises
    ------
    TryAgain
        A bucket or the table failed; another delivery begins where this ended.
    """
    run = _take(drop, desk, now)
    if run is None:
        return Outcome.BUSY
    if run.kept:
        return Outcome.KNOWN
    if not _decided(run):
        run = _decide(run, desk, now)
    if not _decided(run):
        return Outcome.WAITING
    _keep(run, desk)
    return _outcome(run)


def _decided(run: Run) -> bool:
    return bool(run.submitted_at) or run.state.terminal


def _outcome(run: Run) -> Outcome:
    if run.state is State.REJECTED:
        return Outcome.REJECTED
    return Outcome.SUBMITTED if run.submitted_at else Outcome.CANCELED


def _take(drop: Drop, desk: Desk, now: int) -> Run | None:
    """Return the run to work on, `None` while somebody else does or it waits its turn."""
    run = ledger.load(desk.table, drop.run_id)
    if run is None:
        run = ledger.create(desk.table, _new_run(drop))
    if _decided(run):
        return run
    if run.due_at > now:
        return None

    def lease(known: Run) -> Run | None:
        if _decided(known) or known.due_at > now:
            return None
        # Whoever had it last came to no end, not even to waiting: it died, and may again.
        died = bool(known.tries) and not known.waiting
        broken_off = known.broken_off + 1 if died else 0
        until = now + desk.lease * 2**broken_off
        return replace(known, tries=known.tries + 1, broken_off=broken_off, waiting="").due(
            Due.SUBMIT, until
        )

    run, mine = ledger.change(desk.table, run, lease)
    return run if mine or _decided(run) else None


def _new_run(drop: Drop) -> Run:
    return Run(
        run_id=drop.run_id,
        project=drop.project,
        name=safe_name(parted(drop.file_name)[0]),
        principal=drop.principal,
        bucket=drop.bucket,
        key=drop.key,
        version_id=drop.version_id,
        size=drop.size,
        dropped_at=drop.dropped_at,
    ).due(Due.SUBMIT, 0)


def _decide(run: Run, desk: Desk, now: int) -> Run:
    if run.abort_at:
        return _call_off(run, desk, now)
    try:
        projects = desk.projects()
    except ProjectsUnreadable as why:
        return _wait(_named(run, desk), str(why), desk, now, whom="the operator")
    project = projects.of(run.project)
    if project is None:
        return _reject_unless_posted(run, projects.not_open(run.project), desk, now)
    run = replace(run, notice_detail=project.notice_detail)
    if run.broken_off >= _MOST_BROKEN_OFF:
        return _reject_unless_posted(run, _deadly(run), desk, now)
    try:
        run, bundle = _opened(run, desk)
        run = replace(run, labels=tuple(sorted({**bundle.labels, **project.labels}.items())))
        prepared = prepare(
            bundle, run, desk.check, desk.rules, inputs=desk.workflows, project=project
        )
    except BadBundle as bad:
        return _reject(run, bad.findings, desk, now)
    except Missing:
        return _reject_unless_posted(run, _vanished(run), desk, now)
    except TooLarge:
        return _reject(run, [_too_large(run, desk.rules.limits)], desk, now)
    warnings = (*prepared.warnings, *_twins(run, desk.table))
    run = replace(run, workflow=prepared.workflow, warnings=told(warnings))
    for entry, key in prepared.uploads.items():
        with bundle.open(entry) as stream:
            desk.workflows.put_stream(key, stream)
    return _post(run, prepared.submission, desk, now)


def _opened(run: Run, desk: Desk) -> tuple[Run, Bundle]:
    limits = desk.rules.limits
    data = desk.inbox.read(run.key, version_id=run.version_id, limit=limits.compressed)
    bundle = open_bundle(data, run.drop.file_name, limits)
    return replace(run, name=bundle.name, size=len(data), sha256=bundle.sha256), bundle


def _named(run: Run, desk: Desk) -> Run:
    """Return a run under the name that its bundle gives it, for that names its folder too."""
    try:
        return _opened(run, desk)[0]
    except (BadBundle, Missing, TooLarge):
        return run  # for another day


def _reject_unless_posted(run: Run, finding: Finding, desk: Desk, now: int) -> Run:
    """Reject a drop that cannot be read, unless an earlier delivery had posted it."""
    if run.tries > 1:
        try:
            return _accept(run, desk.cromwell.status(run.run_id), desk, now)
        except CromwellAway as away:
            return _wait(run, str(away), desk, now)
        except UnknownRun:
            pass  # then nothing was posted
    return _reject(run, [finding], desk, now)


def _vanished(run: Run) -> Finding:
    return Finding(
        rule="vanished",
        message=f"{run.drop.file_name} was removed before it could be read",
        advice="Drop it again.",
    )


def _deadly(run: Run) -> Finding:
    return Finding(
        rule="broken-off",
        message=f"{run.drop.file_name} could not be handled: {run.broken_off} times the work on it"
        " broke off, as it does where memory or time run out",
        advice="Drop a smaller bundle, with fewer and smaller inputs files. If it is small, ask"
        " who runs this service: its log tells more.",
    )


def _too_large(run: Run, limits: Limits) -> Finding:
    return Finding(
        rule="bundle-too-large",
        message=f"{run.drop.file_name} is larger than the {in_bytes(limits.compressed)} taken",
        advice="Leave large data on S3 and name it by its s3:// URI in the inputs.",
    )


def _twins(run: Run, table: Table) -> tuple[Finding, ...]:
    """Warn of the project's active runs of the very same bytes; others' names are theirs."""
    ids = [item["sk"] for item in table.query(f"BYTES#{run.sha256}") if item["sk"] != run.run_id]
    active = [
        twin
        for twin in ledger.load_many(table, ids).values()
        if twin.project == run.project and not twin.state.terminal
    ]
    return tuple(
        Finding(
            rule="same-bytes",
            severity=Severity.WARNING,
            message=f"the same bundle already runs as {twin.name} ({twin.run_id})",
        )
        for twin in active[:3]
    )


def _post(run: Run, submission: Submission, desk: Desk, now: int) -> Run:
    """Post a run, reading each answer for whether Cromwell now has it."""
    try:
        try:
            status = desk.cromwell.submit(submission)
        except UnclearRefusal as refusal:
            status = _status_after(refusal, run, desk)
    except Refused as refusal:
        return _reject(run, [_refused(str(refusal))], desk, now)
    except UnclearRefusal as refusal:
        if run.unclear + 1 >= _MOST_UNCLEAR:
            look = f"Cromwell may have it all the same: look there for {run.run_id}."
            return _reject(run, [replace(_refused(str(refusal)), advice=look)], desk, now)
        return _wait(replace(run, unclear=run.unclear + 1), str(refusal), desk, now)
    except CromwellAway as away:
        return _wait(run, str(away), desk, now)
    return _accept(run, status, desk, now)


def _status_after(refusal: UnclearRefusal, run: Run, desk: Desk) -> str:
    """Return the status of a run that Cromwell says it cannot take.

    A 400 may mean that an earlier post of ours arrived. Only asking tells.
    """
    try:
        return desk.cromwell.status(run.run_id)
    except UnknownRun:
        raise refusal from None


def _refused(words: str) -> Finding:
    return Finding(rule="cromwell-refused", message=f"Cromwell refused it: {words}")


def _accept(run: Run, status: str, desk: Desk, now: int) -> Run:
    # Whatever Cromwell says beyond these two, the next poll turns, with all that
    # belongs to it.
    held = status == "On Hold"

    def accepted(known: Run) -> Run | None:
        if _decided(known):
            return None
        state = State.PAUSED if held else State.QUEUED
        return replace(
            _with_bundle(known, run),
            state=State.CANCELING if known.abort_at else state,
            cromwell_status="On Hold" if held else "Submitted",
            submitted_at=now,
            waiting="",
        ).due(Due.POLL, now + FIRST_POLL)

    run, _ = ledger.change(
        desk.table, run, accepted, notice=Kind.ACCEPTED, now=now, also=[put_same_bytes(run)]
    )
    if run.abort_at:
        pass_on_abort(run, desk.cromwell)
    return run


def _with_bundle(known: Run, run: Run) -> Run:
    """Return the run on record with what opening the bundle has told."""
    return replace(
        known,
        name=run.name,
        size=run.size,
        sha256=run.sha256,
        labels=run.labels,
        notice_detail=run.notice_detail,
        workflow=run.workflow,
        warnings=run.warnings,
    )


def pass_on_abort(run: Run, cromwell: Cromwell) -> None:
    """Tell Cromwell to abort; while it is away, the polls say it again."""
    try:
        cromwell.abort(run.run_id)
    except (CromwellAway, UnknownRun):
        return


def _wait(run: Run, why: str, desk: Desk, now: int, *, whom: str = "Cromwell") -> Run:
    """Leave the run queued, to be posted again by a later delivery."""

    def waiting(known: Run) -> Run | None:
        if _decided(known):
            return None
        again = now + next_try(known.tries)
        told = replace(
            _with_bundle(known, run), unclear=run.unclear, waiting=why[:300], waits_for=whom
        )
        return told.due(Due.SUBMIT, again)

    run, _ = ledger.change(desk.table, run, waiting)
    desk.inbox.put(run.folder + "status.json", status_page(run))
    return run


def _call_off(run: Run, desk: Desk, now: int) -> Run:
    """End a run that was aborted before it was known to be posted.

    An earlier delivery may have posted it and died. Abort works at once after a
    post, without the lag that the reads have; only when neither abort nor status
    knows the run is it sure that nothing was posted.
    """
    try:
        desk.cromwell.abort(run.run_id)
    except CromwellAway as away:
        return _wait(run, str(away), desk, now)
    except UnknownRun:
        try:
            status = desk.cromwell.status(run.run_id)
        except CromwellAway as away:
            return _wait(run, str(away), desk, now)
        except UnknownRun:
            return canceled(run, desk.table, now)
        return _accept(run, status, desk, now)
    return _accept(run, "Aborting", desk, now)


def canceled(run: Run, table: Table, now: int) -> Run:
    """Record that a run ended before anything was posted, unless somebody began since."""

    def ended(known: Run) -> Run | None:
        if _decided(known) or known.tries != run.tries:
            return None
        return replace(known, state=State.CANCELED, ended_at=now, waiting="").due(None)

    return ledger.change(table, run, ended, notice=Kind.ENDED, now=now)[0]


def _reject(run: Run, findings: list[Finding] | tuple[Finding, ...], desk: Desk, now: int) -> Run:
    """Write the report, then record the rejection: a record never lacks its report."""
    warnings = (one for one in findings if not one.is_error and one.rule != "dry-run")
    gone = replace(
        run,
        state=State.REJECTED,
        ended_at=now,
        findings=told(errors_of(findings)),
        warnings=told(warnings) or run.warnings,
    )
    desk.inbox.put(gone.folder + "report.json", rejection_record(gone, findings))
    desk.inbox.put(gone.folder + "report.md", rejection_page(gone, findings), "text/markdown")

    def rejected(known: Run) -> Run | None:
        if _decided(known):
            return None
        return replace(
            _with_bundle(known, gone),
            state=gone.state,
            ended_at=gone.ended_at,
            findings=gone.findings,
            warnings=gone.warnings,
            waiting="",
        ).due(None)

    run, _ = ledger.change(desk.table, run, rejected, notice=Kind.REJECTED, now=now)
    return run


def _keep(run: Run, desk: Desk) -> None:
    """Write the receipt, move the bundle beside it, and take exactly it out of the inbox."""
    if run.state is not State.REJECTED:
        desk.inbox.put(run.folder + "receipt.json", receipt(run))
        desk.inbox.put(run.folder + "status.json", status_page(run))
    kept_as = run.folder + _kept_name(run)
    try:
        desk.inbox.copy(run.key, run.version_id, kept_as)
    except Missing:
        pass  # moved by an earlier delivery, or removed by its owner
    else:
        if desk.inbox.size(kept_as) != run.size:
            raise TryAgain(f"{desk.inbox.uri(kept_as)} is not as long as what was dropped")
        desk.inbox.remove(run.key, run.version_id)
    ledger.change(desk.table, run, lambda known: None if known.kept else replace(known, kept=True))


def _kept_name(run: Run) -> str:
    """Return the bundle's name in the run's folder: its own where it was rejected."""
    if run.state is State.REJECTED:
        return run.drop.file_name
    return "bundle" + parted(run.drop.file_name)[1]
