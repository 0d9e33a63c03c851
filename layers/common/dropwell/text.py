"""Text that strangers wrote, made fit to be shown: cleaned, redacted, cut and counted.

Every pattern here is linear on hostile text: repeats are bounded, or stand
where nothing they leave over can be tried again.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime

_ESCAPES = re.compile(
    r"""
      \x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)?              # OSC: titles, links
    | \x1b[PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?          # DCS, SOS, PM, APC
    | (?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,8}[@-~]?        # CSI: colours, cursor
    | \x1b[ -/]{0,8}[0-~]?                              # the short ones
    """,
    re.VERBOSE,
)
_NEWLINES = re.compile("\r\n|[\v\f\x1c-\x1e\x85\u2028\u2029]")
_CONTROLS = re.compile(
    "["
    "\x00-\x08\x0e-\x1b\x1f\x7f-\x9f"  # C0 and C1, but for tab and newline
    "\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"  # unseen, or turning the line
    "\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f"
    "]"
)
_SURROGATES = re.compile("[\ud800-\udfff]")
_MENTION = re.compile(r"<(?=[!@#])|@(?=(?:channel|here|everyone)\b)", re.IGNORECASE)

REDACTED = "[redacted]"

_VALUE = r"""(?:"[^"\n]*"?|'[^'\n]*'?|[^\s,;&"'<>]+)"""
_NAMES = (
    r"(?=[pscari_])"  # not needed, but three times as fast
    r"(?:pass(?:word|wd|phrase)|_pwd|secret[_-]?(?:access[_-]?)?key|client[_-]?secret"
    r"|(?:session|security|access|auth|refresh|id)[_-]?token|api[_-]?key|account[_-]?key"
    r"|private[_-]?key)"
)
_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    # A PEM key, whole or cut at either end of a tail.
    (
        re.compile(
            r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?"
            r"(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)",
            re.DOTALL,
        ),
        f"-----BEGIN PRIVATE KEY----- {REDACTED}",
    ),
    (
        re.compile(r"\A[A-Za-z0-9+/=\s]*-----END [A-Z ]{0,40}PRIVATE KEY-----"),
        f"{REDACTED} -----END PRIVATE KEY-----",
    ),
    (
        re.compile(r"""(?i)(authorization["']?[ \t]{0,4}[:=][ \t]{0,4}["']?)[^\n"']+"""),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"(?i)\b(bearer[ \t]{1,4})[A-Za-z0-9._~+/=-]{8,}"), rf"\1{REDACTED}"),
    # What makes a presigned URL valid, at AWS, Google and Azure.
    (
        re.compile(
            r"(?i)((?:[?&;]|%26)(?:X-(?:Amz|Goog)-(?:Signature|Credential|Security-Token)"
            r"|AWSAccessKeyId|GoogleAccessId|Signature|sig|token|access_token)=)[^&\s\"'<>]+"
        ),
        rf"\1{REDACTED}",
    ),
    # user:password@host, and a long token alone in the user's place.
    (re.compile(r"(?<=://)(?:[^/\s:@]{0,128}:[^/\s]{1,256}|[^/\s:@]{20,256})@"), f"{REDACTED}@"),
    (
        re.compile(r"(hooks\.slack\.com/(?:services|workflows|triggers)/)[^\s\"'<>]+"),
        rf"\1{REDACTED}",
    ),
    # An access key id, and the secret where it directly follows.
    (
        re.compile(
            r"(?<![A-Za-z0-9])(AKIA|ASIA)[A-Z0-9]{12,128}"
            r"(?:[ \t:,;/]{1,4}[A-Za-z0-9+/]{40}(?![A-Za-z0-9+/]))?"
        ),
        rf"\1{REDACTED}",
    ),
    # How every AWS session token begins; JSON web tokens; vendors' own prefixes.
    (
        re.compile(r"(?<![A-Za-z0-9+/])(?:FwoGZXIvYXdz|IQoJb3JpZ2lu)[A-Za-z0-9+/=]{16,}"),
        REDACTED,
    ),
    (
        re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}[A-Za-z0-9_.-]*"),
        REDACTED,
    ),
    (re.compile(r"(?<![A-Za-z0-9])(xox[a-z]|xapp)-[A-Za-z0-9-]{8,}"), rf"\1-{REDACTED}"),
    (
        re.compile(
            r"(?<![A-Za-z0-9_-])(gh[pousr]_|github_pat_|glpat-|hf_|npm_|sk-)[A-Za-z0-9_-]{16,}"
        ),
        rf"\1{REDACTED}",
    ),
    (
        re.compile(rf"""(?i)({_NAMES}["']?[ \t]{{0,4}}[:=][ \t]{{0,4}}){_VALUE}"""),
        rf"\1{REDACTED}",
    ),
    # "token" and "secret" alone are also plain words: only as an assignment or an option.
    (re.compile(rf"(?i)((?=[tsc])(?:token|secret|credentials?)=){_VALUE}"), rf"\1{REDACTED}"),
    (
        re.compile(rf"(?i)(--(?:{_NAMES}|token|secret)[ \t]{{1,4}}){_VALUE}"),
        rf"\1{REDACTED}",
    ),
)

_PLAIN = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u2013": "-",
        "\u2014": "-",
        "\u2212": "-",
        "\u2026": "...",
        "\u00d7": "x",
        "\u00df": "ss",
        "\u00e6": "ae",
        "\u00c6": "AE",
        "\u0153": "oe",
        "\u0152": "OE",
        "\u00f8": "o",
        "\u00d8": "O",
        "\u0142": "l",
        "\u0141": "L",
        "\u0111": "d",
        "\u0110": "D",
    }
)
_NOT_ASCII = re.compile(r"[^\x20-\x7e]+")


def clean(text: str | bytes, *, midway: bool = False) -> str:
    """Return text as its reader would see it on a terminal, and nothing that only acts on one.

    Decoded as UTF-8 with what does not fit replaced; escape sequences, control
    characters, bidirectional and zero-width marks taken out; of a line that a
    progress bar rewrote, its last state. Tabs and line ends stay. Cleaning
    twice changes nothing more.

    Parameters
    ----------
    text : str or bytes
        As read.
    midway : bool
        The reading began in the middle of a file: what comes before the first
        line end is a piece of a line, maybe of a secret that no longer looks
        like one, and is dropped if more lines follow.

    Examples
    --------
    >>> clean(b"10%\\r60%\\r100%\\n\\x1b[31mError\\x1b[0m: caf\\xc3\\xa9 \\xff")
    '100%\\nError: caf\u00e9 \ufffd'
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    text = _SURROGATES.sub("\ufffd", _ESCAPES.sub("", text))
    text = _NEWLINES.sub("\n", text)
    if midway:
        first, found, rest = text.partition("\n")
        text = rest if found else first
    if "\r" in text:
        text = "\n".join(map(_last_state, text.split("\n")))
    return _CONTROLS.sub("", text)


def _last_state(line: str) -> str:
    """Return what stands on a line after its carriage returns."""
    line = line.rstrip("\r")
    return line[line.rfind("\r") + 1 :]


def redact(text: str) -> str:
    """Return text without the secrets that it carries, their places kept as ``[redacted]``.

    AWS keys and session tokens, bearer tokens and authorisation headers,
    signatures of presigned URLs, passwords in URLs, Slack and other vendors'
    tokens, private keys, and whatever follows a name like ``password``. Best
    effort: what carries neither a name nor a known shape cannot be told from
    data.

    Examples
    --------
    >>> redact("GET s3.amazonaws.com/b/k?X-Amz-Expires=60&X-Amz-Signature=0af3")
    'GET s3.amazonaws.com/b/k?X-Amz-Expires=60&X-Amz-Signature=[redacted]'
    >>> redact("mysql --password hunter2 DB_PASSWORD='hunter2'; PWD=/tmp")
    'mysql --password [redacted] DB_PASSWORD=[redacted]; PWD=/tmp'
    """
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def one_line(text: str | bytes, limit: int = 200) -> str:
    """Return a stranger's name or message as one clean, redacted line that calls nobody.

    Mentions that a chat would act on are broken, white space is single, and
    what is over the limit is cut with an ellipsis.

    Examples
    --------
    >>> one_line("run\\n<!channel>  \u202egnp.exe")
    'run < !channel> gnp.exe'
    """
    line = " ".join(redact(clean(text)).split())
    return shorten(hushed(line), limit)


def hushed(line: str) -> str:
    """Return a line in which nothing is left that makes a chat call people.

    >>> hushed("<!here> @channel <@U12> a@b.org")
    '< !here> @ channel < @U12> a@b.org'
    """
    return _MENTION.sub(r"\g<0> ", line)


def shorten(line: str, limit: int) -> str:
    """Return a line of at most `limit` characters, an ellipsis where it was cut."""
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "\u2026"


def tail(text: str | bytes, lines: int, width: int = 200) -> list[str]:
    """Return the last telling lines of a log, cleaned and redacted.

    Runs of blank lines become one, repeated lines are told once with their
    count, over-long ones are cut, and the last line that says anything always
    stands at the end.

    Parameters
    ----------
    text : str or bytes
        The log, or its end.
    lines : int
        At most so many.
    width : int
        Characters a line.

    Examples
    --------
    >>> tail("start\\n\\n\\nwarn\\nwarn\\nwarn\\nError: no reads\\n\\n", lines=3)
    ['', 'warn  (3 times)', 'Error: no reads']
    """
    text = _end(text, max(lines * width, _LEAST_READ) * _SLACK)
    kept: list[str] = []
    times = 0
    waiting = ""
    for line in reversed(redact(text).rstrip().split("\n")):
        line = line.rstrip()
        if times and line == waiting:
            times += 1
            continue
        if times:
            kept.append(_counted(waiting, times, width))
            if len(kept) == lines:
                break
        waiting, times = line, 1
    else:
        kept.append(_counted(waiting, times, width))
    kept.reverse()
    return kept if any(kept) else []


_LEAST_READ = 1 << 13
_SLACK = 4
"""How much more is read than can be shown: for escape sequences, repeats and UTF-8."""


def _end(text: str | bytes, most: int) -> str:
    """Return the cleaned end of a text, what fills its very end with nothing left out."""
    text = text.rstrip(b" \t\r\n\0") if isinstance(text, bytes) else text.rstrip(" \t\r\n\0")
    return clean(text[-most:], midway=len(text) > most)


def _counted(line: str, times: int, width: int) -> str:
    if times == 1 or not line:
        return shorten(line, width)
    count = f"  ({times} times)"
    return shorten(line, max(width - len(count), 1)) + count


def ascii_text(text: str) -> str:
    """Return text in plain ASCII: accents dropped, what has no likeness a question mark.

    Examples
    --------
    >>> ascii_text("Göteborg – Süd 日本")
    'Goteborg - Sud ?'
    """
    decomposed = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    bare = "".join(character for character in decomposed if not unicodedata.combining(character))
    return _NOT_ASCII.sub("?", bare)


def ascii_subject(text: str, limit: int = 100) -> str:
    """Return text as SNS takes it for a subject.

    ASCII that begins with a letter, a digit or a punctuation mark, without
    line breaks or control characters, less than 100 characters long (SNS API,
    Publish).

    Examples
    --------
    >>> ascii_subject(" [cardio]\\nFAILED: größe ")
    '[cardio] FAILED: grosse'
    """
    line = ascii_text(one_line(text, limit=4 * limit)).strip()
    return line if len(line) < limit else line[: limit - 4].rstrip() + "..."


def duration(seconds: int) -> str:
    """Return a length of time in at most two units.

    >>> [duration(s) for s in (42, 200, 2520, 13320, 187200)]
    ['42 s', '3 min 20 s', '42 min', '3 h 42 min', '2 d 4 h']
    """
    if seconds < 60:
        return f"{max(seconds, 0)} s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes < 10 and rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def size(count: int) -> str:
    """Return a number of bytes in units of a thousand.

    >>> [size(n) for n in (0, 999, 1_200_000_000, 15_000_000)]
    ['0 B', '999 B', '1.2 GB', '15 MB']
    """
    if count < 1000:
        return f"{count} B"
    amount = float(count)
    units = iter(("kB", "MB", "GB", "TB", "PB"))
    while amount >= 999.5:
        amount, unit = amount / 1000, next(units)
    return f"{amount:.1f} {unit}" if amount < 9.95 else f"{amount:.0f} {unit}"


def memory(mib: int) -> str:
    """Return a job's memory as its author wrote it.

    Batch counts MiB; Cromwell hands it 8000 for ``8 GB`` and 8192 for ``8 GiB``.

    >>> [memory(mib) for mib in (512, 8000, 8192, 7629)]
    ['512 MB', '8 GB', '8 GB', '7.5 GB']
    """
    if mib < 1000:
        return f"{mib} MB"
    for thousand in (1000, 1024):
        if mib % thousand == 0:
            return f"{mib // thousand} GB"
    return f"{mib / 1024:.1f} GB"


def clock(epoch: int, beside: int | None = None) -> str:
    """Return a time of day, with its date where it is of another day than `beside`.

    >>> clock(1_795_542_240), clock(1_795_542_240, beside=1_795_600_000)
    ('17:44 UTC', '24 Nov 17:44 UTC')
    """
    moment = datetime.fromtimestamp(epoch, UTC)
    if beside is None or moment.date() == datetime.fromtimestamp(beside, UTC).date():
        return f"{moment:%H:%M} UTC"
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment:%H:%M} UTC"


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def iso(epoch: int) -> str:
    """Return a time for machines.

    >>> iso(1_795_542_240)
    '2026-11-24T17:44:00Z'
    """
    return f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%dT%H:%M:%SZ}"


def plural(count: int, word: str) -> str:
    """Return a counted noun.

    >>> plural(1, "cause"), plural(12_000, "call")
    ('1 cause', '12,000 calls')
    """
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"
