"""Make an Amazon Linux 2023 machine a Cromwell server, or bring it up to date.

``python3 -m server.install parameters.json``, as root, from the folder above this one. For a
machine without a way to a Python package index, ``server/wheels/`` holds supervisor's
wheel. Every step may be repeated. The first that fails ends it, with its name and a status
for the one who started it; it ends well when Cromwell answers.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from server import render

HERE = Path(__file__).resolve().parent
PACKAGES = [
    "amazon-cloudwatch-agent",
    "java-17-amazon-corretto-headless",
    "logrotate",
    "nginx",
    "openssl",
]
OLDEST_JAVA = 17  # Cromwell's since release 88 (its CHANGELOG)
UNITS = [
    "dropwell-proxy.service",
    "dropwell-server.service",
    "dropwell-certificate.timer",
    "dropwell-secret.timer",
    "dropwell-token.timer",
]
AGENT = "/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl"
Settings = dict[str, Any]


class Failed(Exception):
    """A step cannot be done; the text says why."""


def packages(settings: Settings) -> None:
    """Install what Amazon Linux has, with patience: its mirrors are busy at times."""
    for pause in (5, 15, 30, 0):
        try:
            _run("dnf", "install", "--assumeyes", "--setopt=install_weak_deps=False", *PACKAGES)
            return
        except Failed:
            if not pause:
                raise
            time.sleep(pause * settings["pause"])


def java(settings: Settings) -> None:
    told = _run("java", "-version")
    found = re.search(r'version "(\d+)', told)
    if found is None or int(found[1]) < OLDEST_JAVA:
        raise Failed(f"Cromwell needs Java {OLDEST_JAVA} or later; this is: {told.strip()}")


def files(settings: Settings) -> None:
    """Write the tree, and make the accounts and folders that it declares."""
    root = Path(settings["prefix"] or "/")
    given = {name: settings[name] for name in render.PARAMETERS}
    for path in render.write(render.render(given), root):
        print(f"  wrote {path}")
    _run("systemd-sysusers", str(root / "etc/sysusers.d/dropwell.conf"))
    _run("systemd-tmpfiles", "--create", str(root / "etc/tmpfiles.d/dropwell.conf"))


def database_authorities(settings: Settings) -> None:
    target = Path(settings["prefix"] + "/etc/dropwell/database-ca.pem")
    _fetch(settings, settings["database_ca_url"], settings["database_ca_sha256"], target)
    if "-----BEGIN CERTIFICATE-----" not in target.read_text(encoding="utf-8", errors="replace"):
        target.unlink()
        raise Failed(f"{settings['database_ca_url']} holds no certificates.")


def jar(settings: Settings) -> None:
    target = Path(settings["prefix"] + "/opt/cromwell/cromwell.jar")
    _fetch(settings, settings["jar_url"], settings["jar_sha256"], target)


def _fetch(settings: Settings, url: str, sha256: str, target: Path) -> None:
    script = HERE / "tree/opt/dropwell/fetch_jar.py"
    pause = f"--pause={2 * settings['pause']}"
    _run(sys.executable, str(script), url, sha256 or "unchecked", str(target), pause)


def supervisor(settings: Settings) -> None:
    """Install supervisor at the version that is pinned, in an environment of its own."""
    folder = Path(settings["prefix"] + "/opt/dropwell/supervisor")
    pinned = HERE / "supervisor.txt"
    done = folder / "installed.txt"
    if done.exists() and done.read_bytes() == pinned.read_bytes():
        return
    _run("python3", "-m", "venv", str(folder))
    wheels = HERE / "wheels"
    source = ["--no-index", "--find-links", str(wheels)] if wheels.is_dir() else []
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "--no-deps", "--require-hashes"]
    _run(*pip, *source, "--requirement", str(pinned))
    command = Path(settings["prefix"] + "/usr/local/bin/supervisorctl")
    command.parent.mkdir(parents=True, exist_ok=True)
    command.unlink(missing_ok=True)
    command.symlink_to(folder / "bin/supervisorctl")
    done.write_bytes(pinned.read_bytes())


def logs(settings: Settings) -> None:
    config = f"file:{settings['prefix']}/etc/dropwell/cloudwatch-agent.json"
    _run(settings["prefix"] + AGENT, "-a", "fetch-config", "-m", "ec2", "-s", "-c", config)


def start(settings: Settings) -> None:
    _run("systemctl", "daemon-reload")
    _run("systemctl", "enable", *UNITS)
    # Not restart: on a server that runs, that is for its operator to say.
    _run("systemctl", "start", *UNITS)
    _run("systemctl", "reload", "dropwell-proxy.service")


def cromwell(settings: Settings) -> None:
    """Wait until Cromwell answers; a first start makes the database's tables."""
    url = f"http://127.0.0.1:{settings['cromwell_port']}/engine/v1/version"
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + settings["wait"]
    while True:
        try:
            with direct.open(url, timeout=10) as answer:
                print(f"  {answer.read(200).decode().strip()}")
                return
        except OSError as problem:
            if time.monotonic() > deadline:
                log = settings["prefix"] + "/var/log/cromwell/cromwell-server.log"
                raise Failed(f"It does not answer ({problem}). See {log}.") from problem
        time.sleep(5 * settings["pause"])


STEPS: list[Callable[[Settings], None]] = [
    packages,
    java,
    files,
    database_authorities,
    jar,
    supervisor,
    logs,
    start,
    cromwell,
]


def _run(*command: str) -> str:
    try:
        told = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except OSError as problem:
        raise Failed(f"{command[0]}: {problem}") from problem
    if told.returncode:
        raise Failed(f"{' '.join(command)} ended with {told.returncode}:\n{told.stdout[-2000:]}")
    return told.stdout


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Make this machine a Cromwell server.")
    parser.add_argument("parameters", help="a JSON file")
    parser.add_argument("--wait", type=float, default=900, help="seconds, for Cromwell to answer")
    parser.add_argument("--pause", type=float, default=1, help="what pauses are multiplied by")
    told = parser.parse_args(words)
    try:
        given = json.loads(Path(told.parameters).read_text(encoding="utf-8"))
        settings = {**render.checked(given), "wait": told.wait, "pause": told.pause}
    except (OSError, ValueError) as problem:
        print(f"{told.parameters}: {problem}", file=sys.stderr)
        return 2
    os.environ.setdefault("AWS_DEFAULT_REGION", settings["region"])
    for step in STEPS:
        name = step.__name__.replace("_", " ")
        print(f"{name} …", flush=True)
        try:
            step(settings)
        except (Failed, OSError) as problem:
            print(f"The step '{name}' failed. {problem}", file=sys.stderr)
            return 1
    print("Cromwell is up.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
