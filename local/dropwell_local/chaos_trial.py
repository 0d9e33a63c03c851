"""Trials under chaos: five mixed bundles a seed, and whether each was told rightly and once.

For a person to run::

    python -m dropwell_local.chaos_trial 1-50
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dropwell_local.cromwell.chaos import FATES
from dropwell_local.stack import LocalStack, local_stack

QUICK: Mapping[str, Any] = {
    "launch_interval": 0.1,
    "visibility_lag": 0.5,
    "poll_lag": 0.2,
    "max_workflows": 5,
    "call_caching": False,  # what went well under one seed is to meet the fate of the next
}
"""Settings of a local Cromwell that need not keep its readers waiting."""

_PATIENCE_S = 120.0
_ASK_AGAIN_S = 1.0
_PROJECT = "chaos"
_STATES = {"Succeeded": "COMPLETE", "Failed": "EXECUTOR_ERROR", "Aborted": "CANCELED"}

_TASK = """version 1.0
workflow {name} {{ {calls} }}
task work {{
  input {{ Int i = 0 }}
  command <<< {command} >>>
  runtime {{ docker: "debian:12" memory: "256 MB" {runtime} }}
}}
"""
_BUNDLES: Mapping[str, str] = {
    "chaos_plain": _TASK.format(
        name="chaos_plain", calls="call work", command="echo done", runtime=""
    ),
    "chaos_scatter": _TASK.format(
        name="chaos_scatter",
        calls="scatter (i in range(4)) { call work { input: i = i } }",
        command="echo ~{i}",
        runtime="awsBatchRetryAttempts: 3",
    ),
    "chaos_failing": _TASK.format(
        name="chaos_failing",
        calls="scatter (i in range(3)) { call work { input: i = i } }",
        command="exit ~{if i == 1 then 3 else 0}",
        runtime="",
    ),
    "chaos_retried": _TASK.format(
        name="chaos_retried", calls="call work", command="echo again", runtime="maxRetries: 2"
    ),
    "chaos_refused": _TASK.format(
        name="chaos_refused", calls="call works", command="true", runtime=""
    ),
}
"""Workflows by their names: what goes well, what Batch or Cromwell retries, what fails,
and what is never started, as it calls a task that is not there."""


def chaos_of(seed: int) -> str:
    """Return the chaos of a seed: all that befalls events and requests, and one fate."""
    fate = FATES[seed % len(FATES)]
    return (
        f"seed={seed},duplicate=0.3,delay=0.1:2,reorder=0.4,lose=0.15,late-rc=0.2:1,lose-rc=0.05,"
        f"{fate}=0.3:0.2,down=0.1:1,slow=0.05:1,error=0.1:1,html=0.1:1,truncate=0.1:1,"
        "blocked=0.1:2"
    )


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What came of a seed.

    Parameters
    ----------
    seconds : float
        From the drops to the last notice.
    states : mapping
        The state of each bundle's run.
    problems : list of str
        What was not as it must be; empty, all was well.
    """

    seed: int
    seconds: float
    states: Mapping[str, str]
    problems: Sequence[str]


def trial(stack: LocalStack, seed: int) -> Trial:
    """Drop five mixed bundles under the chaos of a seed, and judge what was told of them."""
    from dropwell.drops import Drop

    began = time.monotonic()
    turn(stack, chaos_of(seed))
    runs: dict[str, str] = {}
    for name, source in _BUNDLES.items():
        bucket, key = stack.outputs["InboxBucket"], f"inbox/{_PROJECT}/{name}-{seed}.zip"
        body = _zipped(source)
        version = stack.client("s3").put_object(Bucket=bucket, Key=key, Body=body)["VersionId"]
        drop = Drop(bucket=bucket, key=key, version_id=version, size=len(body))
        runs[name] = drop.run_id
    problems = _wait(stack, runs)
    seconds = time.monotonic() - began
    turn(stack, "")
    states = {name: _state(stack, run_id) for name, run_id in runs.items()}
    for name, run_id in runs.items():
        problems += [f"{name} {run_id}: {what}" for what in _wrong(stack, name, run_id)]
    return Trial(seed=seed, seconds=seconds, states=states, problems=problems)


def turn(stack: LocalStack, chaos: str) -> None:
    """Turn the dial of the stack's Cromwell."""
    request = urllib.request.Request(
        f"{stack.cromwell_url}/dropwell/chaos", chaos.encode(), method="PUT"
    )
    with urllib.request.urlopen(request, timeout=10):
        pass


def _wait(stack: LocalStack, runs: Mapping[str, str]) -> list[str]:
    """Wait until all is told; the sweep is called as the schedule would, only sooner."""
    deadline = time.monotonic() + _PATIENCE_S
    left = dict(runs)
    while left and time.monotonic() < deadline:
        for run_id in left.values():
            _hurry(stack, run_id)
        stack.client("lambda").invoke(
            FunctionName=stack.outputs["StatusWatcherFunction"],
            Payload=json.dumps({"source": "aws.events", "detail-type": "Scheduled Event"}),
        )
        time.sleep(_ASK_AGAIN_S)
        for name, run_id in list(left.items()):
            said = {kind for kind, notice in _notices(stack, run_id).items() if notice}
            if said & {"ended", "rejected"} and _mails(stack, run_id).keys() >= said:
                del left[name]
    return [f"{name} {run_id}: nobody heard how it ended" for name, run_id in left.items()]


def _hurry(stack: LocalStack, run_id: str) -> None:
    """Let a run be asked about, or sent, now rather than in some minutes."""
    table = stack.client("dynamodb")
    with contextlib.suppress(table.exceptions.ConditionalCheckFailedException):
        table.update_item(
            TableName=stack.outputs["Table"],
            Key={"pk": {"S": run_id}, "sk": {"S": "RUN"}},
            UpdateExpression="SET due_at = :now",
            ConditionExpression="due_kind IN (:poll, :submit) AND due_at > :now",
            ExpressionAttributeValues={
                ":now": {"N": str(int(time.time()))},
                ":poll": {"S": "POLL"},
                ":submit": {"S": "SUBMIT"},
            },
        )


def _wrong(stack: LocalStack, name: str, run_id: str) -> Iterator[str]:
    """Yield what is not as it must be with a run that has ended."""
    state = _state(stack, run_id)
    right = "REJECTED" if name == "chaos_refused" else _STATES.get(_cromwell(stack, run_id), "?")
    if state != right:
        yield f"is {state}, should be {right}"
    if name == "chaos_failing" and state == "COMPLETE":
        yield "completed with a task that fails"
    kinds, mails = _notices(stack, run_id), _mails(stack, run_id)
    last = "rejected" if name == "chaos_refused" else "ended"
    must = {last} if last == "rejected" else {"accepted", last}
    if not must <= kinds.keys():
        yield f"has the notices {sorted(kinds)}, without {sorted(must - kinds.keys())}"
    if last == "ended" and "rejected" in kinds:
        yield "was rejected, too"
    for kind, said in kinds.items():
        if said and kind not in mails:
            yield f"{kind} counts as said, and nobody heard it"
        # That a run fails is not said any more once it is told how the run ended.
        if not said and kind != "failing":
            yield f"{kind} was recorded and never said"
    for kind in mails.keys() - kinds.keys():
        yield f"{kind} was said and is not on record"
    for kind, ids in mails.items():
        if len(ids) > 1:
            yield f"{kind} was said with the ids {sorted(ids)}"


def _items(stack: LocalStack, run_id: str) -> Iterator[Mapping[str, Any]]:
    pages = (
        stack.client("dynamodb")
        .get_paginator("query")
        .paginate(
            TableName=stack.outputs["Table"],
            KeyConditionExpression="pk = :run",
            ExpressionAttributeValues={":run": {"S": run_id}},
        )
    )
    for page in pages:
        yield from page["Items"]


def _state(stack: LocalStack, run_id: str) -> str:
    found = (item for item in _items(stack, run_id) if item["sk"]["S"] == "RUN")
    return next((str(item["state"]["S"]) for item in found), "unknown")


def _notices(stack: LocalStack, run_id: str) -> dict[str, bool]:
    """Return the kinds of a run's notices on record, and whether each was said."""
    found = (item for item in _items(stack, run_id) if item["sk"]["S"].startswith("NOTICE#"))
    return {item["sk"]["S"].removeprefix("NOTICE#"): "said_at" in item for item in found}


def _mails(stack: LocalStack, run_id: str) -> dict[str, set[str]]:
    """Return the ids with which each kind of notice of a run was said."""
    said: dict[str, set[str]] = {}
    for mail in stack.mails():
        notice_id = mail.attributes.get("notice_id", "")
        if notice_id.startswith(run_id):
            said.setdefault(notice_id.removeprefix(f"{run_id}/"), set()).add(notice_id)
    return said


def _cromwell(stack: LocalStack, run_id: str) -> str:
    url = f"{stack.cromwell_url}/api/workflows/v1/{run_id}/status"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(json.load(answer)["status"])


def _zipped(source: str) -> bytes:
    folded = io.BytesIO()
    with zipfile.ZipFile(folded, "w") as archive:
        archive.writestr("main.wdl", source)
    return folded.getvalue()


def seeds_of(text: str) -> range:
    """Read ``1-50``, or one number.

    >>> list(seeds_of("3-5")), list(seeds_of("7"))
    ([3, 4, 5], [7])
    """
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def main(seeds: range, say: Callable[[str], None]) -> int:
    """Try seeds on a stack of their own; return how many showed a problem."""
    bad = 0
    with (
        tempfile.TemporaryDirectory(prefix="dropwell-chaos-") as work,
        local_stack(Path(work), cromwell=QUICK, say=say) as stack,
    ):
        for seed in seeds:
            tried = trial(stack, seed)
            counts = Counter(tried.states.values())
            ends = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
            say(f"seed {seed:3}  {tried.seconds:5.1f} s  {ends}")
            for problem in tried.problems:
                say(f"    {problem}")
            bad += bool(tried.problems)
    say(f"{len(seeds)} seeds, {bad} with a problem")
    return bad


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(1 if main(seeds_of(sys.argv[1] if sys.argv[1:] else "1-50"), _say) else 0)
