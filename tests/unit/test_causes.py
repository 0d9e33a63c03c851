"""Why a call failed: each cause from what Batch, Cromwell and tasks really say."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from dropwell.causes import Actor, Cause, Evidence, judge, read_table, table

SOURCE = (files("dropwell") / "causes.json").read_text("utf-8")
SCHEMA = json.loads((files("dropwell") / "causes.schema.json").read_text("utf-8"))
PAGE = Path(__file__).parents[2] / "docs" / "causes.md"

EXITED = "Essential container in task exited"
OOM = "OutOfMemoryError: Container killed due to memory usage"
LOST = "Host EC2 (instance i-0f2f4b1b2c3d4e5f6) terminated."
TIMEOUT = "Job attempt duration exceeded timeout"
MISSING = (
    "download: s3://data/ref.fa to ../ref.fa\n"
    "fatal error: An error occurred (404) when calling the HeadObject operation: "
    'Key "s1/x.bam" does not exist\n'
    "*** LOCALIZATION FAILED ***\n"
)
DENIED = "fatal error: An error occurred (403) when calling the HeadObject operation: Forbidden"
ROLE = "arn:aws:sts::123456789012:assumed-role/cardio-jobs/0a1b2c3d4e5f"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
KEY_DENIED = (
    "download failed: s3://data/ref.fa to ../ref.fa An error occurred (AccessDenied) when calling "
    f"the GetObject operation: User: {ROLE} is not authorized to perform: kms:Decrypt on resource: "
    f"{KEY} because no identity-based policy allows the kms:Decrypt action\n"
)


def failed(**known):
    return Evidence(job_status="FAILED", **{"job_reason": EXITED} | known)


# What is seen, and the rule that must speak.
CASES = {
    "the task's own error": (
        failed(return_code=2, rc_present=True, exit_code=2, stderr="bwa: no reads\n"),
        "return-code",
    ),
    "the task's own error, on a Cromwell before 91 whose container exits 0": (
        Evidence(job_status="SUCCEEDED", return_code=1, rc_present=True, exit_code=0),
        "return-code",
    ),
    "out of memory, in Batch's words": (
        failed(container_reason=OOM, exit_code=137, rc_present=False),
        "batch-out-of-memory",
    ),
    "out of memory, with only the child killed": (
        failed(return_code=137, rc_present=True, exit_code=137, stderr="line 9: 31 Killed\n"),
        "killed-at-137",
    ),
    "killed, with nothing but the container's code": (
        failed(exit_code=137, rc_present=False),
        "killed-at-137",
    ),
    "a Java heap too small": (
        failed(
            return_code=1,
            rc_present=True,
            stderr="Exception in thread main java.lang.OutOfMemoryError: Java heap space\n",
        ),
        "task-out-of-memory",
    ),
    "a Python program without memory": (
        failed(return_code=1, rc_present=True, stderr="numpy.core._exceptions.MemoryError: x\n"),
        "task-out-of-memory",
    ),
    "a lost host": (
        failed(job_reason=LOST, rc_present=False),
        "batch-host-lost",
    ),
    "a lost host that is known to be spot": (
        failed(job_reason=LOST, rc_present=False, spot=True),
        "batch-host-lost-on-spot",
    ),
    "a lost host in the old form": (
        failed(job_reason="Host EC2 Terminated"),
        "batch-host-lost",
    ),
    "a spot task, in ECS's words": (
        failed(job_reason="Your Spot Task was interrupted.", exit_code=137),
        "batch-spot-interrupted",
    ),
    "an image that is not there": (
        failed(
            job_reason="Task failed to start",
            container_reason="CannotPullContainerError: Error response from daemon: "
            "manifest for quay.io/x/bwa:0.8 not found: manifest unknown",
        ),
        "batch-image-pull",
    ),
    "an image of a registry that counts": (
        failed(
            job_reason="Task failed to start",
            container_reason="CannotPullContainerError: toomanyrequests: You have reached your "
            "pull rate limit.",
        ),
        "batch-image-rate-limited",
    ),
    "a container that cannot start": (
        failed(
            job_reason="Task failed to start",
            container_reason="CannotStartContainerError: Error response from daemon: OCI runtime",
        ),
        "batch-container-start",
    ),
    "a worker's disk that is full before the start": (
        failed(
            job_reason="Task failed to start",
            container_reason="CannotPullContainerError: write /var/lib/docker/x: "
            "no space left on device",
        ),
        "batch-disk-full",
    ),
    "a timeout, which ends in SIGKILL where SIGTERM was not heeded": (
        failed(job_reason=TIMEOUT, exit_code=137, rc_present=False),
        "batch-timeout",
    ),
    "an abort": (
        failed(job_reason="cromwell abort called", exit_code=137, rc_present=False),
        "batch-aborted-by-cromwell",
    ),
    "SIGTERM from nobody knows where": (
        failed(return_code=143, rc_present=True, exit_code=143),
        "stopped-by-signal",
    ),
    "an input that is not there": (
        failed(exit_code=1, rc_present=False, job_log=MISSING),
        "log-input-missing",
    ),
    "an input that may not be read": (
        failed(exit_code=1, rc_present=False, job_log=DENIED),
        "log-input-denied",
    ),
    "an input whose key may not be used": (
        failed(exit_code=1, rc_present=False, job_log=KEY_DENIED),
        "log-input-key-denied",
    ),
    "an input whose key may not be used, in S3's older words": (
        failed(
            exit_code=1,
            rc_present=False,
            job_log="fatal error: An error occurred (AccessDenied) when calling the GetObject "
            "operation: The ciphertext refers to a customer master key that does not exist, does "
            "not exist in this region, or you are not allowed to access.\n",
        ),
        "log-input-key-denied",
    ),
    "an input that may not be read, of which no key is the reason": (
        failed(
            exit_code=1,
            rc_present=False,
            job_log="An error occurred (AccessDenied) when calling the GetObject operation: "
            f"User: {ROLE} is not authorized to perform: s3:GetObject on resource: x\n",
        ),
        "log-input-denied",
    ),
    "an input in Glacier": (
        failed(
            exit_code=1,
            rc_present=False,
            job_log="An error occurred (InvalidObjectState) when calling the GetObject operation",
        ),
        "log-input-archived",
    ),
    "an input whose copying failed for another reason": (
        failed(
            exit_code=2,
            rc_present=False,
            job_log="failed to copy s3://d/x.bam after 5 attempts. aborting\n",
        ),
        "log-localisation-failed",
    ),
    "a worker without its start script": (
        failed(
            exit_code=127,
            rc_present=False,
            job_log="/bin/bash: /var/scratch/fetch_and_run.sh: No such file or directory\n",
        ),
        "log-no-worker-script",
    ),
    "a worker without the AWS CLI": (
        failed(
            exit_code=1,
            rc_present=False,
            job_log="fetch_and_run: There is no AWS CLI at /usr/local/aws-cli/v2/current/bin/aws: "
            "the worker was not provisioned.\n",
        ),
        "log-worker-without-cli",
    ),
    "a job without a role": (
        failed(
            exit_code=1,
            rc_present=False,
            job_log="Unable to locate credentials. You can configure credentials by running "
            '"aws configure".\nfetch_and_run: s3://w/scripts/0f could not be fetched in 5 tries. '
            "See the words of the AWS CLI above.\n",
        ),
        "log-no-credentials",
    ),
    "a script that may not be read": (
        failed(
            exit_code=1,
            rc_present=False,
            job_log="An error occurred (AccessDenied) when calling the GetObject operation: Access "
            "Denied\nfetch_and_run: s3://w/scripts/0f could not be fetched in 5 tries. See the "
            "words of the AWS CLI above.\n",
        ),
        "log-script-not-fetched",
    ),
    "outputs that may not be written": (
        failed(
            return_code=0,
            rc_present=True,
            exit_code=1,
            job_log="upload failed: ./x to s3://w/x An error occurred (AccessDenied) when calling "
            "the PutObject operation: Access Denied\n",
        ),
        "log-upload-denied",
    ),
    "outputs for whose bucket the key may not be used": (
        failed(
            return_code=0,
            rc_present=True,
            exit_code=1,
            job_log="upload failed: ./x to s3://w/x An error occurred (AccessDenied) when calling "
            f"the PutObject operation: User: {ROLE} is not authorized to perform: "
            f"kms:GenerateDataKey on resource: {KEY} because no identity-based policy allows the "
            "kms:GenerateDataKey action\n",
        ),
        "log-upload-key-denied",
    ),
    "an rc file for whose bucket the key may not be used": (
        failed(
            rc_present=False,
            exit_code=1,
            job_log="upload failed: ./x to s3://w/x An error occurred (AccessDenied) when calling "
            f"the UploadPart operation: User: {ROLE} is not authorized to perform: kms:Decrypt\n",
        ),
        "log-upload-key-denied",
    ),
    "an output that is not there, by the log": (
        failed(
            return_code=0,
            rc_present=True,
            exit_code=1,
            job_log="failed to delocalize /tmp/scratch/out.vcf after 5 attempts. aborting\n",
        ),
        "log-output-missing",
    ),
    "an output that is not there, in Cromwell's words": (
        Evidence(
            job_status="SUCCEEDED",
            return_code=0,
            rc_present=True,
            cromwell_message="Failed to evaluate job outputs: IOException: Could not read from "
            "s3://w/call-x/n.txt",
        ),
        "cromwell-output-missing",
    ),
    "an output expression that does not hold": (
        Evidence(
            job_status="SUCCEEDED",
            return_code=0,
            rc_present=True,
            cromwell_message="Failed to evaluate job outputs: Bad output 'x.n': For input "
            'string: "abc"',
        ),
        "cromwell-output-expression",
    ),
    "return code 0 of a job that failed": (
        failed(return_code=0, rc_present=True, exit_code=1),
        "rc-zero-job-failed",
    ),
    "a disk that filled up": (
        failed(return_code=1, rc_present=True, stderr="samtools sort: No space left on device\n"),
        "task-disk-full",
    ),
    "a crash": (failed(return_code=139, rc_present=True, exit_code=139), "crashed"),
    "a command that is not in the image": (
        failed(return_code=127, rc_present=True, stderr="script: line 22: bwa-mem2: not found\n"),
        "command-not-found",
    ),
    "no rc file and nothing else": (
        failed(exit_code=1, rc_present=False, job_log="*** LOCALIZING INPUTS ***\n"),
        "no-return-code",
    ),
    "an exit code while nobody has looked for the rc": (
        failed(exit_code=3),
        "exit-code-only",
    ),
    "a return code that only Cromwell tells": (
        Evidence(
            cromwell_message="Job wf.align:3:1 exited with return code 4 which has not been "
            "declared as a valid return code. See 'continueOnReturnCode'"
        ),
        "cromwell-return-code",
    ),
    "short of memory, in Cromwell's words": (
        Evidence(
            cromwell_message="stderr for job `wf.align:3:1` contained one of the `memory-retry-"
            "error-keys: [OutOfMemory,Killed]` specified in the Cromwell config. Job might have "
            "run out of memory.",
        ),
        "cromwell-out-of-memory",
    ),
    "short of memory, in Cromwell's words, where Batch knows of its time limit": (
        failed(
            job_reason=TIMEOUT,
            exit_code=137,
            cromwell_message="Job might have run out of memory.",
        ),
        "batch-timeout",
    ),
    "a signal from somewhere": (
        Evidence(cromwell_message="The job was aborted from outside Cromwell"),
        "cromwell-stopped-from-outside",
    ),
    "inputs that Cromwell cannot use": (
        Evidence(cromwell_message="Required workflow input 'wf.reads' not specified"),
        "workflow-inputs",
    ),
    "a workflow that Cromwell cannot run": (
        Evidence(cromwell_message="Failed to process workflow definition (reason 1 of 1): ..."),
        "workflow-error",
    ),
    "nothing at all": (Evidence(), ""),
}


@pytest.mark.parametrize("case", CASES)
def test_names_the_cause_of(case):
    evidence, rule = CASES[case]
    assert judge(evidence).rule == rule


class TestWhatIsSaid:
    def test_of_memory_names_what_was_asked_and_twice_that(self):
        verdict = judge(failed(container_reason=OOM, exit_code=137, memory_mib=8000))
        assert verdict.why == "asked 8 GB; its container was killed at the limit"
        assert verdict.next_step.startswith("raise its memory (16 GB), drop again")

    def test_of_memory_that_nobody_knows_names_none(self):
        verdict = judge(failed(container_reason=OOM))
        assert verdict.why == "was killed at its memory limit"
        assert verdict.next_step.startswith("raise its memory, drop again")

    def test_of_a_lost_host_does_not_claim_to_know_about_spot(self):
        verdict = judge(failed(job_reason=LOST, attempts=3))
        assert verdict.cause is Cause.HOST_LOST
        assert verdict.why == (
            "lost the machine it ran on (i-0f2f4b1b2c3d4e5f6), 3 attempts in all; "
            "Batch does not say whether it was a spot reclaim"
        )

    def test_of_a_crash_names_the_signal(self):
        verdict = judge(failed(return_code=139, rc_present=True))
        assert verdict.why == "crashed: its program was ended by SIGSEGV"
        assert verdict.evidence == ("return code 139 (SIGSEGV)",)

    @pytest.mark.parametrize(
        ("copying", "operation"), [("download", "GetObject"), ("upload", "PutObject")]
    )
    def test_of_a_key_names_kms_and_the_platform_team(self, copying, operation):
        log = KEY_DENIED.replace("download", copying).replace("GetObject", operation)
        verdict = judge(failed(exit_code=1, rc_present=False, job_log=log))
        assert "KMS key" in verdict.why
        assert verdict.actor is Actor.PLATFORM
        assert "kms:Decrypt" in verdict.next_step

    def test_of_nothing_says_so(self):
        verdict = judge(Evidence())
        assert (verdict.cause, verdict.actor) == (Cause.UNKNOWN, Actor.PLATFORM)
        assert verdict.why == "failed, and nothing that was found says why"
        assert verdict.evidence == ()


class TestEvidence:
    def test_quotes_batch(self):
        verdict = judge(failed(container_reason=OOM, exit_code=137, rc_present=False))
        assert verdict.evidence == (
            'Batch "OutOfMemoryError"',
            "exit code 137",
            "no rc file written",
        )

    def test_quotes_a_line_and_says_where_it_stands(self):
        verdict = judge(failed(exit_code=1, rc_present=False, job_log=MISSING))
        assert verdict.evidence[0] == (
            'job log, line 2 from the end: "fatal error: An error occurred (404) when calling '
            'the HeadObject operation: Key "s1/x.bam" does not exist"'
        )

    def test_quotes_the_end_of_what_was_found_far_into_a_long_line(self):
        verdict = judge(failed(exit_code=1, rc_present=False, job_log=KEY_DENIED))
        assert verdict.evidence[0].endswith(
            f'is not authorized to perform: kms:Decrypt on resource: {KEY}"'
        )
        assert verdict.evidence[0].startswith('job log, last line: "…')
        assert len(verdict.evidence[0]) < 200

    def test_knows_the_last_line(self):
        verdict = judge(
            failed(return_code=1, rc_present=True, stderr="a\ntar: No space left on device\n\n")
        )
        assert verdict.evidence[0] == 'stderr, last line: "tar: No space left on device"'

    def test_quotes_cromwell(self):
        verdict = judge(Evidence(cromwell_message="Failed to import sub.wdl\nmore"))
        assert verdict.evidence == ('Cromwell "Failed to import sub.wdl"',)

    def test_tells_both_codes_only_where_they_differ(self):
        assert judge(failed(return_code=3, exit_code=3)).evidence == ("return code 3",)
        assert judge(failed(return_code=3, exit_code=1)).evidence == (
            "return code 3",
            "exit code 1",
        )

    def test_is_cleaned_redacted_and_cut(self):
        line = "\x1b[31mNo space left on device\x1b[0m password=hunter2 <!here> " + "x" * 500
        cited = judge(failed(return_code=1, stderr=line)).evidence[0]
        assert "No space left on device password=[redacted] < !here> xxx" in cited
        assert len(cited) < 200


class TestWhoIsBelieved:
    def test_batch_before_a_task_that_writes_return_code_0(self):
        assert judge(failed(container_reason=OOM, return_code=0, rc_present=True)).cause is (
            Cause.OUT_OF_MEMORY
        )

    def test_batch_before_what_a_task_prints(self):
        said = failed(job_reason=TIMEOUT, return_code=1, stderr="OutOfMemoryError\n" + LOST)
        assert judge(said).cause is Cause.TIMEOUT

    def test_a_task_cannot_make_itself_a_lost_host(self):
        forged = failed(return_code=1, rc_present=True, stderr=LOST, job_log=LOST, stdout=LOST)
        assert judge(forged).cause is Cause.TASK_ERROR

    def test_a_task_that_reads_s3_itself_did_not_fail_to_localise(self):
        said = failed(return_code=1, rc_present=True, stderr=MISSING, job_log=MISSING)
        assert judge(said).cause is Cause.TASK_ERROR

    def test_words_of_memory_in_a_task_that_ended_well_mean_nothing(self):
        said = Evidence(job_status="SUCCEEDED", return_code=0, stderr="MemoryError handled")
        assert judge(said).cause is Cause.UNKNOWN

    def test_a_missing_rc_is_the_verdict_only_where_nothing_else_speaks(self):
        explained = [evidence for evidence, rule in CASES.values() if evidence.rc_present is False]
        causes = [judge(evidence).cause for evidence in explained]
        assert causes.count(Cause.NO_RETURN_CODE) == 1


class TestTheTable:
    def test_fits_its_schema(self):
        jsonschema.Draft202012Validator.check_schema(SCHEMA)
        jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(SOURCE))

    def test_means_every_cause(self):
        assert set(table().meanings) == set(Cause)

    def test_has_a_rule_for_every_cause_but_those_no_evidence_shows(self):
        found = {rule.cause for rule in table().rules}
        assert set(Cause) - found == {Cause.LOST_UPSTREAM, Cause.UNKNOWN}

    def test_names_each_rule_once(self):
        ids = [rule.id for rule in table().rules]
        assert len(ids) == len(set(ids))

    def test_has_no_rule_that_never_speaks(self):
        assert {rule.id for rule in table().rules} == {rule for _, rule in CASES.values()} - {""}

    def test_lets_batch_speak_before_tasks_and_symptoms_last(self):
        voices = [rule.voice for rule in table().rules]
        assert voices == sorted(voices, key=lambda voice: (voice != "batch", voice == "absence"))

    @pytest.mark.parametrize("rule", table().rules, ids=lambda rule: rule.id)
    def test_has_only_patterns_whose_repeats_are_bounded(self, rule):
        for condition in rule.all_of + rule.any_of + rule.none_of:
            if condition.match:
                assert not re.search(r"(?<!\\)(?:[*+]|\{\d+,\})", condition.match.pattern)

    @pytest.mark.parametrize("rule", table().rules, ids=lambda rule: rule.id)
    def test_quotes_nothing_of_a_tasks_text_in_its_sentences(self, rule):
        if rule.voice in ("task", "absence"):
            for condition in rule.all_of + rule.any_of:
                assert not condition.match or not condition.match.groupindex

    def test_fills_every_sentence(self):
        for evidence, _ in CASES.values():
            verdict = judge(evidence)
            assert "{" not in verdict.why + verdict.next_step
            assert "||" not in verdict.next_step

    def test_of_one_s_own_may_take_its_place(self):
        own = json.loads(SOURCE)
        own["rules"] = [
            {
                "id": "licence",
                "cause": "TASK_ERROR",
                "confidence": "sure",
                "voice": "task",
                "all_of": [{"where": ["stderr"], "match": "licen[cs]e server"}],
                "why": ["found no licence"],
                "actor": "platform team",
                "next": "ask for more licences",
                "source": "our own",
            }
        ]
        rules = read_table(json.dumps(own)).rules
        said = failed(return_code=1, stderr="cannot reach license server")
        assert judge(said, rules).actor is Actor.PLATFORM
        assert judge(failed(return_code=1), rules).cause is Cause.UNKNOWN

    def test_says_a_sentence_with_gaps_rather_than_fail(self):
        rule = replace(table().rules[0], why=("asked {memory} of {nobody}",), next_step="wait")
        verdict = judge(failed(job_reason="cromwell abort called", memory_mib=512), [rule])
        assert verdict.why == "asked 512 MB of ?"


@pytest.mark.parametrize("piece", ["x", "failed to copy s3://", "Spot Task ", "MemoryError", "\n"])
def test_judges_long_hostile_text_quickly(piece):
    text = piece * ((1 << 20) // len(piece))
    evidence = failed(
        rc_present=False, stderr=text, stdout=text, job_log=text, job_reason=text,
        container_reason=text, cromwell_message=text,
    )  # fmt: skip
    began = time.process_time()
    judge(evidence)
    assert time.process_time() - began < 1


def _page():
    rows = [
        "| cause | what it means | who acts | next |",
        "| --- | --- | --- | --- |",
    ]
    for cause, meaning in table().meanings.items():
        step = meaning.next_step.split(" || ")[-1]
        rows.append(
            f"| `{cause}`<br>{meaning.title} | {meaning.means} | {meaning.actor} | {step} |"
        )
    rules = ["| rule | cause | how sure | rests on | source |", "| --- | --- | --- | --- | --- |"]
    sources = {row["id"]: row["source"] for row in json.loads(SOURCE)["rules"]}
    voices = {"batch": "Batch", "cromwell": "Cromwell", "task": "the task", "absence": "absence"}
    for rule in table().rules:
        rules.append(
            f"| `{rule.id}` | `{rule.cause}` | {rule.confidence} | {voices[rule.voice]} "
            f"| {sources[rule.id]} |"
        )
    return rows, rules


def test_the_page_shows_the_table():
    """Write its tables anew with ``DROPWELL_GOLDEN=write pytest tests/unit/test_causes.py``."""
    text = PAGE.read_text("utf-8")
    for name, lines in zip(("causes", "rules"), _page(), strict=True):
        block = f"<!-- {name} -->\n" + "\n".join(lines) + f"\n<!-- end of {name} -->"
        if os.environ.get("DROPWELL_GOLDEN") == "write":
            text = re.sub(
                rf"<!-- {name} -->.*?<!-- end of {name} -->", lambda _, b=block: b, text, flags=re.S
            )
            PAGE.write_text(text, "utf-8")
        assert block in text
