"""Objects in one S3 bucket: one exact version at a time, never more bytes than asked for."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from dropwell.errors import Missing, TooLarge
from dropwell.ports import Tail

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_NOT_THERE = {"NoSuchKey", "NoSuchVersion", "404", "405", "MethodNotAllowed"}
_PAST_THE_END = {"InvalidRange", "416"}
_ONE_COPY = 5 << 30  # S3 copies no more in one request


class Bucket:
    """One bucket.

    Parameters
    ----------
    client : S3 client
    name : str
    """

    def __init__(self, client: S3Client, name: str) -> None:
        self._client = client
        self.name = name

    def uri(self, key: str) -> str:
        return f"s3://{self.name}/{key}"

    def read(self, key: str, *, version_id: str = "", limit: int) -> bytes:
        """Return an object whole, or one version of it.

        Raises
        ------
        Missing
            It is not there (any more).
        TooLarge
            It holds more than `limit` bytes; nothing was read.
        """
        answer = self._call(self._client.get_object, key, version_id)
        with answer["Body"] as body:
            if answer["ContentLength"] > limit:
                raise TooLarge(f"{self.uri(key)} holds {answer['ContentLength']} bytes")
            data: bytes = body.read()
        return data

    def tail(self, key: str, most: int) -> Tail:
        """Return the end of an object by a ranged read: at most `most` bytes travel.

        Raises
        ------
        Missing
            It is not there.
        """
        try:
            answer = self._call(self._client.get_object, key, Range=f"bytes=-{most}")
        except ClientError as error:
            if error.response["Error"]["Code"] in _PAST_THE_END:
                return Tail(b"", 0)
            raise
        with answer["Body"] as body:
            data: bytes = body.read()
        total = answer.get("ContentRange", "").rpartition("/")[2]
        return Tail(data, int(total) if total.isdigit() else len(data))

    def size(self, key: str) -> int | None:
        """Return how many bytes an object holds, `None` if it is not there."""
        try:
            answer = self._call(self._client.head_object, key)
        except Missing:
            return None
        length: int = answer["ContentLength"]
        return length

    def put(self, key: str, body: bytes | str, content_type: str = "application/json") -> None:
        """Write an object whole."""
        data = body.encode() if isinstance(body, str) else body
        self._client.put_object(Bucket=self.name, Key=key, Body=data, ContentType=content_type)

    def put_stream(self, key: str, stream: IO[bytes]) -> None:
        """Write an object from a stream of any length, in parts where it is long."""
        self._client.upload_fileobj(stream, self.name, key)

    def copy(self, key: str, version_id: str, to: str) -> None:
        """Copy one version of an object to another key of this bucket, however large it is.

        Raises
        ------
        Missing
            The version is not there.
        """
        from boto3.s3.transfer import TransferConfig

        source: Any = {"Bucket": self.name, "Key": key, "VersionId": version_id}
        try:
            self._client.copy(
                source,
                self.name,
                to,
                # The owner's tags stay behind: copying them would take rights of its own.
                ExtraArgs={"TaggingDirective": "REPLACE"},
                Config=TransferConfig(multipart_threshold=_ONE_COPY, use_threads=False),
            )
        except ClientError as error:
            raise self._translated(error, key) from error

    def remove(self, key: str, version_id: str) -> None:
        """Remove exactly this version; another one under the same key stays."""
        self._client.delete_object(Bucket=self.name, Key=key, VersionId=version_id)

    def _call(self, operation: Any, key: str, version_id: str = "", **more: Any) -> Any:
        if version_id:
            more["VersionId"] = version_id
        try:
            return operation(Bucket=self.name, Key=key, **more)
        except ClientError as error:
            raise self._translated(error, key) from error

    def _translated(self, error: ClientError, key: str) -> Exception:
        if error.response["Error"]["Code"] in _NOT_THERE:
            return Missing(f"{self.uri(key)} is not there")
        return error
