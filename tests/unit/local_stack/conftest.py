"""The emulated AWS that the parts of the local stack are tried on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from dropwell_local.build import Tools
from dropwell_local.emulator import REGION, running_emulator


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the URL of a running emulator."""
    folder = tmp_path_factory.mktemp("emulator")
    with running_emulator(python=Tools().emulator_python, folder=folder) as url:
        yield url


@pytest.fixture
def client(emulator: str) -> Callable[..., Any]:
    """Return clients of the emulated account; the owner's, if no key is given."""

    def make(service: str, *, key: str = "test", secret: str = "test") -> Any:
        return boto3.client(
            service,
            endpoint_url=emulator,
            region_name=REGION,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )

    return make
