"""Which files a task is bound to leave, as far as can be known before it has run.

Cromwell asks each output expression for its files before it submits the job, and the job's
script stores these (AwsBatchAsyncBackendJobExecutionActor.scala, `generateAwsBatchOutputs`).
What an expression reads from other outputs nobody knows by then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import WDL

_NOT_BEFORE = ("read_", "write_", "glob", "stdout", "stderr", "size")


@dataclass(frozen=True)
class Leaving:
    """What a task leaves.

    Parameters
    ----------
    paths : tuple of str
        Where the files and directories are that its outputs must have, below the working
        directory.
    globs : tuple of str
        The patterns of its ``glob()`` calls.
    """

    paths: tuple[str, ...] = ()
    globs: tuple[str, ...] = ()

    def missing(self, work: Path) -> list[str]:
        """Return the paths of what is not there."""
        return [path for path in self.paths if not (work / path).exists()]


def expected(task: Any, inputs: Any) -> Leaving:
    """Return what a task will have left when it has run.

    Parameters
    ----------
    task : WDL.Tree.Task
        The task.
    inputs : WDL.Env.Bindings
        What it is called with.
    """
    stdlib = WDL.StdLib.Base(task.effective_wdl_version)
    known = inputs
    paths: list[str] = []
    for decl in [*(task.inputs or []), *task.postinputs]:
        if known.has_binding(decl.name):
            continue
        known = _with(known, decl, stdlib) if decl.expr else known.bind(decl.name, WDL.Value.Null())
    for decl in task.outputs:
        known = _with(known, decl, stdlib)
        if known.has_binding(decl.name) and _holds_files(decl.type):
            paths += _relative(known[decl.name])
    globs = [_text(pattern, known, stdlib) for pattern in _glob_patterns(task)]
    return Leaving(tuple(paths), tuple(one for one in globs if one))


def _with(known: Any, decl: Any, stdlib: Any) -> Any:
    """Bind a declaration, if its value can be known."""
    value = _evaluated(decl.expr, known, stdlib)
    return known if value is None else known.bind(decl.name, value)


def _evaluated(expr: Any, known: Any, stdlib: Any) -> Any:
    if any(one.startswith(_NOT_BEFORE) for one in _functions(expr)):
        return None
    try:
        return expr.eval(known, stdlib=stdlib)
    except (WDL.Error.RuntimeError, WDL.Error.EvalError, KeyError, NotImplementedError):
        return None


def _functions(expr: Any) -> Iterator[str]:
    for one in _all_within(expr):
        if isinstance(one, WDL.Expr.Apply):
            yield one.function_name


def _all_within(expr: Any) -> Iterator[Any]:
    yield expr
    for child in expr.children:
        if isinstance(child, WDL.Expr.Base):
            yield from _all_within(child)


def _holds_files(kind: Any) -> bool:
    """Whether a value of the type is a file, a directory or an array of them that must be there."""
    if isinstance(kind, WDL.Type.Array) and not kind.optional:
        kind = kind.item_type
    return isinstance(kind, (WDL.Type.File, WDL.Type.Directory)) and not kind.optional


def _relative(value: Any) -> list[str]:
    if isinstance(value, WDL.Value.Array):
        return [path for item in value.value for path in _relative(item)]
    path = value.value if isinstance(value, WDL.Value.String) else ""
    return [path] if path and not path.startswith("/") and "://" not in path else []


def _glob_patterns(task: Any) -> Iterator[Any]:
    for decl in task.outputs:
        for one in _all_within(decl.expr):
            if isinstance(one, WDL.Expr.Apply) and one.function_name == "glob":
                yield one.arguments[0]


def _text(expr: Any, known: Any, stdlib: Any) -> str:
    value = _evaluated(expr, known, stdlib)
    text = str(value.value).removeprefix("./") if isinstance(value, WDL.Value.String) else ""
    return "" if text.startswith(("/", "..")) else text
