"""The texts of a call's scripts: what the host runs, and what Cromwell would have Batch fetch."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Mapping

from dropwell.calls import CallPlace

SCRATCH = "/tmp/scratch"
"""Where Batch's containers work."""

_HEAD = """#!/bin/bash
{
_s3_localize_with_retry() {
  /usr/local/aws-cli/v2/current/bin/aws s3 cp --no-progress "$1" "$2"
}
_s3_delocalize_with_retry() {
  if [ -e "$1" ]; then /usr/local/aws-cli/v2/current/bin/aws s3 cp --no-progress "$1" "$2"; fi
}
set -e
echo '*** LOCALIZING INPUTS ***'
if [ ! -d /tmp/scratch ]; then mkdir /tmp/scratch && chmod 777 /tmp/scratch; fi
cd /tmp/scratch
"""


def host_script(directory: str, environment: Mapping[str, str], command: str) -> str:
    """Return what bash runs on this machine: the command in a sub-shell, as Cromwell has it."""
    exports = "".join(
        f"export {name}={shlex.quote(value)}\n" for name, value in environment.items()
    )
    return (
        f"#!/bin/bash\n\ncd {shlex.quote(directory)}\n"
        'tmpDir=$(mktemp -d "${TMPDIR:-/tmp}/tmp.XXXXXXXX")\n'
        "trap 'rm -rf \"$tmpDir\"' EXIT\n"
        f'export TMPDIR="$tmpDir"\n{exports}(\n{command}\n)\n'
    )


def batch_script(place: CallPlace, command: str, inputs: Iterable[str]) -> str:
    """Return the object that ``BATCH_FILE_S3_URL`` names, as far as others read it.

    Cromwell 92's text is longer; the lines that say where the call's files go are
    the same (AwsBatchJob.scala, line 476), and it holds the call's folder, so that no
    two attempts share a script.
    """
    stem = place.rc_key.rpartition("/")[2].removesuffix("-rc.txt")
    localize = "".join(
        f'_s3_localize_with_retry "{url}" "{SCRATCH}/{url.removeprefix("s3://")}"\n'
        for url in sorted(inputs)
    )
    uploads = "".join(
        f'_s3_delocalize_with_retry "{SCRATCH}/{stem}{suffix}" "s3://{place.bucket}/{key}"\n'
        for suffix, key in (
            ("-rc.txt", place.rc_key),
            ("-stderr.log", place.stderr_key),
            ("-stdout.log", place.stdout_key),
        )
    )
    return (
        f"{_HEAD}{localize}echo '*** COMPLETED LOCALIZATION ***'\nset +e\n}}\n"
        f"(\ncd {SCRATCH}\n{command}\n)"
        f" > '{SCRATCH}/{stem}-stdout.log' 2> '{SCRATCH}/{stem}-stderr.log'\n"
        f"echo $? > {SCRATCH}/{stem}-rc.txt\n"
        f"{{\nset -e\necho '*** DELOCALIZING OUTPUTS ***'\n{uploads}"
        "echo '*** COMPLETED DELOCALIZATION ***'\n"
        f"echo '*** EXITING WITH RETURN CODE ***'\nrc=$(head -n 1 {SCRATCH}/{stem}-rc.txt)\n"
        "echo $rc\nexit $rc\n}\n"
    )


def script_name(text: str) -> str:
    """Return the key of a script in the script bucket, below its prefix: the MD5 of its text."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
