"""From an opened bundle to what is posted for it, or to all that stands against that."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dropwell.archives import DEFAULT_LIMITS, Limits
from dropwell.bundles import MANIFEST, Bundle
from dropwell.drops import DATA_FILES
from dropwell.errors import (
    BadBundle,
)
from dropwell.options import laid_over, overruled, overruled_labels, review_options
from dropwell.ports import Bucket, Submission
from dropwell.posting import data_files, import_zip, main_source, rewritten
from dropwell.preflight import (
    MAX_LABELS,
    Checked,
    Finding,
    QueueAsked,
    Severity,
    errors_of,
)
from dropwell.projects import Project
from dropwell.runs import Run
from dropwell.strict_json import Places, in_bytes

_QUEUE_INPUT = re.compile(r"\.(?:runtime|requirements)\.queueArn$")
"""The key of an input by which Cromwell overrides a task's runtime."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the operator lets a bundle ask.

    Parameters
    ----------
    limits : Limits
        How large a bundle may be.
    submission_bytes : int
        The largest submission that Cromwell and its proxy take.
    enforced_options : mapping
        Workflow options laid over those of every bundle.
    allowed_options : tuple of str
        Options that act with Cromwell's rights, and that bundles may set nevertheless.
    output_prefixes : tuple of str
        ``s3://`` prefixes under which Cromwell may copy outputs and logs.
    """

    limits: Limits = DEFAULT_LIMITS
    submission_bytes: int = DEFAULT_LIMITS.closure
    enforced_options: Mapping[str, Any] = field(default_factory=dict)
    allowed_options: tuple[str, ...] = ()
    output_prefixes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A bundle found fit to run: what will be posted, and what must be stored before."""

    submission: Submission
    workflow: str
    uploads: Mapping[str, str]
    warnings: tuple[Finding, ...]


def prepare(
    bundle: Bundle,
    run: Run,
    check: Callable[[Bundle], Checked],
    rules: Rules,
    *,
    inputs: Bucket,
    project: Project | None = None,
) -> Prepared:
    """Check a bundle, and say what to post for it.

    Parameters
    ----------
    bundle : Bundle
        As it was opened.
    run : Run
        Whose bundle it is; gives id, project and name.
    check : callable
        Reads its WDL and inputs.
    rules : Rules
        What it may ask.
    inputs : Bucket
        Where its data files will be stored; only asked for their addresses.
    project : Project
        What the operator sets for its project: over the bundle, and over `rules`.

    Raises
    ------
    BadBundle
        With all that was found, the warnings too.
    """
    project = project or Project()
    checked = check(bundle)
    data = data_files(bundle, checked)
    options, of_options = review_options(
        bundle.options,
        file=bundle.options_file,
        enforced=laid_over(rules.enforced_options, project.options),
        allowed_keys=rules.allowed_options,
        allowed_prefixes=rules.output_prefixes,
        line_of=partial(_line, bundle, bundle.options_file),
    )
    of_project = _of_project(bundle, checked, project)
    findings = (*bundle.findings, *checked.findings, *data.findings, *of_options, *of_project)
    if errors_of(findings):
        raise BadBundle(*findings)
    if bundle.dry_run:
        raise BadBundle(_only_checked(), *findings)
    keys = {entry: f"{DATA_FILES}{run.run_id}/{entry}" for entry in data.entries}
    uris = {entry: inputs.uri(key) for entry, key in keys.items()}
    submission = Submission(
        run_id=run.run_id,
        source=main_source(bundle, checked),
        inputs=rewritten(bundle.inputs, data, uris),
        options=options,
        labels={
            **bundle.labels,
            **project.labels,
            "dropwell-project": run.project,
            "dropwell-name": run.name,
        },
        dependencies=import_zip(bundle, checked),
        on_hold=bundle.hold,
    )
    if (size := _size(submission)) > rules.submission_bytes:
        raise BadBundle(_too_large_to_post(size, rules.submission_bytes), *findings)
    return Prepared(
        submission=submission, workflow=checked.workflow, uploads=keys, warnings=findings
    )


def _of_project(bundle: Bundle, checked: Checked, project: Project) -> tuple[Finding, ...]:
    """Return what a bundle asks otherwise than its project has it, and labels too many."""
    file = bundle.options_file
    findings = overruled(
        bundle.options, project.options, file=file, line_of=partial(_line, bundle, file)
    )
    findings += _queues_of_tasks(bundle, checked, project)
    findings += overruled_labels(
        bundle.labels, project.labels, place_of=partial(_place_of_label, bundle)
    )
    if len({**bundle.labels, **project.labels}) > MAX_LABELS >= len(bundle.labels):
        findings += (_too_many_labels(bundle, project),)
    return findings


def _queues_of_tasks(bundle: Bundle, checked: Checked, project: Project) -> tuple[Finding, ...]:
    """Return an error for each task that would go to another queue than its project's.

    What is asked in options is laid over; what stands in a task or is given for one in the
    inputs is not ours to rewrite, and Cromwell would follow it.
    """
    if not project.queue_arn:
        return ()
    given = [
        QueueAsked(*bundle.place_of(key), value if isinstance(value, str) else None)
        for key, value in bundle.inputs.items()
        if _QUEUE_INPUT.search(key)
    ]
    return tuple(
        Finding(
            rule="queue-overruled",
            message=f"a task asks for {f'the queue {asked.value}' if asked.value else 'a queue'}"
            f" by queueArn; the operator sets {project.queue_arn} for this project",
            advice="Leave queueArn out: the jobs go to the project's queue without it.",
            file=asked.file,
            line=asked.line,
        )
        for asked in (*checked.queues, *given)
        if asked.value != project.queue_arn
    )


def _too_many_labels(bundle: Bundle, project: Project) -> Finding:
    return Finding(
        rule="label",
        message=f"{len(bundle.labels)} labels, and {len(project.labels)} that the operator sets"
        f" for this project; at most {MAX_LABELS} fit on a job",
    )


def _place_of_label(bundle: Bundle, label: str) -> tuple[str, int | None]:
    """Return file and line of a label; of two that say it, the one that holds."""
    for file, path in ((MANIFEST, ["labels", label]), ("labels.json", [label])):
        if bundle.holds(file) and (place := Places(bundle.source(file)).of(*path)):
            return file, place[0]
    return "", None


def _line(bundle: Bundle, file: str, key: str) -> int | None:
    place = Places(bundle.source(file)).of(key)
    return place[0] if place else None


def _size(submission: Submission) -> int:
    """Return about how many bytes a submission takes on the wire."""
    texts: list[Any] = [submission.inputs, submission.options, submission.labels]
    told = sum(len(json.dumps(text).encode()) for text in texts)
    return told + len(submission.source.encode()) + len(submission.dependencies or b"") + 2_000


def _too_large_to_post(size: int, most: int) -> Finding:
    return Finding(
        rule="submission-too-large",
        message=f"WDL, imports and inputs together are {in_bytes(size)}; this Cromwell takes"
        f" {in_bytes(most)}",
        advice="Move long lists out of the inputs into a file on S3, and read them in the WDL.",
    )


def _only_checked() -> Finding:
    return Finding(
        rule="dry-run",
        severity=Severity.WARNING,
        message="only checked, as dryRun in the manifest asks; nothing stands against running it",
    )
