"""What a cold start pays for: pydantic and the WDL engine load when they are needed, or never."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.transformed import ROOT, template

STACK = template(
    CromwellUrl="https://127.0.0.1:9",
    CromwellCertificateParameter="/certificate",
    CromwellTokenSecretArn="arn:aws:secretsmanager:eu-west-1:123456789012:secret:token-AbCdEf",
    WorkflowBucketName="workflows",
)
FUNCTIONS = {
    "SubmitterFunction": "submitter",
    "StatusWatcherFunction": "status_watcher",
    "LogRouterFunction": "log_router",
}


def loaded(function: str, then: str = "") -> set[str]:
    """Return the modules that a new Python has loaded once it imported a function's handler."""
    code = (
        "import json, sys, handler\n"
        f"{then}\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    environment = {
        **os.environ,
        **STACK.environment(function),
        "PYTHONPATH": os.pathsep.join(
            [str(ROOT / "functions" / FUNCTIONS[function]), str(ROOT / "layers/common")]
        ),
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
    # Coverage would load a plugin of its own into the child.
    environment.pop("COV_CORE_SOURCE", None)
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return set(json.loads(ended.stdout.splitlines()[-1]))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_handler_loads_neither_pydantic_nor_the_wdl_engine(function):
    assert not loaded(function) & {"pydantic", "WDL", "lark", "regex", "moto"}


def test_the_submitter_loads_the_engine_when_it_checks_a_bundle():
    check = """
import io, zipfile
from dropwell.bundles import open_bundle
folded = io.BytesIO()
with zipfile.ZipFile(folded, "w") as archive:
    archive.writestr("main.wdl", "version 1.0\\nworkflow hello { }\\n")
made = handler.desk()
assert "WDL" not in sys.modules
bundle = open_bundle(folded.getvalue(), "hello.zip", made.rules.limits)
assert "WDL" not in sys.modules
assert made.check(bundle).workflow == "hello"
"""
    assert "WDL" in loaded("SubmitterFunction", check)


DOORS = {"SubmitterFunction": "desk", "StatusWatcherFunction": "watch"}


@pytest.mark.parametrize("function", DOORS)
def test_what_reads_certificates_and_tokens_is_loaded_when_cromwell_is_asked(function):
    ready = f"""
handler.{DOORS[function]}()
assert not [name for name in sys.modules if "powertools.utilities.parameters" in name]
"""
    loaded(function, ready)
