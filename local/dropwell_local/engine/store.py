"""The engine's S3: one client for the whole process, as a client takes 0.3 s of CPU to make."""

from __future__ import annotations

import functools
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_SMALL = 8 << 20
"""Up to here one PUT is cheaper than the transfer manager's threads."""

_making = threading.Lock()


class Unreadable(Exception):
    """An object that a call wants as input cannot be read; the text is the AWS CLI's."""


def split(url: str) -> tuple[str, str]:
    """Split ``s3://bucket/key``.

    >>> split("s3://b/some/key")
    ('b', 'some/key')
    """
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return bucket, key


def client() -> S3Client:
    with _making:  # or as many would be made at once as there are shards that want it first
        return _client()


@functools.cache
def _client() -> S3Client:
    import boto3
    from botocore.config import Config

    emulated = "AWS_ENDPOINT_URL" in os.environ  # where bucket.localhost does not resolve
    return boto3.client(
        "s3",
        config=Config(
            max_pool_connections=32,
            retries={"max_attempts": 5, "mode": "standard"},
            s3={"addressing_style": "path"} if emulated else None,
        ),
    )


def put_text(url: str, text: str) -> None:
    bucket, key = split(url)
    client().put_object(Bucket=bucket, Key=key, Body=text.encode())


def put_file(url: str, path: Path) -> None:
    bucket, key = split(url)
    if path.stat().st_size < _SMALL:
        client().put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
    else:
        client().upload_file(str(path), bucket, key)


def etag(url: str) -> str:
    """Return the mark of an object's content.

    Raises
    ------
    Unreadable
        As in `get_file`.
    """
    from botocore.exceptions import ClientError

    bucket, key = split(url)
    try:
        return client().head_object(Bucket=bucket, Key=key)["ETag"].strip('"')
    except ClientError as error:
        raise Unreadable(f"fatal error: {error}") from error


def get_file(url: str, path: Path) -> None:
    """Download an object.

    Raises
    ------
    Unreadable
        There is no such object, or these credentials may not read it.
    """
    from botocore.exceptions import ClientError

    bucket, key = split(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        client().download_file(bucket, key, str(path))
    except ClientError as error:
        raise Unreadable(f"fatal error: {error}") from error


def copy(source: str, target: str) -> None:
    """Copy an object to another place."""
    bucket, key = split(source)
    to_bucket, to_key = split(target)
    client().copy({"Bucket": bucket, "Key": key}, to_bucket, to_key)
