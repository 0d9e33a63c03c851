"""The operator's file of projects in a bucket: how often it is asked for, and what counts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
from botocore.exceptions import EndpointConnectionError

from dropwell.aws.projects import REMEMBERED_SECONDS, ProjectsFile
from dropwell.errors import ProjectsUnreadable
from dropwell.projects import MOST_BYTES, PROJECTS_FILE, Project
from dropwell.runs import Due, State
from tests.functional.conftest import INBOX, WORKFLOWS, client
from tests.unit.bundle_builders import zipped

QUEUE = "arn:aws:batch:eu-west-1:123456789012:job-queue/cardio"
PAGE = json.dumps({"projects": {"cardio": {"queue_arn": QUEUE}}})
BROKEN = '{"projects": {"cardio": {"queue_arn": "cardio"}}}'
WDL = "version 1.0\nworkflow hello { }\n"


@dataclass
class Asked:
    """S3 with each GET written down: how it was asked, and how many bytes came."""

    answers: list[tuple[bool, str]] = field(default_factory=list)
    failing: Exception | None = None

    def get_object(self, **asked):
        conditional = "IfNoneMatch" in asked
        try:
            if self.failing:
                raise self.failing
            answer = client("s3").get_object(**asked)
        except Exception as error:
            code = getattr(error, "response", {}).get("Error", {}).get("Code", "none")
            self.answers.append((conditional, code))
            raise
        self.answers.append((conditional, "200"))
        return answer


@pytest.fixture
def asked():
    return Asked()


@pytest.fixture
def told():
    return []


@pytest.fixture
def projects(cloud, asked, told):
    return ProjectsFile(
        asked, INBOX, workflow_bucket=WORKFLOWS, when_broken=told.append, clock=cloud.clock.time
    )


class TestTheFile:
    def test_that_is_not_there_costs_one_request_a_minute(self, projects, asked, cloud):
        for _ in range(REMEMBERED_SECONDS):
            assert projects().of("cardio") == Project()
            cloud.clock.pass_by(1)
        assert asked.answers == [(False, "NoSuchKey")]
        projects()
        assert asked.answers == [(False, "NoSuchKey")] * 2

    def test_is_read_once_and_then_only_asked_whether_it_changed(self, projects, asked, cloud):
        cloud.put(PROJECTS_FILE, PAGE)
        for _ in range(3):
            assert projects().of("cardio") == Project(queue_arn=QUEUE)
            assert projects().of("cardio") == Project(queue_arn=QUEUE)
            cloud.clock.pass_by(REMEMBERED_SECONDS)
        assert asked.answers == [(False, "200"), (True, "304"), (True, "304")]

    def test_that_changes_counts_within_a_minute(self, projects, cloud):
        assert projects().of("cardio") == Project()
        for page, expected in ((PAGE, QUEUE), ('{"projects": {}}', ""), (PAGE, QUEUE)):
            cloud.put(PROJECTS_FILE, page)
            cloud.clock.pass_by(REMEMBERED_SECONDS)
            assert projects().of("cardio") == Project(queue_arn=expected)

    def test_that_is_removed_counts_no_more(self, projects, cloud):
        cloud.put(PROJECTS_FILE, PAGE)
        projects()
        client("s3").delete_object(Bucket=INBOX, Key=PROJECTS_FILE)
        cloud.clock.pass_by(REMEMBERED_SECONDS)
        assert projects().of("cardio") == Project()

    def test_that_is_broken_is_not_used_and_told_of_once_a_minute(
        self, projects, asked, told, cloud
    ):
        cloud.put(PROJECTS_FILE, PAGE)
        projects()
        cloud.put(PROJECTS_FILE, BROKEN)
        for _ in range(2):
            cloud.clock.pass_by(REMEMBERED_SECONDS)
            for _ in range(3):
                with pytest.raises(ProjectsUnreadable, match='json:1  "queue_arn" is not the ARN'):
                    projects()
        assert len(told) == 2
        assert asked.answers == [(False, "200"), (True, "200"), (True, "304")]
        cloud.put(PROJECTS_FILE, PAGE)
        cloud.clock.pass_by(REMEMBERED_SECONDS)
        assert projects().of("cardio") == Project(queue_arn=QUEUE)

    def test_that_is_too_large_is_not_read_whole(self, projects, cloud):
        cloud.put(PROJECTS_FILE, b" " * (MOST_BYTES + 100))
        with pytest.raises(ProjectsUnreadable, match="larger than 262 kB"):
            projects()

    def test_that_cannot_be_reached_is_not_taken_for_none(self, projects, asked, told, cloud):
        cloud.put(PROJECTS_FILE, PAGE)
        projects()
        asked.failing = EndpointConnectionError(endpoint_url="https://s3")
        cloud.clock.pass_by(REMEMBERED_SECONDS)
        with pytest.raises(ProjectsUnreadable, match="could not be read: EndpointConnectionError"):
            projects()
        asked.failing = None
        cloud.clock.pass_by(REMEMBERED_SECONDS)
        assert projects().of("cardio") == Project(queue_arn=QUEUE), "read anew, not as unchanged"
        assert len(told) == 1

    def test_in_a_bucket_that_is_not_there_is_not_taken_for_none(self, cloud, told):
        nowhere = ProjectsFile(
            client("s3"), "nowhere", workflow_bucket="w", when_broken=told.append,
            clock=cloud.clock.time,
        )  # fmt: skip
        with pytest.raises(ProjectsUnreadable, match="could not be read: NoSuchBucket"):
            nowhere()


class TestTheSubmitter:
    @pytest.fixture
    def landed(self, cloud, event):
        return lambda: cloud.land(event("s3_drop"), zipped({"main.wdl": WDL}))

    def test_posts_a_run_as_the_file_has_it(self, cloud, landed, cromwell):
        cloud.put(PROJECTS_FILE, PAGE)
        told, _ = landed()
        assert cloud.submitter(told) == []
        [posted] = cromwell.accepted
        assert json.loads(posted.fields["workflowOptions"]) == {
            "default_runtime_attributes": {"queueArn": QUEUE}
        }

    def test_lets_drops_wait_while_it_is_broken_and_counts_it(
        self, cloud, landed, cromwell, counted, capsys
    ):
        cloud.put(PROJECTS_FILE, BROKEN)
        told, drop = landed()
        assert cloud.submitter(told) == []
        run = cloud.run(drop.run_id)
        assert (run.state, run.due_kind) == (State.QUEUED, Due.SUBMIT)
        page = cloud.page(run.folder + "status.json")
        assert page["waiting"].startswith("waiting for the operator: config/projects.json:1  ")
        counts = counted()
        assert (counts["ProjectsFileBroken"], counts["DropsWaiting"]) == (1, 1)

        cloud.put(PROJECTS_FILE, PAGE)
        cloud.clock.pass_by(REMEMBERED_SECONDS)
        cloud.sweep()
        [message] = cloud.sent("DropQueue")
        assert cloud.submitter(message.body) == []
        assert cloud.run(drop.run_id).submitted_at
        assert len(cromwell.accepted) == 1

    def test_does_not_look_for_a_drop_that_is_done_with(self, cloud, landed, monkeypatch):
        told, _ = landed()
        cloud.submitter(told)
        cloud.clock.pass_by(REMEMBERED_SECONDS)
        monkeypatch.setattr(ProjectsFile, "_look", None)
        assert cloud.submitter(told) == []
