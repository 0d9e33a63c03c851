"""The server's rendered tree, run in a folder: real nginx and supervisord, no AWS and no jar.

In the place of ``java`` stands the local Cromwell, told what cromwell.conf says; in the
place of ``aws`` a script that keeps secrets and parameters in a folder.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import urllib3

from dropwell.cromwell import Cromwell
from server.render import render, write
from tests.stubs.door import Kept
from tests.stubs.server import PARAMETERS

ROOT = Path(__file__).parents[2]
SUPERVISOR = ROOT / ".tools/supervisor/bin"
TOKEN = "first.Token+of-this/Server~0123456789"
PATIENCE_S = 60.0

_PYTHON = """#!/bin/sh
exec {python} "$@"
"""
_JAVA = """#!{python}
import os, re, subprocess, sys
folder = "{prefix}/var/lib/cromwell"
names = ["AWS_REGION", "CROMWELL_DATABASE_USER", "CROMWELL_DATABASE_PASSWORD"]
with open(folder + "/told", "w") as told:
    told.write("\\n".join(sys.argv[1:] + [os.environ[name] for name in names]))
conf = open("{prefix}/etc/dropwell/cromwell.conf").read()
port = re.search(r"^  port = (\\d+)", conf, re.M)[1]
body = int(re.search(r"parsing.max-content-length = (\\d+)", conf)[1]) >> 20
os.execv(sys.executable, [sys.executable, "-m", "dropwell_local.cromwell", "--data=" + folder,
    "--root=s3://work/cromwell-execution", "--script-bucket=work", "--events=" + folder + "/events",
    "--port=" + port, "--max-request-mib=%d" % body, "--visibility-lag=0", "--isolation=none",
    "--no-logs", "--shutdown-notice=2"])
"""
_AWS = """#!{python}
import hashlib, pathlib, sys
folder = pathlib.Path("{prefix}/aws")
words = sys.argv[1:]
given = dict(zip(words, words[1:]))
with (folder / "asked").open("a") as asked:
    asked.write(" ".join(words[:2]) + "\\n")
def fail(code):
    sys.exit("An error occurred (" + code + ") when calling the operation: no")
if (folder / "down").exists():
    fail("ServiceUnavailable")
if words[1] == "get-secret-value":
    stage = given.get("--version-stage", "AWSCURRENT")
    name = given["--secret-id"].rpartition(":")[2] + "." + stage
    if not (folder / name).exists():
        fail("ResourceNotFoundException")
    text = (folder / name).read_text()
    version = "v" + hashlib.sha256(text.encode()).hexdigest()[:8]
    print(version if given["--query"] == "VersionId" else text)
elif words[1] == "get-parameter":
    path = folder / given["--name"].replace("/", "_")
    print(path.read_text() if path.exists() else fail("ParameterNotFound"))
elif words[1] == "put-parameter":
    (folder / "fresh").write_text(given["--value"])
    (folder / "fresh").replace(folder / given["--name"].replace("/", "_"))
"""


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def until(holds: Callable[[], Any], what: str) -> Any:
    """Return what a function says once that is something, within a minute."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if told := holds():
            return told
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {PATIENCE_S:.0f} s")


class ServerHere:
    """The server for as long as a ``with`` block lasts."""

    def __init__(self, **change: Any) -> None:
        # In /tmp itself: the path of a socket may have a hundred characters.
        self.prefix = Path(tempfile.mkdtemp(prefix="dropwell-server-", dir="/tmp"))
        user = pwd.getpwuid(os.getuid()).pw_name
        self.https, self.http, self.cromwell = (free_port() for _ in range(3))
        self.parameters: dict[str, Any] = {
            **PARAMETERS,
            "prefix": str(self.prefix),
            "listen_address": "127.0.0.1",
            "https_port": self.https,
            "http_port": self.http,
            "cromwell_port": self.cromwell,
            "cromwell_user": user,
            "proxy_user": user,
            "body_limit_mib": 8,
            "start_seconds": 1,
            **change,
        }
        self.url = f"https://127.0.0.1:{self.https}"
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> ServerHere:
        try:
            self.lay_out()
            self.script("renew_certificate.py")
            self.script("refresh_token.py")
            self._start("nginx", "-c", self.prefix / "etc/dropwell/nginx.conf", "-g", "daemon off;")
            self._start(
                SUPERVISOR / "supervisord",
                "--nodaemon",
                "--configuration",
                self.prefix / "etc/supervisord.conf",
            )
            until(self.is_up, "the server")
        except BaseException as problem:
            problem.add_note(self._said())
            self.__exit__()
            raise
        return self

    def _said(self) -> str:
        """Return the end of everything that was written, for who looks why it did not start."""
        files = [self.prefix / "said", *(self.prefix / "var/log").rglob("*.log")]
        return "\n".join(
            f"--- {file.name}\n{file.read_text(errors='replace')[-2000:]}"
            for file in files
            if file.exists()
        )

    def __exit__(self, *error: object) -> None:
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
        for process in reversed(self._processes):
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.clear()

    def clear(self) -> None:
        shutil.rmtree(self.prefix)

    def lay_out(self) -> None:
        """Write the tree, what stands in for AWS and Java, and secrets."""
        write(render(self.parameters), self.prefix)
        for name in ("bin", "aws"):
            (self.prefix / name).mkdir()
        declared = (self.prefix / "etc/tmpfiles.d/dropwell.conf").read_text()
        for line in declared.splitlines():  # as systemd-tmpfiles does when the machine starts
            _, path, mode, *_ = line.split()
            folder = self.prefix / path.lstrip("/")
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(int(mode, 8))
        for name, text in (("java", _JAVA), ("aws", _AWS), ("python3", _PYTHON)):
            path = self.prefix / "bin" / name
            path.write_text(text.format(python=sys.executable, prefix=self.prefix))
            path.chmod(0o755)
        self.tell_secret("token_secret", TOKEN)
        user = {"username": "cromwell", "password": "p'\"a\\${s}"}
        self.tell_secret("database_secret", json.dumps(user))
        # Any authority will do: here the one that a certificate of our own makes.
        command = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ]
        bundle = str(self.prefix / "etc/dropwell/database-ca.pem")
        subprocess.run(
            [*command, "-subj", "/CN=Authority", "-keyout", "/dev/null", "-out", bundle],
            stderr=subprocess.DEVNULL,
            check=True,
        )

    @property
    def env(self) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": f"{self.prefix}/bin:{SUPERVISOR}:{os.environ['PATH']}:/usr/sbin",
            "AWS_ACCESS_KEY_ID": "none",
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        }

    def _start(self, *command: object) -> None:
        with (self.prefix / "said").open("ab") as said:
            self._processes.append(
                subprocess.Popen(
                    [str(word) for word in command], env=self.env, stdout=said, stderr=said
                )
            )

    def script(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one of the server's programs, as its unit would."""
        return subprocess.run(
            [sys.executable, str(self.prefix / "opt/dropwell" / name), *words],
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )

    def supervisorctl(self, *words: str) -> str:
        told = subprocess.run(
            [SUPERVISOR / "supervisorctl", "-c", self.prefix / "etc/supervisord.conf", *words],
            capture_output=True,
            text=True,
            check=False,
        )
        return told.stdout

    def tell_secret(self, which: str, text: str, stage: str = "AWSCURRENT") -> None:
        self._secret(which, stage).write_text(text)

    def secret(self, which: str) -> str:
        return self._secret(which, "AWSCURRENT").read_text()

    def _secret(self, which: str, stage: str) -> Path:
        name = self.parameters[which].rpartition(":")[2]
        return self.prefix / "aws" / f"{name}.{stage}"

    @property
    def published(self) -> str:
        name = self.parameters["certificate_parameter"].replace("/", "_")
        return (self.prefix / "aws" / name).read_text()

    def trust(self) -> ssl.SSLContext:
        """Return what trusts the published certificates and no other."""
        return ssl.create_default_context(cadata=self.published)

    def client(self, url: str = "", token: str = "", certificates: str = "") -> Cromwell:
        """Return a client such as the functions have, that reads where the server publishes."""
        return Cromwell(
            url or self.url,
            token=Kept(token or (lambda: self.secret("token_secret"))),
            certificates=Kept(certificates or (lambda: self.published)),
        )

    def ask(
        self, method: str, path: str, *, token: str | None = TOKEN, **more: Any
    ) -> urllib3.BaseHTTPResponse:
        """Ask as any program would; no redirect is followed."""
        headers = {**more.pop("headers", {})}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        url = path if "://" in path else f"{self.url}{path}"
        with urllib3.PoolManager(ssl_context=self.trust()) as connections:
            return connections.request(
                method, url, headers=headers, retries=False, redirect=False, **more
            )

    def is_up(self) -> bool:
        try:
            return self.ask("GET", "/engine/v1/version").status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def pid(self) -> int:
        """Return the process id of Cromwell, 0 if it does not run."""
        told = self.supervisorctl("pid", "cromwell-server").strip()
        return int(told) if told.isdigit() else 0

    def log(self, name: str) -> str:
        return (self.prefix / "var/log" / name).read_text()
