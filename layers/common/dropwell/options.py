"""Which workflow options a drop may set, and which its operator sets."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from dropwell.preflight import Finding, Severity, did_you_mean
from dropwell.strict_json import kind_of
from dropwell.text import one_line

_HELD_FOLDERS = frozenset(
    {
        "final_workflow_outputs_dir",
        "final_workflow_log_dir",
        "final_call_logs_dir",
    }
)
"""Folders that Cromwell writes to with its own rights."""

_HELD = frozenset(
    {
        "workflow_callback_uri",
        "aws_batch_job_role_arn",
        "aws_batch_script_bucket_prefix",
        "aws_s3_root",
        "call_cache_hit_path_prefixes",
        "jes_gcs_root",
        "backend",
        "default_runtime_attributes.queueArn",
        "default_runtime_attributes.scriptBucketName",
        "default_runtime_attributes.additionalTags",
    }
)
"""Options by which a drop would act with Cromwell's rights, or where it should not run."""

_KNOWN = (
    _HELD_FOLDERS
    | frozenset(name for name in _HELD if "." not in name)
    | {
        "default_runtime_attributes",
        "workflow_failure_mode",
        "write_to_cache",
        "read_from_cache",
        "use_relative_output_paths",
        "final_workflow_outputs_mode",
        "final_workflow_outputs_dir_metadata",
        "delete_intermediate_output_files",
        "memory_retry_multiplier",
        "maxRetries",
        "hogGroup",
        "google_labels",
        "google_project",
        "workflow-log-temporary",
    }
)

_MAY_HOLD_AN_OBJECT = ("default_runtime_attributes", "google_labels")


def review_options(
    options: Mapping[str, Any],
    *,
    file: str = "options.json",
    enforced: Mapping[str, Any] | None = None,
    allowed_keys: Collection[str] = (),
    allowed_prefixes: Collection[str] = (),
    line_of: Callable[[str], int | None] | None = None,
) -> tuple[dict[str, Any], tuple[Finding, ...]]:
    """Return a run's options with the operator's laid over, and what stands against them.

    Cromwell carries out some options with its own rights: it copies outputs
    to any bucket it can write, calls any URI, hands jobs any role. A drop may
    use those only as far as its operator allows.

    Parameters
    ----------
    options : mapping
        As dropped.
    file : str
        Where they come from, for findings.
    enforced : mapping
        The operator's. They win; within ``default_runtime_attributes``, by attribute.
    allowed_keys : collection of str
        Held options that drops may set; attributes as
        ``default_runtime_attributes.queueArn``.
    allowed_prefixes : collection of str
        ``s3://`` prefixes under which the ``final_…_dir`` options may point.
    line_of : callable
        Tells the line of `file` that an option stands in.

    Examples
    --------
    >>> made, findings = review_options({"write_to_cache": False}, enforced={"hogGroup": "cardio"})
    >>> made, findings
    ({'write_to_cache': False, 'hogGroup': 'cardio'}, ())
    >>> _, findings = review_options({"workflow_callback_uri": "https://example.org"})
    >>> print(findings[0])
    options.json  the option "workflow_callback_uri" is not open to drops
    """
    enforced = enforced or {}
    findings: list[Finding] = []
    for key, value in options.items():
        found = _against(key, value, file, enforced, allowed_keys, allowed_prefixes)
        line = line_of(key) if line_of and found else None
        findings += [replace(finding, line=line) for finding in found]
    return laid_over(options, enforced), tuple(findings)


def _against(
    key: str,
    value: Any,
    file: str,
    enforced: Mapping[str, Any],
    allowed_keys: Collection[str],
    allowed_prefixes: Collection[str],
) -> list[Finding]:
    """Return what stands against one option."""
    if message := _unreadable(key, value):
        return [Finding(rule="option-value", message=message, file=file)]
    findings = _held(key, value, file, enforced, allowed_keys, allowed_prefixes)
    if key not in _KNOWN and key not in enforced:
        message = f'the option "{key}" is not known{did_you_mean(key, _KNOWN)}'
        warning = Severity.WARNING
        findings.append(
            Finding(rule="option-unknown", message=message, file=file, severity=warning)
        )
    return findings


def _unreadable(key: str, value: object) -> str:
    """Return why Cromwell would refuse the submission for an option (WorkflowOptions.scala)."""
    if value is None or (isinstance(value, dict) and key not in _MAY_HOLD_AN_OBJECT):
        return f'the option "{key}" is {kind_of(value)}, which Cromwell does not take there'
    if key == "default_runtime_attributes" and not isinstance(value, dict):
        return f'the option "{key}" is {kind_of(value)}; an object was expected'
    return ""


def _held(
    key: str,
    value: Any,
    file: str,
    enforced: Mapping[str, Any],
    allowed_keys: Collection[str],
    allowed_prefixes: Collection[str],
) -> list[Finding]:
    """Return a finding for each use of an option that the operator has not opened."""
    if key in _HELD_FOLDERS and key not in allowed_keys and key not in enforced:
        if isinstance(value, str) and _lies_under(value, allowed_prefixes):
            return []
        message = f'the option "{key}" is not open to drops'
        if allowed_prefixes:
            message = f'the option "{key}" may only point under {_or(allowed_prefixes)}'
        return [_not_allowed(message, file)]
    names = [key]
    if key == "default_runtime_attributes":
        names = [f"{key}.{attribute}" for attribute in value]
        enforced = {f"{key}.{attribute}": 0 for attribute in enforced.get(key, {})}
    return [
        _not_allowed(f'the option "{name}" is not open to drops', file)
        for name in names
        if name in _HELD and name not in allowed_keys and name not in enforced
    ]


def _not_allowed(message: str, file: str) -> Finding:
    return Finding(
        rule="option-not-allowed",
        message=message,
        file=file,
        advice="Leave it out, or ask who runs this service to allow it.",
    )


def _or(prefixes: Collection[str]) -> str:
    return " or ".join(sorted(prefixes))


def _lies_under(value: str, prefixes: Collection[str]) -> bool:
    """Tell whether an S3 URI lies under one of some prefixes, taken as folders.

    >>> _lies_under("s3://b/results/x", ["s3://b/results"])
    True
    >>> _lies_under("s3://b/results-of-others", ["s3://b/results"])
    False
    >>> _lies_under("s3://b/results/../secret", ["s3://b/results"])
    False
    """
    if ".." in value.split("/"):
        return False
    folders = [f"{prefix.rstrip('/')}/" for prefix in prefixes]
    return any(f"{value.rstrip('/')}/".startswith(folder) for folder in folders)


def overruled(
    asked: Mapping[str, Any],
    settled: Mapping[str, Any],
    *,
    file: str = "options.json",
    line_of: Callable[[str], int | None] = lambda name: None,
) -> tuple[Finding, ...]:
    """Return a warning for each option that is asked otherwise than a project has it.

    Such a run goes on, under what the operator set: its author did not know better,
    and is told what holds.

    Examples
    --------
    >>> for finding in overruled({"aws_s3_root": "s3://b/mine"}, {"aws_s3_root": "s3://b/cardio"}):
    ...     print(finding)
    options.json  the option "aws_s3_root" asks for "s3://b/mine"; the operator sets \
"s3://b/cardio" for this project, and that is used
    """
    theirs = _by_attribute(settled)
    return tuple(
        _overruled("option", name, wanted, theirs[name], (file, line_of(name.partition(".")[0])))
        for name, wanted in _by_attribute(asked).items()
        if name in theirs and wanted != theirs[name]
    )


def overruled_labels(
    asked: Mapping[str, str],
    settled: Mapping[str, str],
    *,
    place_of: Callable[[str], tuple[str, int | None]],
) -> tuple[Finding, ...]:
    """Return likewise a warning for each label; `place_of` tells its file and line."""
    return tuple(
        _overruled("label", name, wanted, settled[name], place_of(name))
        for name, wanted in asked.items()
        if name in settled and wanted != settled[name]
    )


def _overruled(
    what: str,
    name: str,
    asked: Any,
    settled: Any,
    place: tuple[str, int | None],
) -> Finding:
    return Finding(
        rule=f"{what}-overruled",
        message=f'the {what} "{name}" asks for {_quoted(asked)}; the operator sets'
        f" {_quoted(settled)} for this project, and that is used",
        severity=Severity.WARNING,
        file=place[0],
        line=place[1],
    )


def _quoted(value: Any) -> str:
    return one_line(json.dumps(value, ensure_ascii=False), 160)


def _by_attribute(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options by name, runtime attributes as ``default_runtime_attributes.queueArn``."""
    key = "default_runtime_attributes"
    attributes = options.get(key)
    flat = {name: value for name, value in options.items() if name != key}
    if isinstance(attributes, Mapping):
        flat |= {f"{key}.{name}": value for name, value in attributes.items()}
    return flat


def laid_over(options: Mapping[str, Any], enforced: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with others over them, within the runtime attributes one by one."""
    made = {**options, **enforced}
    key = "default_runtime_attributes"
    own = options.get(key)
    if key in enforced and isinstance(own, Mapping):
        made[key] = {**own, **enforced[key]}
    return made
