"""A bundle's inputs, held against what its workflow takes as Cromwell would hold them."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from typing import TYPE_CHECKING, Any

from dropwell.preflight import (
    FileValue,
    Finding,
    InputSlot,
    Severity,
    nearest,
    shown_path,
)
from dropwell.strict_json import kind_of

if TYPE_CHECKING:
    from dropwell.bundles import Bundle
    from dropwell.wdl.reading import File

MAX_FINDINGS = 100
"""Findings about inputs that are told one by one."""

_INT32 = 2**31
_WHOLE = re.compile(r"[+-]?\d+")
_DECIMAL = re.compile(r"\s*[+-]?(?:NaN|Infinity|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[dDfF]?)\s*")


class Inputs:
    """Holds a bundle's inputs against what its workflow takes, as Cromwell would.

    Cromwell coerces JSON by wom/types/*.scala: strings that spell a number or
    a truth value are taken for one, numbers are not taken for strings.
    """

    def __init__(self, bundle: Bundle, main: File) -> None:
        import WDL

        self._types = WDL.Type
        self._bundle = bundle
        self._main = main
        document = main.document
        single_task = document.tasks[0] if len(document.tasks) == 1 else None
        self._runs: Any = document.workflow or single_task
        self.name: str = self._runs.name if self._runs else ""
        self.findings: list[Finding] = []
        self.files: list[FileValue] = []
        self.slots: list[InputSlot] = []
        self._unsaid: list[Severity] = []

    def check(self) -> None:
        if self._runs is None:
            tasks = len(self._main.document.tasks)
            also = f", only {tasks} tasks" if tasks else ""
            self.findings.append(
                Finding(
                    rule="no-workflow",
                    message=f"the file has no workflow to run{also}",
                    file=self._main.path,
                    advice="Add a workflow that calls them." if tasks else "",
                )
            )
            return
        available, required = self._taken()
        known = {f"{self.name}.{name}": decl for name, decl in available.items()}
        self.slots = [
            InputSlot(
                name=name,
                type=str(decl.type),
                required=name.removeprefix(f"{self.name}.") in required,
                default=str(decl.expr) if decl.expr else None,
            )
            for name, decl in known.items()
            if "._" not in name
        ]
        meant = self._check_given(known)
        for name in required:
            full = f"{self.name}.{name}"
            if full not in meant:
                self._say(
                    "missing-input",
                    f'missing input "{full}" ({available[name].type})',
                    advice="" if self._bundle.inputs_files else "Give it in inputs.json.",
                )
        self._close()

    def _taken(self) -> tuple[dict[str, Any], list[str]]:
        """Return the declarations of all inputs by name, and the names of the required ones.

        Of a workflow that is not type-checked, only its own declarations are sure.
        """
        if self._main.checked:
            available = {found.name: found.value for found in self._runs.available_inputs}
            return available, [found.name for found in self._runs.required_inputs]
        own = self._runs.inputs or ()
        available = {decl.name: decl for decl in own}
        return available, [d.name for d in own if not d.type.optional and not d.expr]

    def _check_given(self, known: dict[str, Any]) -> set[str]:
        """Check every input given; return the names that were given or probably meant."""
        meant = set()
        for key, value in self._bundle.inputs.items():
            name = self._slot_of(key, known)
            if name in known:
                meant.add(name)
                decl = known[name]
                wanted = decl.type.copy(optional=True) if decl.expr else decl.type
                self._check(wanted, value, (key,))
            elif self._is_unknown(key, known):
                meant.add(self._tell_unknown(key, known))
        return meant

    def _slot_of(self, key: str, known: dict[str, Any]) -> str:
        """Return the name of the input that a key sets, also in the long form of old Cromwells."""
        parts = key.split(".")
        if key not in known and len(parts) == 4:
            return ".".join([*parts[:2], parts[3]])  # workflow.call.sub-workflow.input
        return key

    def _is_unknown(self, key: str, known: dict[str, Any]) -> bool:
        prefix, _, name = key.partition(".")
        if prefix != self.name or not name:
            return True
        if re.search(r"\.(?:runtime|requirements)\.[^.]+$", key):
            return False  # Cromwell reads these as overrides of a task's runtime
        if self._main.checked:
            return True
        return "." not in name and self._runs.inputs is not None

    def _tell_unknown(self, key: str, known: dict[str, Any]) -> str:
        guess = self._nearest(key, known, self._bundle.inputs)
        meant = f'. Did you mean "{guess}"?' if guess else ""
        if self._main.version == "draft-2":
            # "In draft-2 we allow extraneous inputs for legacy reasons" (Cromwell's own test)
            message = f'unknown input "{key}" is ignored{meant}'
            self._say("unknown-input", message, (key,), Severity.WARNING)
            return ""
        advice = "" if guess else f"The inputs of {self.name}: {self._listed(known)}"
        self._say(
            "unknown-input",
            f'unknown input "{key}"{meant}',
            (key,),
            advice=advice,
        )
        return guess

    def _listed(self, known: dict[str, Any], at_most: int = 8) -> str:
        own = [name for name in known if name.count(".") == 1 and "._" not in name]
        if not own:
            return "none."
        more = f" and {len(own) - at_most} more" if len(own) > at_most else ""
        return f"{', '.join(own[:at_most])}{more}."

    def _check(self, wanted: Any, value: object, path: tuple[str | int, ...]) -> None:
        """Check a value, and all it holds, against a WDL type."""
        types = self._types
        if value is None or isinstance(wanted, types.Any):
            if not wanted.optional and not isinstance(wanted, types.Any):
                self._mismatch(wanted, value, path)
        elif isinstance(wanted, types.Array) and isinstance(value, list):
            if wanted.nonempty and not value:
                self._mismatch(wanted, value, path, "an empty Array")
            for index, item in enumerate(value):
                self._check(wanted.item_type, item, (*path, index))
        elif isinstance(wanted, types.Map) and isinstance(value, dict):
            for key, item in value.items():
                self._check(wanted.item_type[1], item, (*path, key))
        elif isinstance(wanted, types.Pair) and isinstance(value, dict):
            self._check_pair(wanted, value, path)
        elif isinstance(wanted, types.StructInstance) and isinstance(value, dict):
            self._check_struct(wanted, value, path)
        elif isinstance(wanted, types.File | types.Directory) and isinstance(value, str):
            directory = isinstance(wanted, types.Directory)
            self.files.append(FileValue(path=path, value=value, directory=directory))
        elif not self._fits(wanted, value):
            self._mismatch(wanted, value, path)
        elif isinstance(wanted, types.Int) and not -_INT32 <= int(value) < _INT32:  # type: ignore[call-overload]
            message = f'"{shown_path(path)}" is too large for Cromwell, whose Int has 32 bits'
            self._say("int-range", message, path, Severity.WARNING)

    def _fits(self, wanted: Any, value: object) -> bool:
        types = self._types
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if isinstance(wanted, types.Int):
            spelled = isinstance(value, str) and _WHOLE.fullmatch(value) is not None
            return spelled or (number and value == int(value))  # type: ignore[call-overload]
        if isinstance(wanted, types.Float):
            return number or (isinstance(value, str) and _DECIMAL.fullmatch(value) is not None)
        if isinstance(wanted, types.Boolean):
            spelled = isinstance(value, str) and value.casefold() in ("true", "false")
            return spelled or isinstance(value, bool)
        if isinstance(wanted, types.String):
            return isinstance(value, str)
        compound = (types.Array, types.Map, types.Pair, types.StructInstance)
        return not isinstance(wanted, (*compound, types.File, types.Directory))

    def _check_pair(self, wanted: Any, value: dict[str, Any], path: tuple[str | int, ...]) -> None:
        sides = {key.casefold(): key for key in value}
        if len(value) != 2 or set(sides) != {"left", "right"}:
            self._mismatch(wanted, value, path, 'an Object without just "left" and "right"')
            return
        for side, inner in (("left", wanted.left_type), ("right", wanted.right_type)):
            self._check(inner, value[sides[side]], (*path, sides[side]))

    def _check_struct(
        self, wanted: Any, value: dict[str, Any], path: tuple[str | int, ...]
    ) -> None:
        if wanted.members is None:
            return  # not resolved, as the WDL was not type-checked
        missing = [
            n for n, inner in wanted.members.items() if n not in value and not inner.optional
        ]
        for name, item in value.items():
            if name in wanted.members:
                self._check(wanted.members[name], item, (*path, name))
                continue
            guess = self._nearest(name, wanted.members, value)
            meant = f'. Did you mean "{guess}"?' if guess else ""
            message = (
                f'"{shown_path((*path, name))}" is no member of struct {wanted.type_name}{meant}'
            )
            self._say("unknown-member", message, (*path, name), Severity.WARNING)
        for name in missing:
            message = f'"{shown_path(path)}" lacks "{name}" ({wanted.members[name]})'
            self._say("missing-member", f"{message} of struct {wanted.type_name}", path)

    def _mismatch(
        self, wanted: Any, value: object, path: tuple[str | int, ...], found: str = ""
    ) -> None:
        file_wanted = isinstance(wanted, self._types.File | self._types.Directory)
        is_there = f'"{shown_path(path)}" is {found or kind_of(value)}'
        self._say(
            "input-type",
            f"{is_there}; the workflow wants {str(wanted).removesuffix('?')}",
            path,
            advice="Give an s3:// URI or the path of a file in the bundle." if file_wanted else "",
        )

    def _say(
        self,
        rule: str,
        message: str,
        path: tuple[str | int, ...] = (),
        severity: Severity = Severity.ERROR,
        advice: str = "",
    ) -> None:
        """Note a finding; of very many only the first are kept, and the rest counted."""
        if len(self.findings) >= MAX_FINDINGS:
            self._unsaid.append(severity)
            return
        file, line = self._place(path)
        self.findings.append(
            Finding(
                rule=rule, message=message, file=file, line=line, severity=severity, advice=advice
            )
        )

    def _place(self, path: tuple[str | int, ...]) -> tuple[str, int | None]:
        if path:
            return self._bundle.place_of(str(path[0]), *path[1:])
        return (*self._bundle.inputs_files, "")[0], None

    def _nearest(self, name: str, known: Iterable[str], given: Container[str]) -> str:
        """Return the known name, not given yet, that was probably meant; none once it is unsaid."""
        if len(self.findings) >= MAX_FINDINGS:
            return ""
        return nearest(name, [other for other in known if other not in given])

    def _close(self) -> None:
        if self._unsaid:
            self.findings.append(
                Finding(
                    rule="more-inputs",
                    message=f"and {len(self._unsaid)} more like these in the inputs",
                    severity=max(self._unsaid, key=lambda s: s is Severity.ERROR),
                )
            )
