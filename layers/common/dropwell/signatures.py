"""A fingerprint of a failure, the same for failures that differ only in names and numbers."""

from __future__ import annotations

import hashlib
import re

from dropwell.text import clean

_TELLING = re.compile(
    r"error|exception|fatal|fail|abort|cannot|can't|could not|unable|denied|invalid|missing"
    r"|no such|not found|killed|panic|assert|violation|traceback",
    re.IGNORECASE,
)
_LINES = 3
_READ = 1 << 14

# What two failures of one kind may differ in. A word with a digit in it is an
# id, a number, a time, a hash or a sample's name.
_VARYING: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"""(?<!\w)(?:"[^"\n]{0,300}"|'[^'\n]{0,300}'(?!\w)|`[^`'\n]{0,300}[`'])"""), '""'),
    (re.compile(r"[^\s\"'()\[\]{}<>,;=|]*/[^\s\"'()\[\]{}<>,;=|]*"), "/"),
    (re.compile(r"\b(?=[0-9a-fA-F]*[a-fA-F])[0-9a-fA-F]{8,}\b"), "#"),
    (re.compile(r"[^\W\d]*\d[\w.:,+-]*"), "#"),
    (re.compile(r"\s+"), " "),
)

_SAID_BY_THE_TASK = frozenset(
    {"TASK_ERROR", "MISSING_OUTPUT", "LOCALISATION", "DELOCALISATION", "NO_RETURN_CODE", "UNKNOWN"}
    | {"WORKFLOW_ERROR"}
)


def signature(verdict_cause: str, call: str, text: str) -> str:
    """Return the fingerprint that groups like failures of one call.

    A scatter of ten thousand shards fails in a few ways, and people want to
    hear of those. Paths, quoted names, ids, numbers, hashes and times are
    taken out of the lines that tell most; what is left, with the cause and the
    call, is hashed. Where the task had no say in its end (killed, timed out,
    host lost) its last words differ by chance, and do not count.

    Parameters
    ----------
    verdict_cause : str
        The cause.
    call : str
        The call's alias.
    text : str
        The end of its log.

    Returns
    -------
    str
        Twelve hexadecimal digits.

    Examples
    --------
    >>> one = signature("TASK_ERROR", "align", "[17:44] Error: NA12878.bam, line 7: bad cigar")
    >>> one == signature("TASK_ERROR", "align", "[09:02] Error: NA12891.bam, line 9041: bad cigar")
    True
    >>> one == signature("TASK_ERROR", "align", "[09:02] Error: reference not indexed")
    False
    """
    words = essence(text) if verdict_cause in _SAID_BY_THE_TASK else ""
    return hashlib.sha256(f"{verdict_cause}\n{call}\n{words}".encode()).hexdigest()[:12]


def essence(text: str) -> str:
    """Return what stays of a log's telling lines once all that varies is taken out.

    >>> essence("loading 3 files\\nError: cannot open '/data/s1/x.bam' (sample S_01)\\n")
    'error: cannot open "" (sample #)'
    """
    lines = [line.strip() for line in clean(text[-_READ:]).splitlines()]
    lines = [line[:400] for line in lines if line]
    telling = [line for line in lines if _TELLING.search(line)] or lines
    return "\n".join(dict.fromkeys(map(_without_names, telling[-_LINES:])))


def _without_names(line: str) -> str:
    for pattern, instead in _VARYING:
        line = pattern.sub(instead, line)
    return line.strip().casefold()
