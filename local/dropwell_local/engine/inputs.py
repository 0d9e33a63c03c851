"""What a run is given, read as leniently as Cromwell reads it and refused in Cromwell's words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import WDL


class BadInputs(Exception):
    """The run cannot start with these inputs; one message for each thing that is wrong."""

    def __init__(self, *messages: str) -> None:
        super().__init__("; ".join(messages))
        self.messages = messages


def like_cromwell(wanted: Any, value: Any) -> Any:
    """Turn JSON strings into the numbers and booleans that a type wants, where they are such.

    Cromwell's coercions allow it (wom/types/WomIntegerType.scala and its neighbours),
    miniwdl's do not.

    >>> like_cromwell(WDL.Type.Array(WDL.Type.Int()), ["3", 4, "many"])
    [3, 4, 'many']
    """
    types = WDL.Type
    if isinstance(value, str):
        return _scalar(wanted, value)
    if isinstance(value, list) and isinstance(wanted, types.Array):
        return [like_cromwell(wanted.item_type, item) for item in value]
    if isinstance(value, dict) and isinstance(wanted, types.Map):
        return {key: like_cromwell(wanted.item_type[1], item) for key, item in value.items()}
    if isinstance(value, dict) and isinstance(wanted, types.Pair):
        sides = {"left": wanted.left_type, "right": wanted.right_type}
        return {
            key: like_cromwell(sides[key.lower()], item) if key.lower() in sides else item
            for key, item in value.items()
        }
    if isinstance(value, dict) and isinstance(wanted, types.StructInstance):
        members = wanted.members or {}
        return {
            key: like_cromwell(members[key], item) if key in members else item
            for key, item in value.items()
        }
    return value


def _scalar(wanted: Any, text: str) -> Any:
    try:
        if isinstance(wanted, WDL.Type.Int):
            return int(text)
        if isinstance(wanted, WDL.Type.Float):
            return float(text)
    except ValueError:
        return text
    if isinstance(wanted, WDL.Type.Boolean) and text.lower() in ("true", "false"):
        return text.lower() == "true"
    return text


def bind(workflow: Any, given: Mapping[str, Any]) -> Any:
    """Return miniwdl's environment of a workflow's inputs.

    Raises
    ------
    BadInputs
        An input is unknown, missing, of the wrong type, or a file that is not on S3. In
        draft-2 unknown inputs are passed over (WomtoolServiceInCromwellActorSpec.scala).
    """
    lenient = workflow.effective_wdl_version == "draft-2"
    available, prefix = workflow.available_inputs, workflow.name + "."
    bound, messages = WDL.Env.Bindings(), []
    refused: set[str] = set()
    for key, value in given.items():
        if key.startswith("#"):
            continue
        name = key.removeprefix(prefix)
        if not key.startswith(prefix):
            messages += [] if lenient else [unexpected(key, workflow)]
            continue
        if available.has_binding(name):
            value = like_cromwell(available[name].type, value)
        try:
            one = WDL.values_from_json({key: value}, available, namespace=workflow.name)
        except WDL.Error.InputError as error:
            refused.add(name)
            if available.has_binding(name):
                messages.append(
                    f"No coercion defined from '{value!r}' to '{available[name].type}' "
                    f"for input '{key}': {error}"
                )
            elif not lenient:
                messages.append(unexpected(key, workflow))
            continue
        messages += _off_s3(one)
        bound = WDL.Env.merge(one, bound)
    for missing in workflow.required_inputs.subtract(bound):
        if missing.name not in refused:
            messages.append(f"Required workflow input '{prefix}{missing.name}' not specified")
    if messages:
        raise BadInputs(*messages)
    return bound


def unexpected(key: str, workflow: Any) -> str:
    """Say that an input is unknown as womtool and Cromwell do (Executable.scala)."""
    names = sorted(
        f"{workflow.name}.{binding.name}"
        for binding in workflow.available_inputs
        if not binding.name.rpartition(".")[2].startswith("_")
    )
    return f"WARNING: Unexpected input provided: {key} (expected inputs: [{', '.join(names)}])"


def not_on_s3(path: str) -> str:
    """Say of a path that is not on S3 what Cromwell on Batch says (PathFactory.scala)."""
    return (
        f'Could not build the path "{path}". It may refer to a filesystem not supported by this '
        "instance of Cromwell. Supported filesystems are: s3. "
        f'Failures: s3: Path "{path}" does not have an s3 scheme'
    )


def _off_s3(bound: Any) -> list[str]:
    messages: list[str] = []

    def look(file: Any) -> str:
        if not file.value.startswith("s3://"):
            messages.append(not_on_s3(file.value))
        return str(file.value)

    visit: Callable[[Any, Callable[[Any], str]], Any] = WDL.Value.rewrite_env_paths
    visit(bound, look)
    return messages
