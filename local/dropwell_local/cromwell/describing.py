"""What a WDL is, as Cromwell's describe route tells it (WorkflowDescription.scala).

Cromwell's own parser is not here: miniwdl reads the source, so errors are in its words, and
where the two disagree on what is valid this tells miniwdl's view.
"""

from __future__ import annotations

from typing import Any

import WDL

from dropwell_local.cromwell.submission import loads
from dropwell_local.engine.inputs import unexpected

Json = dict[str, Any]


def describe(source: str, inputs: str = "") -> Json:
    r"""Describe a WDL that imports nothing from beside it.

    Parameters
    ----------
    source : str
        The WDL.
    inputs : str
        JSON; if given, inputs that are missing or unknown are errors too.

    Examples
    --------
    >>> told = describe("version 1.0\nworkflow w { input { Int n } output { Int m = n } }")
    >>> told["valid"], told["name"], [one["name"] for one in told["inputs"]]
    (True, 'w', ['n'])
    """
    try:
        document = WDL.parse_document(source)
        if document.imports:
            names = ", ".join(f"'{one.uri}'" for one in document.imports)
            return _told(errors=[f"Failed to import {names}: no imports can be given here"])
        document.typecheck()
    except WDL.Error.SyntaxError as error:
        return _told(errors=[f"{error} (line {error.pos.line}, column {error.pos.column})"])
    except WDL.Error.MultipleValidationErrors as error:
        return _told(errors=[_worded(one) for one in error.exceptions])
    except WDL.Error.ValidationError as error:
        return _told(errors=[_worded(error)])
    except RecursionError:
        return _told(errors=["The WDL is nested too deeply to be read"])
    return _described(document, inputs)


def _worded(error: Any) -> str:
    return f"{error} (line {error.pos.line}, column {error.pos.column})"


def _described(document: Any, inputs: str) -> Json:
    version = {
        "descriptorType": "WDL",
        "descriptorTypeVersion": document.effective_wdl_version,
    }
    target = document.workflow or (document.tasks[0] if len(document.tasks) == 1 else None)
    if target is None:
        return _told(submittedDescriptorType=version, validWorkflow=True, valid=True)
    errors = _input_errors(target, inputs) if inputs else []
    return _told(
        valid=not errors,
        errors=errors,
        validWorkflow=True,
        name=target.name,
        inputs=[_input(one) for one in sorted(target.available_inputs, key=_name)],
        outputs=[_output(one) for one in sorted(target.effective_outputs, key=_name)],
        images=sorted({image for task in document.tasks if (image := _image(task))}),
        submittedDescriptorType=version,
        meta={key: _plain(value) for key, value in target.meta.items()},
        parameterMeta={key: _plain(value) for key, value in target.parameter_meta.items()},
        isRunnableWorkflow=document.workflow is not None,
    )


def _told(**known: Any) -> Json:
    return {
        "valid": False,
        "errors": [],
        "validWorkflow": False,
        "name": "",
        "inputs": [],
        "outputs": [],
        "images": [],
        "submittedDescriptorType": {},
        "importedDescriptorTypes": [],
        "meta": {},
        "parameterMeta": {},
        "isRunnableWorkflow": False,
        **known,
    }


def _name(binding: Any) -> str:
    return str(binding.name)


def _input(binding: Any) -> Json:
    declared = binding.value
    told = _value(binding.name, declared.type)
    told["optional"] = bool(declared.type.optional or declared.expr is not None)
    told["default"] = None if declared.expr is None else str(declared.expr)
    return told


def _output(binding: Any) -> Json:
    return _value(binding.name, binding.value)


def _value(name: str, wdl_type: Any) -> Json:
    return {"name": name, "valueType": _type(wdl_type), "typeDisplayName": str(wdl_type)}


def _type(wdl_type: Any) -> Json:
    """Return a type as WomTypeJsonSupport.scala writes it."""
    if wdl_type.optional:
        return {"typeName": "Optional", "optionalType": _type(wdl_type.copy(optional=False))}
    parts = [_type(one) for one in wdl_type.parameters]
    match wdl_type:
        case WDL.Type.Array():
            return {"typeName": "Array", "arrayType": parts[0]}
        case WDL.Type.Map():
            return {"typeName": "Map", "mapType": {"keyType": parts[0], "valueType": parts[1]}}
        case WDL.Type.Pair():
            return {"typeName": "Pair", "pairType": {"leftType": parts[0], "rightType": parts[1]}}
        case WDL.Type.StructInstance():
            fields = [
                {"fieldName": name, "fieldType": _type(member)}
                for name, member in (wdl_type.members or {}).items()
            ]
            return {"typeName": "Object", "objectFieldTypes": fields}
    return {"typeName": str(wdl_type)}


def _image(task: Any) -> str:
    said = task.runtime.get("docker") or task.runtime.get("container")
    literal = getattr(said, "literal", None)
    return str(literal.value) if literal is not None else ""


def _plain(value: Any) -> Any:
    """Return a meta value as JSON has it."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    literal = getattr(value, "literal", None)
    return literal.json if literal is not None else value


def _input_errors(target: Any, inputs: str) -> list[str]:
    try:
        given = loads(inputs)
    except ValueError as error:
        return [f"The inputs are no JSON: {error}"]
    if not isinstance(given, dict):
        return ["The inputs are no JSON object"]
    prefix = f"{target.name}."
    wanted = {f"{prefix}{one.name}" for one in target.available_inputs}
    needed = {f"{prefix}{one.name}" for one in target.required_inputs}
    lenient = target.effective_wdl_version == "draft-2"
    unknown = [] if lenient else sorted(set(given) - wanted)
    return [
        *(
            f"Required workflow input '{name}' not specified"
            for name in sorted(needed - set(given))
        ),
        *(unexpected(name, target) for name in unknown),
    ]
