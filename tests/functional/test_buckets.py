"""The bucket's promises, kept alike by the adapter and by the simulation's twin."""

from __future__ import annotations

import io

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from moto import mock_aws

from dropwell.aws.buckets import Bucket
from dropwell.errors import Missing, TooLarge
from dropwell.ports import Tail
from tests.functional import twins
from tests.functional.conftest import client


@pytest.fixture(params=twins.KINDS)
def bucket(request):
    with mock_aws(config={"core": {"reset_boto3_session": False}}):
        yield twins.bucket(request.param)


class TestReading:
    def test_what_was_written(self, bucket):
        bucket.put("a/b.json", "größe")
        assert bucket.read("a/b.json", limit=99) == "größe".encode()
        assert bucket.size("a/b.json") == 7

    def test_one_exact_version(self, bucket):
        first = twins.drop(bucket, "x", b"first", 1)
        second = twins.drop(bucket, "x", b"second", 2)
        assert bucket.read("x", version_id=first, limit=99) == b"first"
        assert bucket.read("x", version_id=second, limit=99) == b"second"
        assert bucket.read("x", limit=99) == b"second"

    def test_no_more_than_is_allowed(self, bucket):
        bucket.put("x", b"12345")
        assert bucket.read("x", limit=5) == b"12345"
        with pytest.raises(TooLarge):
            bucket.read("x", limit=4)

    def test_what_is_not_there(self, bucket):
        for read in (lambda: bucket.read("x", limit=9), lambda: bucket.tail("x", 9)):
            with pytest.raises(Missing):
                read()
        assert bucket.size("x") is None

    @pytest.mark.parametrize("most", [1, 4, 5, 6, 100])
    def test_the_end_of_an_object(self, bucket, most):
        bucket.put("x", b"12345")
        assert bucket.tail("x", most) == Tail(b"12345"[-most:], 5)

    def test_the_end_of_nothing(self, bucket):
        bucket.put("x", b"")
        assert bucket.tail("x", 9) == Tail(b"", 0)

    def test_names_an_object_as_people_do(self, bucket):
        assert bucket.uri("a/b c.txt") == "s3://twin/a/b c.txt"


class TestMoving:
    def test_copies_one_exact_version(self, bucket):
        first = twins.drop(bucket, "inbox/größe & co+1.zip", b"first", 1)
        twins.drop(bucket, "inbox/größe & co+1.zip", b"second", 2)
        bucket.copy("inbox/größe & co+1.zip", first, "runs/x.zip")
        assert bucket.read("runs/x.zip", limit=99) == b"first"

    def test_copies_nothing_that_is_not_there(self, bucket):
        with pytest.raises(Missing):
            bucket.copy("x", "v0", "y")
        assert bucket.size("y") is None

    def test_copies_no_version_that_was_removed(self, bucket):
        version = twins.drop(bucket, "x", b"first")
        bucket.remove("x", version)
        with pytest.raises(Missing):
            bucket.copy("x", version, "y")

    def test_removes_exactly_one_version(self, bucket):
        first = twins.drop(bucket, "x", b"first", 1)
        second = twins.drop(bucket, "x", b"second", 2)
        bucket.remove("x", first)
        assert bucket.read("x", limit=99) == b"second"
        with pytest.raises(Missing):
            bucket.read("x", version_id=first, limit=99)
        bucket.remove("x", second)
        assert bucket.size("x") is None

    def test_removes_what_is_gone_without_complaint(self, bucket):
        version = twins.drop(bucket, "x", b"first")
        bucket.remove("x", version)
        bucket.remove("x", version)

    def test_stores_a_stream(self, bucket):
        bucket.put_stream("x", io.BytesIO(b"1" * 100_000))
        assert bucket.size("x") == 100_000


class TestTheRealBucket:
    def test_says_what_an_object_is(self):
        with mock_aws(config={"core": {"reset_boto3_session": False}}):
            bucket = twins.bucket(twins.KINDS[0])
            bucket.put("report.md", "# no", "text/markdown")
            bucket.put("status.json", "{}")
            s3 = client("s3")
            kinds = [
                s3.head_object(Bucket="twin", Key=key)["ContentType"]
                for key in ("report.md", "status.json")
            ]
        assert kinds == ["text/markdown", "application/json"]

    def test_lets_only_the_asked_bytes_travel(self):
        s3 = boto3.client("s3")
        with Stubber(s3) as stub:
            stub.add_client_error(
                "get_object",
                service_error_code="InvalidRange",
                expected_params={"Bucket": "b", "Key": "x", "Range": "bytes=-64"},
            )
            assert Bucket(s3, "b").tail("x", 64) == Tail(b"", 0)

    @pytest.mark.parametrize(
        ("operation", "call"),
        [
            ("get_object", lambda bucket: bucket.read("x", limit=9)),
            ("get_object", lambda bucket: bucket.tail("x", 9)),
            ("head_object", lambda bucket: bucket.size("x")),
            ("head_object", lambda bucket: bucket.copy("x", "v", "y")),
        ],
    )
    def test_does_not_take_forbidden_for_missing(self, operation, call):
        s3 = boto3.client("s3")
        with Stubber(s3) as stub:
            stub.add_client_error(operation, service_error_code="AccessDenied")
            with pytest.raises(ClientError):
                call(Bucket(s3, "b"))
