"""What every test finds set before the first handler is imported."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

# Powertools and boto3 read these when a handler's module is imported.
os.environ |= {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "POWERTOOLS_SERVICE_NAME": "dropwell",
    "POWERTOOLS_METRICS_NAMESPACE": "Dropwell",
    "POWERTOOLS_DEV": "false",
}

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("dropwell", deadline=None)
hypothesis.settings.load_profile("dropwell")

ROOT = Path(__file__).parents[1]


@pytest.fixture
def event() -> Callable[[str], dict[str, Any]]:
    """Return the sample event of a name in ``events/``."""
    return lambda name: json.loads((ROOT / "events" / f"{name}.json").read_text())


@pytest.fixture
def lambda_context() -> LambdaContext:
    context = LambdaContext()
    context._function_name = "dropwell-test"
    context._memory_limit_in_mb = 512
    context._invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:dropwell-test"
    context.get_remaining_time_in_millis = lambda: 60_000  # type: ignore[method-assign]
    context._aws_request_id = "52fdfc07-2182-454f-963f-5f0f9a621d72"
    return context
