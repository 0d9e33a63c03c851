"""The files we leave beside a bundle for its owner: receipt, status, report of a rejection."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from dropwell.ports import FailedCall
from dropwell.preflight import Finding, Severity
from dropwell.runs import Run


def _time(at: int) -> str | None:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}" if at else None


def _page(facts: dict[str, Any]) -> str:
    told = {name: value for name, value in facts.items() if value not in (None, "", [], {})}
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


def receipt(run: Run) -> str:
    """Return ``receipt.json``: what was taken, from whom, and as which run."""
    return _page(
        {
            "run_id": run.run_id,
            "project": run.project,
            "name": run.name,
            "workflow": run.workflow,
            "dropped": {
                "object": run.drop.uri,
                "version_id": run.version_id,
                "bytes": run.size,
                "sha256": run.sha256,
                "by": run.principal,
                "at": _time(run.dropped_at),
            },
            "submitted_at": _time(run.submitted_at),
            "labels": dict(run.labels),
            "warnings": list(run.warnings),
        }
    )


def status_page(run: Run) -> str:
    """Return ``status.json``: how the run is, as far as we know."""
    return _page(
        {
            "run_id": run.run_id,
            "project": run.project,
            "name": run.name,
            "workflow": run.workflow,
            "state": run.state.value,
            "cromwell_status": run.cromwell_status,
            "waiting": f"waiting for {run.waits_for}: {run.waiting}" if run.waiting else None,
            "abort_asked_at": _time(run.abort_at),
            "submitted_at": _time(run.submitted_at),
            "started_at": _time(run.started_at),
            "ended_at": _time(run.ended_at),
            "cause": run.cause,
            "failures": list(run.failures),
            "warnings": list(run.warnings),
        }
    )


def rejection_record(run: Run, findings: Sequence[Finding]) -> str:
    """Return ``report.json``: every finding, for programs."""
    return _page(
        {
            "run_id": run.run_id,
            "project": run.project,
            "name": run.name,
            "object": run.drop.uri,
            "version_id": run.version_id,
            "findings": [
                {
                    "rule": finding.rule,
                    "severity": finding.severity.value,
                    "file": finding.file or None,
                    "line": finding.line,
                    "column": finding.column,
                    "message": finding.message,
                    "advice": finding.advice or None,
                }
                for finding in findings
            ],
        }
    )


def rejection_page(run: Run, findings: Sequence[Finding]) -> str:
    """Return ``report.md``: every finding, for people."""
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    warnings = [finding for finding in findings if finding.severity is Severity.WARNING]
    only_checked = not errors
    count = "1 problem" if len(errors) == 1 else f"{len(errors)} problems"
    lines = [
        f"# {run.name} was not started: {'only checked' if only_checked else count}",
        "",
        "Nothing ran and nothing was charged. The file you dropped is kept beside this report,",
        "exactly as it was.",
        "",
        *_listed(errors or [finding for finding in warnings if finding.rule == "dry-run"]),
    ]
    warnings = [finding for finding in warnings if finding.rule != "dry-run"]
    if warnings:
        lines += ["", "Worth a look as well:", "", *_listed(warnings)]
    again = (
        "To run it, drop it again without dryRun" if only_checked else "Mend it and drop it again"
    )
    lines += ["", f"{again} under inbox/{run.project}/.", ""]
    return "\n".join(lines)


def _listed(findings: Sequence[Finding]) -> list[str]:
    return [
        f"{number}. {_escaped(str(finding))}"
        + (f"\n   {_escaped(finding.advice)}" if finding.advice else "")
        for number, finding in enumerate(findings, start=1)
    ]


def _escaped(text: str) -> str:
    """Return text in which Markdown finds nothing to do."""
    return "".join("\\" + mark if mark in "\\`*_[]<>#|" else mark for mark in text)


def outputs_page(outputs: Mapping[str, Any]) -> str:
    """Return ``outputs.json``: the run's outputs as Cromwell gives them."""
    return json.dumps(outputs, indent=2, ensure_ascii=False) + "\n"


def failed_calls_page(calls: Sequence[FailedCall]) -> str:
    """Return ``failures/calls.json``: the calls that failed, in Cromwell's words."""
    return (
        json.dumps(
            [
                {
                    "call": call.fqn,
                    "workflow_id": call.call_id.workflow_id,
                    "shard": call.call_id.shard,
                    "attempt": call.call_id.attempt,
                    "execution_status": call.execution_status,
                    "return_code": call.return_code,
                    "job_id": call.job_id,
                    "messages": list(call.messages),
                    "stdout": call.stdout,
                    "stderr": call.stderr,
                }
                for call in calls
            ],
            indent=2,
            ensure_ascii=False,
        )
        + "\n"
    )
