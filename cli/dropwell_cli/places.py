"""Where the command looks: a running local stack, or one deployed to AWS."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropwell.drops import CONTROL, INBOX, Action, Drop
from dropwell.ports import Bucket, LogGroup, Table
from dropwell_cli import Failure
from dropwell_cli.packing import Parcel

if TYPE_CHECKING:
    from dropwell_local.mailbox import Mail
    from dropwell_local.stack import LocalStack

STACK_VARIABLE = "DROPWELL_STACK"
WORK_VARIABLE = "DROPWELL_WORK"

_NOWHERE = (
    "No local stack runs, and no deployed one was named. Start one with `dropwell local up`,"
    f" or name one with --stack NAME or the variable {STACK_VARIABLE}."
)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A Dropwell that can be asked.

    Parameters
    ----------
    label : str
        What to call it to people.
    option : str
        What to add to another `dropwell` command so that it looks here too.
    table, inbox, logs
        What is remembered; where drops and run folders lie; the Batch jobs' log.
    bucket : callable
        Any other bucket by its name.
    detail : str
        How much its mails tell.
    pause : float
        Seconds to leave between two looks.
    stack, client
        The name of its CloudFormation stack, and what makes boto3's client of a service.
    local : bool
        Whether it is a local stack.
    mails : callable or None
        The mails that were sent, where they can be had as they were sent.
    """

    label: str
    option: str
    table: Table
    inbox: Bucket
    logs: LogGroup
    bucket: Callable[[str], Bucket]
    detail: str
    pause: float
    s3: Any
    stack: str
    client: Callable[[str], Any]
    local: bool = False
    mails: Callable[[], Sequence[Mail]] | None = None

    def drop(self, parcel: Parcel, project: str) -> Drop:
        """Put a bundle into the inbox, and return the drop that it became."""
        key = f"{INBOX}{project}/{parcel.file_name}"
        answer = self.s3.put_object(Bucket=self.inbox.name, Key=key, Body=parcel.data)
        if not answer.get("VersionId"):
            raise Failure(
                f"The bucket {self.inbox.name} keeps no versions, so nothing dropped there is"
                " run. Turn its versioning on, and drop again."
            )
        return Drop(bucket=self.inbox.name, key=key, version_id=answer["VersionId"])

    def ask(self, action: Action, project: str, run_id: str) -> None:
        """Leave a control file for a run."""
        self.inbox.put(f"{CONTROL}{project}/{action}/{run_id}.json", "{}\n")

    def hint(self, *words: str) -> str:
        """Return a command that asks this place for more."""
        return " ".join(["dropwell", *words, *([self.option] if self.option else [])])


def find_place(*, stack: str | None, local: bool, work: Path | None) -> Place:
    """Return the place that was named, else a running local stack, else the usual stack.

    Parameters
    ----------
    stack : str or None
        The name of a CloudFormation stack.
    local : bool
        Look at the local stack and nowhere else.
    work : Path or None
        The local stack's work folder, if not the usual one.

    Raises
    ------
    Failure, LocalFailure
        There is nothing to look at.
    """
    from dropwell_local.stack import DEFAULT_WORK, LocalStack, NotRunning

    if stack and (local or work):
        raise Failure("Name a stack or the local one, not both.")
    if stack:
        return deployed(stack)
    try:
        return local_place(LocalStack.found(work or DEFAULT_WORK), work)
    except NotRunning:
        if local or work:
            raise
    if usual := os.environ.get(STACK_VARIABLE):
        return deployed(usual)
    raise Failure(_NOWHERE)


def local_place(stack: LocalStack, work: Path | None = None) -> Place:
    """Return a local stack as a place."""
    from dropwell_local.stack import STACK_NAME

    return _place(
        stack.client,
        stack.outputs,
        {},
        name=STACK_NAME,
        local=True,
        label="the local stack",
        option=f"--work {work}" if work and WORK_VARIABLE not in os.environ else "",
        pause=0.4,
        mails=stack.mails,
    )


def deployed(name: str) -> Place:
    """Return a stack on AWS as a place; credentials and region are found as boto3 finds them."""
    import boto3
    from botocore.exceptions import ClientError, NoRegionError

    @cache
    def client(service: str) -> Any:
        return boto3.client(service)  # type: ignore[call-overload]

    try:
        stacks = client("cloudformation")
        (stack,) = stacks.describe_stacks(StackName=name)["Stacks"]
    except NoRegionError:
        raise Failure(
            "No AWS region is set. Set AWS_DEFAULT_REGION, or one in your AWS profile."
        ) from None
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        raise Failure(
            f'There is no stack "{name}" in {stacks.meta.region_name} of this account.'
        ) from None
    outputs = {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])}
    if missing := {"Table", "InboxBucket"} - outputs.keys():
        raise Failure(
            f'The stack "{name}" is no Dropwell: it has no output {min(missing)}. Is it still'
            " being made?"
        )
    return _place(
        client,
        outputs,
        settings_of(stack),
        name=name,
        label=f"the stack {name}",
        option=f"--stack {name}",
        pause=3,
    )


def settings_of(stack: Mapping[str, Any]) -> dict[str, str]:
    """Return what a stack works with: its parameters, or the outputs of their names.

    A parameter is empty where the stack brings what it stands for, such as a Cromwell of its own.
    """
    parameters = {
        one["ParameterKey"]: one.get("ParameterValue", "") for one in stack.get("Parameters", [])
    }
    return parameters | {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])}


def _place(
    client: Callable[[str], Any],
    outputs: Any,
    parameters: Any,
    *,
    name: str,
    label: str,
    option: str,
    pause: float,
    local: bool = False,
    mails: Callable[[], Sequence[Mail]] | None = None,
) -> Place:
    from dropwell.aws.buckets import Bucket
    from dropwell.aws.logs import LogGroup
    from dropwell.aws.tables import Table

    s3 = client("s3")
    return Place(
        label=label,
        option=option,
        table=Table(client("dynamodb"), outputs["Table"], keep=0),  # it is only read
        inbox=Bucket(s3, outputs["InboxBucket"]),
        logs=LogGroup(client("logs"), parameters.get("BatchLogGroup") or "/aws/batch/job"),
        bucket=lambda name: Bucket(s3, name),
        detail=parameters.get("NoticeDetail") or "standard",
        pause=pause,
        s3=s3,
        stack=name,
        client=client,
        local=local,
        mails=mails,
    )


def objects_folder(stack: LocalStack, bucket: str) -> Path:
    """Return where the local stack keeps a bucket's objects as files."""
    from dropwell_local.emulator import ACCOUNT

    return stack.folder / "s3" / ACCOUNT / bucket
