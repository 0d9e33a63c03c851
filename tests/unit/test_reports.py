"""The files beside a bundle: receipt, status, the report of a rejection, failed calls."""

from __future__ import annotations

import json
from dataclasses import replace

from dropwell.calls import CallId
from dropwell.ports import FailedCall
from dropwell.preflight import Finding, Severity
from dropwell.reports import (
    failed_calls_page,
    outputs_page,
    receipt,
    rejection_page,
    rejection_record,
    status_page,
)
from dropwell.runs import Run, State

RUN = Run(
    run_id="r",
    project="cardio",
    name="wgs",
    bucket="inbox",
    key="inbox/cardio/wgs.zip",
    version_id="v1",
    size=7,
    sha256="ab",
    principal="AWS:AROA:alice",
    dropped_at=1_714_564_800,
    submitted_at=1_714_564_860,
    labels=(("team", "heart"),),
    workflow="WGS",
)
UNKNOWN = Finding(
    rule="unknown-input",
    message='unknown input "WGS.x"',
    file="inputs.json",
    line=7,
    advice="remove it",
)
ODD = Finding(rule="odd", message="odd but legal", severity=Severity.WARNING)


def test_a_receipt_says_what_was_taken_from_whom_and_as_which_run():
    told = json.loads(receipt(RUN))
    assert told["run_id"] == "r"
    assert told["dropped"] == {
        "object": "s3://inbox/inbox/cardio/wgs.zip",
        "version_id": "v1",
        "bytes": 7,
        "sha256": "ab",
        "by": "AWS:AROA:alice",
        "at": "2024-05-01T12:00:00Z",
    }
    assert told["submitted_at"] == "2024-05-01T12:01:00Z"
    assert told["labels"] == {"team": "heart"}


def test_what_is_not_known_is_left_out():
    told = json.loads(status_page(replace(RUN, submitted_at=0)))
    assert set(told) == {"run_id", "project", "name", "workflow", "state"}


def test_a_status_says_what_is_waited_for_and_what_went_wrong():
    run = replace(RUN, waiting="connection refused", failures=("no",), warnings=("odd",))
    told = json.loads(status_page(run))
    assert told["waiting"] == "waiting for Cromwell: connection refused"
    assert (told["failures"], told["warnings"]) == (["no"], ["odd"])


class TestARejection:
    rejected = replace(RUN, state=State.REJECTED)

    def test_for_people_lists_errors_first_and_warnings_apart(self):
        page = rejection_page(self.rejected, [ODD, UNKNOWN])
        assert page.startswith("# wgs was not started: 1 problem\n")
        assert '1. inputs.json:7  unknown input "WGS.x"\n   remove it' in page
        assert page.index("unknown input") < page.index("Worth a look as well") < page.index("odd")
        assert page.endswith("Mend it and drop it again under inbox/cardio/.\n")

    def test_for_people_says_where_it_was_only_to_be_checked(self):
        checked = Finding(rule="dry-run", message="only checked", severity=Severity.WARNING)
        page = rejection_page(self.rejected, [checked, ODD])
        assert page.startswith("# wgs was not started: only checked\n")
        assert page.index("1. only checked") < page.index("Worth a look") < page.index("1. odd")
        assert page.endswith("drop it again without dryRun under inbox/cardio/.\n")

    def test_for_people_counts(self):
        assert "2 problems" in rejection_page(self.rejected, [UNKNOWN, UNKNOWN])
        assert "Worth a look" not in rejection_page(self.rejected, [UNKNOWN])

    def test_for_people_leaves_markdown_nothing_to_do(self):
        hostile = replace(UNKNOWN, message="[click](http://x) <script> `rm` #1 *now*")
        page = rejection_page(self.rejected, [hostile])
        assert "\\[click\\](http://x) \\<script\\> \\`rm\\` \\#1 \\*now\\*" in page

    def test_for_programs_tells_every_finding_with_its_place(self):
        told = json.loads(rejection_record(self.rejected, [UNKNOWN, ODD]))
        assert told["findings"][0] == {
            "rule": "unknown-input",
            "severity": "ERROR",
            "file": "inputs.json",
            "line": 7,
            "column": None,
            "message": 'unknown input "WGS.x"',
            "advice": "remove it",
        }
        assert told["findings"][1]["severity"] == "WARNING"


def test_failed_calls_are_told_in_cromwells_words():
    call = FailedCall(
        fqn="wgs.align",
        call_id=CallId("r", "align", 3, 2),
        execution_status="Failed",
        return_code=1,
        messages=("outer", "größe"),
        stderr="s3://b/e",
    )
    [told] = json.loads(failed_calls_page([call]))
    assert (told["call"], told["shard"], told["attempt"]) == ("wgs.align", 3, 2)
    assert told["messages"] == ["outer", "größe"]
    assert call.lasting
    assert not replace(call, execution_status="RetryableFailure").lasting


def test_outputs_are_kept_as_they_are():
    outputs = {"wgs.bam": "s3://b/größe.bam", "wgs.n": 3}
    assert json.loads(outputs_page(outputs)) == outputs
    assert "größe" in outputs_page(outputs)
