"""The one table, in DynamoDB: reads, and writes that hold only while what they expect is true."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from dropwell.errors import Superseded, TryAgain
from dropwell.records import ABSENT, Item, Key, Put, Write

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

INDEX = "due"
TRANSACTION_LIMIT = 100
_GET_LIMIT = 100
_LOST = {"ConditionalCheckFailedException", "TransactionConflictException"}
_SHORT_OF_BREATH = {
    "ThrottlingException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "InternalServerError",
}
_LOST_REASONS = {"ConditionalCheckFailed", "TransactionConflict"}


class Table:
    """Items by key, changed by conditional writes only.

    Parameters
    ----------
    client : DynamoDB client
    name : str
        The table's name.
    keep : int
        Seconds after which an untouched item may go (``expires_at``, the
        table's time to live).
    clock : callable
        Seconds since 1970.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        name: str,
        *,
        keep: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._name = name
        self._keep = keep
        self._clock = clock

    def get(self, key: Key) -> Item | None:
        """Return an item as it is now, `None` if there is none."""
        answer = self._client.get_item(
            TableName=self._name, Key=_wire(_named(key)), ConsistentRead=True
        )
        return _plain(answer["Item"]) if "Item" in answer else None

    def get_many(self, keys: Iterable[Key], *, only: Sequence[str] = ()) -> dict[Key, Item]:
        """Return those of the items that exist, by key: whole, or `only` these attributes.

        Reading a whole item costs most of a batch's processor time where its
        rank alone is wanted.
        """
        found: dict[Key, Item] = {}
        chosen = _projection(only) if only else {}
        wanted = list(dict.fromkeys(keys))
        for start in range(0, len(wanted), _GET_LIMIT):
            chunk: Any = {
                self._name: {
                    "Keys": [_wire(_named(key)) for key in wanted[start : start + _GET_LIMIT]],
                    "ConsistentRead": True,
                    **chosen,
                }
            }
            while chunk:
                answer = self._client.batch_get_item(RequestItems=chunk)
                for raw in answer["Responses"].get(self._name, []):
                    item = _plain(raw)
                    found[item["pk"], item["sk"]] = item
                chunk = answer.get("UnprocessedKeys")
        return found

    def query(
        self, pk: str, prefix: str = "", *, newest_first: bool = False, limit: int | None = None
    ) -> Iterator[Item]:
        """Yield the items of a partition whose sort key starts with `prefix`, in order."""
        condition, values = "pk = :pk", {":pk": pk}
        if prefix:
            condition, values = (
                f"{condition} AND begins_with(sk, :prefix)",
                values | {":prefix": prefix},
            )
        pages = self._client.get_paginator("query").paginate(
            TableName=self._name,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=_wire(values),
            ConsistentRead=True,
            ScanIndexForward=not newest_first,
            PaginationConfig={} if limit is None else {"MaxItems": limit},
        )
        for page in pages:
            yield from map(_plain, page["Items"])

    def due(self, kind: str, until: int, limit: int) -> list[Key]:
        """Return the keys of what has been due since `until` or before, longest first."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._name,
            IndexName=INDEX,
            KeyConditionExpression="due_kind = :kind AND due_at <= :until",
            ExpressionAttributeValues=_wire({":kind": kind, ":until": until}),
            PaginationConfig={"MaxItems": limit},
        )
        items = [_plain(raw) for page in pages for raw in page["Items"]]
        return [(item["pk"], item["sk"]) for item in items]

    def write(self, *writes: Write) -> None:
        """Make all the writes or none.

        Parameters
        ----------
        *writes : Put or Update
            At most `TRANSACTION_LIMIT`, each of another item.

        Raises
        ------
        Superseded
            An expectation did not hold, or another writer was at it: nothing
            was written; read again and decide again.
        TryAgain
            The table is short of breath.
        """
        requests: list[Any] = [self._request(write) for write in writes]
        try:
            if len(requests) > 1:
                self._client.transact_write_items(TransactItems=requests)
            elif "Put" in requests[0]:
                self._client.put_item(**requests[0]["Put"])
            else:
                self._client.update_item(**requests[0]["Update"])
        except ClientError as error:
            raise _translated(error) from error

    def _request(self, write: Write) -> dict[str, Any]:
        names: dict[str, str] = {}
        values: dict[str, Any] = {}
        conditions = _conditions(write.expect, names, values)
        expires_at = int(self._clock()) + self._keep
        request: dict[str, Any] = {"TableName": self._name}
        if isinstance(write, Put):
            request["Item"] = _wire(write.item | {"expires_at": expires_at})
        else:
            request["Key"] = _wire(_named(write.key))
            changed = {**write.set, "expires_at": expires_at}
            request["UpdateExpression"] = _update(changed, write.add, write.remove, names, values)
        if conditions:
            request["ConditionExpression"] = conditions
        if names:
            request["ExpressionAttributeNames"] = names
        if values:
            request["ExpressionAttributeValues"] = _wire(values)
        return {"Put" if isinstance(write, Put) else "Update": request}


def _projection(only: Sequence[str]) -> dict[str, Any]:
    names = {f"#p{number}": attribute for number, attribute in enumerate(("pk", "sk", *only))}
    return {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names}


def _conditions(expect: Mapping[str, Any], names: dict[str, str], values: dict[str, Any]) -> str:
    parts = []
    for number, (attribute, value) in enumerate(expect.items()):
        names[f"#e{number}"] = attribute
        if value is ABSENT:
            parts.append(f"attribute_not_exists(#e{number})")
        else:
            values[f":e{number}"] = value
            parts.append(f"#e{number} = :e{number}")
    return " AND ".join(parts)


def _update(
    changed: Mapping[str, Any],
    added: Mapping[str, int],
    removed: Sequence[str],
    names: dict[str, str],
    values: dict[str, Any],
) -> str:
    def name(attribute: str) -> str:
        short = f"#u{len(names)}"
        names[short] = attribute
        return short

    def value(of: Any) -> str:
        short = f":u{len(values)}"
        values[short] = of
        return short

    clauses = ["SET " + ", ".join(f"{name(k)} = {value(v)}" for k, v in changed.items())]
    if added:
        clauses.append("ADD " + ", ".join(f"{name(k)} {value(v)}" for k, v in added.items()))
    if removed:
        clauses.append("REMOVE " + ", ".join(map(name, removed)))
    return " ".join(clauses)


def _translated(error: ClientError) -> Exception:
    code = error.response["Error"]["Code"]
    if code in _LOST:
        return Superseded(code)
    if code in _SHORT_OF_BREATH:
        return TryAgain(f"{code}: {error.response['Error'].get('Message', '')}")
    if code == "TransactionCanceledException":
        reasons: Any = error.response.get("CancellationReasons", [])
        if any(reason.get("Code") in _LOST_REASONS for reason in reasons):
            return Superseded(code)
        return TryAgain(f"{code}: {reasons}")
    return error


_serialise = TypeSerializer().serialize
_deserialise = TypeDeserializer().deserialize


def _named(key: Key) -> Item:
    return {"pk": key[0], "sk": key[1]}


def _wire(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _serialise(value) for name, value in item.items()}


def _plain(item: Mapping[str, Any]) -> Item:
    return {name: whole(_deserialise(value)) for name, value in item.items()}


def whole(value: Any) -> Any:
    """Return a value as the domain wants it: whole numbers for DynamoDB's decimals."""
    if isinstance(value, Decimal):
        return int(value)
    if isinstance(value, list):
        return [whole(entry) for entry in value]
    if isinstance(value, dict):
        return {name: whole(entry) for name, entry in value.items()}
    return value
