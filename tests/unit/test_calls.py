"""Calls read from S3 keys, scripts and tags, in every shape that Cromwell writes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropwell.calls import (
    UNSCATTERED,
    CallId,
    CallPlace,
    call_of_tags,
    place_of_rc_key,
    place_of_script,
)

RUN = "e6236763-c518-41d0-9688-432549a8bf7d"
SUB = "0b2c41e2-5b0c-4a3e-a1f5-33c7f0a4a4f0"
DEEP = "a2a1f270-0f6b-4c0e-8a55-0d7e3d1c9b11"

names = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,12}", fullmatch=True)
uuids = st.uuids().map(str)
shards = st.one_of(st.just(UNSCATTERED), st.integers(0, 99_999))
attempts = st.integers(1, 12)


def folder(call: str, shard: int = UNSCATTERED, attempt: int = 1) -> str:
    parts = [f"call-{call}"]
    parts += [f"shard-{shard}"] if shard != UNSCATTERED else []
    parts += [f"attempt-{attempt}"] if attempt > 1 else []
    return "/".join(parts)


def leaf(call: str, shard: int = UNSCATTERED) -> str:
    return call if shard == UNSCATTERED else f"{call}-{shard}"


def place(key: str) -> CallPlace | None:
    return place_of_rc_key("b", key)


class TestKeys:
    @pytest.mark.parametrize(
        ("key", "call_id"),
        [
            (f"wf_hello/{RUN}/call-hello/hello-rc.txt", CallId(RUN, "hello")),
            (f"path/to/root/w/{RUN}/call-B/shard-2/B-2-rc.txt", CallId(RUN, "B", 2)),
            (f"cromwell-execution/w/{RUN}/call-B/attempt-2/B-rc.txt", CallId(RUN, "B", -1, 2)),
            (f"r/w/{RUN}/call-B/shard-0/attempt-10/B-0-rc.txt", CallId(RUN, "B", 0, 10)),
            (f"r/hc.Haplotypecaller/{RUN}/call-A/A-rc.txt", CallId(RUN, "A")),
            (f"r/w/{RUN}/call-p/Prep/{SUB}/call-Trim/Trim-rc.txt", CallId(SUB, "Trim")),
            (
                f"r/w/{RUN}/call-p/shard-1/attempt-2/Prep/{SUB}/call-T/shard-3/T-3-rc.txt",
                CallId(SUB, "T", 3),
            ),
            (
                f"r/w/{RUN}/call-ScatterAt6_11/shard-4/ScatterAt6_11/{SUB}/call-T/shard-0/T-0-rc.txt",
                CallId(SUB, "T", 0),
            ),
            (
                f"r/w/{RUN}/call-a/A/{SUB}/call-b/B/{DEEP}/call-c/c-rc.txt",
                CallId(DEEP, "c"),
            ),
        ],
    )
    def test_every_documented_shape(self, key, call_id):
        assert place(key).call_id == call_id
        assert place(key).run_id == RUN
        assert place(key).rc_key == key

    def test_what_a_place_knows(self):
        key = f"root/w/{RUN}/call-p/shard-1/Prep/{SUB}/call-T/shard-3/attempt-2/T-3-rc.txt"
        found = place(key)
        assert found == CallPlace(
            run_id=RUN,
            run_name="w",
            call_id=CallId(SUB, "T", 3, 2),
            chain=("p",),
            bucket="b",
            root=key.rpartition("/")[0],
        )
        assert found.stdout_key == f"{found.root}/T-3-stdout.log"
        assert found.stderr_key == f"{found.root}/T-3-stderr.log"

    @pytest.mark.parametrize("shard", ["", "/shard-5"])
    def test_a_copy_by_call_caching_is_told_apart(self, shard):
        name = f"T{shard.replace('/shard', '')}"
        assert place(f"r/w/{RUN}/call-T{shard}/cacheCopy/{name}-rc.txt").cached
        assert not place(f"r/w/{RUN}/call-T{shard}/{name}-rc.txt").cached

    @pytest.mark.parametrize(
        "key",
        [
            "",
            "T-rc.txt",
            "call-T/T-rc.txt",
            f"r/w/{RUN}/call-T/other-rc.txt",
            f"r/w/{RUN}/call-T/T-rc.txt.tmp",
            f"r/w/{RUN}/call-T/T-3-rc.txt",
            f"r/w/{RUN}/call-T/out/T-rc.txt",
            f"r/w/{RUN}/call-T/glob-0a1b/T-rc.txt",
            f"r/w/{RUN}/call-T/T-stderr.log",
            f"r/w/{RUN}/call-T/shard-3/T-rc.txt",
            f"r/w/{RUN}/call-T/shard-3/T-4-rc.txt",
            f"r/w/{RUN}/call-T/shard-x/T-x-rc.txt",
            f"r/w/{RUN}/call-T/shard-٣/T-٣-rc.txt",
            f"r/w/{RUN}/call-T/attempt-1/T-rc.txt",
            f"r/w/{RUN}/call-T/attempt-0/T-rc.txt",
            f"r/w/{RUN}/call-T/attempt-2/attempt-3/T-rc.txt",
            f"r/w/{RUN}/call-T/attempt-2/shard-3/T-3-rc.txt",
            f"r/w/{RUN}/call-T//T-rc.txt",
            f"r/w/{RUN}/call-/-rc.txt",
            f"r/w/{RUN[:-1]}/call-T/T-rc.txt",
            f"r/w/{RUN.upper()}/call-T/T-rc.txt",
            f"{RUN}/call-T/T-rc.txt",
            f"r/w/{RUN}/call-p/x/Prep/{SUB}/call-T/T-rc.txt",
            f"r/w/{RUN}/call-p/Prep/{SUB}/T-rc.txt",
        ],
    )
    def test_near_misses_are_no_calls(self, key):
        assert place(key) is None

    @settings(deadline=None)
    @given(
        root=st.lists(names, max_size=3),
        workflow=names,
        run_id=uuids,
        levels=st.lists(st.tuples(names, shards, attempts, names, uuids), max_size=3),
        last=st.tuples(names, shards, attempts),
    )
    def test_every_key_that_cromwell_could_write_is_read_back(
        self, root, workflow, run_id, levels, last
    ):
        parts = [*root, workflow, run_id]
        for call, shard, attempt, sub_workflow, sub_id in levels:
            parts += [folder(call, shard, attempt), sub_workflow, sub_id]
        parts += [folder(*last), f"{leaf(*last[:2])}-rc.txt"]
        key = "/".join(parts)
        found = place(key)
        assert found.rc_key == key
        assert (found.run_id, found.run_name) == (run_id, workflow)
        assert found.chain == tuple(call for call, *_ in levels)
        assert found.call_id == CallId(levels[-1][4] if levels else run_id, *last)

    @settings(deadline=None)
    @given(st.text(max_size=200))
    def test_any_text_is_read_or_passed_over(self, key):
        assert place(key) is None


SCRIPT_92 = """#!/bin/bash
_s3_delocalize_with_retry() {{
  local source=$1
}}
{{
set -e
_s3_delocalize_with_retry "/tmp/scratch/{leaf}-rc.txt" "{url}-rc.txt"
_s3_delocalize_with_retry "/tmp/scratch/{leaf}-stderr.log" "{url}-stderr.log"
}}
exit $rc
"""
SCRIPT_90 = """{{
set -e
/usr/local/aws-cli/v2/current/bin/aws s3 cp --no-progress /tmp/scratch/out.txt {folder}/out.txt
/usr/local/aws-cli/v2/current/bin/aws s3 cp --no-progress /tmp/scratch/{leaf}-rc.txt {url}-rc.txt
/usr/local/aws-cli/v2/current/bin/aws s3 cp --no-progress /tmp/scratch/{leaf}-stderr.log {url}-e.log
}}
"""


class TestScripts:
    @pytest.mark.parametrize("script", [SCRIPT_92, SCRIPT_90], ids=["91 and later", "to 90"])
    def test_the_upload_of_the_rc_file_tells_the_call(self, script):
        where = f"s3://flows/root/w/{RUN}/call-B/shard-2/attempt-3"
        text = script.format(leaf="B-2", folder=where, url=f"{where}/B-2")
        found = place_of_script(text)
        assert found.call_id == CallId(RUN, "B", 2, 3)
        assert found.bucket == "flows"
        assert f"s3://flows/{found.root}" == where

    def test_other_uploads_on_the_way_are_passed_over(self):
        where = f"s3://flows/w/{RUN}/call-B"
        text = f'_s3_delocalize_with_retry "/tmp/scratch/a-rc.txt" "{where}/a-rc.txt"\n'
        text += SCRIPT_92.format(leaf="B", url=f"{where}/B")
        assert place_of_script(text).call_id == CallId(RUN, "B")

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "echo hello",
            f"# s3://flows/w/{RUN}/call-B/B-rc.txt",
            f'aws s3 cp "B-rc.txt" "gs://flows/w/{RUN}/call-B/B-rc.txt"',
            '_s3_delocalize_with_retry "/tmp/scratch/B-rc.txt" "s3://flows/elsewhere/B-rc.txt"',
        ],
    )
    def test_a_script_that_names_no_call(self, text):
        assert place_of_script(text) is None


def tags(task: str, **more: str) -> dict[str, str]:
    return {
        "cromwell-root-workflow-id": RUN,
        "cromwell-root-workflow-name": "w",
        "cromwell-workflow-id": SUB,
        "cromwell-task-id": task,
        **more,
    }


class TestTags:
    @pytest.mark.parametrize(
        ("task", "call_id"),
        [
            ("myWorkflow.myTask-None-1", CallId(SUB, "myTask")),
            ("wf.align-Some_3_-1", CallId(SUB, "align", 3)),
            ("wf.align-Some_17_-12", CallId(SUB, "align", 17, 12)),
            ("sub.wf.task-None-2", CallId(SUB, "task", -1, 2)),
            ("wf.a-None-1-None-1", CallId(SUB, "a-None-1")),
        ],
    )
    def test_what_they_say(self, task, call_id):
        tagged = call_of_tags(tags(task))
        assert (tagged.run_id, tagged.run_name, tagged.call_id) == (RUN, "w", call_id)

    @pytest.mark.parametrize(
        "task",
        ["", "wf.align", "wf.align-3-1", "wf.align-Some_x_-1", "wf.align-Some(3)-1", "-None-1"],
    )
    def test_a_task_id_of_another_form_says_nothing(self, task):
        assert call_of_tags(tags(task)) is None

    @pytest.mark.parametrize(
        "missing", ["cromwell-root-workflow-id", "cromwell-workflow-id", "cromwell-task-id"]
    )
    def test_without_one_of_the_ids_they_say_nothing(self, missing):
        told = tags("wf.align-None-1")
        del told[missing]
        assert call_of_tags(told) is None

    @pytest.mark.parametrize("name", ["cromwell-root-workflow-id", "cromwell-workflow-id"])
    @pytest.mark.parametrize("forged", ["", "UNATTRIBUTED", "RUNS#2025-11", f"{RUN}/x", RUN + "\n"])
    def test_ids_that_are_none_of_cromwells_say_nothing(self, name, forged):
        assert call_of_tags(tags("wf.align-None-1", **{name: forged})) is None

    @pytest.mark.parametrize(
        "forged",
        [
            "wf.a/b-None-1",
            "w/f.a-None-1",
            "wf.a\nb-None-1",
            f"wf.align-Some_{'9' * 5000}_-1",
            f"wf.align-None-{'9' * 5000}",
        ],
    )
    def test_a_task_id_that_cromwell_would_not_write_says_nothing(self, forged):
        assert call_of_tags(tags(forged)) is None

    def test_the_workflows_name_may_be_missing(self):
        told = tags("wf.align-None-1")
        del told["cromwell-root-workflow-name"]
        assert call_of_tags(told).run_name == ""

    def test_tags_and_script_of_one_job_name_the_same_call(self):
        where = f"s3://b/w/{RUN}/call-p/Prep/{SUB}/call-T/shard-3/attempt-2"
        script = SCRIPT_92.format(leaf="T-3", url=f"{where}/T-3")
        assert call_of_tags(tags("Prep.T-Some_3_-2")).call_id == place_of_script(script).call_id


class TestCallIds:
    @settings(deadline=None)
    @given(uuids, names, shards, attempts)
    def test_their_one_line_form_is_read_back(self, workflow_id, call, shard, attempt):
        call_id = CallId(workflow_id, call, shard, attempt)
        assert CallId.parse(str(call_id)) == call_id

    @pytest.mark.parametrize(
        ("call_id", "label"),
        [
            (CallId(RUN, "align"), "align"),
            (CallId(RUN, "align", 0), "align shard 0"),
            (CallId(RUN, "align", 17, 2), "align shard 17 attempt 2"),
            (CallId(RUN, "align", attempt=3), "align attempt 3"),
        ],
    )
    def test_people_read_what_matters(self, call_id, label):
        assert call_id.label == label
