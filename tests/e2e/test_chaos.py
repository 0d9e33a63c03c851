"""Under chaos every run ends in the right state, told once; a few of the seeds that a person runs.

`python -m dropwell_local.chaos_trial 1-50` runs all of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psutil
import pytest

from dropwell_local.chaos_trial import QUICK, trial
from dropwell_local.stack import LocalStack, local_stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Run a stack of these tests' own: its Cromwell is in a hurry, and cruel."""
    with local_stack(tmp_path_factory.mktemp("chaos"), cromwell=QUICK) as stack:
        yield stack


@pytest.mark.parametrize("seed", [2, 5])
def test_every_run_ends_in_the_right_state_told_once(stack: LocalStack, seed: int) -> None:
    tried = trial(stack, seed)

    assert tried.problems == []
    assert tried.states["chaos_refused"] == "REJECTED"


def test_the_functions_ask_the_local_batch(stack: LocalStack) -> None:
    watcher = stack.outputs["StatusWatcherFunction"]
    stack.client("lambda").invoke(FunctionName=watcher, Payload=b"{}")  # a sweep
    asked = set()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            environment = process.environ()
            ours = environment.get("AWS_ENDPOINT_URL") == stack.url
            if ours and "AWS_LAMBDA_FUNCTION_NAME" in environment:
                asked.add(environment.get("AWS_ENDPOINT_URL_BATCH"))
    assert asked == {stack.cromwell_url}
