"""What the programs on the Cromwell instance share: settings, AWS, files for root, the proxy."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
"""Where the tree begins: ``/``, or a folder in which it is tried."""

_TIMEOUT_S = 20.0
"""Of one call; the proxy's start waits for a few of them, three minutes at most."""

ETC = ROOT / "etc/dropwell"


class Unavailable(Exception):
    """AWS did not give what was asked for; the text is what it said."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        found = re.search(r"\((\w+)\)", words)
        self.code = found[1] if found else ""


def settings() -> dict[str, Any]:
    """Return the parameters that the tree was rendered with, and what follows from them."""
    read: dict[str, Any] = json.loads((ETC / "server.json").read_text(encoding="utf-8"))
    return read


def aws(*words: str) -> str:
    """Run the aws command and return what it printed.

    Raises
    ------
    Unavailable
        It failed, or is not there.
    """
    env = {"AWS_DEFAULT_REGION": settings()["region"], **os.environ}
    command = ["aws", *words, "--output", "text"]
    try:
        told = subprocess.run(
            command, env=env, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
        )
    except (FileNotFoundError, subprocess.TimeoutExpired) as problem:
        raise Unavailable(str(problem)) from problem
    if told.returncode:
        raise Unavailable(told.stderr.strip() or f"aws ended with {told.returncode}")
    return told.stdout.rstrip("\n")


def secret(arn: str, stage: str = "AWSCURRENT") -> str:
    """Return a secret's text as it is now."""
    return aws(
        *("secretsmanager", "get-secret-value", "--secret-id", arn),
        *("--version-stage", stage, "--query", "SecretString"),
    )


def secret_version(arn: str) -> str:
    """Return which version of a secret is the current one."""
    return aws("secretsmanager", "get-secret-value", "--secret-id", arn, "--query", "VersionId")


def write_for_root(path: Path, text: str) -> bool:
    """Write a file that none but its owner may read, whole, and say whether it is new."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    return True


def reload_proxy() -> None:
    """Have a running proxy read its files again; connections live on."""
    pid = ROOT / "run/dropwell/nginx.pid"
    try:
        os.kill(int(pid.read_text()), 0)
    except (OSError, ValueError):
        return  # it will read them when it starts
    subprocess.run(["nginx", "-c", str(ETC / "nginx.conf"), "-s", "reload"], check=True)
