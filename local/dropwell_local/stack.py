"""The local stack as a whole: what is started in which order, and how the others find it."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import json
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from dropwell_local import LocalFailure, mailbox
from dropwell_local.build import Tools, architecture, built_template, run
from dropwell_local.cromwell.serve import LocalCromwell
from dropwell_local.cromwell.settings import Settings
from dropwell_local.emulator import (
    ACCOUNT,
    CREDENTIALS,
    EMULATOR_LOG,
    REGION,
    environment_of_owner,
    running_emulator,
)
from dropwell_local.engine import sandbox
from dropwell_local.ports import LOOPBACK, ReservedPort

DEFAULT_WORK = Path.home() / ".dropwell"
STACK_NAME = "dropwell"

_STATE = "local.json"
_SESSION = re.compile(r"\d{8}-\d{6}")
_SESSIONS_KEPT = 5


class AlreadyRunning(LocalFailure):
    """One work folder holds one running stack."""


class NotRunning(LocalFailure):
    """No stack runs in this work folder."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LocalStack:
    """A local stack that runs.

    Parameters
    ----------
    url : str
        Where the emulated AWS answers: the value of ``AWS_ENDPOINT_URL``.
    cromwell_url : str
        Where Cromwell answers.
    folder : Path
        This session's: logs, mails, ``s3/`` with every object as a file, and
        ``cromwell/``. It stays when the stack stops.
    outputs : mapping
        Of the deployed template.
    batch_url : str
        Where Batch answers; empty where nothing here stands in for it.
    """

    url: str
    cromwell_url: str
    folder: Path
    outputs: Mapping[str, str]
    batch_url: str = ""

    @classmethod
    def found(cls, work: Path = DEFAULT_WORK) -> LocalStack:
        """Return the stack that runs in a work folder.

        Raises
        ------
        NotRunning
            There is none.
        """
        try:
            with (work / "lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            pass
        except BlockingIOError:
            with contextlib.suppress(FileNotFoundError):
                state = json.loads((work / _STATE).read_text())
                return cls(**{**state, "folder": Path(state["folder"])})
            raise NotRunning(f"The local stack in {work} is still starting.") from None
        raise NotRunning(f"No local stack runs in {work}. Start one with `dropwell local up`.")

    def client(self, service: str) -> Any:
        """Return a boto3 client of the emulated account's owner."""
        elsewhere = self.batch_url if service == "batch" else ""
        return _client(elsewhere or self.url, service)

    def mails(self) -> list[mailbox.Mail]:
        """Return every mail so far."""
        return mailbox.mails(self.folder)

    def events(self) -> list[dict[str, Any]]:
        """Return every machine event so far, as EventBridge delivers them."""
        return mailbox.events(self.folder)


@contextlib.contextmanager
def local_stack(
    work: Path = DEFAULT_WORK,
    *,
    cromwell_url: str | None = None,
    parameters: Mapping[str, str] | None = None,
    cromwell: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda step: None,
    tools: Tools | None = None,
) -> Iterator[LocalStack]:
    """Run the whole stack while the block does: AWS, this template and these handlers, Cromwell.

    SIGTERM and a closed terminal end the block as Ctrl-C does. If this process
    is killed outright, what it started ends by itself.

    Parameters
    ----------
    work : Path
        Builds are kept here, and a folder for each session.
    cromwell_url : str, optional
        A Cromwell to use instead of the local one.
    parameters : mapping, optional
        Of the template, over those that fit this machine.
    cromwell : mapping, optional
        Settings of the local Cromwell, over its defaults.
    say : callable
        Told each step as it begins.
    tools : Tools, optional
        Where the programs are that `make setup` installed.

    Raises
    ------
    LocalFailure
        Something could not be started; the text says what, and where its log is.
    """
    tools = tools or Tools()
    with contextlib.ExitStack() as running:
        running.enter_context(_ended_by_signals())
        running.enter_context(_alone_in(work))
        _forget_old_sessions(work)
        folder = work / time.strftime("%Y%m%d-%H%M%S")
        folder.mkdir()
        port = running.enter_context(ReservedPort())

        say("Starting the AWS emulator")
        here = f"http://{LOOPBACK}:{port.number}"
        url = running.enter_context(
            running_emulator(
                python=tools.emulator_python,
                folder=folder,
                batch_url=None if cromwell_url else here,  # the local Cromwell's Batch
            )
        )
        say("Building functions and layer with sam build")
        template = built_template(builds=work / "builds", tools=tools, log=folder / "build.log")
        say("Deploying the template with sam deploy")
        outputs = _deploy(
            template,
            tools=tools,
            url=url,
            parameters={
                "Architecture": architecture(),
                "CromwellUrl": cromwell_url or here,
                "DeletionProtection": "false",
                "ReturnCodeDelaySeconds": "2",
                **(parameters or {}),
            },
            log=folder / "deploy.log",
        )
        running.enter_context(
            mailbox.open_mailbox(
                topic=outputs["MailTopic"],
                bus=outputs["Bus"],
                sqs=_client(url, "sqs"),
                sns=_client(url, "sns"),
                events=_client(url, "events"),
                folder=folder,
            )
        )
        batch_url = ""
        if cromwell_url is None:
            settings = Settings(
                data=folder / "cromwell",
                root=f"s3://{outputs['WorkflowBucket']}/cromwell-execution",
                script_bucket=outputs["WorkflowBucket"],
                port=port.release(),
                region=REGION,
                account=ACCOUNT,
                **{"call_caching": True, **(cromwell or {})},
            )
            # Not in words of its own: whoever tries a pipeline is to know what it may touch.
            say(f"Starting the local Cromwell; tasks {sandbox.find(settings.isolation)}")
            server = LocalCromwell(settings, env=environment_of_owner(url), supervised=True)
            cromwell_url = batch_url = running.enter_context(server).url

        stack = LocalStack(
            url=url,
            cromwell_url=cromwell_url,
            folder=folder,
            outputs=outputs,
            batch_url=batch_url,
        )
        _write_state(work / _STATE, stack)
        running.callback(say, "Stopping")
        yield stack


def _deploy(
    template: Path, *, tools: Tools, url: str, parameters: Mapping[str, str], log: Path
) -> Mapping[str, str]:
    """Deploy a built template with `sam deploy`; return the stack's outputs."""
    run(
        str(tools.sam),
        "deploy",
        *("--template-file", str(template)),
        *("--stack-name", STACK_NAME),
        *("--capabilities", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"),
        *("--resolve-s3", "--no-confirm-changeset", "--no-progressbar"),
        "--parameter-overrides",
        *(f"{name}={value}" for name, value in parameters.items()),
        environment={
            **environment_of_owner(url),
            "SAM_CLI_TELEMETRY": "0",
            "SAM_CLI_POLL_DELAY": "0.2",
        },
        log=log,
    )
    (stack,) = _client(url, "cloudformation").describe_stacks(StackName=STACK_NAME)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


@functools.cache
def _client(url: str, service: str) -> Any:
    return boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        # Nothing on this machine gets well by waiting: a stack that was stopped is gone.
        config=Config(connect_timeout=2, retries={"mode": "standard", "total_max_attempts": 2}),
    )


@contextlib.contextmanager
def _alone_in(work: Path) -> Iterator[None]:
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"A local stack runs in {work} already.") from None
        (work / _STATE).unlink(missing_ok=True)
        yield


def _forget_old_sessions(work: Path) -> None:
    """Remove all but the latest sessions of a work folder, to make room for one more.

    Called while this process alone holds the folder, so none of them is in use.
    """
    sessions = sorted(
        folder
        for folder in work.iterdir()
        if _SESSION.fullmatch(folder.name) and (folder / EMULATOR_LOG).exists()
    )
    for folder in sessions[: 1 - _SESSIONS_KEPT]:
        shutil.rmtree(folder, ignore_errors=True)


def _write_state(file: Path, stack: LocalStack) -> None:
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(dataclasses.asdict(stack), indent=2, default=str))
    unfinished.rename(file)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let signals unwind the block, where this thread may say so.

    Ctrl-C as well: a shell that starts a program in the background has it
    ignore that.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: object) -> None:
        sys.exit(128 + number)

    handlers: dict[int, Any] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: leave,
        signal.SIGHUP: leave,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
