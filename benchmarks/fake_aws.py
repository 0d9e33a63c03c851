"""As much of DynamoDB, SQS, EventBridge and S3 as the watcher uses, answered within the process.

Requests are caught after botocore has checked, serialised and signed them, and
the answers go through its parser: all that a client costs is paid, and there is
no network. Conditions and transactions hold as DynamoDB holds them; what is not
asked for here is not there. The time spent in here is kept apart.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

Wire = dict[str, Any]
Answer = tuple[int, bytes]

_CLAUSES = re.compile(r"\s*\b(SET|ADD|REMOVE) ")


class _Refused(Exception):
    """A condition did not hold."""


class _Body(io.BytesIO):
    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()


class FakeAws:
    """The services, their state, and what they were asked.

    Attributes
    ----------
    calls : Counter
        Requests by operation, the SDK's own retries included.
    cpu : float
        Seconds of processor time spent on answering.
    items : dict
        The table: items as JSON by key. (As text they are nothing to the
        garbage collector, whose passes would be charged to the client.)
    objects : dict
        Bytes by ``/bucket/key``.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.cpu = 0.0
        self.items: dict[tuple[str, str], str] = {}
        self.objects: dict[str, bytes] = {}

    def stand_in_for_aws(self) -> None:
        """Answer every client that boto3 makes from now on."""
        boto3.setup_default_session(
            region_name="eu-west-1", aws_access_key_id="nobody", aws_secret_access_key="nothing"
        )
        session: Any = boto3.DEFAULT_SESSION
        session.events.register("before-send", self._answer)

    def _answer(self, request: AWSPreparedRequest, event_name: str, **_: Any) -> AWSResponse:
        started = time.process_time()
        operation = event_name.rpartition(".")[2]
        self.calls[operation] += 1
        status, body = getattr(self, f"_{_snake(operation)}")(request)
        headers: Any = {"content-length": str(len(body)), "x-amzn-requestid": "0" * 32}
        raw: Any = _Body(body)
        answer = AWSResponse(request.url, status, headers, raw)
        self.cpu += time.process_time() - started
        return answer

    # DynamoDB

    def _get_item(self, request: AWSPreparedRequest) -> Answer:
        item = self.items.get(_key(_asked(request)["Key"]))
        return 200, b'{"Item":%s}' % item.encode() if item else b"{}"

    def _batch_get_item(self, request: AWSPreparedRequest) -> Answer:
        [(table, wanted)] = _asked(request)["RequestItems"].items()
        assert len(wanted["Keys"]) <= 100, "BatchGetItem takes 100 keys"
        found = [self.items[key] for key in map(_key, wanted["Keys"]) if key in self.items]
        if "ProjectionExpression" in wanted:
            names = set(wanted["ExpressionAttributeNames"].values())
            found = [_part(item, names) for item in found]
        text = f'{{"Responses":{{"{table}":[{",".join(found)}]}},"UnprocessedKeys":{{}}}}'
        return 200, text.encode()

    def _query(self, request: AWSPreparedRequest) -> Answer:
        values = _asked(request)["ExpressionAttributeValues"]
        pk, prefix = values[":pk"]["S"], values.get(":prefix", {"S": ""})["S"]
        keys = sorted(key for key in self.items if key[0] == pk and key[1].startswith(prefix))
        text = f'{{"Items":[{",".join(self.items[key] for key in keys)}]}}'
        return 200, text.encode()

    def _put_item(self, request: AWSPreparedRequest) -> Answer:
        return self._alone({"Put": _asked(request)})

    def _update_item(self, request: AWSPreparedRequest) -> Answer:
        return self._alone({"Update": _asked(request)})

    def _alone(self, write: Wire) -> Answer:
        try:
            self._write([write])
        except _Refused:
            return _error("ConditionalCheckFailedException")
        return 200, b"{}"

    def _transact_write_items(self, request: AWSPreparedRequest) -> Answer:
        writes = _asked(request)["TransactItems"]
        assert len(writes) <= 100, "a transaction takes 100 writes"
        try:
            self._write(writes)
        except _Refused:
            # Which write was refused makes no difference to who asks here.
            reasons = [{"Code": "ConditionalCheckFailed"} for _ in writes]
            return _error("TransactionCanceledException", CancellationReasons=reasons)
        return 200, b"{}"

    def _write(self, writes: list[Wire]) -> None:
        changed: dict[tuple[str, str], Wire] = {}
        for write in writes:
            [(verb, asked)] = write.items()
            key = _key(asked["Item"] if verb == "Put" else asked["Key"])
            assert key not in changed, "a transaction may touch an item once"
            known: Wire = json.loads(self.items.get(key, "{}"))
            if not _holds(asked, known):
                raise _Refused
            changed[key] = asked["Item"] if verb == "Put" else _updated(asked, known)
        for key, item in changed.items():
            self.items[key] = json.dumps(item)

    # SQS, EventBridge, S3

    def _send_message_batch(self, request: AWSPreparedRequest) -> Answer:
        entries = _asked(request)["Entries"]
        assert len(entries) <= 10, "SendMessageBatch takes 10 messages"
        taken = [
            {
                "Id": entry["Id"],
                "MessageId": entry["Id"],
                "MD5OfMessageBody": hashlib.md5(entry["MessageBody"].encode()).hexdigest(),
            }
            for entry in entries
        ]
        return 200, json.dumps({"Successful": taken, "Failed": []}).encode()

    def _put_events(self, request: AWSPreparedRequest) -> Answer:
        entries = [{"EventId": "0"} for _ in _asked(request)["Entries"]]
        return 200, json.dumps({"FailedEntryCount": 0, "Entries": entries}).encode()

    def _get_object(self, request: AWSPreparedRequest) -> Answer:
        at = urlsplit(request.url)
        bucket = str(at.hostname).partition(".s3.")[0]
        body = self.objects.get(f"/{bucket}{unquote(at.path)}")
        if body is None:
            return 404, b"<Error><Code>NoSuchKey</Code></Error>"
        return 200, body


def _snake(operation: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()


def _asked(request: AWSPreparedRequest) -> Any:
    body: Any = request.body
    return json.loads(body)


def _error(code: str, **more: Any) -> Answer:
    return 400, json.dumps({"__type": f"com.amazonaws.dynamodb#{code}", **more}).encode()


def _key(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]


def _part(item: str, names: set[str]) -> str:
    return json.dumps({name: value for name, value in json.loads(item).items() if name in names})


def _holds(asked: Wire, known: Wire) -> bool:
    """Say whether a write's condition is true of an item: ANDs, or ORs, of three simple terms."""
    condition: str = asked.get("ConditionExpression", "")
    if " OR " in condition:
        return any(_term(term, asked, known) for term in condition.split(" OR "))
    return all(_term(term, asked, known) for term in condition.split(" AND ") if term)


def _term(term: str, asked: Wire, known: Wire) -> bool:
    if term.startswith("attribute_not_exists("):
        return _name(term[len("attribute_not_exists(") : -1], asked) not in known
    name, operator, value = term.split()
    have, want = known.get(_name(name, asked)), asked["ExpressionAttributeValues"][value]
    if operator == "=":
        return bool(have == want)
    assert operator == "<", term
    return have is not None and int(have["N"]) < int(want["N"])


def _updated(asked: Wire, known: Wire) -> Wire:
    item = {**asked["Key"], **known}
    _, *clauses = _CLAUSES.split(asked["UpdateExpression"])
    for verb, text in zip(clauses[::2], clauses[1::2], strict=True):
        for part in text.split(", "):
            name, *value = part.replace(" = ", " ").split()
            attribute = _name(name, asked)
            if verb == "REMOVE":
                item.pop(attribute, None)
                continue
            given = asked["ExpressionAttributeValues"][value[0]]
            if verb == "ADD":
                given = {"N": str(int(item.get(attribute, {"N": "0"})["N"]) + int(given["N"]))}
            item[attribute] = given
    return item


def _name(short: str, asked: Wire) -> str:
    name: str = asked["ExpressionAttributeNames"][short] if short.startswith("#") else short
    return name
