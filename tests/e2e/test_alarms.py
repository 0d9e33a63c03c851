"""Alarms and dashboard made with the pipeline; the emulator lacks the saved queries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from dropwell_local import build, stack


def without_queries(**asked: Any) -> Path:
    template = build.built_template(**asked)
    nested = template.parent / "Observability" / "template.yaml"
    told = yaml_parse(nested.read_text())
    resources = told["Resources"]
    told["Resources"] = {
        name: made
        for name, made in resources.items()
        if made["Type"] != "AWS::Logs::QueryDefinition"
    }
    nested.write_text(json.dumps(told, default=str))
    return template


def test_alarms_watch_what_the_pipeline_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "built_template", without_queries)
    with stack.local_stack(tmp_path, parameters={"Alarms": "true"}) as running:
        alarms = running.client("cloudwatch").describe_alarms()["MetricAlarms"]
        watched = {d["Value"] for alarm in alarms for d in alarm["Dimensions"]}
        told = running.outputs
        queues = [told[name] for name in told if name.endswith(("Queue", "DeadLetters"))]
        functions = running.client("lambda").list_functions()["Functions"]
        assert len(queues) == 7
        assert {url.rpartition("/")[2] for url in queues} <= watched
        assert {function["FunctionName"] for function in functions} <= watched
        assert told["Table"] in watched
        assert told["ServiceName"] in watched
        boards = running.client("cloudwatch").list_dashboards()["DashboardEntries"]
        assert [board["DashboardName"] for board in boards] == [told["ServiceName"]]
        assert told["Dashboard"].endswith(f"#dashboards:name={told['ServiceName']}")
        topics = running.client("sns").list_topics()["Topics"]
        assert {"TopicArn": told["AlarmTopic"]} in topics
