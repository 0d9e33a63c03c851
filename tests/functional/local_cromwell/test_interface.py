"""The REST interface, at the moments when clients find it surprising."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable
from datetime import datetime

import httpx
import pytest

from dropwell_local.cromwell.serve import LocalCromwell

from .conftest import Cromwell, Start, until

SOURCE = "version 1.0\nworkflow w {}"
UNKNOWN = "00000000-0000-4000-8000-000000000000"


def test_a_submission_is_seen_only_after_a_while(
    start: Start,
    speak_to: Callable[[LocalCromwell], Cromwell],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with start(tmp_path_factory.mktemp("lag"), visibility_lag=0.6, max_workflows=0) as server:
        cromwell = speak_to(server)
        seen, aborted = cromwell.submit(SOURCE), cromwell.submit(SOURCE)

        early = [cromwell.get(f"{seen}/{what}") for what in ("status", "metadata", "labels")]
        none = cromwell.get("query").json()
        abort = cromwell.post(f"/{aborted}/abort")

        assert {answer.status_code for answer in early} == {404}
        assert early[0].json()["message"] == f"Unrecognized workflow ID: {seen}"
        assert none == {"results": [], "totalResultsCount": 0}
        assert abort.json() == {"id": aborted, "status": "Aborted"}
        until(lambda: cromwell.get(f"{seen}/status").status_code == 200)
        assert cromwell.status(seen) == "Submitted"
        assert "end" not in cromwell.metadata(aborted)


def test_a_requested_id_is_taken_once(waiting: Cromwell) -> None:
    wanted = str(uuid.uuid4())
    first = waiting.post(workflowSource=SOURCE, requestedWorkflowId=wanted)
    waiting.post(f"/{wanted}/abort")

    again = waiting.post(workflowSource=SOURCE, requestedWorkflowId=f'"{wanted}"')

    assert (first.status_code, first.json()) == (201, {"id": wanted, "status": "Submitted"})
    assert again.status_code == 400
    assert again.json() == {
        "status": "fail",
        "message": f"Requested workflow IDs are already in use: {wanted}",
    }


def test_of_two_parts_with_one_name_the_last_wins(waiting: Cromwell) -> None:
    parts = [("workflowSource", SOURCE), ("workflowInputs", "{}"), ("workflowInputs", '{"w.n": 2}')]
    answer = httpx.post(
        f"{waiting.url}/api/workflows/v2",
        files=[(name, (None, text)) for name, text in parts],
    )

    run_id = answer.json()["id"]

    assert waiting.metadata(run_id)["submittedFiles"]["inputs"] == '{"w.n": 2}'


def test_a_refusal_has_cromwells_body(waiting: Cromwell) -> None:
    answer = waiting.post(workflowSource=SOURCE, wrong="x")

    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    assert answer.text == (
        '{\n  "status": "fail",\n  "message": "Error(s): Unexpected body part name: wrong"\n}'
    )


def test_a_deprecated_name_is_warned_of(waiting: Cromwell) -> None:
    answer = waiting.post(wdlSource=SOURCE)

    assert answer.status_code == 201
    assert answer.headers["Warning"].startswith("299 cromwell/92 \"The 'wdlSource' parameter")


def test_a_held_workflow_waits_for_its_release(waiting: Cromwell) -> None:
    held = waiting.post(workflowSource=SOURCE, workflowOnHold="true").json()
    assert held["status"] == "On Hold"

    released = waiting.post(f"/{held['id']}/releaseHold")
    again = waiting.post(f"/{held['id']}/releaseHold")

    assert released.json() == {"id": held["id"], "status": "Submitted"}
    assert (again.status_code, again.json()["status"]) == (403, "error")


@pytest.mark.parametrize(
    "what", ["status", "outputs", "logs", "metadata", "labels", "metadata/failed-jobs"]
)
def test_reads_of_what_is_not_there(waiting: Cromwell, what: str) -> None:
    unknown, malformed = waiting.get(f"{UNKNOWN}/{what}"), waiting.get(f"no-id/{what}")

    assert (unknown.status_code, unknown.json()["message"]) == (
        404,
        f"Unrecognized workflow ID: {UNKNOWN}",
    )
    assert (malformed.status_code, malformed.json()["message"]) == (
        400,
        "Invalid workflow ID: 'no-id'.",
    )


def test_an_abort_of_what_is_not_there_is_an_error(waiting: Cromwell) -> None:
    answer = waiting.post(f"/{UNKNOWN}/abort")

    assert answer.status_code == 404
    assert answer.json() == {
        "status": "error",
        "message": f"Couldn't abort {UNKNOWN} because no workflow with that ID is in progress",
    }


def test_queries_come_by_get_and_by_post(waiting: Cromwell) -> None:
    run_id = waiting.submit(SOURCE, labels='{"q": "1"}')
    other = waiting.submit(SOURCE, labels='{"q": "2"}')

    by_get = waiting.get("query", label="q:1", additionalQueryResultFields="labels").json()
    asked = [{"id": run_id}, {"id": other}, {"pagesize": "1"}, {"page": "2"}]
    by_post = httpx.post(f"{waiting.url}/api/workflows/v1/query", json=asked).json()

    assert [one["id"] for one in by_get["results"]] == [run_id]
    assert by_get["results"][0]["labels"]["q"] == "1"
    assert ([one["id"] for one in by_post["results"]], by_post["totalResultsCount"]) == (
        [run_id],
        2,
    )


def test_labels_are_merged(waiting: Cromwell) -> None:
    run_id = waiting.submit(SOURCE, labels='{"a": "1"}')

    answer = httpx.patch(f"{waiting.url}/api/workflows/v1/{run_id}/labels", json={"b": "2"})

    assert answer.json()["labels"] == {
        "a": "1",
        "b": "2",
        "cromwell-workflow-id": f"cromwell-{run_id}",
    }
    assert waiting.get(f"{run_id}/labels").json() == answer.json()


def test_the_engine_says_what_it_is(waiting: Cromwell) -> None:
    version = httpx.get(f"{waiting.url}/engine/v1/version").json()
    health = httpx.get(f"{waiting.url}/engine/v1/status").json()
    backends = waiting.get("backends").json()

    assert (version, health) == ({"cromwell": "92"}, {})
    assert backends == {"supportedBackends": ["AWSBATCH"], "defaultBackend": "AWSBATCH"}


def test_a_wrong_method_is_answered_as_akka_does(waiting: Cromwell) -> None:
    answer = httpx.post(f"{waiting.url}/api/workflows/v1/{UNKNOWN}/status")

    assert answer.status_code == 405
    assert answer.text == "HTTP method not allowed, supported methods: GET"


def test_a_status_shows_the_end_only_after_the_poll(
    start: Start,
    speak_to: Callable[[LocalCromwell], Cromwell],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    # Without logs, for which events would wait.
    with start(tmp_path_factory.mktemp("poll"), poll_lag=1.0, logs=False) as server:
        cromwell = speak_to(server)
        run_id = cromwell.submit(
            "version 1.0\nworkflow w { call t }\n"
            'task t { command <<< true >>> runtime { docker: "u" memory: "1 GB" } }'
        )
        assert cromwell.wait(run_id) == "Succeeded"
        until(lambda: cromwell.events(run_id)[-1]["status"] == "SUCCEEDED")
        stopped = cromwell.events(run_id)[-1]["stoppedAt"] / 1000
        ended = datetime.fromisoformat(cromwell.metadata(run_id)["end"]).timestamp()

    assert ended - stopped >= 0.99


def test_a_batch_is_taken_whole_or_not_at_all(waiting: Cromwell) -> None:
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    inputs, ids = '[{"w.n": 1}, {"w.n": 2}]', f'["{first}", "{second}"]'

    taken = waiting.post(
        "/batch", workflowSource=SOURCE, workflowInputs=inputs, requestedWorkflowId=ids
    )
    before = waiting.get("query").json()["totalResultsCount"]
    again = waiting.post(
        "/batch",
        workflowSource=SOURCE,
        workflowInputs=inputs,
        requestedWorkflowId=f'["{uuid.uuid4()}", "{second}"]',
    )

    assert (taken.status_code, taken.json()) == (
        201,
        [{"id": first, "status": "Submitted"}, {"id": second, "status": "Submitted"}],
    )
    assert waiting.metadata(second)["submittedFiles"]["inputs"] == '{"w.n": 2}'
    assert again.status_code == 400
    assert waiting.get("query").json()["totalResultsCount"] == before


def test_an_id_in_capitals_is_the_same_id(waiting: Cromwell) -> None:
    run_id = waiting.submit(SOURCE)

    assert waiting.get(f"{run_id.upper()}/status").json()["id"] == run_id
    assert waiting.get("query", id=run_id.upper()).json()["totalResultsCount"] == 1


@pytest.mark.parametrize(
    ("accepted", "coding"), [("gzip, deflate", "gzip"), ("deflate", "deflate")]
)
def test_metadata_comes_compressed_to_who_takes_that(
    waiting: Cromwell, accepted: str, coding: str
) -> None:
    url = f"{waiting.url}/api/workflows/v1/{waiting.submit(SOURCE)}/metadata"

    plain = waiting.http.get(url, headers={"Accept-Encoding": "identity"})
    packed = waiting.http.get(url, headers={"Accept-Encoding": accepted})

    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == coding
    assert packed.json() == plain.json()


def test_the_timing_page_shows_what_is_known(waiting: Cromwell) -> None:
    run_id = waiting.submit(SOURCE)

    page = waiting.get(f"{run_id}/timing")

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.text.startswith("<html>")
    assert f"{run_id}: Submitted" in page.text
    assert "No call has started." in page.text


def test_a_wdl_is_described(waiting: Cromwell) -> None:
    describe = f"{waiting.url}/api/womtool/v1/describe"
    good = waiting.http.post(describe, files={"workflowSource": SOURCE}).json()
    bad = waiting.http.post(describe, files={"workflowSource": "version 1.0\nworkflow {"})

    assert (good["valid"], good["name"], good["isRunnableWorkflow"]) == (True, "w", True)
    assert (bad.status_code, bad.json()["valid"]) == (200, False)
    assert bad.json()["errors"]


@pytest.mark.parametrize(
    "path",
    [
        "/api/ga4gh/wes/v1/service-info",
        "/api/ga4gh/wes/v1/runs",
        f"/api/ga4gh/wes/v1/runs/{UNKNOWN}",
        "/api/workflows/v1/callcaching/diff",
        f"/api/workflows/v1/{UNKNOWN}/cost",
    ],
)
def test_what_is_not_offered_says_so(waiting: Cromwell, path: str) -> None:
    answer = waiting.http.get(waiting.url + path)

    assert answer.status_code == 501
    assert "does not offer" in answer.text


def test_more_metadata_than_is_served_is_an_error(
    start: Start,
    speak_to: Callable[[LocalCromwell], Cromwell],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    with start(folder, max_metadata_rows=5, max_workflows=0) as server:
        cromwell = speak_to(server)
        run_id = cromwell.submit(SOURCE)
        whole = cromwell.get(f"{run_id}/metadata")
        part = cromwell.get(f"{run_id}/metadata", includeKey="status")

    assert (whole.status_code, whole.json()["status"]) == (500, "error")
    assert whole.json()["message"].endswith("exceeds configured limit of 5.")
    assert part.status_code == 200


def test_too_large_a_body_is_refused(
    start: Start,
    speak_to: Callable[[LocalCromwell], Cromwell],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("large")
    with start(folder, max_request_mib=1, max_workflows=0) as server:
        answer = speak_to(server).post(workflowSource="x" * (1 << 20))

    assert answer.status_code == 413
    assert "exceeded size limit (1048576 bytes)" in answer.text


def test_while_it_shuts_down_it_says_so(
    start: Start,
    speak_to: Callable[[LocalCromwell], Cromwell],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("closing")
    with start(folder, shutdown_notice=2.0, max_workflows=0) as server:
        cromwell = speak_to(server)
        os.kill(cromwell.pid, signal.SIGTERM)
        until(lambda: cromwell.get("query").status_code == 503)

        assert cromwell.get("query").json() == {
            "status": "fail",
            "message": "Cromwell service is shutting down.",
        }
        assert cromwell.post(workflowSource=SOURCE).status_code == 503


def test_newest_come_first_unless_asked_otherwise(waiting: Cromwell) -> None:
    label = uuid.uuid4().hex
    ids = [waiting.submit(SOURCE, labels=f'{{"order": "{label}"}}') for _ in range(3)]

    newest = waiting.get("query", label=f"order:{label}").json()["results"]
    oldest = waiting.get("query", label=f"order:{label}", newestFirst="false").json()["results"]

    assert [one["id"] for one in newest] == ids[::-1]
    assert [one["id"] for one in oldest] == ids


def test_sub_workflows_are_found_with_their_parents(
    start: Start,
    speak_to: Callable[[LocalCromwell], Cromwell],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with start(tmp_path_factory.mktemp("subs")) as server:
        cromwell = speak_to(server)
        source = 'version 1.0\nimport "inner.wdl" as i\nworkflow outer { call i.inner }'
        inner = "version 1.0\nworkflow inner { output { Int n = 1 } }"
        run_id = cromwell.submit(source, imports={"inner.wdl": inner})
        assert cromwell.wait(run_id) == "Succeeded"

        all_of_them = cromwell.get("query").json()
        roots = cromwell.get("query", includeSubworkflows="false").json()
        whole = cromwell.metadata(run_id, expandSubWorkflows="true")

    sub = next(one for one in all_of_them["results"] if one["name"] == "inner")
    assert all_of_them["totalResultsCount"] == 2
    assert (sub["parentWorkflowId"], sub["rootWorkflowId"]) == (run_id, run_id)
    assert [one["id"] for one in roots["results"]] == [run_id]
    call = whole["calls"]["outer.inner"][0]
    assert call["subWorkflowMetadata"]["id"] == sub["id"]
    assert call["subWorkflowMetadata"]["outputs"] == {"inner.n": 1}
