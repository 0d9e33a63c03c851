"""What stacks/observability.yaml counts and searches for is what the functions say on a bad day."""

from __future__ import annotations

import json
import re

import pytest

from dropwell.errors import CromwellAway
from dropwell.records import put_notice
from dropwell.runs import Due, State
from dropwell.telling import Told
from functions.log_router import handler as log_router
from functions.status_watcher import handler as status_watcher
from functions.submitter import handler as submitter
from tests.functional.conftest import RUN_ID, WORKFLOWS
from tests.stubs.cromwell import Mode
from tests.transformed import stack, template, told_to_observability
from tests.unit.bundle_builders import zipped

FORMATTER = submitter.logger.registered_formatter
DOORS = {
    "SubmitterLogs": submitter,
    "StatusWatcherLogs": status_watcher,
    "LogRouterLogs": log_router,
}
OBSERVED = stack("observability", **told_to_observability())
QUERIES = OBSERVED.document["Resources"]
LAMBDAS_OWN = re.compile(r"record\.|type\b")
RARE = {f"notice {told}" for told in (Told.POSTPONED, Told.SUPERSEDED)}
"""Lines that this day has none of; they are as their neighbours."""

BUNDLE = zipped({"main.wdl": "version 1.0\nworkflow hello {}\n"})


@pytest.fixture
def day(cloud, event, cromwell, monkeypatch):
    """Let all happen that alarms, charts and queries are about."""
    hour = 3600

    def landed(body, key=None):
        sample = event("s3_drop")
        if key:
            sample["Records"][0]["s3"]["object"]["key"] = key
        told, drop = cloud.land(sample, body)
        cloud.submitter(told)
        return drop.run_id

    # A drop each that is taken, rejected, ignored, and called off while it waits.
    landed(BUNDLE)
    landed(b"no zip")
    landed(b"x", "inbox/cardio/a.zip.part")
    cromwell.mode = Mode.DOWN
    waiting = landed(BUNDLE)
    abort = event("s3_control_abort")
    abort["Records"][0]["s3"]["object"]["key"] = f"control/cardio/abort/{waiting}.json"
    cloud.submitter(cloud.land(abort, b"{}")[0])
    cromwell.mode = Mode.UP
    cloud.clock.pass_by(700)
    cloud.submitter({"submit": waiting})
    cloud.submitter("no JSON")

    # Jobs of each status, one of no known call, a blocked queue, nonsense.
    cloud.running()
    for sample in ("batch_runnable", "batch_running", "batch_succeeded", "batch_failed"):
        cloud.watcher(event(sample))
    cloud.watcher(event("batch_untagged"), event("batch_queue_blocked"), "no JSON")

    # Runs that end in each way, are silent, cannot be asked about.
    def due(number, status, **known):
        run_id = f"{number:08}-655b-5e8b-872b-c0e6eb0cf8b5"
        begun = cloud.clock.now - 3 * hour
        known = {"due_kind": Due.POLL, "due_at": cloud.clock.now, "submitted_at": begun} | known
        cloud.running(run_id, started_at=begun, **known)
        if status:
            cromwell.set_status(run_id, status)
        return run_id

    for number, status in enumerate(("Succeeded", "Failed", "Aborted")):
        due(number, status)
    due(3, "", unseen=1)
    due(4, "Running", polls=180)
    due(5, "Succeeded")

    def outputs(run_id):
        if run_id.startswith("00000005"):
            raise CromwellAway("the answer came too slowly")
        return {}

    monkeypatch.setattr(status_watcher.watch().cromwell, "outputs", outputs)
    cloud.sweep()
    due(6, "")
    cromwell.token = "another"
    cloud.sweep()
    cromwell.token = None
    cromwell.mode = Mode.DOWN
    cloud.watcher({"poll": due(7, "")})
    cloud.sweep()
    cromwell.mode = Mode.UP

    # A call that fails, and notices.
    stem = f"cromwell-execution/wgs/{RUN_ID}/call-CallVariants/CallVariants"
    cloud.put(f"{stem}-rc.txt", "3\n", WORKFLOWS)
    cloud.router(event("rc_created"))
    cloud.running("said", state=State.COMPLETE, ended_at=cloud.clock.now)
    cloud.table.write(put_notice("said", "ended", cloud.clock.now))
    cloud.tell("ended", "said")
    cloud.tell("ended", "said")
    cloud.router("no JSON")


@pytest.fixture
def lines(caplog, day):
    """Return the log lines of each function as CloudWatch gets them."""
    return {
        logs: [
            json.loads(FORMATTER.format(record))
            for record in caplog.records
            if record.pathname == door.__file__
        ]
        for logs, door in DOORS.items()
    }


@pytest.fixture
def measured(capsys, day):
    """Return every metric that was sent: its namespace, its name, what it is of."""
    sent = set()
    for line in capsys.readouterr().out.splitlines():
        told = json.loads(line)
        for one in told.get("_aws", {}).get("CloudWatchMetrics", []):
            [names] = one["Dimensions"]
            of = tuple((name, told[name]) for name in names)
            sent |= {(one["Namespace"], metric["Name"], of) for metric in one["Metrics"]}
    return sent


def wanted_metrics():
    """Return what alarms and charts show of our own metrics."""
    wanted = set()
    for alarm in OBSERVED.of_type("AWS::CloudWatch::Alarm").values():
        of = tuple((one["Name"], one["Value"]) for one in alarm["Dimensions"])
        wanted.add((alarm["Namespace"], alarm["MetricName"], of))
    [board] = OBSERVED.of_type("AWS::CloudWatch::Dashboard").values()
    for widget in json.loads(board["DashboardBody"])["widgets"]:
        for namespace, name, *of, _ in widget["properties"].get("metrics", []):
            wanted.add((namespace, name, tuple(zip(of[::2], of[1::2], strict=True))))
    environment = template(CromwellUrl="http://c").environment("SubmitterFunction")
    return {one for one in wanted if one[0] == environment["POWERTOOLS_METRICS_NAMESPACE"]}


def test_every_metric_of_an_alarm_or_a_chart_is_one_that_the_functions_send(measured):
    assert len(wanted_metrics()) > 20
    assert wanted_metrics() - measured == set()


def searches():
    """Yield each query's words, and the log groups it searches: the saved ones, the charts'."""
    for resource in QUERIES.values():
        if resource["Type"] == "AWS::Logs::QueryDefinition":
            told = resource["Properties"]
            yield told["QueryString"], [group["Ref"] for group in told["LogGroupNames"]]
    text = QUERIES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"][0]
    for group, query in re.findall(r"SOURCE '\$\{(\w+)\}' \| ([^\"]+)", text):
        yield query, [group]


def fields_of(query):
    """Return the fields that a query names, but for those of CloudWatch and of Lambda itself."""
    words = re.sub(r"#.*|'[^']*'", "", query)
    words = re.sub(r"\bas \w+|\| sort [^|]*|\| limit \d+", "", words)
    named = re.findall(r"(?<![\w@.])[a-z][\w.]*(?![\w.(])", words)
    grammar = {"filter", "fields", "stats", "by", "in", "and", "max"}
    return {name for name in named if name not in grammar and not LAMBDAS_OWN.match(name)}


def messages_of(query):
    """Return the messages that a query keeps, or none where it keeps all."""
    kept = re.search(r"message (?:= |in \[)((?:'[^']*'(?:, )?)+)", query)
    return set(re.findall(r"'([^']*)'", kept[1])) if kept else set()


def test_the_fields_of_a_query_are_found_where_it_names_them():
    query = "filter message in ['a b', 'c'] and state in ['X']\n| stats count(*) as n by run_id"
    assert fields_of(query) == {"message", "state", "run_id"}
    assert messages_of(query) == {"a b", "c"}


def test_every_query_finds_lines_that_have_the_fields_it_shows(lines):
    searched = list(searches())
    assert len(searched) == 14
    for query, groups in searched:
        if not (named := fields_of(query)):
            assert "platform.report" in query, "of Lambda's own lines alone"
            continue
        wanted = messages_of(query)
        found = [
            line
            for group in groups
            for line in lines[group]
            if line["message"] in wanted or not wanted
        ]
        assert {line["message"] for line in found} >= wanted - RARE, query
        assert named - {name for line in found for name in line} == set(), query
        for state in re.findall(r"state in \[([^]]*)\]", query):
            said = {line.get("state") for line in found}
            assert set(re.findall(r"'(\w+)'", state)) <= said, query


def test_a_runs_story_has_lines_of_all_three_functions(lines):
    told = [group for group in lines if any(line.get("run_id") == RUN_ID for line in lines[group])]
    assert {"StatusWatcherLogs", "LogRouterLogs"} <= set(told)
    assert any("run_id" in line for line in lines["SubmitterLogs"])
