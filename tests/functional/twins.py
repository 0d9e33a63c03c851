"""The real adapters on AWS in memory, beside the simulation's twins of them."""

from __future__ import annotations

from typing import Any

from dropwell.aws.buckets import Bucket
from dropwell.aws.tables import Table
from tests.functional.conftest import client
from tests.simulation.world import MemoryBucket, MemoryTable, World
from tests.transformed import template

KINDS = ["the adapter on moto", "the simulation's twin"]
KEPT_FOR, NOW = 3600, 1_762_336_800


def table(kind: str) -> Any:
    """Return an empty table of either kind; the first needs `mock_aws` around it."""
    if kind == KINDS[1]:
        return MemoryTable(World())
    described = template().properties("Table")
    wanted = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")
    client("dynamodb").create_table(TableName="twin", **{name: described[name] for name in wanted})
    return Table(client("dynamodb"), "twin", keep=KEPT_FOR, clock=lambda: NOW)


def bucket(kind: str) -> Any:
    """Return an empty bucket of either kind."""
    if kind == KINDS[1]:
        return MemoryBucket(World(), "twin")
    s3 = client("s3")
    s3.create_bucket(Bucket="twin", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_bucket_versioning(Bucket="twin", VersioningConfiguration={"Status": "Enabled"})
    return Bucket(s3, "twin")


def drop(bucket: Any, key: str, body: bytes, number: int = 1) -> str:
    """Write a version of an object as a user would; return its id."""
    if isinstance(bucket, MemoryBucket):
        bucket.drop(key, body, f"v{number}")
        return f"v{number}"
    answer = client("s3").put_object(Bucket=bucket.name, Key=key, Body=body)
    return str(answer["VersionId"])
