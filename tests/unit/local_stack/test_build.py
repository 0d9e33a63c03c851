from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest

from dropwell_local import handlers_here
from dropwell_local.build import (
    CommandFailed,
    ToolMissing,
    Tools,
    built_template,
    digest,
    run,
)

TEMPLATE = {
    "Globals": {
        "Function": {"Runtime": "python3.13", "Layers": [{"Ref": "CommonLayer"}], "Timeout": 3}
    },
    "Resources": {
        "CommonLayer": {
            "Type": "AWS::Serverless::LayerVersion",
            "Properties": {"ContentUri": "CommonLayer"},
        },
        "Submitter": {
            "Type": "AWS::Serverless::Function",
            "Properties": {"CodeUri": "Submitter", "LoggingConfig": {"LogFormat": "JSON"}},
        },
        "Table": {"Type": "AWS::DynamoDB::Table", "Properties": {}},
    },
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder that looks like this project to a build."""
    folder = tmp_path / "project"
    for name in (
        "template.yaml",
        "functions/submitter/handler.py",
        "layers/common/Makefile",
        "local/dropwell_local/handlers_here.py",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    """Return tools whose `sam` counts its calls and builds an empty template."""
    folder = tmp_path / "tools"
    sam = (
        '#!/bin/sh\nwhile [ "$1" != --build-dir ]; do shift; done\n'
        f'mkdir -p "$2"; echo called >>{tmp_path}/calls\n'
    )
    python = f'#!/bin/sh\ntouch "$2"/{handlers_here.TEMPLATE}\n'
    for name, text in (
        ("sam/bin/sam", sam),
        ("sam/bin/python", python),
        ("runtime/bin/python", ""),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (folder / "runtime/lib/python3.11").mkdir(parents=True)
    return Tools(folder)


def build(project: Path, tools: Tools) -> Path:
    folder = project.parent
    return built_template(
        builds=folder / "builds", tools=tools, log=folder / "log", project=project
    )


def builds_so_far(project: Path) -> int:
    return len((project.parent / "calls").read_text().splitlines())


def test_unchanged_sources_are_built_once(project: Path, tools: Tools) -> None:
    assert build(project, tools) == build(project, tools)
    assert builds_so_far(project) == 1


def test_a_change_of_a_handler_is_built_again(project: Path, tools: Tools) -> None:
    before = build(project, tools)
    (project / "functions/submitter/handler.py").write_text("changed")
    assert build(project, tools) != before
    assert builds_so_far(project) == 2


def test_a_build_that_was_interrupted_is_made_again(project: Path, tools: Tools) -> None:
    build(project, tools).unlink()
    assert build(project, tools).exists()
    assert builds_so_far(project) == 2


def test_what_python_leaves_behind_changes_nothing(project: Path, tools: Tools) -> None:
    before = digest(project, tools)
    cache = project / "functions/submitter/__pycache__/handler.pyc"
    cache.parent.mkdir()
    cache.write_text("byte code")
    assert digest(project, tools) == before


def test_another_python_needs_another_build(project: Path, tools: Tools) -> None:
    before = digest(project, tools)
    (tools.folder / "runtime/lib/python3.11").rename(tools.folder / "runtime/lib/python3.13")
    assert digest(project, tools) != before


def test_a_missing_tool_is_named_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match="make setup"):
        _ = Tools(tmp_path).sam


def test_a_failed_program_is_quoted(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("said before\n")
    with pytest.raises(CommandFailed) as failed:
        run("sh", "-c", "echo no such bucket; exit 3", environment=dict(os.environ), log=log)
    assert "`sh -c` failed" in str(failed.value)
    assert "no such bucket" in str(failed.value)
    assert "said before" not in str(failed.value)


def test_functions_run_under_a_python_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "Submitter").mkdir()
    template = handlers_here_of(tmp_path)
    function = template["Resources"]["Submitter"]["Properties"]
    assert function["Runtime"] == "provided.al2023"
    assert template["Globals"]["Function"] == {"Timeout": 3}

    bootstrap = tmp_path / "Submitter/bootstrap"
    assert bootstrap.stat().st_mode & 0o111
    assert 'exec /runtime/bin/python -m awslambdaric "$_HANDLER"' in bootstrap.read_text()
    assert f'PYTHONPATH="$LAMBDA_TASK_ROOT:{tmp_path}/CommonLayer/python"' in bootstrap.read_text()
    assert "AWS_LAMBDA_LOG_FORMAT=JSON" in bootstrap.read_text()


@pytest.mark.parametrize(("batch", "at_once"), [(99, 2), (1, 10)])
def test_a_queue_read_in_batches_has_few_functions_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int, at_once: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    (tmp_path / "Submitter").mkdir()
    template: dict[str, Any] = copy.deepcopy(TEMPLATE)
    scaling = {"MaximumConcurrency": 10}
    queue = {"Type": "SQS", "Properties": {"BatchSize": batch, "ScalingConfig": scaling}}
    function = template["Resources"]["Submitter"]["Properties"]
    function["Events"] = {"Sightings": queue, "Notices": {"Properties": {"BatchSize": 10}}}

    handlers_here.run_handlers_here(template, build=tmp_path, python=Path("/runtime/bin/python"))

    assert scaling == {"MaximumConcurrency": at_once}


def test_other_resources_stay_as_they_were_built(tmp_path: Path) -> None:
    (tmp_path / "Submitter").mkdir()
    template = handlers_here_of(tmp_path)
    for name in ("Table", "CommonLayer"):
        assert template["Resources"][name] == TEMPLATE["Resources"][name]


def handlers_here_of(build: Path) -> dict[str, dict[str, dict[str, dict[str, object]]]]:
    template = copy.deepcopy(TEMPLATE)
    handlers_here.run_handlers_here(template, build=build, python=Path("/runtime/bin/python"))
    return template
