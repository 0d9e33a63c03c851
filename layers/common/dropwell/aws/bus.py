"""Machine events on one EventBridge bus."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dropwell.errors import TryAgain

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

SOURCE = "dropwell"


class Bus:
    """One bus."""

    def __init__(self, client: EventBridgeClient, name: str) -> None:
        self._client = client
        self._name = name

    def put(self, detail_type: str, detail: Mapping[str, Any]) -> None:
        """Put one event.

        Raises
        ------
        TryAgain
            The bus did not take it. PutEvents answers 200 even then, and says so
            only in ``FailedEntryCount``.
        """
        answer = self._client.put_events(
            Entries=[
                {
                    "Source": SOURCE,
                    "DetailType": detail_type,
                    "Detail": json.dumps(detail),
                    "EventBusName": self._name,
                }
            ]
        )
        if answer.get("FailedEntryCount"):
            entry = answer["Entries"][0]
            raise TryAgain(f"{entry.get('ErrorCode')}: {entry.get('ErrorMessage')}")
