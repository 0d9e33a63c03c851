"""Where the local Cromwell puts files, read back by the application's own parser."""

from __future__ import annotations

import pytest

from dropwell.calls import UNSCATTERED, call_of_tags, place_of_rc_key, place_of_script
from dropwell_local.engine import layout, scripts

RUN = "e6236763-c518-41d0-9688-432549a8bf7d"


@pytest.fixture
def run() -> layout.Holder:
    return layout.root_holder(RUN, "wf", "s3://bucket/cromwell-execution/")


@pytest.mark.parametrize(
    ("run_id", "attempt", "tail"),
    [
        ("call-align", 1, "call-align/align-rc.txt"),
        ("call-align", 3, "call-align/attempt-3/align-rc.txt"),
        ("call-align-0", 1, "call-align/shard-0/align-0-rc.txt"),
        ("call-align-17", 2, "call-align/shard-17/attempt-2/align-17-rc.txt"),
    ],
)
def test_rc_lies_where_cromwell_puts_it(
    run: layout.Holder, run_id: str, attempt: int, tail: str
) -> None:
    call, _ = layout.locate(run, run_id)

    place = layout.place_of(run, call, attempt)

    assert place.rc_key == f"cromwell-execution/wf/{RUN}/{tail}"
    assert place_of_rc_key("bucket", place.rc_key) == place


def test_a_subworkflow_nests_below_the_call_that_runs_it(run: layout.Holder) -> None:
    outer, _ = layout.locate(run, "call-per_sample-4")
    inner = layout.inner_call(outer.holder, outer.alias, outer.shard, "sub", "sub")
    call, _ = layout.locate(inner, "call-sort")

    place = layout.place_of(run, call, 1)

    assert place.root == (
        f"cromwell-execution/wf/{RUN}/call-per_sample/shard-4/sub/{inner.workflow_id}/call-sort"
    )
    assert place.chain == ("per_sample",)
    assert call.fqn == "sub.sort"
    assert place_of_rc_key("bucket", place.rc_key) == place


def test_an_inner_scatter_is_a_subworkflow_whose_calls_keep_their_name(run: layout.Holder) -> None:
    call, passed = layout.locate(run, "call-sort-2-5", ["ScatterAt6_11"])

    ((through, holder),) = passed
    assert (through.fqn, through.shard, holder.folder) == ("ScatterAt6_11", 2, "ScatterAt6_11")
    assert (call.fqn, call.shard) == ("wf.sort", 5)
    assert f"call-ScatterAt6_11/shard-2/ScatterAt6_11/{holder.workflow_id}/" in call.folder


def test_each_shard_of_a_scatter_has_its_own_subworkflow(run: layout.Holder) -> None:
    first, second = (layout.inner_call(run, "sub", shard, "sub", "sub") for shard in (0, 1))

    assert first.workflow_id != second.workflow_id


@pytest.mark.parametrize("run_id", ["call-align", "call-align-3"])
def test_tags_name_the_call(run: layout.Holder, run_id: str) -> None:
    call, _ = layout.locate(run, run_id)

    tagged = call_of_tags(layout.tags_of(run, call, 2, {"project": "cardio"}))

    assert tagged is not None
    assert tagged.call_id == layout.place_of(run, call, 2).call_id
    assert tagged.run_name == "wf"


def test_labels_become_tags_and_never_hide_cromwells_own(run: layout.Holder) -> None:
    call, _ = layout.locate(run, "call-align")

    tags = layout.tags_of(run, call, 1, {"project": "cardio", "cromwell-workflow-id": "forged"})

    assert tags["project"] == "cardio"
    assert tags["cromwell-workflow-id"] == RUN


def test_the_script_says_where_the_call_is(run: layout.Holder) -> None:
    call, _ = layout.locate(run, "call-align-3")
    place = layout.place_of(run, call, 2)

    text = scripts.batch_script(place, "echo hello", ["s3://data/in.bam"])

    assert place_of_script(text) == place


def test_two_attempts_never_share_a_script(run: layout.Holder) -> None:
    call, _ = layout.locate(run, "call-align")
    texts = (scripts.batch_script(layout.place_of(run, call, n), "true", []) for n in (1, 2))

    assert len({scripts.script_name(text) for text in texts}) == 2


def test_failure_texts_name_a_call_outside_scatters_with_na(run: layout.Holder) -> None:
    tags = [layout.job_tag(layout.locate(run, name)[0], 1) for name in ("call-a", "call-a-3")]

    assert tags == ["wf.a:NA:1", "wf.a:3:1"]
    assert layout.locate(run, "call-a")[0].shard == UNSCATTERED
