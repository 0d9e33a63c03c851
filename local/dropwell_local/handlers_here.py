"""How a built template is changed so that the emulator runs our functions on this machine.

The emulator would load Python handlers into its own interpreter, where its own
packages hide what a layer forgot. As functions of a custom runtime they get a
process each, with the runtime interface client that AWS itself uses, and see
the layer, boto3 and nothing else. The stacks that make a Cromwell are left out, for
here one is given. Only the output of `sam build` is changed.

Runs under the Python of the sam command, whose parser of templates it borrows::

    python handlers_here.py BUILD_FOLDER RUNTIME_PYTHON
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

TEMPLATE = "template.local.yaml"
"""The changed template's name, beside the one that was built."""

_ONLY_ON_AWS = {"MakeCromwell", "MakeNetwork"}
"""The template's conditions of what a local stack never makes."""

_FEWEST_AT_ONCE = 2
"""The least that AWS takes as MaximumConcurrency, and so the emulator too."""

BOOTSTRAP = """\
#!/bin/sh
export AWS_EXECUTION_ENV=AWS_Lambda_python AWS_LAMBDA_INITIALIZATION_TYPE=on-demand TZ=:UTC
export AWS_LAMBDA_LOG_GROUP_NAME="/aws/lambda/$AWS_LAMBDA_FUNCTION_NAME"
export AWS_LAMBDA_LOG_FORMAT={log_format}
export PYTHONPATH="$LAMBDA_TASK_ROOT{layers}" PYTHONDONTWRITEBYTECODE=1
unset GATEWAY_PORT BIND_HOST AUTH S3_PERSIST S3_DATA_DIR IOT_MTLS_ENABLED SFTP_ENABLED
unset MINISTACK_ACCOUNT_ID MINISTACK_REGION
exec {python} -m awslambdaric "$_HANDLER"
"""


def leave_out_a_new_cromwell(template: dict[str, Any]) -> None:
    """Drop the nested stacks that make a Cromwell; `sam deploy` would package them each time."""
    resources = template["Resources"]
    template["Resources"] = {
        name: resource
        for name, resource in resources.items()
        if resource.get("Condition") not in _ONLY_ON_AWS
    }


def run_handlers_here(template: dict[str, Any], *, build: Path, python: Path) -> None:
    """Turn each Python function of a built template into one of a custom runtime.

    Writes the ``bootstrap`` of each function into its folder of the build.

    Parameters
    ----------
    template : dict
        The built template, parsed; changed in place.
    build : Path
        The folder that `sam build` wrote.
    python : Path
        The interpreter of an environment with awslambdaric and boto3 only.
    """
    resources = template["Resources"]
    shared = template.get("Globals", {}).get("Function", {})
    layers = {
        name: build / resource["Properties"]["ContentUri"] / "python"
        for name, resource in resources.items()
        if resource["Type"] == "AWS::Serverless::LayerVersion"
    }
    for resource in resources.values():
        if resource["Type"] != "AWS::Serverless::Function":
            continue
        function = resource["Properties"]
        used = [layers[layer["Ref"]] for layer in function.get("Layers", shared.get("Layers", []))]
        logging = function.get("LoggingConfig", shared.get("LoggingConfig", {}))
        bootstrap = build / function["CodeUri"] / "bootstrap"
        bootstrap.write_text(
            BOOTSTRAP.format(
                python=python,
                layers="".join(f":{layer}" for layer in used),
                log_format=logging.get("LogFormat", "Text"),
            )
        )
        bootstrap.chmod(0o755)
        _run_few_at_once(function)
        function["Runtime"] = "provided.al2023"
        function.pop("Layers", None)
    shared.pop("Runtime", None)
    shared.pop("Layers", None)


def _run_few_at_once(function: dict[str, Any]) -> None:
    """Let a queue that is read in batches have few of a function's processes.

    A wide scatter would have as many started as the template allows. Each takes 60 to 90 MB and
    stays, and more than there are processors would make nothing faster here. Where a batch is
    one message, several at once are how work gets done at all, and stay.
    """
    most = max(_FEWEST_AT_ONCE, os.cpu_count() or 1)
    for event in function.get("Events", {}).values():
        source = event["Properties"]
        scaling = source.get("ScalingConfig", {})
        if source.get("BatchSize", 10) > 1 and scaling.get("MaximumConcurrency", 0) > most:
            scaling["MaximumConcurrency"] = most


def main(build: Path, python: Path) -> None:
    from samtranslator.yaml_helper import yaml_parse

    template = yaml_parse((build / "template.yaml").read_text())
    leave_out_a_new_cromwell(template)
    run_handlers_here(template, build=build, python=python)
    # JSON is YAML, and states intrinsic functions in their long form. The file
    # appears at once and last: where it is, the build is whole.
    unfinished = build / "unfinished"
    unfinished.write_text(json.dumps(template, indent=1, default=str))
    unfinished.rename(build / TEMPLATE)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
