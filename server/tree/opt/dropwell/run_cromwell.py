#!/usr/bin/env python3
"""Become Cromwell, with the database's password as it is now. Supervisor runs this."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import instance

STARTED_WITH = instance.ROOT / "var/lib/cromwell/secret-version"
"""Which version of the database's secret Cromwell was started with; follow_secret.py looks."""

_LONGEST_PAUSE_S = 60.0
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)


def credentials(arn: str, sleep: Callable[[float], None] = time.sleep) -> dict[str, str]:
    """Return the environment that cromwell.conf takes user and password from.

    Waits for as long as AWS does not give them: there is nothing else to do meanwhile.
    """
    pause = 2.0
    while True:
        try:
            # In this order: rotated in between, it is the newer text and the older version,
            # and Cromwell is started once more than it need be.
            version = instance.secret_version(arn)
            told = json.loads(instance.secret(arn))
            STARTED_WITH.write_text(version)
            return {
                "CROMWELL_DATABASE_USER": told["username"],
                "CROMWELL_DATABASE_PASSWORD": told["password"],
            }
        except (instance.Unavailable, ValueError, KeyError, TypeError) as problem:
            # Of a secret that is not what it should be, nothing is said but which kind of error.
            words = problem if isinstance(problem, instance.Unavailable) else type(problem).__name__
            print(f"The database's secret is not readable yet: {words}", flush=True)
        sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def trust_database(bundle: Path, store: Path) -> None:
    """Turn the database's certificate authorities into what Java reads, unless that is done."""
    if store.is_file() and store.stat().st_mtime >= bundle.stat().st_mtime:
        return
    fresh = store.with_name(store.name + ".new")
    fresh.unlink(missing_ok=True)
    authorities = _CERTIFICATE.findall(bundle.read_text(encoding="ascii", errors="ignore"))
    command = [
        "keytool",
        "-importcert",
        "-noprompt",
        "-storetype",
        "PKCS12",
        "-storepass",
        "changeit",
    ]
    for number, authority in enumerate(authorities):
        subprocess.run(
            [*command, "-keystore", str(fresh), "-alias", f"authority-{number}"],
            input=authority,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
        )
    fresh.replace(store)


def main() -> NoReturn:
    settings = instance.settings()
    bundle = instance.ETC / "database-ca.pem"
    if not bundle.is_file():
        sys.exit(f"{bundle} is missing: without it the database's certificate cannot be checked.")
    trust_database(bundle, instance.ROOT / "var/lib/dropwell/truststore/database-ca.p12")
    env = {
        **os.environ,
        # Cromwell's S3 file system does not always look at its own configuration.
        "AWS_REGION": settings["region"],
        "AWS_DEFAULT_REGION": settings["region"],
        **credentials(settings["database_secret"]),
    }
    command = [
        "java",
        f"-XX:MaxRAMPercentage={settings['heap_percent']}.0",
        # Out of memory, Cromwell would answer no more and not end; so supervisor starts it anew.
        "-XX:+ExitOnOutOfMemoryError",
        # Imports are unpacked there; Amazon Linux has its own /tmp in memory.
        f"-Djava.io.tmpdir={instance.ROOT / 'var/lib/cromwell/tmp'}",
        f"-Dconfig.file={instance.ETC / 'cromwell.conf'}",
        "-jar",
        str(instance.ROOT / "opt/cromwell/cromwell.jar"),
        "server",
    ]
    sys.stdout.flush()
    os.execvpe(command[0], command, env)


if __name__ == "__main__":
    main()
