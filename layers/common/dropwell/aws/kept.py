"""Texts that AWS keeps for us and that may change there: SSM parameters, secrets.

Nothing of it is loaded before the first read: most events need no word with
Cromwell, and Powertools' providers with the clients of both services cost a cold
start a twelfth more (docs/benchmarks.md).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from dropwell.errors import TryAgain

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.parameters.base import BaseProvider

REMEMBERED_SECONDS = 300
"""How long a text counts: what is withdrawn is trusted no longer than that."""

# A VPC without the endpoint drops packets without a word; the function has a minute.
_PATIENCE = Config(
    connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2}
)
_LONGEST_REASON = 160


class Kept:
    """One text, read when it is needed and remembered for a while.

    Parameters
    ----------
    what : str
        How to name it to people.
    name : str
        Where AWS keeps it.
    provider : callable
        Makes what reads it.
    """

    def __init__(self, what: str, name: str, provider: Callable[[], BaseProvider]) -> None:
        self._what = what
        self._name = name
        self._make = provider

    def read(self, *, afresh: bool = False) -> str:
        """Return the text, as it was read in the last minutes or as it is now.

        Raises
        ------
        TryAgain
            It cannot be read: rights, network, or there is none.
        """
        from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError

        try:
            text = self._provider.get(self._name, max_age=REMEMBERED_SECONDS, force_fetch=afresh)
        except GetParameterError as problem:
            reason = str(problem)[:_LONGEST_REASON]
            raise TryAgain(f"{self._what} could not be read: {reason}") from problem
        if not isinstance(text, str):
            raise TryAgain(f"{self._what} is no text.")
        return text

    @cached_property
    def _provider(self) -> BaseProvider:
        return self._make()


def parameter(what: str, name: str) -> Kept | None:
    """Return the text of an SSM parameter, `None` if none is named."""

    def provider() -> BaseProvider:
        from aws_lambda_powertools.utilities.parameters.ssm import SSMProvider

        return SSMProvider(boto3_client=boto3.client("ssm", config=_PATIENCE))

    return Kept(what, name, provider) if name else None


def secret(what: str, arn: str) -> Kept | None:
    """Return the text of the current version of a secret, `None` if none is named."""

    def provider() -> BaseProvider:
        from aws_lambda_powertools.utilities.parameters.secrets import SecretsProvider

        return SecretsProvider(boto3_client=boto3.client("secretsmanager", config=_PATIENCE))

    return Kept(what, arn, provider) if arn else None
