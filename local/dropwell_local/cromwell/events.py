"""Sending what Batch says: job logs to CloudWatch Logs, envelopes where the bus's rules want them.

The emulator, as AWS does, refuses events of ``aws.batch`` from outside. So the server reads
the rules of the default bus, matches their patterns itself and puts the envelope into the
queues they target.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import logging
import os
import queue
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dropwell_local.cromwell.chaos import UNTOUCHED, Treatment
from dropwell_local.cromwell.patterns import matches

_log = logging.getLogger(__name__)

LOG_GROUP = "/aws/batch/job"
_MAX_BATCH = 10
_RULES_AGE_S = 5.0
_MAX_LOG_LINES = 10_000
"""What CloudWatch Logs takes at once; the engine has bounded the bytes."""


class _Unsent(Exception):
    """The server stops, and what is waiting cannot be sent."""


@dataclass(frozen=True)
class Parcel:
    """One envelope and, before it, the log it speaks of."""

    envelope: dict[str, Any]
    log_stream: str = ""
    log_file: str = ""
    since: float = 0.0
    """From when on it may be sent, by the monotonic clock."""
    sent: Callable[[], object] | None = None
    """Called once nothing more will be done for it."""


class Outbox:
    """Sends parcels in order from a thread of its own, so that no job ever waits for a queue.

    Parameters
    ----------
    places : iterable of str
        As in `Settings.events`.
    patience : float
        Seconds that a parcel is tried for before it is dropped and said to be.
    logs : bool
        Whether job logs are sent, too.
    """

    def __init__(self, places: Iterable[str], *, patience: float, logs: bool) -> None:
        self._places = tuple(places)
        self._patience = patience
        self._logs = logs
        self._parcels: queue.SimpleQueue[Parcel | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._rules: list[tuple[dict[str, Any], list[str]]] = []
        self._rules_read = float("-inf")
        self._clients: dict[str, Any] = {}
        self._queue_urls: dict[str, str] = {}
        self._log_bytes: dict[str, int] = {}
        self._later: list[tuple[float, int, Parcel]] = []
        self._numbers = itertools.count()
        self._thread = threading.Thread(target=self._send_all, name="outbox", daemon=True)
        self._thread.start()

    def put(
        self,
        envelope: dict[str, Any],
        *,
        log_stream: str = "",
        log_file: str = "",
        treatment: Treatment = UNTOUCHED,
        sent: Callable[[], object] | None = None,
    ) -> None:
        """Take an envelope and, to be sent before it, the log that it speaks of.

        Parameters
        ----------
        treatment : Treatment
            What befalls the envelope; the log is always sent, and once.
        sent : callable, optional
            Called from the outbox's thread once the envelope was sent, or is given up.
        """
        now = time.monotonic()
        if log_file and treatment is not UNTOUCHED:
            self.put_log(log_stream=log_stream, log_file=log_file)
            log_file = ""
        for late in treatment.delays:
            self._parcels.put(Parcel(envelope, log_stream, log_file, now + late, sent))
        if sent is not None and not treatment.delays:
            sent()

    def put_log(self, *, log_stream: str, log_file: str) -> None:
        """Take a job's log, of which what was not sent yet is to be sent."""
        if self._logs:
            self._parcels.put(Parcel({}, log_stream, log_file, time.monotonic()))

    def log_anew(self, log_stream: str) -> None:
        """Send a job's log from its beginning, as the job has begun once more."""
        self._log_bytes.pop(log_stream, None)

    def close(self) -> None:
        """Send what is waiting, what was to come later too, without trying anything twice."""
        self._closing.set()
        self._parcels.put(None)
        self._thread.join(timeout=10)

    def _send_all(self) -> None:
        while True:
            parcels, closing = self._take()
            for parcel in parcels:
                if parcel.log_file and self._logs:
                    self._send_log(parcel)
            ready = [parcel for parcel in parcels if parcel.envelope]
            try:
                if ready:
                    self._deliver(ready)
            except (ValueError, KeyError, OSError) as error:  # a rule or a place we cannot use
                _log.error("%d Batch events lost: %s", len(ready), error)
            except _Unsent:
                ready = []  # the next start will find that ends of jobs were not told
            for parcel in ready:
                if parcel.sent is not None:
                    with contextlib.suppress(RuntimeError):  # the server's loop is over
                        parcel.sent()
            if closing and not self._later:
                return

    def _take(self) -> tuple[list[Parcel], bool]:
        """Wait for parcels whose time has come; say also whether there will be no others."""
        taken: list[Parcel | None] = []
        if not self._closing.is_set() or not self._later:
            wait = max(0.0, self._later[0][0] - time.monotonic()) if self._later else None
            with contextlib.suppress(queue.Empty):
                taken.append(self._parcels.get(timeout=wait))
        while len(taken) < _MAX_BATCH and not self._parcels.empty():
            taken.append(self._parcels.get())
        ready = []
        for parcel in taken:
            if parcel is not None and parcel.since > time.monotonic():
                heapq.heappush(self._later, (parcel.since, next(self._numbers), parcel))
            elif parcel is not None:
                ready.append(parcel)
        while self._later and len(ready) < _MAX_BATCH and self._due():
            ready.append(heapq.heappop(self._later)[2])
        return ready, None in taken or (self._closing.is_set() and self._parcels.empty())

    def _due(self) -> bool:
        return self._closing.is_set() or self._later[0][0] <= time.monotonic()

    def _deliver(self, parcels: list[Parcel]) -> None:
        for place in self._places:
            if place == "bus":
                self._to_bus(parcels)
            elif place.startswith(("http://", "https://")):
                self._to_queue(place, parcels)
            else:
                with Path(place).open("a") as lines:
                    lines.writelines(json.dumps(parcel.envelope) + "\n" for parcel in parcels)

    def _to_bus(self, parcels: list[Parcel]) -> None:
        rules = self._read_rules(parcels)
        wanted: dict[str, list[Parcel]] = {}
        for parcel in parcels:
            for pattern, queues in rules:
                if matches(pattern, parcel.envelope):
                    for url in queues:
                        wanted.setdefault(url, []).append(parcel)
        for url, some in wanted.items():
            self._to_queue(url, some)

    def _read_rules(self, parcels: list[Parcel]) -> list[tuple[dict[str, Any], list[str]]]:
        if time.monotonic() - self._rules_read < _RULES_AGE_S:
            return self._rules
        rules = self._try(parcels, "the event bus's rules", self._list_rules)
        if rules is not None:
            self._rules, self._rules_read = rules, time.monotonic()
        return self._rules

    def _list_rules(self) -> list[tuple[dict[str, Any], list[str]]]:
        events = self._client("events")
        found = []
        for page in events.get_paginator("list_rules").paginate():
            for rule in page["Rules"]:
                if rule.get("State") != "ENABLED" or not rule.get("EventPattern"):
                    continue
                targets = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
                queues = [
                    self._queue_url(target["Arn"])
                    for target in targets
                    if target["Arn"].startswith("arn:aws:sqs:")
                ]
                found.append((json.loads(rule["EventPattern"]), queues))
        return found

    def _queue_url(self, arn: str) -> str:
        if arn not in self._queue_urls:
            name = arn.rpartition(":")[2]
            self._queue_urls[arn] = self._client("sqs").get_queue_url(QueueName=name)["QueueUrl"]
        return self._queue_urls[arn]

    def _to_queue(self, url: str, parcels: list[Parcel]) -> None:
        entries = [
            {"Id": str(number), "MessageBody": json.dumps(parcel.envelope)}
            for number, parcel in enumerate(parcels)
        ]

        def send() -> bool:
            answer = self._client("sqs").send_message_batch(QueueUrl=url, Entries=entries)
            refused = {failed["Id"] for failed in answer.get("Failed", [])}
            entries[:] = [entry for entry in entries if entry["Id"] in refused]
            if entries:
                raise ConnectionError(f"{len(entries)} messages refused")
            return True

        self._try(parcels, f"the queue {urllib.parse.urlsplit(url).path}", send)

    def _try(self, parcels: list[Parcel], what: str, act: Any) -> Any:
        """Act until it works, the parcels have waited too long, or the server stops."""
        from botocore.exceptions import BotoCoreError, ClientError

        wait = 0.2
        while True:
            try:
                return act()
            except (BotoCoreError, ClientError, ConnectionError) as error:
                oldest = min((parcel.since for parcel in parcels), default=0.0)
                if self._closing.is_set() or time.monotonic() - oldest > self._patience:
                    _log.warning("%d Batch events lost: %s: %s", len(parcels), what, error)
                    if self._closing.is_set():
                        raise _Unsent from error
                    return None
            self._closing.wait(wait)
            wait = min(wait * 2, 5.0)

    def _send_log(self, parcel: Parcel) -> None:
        """Write what a job's log has grown by; without it the event is sent all the same."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            logs = self._client("logs")
            begin = self._log_bytes.get(parcel.log_stream, 0)
            with Path(parcel.log_file).open("rb") as file:
                file.seek(begin)
                news = file.read()
            if "group" not in self._queue_urls:
                _ignore_existing(logs.create_log_group, logGroupName=LOG_GROUP)
                self._queue_urls["group"] = LOG_GROUP
            _ignore_existing(
                logs.create_log_stream, logGroupName=LOG_GROUP, logStreamName=parcel.log_stream
            )
            stamp = time.time_ns() // 1_000_000
            text = news.decode(errors="replace")
            lines = [line for line in text.splitlines() if line][-_MAX_LOG_LINES:]
            if lines:
                logs.put_log_events(
                    logGroupName=LOG_GROUP,
                    logStreamName=parcel.log_stream,
                    logEvents=[{"timestamp": stamp, "message": line} for line in lines],
                )
            self._log_bytes[parcel.log_stream] = begin + len(news)
        except (BotoCoreError, ClientError, OSError) as error:
            _log.warning("the log of job %s was not sent: %s", parcel.log_stream, error)

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            import boto3
            from botocore.config import Config

            self._clients[service] = boto3.session.Session().client(  # type: ignore[call-overload]
                service,
                config=Config(connect_timeout=2, read_timeout=10, retries={"max_attempts": 1}),
                region_name=os.environ.get("AWS_DEFAULT_REGION", "us-east-1"),
            )
        return self._clients[service]


def _ignore_existing(create: Any, **names: str) -> None:
    from botocore.exceptions import ClientError

    try:
        create(**names)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceAlreadyExistsException":
            raise
