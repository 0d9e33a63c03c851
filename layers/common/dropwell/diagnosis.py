"""From a return code or a failed job to a summary of why: read what was left, judge it, count it.

Two messages may tell of one failure, the rc file's and the job's; either may come
first, twice, or never. Each time all that can be read is read as it is now, and
joined with what was found before (`summaries.better`), so that in the end it
does not matter which came when.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

from dropwell import ledger
from dropwell.calls import CallId, CallPlace, place_of_script
from dropwell.causes import Evidence
from dropwell.drops import run_folder
from dropwell.errors import Missing, Superseded, TooLarge, TryAgain
from dropwell.jobs import JobStatus, Sighting
from dropwell.ports import Bucket, LogGroup, Table
from dropwell.records import CALL, NEW, SIG, Item, Put, Update, Write, job_key, sighting_of
from dropwell.runs import observed
from dropwell.summaries import CallSummary, summarise
from dropwell.summaries import better as better_summary
from dropwell.text import clean

TAIL_BYTES = 64 << 10
"""How much of the end of stderr, and of stdout, is read."""

LOG_LINES = 200
_RC_LIMIT = 4 << 10
_SCRIPT_LIMIT = 8 << 20
_ROUNDS = 12
_CARDS = 5
_CARD_LIMIT = 1 << 20
_INTEGER = re.compile(rb"\s*([+-]?\d{1,9})\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What the router works with when it looks into failures.

    Parameters
    ----------
    table, inbox : Table, Bucket
        What is remembered; where summaries are kept for people.
    workflows, scripts : Bucket
        Where Cromwell writes return codes and logs, and its scripts.
    logs : LogGroup
        Of the Batch jobs.
    """

    table: Table
    inbox: Bucket
    workflows: Bucket
    scripts: Bucket
    logs: LogGroup


class Found(StrEnum):
    """What a return code, or a failed job, turned out to be."""

    SUCCESS = "success"
    CACHED = "cached"
    FAILURE = "failure"
    NOTHING = "nothing"


Judged = Callable[[CallSummary], None]
"""Hears of each failed call whose cause is news."""


def _nobody(summary: CallSummary) -> None:
    pass


def diagnose_return_code(
    place: CallPlace, bench: Bench, *, now: int, judged: Judged = _nobody
) -> Found:
    """Look at a call whose return code has appeared.

    A task can write what it likes into its rc file: it is evidence, and turns no
    state.

    Parameters
    ----------
    place : CallPlace
        Read from the object's key.
    bench : Bench
        What to work with.
    now : int
        Seconds since 1970.
    judged : callable
        See `Judged`.
    """
    try:
        return_code = _return_code(place, bench)
    except Missing:
        return Found.NOTHING
    if place.cached:
        _keep_cached(place, return_code, bench.table)
        return Found.CACHED
    if return_code == 0:
        _withdraw(place, bench.table)
        return Found.SUCCESS
    evidence = _with_tails(Evidence(return_code=return_code, rc_present=True), place, bench)
    summary = _summary(place.run_id, place.call_id, evidence, place)
    _keep(place.run_id, [summary], bench, now=now, workflow=place.run_name, judged=judged)
    return Found.FAILURE


def diagnose_jobs(
    run_id: str, job_ids: Sequence[str], bench: Bench, *, now: int, judged: Judged = _nobody
) -> int:
    """Look at jobs that Batch says failed, those without an rc file above all.

    Returns
    -------
    int
        How many of them are failures still; a job may have been seen again since.
    """
    items = bench.table.get_many(job_key(run_id, job_id) for job_id in job_ids)
    summaries = []
    workflow = ""
    for item in items.values():
        seen = sighting_of(item)
        if seen.status is not JobStatus.FAILED or not item.get("call"):
            continue
        place = _place(seen, bench)
        workflow = workflow or (place.run_name if place else "")
        summaries.append(_summary_of_job(run_id, CallId.parse(item["call"]), seen, place, bench))
    if summaries:
        _keep(run_id, summaries, bench, now=now, workflow=workflow, judged=judged)
    return len(summaries)


def _place(seen: Sighting, bench: Bench) -> CallPlace | None:
    """Return where a job's call lies, from its script: its tags tell the call, not the folder."""
    bucket, _, key = seen.script_url.removeprefix("s3://").partition("/")
    if bucket != bench.scripts.name or not key:
        return None
    try:
        script = bench.scripts.read(key, limit=_SCRIPT_LIMIT)
    except (Missing, TooLarge):
        return None
    place = place_of_script(script.decode(errors="replace"))
    return place if place and place.bucket == bench.workflows.name else None


def _summary_of_job(
    run_id: str, call_id: CallId, seen: Sighting, place: CallPlace | None, bench: Bench
) -> CallSummary:
    evidence = Evidence(
        job_status=seen.status.value,
        exit_code=seen.exit_code,
        job_reason=seen.reason,
        container_reason=seen.container_reason,
        memory_mib=seen.memory_mib,
        vcpus=seen.vcpus,
        attempts=seen.attempts,
    )
    if place:
        evidence = _with_return_code(evidence, place, bench)
        evidence = _with_tails(evidence, place, bench)
    if seen.log_stream and _needs_log(evidence):
        evidence = replace(evidence, job_log=bench.logs.tail(seen.log_stream, LOG_LINES))
    return _summary(run_id, call_id, evidence, place, seen, bench.logs.name)


def _needs_log(evidence: Evidence) -> bool:
    """Say whether only the job's own log can tell: no rc file, or one that denies the failure.

    A task that went well in a job that did not: what Cromwell's script did after
    it, storing outputs above all, is in that log alone.
    """
    return evidence.return_code == 0 or not (evidence.rc_present or evidence.stderr)


def _with_return_code(evidence: Evidence, place: CallPlace, bench: Bench) -> Evidence:
    try:
        return replace(evidence, return_code=_return_code(place, bench), rc_present=True)
    except Missing:
        return replace(evidence, rc_present=False)


def _return_code(place: CallPlace, bench: Bench) -> int | None:
    """Return what the rc file says now, `None` if that is no number."""
    text = bench.workflows.tail(place.rc_key, _RC_LIMIT).data
    number = _INTEGER.fullmatch(text)
    return int(number[1]) if number else None


def _with_tails(evidence: Evidence, place: CallPlace, bench: Bench) -> Evidence:
    return replace(
        evidence,
        stderr=_tail(place.stderr_key, bench.workflows),
        stdout=_tail(place.stdout_key, bench.workflows),
    )


def _tail(key: str, bucket: Bucket) -> str:
    """Return the last whole lines of a log, cleaned; empty if it is not there."""
    try:
        end = bucket.tail(key, TAIL_BYTES)
    except Missing:
        return ""
    return clean(end.data.rstrip(), midway=end.size > len(end.data))


def _summary(
    run_id: str,
    call_id: CallId,
    evidence: Evidence,
    place: CallPlace | None,
    seen: Sighting | None = None,
    log_group: str = "",
) -> CallSummary:
    def url(key: str) -> str:
        return f"s3://{place.bucket}/{key}" if place else ""

    return summarise(
        call_id,
        evidence,
        run_id=run_id,
        rc_url=url(place.rc_key) if place and evidence.rc_present else "",
        stderr_url=url(place.stderr_key) if place and evidence.stderr else "",
        stdout_url=url(place.stdout_key) if place and evidence.stdout else "",
        job_id=seen.job_id if seen else "",
        log_group=log_group if seen and seen.log_stream else "",
        log_stream=seen.log_stream if seen else "",
    )


# Keeping


def call_key(summary_of: CallId, run_id: str) -> tuple[str, str]:
    return run_id, f"{CALL}{summary_of}"


def signature_key(run_id: str, signature: str) -> tuple[str, str]:
    return run_id, f"{SIG}{signature}"


def _keep(
    run_id: str,
    summaries: Iterable[CallSummary],
    bench: Bench,
    *,
    now: int,
    workflow: str,
    judged: Judged,
) -> None:
    """Write summaries, and move the counts of their signatures in the same transaction."""
    wanted = {summary.call_id: summary for summary in summaries}
    for _ in range(_ROUNDS):
        known = bench.table.get_many(call_key(call_id, run_id) for call_id in wanted)
        news = _joined(run_id, wanted, known)
        if not news:
            return
        signatures = bench.table.get_many(
            signature_key(run_id, signature) for pair in news for signature in _signatures(*pair)
        )
        # Before the record, for once it stands nobody comes back to write them.
        _keep_cards(run_id, news, signatures, bench, now=now, workflow=workflow)
        try:
            bench.table.write(*_writes(run_id, news, known, signatures))
        except Superseded:
            continue
        for before, after in news:
            if before is None or before.cause is not after.cause:
                judged(after)
        return
    raise TryAgain(f"the failures of run {run_id} are written by many at once")


_Pair = tuple[CallSummary | None, CallSummary]


def _joined(
    run_id: str, wanted: dict[CallId, CallSummary], known: dict[tuple[str, str], Item]
) -> list[_Pair]:
    """Return, for each call that gains by what was found, what stood before and what stands now."""
    pairs: list[_Pair] = []
    for call_id, summary in wanted.items():
        item = known.get(call_key(call_id, run_id))
        before = summary_of(item) if item else None
        after = better_summary(before, summary) if before else summary
        if before is None or _without_tail(after) != _without_tail(before):
            pairs.append((before, after))
    return pairs


def _without_tail(summary: CallSummary) -> CallSummary:
    return replace(summary, tail=())


def _signatures(before: CallSummary | None, after: CallSummary) -> set[str]:
    return {after.signature} | ({before.signature} if before else set())


def _writes(
    run_id: str,
    news: Sequence[_Pair],
    known: dict[tuple[str, str], Item],
    signatures: dict[tuple[str, str], Item],
) -> list[Write]:
    writes: list[Write] = []
    counts: dict[str, int] = {}
    firsts: dict[str, CallSummary] = {}
    for before, after in news:
        item = known.get(call_key(after.call_id, run_id))
        writes.append(_put_call(run_id, after, item["rev"] if item else 0))
        if before and before.signature == after.signature:
            continue
        if before:
            counts[before.signature] = counts.get(before.signature, 0) - 1
        counts[after.signature] = counts.get(after.signature, 0) + 1
        firsts.setdefault(after.signature, after)
    for signature, count in counts.items():
        key = signature_key(run_id, signature)
        if key in signatures or signature not in firsts:
            writes.append(Update(key, add={"count": count}))
        else:
            writes.append(_put_signature(key, firsts[signature], count))
    return writes


def _put_call(run_id: str, summary: CallSummary, rev: int) -> Put:
    pk, sk = call_key(summary.call_id, run_id)
    document = asdict(_without_tail(summary))
    return Put(
        {"pk": pk, "sk": sk, "rev": rev + 1, "failed": True, "summary": document},
        {"rev": rev} if rev else NEW,
    )


def _put_signature(key: tuple[str, str], first: CallSummary, count: int) -> Put:
    pk, sk = key
    return Put(
        {
            "pk": pk,
            "sk": sk,
            "cause": first.cause.value,
            "call": first.call_id.call,
            "example": str(first.call_id),
            "count": count,
        },
        NEW,
    )


def summary_of(item: Item) -> CallSummary | None:
    """Return the summary that a call's item holds, `None` if the call did not fail."""
    return CallSummary.from_dict(item["summary"]) if item.get("failed") else None


def _keep_cached(place: CallPlace, return_code: int | None, table: Table) -> None:
    pk, sk = call_key(place.call_id, place.run_id)
    try:
        table.write(
            Put({"pk": pk, "sk": sk, "rev": 1, "cached": True, "rc": return_code or 0}, NEW)
        )
    except Superseded:
        return


def _withdraw(place: CallPlace, table: Table) -> None:
    """Take back a failure: Batch ran the job again, and now its return code is 0.

    Not one that Batch told of: a job that it calls failed is over. There the
    task went well, and storing its outputs did not.
    """
    for _ in range(_ROUNDS):
        item = table.get(call_key(place.call_id, place.run_id))
        summary = summary_of(item) if item else None
        if item is None or summary is None or summary.job_id:
            return
        pk, sk = call_key(place.call_id, place.run_id)
        back = Put({"pk": pk, "sk": sk, "rev": item["rev"] + 1, "rc": 0}, {"rev": item["rev"]})
        count = Update(signature_key(place.run_id, summary.signature), add={"count": -1})
        try:
            table.write(back, count)
        except Superseded:
            continue
        return
    raise TryAgain(f"the failures of run {place.run_id} are written by many at once")


def _keep_cards(
    run_id: str,
    news: Sequence[_Pair],
    signatures: dict[tuple[str, str], Item],
    bench: Bench,
    *,
    now: int,
    workflow: str,
) -> None:
    """Write the first few failures of each kind, with their logs' ends, where people look."""
    run = ledger.load(bench.table, run_id)
    if run is None:
        run = ledger.create(bench.table, observed(run_id, workflow, now))
    for before, summary in news:
        key = card_key(run.project, run.name, summary)
        card = _card(key, bench.inbox) if before and not summary.tail else None
        item = signatures.get(signature_key(run_id, summary.signature), {})
        if card or item.get("count", 0) < _CARDS:
            told = better_summary(card, summary) if card else summary
            bench.inbox.put(key, told.to_json())


def _card(key: str, inbox: Bucket) -> CallSummary | None:
    """Return the card that lies there: it alone has the end of a log that may be gone by now."""
    try:
        return CallSummary.from_json(inbox.read(key, limit=_CARD_LIMIT).decode())
    except (Missing, TooLarge):
        return None


def card_key(project: str, name: str, summary: CallSummary) -> str:
    """Return where a failure's summary lies in the run's folder."""
    call = summary.call_id
    file_name = f"{call.call}.{call.shard}.{call.attempt}.{call.workflow_id[:8]}.json"
    return f"{run_folder(project, name, summary.run_id)}failures/{file_name}"
