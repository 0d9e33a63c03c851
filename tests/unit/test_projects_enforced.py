"""What the operator sets for a project, on its way to Cromwell and to people."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dropwell.control import Answer, act
from dropwell.drops import Action, Control
from dropwell.errors import ProjectsUnreadable
from dropwell.notices import Detail
from dropwell.preflight import QueueAsked
from dropwell.preparing import Rules
from dropwell.projects import Project, Projects
from dropwell.runs import Due, State
from dropwell.submission import Outcome, submit
from dropwell.telling import tell
from tests.simulation.lab import Lab, bundle, checked
from tests.simulation.world import World

CARDIO = Project(
    s3_root="s3://workflows/cardio",
    job_role_arn="arn:role",
    queue_arn="arn:queue",
    notice_detail="minimal",
    labels={"cost-center": "4711"},
    cache_prefixes=("s3://workflows/cardio/",),
)
OPTIONS = {
    "aws_s3_root": "s3://workflows/cardio",
    "aws_batch_job_role_arn": "arn:role",
    "call_cache_hit_path_prefixes": ["s3://workflows/cardio/"],
    "default_runtime_attributes": {"queueArn": "arn:queue"},
}
BROKEN = 'config/projects.json:3  the key "rot" is not known'


@pytest.fixture
def lab():
    return Lab(World(), projects=Projects(named={"cardio": CARDIO}))


@pytest.fixture
def post(lab):
    """Drop a bundle with these files, and deliver its event."""

    def deliver(project="cardio", **pages):
        drop = lab.drop(project=project)
        files = {name: json.dumps(page, indent=1) for name, page in pages.items()}
        lab.inbox.objects[drop.key] = {"v1": bundle(**files)}
        return submit(drop, lab.desk, now=lab.world.now), drop

    return deliver


class TestARunOfTheProject:
    def test_is_posted_with_what_is_set_for_it(self, lab, post):
        _, drop = post()
        posted = lab.cromwell.accepted[drop.run_id]
        assert posted.options == OPTIONS
        assert posted.labels == {
            "cost-center": "4711",
            "dropwell-project": "cardio",
            "dropwell-name": "hello",
        }
        assert lab.run(drop).warnings == ()

    def test_may_ask_the_rest_as_before(self, lab, post):
        own = {"write_to_cache": False, "default_runtime_attributes": {"maxRetries": 2}}
        _, drop = post(**{"options.json": own, "labels.json": {"team": "a"}})
        posted = lab.cromwell.accepted[drop.run_id]
        assert posted.options == OPTIONS | {
            "write_to_cache": False,
            "default_runtime_attributes": {"maxRetries": 2, "queueArn": "arn:queue"},
        }
        assert posted.labels["team"] == "a"

    def test_cannot_ask_otherwise_and_is_told(self, lab, post):
        theirs = {
            "aws_s3_root": "s3://workflows/oncology",
            "aws_batch_job_role_arn": "arn:another",
            "call_cache_hit_path_prefixes": ["s3://workflows/"],
            "default_runtime_attributes": {"queueArn": "arn:gpu"},
        }
        told, drop = post(**{"options.json": theirs, "labels.json": {"cost-center": "1"}})
        assert told is Outcome.SUBMITTED
        assert lab.cromwell.accepted[drop.run_id].options == OPTIONS
        assert lab.cromwell.accepted[drop.run_id].labels["cost-center"] == "4711"
        warnings = lab.run(drop).warnings
        assert len(warnings) == 5
        assert warnings[0] == (
            'options.json:2  the option "aws_s3_root" asks for "s3://workflows/oncology"; the'
            ' operator sets "s3://workflows/cardio" for this project, and that is used'
        )
        assert warnings[4].startswith('labels.json:2  the label "cost-center" asks for "1"; ')

    def test_cannot_ask_otherwise_in_its_manifest(self, lab, post):
        _, drop = post(**{"MANIFEST.json": {"labels": {"cost-center": "1"}}})
        [warning] = lab.run(drop).warnings
        assert warning.startswith('MANIFEST.json:3  the label "cost-center" asks for "1"; ')

    def test_is_found_by_the_labels_that_are_set_for_it(self, lab, post):
        _, drop = post(**{"labels.json": {"team": "a"}})
        assert dict(lab.run(drop).labels) == {"team": "a", "cost-center": "4711"}

    def test_goes_before_what_the_operator_sets_for_all(self, lab, post):
        enforced = {"aws_s3_root": "s3://workflows/all", "hogGroup": "lab"}
        lab.desk = replace(lab.desk, rules=Rules(enforced_options=enforced))
        _, drop = post()
        assert lab.cromwell.accepted[drop.run_id].options == OPTIONS | {"hogGroup": "lab"}

    @pytest.mark.parametrize(
        ("asked", "said"),
        [("arn:gpu", "the queue arn:gpu"), (None, "a queue"), ("arn:queue", "")],
    )
    def test_cannot_send_its_tasks_to_another_queue(self, lab, post, asked, said):
        queues = (QueueAsked("main.wdl", 9, asked),)
        lab.desk = replace(lab.desk, check=lambda b: replace(checked(b), queues=queues))
        told, drop = post()
        if not said:
            assert told is Outcome.SUBMITTED
            return
        assert lab.run(drop).findings == (
            f"main.wdl:9  a task asks for {said} by queueArn; the operator sets arn:queue for this"
            " project. Leave queueArn out: the jobs go to the project's queue without it.",
        )

    def test_cannot_send_them_there_by_its_inputs(self, lab, post):
        _, drop = post(**{"inputs.json": {"hello.say.runtime.queueArn": "arn:gpu"}})
        [finding] = lab.run(drop).findings
        assert finding.startswith("inputs.json:2  a task asks for the queue arn:gpu by queueArn; ")

    def test_may_name_a_queue_where_the_operator_sets_none(self, lab, post):
        lab.projects = Projects()
        told, _ = post(**{"inputs.json": {"hello.say.runtime.queueArn": "arn:gpu"}})
        assert told is Outcome.SUBMITTED

    def test_with_more_labels_than_fit_is_rejected(self, lab, post):
        _, drop = post(**{"labels.json": {f"l{n}": "x" for n in range(40)}})
        assert lab.run(drop).findings == (
            "40 labels, and 1 that the operator sets for this project; at most 40 fit on a job",
        )

    def test_held_options_that_are_not_set_stay_closed(self, lab, post):
        lab.projects = Projects(named={"cardio": Project(queue_arn="arn:queue")})
        told, drop = post(**{"options.json": {"aws_s3_root": "s3://workflows/oncology"}})
        assert told is Outcome.REJECTED
        assert 'option "aws_s3_root" is not open to drops' in lab.run(drop).findings[0]

    @pytest.mark.parametrize("good", [True, False])
    def test_is_told_of_in_the_detail_that_is_set_for_it(self, lab, good, monkeypatch):
        said = []
        monkeypatch.setattr("dropwell.telling.mail", lambda facts, detail: said.append(detail))
        monkeypatch.setattr("dropwell.telling._speak", lambda *_: None)
        drop = lab.drop()
        if not good:
            lab.inbox.objects[drop.key] = {"v1": b"x" * drop.size}
        submit(drop, lab.desk, now=lab.world.now)
        [kind] = lab.notices(drop)
        tell((drop.run_id, f"NOTICE#{kind}"), lab.voice, now=lab.world.now)
        assert said == [Detail.MINIMAL]
        assert lab.voice.detail is Detail.STANDARD


class TestAProjectThatIsNotNamed:
    def test_gets_the_default(self, lab, post):
        lab.projects = Projects(named={"cardio": CARDIO}, default=Project(queue_arn="arn:low"))
        _, drop = post("oncology")
        posted = lab.cromwell.accepted[drop.run_id]
        assert posted.options == {"default_runtime_attributes": {"queueArn": "arn:low"}}

    def test_runs_as_it_asks_where_there_is_none(self, lab, post):
        _, drop = post("oncology")
        assert lab.cromwell.accepted[drop.run_id].options == {}

    def test_is_rejected_where_the_file_is_closed(self, lab, post):
        lab.projects = Projects(named={"cardio": CARDIO}, closed=True, ask="ada@example.org")
        told, drop = post("oncology")
        assert told is Outcome.REJECTED
        assert lab.run(drop).findings == (
            'the project "oncology" is not open here. See whether the folder under inbox/ is the'
            " right one; to have it opened, ask ada@example.org.",
        )
        assert lab.cromwell.posts == []
        assert lab.notices(drop) == ["rejected"]
        assert post("cardio")[0] is Outcome.SUBMITTED

    def test_keeps_a_run_that_was_posted_before_it_was_closed(self, lab):
        drop = lab.drop(project="oncology")
        lab.cromwell.away = True
        submit(drop, lab.desk, now=lab.world.now)
        lab.cromwell.away = False
        posted = lab.cromwell.accepted
        posted[drop.run_id] = None
        lab.cromwell.status = lambda run_id: "Running"
        lab.projects = Projects(closed=True, ask="Ada")
        lab.world.now += 60
        assert submit(drop, lab.desk, now=lab.world.now) is Outcome.SUBMITTED


class TestWhileTheFileIsBroken:
    @pytest.fixture
    def broken(self, lab):
        def projects():
            if not lab.projects:
                raise ProjectsUnreadable(BROKEN)
            return lab.projects

        lab.desk = replace(lab.desk, projects=projects)
        mended, lab.projects = lab.projects, None
        return lambda: setattr(lab, "projects", mended)

    def test_a_drop_waits_and_says_for_whom(self, lab, post, broken):
        told, drop = post(**{"MANIFEST.json": {"name": "wgs"}})
        assert told is Outcome.WAITING
        run = lab.run(drop)
        assert (run.state, run.due_kind) == (State.QUEUED, Due.SUBMIT)
        assert run.due_at > lab.world.now
        page = json.loads(lab.inbox.read(f"runs/cardio/wgs/{drop.run_id}/status.json", limit=999))
        assert page["waiting"] == f"waiting for the operator: {BROKEN}"
        assert lab.notices(drop) == []
        assert drop.key in lab.inbox.keys("inbox/")

    def test_it_waits_for_days_and_is_posted_once_it_is_mended(self, lab, post, broken):
        _, drop = post()
        for _ in range(200):
            lab.world.now = lab.run(drop).due_at
            assert submit(drop, lab.desk, now=lab.world.now) is Outcome.WAITING
        broken()
        lab.world.now = lab.run(drop).due_at
        assert submit(drop, lab.desk, now=lab.world.now) is Outcome.SUBMITTED
        assert lab.cromwell.posts == [drop.run_id]
        assert lab.cromwell.accepted[drop.run_id].options == OPTIONS

    def test_what_is_no_bundle_waits_too(self, lab, broken):
        """It is rejected later: the file says how much a mail may tell of it."""
        drop = lab.drop()
        lab.inbox.objects[drop.key] = {"v1": b"x" * drop.size}
        assert submit(drop, lab.desk, now=lab.world.now) is Outcome.WAITING
        broken()
        lab.world.now = lab.run(drop).due_at
        assert submit(drop, lab.desk, now=lab.world.now) is Outcome.REJECTED
        assert lab.run(drop).notice_detail == "minimal"

    def test_a_run_can_be_called_off(self, lab, post, broken):
        _, drop = post()
        answer = act(
            Control("cardio", Action.ABORT, drop.run_id), now=lab.world.now,
            table=lab.table, inbox=lab.inbox, cromwell=lab.cromwell,
        )  # fmt: skip
        assert answer is Answer.DONE
        assert submit(drop, lab.desk, now=lab.world.now) is Outcome.CANCELED

    def test_cromwells_absence_is_told_as_before(self, lab, post, broken):
        _, drop = post()
        broken()
        lab.cromwell.away = True
        lab.world.now = lab.run(drop).due_at
        submit(drop, lab.desk, now=lab.world.now)
        assert lab.run(drop).waits_for == "Cromwell"


class TestAControlFile:
    @pytest.mark.parametrize("action", Action)
    @pytest.mark.parametrize("theirs", ["oncology", "default", "cardi", "cardio2", "cardio@0"])
    def test_of_one_project_does_not_touch_anothers_run(self, lab, post, action, theirs):
        _, drop = post()
        before, writes = lab.run(drop), lab.world.effects
        answer = act(
            Control(theirs, action, drop.run_id), now=lab.world.now,
            table=lab.table, inbox=lab.inbox, cromwell=lab.cromwell,
        )  # fmt: skip
        assert answer is Answer.ANOTHER_PROJECT
        assert not answer.acted
        assert (lab.run(drop), lab.world.effects) == (before, writes)
