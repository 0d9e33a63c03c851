"""Queues, topic, bus, job logs and Batch's own records: what is sent, and what AWS answers."""

from __future__ import annotations

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import ANY, Stubber

from dropwell.aws.batch import Jobs
from dropwell.aws.bus import Bus
from dropwell.aws.logs import LogGroup
from dropwell.aws.queues import LONGEST_DELAY, Queue
from dropwell.aws.topics import Topic
from dropwell.errors import TryAgain
from dropwell.jobs import JobStatus
from tests.functional.conftest import LOGS, client


class TestAQueue:
    @pytest.fixture
    def queue(self, cloud):
        return Queue(client("sqs"), cloud.names["DropQueue"])

    def test_takes_any_number_of_messages(self, cloud, queue):
        queue.send(*({"n": number} for number in range(23)))
        assert [sent.body["n"] for sent in cloud.sent("DropQueue")] == list(range(23))

    def test_of_none_asks_nothing(self, cloud, queue):
        queue.send()
        assert cloud.sent("DropQueue") == []

    @pytest.mark.parametrize(("asked", "given"), [(5, 5), (LONGEST_DELAY + 1, LONGEST_DELAY)])
    def test_holds_a_message_back(self, cloud, queue, asked, given):
        queue.send({"n": 1}, delay=asked)
        [sent] = cloud.sent("DropQueue")
        assert sent.delay == given

    def test_that_takes_only_some_is_tried_again(self):
        sqs = boto3.client("sqs")
        failed = {"Id": "1", "SenderFault": False, "Code": "Busy", "Message": "not now"}
        taken = {"Id": "0", "MessageId": "m", "MD5OfMessageBody": "x"}
        with Stubber(sqs) as stub:
            stub.add_response("send_message_batch", {"Successful": [taken], "Failed": [failed]})
            with pytest.raises(TryAgain, match="did not take 1 messages: not now"):
                Queue(sqs, "https://q").send({}, {})


class TestATopic:
    def test_leaves_out_attributes_that_are_empty(self, cloud):
        topic = Topic(client("sns"), cloud.names["MailTopic"])
        topic.publish("subject", "body", {"kind": "ended", "cause": ""})
        [mail] = cloud.mails()
        assert (mail.subject, mail.body, mail.attributes) == ("subject", "body", {"kind": "ended"})


class TestABus:
    def test_carries_an_event_under_our_name(self, cloud):
        Bus(client("events"), "bus").put("Run Failing", {"a": 1})
        [told] = cloud.events()
        assert (told["source"], told["detail-type"], told["detail"]) == (
            "dropwell",
            "Run Failing",
            {"a": 1},
        )

    def test_that_does_not_take_an_event_is_tried_again(self):
        events = boto3.client("events")
        answer = {
            "FailedEntryCount": 1,
            "Entries": [{"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"}],
        }
        with Stubber(events) as stub:
            stub.add_response("put_events", answer, {"Entries": ANY})
            with pytest.raises(TryAgain, match="ThrottlingException: slow down"):
                Bus(events, "bus").put("Run Failing", {})


class TestALogGroup:
    def test_of_a_stream_that_is_not_there_tells_nothing(self, cloud):
        assert LogGroup(client("logs"), LOGS).tail("nowhere", 9) == ""

    def test_tells_the_last_lines_of_a_stream(self):
        logs = boto3.client("logs")
        asked = {
            "logGroupName": LOGS,
            "logStreamName": "s",
            "limit": 2,
            "startFromHead": False,
        }
        with Stubber(logs) as stub:
            stub.add_response(
                "get_log_events", {"events": [{"message": "a"}, {}, {"message": "b"}]}, asked
            )
            assert LogGroup(logs, LOGS).tail("s", 2) == "a\n\nb"

    def test_that_aws_will_not_read_so_soon_is_as_good_as_none(self):
        logs = client("logs")
        with Stubber(logs) as stub:
            stub.add_client_error("get_log_events", service_error_code="ThrottlingException")
            assert LogGroup(logs, LOGS).tail("s", 2) == ""

    def test_that_is_forbidden_is_not_taken_for_empty(self):
        logs = boto3.client("logs")
        with Stubber(logs) as stub:
            stub.add_client_error("get_log_events", service_error_code="AccessDeniedException")
            with pytest.raises(ClientError):
                LogGroup(logs, LOGS).tail("s", 2)


class TestBatchsRecords:
    def test_are_asked_for_a_hundred_at_a_time(self):
        batch = boto3.client("batch")
        job_ids = [f"job-{number}" for number in range(130)]

        def job(job_id):
            return {
                "jobName": "n",
                "jobId": job_id,
                "jobQueue": "q",
                "status": "RUNNING",
                "startedAt": 1,
                "jobDefinition": "d",
            }

        with Stubber(batch) as stub:
            for page in (job_ids[:100], job_ids[100:]):
                known = [job(job_id) for job_id in page[:5]]
                stub.add_response("describe_jobs", {"jobs": known}, {"jobs": page})
            found = Jobs(batch).describe(job_ids)
            stub.assert_no_pending_responses()
        assert len(found) == 10
        assert found["job-101"].status is JobStatus.RUNNING

    def test_of_jobs_that_are_forgotten_hold_nothing(self, cloud):
        assert Jobs(client("batch")).describe(["189b25f0-c758-5686-bde6-fb4cfe333295"]) == {}
        assert Jobs(client("batch")).describe([]) == {}

    def test_that_cannot_be_had_now_are_asked_for_again(self):
        batch = boto3.client("batch")
        with Stubber(batch) as stub:
            stub.add_client_error("describe_jobs", "TooManyRequestsException", "Rate exceeded")
            with pytest.raises(TryAgain, match="Rate exceeded"):
                Jobs(batch).describe(["job-1"])
