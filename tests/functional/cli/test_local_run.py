"""`dropwell local run` and `dropwell local demo`: what they print, and with which code they end.

The local stack itself is for the tests of the whole; here stands another in its place.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace

import boto3
import pytest

from dropwell.runs import Run, State
from dropwell_cli import faces, sessions
from dropwell_cli.following import Watched
from dropwell_cli.reading import Standing
from dropwell_cli.sessions import Outcome, Session
from dropwell_local import stack as stacks
from dropwell_local.engine.sandbox import Isolation
from tests.functional.conftest import DROPPED_AT, INBOX, RUN_ID, WORKFLOWS

OUTPUTS = {"Table": "table", "InboxBucket": INBOX, "WorkflowBucket": WORKFLOWS}

FIVE = (
    (State.COMPLETE, None),
    (State.COMPLETE, None),
    (State.COMPLETE, None),
    (State.EXECUTOR_ERROR, "TASK_ERROR"),
    (State.REJECTED, None),
)


@dataclass
class Stage:
    """How the drops of the next command end."""

    ends: tuple = ((State.COMPLETE, None),)
    ours: bool = True
    in_time: bool = True
    interrupted: bool = False
    asked: dict = field(default_factory=dict)


@pytest.fixture
def stage(monkeypatch, place, tmp_path):
    stage = Stage()

    @contextmanager
    def local_session(work, out, **asked):
        stage.asked = asked
        stack = SimpleNamespace(folder=tmp_path / "session")
        yield Session(stack=stack, place=place, ours=stage.ours)

    def run_through(place, parcels, *, project, timeout, out, dropped):
        watched = [
            _watched(parcel, project, state)
            for parcel, (state, _) in zip(parcels, stage.ends, strict=True)
        ]
        dropped(watched)
        if stage.interrupted:
            raise KeyboardInterrupt
        results = [
            {"bundle": one.bundle, "state": state.value, "cause": cause}
            for one, (state, cause) in zip(watched, stage.ends, strict=True)
        ]
        return Outcome(watched=watched, results=results, in_time=stage.in_time)

    monkeypatch.setattr(sessions, "local_session", local_session)
    monkeypatch.setattr(sessions, "run_through", run_through)
    return stage


def _watched(parcel, project, state):
    run = Run(
        run_id=RUN_ID,
        name=parcel.name,
        project=project,
        state=state,
        dropped_at=DROPPED_AT,
        ended_at=DROPPED_AT + 12,
    )
    return Watched(
        run_id=RUN_ID, name=run.name, bundle=parcel.given, standing=Standing(run=run, counts={})
    )


@pytest.fixture
def hello(tmp_path):
    file = tmp_path / "hello.wdl"
    file.write_text("version 1.0")
    return str(file)


class TestLocalRun:
    def test_ends_with_0_if_every_run_is_complete(self, dropwell, stage, hello):
        stage.ends = ((State.COMPLETE, None),) * 2
        assert dropwell("local", "run", hello, hello).code == 0

    @pytest.mark.parametrize("state", [State.EXECUTOR_ERROR, State.REJECTED, State.RUNNING])
    def test_ends_with_1_if_one_is_not(self, dropwell, stage, hello, state):
        stage.ends = ((State.COMPLETE, None), (state, None))
        assert dropwell("local", "run", hello, hello).code == 1

    def test_prints_one_object_a_bundle_and_nothing_else_as_json(self, dropwell, stage, hello):
        stage.ends = ((State.COMPLETE, None), (State.EXECUTOR_ERROR, "TASK_ERROR"))
        lines = dropwell("local", "run", hello, hello, "--json").out.splitlines()
        told = [json.loads(line) for line in lines]
        assert [(one["bundle"], one["state"], one["cause"]) for one in told] == [
            (hello, "COMPLETE", None),
            (hello, "EXECUTOR_ERROR", "TASK_ERROR"),
        ]

    def test_says_where_everything_lies(self, dropwell, stage, hello, tmp_path):
        out = dropwell("local", "run", hello).out
        assert f"  {tmp_path / 'session'}/" in out
        assert f"runs/default/hello/{RUN_ID}/\n" in out
        assert "The local stack has stopped; its files stay." in out

    def test_says_how_to_look_further_where_the_stack_goes_on(self, dropwell, stage, hello):
        stage.ours = False
        assert f"  dropwell show {RUN_ID[:8]}" in dropwell("local", "run", hello).out

    def test_says_so_if_the_time_was_over(self, dropwell, stage, hello):
        stage.ends, stage.in_time = ((State.RUNNING, None),), False
        out = dropwell("local", "run", hello, "--timeout", "5").out
        assert "Not all ended within 5 seconds; the others were stopped with it." in out

    def test_interrupted_says_that_nothing_goes_on_with_its_own_stack(self, dropwell, stage, hello):
        stage.interrupted = True
        ended = dropwell("local", "run", hello)
        assert ended.code == 130
        assert "Stopped, and the local stack with it: nothing goes on." in ended.out

    def test_interrupted_says_what_goes_on_in_the_stack_that_ran(self, dropwell, stage, hello):
        stage.interrupted, stage.ours = True, False
        ended = dropwell("local", "run", hello)
        assert ended.code == 130
        assert f"  dropwell watch {RUN_ID[:8]} --stack dropwell-test  (hello)\n" in ended.out

    def test_starts_nothing_for_a_bundle_that_is_not_there(self, dropwell, stage, hello):
        ended = dropwell("local", "run", hello, "nosuch.zip")
        assert (ended.code, ended.error) == (1, "nosuch.zip is not there.\n")


@pytest.fixture
def started(monkeypatch, tmp_path):
    """What local stacks were started with, and one that stands for each."""
    started = []

    @contextmanager
    def local_stack(work, *, cromwell, say):
        started.append(cromwell)
        yield SimpleNamespace(client=boto3.client, outputs=OUTPUTS, mails=list)

    monkeypatch.setattr(stacks, "local_stack", local_stack)
    return started


@pytest.fixture
def running(monkeypatch):
    """A local stack that runs."""
    stack = SimpleNamespace(client=boto3.client, outputs=OUTPUTS, mails=list)
    monkeypatch.setattr(stacks.LocalStack, "found", lambda work: stack)


class TestHowTheStackIsStarted:
    @pytest.mark.parametrize("command", [("run", "examples/hello"), ("demo",)])
    def test_is_asked_of_the_session(self, dropwell, stage, command):
        stage.ends = FIVE if command == ("demo",) else stage.ends
        dropwell("local", *command, "--chaos", "oom=0.5", "--isolation", "none")
        assert stage.asked == {"chaos": "seed=0,oom=0.5:1", "isolation": Isolation.NONE}

    @pytest.mark.parametrize("command", [("up",), ("run", "examples/hello"), ("demo",)])
    def test_is_checked_before_anything_is(self, dropwell, started, command):
        ended = dropwell("local", *command, "--chaos", "lose=2")
        told = "--chaos: lose=2: the share that it happens to is from 0 to 1."
        assert (ended.code, ended.error.strip(), started) == (1, told, [])

    @pytest.mark.parametrize("command", [("up",), ("run", "examples/hello"), ("demo",)])
    def test_is_shown_by_the_examples_of_each_help(self, dropwell, command):
        told = dropwell("local", command[0], "--help").out
        assert "--isolation <auto|bubblewrap|none>" in " ".join(told.split())
        assert f"  dropwell local {command[0]}" in told.partition("Examples:")[2]
        assert " --chaos " in told.partition("Examples:")[2]

    def test_reaches_the_stack(self, cloud, started, tmp_path):
        session = sessions.local_session(
            tmp_path, faces.console(), chaos="seed=0,oom=1:1", isolation=Isolation.NONE
        )
        with session as given:
            assert given.ours
        assert started == [{"chaos": "seed=0,oom=1:1", "isolation": "none"}]

    def test_is_nothing_to_a_stack_that_runs_where_nothing_is_asked(
        self, cloud, started, running, tmp_path
    ):
        with sessions.local_session(tmp_path, faces.console()) as given:
            assert not given.ours
        assert started == []

    @pytest.mark.parametrize(
        ("words", "named"),
        [
            (("--chaos", "oom=1"), "--chaos"),
            (("--isolation", "none"), "--isolation"),
            (("--chaos", "oom=1", "--isolation", "none"), "--chaos and --isolation"),
        ],
    )
    def test_is_refused_where_a_stack_runs(self, dropwell, running, hello, words, named):
        ended = dropwell("local", "run", hello, *words)
        assert ended.code == 1
        assert f"already, and {named} would say how to start one" in " ".join(ended.error.split())


class TestTheDemonstration:
    def test_ends_with_0_if_the_five_ended_as_they_should(self, dropwell, stage):
        stage.ends = FIVE
        ended = dropwell("local", "demo")
        assert ended.code == 0
        assert ended.out.endswith("All five ended as they should.\n")
        for name in ("hello", "fastq-stats", "subworkflows", "failing", "typo"):
            assert f"\n{name} " in ended.out

    def test_ends_with_1_and_names_what_did_not(self, dropwell, stage):
        stage.ends = (*FIVE[:3], (State.COMPLETE, None), *FIVE[4:])
        ended = dropwell("local", "demo")
        assert ended.code == 1
        assert ended.out.endswith("Not as it should be: failing.\n")

    def test_fits_80_columns_but_for_addresses(self, dropwell, stage):
        stage.ends = FIVE
        lines = dropwell("local", "demo").out.splitlines()
        assert [line for line in lines if len(line) > 80 and "/" not in line] == []
