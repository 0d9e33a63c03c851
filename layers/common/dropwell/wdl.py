"""What a WDL engine says of a bundle: its syntax, its types, its imports and its inputs.

An adapter over miniwdl's parser and type checker. The engine is stricter than
Cromwell in places, and a drop that Cromwell would run is never refused: what
the grammar rejects, an import that is not there and a name that means nothing
are errors, everything else the engine holds against a WDL is a warning.
Importing this module does not load the engine.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Container, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dropwell.errors import BadBundle
from dropwell.preflight import (
    Checked,
    FileValue,
    Finding,
    Import,
    InputSlot,
    Severity,
    did_you_mean,
    errors_of,
    nearest,
    shown_path,
)
from dropwell.strict_json import kind_of

if TYPE_CHECKING:
    from dropwell.bundles import Bundle

MAX_IMPORT_DEPTH = 50

_BLOCKING = (
    "UnknownIdentifier",
    "NoSuchTask",
    "NoSuchCall",
    "NoSuchInput",
    "NoSuchFunction",
    "StaticTypeMismatch",
)
"""What the type checker finds that Cromwell would find too."""

_ALSO_CALLED = {"draft-3": "1.0", "development-1.1": "1.1"}
"""Version names that Cromwell reads and the engine knows by another."""

_IMPORT = re.compile(
    r"""import (?:\s|\#[^\n]*\n)* (?P<quote>["']) (?P<uri>(?:\\.|(?!(?P=quote)).)*) (?P=quote)""",
    re.VERBOSE,
)
_VERSION_LINE = re.compile(
    r"(?m)^[ \t]*version[ \t]+\S+[ \t]*(?:#.*)?$"
)  # the engine minds comments
_LINE_END = re.compile(r"\r\n?|\n")
_IMPORT_LINE = re.compile(rf"(?m)^[ \t]*(?P<statement>{_IMPORT.pattern})", re.VERBOSE)


def check(bundle: Bundle, *, import_hosts: Collection[str] = ()) -> Checked:
    """Parse and type-check a bundle's WDL, and hold its inputs against it.

    Parameters
    ----------
    bundle : Bundle
        As `bundles.open_bundle` returns it.
    import_hosts : collection of str
        Hosts that imports may come from over https. They are not fetched here,
        so what imports from them is not type-checked.

    Raises
    ------
    BadBundle
        Reading the bundle's files exceeded a limit.
    """
    reading = _Reading(bundle, import_hosts)
    main = reading.read(bundle.main, ())
    if main is None or main.document is None:
        if main is not None:
            reading.own_up_to_gaps(main)
        return reading.checked(version=main.version if main else "")
    inputs = _Inputs(bundle, main)
    inputs.check()
    reading.own_up_to_gaps(main)
    return reading.checked(version=main.version, inputs=inputs)


@dataclass(slots=True, kw_only=True)
class _File:
    """A WDL file that was read: parsed, perhaps, and perhaps type-checked."""

    path: str
    version: str
    document: Any = None
    checked: bool = False


class _Reading:
    """Reads the main WDL and everything it imports, each file once.

    miniwdl's own loader parses a file anew at each place it is imported. Linking
    the documents here takes a half to a fifth of the time on large pipelines.
    """

    def __init__(self, bundle: Bundle, import_hosts: Collection[str]) -> None:
        self._bundle = bundle
        self._entries = frozenset(bundle.entries)
        self._hosts = frozenset(import_hosts)
        self._files: dict[str, _File | None] = {}
        self._findings: list[Finding] = []
        self._imports: list[Import] = []

    def checked(self, *, version: str, inputs: _Inputs | None = None) -> Checked:
        findings = tuple(self._findings)
        if inputs is None:
            return Checked(version=version, findings=findings, imports=tuple(self._imports))
        return Checked(
            workflow=inputs.name,
            version=version,
            findings=(*findings, *inputs.findings),
            imports=tuple(self._imports),
            inputs=tuple(inputs.slots),
            files=tuple(inputs.files),
        )

    def own_up_to_gaps(self, main: _File) -> None:
        """Add that inputs were checked only in part, where nothing worse is said already."""
        if not main.checked and not errors_of(self._findings):
            message = "its inputs were checked only in part, as not all of its WDL could be"
            self._say(main.path, None, "inputs-unchecked", message, Severity.WARNING)

    def read(self, path: str, importers: tuple[str, ...]) -> _File | None:
        """Return a file with all it imports, `None` if it cannot be read at all."""
        if path not in self._files:
            self._files[path] = self._read(path, importers)
        return self._files[path]

    def _read(self, path: str, importers: tuple[str, ...]) -> _File | None:
        try:
            text = self._bundle.source(path)
        except BadBundle as bad:
            self._findings += bad.findings
            return None
        if "\r" in text:
            message = "the file has Windows line ends; bash may stumble over them in its commands"
            self._say(path, None, "windows-line-ends", message, Severity.WARNING)
        file = self._parsed(path, text)
        complete = self._follow_imports(file, text, (*importers, path))
        if file.document is not None and complete:
            file.checked = self._typechecked(file)
        return file

    def _parsed(self, path: str, text: str) -> _File:
        import WDL

        declared = _declared_version(text)
        file = _File(path=path, version=declared or "draft-2")
        name = _ALSO_CALLED.get(declared, declared)
        plain = _LINE_END.sub("\n", text)  # the engine counts lines by \n alone
        plain = _VERSION_LINE.sub(f"version {name}", plain, count=1) if declared else plain
        try:
            file.document = WDL.parse_document(plain, uri=path)
        except WDL.Error.SyntaxError as error:
            self._findings.append(_syntax_finding(path, text, error))
        except (WDL.Error.ValidationError, WDL.Error.MultipleValidationErrors) as error:
            self._findings += _type_findings(path, error)
        except Exception as error:  # noqa: BLE001 - a fault of the engine must not refuse a drop
            self._findings.append(_engine_fault(path, error))
        return file

    def _typechecked(self, file: _File) -> bool:
        import WDL

        try:
            file.document.typecheck(check_quant=False)
        except (WDL.Error.ValidationError, WDL.Error.MultipleValidationErrors) as error:
            self._findings += _type_findings(file.path, error)
            return False
        except Exception as error:  # noqa: BLE001 - a fault of the engine must not refuse a drop
            self._findings.append(_engine_fault(file.path, error))
            return False
        return True

    def _follow_imports(self, file: _File, text: str, chain: tuple[str, ...]) -> bool:
        """Read what a file imports and link it; return whether all of it was type-checked."""
        complete = True
        for index, statement, line in _import_statements(file, text):
            imported = self._follow(file, statement, line, chain)
            complete = complete and imported is not None and imported.checked
            if file.document is not None and imported is not None:
                linked = file.document.imports[index]._replace(doc=imported.document)
                file.document.imports[index] = linked
        return complete

    def _follow(
        self, file: _File, statement: re.Match[str], line: int, chain: tuple[str, ...]
    ) -> _File | None:
        uri = statement["uri"]
        from_root = file.path == self._bundle.main or file.version == "draft-2"
        target = self._target(file, uri, line)
        if target is None:
            return None
        if target in chain:
            circle = " → ".join([*chain[chain.index(target) :], target])
            self._say(file.path, line, "import-circle", f"imports go round in a circle: {circle}")
            return None
        if len(chain) > MAX_IMPORT_DEPTH:
            message = f"imports are nested more than {MAX_IMPORT_DEPTH} deep"
            self._say(file.path, line, "import-depth", message)
            return None
        self._imports.append(
            Import(
                importer=file.path,
                uri=uri,
                target=target,
                start=statement.start("uri"),
                end=statement.end("uri"),
                from_root=from_root,
            )
        )
        return self.read(target, chain) if target else None

    def _target(self, file: _File, uri: str, line: int) -> str | None:
        """Return the file an import means, empty for one on an allowed host, `None` if none."""
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", uri):
            return self._remote_target(file, uri, line)
        beside = posixpath.normpath(posixpath.join(posixpath.dirname(file.path), uri))
        from_root = posixpath.normpath(uri)
        # Both are tried, which is more than Cromwell does: what is posted names the file found.
        for candidate in (from_root, beside) if file.version == "draft-2" else (beside, from_root):
            if candidate in self._entries and not uri.startswith("/"):
                return candidate
        if file.document is None:
            return None  # it only looked like an import
        if uri.startswith("/") or beside.startswith("../"):
            message = f'the import "{uri}" leads out of the bundle'
            self._say(file.path, line, "import-outside", message, advice="Pack the file too.")
        else:
            others = self._entries - {file.path}
            guess = did_you_mean(beside, others, parts="/")
            message = f'the import "{uri}" is not in the bundle{guess}'
            self._say(file.path, line, "import-missing", message)
        return None

    def _remote_target(self, file: _File, uri: str, line: int) -> str | None:
        parts = urlsplit(uri)
        if parts.scheme == "https" and (parts.hostname or "") in self._hosts:
            message = f'the import "{uri}" comes from elsewhere, so this file is not type-checked'
            self._say(file.path, line, "import-remote", message, Severity.WARNING)
            return ""
        message = f'the import "{uri}" comes from elsewhere, which is not allowed here'
        advice = "Pack the file into the bundle, or ask who runs this service to allow its host."
        self._say(file.path, line, "import-remote", message, advice=advice)
        return None

    def _say(
        self,
        file: str,
        line: int | None,
        rule: str,
        message: str,
        severity: Severity = Severity.ERROR,
        advice: str = "",
    ) -> None:
        self._findings.append(
            Finding(
                rule=rule, message=message, file=file, line=line, severity=severity, advice=advice
            )
        )


def _declared_version(text: str) -> str:
    """Return the version a WDL declares in its first line of code, empty for draft-2."""
    code = (line.strip() for line in text.splitlines())
    first = next((line for line in code if line and not line.startswith("#")), "")
    found = re.match(r"version\s+(\S+)", first)
    return found[1] if found else ""


def _import_statements(file: _File, text: str) -> Iterator[tuple[int, re.Match[str], int]]:
    """Yield a file's import statements: index, match and line.

    Of a file that the engine could not parse, only what looks like one is known.
    """
    if file.document is None:
        for index, found in enumerate(_IMPORT_LINE.finditer(text)):
            yield index, found, text.count("\n", 0, found.start("uri")) + 1
        return
    starts = [0, *(found.end() for found in _LINE_END.finditer(text))]
    for index, imported in enumerate(file.document.imports):
        start = starts[imported.pos.line - 1] + imported.pos.column - 1
        if statement := _IMPORT.search(text, start):
            yield index, statement, imported.pos.line


# --- what the engine says, in plain words ------------------------------------------------------

_SYMBOLS = {
    "RBRACE": "}",
    "LBRACE": "{",
    "RPAR": ")",
    "LPAR": "(",
    "RSQB": "]",
    "LSQB": "[",
    "COMMA": ",",
    "COLON": ":",
    "EQUAL": "=",
    "DOT": ".",
}
# fmt: off
_KEYWORDS = frozenset({
    "alias", "as", "call", "command", "else", "hints", "if", "import", "in", "input", "meta",
    "object", "output", "parameter_meta", "requirements", "runtime", "scatter", "struct",
    "task", "then", "version", "workflow",
})
# fmt: on
_MOST_SHOWN = 6


def _syntax_finding(path: str, text: str, error: Any) -> Finding:
    """Return what a syntax error means.

    What the engine's grammar cannot read, Cromwell's cannot either. What the
    engine refuses although it could read it (a keyword for a name, an import
    whose file name is no namespace) is left to Cromwell.
    """
    from lark.exceptions import UnexpectedInput

    cause = error.__context__
    if isinstance(cause, UnexpectedInput):
        return _grammar_finding(path, text, error.pos, cause)
    if isinstance(cause, KeyError):  # the version has no grammar
        version = _declared_version(text)
        newer = re.fullmatch(r"\d+\.\d+", version)
        return Finding(
            rule="wdl-version",
            message=f'WDL version "{version}" is not known here, so the file is not checked'
            if newer
            else f'there is no WDL version "{version}"',
            file=path,
            line=text[: text.find("version")].count("\n") + 1,
            severity=Severity.WARNING if newer else Severity.ERROR,
            advice="Use 1.0, 1.1 or development." if not newer else "",
        )
    return _finding_at(path, error, "wdl-doubt", Severity.WARNING)


def _grammar_finding(path: str, text: str, pos: Any, cause: Any) -> Finding:
    names = getattr(cause, "accepts", None) or getattr(cause, "expected", None) or ()
    expected = _expected(names)
    lines = _LINE_END.split(text)
    line = lines[pos.line - 1] if 0 < pos.line <= len(lines) else ""
    if getattr(getattr(cause, "token", None), "type", "") == "$END":
        found = "the file ends"
    else:
        found = f"found {_word_at(line, pos.column)}"
    if "_EITHER_DELIM" in names:
        message = f"{found}, but a string or command is not closed"
    else:
        message = f"{found} where {f'{expected} was expected' if expected else 'it makes no sense'}"
    top_level = re.match(r"\s*(?:task|workflow|struct|import)\b", line)
    unclosed = "RBRACE" in names and (top_level or found == "the file ends")
    return Finding(
        rule="wdl-syntax",
        message=f"WDL syntax: {message}",
        file=path,
        line=pos.line,
        column=pos.column,
        advice='A closing "}" may be missing above.' if unclosed else "",
    )


def _word_at(line: str, column: int) -> str:
    found = re.match(r"\w+|\S", line[column - 1 :].lstrip())
    if found is None or not found[0].isprintable():
        return "an unreadable character"
    return f'"{found[0]}"'


def _expected(names: Collection[str]) -> str:
    """Return grammar terminals as people write them; empty if they are too many to help."""
    words = {f'"{_SYMBOLS[name]}"' for name in names if name in _SYMBOLS}
    words |= {name.lower() for name in names if name.lower() in _KEYWORDS}
    words |= {"a name"} if "CNAME" in names else set()
    if not 0 < len(words) <= _MOST_SHOWN or len(words) < len([n for n in names if n != "$END"]):
        return ""
    *first, last = sorted(words)
    return f"{', '.join(first)} or {last}" if first else last


def _type_findings(path: str, error: Any) -> Iterator[Finding]:
    for one in getattr(error, "exceptions", (error,)):
        severity = Severity.ERROR if _would_stop_cromwell(one) else Severity.WARNING
        rule = "wdl-type" if severity is Severity.ERROR else "wdl-doubt"
        yield _finding_at(path, one, rule, severity)


def _would_stop_cromwell(error: Any) -> bool:
    import WDL

    if isinstance(error, WDL.Error.InvalidType):
        unknown = re.match(r"Unknown type (\w+)", str(error))
        return unknown is not None and unknown[1] not in ("Object", "Directory")
    separated = isinstance(error.node, WDL.Expr.Placeholder) and "sep" in error.node.options
    return type(error).__name__ in _BLOCKING and not separated


def _finding_at(path: str, error: Any, rule: str, severity: Severity) -> Finding:
    text = str(error).partition("\n")[0]
    return Finding(
        rule=rule,
        message=f"WDL: {text[:1].lower()}{text[1:]}",
        file=path,
        line=error.pos.line,
        column=error.pos.column,
        severity=severity,
        advice="" if severity is Severity.ERROR else "Cromwell may take it; it will say if not.",
    )


def _engine_fault(path: str, error: Exception) -> Finding:
    return Finding(
        rule="wdl-unchecked",
        message=f"the WDL checker gave up on this file ({type(error).__name__})",
        file=path,
        severity=Severity.WARNING,
        advice="Cromwell will judge it.",
    )


# --- inputs ------------------------------------------------------------------------------------

MAX_FINDINGS = 100
"""Findings about inputs that are told one by one."""

_INT32 = 2**31
_WHOLE = re.compile(r"[+-]?\d+")
_DECIMAL = re.compile(r"\s*[+-]?(?:NaN|Infinity|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[dDfF]?)\s*")


class _Inputs:
    """Holds a bundle's inputs against what its workflow takes, as Cromwell would.

    Cromwell coerces JSON by wom/types/*.scala: strings that spell a number or
    a truth value are taken for one, numbers are not taken for strings.
    """

    def __init__(self, bundle: Bundle, main: _File) -> None:
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
            message = f"the file has no workflow to run, and {tasks or 'no'} tasks"
            self.findings.append(Finding(rule="no-workflow", message=message, file=self._main.path))
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
