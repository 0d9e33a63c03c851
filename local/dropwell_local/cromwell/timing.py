"""The timing page: a workflow's calls as bars on one axis, in plain HTML."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape

from dropwell_local.cromwell.store import Attempt, Workflow

_STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; margin: 2em; color: #222; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .2em .8em .2em 0; white-space: nowrap; }
td.bars { width: 60%; }
.bar { background: #5b8db8; height: 1em; min-width: 2px; }
.Failed, .RetryableFailure { background: #c2544d; }
.Aborted { background: #999; }
"""


def page(workflow: Workflow, calls: Sequence[Attempt], *, now: float) -> str:
    """Return the page; what still runs is drawn up to now.

    Parameters
    ----------
    now : float
        Seconds since 1970.
    """
    spans = [(one, *_span(one, now)) for one in calls if "start" in one.facts]
    name = workflow.facts.get("workflowName") or "workflow"
    title = escape(f"{name} {workflow.id}: {workflow.status}")
    first = min((begin for _, begin, _ in spans), default=0.0)
    whole = max((end for _, _, end in spans), default=0.0) - first or 1.0
    rows = "\n".join(_row(one, begin - first, end - begin, whole) for one, begin, end in spans)
    table = (
        "<table><tr><th>Call</th><th>Shard</th><th>Attempt</th><th>Status</th><th>Seconds</th>"
        f"<th></th></tr>\n{rows}\n</table>"
        if spans
        else "<p>No call has started.</p>"
    )
    return (
        f"<html><head><meta charset='utf-8'><title>{title}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{title}</h1>\n{table}\n"
        "<p>From the local Cromwell, which knows when calls started and ended and draws no "
        "phases within them.</p></body></html>"
    )


def _span(attempt: Attempt, now: float) -> tuple[float, float]:
    begin = datetime.fromisoformat(attempt.facts["start"]).timestamp()
    end = attempt.facts.get("end")
    return begin, max(begin, datetime.fromisoformat(end).timestamp() if end else now)


def _row(attempt: Attempt, after: float, seconds: float, whole: float) -> str:
    status = str(attempt.facts.get("executionStatus", ""))
    shard = "" if attempt.shard < 0 else attempt.shard
    cells = (attempt.fqn, shard, attempt.attempt, status, f"{seconds:.1f}")
    left, width = 100 * after / whole, 100 * seconds / whole
    bar = (
        f"<div class='bar {escape(status)}' "
        f"style='margin-left: {left:.2f}%; width: {width:.2f}%'></div>"
    )
    return (
        "<tr>"
        + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells)
        + f"<td class='bars'>{bar}</td></tr>"
    )
