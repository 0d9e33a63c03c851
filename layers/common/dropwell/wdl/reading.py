"""Reading a bundle's WDL: the main file and all it imports, each parsed and type-checked once."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dropwell.errors import BadBundle
from dropwell.preflight import (
    Checked,
    Finding,
    Import,
    QueueAsked,
    Severity,
    did_you_mean,
    errors_of,
)
from dropwell.wdl.words import (
    LINE_END,
    declared_version,
    engine_fault,
    syntax_finding,
    type_findings,
)

if TYPE_CHECKING:
    from dropwell.bundles import Bundle
    from dropwell.wdl.inputs import Inputs

MAX_IMPORT_DEPTH = 50

_ALSO_CALLED = {"draft-3": "1.0", "development-1.1": "1.1"}
"""Version names that Cromwell reads and the engine knows by another."""

_IMPORT = re.compile(
    r"""import (?:\s|\#[^\n]*\n)* (?P<quote>["']) (?P<uri>(?:\\.|(?!(?P=quote)).)*) (?P=quote)""",
    re.VERBOSE,
)
_QUEUE = re.compile(r"\bqueueArn\s*:")
_VERSION_LINE = re.compile(
    r"(?m)^[ \t]*version[ \t]+\S+[ \t]*(?:#.*)?$"
)  # the engine minds comments
_IMPORT_LINE = re.compile(rf"(?m)^[ \t]*(?P<statement>{_IMPORT.pattern})", re.VERBOSE)


@dataclass(slots=True, kw_only=True)
class File:
    """A WDL file that was read: parsed, perhaps, and perhaps type-checked."""

    path: str
    version: str
    document: Any = None
    checked: bool = False


class Reading:
    """Reads the main WDL and everything it imports, each file once.

    miniwdl's own loader parses a file anew at each place it is imported. Linking
    the documents here takes a half to a fifth of the time on large pipelines.
    """

    def __init__(self, bundle: Bundle, import_hosts: Collection[str]) -> None:
        self._bundle = bundle
        self._entries = frozenset(bundle.entries)
        self._hosts = frozenset(import_hosts)
        self._files: dict[str, File | None] = {}
        self._findings: list[Finding] = []
        self._imports: list[Import] = []

    def checked(self, *, version: str, inputs: Inputs | None = None) -> Checked:
        findings, queues = tuple(self._findings), tuple(self._queues())
        if inputs is None:
            return Checked(
                version=version, findings=findings, imports=tuple(self._imports), queues=queues
            )
        return Checked(
            workflow=inputs.name,
            version=version,
            findings=(*findings, *inputs.findings),
            imports=tuple(self._imports),
            inputs=tuple(inputs.slots),
            files=tuple(inputs.files),
            queues=queues,
        )

    def _queues(self) -> Iterator[QueueAsked]:
        """Yield the tasks that name a queue; of a file that is no more than text, what looks so."""
        for file in filter(None, self._files.values()):
            if file.document is None:
                text = self._bundle.source(file.path)
                for found in _QUEUE.finditer(text):
                    yield QueueAsked(file.path, text.count("\n", 0, found.end()) + 1)
                continue
            for task in file.document.tasks:
                if asked := task.runtime.get("queueArn"):
                    literal = asked.literal
                    value = literal.value if literal else None
                    yield QueueAsked(file.path, asked.pos.line, value)

    def own_up_to_gaps(self, main: File) -> None:
        """Add that inputs were checked only in part, where nothing worse is said already."""
        if not main.checked and not errors_of(self._findings):
            message = "its inputs were checked only in part, as not all of its WDL could be"
            self._say(main.path, None, "inputs-unchecked", message, Severity.WARNING)

    def read(self, path: str, importers: tuple[str, ...]) -> File | None:
        """Return a file with all it imports, `None` if it cannot be read at all."""
        if path not in self._files:
            self._files[path] = self._read(path, importers)
        return self._files[path]

    def _read(self, path: str, importers: tuple[str, ...]) -> File | None:
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

    def _parsed(self, path: str, text: str) -> File:
        import WDL

        declared = declared_version(text)
        file = File(path=path, version=declared or "draft-2")
        name = _ALSO_CALLED.get(declared, declared)
        plain = LINE_END.sub("\n", text)  # the engine counts lines by \n alone
        plain = _VERSION_LINE.sub(f"version {name}", plain, count=1) if declared else plain
        try:
            file.document = WDL.parse_document(plain, uri=path)
        except WDL.Error.SyntaxError as error:
            self._findings.append(syntax_finding(path, text, error))
        except (WDL.Error.ValidationError, WDL.Error.MultipleValidationErrors) as error:
            self._findings += type_findings(path, error)
        except Exception as error:  # noqa: BLE001 - a fault of the engine must not refuse a drop
            self._findings.append(engine_fault(path, error))
        return file

    def _typechecked(self, file: File) -> bool:
        import WDL

        try:
            file.document.typecheck(check_quant=False)
        except (WDL.Error.ValidationError, WDL.Error.MultipleValidationErrors) as error:
            self._findings += type_findings(file.path, error)
            return False
        except Exception as error:  # noqa: BLE001 - a fault of the engine must not refuse a drop
            self._findings.append(engine_fault(file.path, error))
            return False
        return True

    def _follow_imports(self, file: File, text: str, chain: tuple[str, ...]) -> bool:
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
        self, file: File, statement: re.Match[str], line: int, chain: tuple[str, ...]
    ) -> File | None:
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

    def _target(self, file: File, uri: str, line: int) -> str | None:
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

    def _remote_target(self, file: File, uri: str, line: int) -> str | None:
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


def _import_statements(file: File, text: str) -> Iterator[tuple[int, re.Match[str], int]]:
    """Yield a file's import statements: index, match and line.

    Of a file that the engine could not parse, only what looks like one is known.
    """
    if file.document is None:
        for index, found in enumerate(_IMPORT_LINE.finditer(text)):
            yield index, found, text.count("\n", 0, found.start("uri")) + 1
        return
    starts = [0, *(found.end() for found in LINE_END.finditer(text))]
    for index, imported in enumerate(file.document.imports):
        start = starts[imported.pos.line - 1] + imported.pos.column - 1
        if statement := _IMPORT.search(text, start):
            yield index, statement, imported.pos.line
