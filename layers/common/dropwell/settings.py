"""Each function's settings: read from its environment once, and checked as a whole.

Plain dataclasses and not pydantic, whose import alone costs the watcher and the
router half as much again as boto3 does (docs/decisions/0003-settings.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, Self


class BadSettings(Exception):
    """The environment does not say what the function needs to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    table_name: str
    inbox_bucket: str
    workflow_bucket: str
    retention_days: int

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Return the settings that an environment holds.

        Raises
        ------
        BadSettings
            Names every variable that is missing or cannot be read.
        """
        values: dict[str, Any] = {}
        problems = []
        for setting in fields(cls):
            variable = setting.name.upper()
            text = environment.get(variable, "")
            if not text:
                if setting.default is MISSING:
                    problems.append(f"{variable} is not set")
                continue
            try:
                values[setting.name] = _read(setting, text)
            except ValueError as error:
                problems.append(f"{variable}={text!r}: {error}")
        if problems:
            raise BadSettings("; ".join(problems))
        return cls(**values)

    @property
    def retention_seconds(self) -> int:
        return self.retention_days * 86400


def _read(setting: Field[Any], text: str) -> Any:
    match setting.type:
        case "int":
            return int(text)
        case "tuple[str, ...]":
            return tuple(entry.strip() for entry in text.split(",") if entry.strip())
        case "Mapping[str, Any]":
            value = json.loads(text)
            if not isinstance(value, dict):
                raise ValueError("expected a JSON object")
            return value
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitterSettings(_Settings):
    cromwell_url: str
    cromwell_certificate_parameter: str = ""
    cromwell_token_secret_arn: str = ""
    enforced_options: Mapping[str, Any]
    allowed_options: tuple[str, ...] = ()
    allowed_output_prefixes: tuple[str, ...] = ()
    allowed_import_hosts: tuple[str, ...] = ()
    submission_limit_bytes: int
    lease_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusWatcherSettings(_Settings):
    cromwell_url: str
    cromwell_certificate_parameter: str = ""
    cromwell_token_secret_arn: str = ""
    sighting_queue_url: str
    diagnosis_queue_url: str
    drop_queue_url: str
    script_bucket: str
    visibility_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRouterSettings(_Settings):
    diagnosis_queue_url: str
    mail_topic_arn: str
    bus_name: str
    script_bucket: str
    batch_log_group: str
    notice_detail: str
