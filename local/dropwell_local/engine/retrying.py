"""What Cromwell makes of a job that has ended: success, failure, another try, more memory.

The order of the questions is that of `handleExecutionResult` in release 92
(AwsBatchAsyncBackendJobExecutionActor.scala); the words are KnownJobFailureException.scala's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MEMORY_KEYS = ("OutOfMemory", "Killed")
"""``system.memory-retry-error-keys``, as reference.conf has them."""
_ABORTS = (130, 137, 143)
_OUT_OF_RANGE = (
    "Workflow option 'memory_retry_multiplier' is invalid. It should be in the range 1.0 ≤ n ≤ 99.0"
)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What a run's options and the server say of failures.

    Parameters
    ----------
    memory_keys : tuple of str
        What a container's reason must hold for the next attempt to get more memory.
    memory_factor : float
        By which its memory then grows: ``memory_retry_multiplier``; 1 leaves it.
    trust_rc : bool
        Whether a return code that the call accepts is a success though it is not 0, so that
        Batch calls the job failed. Cromwell takes that for a machine that was lost.
    """

    memory_keys: tuple[str, ...] = MEMORY_KEYS
    memory_factor: float = 1.0
    trust_rc: bool = False


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What Cromwell sees of a job that has ended.

    Parameters
    ----------
    rc : int or None
        What the rc file says; `None` if there is none.
    exit_code : int or None
        The container's in its last attempt; a machine that went away tells none.
    container_reason : str
        Batch's word for the container's end.
    stderr_bytes : int
        How much there is on stderr; asked only of a call with ``failOnStderr``.
    """

    rc: int | None
    exit_code: int | None
    container_reason: str = ""
    stderr_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What becomes of the attempt.

    Parameters
    ----------
    message : str
        Why it failed; empty, it did not.
    code : int or None
        Its ``returnCode`` in metadata, if it has one.
    retryable : bool
        Whether ``maxRetries`` may give it another attempt.
    more_memory : bool
        Whether that gets more memory.
    """

    message: str = ""
    code: int | None = None
    retryable: bool = True
    more_memory: bool = False


def judge(
    seen: Seen,
    *,
    job_tag: str,
    accepts: Callable[[int], bool],
    policy: Policy,
    fail_on_stderr: bool = False,
) -> Verdict:
    """Return what Cromwell makes of a job.

    Parameters
    ----------
    job_tag : str
        How texts name the attempt: ``wf.task:NA:1``.
    accepts : callable
        Which return codes the call declares to be successes.
    fail_on_stderr : bool
        ``failOnStderr``.

    Examples
    --------
    >>> killed = Seen(rc=None, exit_code=137)
    >>> judge(killed, job_tag="w.t:NA:1", accepts=lambda rc: rc == 0, policy=Policy()).more_memory
    True
    """
    code = 1 if seen.rc is None else seen.rc  # no file is read as 1
    starved = _out_of_memory(seen, policy.memory_keys)
    if fail_on_stderr and seen.stderr_bytes:
        return Verdict(message=_loud_stderr(job_tag, seen.stderr_bytes), code=code)
    if code in _ABORTS and not starved:
        # An abort that nobody asked Cromwell for (WorkflowExecutionActor.scala).
        return Verdict(message="The job was aborted from outside Cromwell", retryable=False)
    if accepts(code):
        if seen.exit_code == 0 or (policy.trust_rc and seen.rc == seen.exit_code):
            return Verdict(code=code)
        return Verdict(message=unexpected_status(job_tag, code), code=code)
    if starved:
        return Verdict(message=_starved(job_tag, policy.memory_keys), code=code, more_memory=True)
    return Verdict(message=_wrong_code(job_tag, code), code=code)


def memory_factor(options: Mapping[str, Any]) -> float:
    """Return by how much a starved call's memory grows for its next attempt.

    Raises
    ------
    ValueError
        The option is no number from 1 to 99 (MaterializeWorkflowDescriptorActor.scala).

    Examples
    --------
    >>> memory_factor({"memory_retry_multiplier": 1.5}), memory_factor({})
    (1.5, 1.0)
    """
    try:
        factor = float(options.get("memory_retry_multiplier", 1.0))
    except (TypeError, ValueError):
        factor = 0.0
    if not 1.0 <= factor <= 99.0:
        raise ValueError(_OUT_OF_RANGE)
    return factor


def continues(options: Mapping[str, Any]) -> bool:
    """Whether calls go on being started after a failure: ``workflow_failure_mode``.

    Raises
    ------
    ValueError
        There is no such mode (WorkflowFailureMode.scala).

    Examples
    --------
    >>> continues({"workflow_failure_mode": "ContinueWhilePossible"}), continues({})
    (True, False)
    """
    mode = str(options.get("workflow_failure_mode", "NoNewCalls"))
    if mode.lower() not in ("nonewcalls", "continuewhilepossible"):
        raise ValueError(f"Invalid workflow failure mode: {mode}")
    return mode.lower() == "continuewhilepossible"


def unexpected_status(job_tag: str, code: int) -> str:
    """Say that a job's return code is fine and the job is not."""
    return (
        f"Job {job_tag} exited with success code '{code}' but failed status 'Failed'. "
        "Suspecting spot kill and retrying."
    )


def _out_of_memory(seen: Seen, keys: tuple[str, ...]) -> bool:
    """Whether it looks as if memory was short; any exit by SIGKILL does (`memoryRetryRC`)."""
    if seen.exit_code == 0:
        return False
    return seen.exit_code == 137 or any(key in seen.container_reason for key in keys)


def _wrong_code(job_tag: str, code: int) -> str:
    return (
        f"Job {job_tag} exited with return code {code} which has not been declared as a valid "
        "return code. See 'continueOnReturnCode' runtime attribute for more details."
    )


def _loud_stderr(job_tag: str, length: int) -> str:
    return (
        f"stderr for job {job_tag} has length {length} and 'failOnStderr' runtime attribute "
        "was true."
    )


def _starved(job_tag: str, keys: tuple[str, ...]) -> str:
    return (
        f"stderr for job `{job_tag}` contained one of the `memory-retry-error-keys: "
        f"[{','.join(keys)}]` specified in the Cromwell config. Job might have run out of memory."
    )
