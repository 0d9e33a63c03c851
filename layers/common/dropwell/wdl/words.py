"""What the WDL engine says, in words for the author of the WDL."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from dropwell.preflight import (
    Finding,
    Severity,
)

LINE_END = re.compile(r"\r\n?|\n")

_BLOCKING = (
    "UnknownIdentifier",
    "NoSuchTask",
    "NoSuchCall",
    "NoSuchInput",
    "NoSuchFunction",
    "StaticTypeMismatch",
)
"""What the type checker finds that Cromwell would find too."""


_WORDS = tuple(
    (re.compile(told), words)
    for told, words in (
        (r"Unknown identifier (.+)", 'nothing here is named "{}"'),
        (r"No (\S+) in namespace (\S+)", '"{1}" has nothing named "{0}"'),
        (r"No such member '(.+)'", 'it has no member "{}"'),
        (r"No such task/workflow: (.+)", 'there is no task or workflow "{}"'),
        (r"No such call in this workflow: (.+)", 'there is no call "{}"'),
        (r"No such function: (.+)", 'there is no function "{}"'),
        (r"No such input (.+)", 'what is called has no input "{}"'),
        (r"Unknown type (.+)", 'there is no type "{}"'),
        (r"Expected (.+?) instead of (.+?)(; .+)?", "{} is wanted here, and this is {}{}"),
        (r"Not an array", "an array is wanted here"),
        (r"Non-numeric operand to (\S+) operator", "{} is for numbers, and this is none"),
        (r"(\S+) expects 1 argument\(s\)", "{}() takes one value"),
        (r"(\S+) expects (\d+) argument\(s\)", "{}() takes {} values"),
        (r"Multiple declarations of (.+)", '"{}" is declared twice'),
        (r"circular dependencies.*", "values depend on each other in a circle"),
    )
)
"""What the type checker says, and the same in words for people; what is not here stays."""

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


def syntax_finding(path: str, text: str, error: Any) -> Finding:
    """Return what a syntax error means.

    What the engine's grammar cannot read, Cromwell's cannot either. What the
    engine refuses although it could read it (a keyword for a name, an import
    whose file name is no namespace) is left to Cromwell.
    """
    from lark.exceptions import UnexpectedInput

    cause = error.__context__
    if isinstance(cause, UnexpectedInput):
        return grammar_finding(path, text, error.pos, cause)
    if isinstance(cause, KeyError):  # the version has no grammar
        version = declared_version(text)
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
    return finding_at(path, error, "wdl-doubt", Severity.WARNING)


def grammar_finding(path: str, text: str, pos: Any, cause: Any) -> Finding:
    names = getattr(cause, "accepts", None) or getattr(cause, "expected", None) or ()
    expected = _expected(names)
    lines = LINE_END.split(text)
    line = lines[pos.line - 1] if 0 < pos.line <= len(lines) else ""
    if getattr(getattr(cause, "token", None), "type", "") == "$END":
        found = "the file ends"
    else:
        found = f"found {_word_at(line, pos.column)}"
    if "_EITHER_DELIM" in names:
        message = f"{found}, but a string or command is not closed"
    elif found == "the file ends" and "RBRACE" in names:
        message = "the file ends before all that it opens is closed"
    elif found == "the file ends" and not expected:
        message = "the file ends too early; something in it is not closed"
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


def type_findings(path: str, error: Any) -> Iterator[Finding]:
    for one in getattr(error, "exceptions", (error,)):
        severity = Severity.ERROR if _would_stop_cromwell(one) else Severity.WARNING
        rule = "wdl-type" if severity is Severity.ERROR else "wdl-doubt"
        yield finding_at(path, one, rule, severity)


def _would_stop_cromwell(error: Any) -> bool:
    import WDL

    if isinstance(error, WDL.Error.InvalidType):
        unknown = re.match(r"Unknown type (\w+)", str(error))
        return unknown is not None and unknown[1] not in ("Object", "Directory")
    separated = isinstance(error.node, WDL.Expr.Placeholder) and "sep" in error.node.options
    return type(error).__name__ in _BLOCKING and not separated


def finding_at(path: str, error: Any, rule: str, severity: Severity) -> Finding:
    text = str(error).partition("\n")[0]
    return Finding(
        rule=rule,
        message=f"WDL: {_said(text)}",
        file=path,
        line=error.pos.line,
        column=error.pos.column,
        severity=severity,
        advice="" if severity is Severity.ERROR else "Cromwell may take it; it will say if not.",
    )


def _said(text: str) -> str:
    """Return what the type checker says in words for people.

    >>> _said("No such task/workflow: algin")
    'there is no task or workflow "algin"'
    """
    for told, words in _WORDS:
        if found := told.fullmatch(text):
            return words.format(*(part or "" for part in found.groups()))
    return f"{text[:1].lower()}{text[1:]}"


def engine_fault(path: str, error: Exception) -> Finding:
    return Finding(
        rule="wdl-unchecked",
        message=f"the WDL checker gave up on this file ({type(error).__name__})",
        file=path,
        severity=Severity.WARNING,
        advice="Cromwell will judge it.",
    )


def declared_version(text: str) -> str:
    """Return the version a WDL declares in its first line of code, empty for draft-2."""
    code = (line.strip() for line in text.splitlines())
    first = next((line for line in code if line and not line.startswith("#")), "")
    found = re.match(r"version\s+(\S+)", first)
    return found[1] if found else ""
