"""EventBridge patterns, each operator by example."""

from __future__ import annotations

from typing import Any

import pytest

from dropwell_local.cromwell.patterns import matches

EVENT: dict[str, Any] = {
    "source": "aws.batch",
    "detail-type": "Batch Job State Change",
    "detail": {
        "status": "FAILED",
        "jobQueue": "arn:aws:batch:us-east-1:123456789012:job-queue/dropwell",
        "createdAt": 1700,
        "propagateTags": True,
        "attempts": [
            {"container": {"exitCode": 137}},
            {"container": {"exitCode": 0}},
        ],
        "names": ["a.txt", "b-rc.txt"],
        "nothing": None,
        "ip": "10.1.2.3",
        "tags": {},
    },
}


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ({}, True),
        ({"source": ["aws.batch"]}, True),
        ({"source": ["aws.s3", "aws.batch"]}, True),
        ({"source": ["aws.s3"]}, False),
        ({"absent": ["x"]}, False),
        ({"detail": {"status": ["FAILED"], "createdAt": [1700]}}, True),
        ({"detail": {"status": ["FAILED"], "createdAt": [1701]}}, False),
        ({"detail": {"nothing": [None]}}, True),
        ({"detail": {"status": [None]}}, False),
        ({"detail": {"propagateTags": [True]}}, True),
        ({"detail": {"propagateTags": [1]}}, False),
        ({"source": [{"prefix": "aws."}]}, True),
        ({"source": [{"prefix": "gcp."}]}, False),
        ({"source": [{"prefix": {"equals-ignore-case": "AWS."}}]}, True),
        ({"detail": {"names": [{"suffix": "-rc.txt"}]}}, True),
        ({"detail": {"names": [{"suffix": ".bam"}]}}, False),
        ({"detail": {"status": [{"equals-ignore-case": "failed"}]}}, True),
        ({"detail": {"status": [{"anything-but": "FAILED"}]}}, False),
        ({"detail": {"status": [{"anything-but": ["RUNNING", "STARTING"]}]}}, True),
        ({"detail": {"status": [{"anything-but": {"prefix": "FA"}}]}}, False),
        ({"detail": {"status": [{"anything-but": {"suffix": ["X", "Y"]}}]}}, True),
        ({"detail": {"absent": [{"anything-but": "FAILED"}]}}, False),
        ({"detail": {"status": [{"exists": True}]}}, True),
        ({"detail": {"absent": [{"exists": True}]}}, False),
        ({"detail": {"absent": [{"exists": False}]}}, True),
        ({"detail": {"status": [{"exists": False}]}}, False),
        ({"gone": {"deeper": [{"exists": False}]}}, True),
        ({"detail": {"tags": [{"exists": True}]}}, False),
        ({"detail": {"createdAt": [{"numeric": [">", 1000, "<=", 1700]}]}}, True),
        ({"detail": {"createdAt": [{"numeric": ["<", 1000]}]}}, False),
        ({"detail": {"status": [{"numeric": ["=", 1]}]}}, False),
        ({"detail": {"jobQueue": [{"wildcard": "arn:*:job-queue/drop*"}]}}, True),
        ({"detail": {"jobQueue": [{"wildcard": "*/other"}]}}, False),
        ({"detail": {"ip": [{"cidr": "10.0.0.0/8"}]}}, True),
        ({"detail": {"ip": [{"cidr": "192.168.0.0/16"}]}}, False),
        ({"detail": {"attempts": {"container": {"exitCode": [137]}}}}, True),
        ({"detail": {"attempts": {"container": {"exitCode": [1]}}}}, False),
        ({"$or": [{"source": ["aws.s3"]}, {"detail": {"status": ["FAILED"]}}]}, True),
        ({"$or": [{"source": ["aws.s3"]}, {"detail": {"status": ["RUNNING"]}}]}, False),
        ({"detail": {"$or": [{"status": ["X"]}, {"createdAt": [1700]}], "ip": ["x"]}}, False),
    ],
)
def test_an_event_matches_what_eventbridge_would_match(
    pattern: dict[str, Any], wanted: bool
) -> None:
    assert matches(pattern, EVENT) is wanted


def test_an_operator_that_eventbridge_does_not_have_is_an_error() -> None:
    with pytest.raises(ValueError, match="sounds-like"):
        matches({"source": [{"sounds-like": "batch"}]}, EVENT)
