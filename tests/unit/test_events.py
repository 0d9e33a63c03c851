"""AWS's events, read from the samples under events/ and from what hostile or careless ones say."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropwell.aws.events import (
    ObjectSeen,
    blockage,
    drops,
    is_cromwell,
    job_sighting_of_description,
    object_created,
    sighting,
)
from dropwell.calls import CallId, call_of_tags, place_of_rc_key
from dropwell.drops import Drop
from dropwell.errors import BadEvent
from dropwell.jobs import JobStatus, Sighting, later

EVENTS = Path(__file__).parents[2] / "events"
RUN = "0efafdca-7c95-539e-a323-5d833509a1cc"
SUB = "747d6e64-655b-5e8b-872b-c0e6eb0cf8b5"
INBOX, WORKFLOWS = "dropwell-inbox-123456789012", "dropwell-workflows-123456789012"
JOBS = sorted(
    path.stem for path in EVENTS.glob("batch_*.json") if path.stem != "batch_queue_blocked"
)


def text(name: str) -> str:
    return (EVENTS / f"{name}.json").read_text("utf-8")


def job(name: str) -> Sighting:
    seen = sighting(text(name))
    assert seen is not None
    return seen


class TestDrops:
    def test_all_that_the_notification_tells(self):
        assert drops(text("s3_drop")) == [
            ObjectSeen(
                bucket=INBOX,
                key="inbox/cardio/wgs-0412.zip",
                version_id="3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrH",
                size=48211,
                etag="1c8ca2ba8acd6a04442bbe5b07bc27ed",
                sequencer="0068FB2B1F0C4E9A77",
                principal="AWS:AROAEXAMPLECARDIO:alice",
                source_ip="198.51.100.23",
                event_time=1762336800,
            )
        ]

    def test_the_samples_tell_of_the_run_that_this_drop_becomes(self):
        (seen,) = drops(text("s3_drop"))
        dropped = Drop(bucket=seen.bucket, key=seen.key, version_id=seen.version_id or "")
        assert dropped.run_id == RUN

    @pytest.mark.parametrize(
        ("name", "key"),
        [
            ("s3_drop_key_with_space", "inbox/cardio/my first run.zip"),
            ("s3_drop_key_with_plus", "inbox/cardio/tumour+normal.zip"),
            ("s3_drop_key_not_ascii", "inbox/kardiologie/prüfung-Ω №7.zip"),
            ("s3_control_abort", f"control/cardio/abort/{RUN}.json"),
            ("s3_folder_marker", "inbox/cardio/"),
            ("s3_drop_multipart", "inbox/cardio/large.tar.gz"),
        ],
    )
    def test_keys_are_decoded(self, name, key):
        assert [seen.key for seen in drops(text(name))] == [key]

    def test_a_bucket_without_versions_tells_none(self):
        (seen,) = drops(text("s3_drop_without_version"))
        assert seen.version_id is None

    @pytest.mark.parametrize("version", ["", "null", None, 7])
    def test_nor_does_a_version_that_is_none(self, version):
        event = json.loads(text("s3_drop"))
        event["Records"][0]["s3"]["object"]["versionId"] = version
        assert drops(json.dumps(event))[0].version_id is None

    @pytest.mark.parametrize("name", ["s3_test_event", "s3_delete_marker"])
    def test_what_creates_nothing_is_no_drop(self, name):
        assert drops(text(name)) == []

    def test_several_records_are_several_drops(self):
        one, two = (json.loads(text(f"s3_drop{name}")) for name in ("", "_multipart"))
        both = json.dumps({"Records": one["Records"] + two["Records"]})
        assert [seen.size for seen in drops(both)] == [48211, 157286400]

    def test_event_names_may_bear_the_services_prefix(self):
        event = text("s3_drop").replace("ObjectCreated:Put", "s3:ObjectCreated:Put")
        assert len(drops(event)) == 1

    @pytest.mark.parametrize(
        ("body", "what"),
        [
            ("", "not JSON"),
            ("hello", "not JSON"),
            ("[" * 100_000, "not JSON"),
            ("[]", "not a JSON object"),
            ("null", "not a JSON object"),
            ("{}", "no Records"),
            ('{"Records": {}}', "no Records"),
            ('{"Records": [{"eventName": "ObjectCreated:Put"}]}', "names no bucket"),
            (
                '{"Records": [{"eventName": "ObjectCreated", "s3": {"bucket": {"name": "b"}}}]}',
                "names no key",
            ),
        ],
    )
    def test_what_identifies_nothing_is_a_bad_event(self, body, what):
        with pytest.raises(BadEvent, match=what):
            drops(body)

    def test_whatever_else_is_missing_is_missed_quietly(self):
        body = {
            "Records": [
                None,
                {"eventName": 5},
                {
                    "eventName": "ObjectCreated:Put",
                    "eventTime": "yesterday",
                    "userIdentity": "alice",
                    "s3": {"bucket": {"name": "b"}, "object": {"key": "k", "size": "9"}},
                },
            ]
        }
        assert drops(json.dumps(body)) == [ObjectSeen(bucket="b", key="k")]

    @pytest.mark.parametrize(
        ("told", "seconds"),
        [
            ("1970-01-01T00:00:10.999Z", 10),
            ("1970-01-01T01:00:10+01:00", 10),
            ("1970-01-01T00:00:10", 10),
            ("", 0),
            (None, 0),
            (10, 0),
        ],
    )
    def test_times_are_whole_seconds(self, told, seconds):
        event = json.loads(text("s3_drop"))
        event["Records"][0]["eventTime"] = told
        assert drops(json.dumps(event))[0].event_time == seconds


class TestObjectsCreated:
    def test_all_that_the_event_tells(self):
        key = f"cromwell-execution/wgs/{RUN}/call-CallVariants/CallVariants-rc.txt"
        assert object_created(text("rc_created")) == ObjectSeen(
            bucket=WORKFLOWS,
            key=key,
            size=2,
            etag="d82f2667637b995759d9f903d8e42316",
            sequencer="0068FB33A41B6DE0F2",
            principal="123456789012",
            source_ip="10.0.41.7",
            event_time=1762338300,
        )

    def test_an_event_already_read_is_taken_too(self):
        event = json.loads(text("rc_created"))
        assert object_created(event) == object_created(text("rc_created"))

    def test_keys_are_taken_as_they_are(self):
        event = text("rc_created").replace("CallVariants-rc.txt", "a+b%20-rc.txt")
        assert object_created(event).key.endswith("/a+b%20-rc.txt")

    @pytest.mark.parametrize(
        ("name", "call_id", "cached"),
        [
            ("rc_created", CallId(RUN, "CallVariants"), False),
            ("rc_created_shard_attempt", CallId(RUN, "MarkDuplicates", 17, 2), False),
            ("rc_created_sub_workflow", CallId(SUB, "Trim", 3), False),
            ("rc_cache_copy_created", CallId(RUN, "Align"), True),
        ],
    )
    def test_the_key_names_the_call(self, name, call_id, cached):
        seen = object_created(text(name))
        place = place_of_rc_key(seen.bucket, seen.key)
        assert (place.run_id, place.call_id, place.cached) == (RUN, call_id, cached)

    def test_a_log_is_no_return_code(self):
        seen = object_created(text("stderr_created"))
        assert place_of_rc_key(seen.bucket, seen.key) is None

    @pytest.mark.parametrize(
        ("body", "what"),
        [
            ("x", "not JSON"),
            ("{}", "Not an Object Created event"),
            (text("batch_running"), "Not an Object Created event"),
            ('{"detail-type": "Object Created"}', "names no bucket"),
            (
                '{"detail-type": "Object Created", "detail": {"bucket": {"name": "b"}}}',
                "names no key",
            ),
        ],
    )
    def test_anything_else_is_a_bad_event(self, body, what):
        with pytest.raises(BadEvent, match=what):
            object_created(body)


class TestSightings:
    def test_all_that_a_failed_job_tells(self):
        seen = job("batch_out_of_memory")
        assert seen == Sighting(
            job_id="efe65560-b2da-5e88-8777-62a5def8d125",
            status=JobStatus.FAILED,
            attempts=1,
            job_name="wgs_MarkDuplicates",
            queue="arn:aws:batch:eu-west-1:123456789012:job-queue/dropwell-spot",
            exit_code=137,
            reason="Essential container in task exited",
            container_reason="OutOfMemoryError: Container killed due to memory usage",
            log_stream=seen.log_stream,
            created_at=1762337750058,
            started_at=1762337800720,
            stopped_at=1762338600270,
            vcpus="4",
            memory_mib=8192,
            image="broadinstitute/gatk:4.5.0.0",
            script_url=f"s3://{WORKFLOWS}/scripts/3e91ba54cf274b10a56f4142a7d0dad1",
            tags=(
                ("cromwell-root-workflow-id", RUN),
                ("cromwell-root-workflow-name", "wgs"),
                ("cromwell-task-id", "wgs.MarkDuplicates-Some_17_-1"),
                ("cromwell-workflow-id", RUN),
                ("cromwell-workflow-name", "wgs"),
                ("dropwell-project", "cardio"),
            ),
        )
        assert re.fullmatch(
            r"cromwell_broadinstitute_gatk\w+/default/[0-9a-f]{32}", seen.log_stream
        )

    @pytest.mark.parametrize(
        ("name", "status", "attempts", "exit_code"),
        [
            ("batch_runnable", "RUNNABLE", 0, None),
            ("batch_starting", "STARTING", 0, None),
            ("batch_running", "RUNNING", 0, None),
            ("batch_succeeded", "SUCCEEDED", 1, 0),
            ("batch_failed", "FAILED", 1, 3),
            ("batch_retry_runnable", "RUNNABLE", 1, None),
            ("batch_spot_lost", "FAILED", 3, None),
            ("batch_host_lost", "FAILED", 1, None),
            ("batch_timeout", "FAILED", 1, 137),
            ("batch_image_pull_failed", "FAILED", 1, None),
            ("batch_aborted", "FAILED", 1, 143),
            ("batch_array_parent", "PENDING", 0, None),
        ],
    )
    def test_status_attempts_and_exit_code(self, name, status, attempts, exit_code):
        seen = job(name)
        assert (seen.status, seen.attempts, seen.exit_code) == (status, attempts, exit_code)

    @pytest.mark.parametrize(
        ("name", "reason", "container_reason"),
        [
            ("batch_spot_lost", r"Host EC2 \(instance i-03\w+\) terminated\.", ""),
            ("batch_retry_runnable", r"Host EC2 \(instance i-01\w+\) terminated\.", ""),
            ("batch_timeout", "Job attempt duration exceeded timeout", ""),
            ("batch_image_pull_failed", "Task failed to start", "CannotPullContainerError: .*"),
            ("batch_aborted", "cromwell abort called", ""),
            ("batch_running", "", ""),
        ],
    )
    def test_reasons_are_the_jobs_or_its_last_attempts(self, name, reason, container_reason):
        seen = job(name)
        assert re.fullmatch(reason, seen.reason)
        assert re.fullmatch(container_reason, seen.container_reason)

    def test_a_log_that_only_the_attempt_knows_is_found(self):
        assert "logStreamName" not in json.loads(text("batch_host_lost"))["detail"]["container"]
        assert job("batch_host_lost").log_stream
        assert not job("batch_image_pull_failed").log_stream

    def test_what_the_job_does_not_tell_its_last_attempt_does(self):
        seen = job_sighting_of_description(
            {
                "jobId": "j",
                "status": "FAILED",
                "attempts": [
                    {"container": {"exitCode": 1, "reason": "first"}, "statusReason": "first"},
                    {"container": {"exitCode": 0, "reason": "last"}, "statusReason": "end"},
                ],
            }
        )
        assert (seen.exit_code, seen.container_reason, seen.reason) == (0, "last", "end")

    @pytest.mark.parametrize(
        ("name", "call_id"),
        [
            ("batch_running", CallId(RUN, "Align")),
            ("batch_out_of_memory", CallId(RUN, "MarkDuplicates", 17)),
            ("batch_cromwell_attempt_2", CallId(RUN, "MarkDuplicates", 17, 2)),
            ("batch_sub_workflow_shard", CallId(SUB, "Trim", 3)),
        ],
    )
    def test_tags_name_the_call(self, name, call_id):
        tagged = call_of_tags(dict(job(name).tags))
        assert (tagged.run_id, tagged.call_id) == (RUN, call_id)

    def test_without_tags_there_is_the_script(self):
        seen = job("batch_untagged")
        assert seen.tags == ()
        assert seen.script_url.startswith(f"s3://{WORKFLOWS}/scripts/")

    def test_half_a_cpu_stays_half_a_cpu(self):
        seen = job("batch_sub_workflow_shard")
        assert (seen.vcpus, seen.memory_mib) == ("0.5", 1024)

    def test_cpus_and_memory_as_older_definitions_say_them(self):
        container = {"vcpus": 2, "memory": 512}
        seen = job_sighting_of_description(
            {"jobId": "j", "status": "RUNNING", "container": container}
        )
        assert (seen.vcpus, seen.memory_mib) == ("2", 512)

    def test_the_same_thing_told_twice_is_the_same_sighting(self):
        one, two = (json.loads(text(f"batch_running{again}")) for again in ("", "_again"))
        assert one["id"] != two["id"]
        assert sighting(one) == sighting(two)

    def test_a_jobs_life_in_the_samples_goes_forward(self):
        states = ("runnable", "starting", "running", "succeeded")
        steps = [job(f"batch_{state}") for state in states]
        assert len({step.job_id for step in steps}) == 1
        for before, after in itertools.pairwise(steps):
            assert later(before, after) is after
        lost = job("batch_retry_runnable"), job("batch_spot_lost")
        assert later(*lost) is lost[1]

    def test_a_child_of_an_array_has_an_id_of_its_own(self):
        assert job("batch_array_child").job_id == job("batch_array_parent").job_id + ":1"

    def test_a_blocked_queue_is_told_with_the_job_at_its_head(self):
        seen = blockage(text("batch_queue_blocked"))
        assert (seen.queue_name, seen.at) == ("dropwell-spot", 1_762_338_720)
        assert seen.code == "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"
        assert seen.words.startswith("Service cannot fulfill")
        assert (seen.job_name, seen.vcpus, seen.memory_mib, seen.run_id) == (
            "wgs_Assemble", "96", 786_432, RUN
        )  # fmt: skip
        assert blockage(text("batch_running")) is None

    def test_a_blocked_queue_without_a_name_is_no_event(self):
        told = json.loads(text("batch_queue_blocked"))
        del told["detail"]["jobQueue"]
        with pytest.raises(BadEvent, match="names no jobQueue"):
            blockage(told)

    @pytest.mark.parametrize("name", ["batch_queue_blocked", "schedule_tick", "rc_created"])
    def test_other_events_are_no_sightings(self, name):
        assert sighting(text(name)) is None

    @pytest.mark.parametrize(
        ("detail", "what"),
        [
            ({}, "names no jobId"),
            ({"jobId": ""}, "names no jobId"),
            ({"jobId": 7}, "names no jobId"),
            ({"jobId": "j"}, "status that Batch does not have: None"),
            ({"jobId": "j", "status": "DANCING"}, "status that Batch does not have: 'DANCING'"),
            ({"jobId": "j", "status": ["FAILED"]}, "status that Batch does not have"),
            ([], "names no jobId"),
        ],
    )
    def test_what_identifies_nothing_is_a_bad_event(self, detail, what):
        event = {"detail-type": "Batch Job State Change", "detail": detail}
        with pytest.raises(BadEvent, match=what):
            sighting(json.dumps(event))

    def test_a_message_that_is_not_json_is_a_bad_event(self):
        with pytest.raises(BadEvent, match="not JSON"):
            sighting("{")

    @pytest.mark.parametrize(
        "odd",
        [
            {"container": None, "attempts": None, "tags": None},
            {"container": [], "attempts": {}, "tags": []},
            {"container": {"exitCode": "1", "environment": {}, "resourceRequirements": [None]}},
            {"container": {"exitCode": True, "resourceRequirements": "x", "vcpus": "2"}},
            {"container": {"vcpus": True, "memory": True}},
            {"attempts": [None], "tags": {"a": 1, "resourceArn": "arn"}},
            {"createdAt": "now", "startedAt": None, "statusReason": {}},
        ],
    )
    def test_oddities_are_passed_over(self, odd):
        seen = job_sighting_of_description({"jobId": "j", "status": "FAILED", **odd})
        assert seen == Sighting(
            job_id="j", status=JobStatus.FAILED, attempts=len(odd.get("attempts") or ())
        )

    @pytest.mark.parametrize("memory", ["", "lots", "-1", "٣", "1.5"])
    def test_memory_that_is_no_number_is_unknown(self, memory):
        needs = [{"type": "MEMORY", "value": memory}]
        seen = job_sighting_of_description(
            {"jobId": "j", "status": "FAILED", "container": {"resourceRequirements": needs}}
        )
        assert seen.memory_mib is None

    @settings(deadline=None)
    @given(
        st.dictionaries(
            st.sampled_from(
                ["container", "attempts", "tags", "statusReason", "jobName", "createdAt"]
            ),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                lambda inner: (
                    st.lists(inner, max_size=3)
                    | st.dictionaries(
                        st.sampled_from(["exitCode", "reason", "environment", "name", "value"]),
                        inner,
                    )
                ),
                max_leaves=8,
            ),
        )
    )
    def test_nothing_but_id_and_status_is_relied_upon(self, detail):
        event = {"detail": {**detail, "jobId": "j", "status": "RUNNING"}}
        event["detail-type"] = "Batch Job State Change"
        assert sighting(event).job_id == "j"
        is_cromwell(event)

    @pytest.mark.parametrize("name", JOBS)
    def test_describing_a_job_tells_what_its_event_does(self, name):
        event = json.loads(text(name))
        assert job_sighting_of_description(event["detail"]) == sighting(event)


class TestWhoseJob:
    @pytest.mark.parametrize("name", JOBS)
    def test_cromwells_jobs_are_told_from_others(self, name):
        others = ("batch_not_cromwell", "batch_array_parent", "batch_array_child")
        assert is_cromwell(text(name)) == (name not in others)

    @pytest.mark.parametrize(
        "detail",
        [
            {"container": {"environment": [{"name": "BATCH_FILE_TYPE", "value": "script"}]}},
            {"jobDefinition": "arn:aws:batch:eu-west-1:1:job-definition/cromwell_ubuntu_0a1b:7"},
            {"jobDefinition": "cromwell_ubuntu_0a1b:7"},
            {"tags": {"cromwell-workflow-id": RUN}},
        ],
    )
    def test_one_sign_is_enough(self, detail):
        assert is_cromwell(detail)
        assert is_cromwell({"detail": detail})

    @pytest.mark.parametrize(
        "detail",
        [{}, {"jobDefinition": "my-cromwell_copy"}, {"tags": {"resourceArn": "cromwell-x"}}],
    )
    def test_a_likeness_is_not(self, detail):
        assert not is_cromwell(detail)


class TestTheSamples:
    @pytest.mark.parametrize("path", sorted(EVENTS.glob("*.json")), ids=lambda path: path.stem)
    def test_each_is_told_of_in_the_readme_and_tells_no_secrets(self, path):
        content = path.read_text("utf-8")
        assert f"`{path.name}`" in (EVENTS / "README.md").read_text("utf-8")
        assert set(re.findall(r"(?<![0-9a-f.])\d{12}(?![0-9a-f.])", content)) <= {"123456789012"}
        assert "us-east-1" not in content

    def test_the_readme_tells_of_no_other(self):
        told = set(re.findall(r"`(\w+\.json)`", (EVENTS / "README.md").read_text("utf-8")))
        assert told == {path.name for path in EVENTS.glob("*.json")}

    def test_envelope_ids_are_their_own(self):
        ids = [json.loads(path.read_text("utf-8")).get("id") for path in EVENTS.glob("*.json")]
        told = [one for one in ids if one]
        assert len(told) == len(set(told))


def test_reading_events_loads_nothing_heavy():
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, dropwell.aws.events; print(*sys.modules)"],
        capture_output=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
        check=True,
    ).stdout.split()
    assert not {"pydantic", "boto3", "botocore", "urllib3", "WDL"} & set(loaded)
