"""Which workflow options a drop may set, and which its operator sets."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from dropwell.preflight import Finding, Severity, did_you_mean
from dropwell.strict_json import kind_of

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
    return _laid_over(options, enforced), tuple(findings)


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


def _laid_over(options: Mapping[str, Any], enforced: Mapping[str, Any]) -> dict[str, Any]:
    made = {**options, **enforced}
    key = "default_runtime_attributes"
    own = options.get(key)
    if key in enforced and isinstance(own, dict):
        made[key] = {**own, **enforced[key]}
    return made
