"""Make the files of the Cromwell instance from one JSON of parameters.

Runs on the instance, on Amazon Linux 2023's own Python 3.9, with its standard library.
A template's ``@{name}`` becomes the value of that name, written as the file's format
wants it; values that end in a file without a way of quoting are held to a pattern.

``python3 render.py parameters.json /`` writes; ``python3 render.py --limits 64`` tells
what follows from a body limit.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

TREE = Path(__file__).resolve().parent / "tree"
_MARK = re.compile(r"@\{(\w+)\}")

Value = Any
"""A parameter: a string, a whole number, true or false, or a list of strings."""


class BadParameters(ValueError):
    """The parameters cannot be used; the text has a line for each that is wrong."""


class _Parameter(NamedTuple):
    kind: type
    fits: str
    default: Value
    about: str


_KINDS = {str: "a string", int: "a whole number", bool: "true or false", list: "a list of strings"}
_HOST = r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
_ARN = r"arn:aws[a-z-]*:[a-z]+:[a-z0-9-]*:\d{12}:\S+"

# Without a default, a parameter must be given. A whole number's `fits` is its range.
# A string that only cromwell.conf has needs no pattern: there anything can be quoted.
PARAMETERS: dict[str, _Parameter] = {
    "region": _Parameter(str, "", None, "AWS region of the server, its queue and its bucket"),
    "root": _Parameter(str, "", None, "where calls' files go: `s3://<bucket>/cromwell-execution`"),
    "script_bucket": _Parameter(str, "", None, "`scriptBucketName`: the bucket, without a prefix"),
    "queue_arn": _Parameter(str, "", None, "the Batch queue of calls that name none"),
    "batch_log_group": _Parameter(str, "", "/aws/batch/job", "where jobs log; it must exist"),
    "database_host": _Parameter(str, _HOST, None, "the cluster's endpoint"),
    "database_port": _Parameter(int, "1-65535", 3306, ""),
    "database_name": _Parameter(str, r"[a-z][a-z0-9]{0,62}", "cromwell", "the schema"),
    "database_user": _Parameter(
        str, r"[a-z][a-z0-9_]{0,31}", "cromwell", "the user that the bootstrap makes"
    ),
    "database_secret": _Parameter(
        str, _ARN, None, "ARN of the secret with `username` and `password` of that user"
    ),
    "token_secret": _Parameter(str, _ARN, None, "ARN of the secret that is the bearer token"),
    "certificate_parameter": _Parameter(
        str, r"/[A-Za-z0-9_.\-/]{1,500}", None, "SSM parameter that gets the certificate"
    ),
    "certificate_secret": _Parameter(
        str,
        f"({_ARN})?",
        "",
        "ARN of a secret with key and certificate chain of your own, in PEM; without it the"
        " server makes its certificate itself",
    ),
    "server_names": _Parameter(
        list, _HOST, None, "names and addresses that the certificate is for, the first its name"
    ),
    "listen_address": _Parameter(str, r"[0-9.]{7,15}|\[[0-9a-f:]+\]", "0.0.0.0", "of the proxy"),
    "https_port": _Parameter(int, "1-65535", 443, ""),
    "http_port": _Parameter(int, "1-65535", 80, "answers 308 to the https address"),
    "cromwell_port": _Parameter(int, "1-65535", 8000, "on 127.0.0.1"),
    "body_limit_mib": _Parameter(
        int, "8-128", 64, "the largest submission; the other body limits follow from it"
    ),
    "request_timeout_seconds": _Parameter(int, "10-3600", 300, "for one answer of Cromwell's"),
    "shutdown_seconds": _Parameter(
        int, "1-7200", 600, "what Cromwell may take to flush to the database when stopped"
    ),
    "start_seconds": _Parameter(
        int, "1-600", 20, "a Cromwell that ends sooner is started again after a longer pause"
    ),
    "heap_percent": _Parameter(int, "10-90", 75, "of the memory, for Cromwell's heap"),
    "workflows_at_once": _Parameter(int, "1-1000", 10, "started together, every few seconds"),
    "workflow_launch_seconds": _Parameter(int, "1-600", 5, "between two such starts"),
    "workflow_limit": _Parameter(int, "1-100000", 1000, "running at once; more wait"),
    "jobs_per_10_seconds": _Parameter(int, "1-100", 50, "started; Cromwell submits 100 at most"),
    "concurrent_jobs": _Parameter(int, "1-100000", 5000, "of this server in Batch; more wait"),
    "jobs_per_workflow": _Parameter(int, "1-1000000", 100000, "and shards of one scatter"),
    "metadata_rows": _Parameter(
        int, "1000-100000000", 1000000, "of a workflow with more, metadata is refused"
    ),
    "retry_attempts": _Parameter(
        int, "1-10", 3, "of a job whose host was lost, the first included"
    ),
    "call_caching": _Parameter(bool, "", True, "whether results are used again"),
    "cache_strategy": _Parameter(
        str, "copy|reference", "copy", "a hit's files are copied, or named where they lie"
    ),
    "callbacks": _Parameter(
        bool, "", False, "whether `workflow_callback_uri` of a workflow is called"
    ),
    "jar_url": _Parameter(str, "", None, "where Cromwell's jar is: https or `s3://`"),
    "jar_sha256": _Parameter(str, r"[0-9a-f]{64}", None, "its checksum"),
    "database_ca_url": _Parameter(
        str,
        "",
        "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem",
        "certificate authorities of the database: https or `s3://`",
    ),
    "database_ca_sha256": _Parameter(
        str, r"([0-9a-f]{64})?", "", "their checksum; without one, https vouches for them"
    ),
    "log_group": _Parameter(
        str, r"[A-Za-z0-9_./#-]{1,512}", "/dropwell/cromwell-server", "CloudWatch's, of the server"
    ),
    "metric_namespace": _Parameter(
        str, r"[A-Za-z0-9_./#-]{1,255}", "Dropwell/Server", "CloudWatch's, of memory and disk"
    ),
    "cromwell_user": _Parameter(str, r"[a-z_][a-z0-9_-]{0,31}", "cromwell", "runs Cromwell"),
    "proxy_user": _Parameter(str, r"[a-z_][a-z0-9_-]{0,31}", "nginx", "runs nginx's workers"),
    "prefix": _Parameter(
        str, r"(/[A-Za-z0-9_.\-]+)*", "", "put before every path of ours, to run in a folder"
    ),
}


def limits(body_limit_mib: int) -> dict[str, int]:
    """Return what the three that a submission passes are set to.

    The proxy says no first, in words; Cromwell takes a little more, so that its own
    limit never speaks. The database gets the submission escaped, which can double
    it, and the same bytes again as metadata in one batch of inserts; MySQL takes
    multiples of 1024 up to 1 GiB, and 64 MiB is its default.

    >>> limits(64) == {
    ...     "proxy_body_mib": 64, "cromwell_body_bytes": 68157440, "max_allowed_packet": 268435456
    ... }
    True
    >>> limits(8)["max_allowed_packet"] >> 20
    64
    """
    return {
        "proxy_body_mib": body_limit_mib,
        "cromwell_body_bytes": (body_limit_mib + 1) << 20,
        "max_allowed_packet": max(64, 4 * body_limit_mib) << 20,
    }


def checked(given: Mapping[str, Value]) -> dict[str, Value]:
    """Return the parameters with defaults filled in.

    Raises
    ------
    BadParameters
        With a line for each that is missing, unknown, of another type or out of its bounds.
    """
    wrong = [f"{name}: there is no such parameter" for name in given if name not in PARAMETERS]
    values: dict[str, Value] = {}
    for name, parameter in PARAMETERS.items():
        value = given.get(name, parameter.default)
        problem = "must be given" if value is None else _problem(parameter, value)
        if problem:
            wrong.append(f"{name}: {problem}")
        values[name] = value
    if wrong:
        raise BadParameters("\n".join(wrong))
    return values


def _problem(parameter: _Parameter, value: Value) -> str:
    given: type = type(value)
    if given is not parameter.kind:  # exactly: true is no whole number
        return f"must be {_KINDS[parameter.kind]}"
    if parameter.kind is int:
        least, most = map(int, parameter.fits.split("-"))
        return "" if least <= int(value) <= most else f"must be from {least} to {most}"
    if parameter.kind is bool or not parameter.fits:
        return ""
    several: list[Value] = value if parameter.kind is list else [value]
    if not several:
        return "must be a list of strings, one at least"
    for one in several:
        if not isinstance(one, str) or not re.fullmatch(parameter.fits, one):
            return f"{one!r} is not allowed"
    return ""


def _derived(values: Mapping[str, Value]) -> dict[str, Value]:
    """Add what follows from the parameters and what the templates call by name."""
    prefix = values["prefix"]
    port = "" if values["https_port"] == 443 else f":{values['https_port']}"
    url = (
        f"jdbc:mysql://{values['database_host']}:{values['database_port']}"
        f"/{values['database_name']}?rewriteBatchedStatements=true"
        # Connector/J: the chain and the name of the host are checked.
        "&sslMode=VERIFY_IDENTITY&trustCertificateKeyStoreType=PKCS12"
        f"&trustCertificateKeyStoreUrl=file:{prefix}/var/lib/dropwell/truststore/database-ca.p12"
        "&trustCertificateKeyStorePassword=changeit"
    )
    return {
        **values,
        **limits(values["body_limit_mib"]),
        "database_url": url,
        "https_suffix": port,
        "idle_timeout_seconds": values["request_timeout_seconds"] + 60,
        "proxy_timeout_seconds": values["request_timeout_seconds"] + 10,
        # Past Cromwell's own bound there are a dozen shorter phases, of 5 s each.
        "kill_after_seconds": values["shutdown_seconds"] + 120,
        "unit_stop_seconds": values["shutdown_seconds"] + 180,
        "cromwell_log": f"{prefix}/var/log/cromwell/cromwell-server.log",
        "supervisor_log": f"{prefix}/var/log/dropwell/supervisord.log",
        "proxy_error_log": f"{prefix}/var/log/dropwell/proxy-error.log",
        "proxy_access_log": f"{prefix}/var/log/dropwell/proxy-access.log",
        "workflow_log_folder": f"{prefix}/var/lib/cromwell/workflow-logs",
    }


def _hocon(value: Value) -> str:
    """Quote for HOCON, whose quoted strings are JSON's: nothing within is substituted.

    >>> _hocon('a"b${c}')
    '"a\\\\"b${c}"'
    """
    return json.dumps(value)


def _bare(value: Value) -> str:
    """Write a value that is harmless in nginx's, supervisor's and systemd's files."""
    if isinstance(value, str) and not re.fullmatch(r"[A-Za-z0-9_.:/\[\]-]*", value):
        raise BadParameters(f"{value!r} cannot be written into this file")
    return str(value)


class _File(NamedTuple):
    quote: Callable[[Value], str]
    mode: int


# What is not named here is copied as it is, for all to read.
_TEMPLATES: dict[str, _File] = {
    "etc/dropwell/cromwell.conf": _File(_hocon, 0o644),
    "etc/dropwell/cloudwatch-agent.json": _File(_hocon, 0o644),
    "etc/dropwell/nginx.conf": _File(_bare, 0o644),
    "etc/supervisord.conf": _File(_bare, 0o644),
    "etc/systemd/system/dropwell-server.service": _File(_bare, 0o644),
}
_EXECUTABLE = re.compile(r"opt/dropwell/\w+\.py")


def render(given: Mapping[str, Value]) -> dict[str, tuple[str, int]]:
    """Return the text and the mode of every file, by its path on the instance.

    Raises
    ------
    BadParameters
        See `checked`.
    """
    values = _derived(checked(given))
    files: dict[str, tuple[str, int]] = {}
    for source in sorted(TREE.rglob("*")):
        path = source.relative_to(TREE).as_posix()
        if source.is_dir() or "__pycache__" in path:
            continue
        text = source.read_text(encoding="utf-8")
        if path in _TEMPLATES:
            quote, mode = _TEMPLATES[path]
            files[path] = (_filled(text, values, quote), mode)
        else:
            files[path] = (text, 0o755 if _EXECUTABLE.fullmatch(path) else 0o644)
    # What the programs on the instance read; it holds no secret, only names of some.
    files["etc/dropwell/server.json"] = (json.dumps(values, indent=2) + "\n", 0o644)
    return files


def _filled(text: str, values: Mapping[str, Value], quote: Callable[[Value], str]) -> str:
    return _MARK.sub(lambda mark: quote(values[mark[1]]), text)


def write(files: Mapping[str, tuple[str, int]], root: Path) -> list[Path]:
    """Write the files that differ, each whole or not at all, and return those."""
    written = []
    for name, (text, mode) in files.items():
        path = root / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            path.chmod(mode)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(path.name + ".new")
        fresh.write_text(text, encoding="utf-8")
        fresh.chmod(mode)
        fresh.replace(path)
        written.append(path)
    return written


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="render.py", description="Make the server's files.")
    parser.add_argument("parameters", nargs="?", help="a JSON file")
    parser.add_argument("root", nargs="?", default="/", help="where the tree begins")
    parser.add_argument("--limits", type=int, metavar="MIB", help="only tell the body limits")
    told = parser.parse_args(words)
    if told.limits is not None:
        print(json.dumps(limits(told.limits)))
        return 0
    if told.parameters is None:
        parser.error("name the file of parameters")
    try:
        files = render(json.loads(Path(told.parameters).read_text(encoding="utf-8")))
    except ValueError as problem:
        print(problem, file=sys.stderr)
        return 2
    for path in write(files, Path(told.root)):
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
