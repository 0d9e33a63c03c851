"""How Batch attempts end, in Batch's own words.

Which ending leaves an rc file, an exit code or a log is Cromwell's script's and Batch's
doing: AwsBatchJob.scala, lines 458-607; AwsBatchAsyncBackendJobExecutionActor.scala,
lines 988-1050.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dropwell_local.engine import processes

_KEY_DENIED = (
    "An error occurred (AccessDenied) when calling the GetObject operation: User: "
    "arn:aws:sts::123456789012:assumed-role/batch-jobs/job is not authorized to perform: "
    "kms:Decrypt on resource: arn:aws:kms:us-east-1:123456789012:key/"
    "1234abcd-12ab-34cd-56ef-1234567890ab because no identity-based policy allows the "
    "kms:Decrypt action"
)

EXITED = "Essential container in task exited"
TIMED_OUT = "Job attempt duration exceeded timeout"
_ATTEMPTS = 5
"""How often the script tries to copy a file; here it loses no time over it."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """The end of one Batch attempt.

    Parameters
    ----------
    rc : int or None
        What its rc file says; `None` if it left none.
    exit_code : int or None
        The container's; a machine that went away tells none.
    status_reason, container_reason : str
        Batch's words; an empty status reason is that of an ordinary exit.
    log : tuple of str
        What the job's log says of it.
    ran, began : bool
        Whether there was a container at all, and whether the command came to run in it.
    retried : bool
        Whether it may be tried again, if the job's retry strategy says so.
    """

    rc: int | None = None
    exit_code: int | None = None
    status_reason: str = ""
    container_reason: str = ""
    log: tuple[str, ...] = ()
    ran: bool = True
    began: bool = True
    retried: bool = True


TIMEOUT = Ending(exit_code=137, status_reason=TIMED_OUT, retried=False)
OUT_OF_MEMORY = Ending(exit_code=137, container_reason=processes.OUT_OF_MEMORY)


def terminated(reason: str, exit_code: int | None) -> Ending:
    """Return the end of a job that TerminateJob was asked for."""
    return Ending(exit_code=exit_code, status_reason=reason, retried=False)


def not_localized(reason: str) -> Ending:
    """Return the end of a job one of whose inputs cannot be read."""
    return Ending(exit_code=1, log=(reason, "*** LOCALIZATION FAILED ***"), began=False)


def not_delocalized(rc: int, paths: Iterable[str]) -> Ending:
    """Return the end of a job without some files that its outputs must have.

    Its script exits with 1, whatever the return code was (AwsBatchJob.scala, lines 585-607).

    Parameters
    ----------
    paths : iterable of str
        Where they should have been, as the container sees it.
    """
    log: list[str] = []
    for path in paths:
        for attempt in range(1, _ATTEMPTS + 1):
            log.append(f"The user-provided path {path} does not exist.")
            log.append(f"attempt {attempt} to copy {path} failed")
        log.append(f"failed to delocalize {path} after {_ATTEMPTS} attempts.")
    log += [
        "DELOCALIZATION RESULT: 1",
        "*** DELOCALIZATION FAILED ***",
        "*** EXITING WITH RETURN CODE 1***",
    ]
    return Ending(exit_code=1, rc=rc, log=tuple(log))


def fated(name: str, *, image: str, instance: str, source: str = "") -> Ending:
    """Return how a cruelty ends an attempt.

    Parameters
    ----------
    name : str
        One of `chaos.FATES`.
    instance : str
        The machine's id, where it is named.
    source : str
        The address of an input, if the attempt has any.

    Examples
    --------
    >>> fated("spot", image="ubuntu", instance="i-0abc").status_reason
    'Host EC2 (instance i-0abc) terminated.'
    """
    if name in ("spot", "host"):
        return Ending(status_reason=f"Host EC2 (instance {instance}) terminated.")
    if name == "oom":
        return OUT_OF_MEMORY
    if name == "timeout":
        return TIMEOUT
    if name == "disk":
        full = "tee: /tmp/scratch/stdout: No space left on device"
        return Ending(exit_code=1, log=(full,))
    if name == "pull":
        why = f"CannotPullContainerError: pull image manifest has been retried 5 time(s): {image}"
        return Ending(
            status_reason="Task failed to start",
            container_reason=f"{why}: not found",
            ran=False,
            began=False,
        )
    if name == "localize":
        refused = (
            "An error occurred (404) when calling the HeadObject operation: Key does not exist"
        )
        return not_localized(f"fatal error: {refused}")
    if name == "kms":
        begins = f"download failed: {source} to ../tmp/scratch" if source else "fatal error:"
        return not_localized(f"{begins} {_KEY_DENIED}")
    raise ValueError(f"no such ending: {name}")
