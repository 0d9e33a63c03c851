"""What people and machines read of a run: every kind of notice at every detail.

The mails and events in ``golden/notices`` are what they read, and
``docs/notices.md`` shows them. After a change on purpose, write both anew and
read the difference before committing it::

    DROPWELL_GOLDEN=write pytest tests/unit/test_notices.py
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropwell import mails, notices
from dropwell.blockages import Blockage, blocked_event
from dropwell.calls import CallId
from dropwell.causes import Cause, Evidence
from dropwell.notices import Detail, Facts, Group, Kind, attributes
from dropwell.runs import State
from dropwell.summaries import summarise

GOLDEN = Path(__file__).parent / "golden" / "notices"
PAGE = Path(__file__).parents[2] / "docs" / "notices.md"
WRITE = os.environ.get("DROPWELL_GOLDEN") == "write"

RUN = "6f2c0d1e-58a4-5d0c-9f4e-2b8f6a0c3d11"
ENDED_AT = 1_795_542_240  # 2026-11-24 17:44 UTC
STARTED_AT = ENDED_AT - (3 * 60 + 42) * 60
CALLS = f"s3://lab-cromwell/cromwell-execution/WGS/{RUN}"

OUT_OF_MEMORY = summarise(
    CallId(RUN, "MarkDuplicates", 17),
    Evidence(
        job_status="FAILED",
        exit_code=137,
        rc_present=False,
        memory_mib=8192,
        container_reason="OutOfMemoryError: Container killed due to memory usage",
        job_log="INFO MarkDuplicates Read 120,000,000 records.\n"
        "INFO MarkDuplicates Tracking 1204 as yet unmatched pairs.\n",
    ),
    run_id=RUN,
    job_id="0b6d2f0e-1c1f-4a51-8a8e-0d1f8a6f7b10",
    log_group="/aws/batch/job",
    log_stream="cromwell_picard/default/0a1b2c3d",
)
TASK_ERROR = summarise(
    CallId(RUN, "align", 4),
    Evidence(
        job_status="FAILED",
        return_code=1,
        exit_code=1,
        rc_present=True,
        stderr="".join(f"[M::process] read {n}0000 sequences\n" for n in range(1, 60))
        + "[E::bwa_idx_load] fail to locate the index files of NA12891\n",
    ),
    run_id=RUN,
    stderr_url=f"{CALLS}/call-align/shard-4/align-4-stderr.log",
    stdout_url=f"{CALLS}/call-align/shard-4/align-4-stdout.log",
    job_id="77aa5d5e-54ac-4c3b-9a34-6d2b2c1a9f00",
)

BASE = Facts(
    kind=Kind.ENDED,
    notice_id=f"{RUN}/ended",
    run_id=RUN,
    name="wgs-0412",
    project="cardio",
    state=State.COMPLETE,
    at=ENDED_AT,
    workflow="WGS",
    principal="AWS:AROAEXAMPLEID:alice@lab.org",
    dropped_at=STARTED_AT - 300,
    submitted_at=STARTED_AT - 240,
    started_at=STARTED_AT,
    ended_at=ENDED_AT,
    calls_done=340,
    calls_failed=0,
    calls_total=340,
    run_folder=f"s3://lab-inbox/runs/cardio/wgs-0412/{RUN}/",
)


def group(example, count, shards=""):
    return Group(
        signature=example.signature,
        cause=example.cause,
        count=count,
        example=example,
        shards=shards,
    )


SCENES = {
    "accepted": replace(
        BASE,
        kind=Kind.ACCEPTED,
        state=State.QUEUED,
        at=STARTED_AT - 240,
        started_at=0,
        ended_at=0,
        calls_total=None,
        warnings=(
            'options.json:3  the option "read_from_cahce" is not known. '
            'Did you mean "read_from_cache"?',
            "the same bundle already runs as wgs-0411 (0f6e2b1a-3c55-5d10-8a86-5a7f4f0f9b21)",
        ),
    ),
    "accepted-waiting": replace(
        BASE,
        kind=Kind.ACCEPTED,
        state=State.QUEUED,
        at=STARTED_AT - 240,
        submitted_at=0,
        started_at=0,
        ended_at=0,
        calls_total=None,
        waiting="Cromwell does not answer",
    ),
    "failing": replace(
        BASE,
        kind=Kind.FAILING,
        state=State.RUNNING,
        at=STARTED_AT + 7800,
        ended_at=0,
        calls_done=121,
        calls_failed=1,
        still_running=38,
        groups=(group(OUT_OF_MEMORY, 1),),
    ),
    "ended-complete": replace(BASE, calls_cached=12, outputs=14, outputs_bytes=1_200_000_000),
    "ended-failed": replace(
        BASE,
        state=State.EXECUTOR_ERROR,
        calls_done=337,
        calls_failed=3,
        groups=(group(OUT_OF_MEMORY, 3, "shards 17, 203, 311"),),
    ),
    "ended-failed-two-causes": replace(
        BASE,
        state=State.EXECUTOR_ERROR,
        calls_done=301,
        calls_failed=39,
        groups=(
            group(TASK_ERROR, 36, "shards 4, 5, 6 and 33 more"),
            group(OUT_OF_MEMORY, 3, "shards 17, 203, 311"),
        ),
    ),
    "ended-failed-no-call": replace(
        BASE,
        state=State.EXECUTOR_ERROR,
        calls_done=0,
        calls_total=0,
        ended_at=STARTED_AT + 9,
        failures=(
            "Failed to evaluate 'WGS.groups' (reason 1 of 1): Evaluating read_tsv(groups) failed: "
            "No such file or directory: s3://lab-data/cohort/groups.tsv",
        ),
    ),
    "ended-canceled": replace(
        BASE, state=State.CANCELED, calls_done=121, still_running=38, at=ENDED_AT
    ),
    "ended-lost": replace(
        BASE,
        state=State.SYSTEM_ERROR,
        calls_done=121,
        still_running=2,
    ),
    "rejected": replace(
        BASE,
        kind=Kind.REJECTED,
        state=State.REJECTED,
        name="wgs-0413",
        at=STARTED_AT,
        workflow="",
        submitted_at=0,
        started_at=0,
        ended_at=0,
        calls_total=None,
        run_folder="",
        report=f"s3://lab-inbox/rejected/cardio/wgs-0413/{RUN}/",
        findings=(
            'inputs.json:7  unknown input "WGS.ref_fata". Did you mean "WGS.ref_fasta"?',
            'inputs.json:12  "WGS.depth" is a String; the workflow wants Int',
        ),
    ),
}
SCENES = {name: replace(facts, notice_id=f"{RUN}/{facts.kind}") for name, facts in SCENES.items()}
SCENES |= {
    "blocked-capacity": Blockage(
        queue="arn:aws:batch:eu-west-1:123456789012:job-queue/dropwell-spot",
        reason="CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill the capacity"
        " requested for instance type [r6i.24xlarge]",
        at=STARTED_AT,
        job_name="wgs_Assemble",
        vcpus="96",
        memory_mib=786_432,
        run_id=RUN,
    ),
    "blocked-misconfigured": Blockage(
        queue="dropwell-spot",
        reason="MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement"
        " (vCPU/memory/GPU) is higher than that can be met by the CE(s) attached to the job queue.",
        at=STARTED_AT,
        job_name="wgs_Assemble",
        vcpus="448",
        memory_mib=12_000_000,
        run_id=RUN,
    ),
}
OF_RUNS = [scene for scene, told in SCENES.items() if isinstance(told, Facts)]
GOLDENS = [(scene, detail) for scene in SCENES for detail in Detail]


def mail(told, detail):
    if isinstance(told, Blockage):
        return mails.blocked_mail(told, detail)
    return mails.mail(told, detail)


def event(told):
    return blocked_event(told) if isinstance(told, Blockage) else notices.event(told)


def shown(facts, detail):
    subject, body = mail(facts, detail)
    return f"Subject: {subject}\n\n{body}"


def text(facts, detail=Detail.STANDARD):
    """Return a mail's body as one line, its breaks left out."""
    return " ".join(mail(facts, detail).body.split())


@pytest.mark.parametrize(("scene", "detail"), GOLDENS)
def test_a_mail_reads_as_it_should(scene, detail):
    golden(f"{scene}.{detail}.txt", shown(SCENES[scene], detail))


@pytest.mark.parametrize("scene", SCENES)
def test_an_event_reads_as_it_should_and_fits_its_schema(scene):
    detail_type, detail = event(SCENES[scene])
    fits(detail_type, detail)
    document = {"detail-type": detail_type, "detail": detail}
    golden(f"{scene}.event.json", json.dumps(document, indent=2) + "\n")


def golden(name, text):
    if WRITE:
        GOLDEN.mkdir(parents=True, exist_ok=True)
        (GOLDEN / name).write_text(text, "utf-8")
    assert text == (GOLDEN / name).read_text("utf-8")


def fits(detail_type, detail):
    name = detail_type.lower().replace(" ", "-") + ".json"
    schema = json.loads((files("dropwell") / "schemas" / name).read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["title"] == detail_type
    jsonschema.Draft202012Validator(schema).validate(detail)
    for part in ("metadata", "data"):
        assert set(detail[part]) <= set(schema["properties"][part]["properties"])
    for failure in detail["data"].get("failures", ()):
        assert set(failure) == set(schema["$defs"]["failure"]["properties"])


def test_no_golden_is_left_over():
    names = {f"{scene}.{detail}.txt" for scene, detail in GOLDENS}
    names |= {f"{scene}.event.json" for scene in SCENES}
    assert {path.name for path in GOLDEN.iterdir()} == names


@pytest.mark.parametrize("scene", SCENES)
def test_the_page_shows_the_mail(scene):
    begin, end = f"<!-- {scene} -->", f"<!-- end of {scene} -->"
    mails = [shown(SCENES[scene], Detail.STANDARD).rstrip()]
    block = f"{begin}\n```\n" + "\n".join(mails) + f"\n```\n{end}"
    text = PAGE.read_text("utf-8")
    if WRITE:
        text = re.sub(f"{begin}.*?{end}", lambda _: block, text, flags=re.DOTALL)
        PAGE.write_text(text, "utf-8")
    assert block in text


class TestEveryMail:
    @pytest.fixture(params=GOLDENS, ids=lambda param: f"{param[0]}.{param[1]}")
    def sent(self, request):
        scene, detail = request.param
        return mail(SCENES[scene], detail)

    def test_has_a_subject_that_sns_takes(self, sent):
        assert len(sent.subject) < 100
        assert sent.subject.isascii()
        assert sent.subject.isprintable()

    def test_says_nothing_that_is_unknown(self, sent):
        assert not re.search(r"\bNone\b|\{\w*\}|\bnull\b", sent.subject + sent.body)

    def test_does_not_shout(self, sent):
        assert "!" not in sent.subject + sent.body

    def test_breaks_its_lines_where_it_can(self, sent):
        long = [line for line in sent.body.splitlines() if len(line) > 72]
        assert all("s3://" in line or line.startswith(("  ", "Log:", "Run:")) for line in long)


class TestMinimal:
    @pytest.mark.parametrize("scene", SCENES)
    def test_says_nothing_that_a_task_wrote_nor_an_input(self, scene):
        body = mail(SCENES[scene], Detail.MINIMAL).body
        told = "Tracking|bwa_idx|NA12891|groups.tsv|WGS.depth|ref_fata|read_from_cahce|stderr:"
        assert not re.search(told, body)

    @pytest.mark.parametrize("scene", SCENES)
    def test_the_subject_is_the_same_at_every_detail(self, scene):
        assert len({mail(SCENES[scene], detail).subject for detail in Detail}) == 1

    def test_still_names_cause_actor_and_next_step(self):
        body = mail(SCENES["ended-failed"], Detail.MINIMAL).body
        assert "Why: MarkDuplicates shard 17 asked 8 GB" in body
        assert "Who acts: pipeline author. Next: raise its memory (16 GB)" in body


class TestDetail:
    def test_standard_shows_eight_lines_and_full_forty(self):
        scene = SCENES["ended-failed-two-causes"]
        count = {detail: mail(scene, detail).body.count("[M::process]") for detail in Detail}
        assert count == {Detail.MINIMAL: 0, Detail.STANDARD: 7, Detail.FULL: 39}

    def test_many_causes_are_cut_and_counted(self):
        groups = tuple(group(TASK_ERROR, count) for count in range(9, 0, -1))
        facts = replace(SCENES["ended-failed"], groups=groups)
        body = mail(facts, Detail.STANDARD).body
        assert "Cause 3 of 9" in body
        assert "Cause 4 of 9" not in body
        assert "And 6 more causes: see the run folder." in body

    def test_many_findings_are_cut_and_counted(self):
        findings = tuple(f"inputs.json:{n}  bad" for n in range(2000))
        facts = replace(SCENES["rejected"], findings=findings)
        assert "And 1,980 more: see the report." in mail(facts, Detail.STANDARD).body

    def test_many_messages_are_cut_and_counted(self):
        facts = replace(SCENES["ended-failed-no-call"], failures=tuple("abcdefg"))
        assert "  and 4 more" in mail(facts, Detail.STANDARD).body


class TestUnknowns:
    BARE = Facts(
        kind=Kind.ENDED, notice_id="n", run_id=RUN, name="n", project="p", state=State.COMPLETE
    )

    @pytest.mark.parametrize("kind", sorted(set(Kind) - {Kind.BLOCKED}))
    @pytest.mark.parametrize("state", State)
    @pytest.mark.parametrize("detail", Detail)
    def test_are_left_out_of_every_mail(self, kind, state, detail):
        sent = mail(replace(self.BARE, kind=kind, state=state), detail)
        assert not re.search(r"None|1970| ,| \.|  by|: *$", sent.subject + "\n" + sent.body, re.M)
        assert RUN in sent.body

    @pytest.mark.parametrize(
        "kind", sorted(set(Kind) - {Kind.FAILING, Kind.REJECTED, Kind.BLOCKED})
    )
    @pytest.mark.parametrize("state", sorted(set(State) - {State.REJECTED}))
    def test_are_left_out_of_every_event(self, kind, state):
        fits(*event(replace(self.BARE, kind=kind, state=state)))

    def test_a_run_canceled_before_it_was_sent(self):
        assert "nothing ran, nothing was charged" in text(replace(self.BARE, state=State.CANCELED))

    def test_a_run_of_which_nothing_runs_any_more(self):
        facts = replace(SCENES["ended-canceled"], still_running=0)
        assert "Nothing of it runs any more." in text(facts)

    def test_a_single_job_is_counted_as_one(self):
        facts = replace(SCENES["ended-canceled"], still_running=1)
        assert "1 job is still to be stopped, and billed until it ends." in text(facts)

    def test_failed_calls_of_unknown_cause_are_counted_all_the_same(self):
        facts = replace(BASE, state=State.EXECUTOR_ERROR, calls_failed=2)
        assert "340 of 340 calls done; 2 failed. Why: 2 calls failed, and what was" in text(facts)

    def test_a_call_that_failed_is_no_workflow_error_though_nobody_has_looked_into_it(self):
        facts = replace(
            BASE,
            state=State.EXECUTOR_ERROR,
            calls_failed=1,
            failures=("Workflow failed", "Job w.t:NA:1 exited with return code 1"),
        )
        assert mail(facts, Detail.STANDARD).subject.endswith("unexplained failure")
        assert "Cromwell says:\n  Job w.t" in mail(facts, Detail.STANDARD).body

    def test_a_call_that_wrote_nothing_is_said_to(self):
        silent = group(replace(TASK_ERROR, tail=(), return_code=3), 1)
        facts = replace(SCENES["ended-failed"], groups=(silent,))
        assert "It wrote nothing to stderr or stdout." in text(facts)
        assert "It wrote nothing" not in mail(facts, Detail.MINIMAL).body

    def test_a_drop_that_was_only_to_be_checked_has_no_problem(self):
        facts = replace(SCENES["rejected"], findings=(), warnings=("main.wdl:3  odd",))
        sent = mail(facts, Detail.STANDARD)
        assert sent.subject == "[cardio] Not started: wgs-0413, only checked"
        assert "manifest asks. It can run. Worth a look as well: 1. main.wdl:3" in text(facts)
        assert "To run it, drop it again without dryRun." in sent.body
        assert attributes(facts)["severity"] == "info"

    def test_warnings_of_a_rejected_drop_are_told_apart_from_its_problems(self):
        facts = replace(SCENES["rejected"], warnings=("inputs.json:9  odd",))
        assert "2 problems in inputs" in mail(facts, Detail.STANDARD).subject
        assert "Worth a look as well: 1. inputs.json:9 odd Fix and drop" in text(facts)

    def test_a_lost_run_is_lost_whatever_failed_before(self):
        facts = replace(SCENES["ended-lost"], groups=SCENES["ended-failed"].groups)
        assert facts.cause is Cause.LOST_UPSTREAM
        assert mail(facts, Detail.STANDARD) == mail(SCENES["ended-lost"], Detail.STANDARD)

    def test_a_rejection_without_a_report_names_none(self):
        assert "Fix and drop again. Dropped" in text(replace(SCENES["rejected"], report=""))

    def test_a_run_on_hold_says_so(self):
        facts = replace(SCENES["accepted"], state=State.PAUSED)
        assert "It is on hold, as its manifest asks, until somebody releases it." in text(facts)
        assert f"Release it: dropwell release {RUN} Stop it" in text(facts)

    def test_a_job_without_a_log_stream_has_no_log_to_look_at(self):
        call = replace(OUT_OF_MEMORY, log_stream="", tail=(), evidence=(), confidence="guess")
        body = mail(replace(SCENES["ended-failed"], groups=(group(call, 1),)), Detail.FULL).body
        assert not re.search("Log:|Last lines|Evidence", body)
        assert "Why (a guess): MarkDuplicates shard 17" in body

    def test_a_complete_run_without_outputs_or_folder_lists_none(self):
        assert "Outputs" not in text(replace(BASE, outputs=0))
        assert "Outputs: 3 Run:" in text(
            replace(BASE, outputs=3, run_folder="", outputs_bytes=None)
        )

    def test_a_failed_run_that_nobody_can_explain(self):
        sent = mail(replace(self.BARE, state=State.EXECUTOR_ERROR), Detail.STANDARD)
        assert sent.subject == "[p] FAILED: n, unexplained failure"
        assert "Why: nothing that was found says" in sent.body

    def test_a_refusal_in_cromwells_own_words(self):
        facts = replace(SCENES["rejected"], findings=(), failures=("Error(s): no source",))
        sent = mail(facts, Detail.STANDARD)
        assert sent.subject == "[cardio] Not started: wgs-0413, refused"
        assert "Cromwell says:\n  Error(s): no source\n" in sent.body

    def test_a_date_is_given_where_it_is_of_another_day(self):
        facts = replace(SCENES["accepted"], dropped_at=STARTED_AT - 86_400)
        assert "Dropped 23 Nov 14:02 UTC by alice@lab.org." in mail(facts, Detail.STANDARD).body

    def test_an_end_before_its_start_has_no_length(self):
        facts = replace(BASE, ended_at=STARTED_AT - 9)
        assert mail(facts, Detail.STANDARD).body.startswith("Ended 14:01 UTC. 340 of 340")


class TestProblemsInTheSubject:
    @pytest.mark.parametrize(
        ("findings", "said"),
        [
            (("inputs.json:7  x",), "1 problem in inputs"),
            (("a/inputs_2.json  x", "inputs.json:1:2  y"), "2 problems in inputs"),
            (("main.wdl:3  x",), "1 problem in the WDL"),
            (("my main.wdl:3  x",), "1 problem in the WDL"),
            (("options.json  x",), "1 problem in options"),
            (("labels.json:2  x",), "1 problem in labels"),
            (("more than 10,000 entries",), "1 problem in the bundle"),
            (("inputs.json:7  x", "main.wdl:3  y"), "2 problems"),
        ],
    )
    def test_name_the_place_where_it_is_one(self, findings, said):
        sent = mail(replace(SCENES["rejected"], findings=findings), Detail.STANDARD)
        assert sent.subject == f"[cardio] Not started: wgs-0413, {said}"


class TestHostileNames:
    NAME = "wgs\r\nBcc: x\x1b[31m\u202e<!channel>" + "é" * 300

    @pytest.mark.parametrize("scene", OF_RUNS)
    @pytest.mark.parametrize("detail", Detail)
    def test_change_nothing_but_the_name(self, scene, detail):
        facts = replace(SCENES[scene], name=self.NAME, project=self.NAME, workflow=self.NAME)
        sent = mail(facts, detail)
        assert len(sent.subject) < 100
        assert sent.subject.isascii()
        assert sent.subject.isprintable()
        assert "<!channel>" not in sent.subject + sent.body
        assert "\r" not in sent.body
        assert "\x1b" not in sent.body
        fits(*event(facts))

    def test_that_are_not_ascii_at_all_give_way_to_the_run_id(self):
        assert mail(replace(BASE, name="日本"), Detail.MINIMAL).subject == (
            "[cardio] Complete: run 6f2c0d1e"
        )
        assert mail(replace(BASE, project="日本"), Detail.MINIMAL).subject == (
            "[default] Complete: wgs-0412"
        )

    def test_a_tail_calls_nobody(self):
        call = summarise(
            CallId(RUN, "align"),
            Evidence(return_code=1, stderr="<!here> see https://me:secret@h/x"),
            run_id=RUN,
        )
        facts = replace(SCENES["ended-failed"], groups=(group(call, 1),))
        assert "  < !here> see https://[redacted]@h/x" in mail(facts, Detail.STANDARD).body

    @given(st.text(), st.text())
    def test_no_text_breaks_a_mail(self, name, finding):
        facts = replace(SCENES["rejected"], name=name, findings=(finding,))
        assert mail(facts, Detail.FULL).subject.isascii()
        assert mail(facts, Detail.FULL).body.encode()


class TestAttributes:
    def test_are_what_subscribers_filter_on(self):
        assert attributes(SCENES["ended-failed"]) == {
            "kind": "ended",
            "state": "EXECUTOR_ERROR",
            "severity": "error",
            "cause": "OUT_OF_MEMORY",
            "workflow": "WGS",
            "project": "cardio",
        }

    def test_are_left_out_where_empty_for_sns_refuses_those(self):
        assert attributes(replace(BASE, workflow="")) == {
            "kind": "ended",
            "state": "COMPLETE",
            "severity": "info",
            "project": "cardio",
        }

    @pytest.mark.parametrize(
        ("scene", "severity", "cause"),
        [
            ("accepted", "warning", None),
            ("accepted-waiting", "info", None),
            ("failing", "error", Cause.OUT_OF_MEMORY),
            ("ended-failed-no-call", "error", Cause.WORKFLOW_ERROR),
            ("ended-canceled", "warning", None),
            ("ended-lost", "critical", Cause.LOST_UPSTREAM),
            ("rejected", "error", None),
        ],
    )
    def test_tell_how_bad_it_is_and_why(self, scene, severity, cause):
        assert (SCENES[scene].severity, SCENES[scene].cause) == (severity, cause)


class TestEvents:
    def test_carry_no_log_text_no_input_and_no_finding(self):
        for scene in SCENES.values():
            document = json.dumps(event(scene))
            assert not re.search(r"Tracking|bwa_idx|NA12891|groups\.tsv|ref_fata|depth", document)

    def test_count_what_they_do_not_list(self):
        groups = tuple(group(TASK_ERROR, 1) for _ in range(50))
        data = event(replace(SCENES["ended-failed"], groups=groups))[1]["data"]
        assert len(data["failures"]) == 20

    def test_name_every_cause_that_there_is(self):
        schema = json.loads(
            (files("dropwell") / "schemas" / "run-state-change.json").read_text("utf-8")
        )
        assert schema["$defs"]["cause"]["enum"] == [cause.value for cause in Cause]
