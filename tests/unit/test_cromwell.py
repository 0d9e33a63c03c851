"""The Cromwell client against a server on a real socket that answers, and fails, like Cromwell."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from uuid import uuid4

import pytest

from dropwell.calls import CallId
from dropwell.cromwell import (
    Cromwell,
    Feature,
    TooOld,
    require,
)
from dropwell.errors import CromwellAway, Final, Refused, UnclearRefusal, UnknownRun
from dropwell.ports import FailedCall, Submission
from tests.stubs.cromwell import CromwellStub, Mode

RUN = "e6236763-c518-41d0-9688-432549a8bf7d"
SUB = "0b2c41e2-5b0c-4a3e-a1f5-33c7f0a4a4f0"


@pytest.fixture
def stub() -> Iterator[CromwellStub]:
    with CromwellStub() as stub:
        yield stub


@pytest.fixture
def cromwell(stub: CromwellStub) -> Cromwell:
    return Cromwell(stub.url, read_timeout=2)


def submission(run_id: str = RUN, **changes: object) -> Submission:
    plain = {"source": "version 1.0\nworkflow w {}", "inputs": {}, "options": {}, "labels": {}}
    return Submission(**{"run_id": run_id, **plain, **changes})


def failure(message: str, *causes: dict) -> dict:
    return {"message": message, "causedBy": list(causes)}


def failed(message: str = "it failed", **more: object) -> dict:
    return {
        "attempt": 1,
        "shardIndex": -1,
        "executionStatus": "Failed",
        "retryableFailure": False,
        "failures": [failure(message)],
        **more,
    }


DONE = {"attempt": 1, "shardIndex": -1, "executionStatus": "Done", "returnCode": 0}


class TestSubmitting:
    def test_everything_arrives_as_cromwell_reads_it(self, cromwell, stub):
        zipped = io.BytesIO()
        with zipfile.ZipFile(zipped, "w") as archive:
            archive.writestr("lib/tasks.wdl", "version 1.0")
        status = cromwell.submit(
            submission(
                inputs={"w.name": 'Zoë "x" 🧬', "w.n": 3, "w.f": [1.5, None, True]},
                options={"write_to_cache": True},
                labels={"project": "cardio"},
                dependencies=zipped.getvalue(),
            )
        )
        (accepted,) = stub.accepted
        assert status == "Submitted"
        assert accepted.run_id == RUN
        assert accepted.source == "version 1.0\nworkflow w {}"
        assert accepted.inputs == {"w.name": 'Zoë "x" 🧬', "w.n": 3, "w.f": [1.5, None, True]}
        assert accepted.options == {"write_to_cache": True}
        assert accepted.labels == {"project": "cardio"}
        assert accepted.dependencies == zipped.getvalue()
        assert accepted.fields["workflowType"] == b"WDL"

    def test_the_id_goes_as_quoted_json(self, cromwell, stub):
        cromwell.submit(submission())
        assert stub.accepted[0].fields["requestedWorkflowId"] == f'"{RUN}"'.encode()

    def test_inputs_go_in_ascii_because_cromwell_reads_them_as_yaml(self, cromwell, stub):
        cromwell.submit(submission(inputs={"w.name": "🧬\x7f"}))
        assert stub.accepted[0].fields["workflowInputs"].isascii()
        assert b"\x7f" not in stub.accepted[0].fields["workflowInputs"]

    def test_what_there_is_none_of_is_not_sent(self, cromwell, stub):
        cromwell.submit(submission())
        assert set(stub.accepted[0].fields) == {
            "workflowSource",
            "workflowType",
            "workflowInputs",
            "requestedWorkflowId",
        }

    def test_it_may_wait_on_hold(self, cromwell, stub):
        assert cromwell.submit(submission(on_hold=True)) == "On Hold"
        assert cromwell.release(RUN) == "Submitted"
        with pytest.raises(Refused, match="is not in 'On Hold' state"):
            cromwell.release(RUN)

    @pytest.mark.parametrize(
        "message",
        [
            "Error(s): Invalid workflow options provided: Unsupported key/value pair",
            "Error(s): Invalid label: `x` can't be empty",
            "To submit more than one workflow at a time, use the batch endpoint.",
        ],
    )
    def test_refused_in_cromwells_words(self, cromwell, stub, message):
        stub.answer(400, {"status": "fail", "message": message})
        with pytest.raises(Refused) as caught:
            cromwell.submit(submission())
        assert str(caught.value) == message

    @pytest.mark.parametrize(
        ("answer", "text"),
        [
            (
                {"status": "fail", "message": f"Requested workflow IDs are already in use: {RUN}"},
                f"Requested workflow IDs are already in use: {RUN}",
            ),
            (
                {"status": "fail", "message": "Duplicate entry for key 'UC_WORKFLOW_STORE'"},
                "Duplicate entry for key 'UC_WORKFLOW_STORE'",
            ),
            ({"status": "fail"}, ""),
            (["not", "an", "object"], '["not", "an", "object"]'),
        ],
    )
    def test_any_other_no_is_unclear(self, cromwell, stub, answer, text):
        stub.answer(400, answer)
        with pytest.raises(UnclearRefusal) as caught:
            cromwell.submit(submission())
        assert str(caught.value) == text

    def test_a_long_refusal_is_cut(self, cromwell, stub):
        message = "Error(s): Input file is not a valid yaml or json. Inputs data: " + "x" * 100_000
        stub.answer(400, {"status": "fail", "message": message})
        with pytest.raises(Refused) as caught:
            cromwell.submit(submission())
        assert len(str(caught.value)) == 4_000

    def test_too_large_a_body_is_refused_with_a_way_out(self, cromwell, stub):
        stub.mode = Mode.TOO_LARGE
        with pytest.raises(Refused, match=r"larger than Cromwell.*body limits"):
            cromwell.submit(submission())

    def test_a_404_is_an_address_that_leads_elsewhere(self, cromwell, stub):
        stub.answer(404, {"status": "fail", "message": "no such thing"})
        with pytest.raises(CromwellAway, match="It should end before /api"):
            cromwell.submit(submission())

    def test_sent_twice_it_is_one_run(self, cromwell, stub):
        cromwell.submit(submission())
        with pytest.raises(UnclearRefusal, match="already in use"):
            cromwell.submit(submission())
        assert cromwell.status(RUN) == "Submitted"
        assert len(stub.accepted) == 1

    def test_a_lost_acknowledgement_leaves_one_run_and_no_second_post(self, cromwell, stub):
        stub.plan.append(Mode.LOST_ACK)
        with pytest.raises(CromwellAway):
            cromwell.submit(submission())
        assert [accepted.run_id for accepted in stub.accepted] == [RUN]
        assert stub.asked == [("POST", "/api/workflows/v1")]
        with pytest.raises(UnclearRefusal):
            cromwell.submit(submission())
        assert cromwell.status(RUN) == "Submitted"

    def test_another_id_than_ours_is_final(self, cromwell, stub):
        stub.answer(201, {"id": SUB, "status": "Submitted"})
        with pytest.raises(Refused, match=SUB):
            cromwell.submit(submission())

    @pytest.mark.parametrize("answer", [{"id": RUN}, {"id": RUN, "status": 5}])
    def test_an_answer_without_a_status_proves_nothing(self, cromwell, stub, answer):
        stub.answer(201, answer)
        with pytest.raises(CromwellAway, match="no status"):
            cromwell.submit(submission())

    def test_a_cromwell_that_cannot_take_our_id_is_named_as_too_old(self):
        with CromwellStub(version="74") as old, pytest.raises(TooOld, match="older than 75"):
            Cromwell(old.url).submit(submission())

    def test_a_job_role_goes_to_a_cromwell_that_gives_it_and_to_no_other(self):
        wanted = submission(options={"aws_batch_job_role_arn": "arn:aws:iam::123456789012:role/r"})
        with CromwellStub(version="90") as old:
            with pytest.raises(TooOld, match=r"is 90; a job role .* needs 91"):
                Cromwell(old.url).submit(wanted)
            assert not old.accepted
        with CromwellStub(version="91") as stub:
            assert Cromwell(stub.url).submit(wanted) == "Submitted"

    def test_nan_never_leaves_the_house(self, cromwell, stub):
        with pytest.raises(ValueError, match="JSON"):
            cromwell.submit(submission(inputs={"w.x": float("nan")}))
        assert stub.asked == []


AWAY = [
    (Mode.DOWN, "could not be reached.*refused"),
    (Mode.ERROR, "answered 500: Connection to the database was lost"),
    (Mode.BUSY, "answered 503: Cromwell service is shutting down"),
    (Mode.GATEWAY, "answered 502: 502 Bad Gateway"),
    (Mode.HTML, "something other than Cromwell's JSON: 502 Bad Gateway"),
    (Mode.TRUNCATED, "broke off"),
    (Mode.RESET, "broke off"),
    (Mode.MISPLACED, "no such route.*It should end before /api"),
    (Mode.LOCKED, "would not let us in"),
    (Mode.REDIRECT, "sends us elsewhere"),
]
CALLS: list[Callable[[Cromwell], object]] = [
    lambda cromwell: cromwell.submit(submission()),
    lambda cromwell: cromwell.status(RUN),
    lambda cromwell: cromwell.statuses([RUN]),
    lambda cromwell: cromwell.outputs(RUN),
    lambda cromwell: cromwell.failed_jobs(RUN),
    lambda cromwell: cromwell.failures(RUN),
    lambda cromwell: cromwell.abort(RUN),
    lambda cromwell: cromwell.release(RUN),
    lambda cromwell: cromwell.version(),
]
NAMES = [
    *("submit", "status", "statuses", "outputs", "failed_jobs"),
    *("failures", "abort", "release", "version"),
]


class TestCromwellAway:
    @pytest.mark.parametrize(("mode", "text"), AWAY, ids=[mode.name for mode, _ in AWAY])
    @pytest.mark.parametrize("call", CALLS, ids=NAMES)
    def test_every_call_says_so_in_one_way(self, cromwell, stub, call, mode, text):
        if call is not CALLS[0]:
            stub.set_status(RUN, "On Hold")
        stub.mode = mode
        with pytest.raises(CromwellAway, match=text):
            call(cromwell)

    def test_a_slow_answer_is_not_waited_for(self, stub):
        stub.mode, stub.delay = Mode.SLOW, 5
        began = time.monotonic()
        with pytest.raises(CromwellAway, match=r"did not answer within 0\.2 s"):
            Cromwell(stub.url, read_timeout=0.2).submit(submission())
        assert time.monotonic() - began < 2
        assert stub.asked == [("POST", "/api/workflows/v1")]

    def test_nor_is_one_that_drips(self, stub):
        stub.set_status(RUN, "Running")
        stub.mode, stub.delay = Mode.DRIP, 0.05
        with pytest.raises(CromwellAway, match="too slowly"):
            Cromwell(stub.url, read_timeout=0.3).status(RUN)

    def test_a_slow_read_is_not_repeated(self, stub):
        stub.mode, stub.delay = Mode.SLOW, 5
        with pytest.raises(CromwellAway):
            Cromwell(stub.url, read_timeout=0.2).status(RUN)
        assert len(stub.requests) == 1

    @pytest.mark.parametrize("mode", [Mode.RESET, Mode.TRUNCATED])
    def test_a_broken_read_is_asked_once_more(self, cromwell, stub, mode):
        stub.set_status(RUN, "Running")
        stub.plan.append(mode)
        assert cromwell.status(RUN) == "Running"
        assert len(stub.requests) == 2

    def test_a_broken_change_is_not(self, cromwell, stub):
        stub.set_status(RUN, "Running")
        stub.plan.append(Mode.RESET)
        with pytest.raises(CromwellAway):
            cromwell.abort(RUN)
        assert len(stub.requests) == 1

    def test_a_host_that_does_not_exist(self):
        with pytest.raises(CromwellAway, match="could not be reached"):
            Cromwell("http://cromwell.invalid:8000").status(RUN)

    def test_a_connection_that_nobody_takes(self):
        with socket.socket() as full, ExitStack() as waiting:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            for _ in range(3):
                ahead = waiting.enter_context(socket.socket())
                ahead.setblocking(False)
                ahead.connect_ex(full.getsockname())
            port = full.getsockname()[1]
            cromwell = Cromwell(f"http://127.0.0.1:{port}", connect_timeout=0.2)
            with pytest.raises(CromwellAway, match="no connection in time"):
                cromwell.status(RUN)

    def test_an_address_that_is_none(self):
        with pytest.raises(CromwellAway, match="address cannot be used"):
            Cromwell("ftp://cromwell").status(RUN)

    def test_no_tls_where_tls_was_asked_for(self, stub):
        secure = stub.url.replace("http:", "https:")
        with pytest.raises(CromwellAway, match="secure connection to Cromwell failed"):
            Cromwell(secure).status(RUN)

    def test_it_comes_back(self, cromwell, stub):
        stub.mode = Mode.DOWN
        with pytest.raises(CromwellAway):
            cromwell.version()
        stub.mode = Mode.UP
        assert cromwell.version() == "92"


class TestAsking:
    def test_the_status_of_a_run(self, cromwell, stub):
        stub.set_status(RUN, "Running")
        assert cromwell.status(RUN) == "Running"

    def test_a_run_that_cromwell_does_not_know(self, stub, cromwell):
        with pytest.raises(UnknownRun, match=f"Unrecognized workflow ID: {RUN}"):
            cromwell.status(RUN)

    def test_a_run_that_is_not_visible_yet(self):
        with CromwellStub(hidden_reads=3) as stub:
            cromwell = Cromwell(stub.url)
            cromwell.submit(submission())
            assert cromwell.statuses([RUN]) == {}
            for _ in range(2):
                with pytest.raises(UnknownRun):
                    cromwell.status(RUN)
            assert cromwell.status(RUN) == "Submitted"

    def test_an_id_cannot_leave_its_place_in_the_path(self, cromwell, stub):
        with pytest.raises(UnknownRun):
            cromwell.status("../../x?y")
        assert stub.asked == [("GET", "/api/workflows/v1/..%2F..%2Fx%3Fy/status")]

    def test_an_id_that_cromwell_cannot_read_is_refused(self, cromwell, stub):
        stub.answer(400, {"status": "fail", "message": "Invalid workflow ID: 'x'."})
        with pytest.raises(Refused, match="Invalid workflow ID"):
            cromwell.status("x")

    def test_many_at_once_in_pages(self, cromwell, stub):
        known = [str(uuid4()) for _ in range(450)]
        for run_id in known:
            stub.set_status(run_id, "Running")
        stub.set_status(known[7], "Failed")
        found = cromwell.statuses([*known, RUN, known[0]])
        assert found == {**dict.fromkeys(known, "Running"), known[7]: "Failed"}
        assert stub.asked == [("POST", "/api/workflows/v1/query")] * 3

    def test_none_at_all_asks_nothing(self, cromwell, stub):
        assert cromwell.statuses([]) == {}
        assert stub.asked == []

    def test_sub_workflows_are_left_out_of_a_query(self, cromwell, stub):
        cromwell.statuses([RUN])
        assert json.loads(stub.requests[0].body) == [{"includeSubworkflows": "false"}, {"id": RUN}]

    @pytest.mark.parametrize("told", [{}, {"results": {}}])
    def test_a_query_without_results_is_no_answer(self, cromwell, stub, told):
        stub.answer(200, told)
        with pytest.raises(CromwellAway, match="no results"):
            cromwell.statuses([RUN])

    def test_odd_results_are_passed_over(self, cromwell, stub):
        stub.answer(200, {"results": [None, {"id": RUN}, {"id": 3, "status": "x"}]})
        assert cromwell.statuses([RUN]) == {}

    def test_outputs(self, cromwell, stub):
        stub.succeed(RUN, {"w.out": "s3://b/x"})
        assert cromwell.outputs(RUN) == {"w.out": "s3://b/x"}

    def test_outputs_that_were_archived_are_none(self, cromwell, stub):
        stub.answer(200, {"id": RUN, "metadataArchiveStatus": "ArchivedAndDeleted"})
        assert cromwell.outputs(RUN) == {}

    def test_an_answer_beyond_all_measure_is_not_read(self, cromwell, stub):
        stub.answer(200, b" " * (2 << 20))
        with pytest.raises(Final, match="larger than 1 MiB"):
            cromwell.status(RUN)

    def test_more_metadata_than_cromwell_serves_is_final(self, cromwell, stub):
        said = (
            f"Metadata for workflow {RUN} exists in database but cannot be served because row"
            " count of 2000000 exceeds configured limit of 1000000."
        )
        stub.answer(500, {"status": "error", "message": said})
        with pytest.raises(Final, match="row count of 2000000"):
            cromwell.failures(RUN)

    def test_json_too_deep_to_read_is_not_cromwells(self, cromwell, stub):
        stub.answer(200, b"[" * 100_000)
        with pytest.raises(CromwellAway, match="something other than Cromwell's JSON"):
            cromwell.status(RUN)

    def test_an_error_whose_body_breaks_off_is_still_told_by_its_status(self, cromwell, stub):
        stub.plan.extend([Mode.TRUNCATED, Mode.TRUNCATED])
        with pytest.raises(CromwellAway, match="no such route"):
            cromwell.status(RUN)

    def test_other_refusals_are_cromwell_being_away(self, cromwell, stub):
        stub.answer(415, b"")
        with pytest.raises(CromwellAway, match="answered 415: nothing more"):
            cromwell.status(RUN)

    def test_no_connection_is_kept(self, stub):
        cromwell = Cromwell(stub.url + "/")
        cromwell.submit(submission())
        cromwell.version()
        assert [sent.headers["Connection"] for sent in stub.requests] == ["close"] * 2

    def test_one_client_serves_many_threads(self, cromwell, stub):
        stub.set_status(RUN, "Running")
        seen: list[str] = []
        threads = [
            threading.Thread(target=lambda: seen.append(cromwell.status(RUN))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == ["Running"] * 8


class TestAborting:
    def test_before_it_began(self, cromwell):
        cromwell.submit(submission())
        assert cromwell.abort(RUN) == "Aborted"

    def test_while_it_runs(self, cromwell, stub):
        stub.set_status(RUN, "Running")
        assert cromwell.abort(RUN) == "Aborting"

    @pytest.mark.parametrize("status", ["Succeeded", "Failed", "Aborted", None])
    def test_when_it_has_ended_or_never_was(self, cromwell, stub, status):
        if status:
            stub.set_status(RUN, status)
        with pytest.raises(UnknownRun, match="no workflow with that ID is in progress"):
            cromwell.abort(RUN)


class TestWhyItFailed:
    def test_nothing_failed(self, cromwell, stub):
        stub.set_status(RUN, "Running")
        assert cromwell.failed_jobs(RUN) == []
        assert cromwell.failures(RUN) == ()
        assert not any("failed-jobs" in path for _, path in stub.asked)

    def test_a_plain_call_with_all_that_cromwell_knows_of_it(self, cromwell, stub):
        stub.fail(
            RUN,
            calls={
                "w.align": [
                    failed(
                        "Job w.align:NA:1 exited with return code 3",
                        returnCode=3,
                        jobId="j-1",
                        stdout="s3://b/out",
                        stderr="s3://b/err",
                    )
                ],
                "w.sort": [DONE],
            },
        )
        (call,) = cromwell.failed_jobs(RUN)
        assert call == FailedCall(
            fqn="w.align",
            call_id=CallId(RUN, "align"),
            messages=("Job w.align:NA:1 exited with return code 3",),
            execution_status="Failed",
            return_code=3,
            job_id="j-1",
            stdout="s3://b/out",
            stderr="s3://b/err",
        )

    def test_a_shard_that_failed_before_the_last_is_not_missed(self, cromwell, stub):
        shards = [DONE | {"shardIndex": 0}, failed(shardIndex=1), DONE | {"shardIndex": 2}]
        stub.fail(RUN, calls={"w.align": shards})
        assert [call.call_id for call in cromwell.failed_jobs(RUN)] == [CallId(RUN, "align", 1)]

    def test_a_job_that_failed_while_its_call_did_not_is_no_failure(self, cromwell, stub):
        accepted = DONE | {"returnCode": 3, "backendStatus": "Failed"}
        stub.fail(RUN, calls={"w.lenient": [accepted], "w.align": [failed()]})
        assert [call.fqn for call in cromwell.failed_jobs(RUN)] == ["w.align"]

    def test_an_attempt_that_is_tried_again_is_told_apart(self, cromwell, stub):
        first = failed("killed", executionStatus="RetryableFailure", retryableFailure=True)
        stub.fail(RUN, calls={"w.align": [first, failed("again", attempt=2)]})
        calls = cromwell.failed_jobs(RUN)
        assert [(call.call_id.attempt, call.lasting) for call in calls] == [(1, False), (2, True)]
        assert [call.execution_status for call in calls] == ["RetryableFailure", "Failed"]

    def test_a_call_within_a_sub_workflow_bears_that_workflows_id(self, cromwell, stub):
        inner = {"id": SUB, "calls": {"prep.trim": [failed("inner", shardIndex=4, jobId="j")]}}
        outer = failed("outer", subWorkflowMetadata=inner)
        stub.fail(RUN, calls={"w.prep": [outer]})
        (call,) = cromwell.failed_jobs(RUN)
        assert call.call_id == CallId(SUB, "trim", 4)
        assert (call.messages, call.job_id) == (("inner",), "j")

    def test_a_sub_workflow_that_failed_for_nothing_inside_is_told_itself(self, cromwell, stub):
        retried = failed(retryableFailure=True, executionStatus="RetryableFailure")
        inner = {"id": SUB, "calls": {"prep.trim": [retried]}}
        stub.fail(RUN, calls={"w.prep": [failed("bad inputs", subWorkflowMetadata=inner)]})
        calls = {call.call_id: call.lasting for call in cromwell.failed_jobs(RUN)}
        assert calls == {CallId(SUB, "trim"): False, CallId(RUN, "prep"): True}

    @pytest.mark.parametrize("mode", [Mode.ERROR, Mode.HTML, Mode.RESET, Mode.MISPLACED])
    def test_without_the_details_the_failures_are_still_told(self, cromwell, stub, mode):
        stub.fail(RUN, calls={"w.align": [failed("why", returnCode=3)]})
        stub.plan.extend([Mode.UP, mode])
        (call,) = cromwell.failed_jobs(RUN)
        assert (call.messages, call.return_code) == (("why",), None)

    def test_an_older_cromwell_without_the_route(self):
        with CromwellStub(version="80", failed_jobs=False) as stub:
            stub.fail(RUN, calls={"w.align": [failed("why")]})
            assert [call.messages for call in Cromwell(stub.url).failed_jobs(RUN)] == [("why",)]

    def test_details_of_a_shape_we_do_not_know_are_passed_over(self, cromwell, stub):
        told = {"id": RUN, "calls": {"w.a": [failed()]}, "odd": [1], "odder": {"calls": [2]}}
        stub.answer(200, told)
        assert len(cromwell.failed_jobs(RUN)) == 1

    @pytest.mark.parametrize(
        "calls",
        [
            None,
            [],
            "x",
            {"w.a": None},
            {"w.a": [None, 3]},
            {"w.a": [{}]},
            {"w.a": [{"failures": []}]},
        ],
    )
    def test_calls_of_a_shape_we_do_not_know_are_no_failures(self, cromwell, stub, calls):
        stub.answer(200, {"id": RUN, "calls": calls})
        assert cromwell.failed_jobs(RUN) == []

    def test_a_call_that_says_next_to_nothing(self, cromwell, stub):
        entry = {"failures": "odd", "attempt": True, "shardIndex": "1"}
        stub.answer(200, {"calls": {"w.a": [entry]}})
        (call,) = cromwell.failed_jobs(RUN)
        assert (call.call_id, call.messages) == (CallId(RUN, "a"), ("odd",))

    def test_full_metadata_is_never_asked_for(self, cromwell, stub):
        stub.fail(RUN, failures=[failure("x")], calls={"w.align": [failed()]})
        cromwell.failed_jobs(RUN)
        cromwell.failures(RUN)
        for _, path in stub.asked:
            assert "includeKey=" in path or path.endswith("/failed-jobs")

    def test_the_runs_own_failures_from_the_outside_in_each_once(self, cromwell, stub):
        stub.fail(
            RUN,
            failures=[
                failure(
                    "Workflow failed", failure("a", failure("root")), failure("b"), failure("a")
                ),
                failure("Other", failure("root")),
            ],
        )
        assert cromwell.failures(RUN) == ("Workflow failed", "a", "root", "b", "Other")

    def test_ten_thousand_failures_are_told_in_bounds(self, cromwell, stub):
        causes = [failure(f"shard {n} " + "x" * 5_000) for n in range(1_000)]
        stub.fail(RUN, failures=[failure("Workflow failed", *causes)])
        messages = cromwell.failures(RUN)
        assert len(messages) == 50
        assert max(map(len, messages)) == 4_000


class TestVersions:
    def test_cromwell_tells_its_own(self):
        with CromwellStub(version="87-ab12cde-SNAP") as stub:
            assert Cromwell(stub.url).version() == "87-ab12cde-SNAP"

    def test_a_server_that_tells_none_is_not_cromwell(self, cromwell, stub):
        stub.answer(200, {})
        with pytest.raises(CromwellAway, match="is it Cromwell"):
            cromwell.version()

    @pytest.mark.parametrize(
        ("version", "feature"),
        [
            ("75", Feature.SUBMISSION),
            ("92", Feature.SUBMISSION),
            ("75-443a6fc-SNAP", Feature.SUBMISSION),
            ("91", Feature.JOB_ROLES),
            ("100", Feature.JOB_ROLES),
        ],
    )
    def test_new_enough(self, version, feature):
        require(version, feature)

    @pytest.mark.parametrize(
        ("version", "feature", "since"),
        [
            ("74", Feature.SUBMISSION, "75 or later"),
            ("9", Feature.SUBMISSION, "75 or later"),
            ("90", Feature.JOB_ROLES, "91 or later"),
            ("87-ab12cde-SNAP", Feature.JOB_ROLES, "91 or later"),
            ("87.1-AWS", Feature.JOB_ROLES, "91 or later"),
        ],
    )
    def test_too_old_is_said_with_both_versions(self, version, feature, since):
        with pytest.raises(TooOld, match=rf"This Cromwell is {version}; .* needs {since}"):
            require(version, feature)

    def test_no_version_at_all(self):
        with pytest.raises(CromwellAway, match="is it Cromwell"):
            require("develop", Feature.SUBMISSION)


def test_loading_the_client_loads_nothing_heavy():
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, dropwell.cromwell; print(*sys.modules)"],
        capture_output=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
        check=True,
    ).stdout.split()
    assert not {"pydantic", "boto3", "botocore", "WDL"} & set(loaded)
