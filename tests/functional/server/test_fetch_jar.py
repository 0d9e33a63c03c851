"""Fetching the jar: from a real HTTP server, well-behaved or not, and from S3 by its command."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "server/tree/opt/dropwell/fetch_jar.py"
JAR = b"PK\x03\x04" + bytes(range(256)) * 12_000
SHA = hashlib.sha256(JAR).hexdigest()
PAGE = b"<html><body>403 Forbidden</body></html>"
REFUSED = "http://127.0.0.1:9/cromwell.jar"  # nothing listens on the discard port


class Mirror(ThreadingHTTPServer):
    """Serves the jar with ranges; `tricks` says how the next answers are spoiled."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/cromwell-92.jar"
        self.body = JAR
        self.ranges = True
        self.tricks: deque[str] = deque()
        self.asked: list[str] = []


class _Answer(BaseHTTPRequestHandler):
    server: Mirror

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.server.asked.append(wanted)
        trick = self.server.tricks.popleft() if self.server.tricks else ""
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", self.server.url)
            self.end_headers()
        elif trick.isdigit():
            self.send_response(int(trick))
            self.send_header("Content-Length", str(len(PAGE)))
            self.end_headers()
            self.wfile.write(PAGE)
        else:
            self._serve(wanted, cut=trick == "cut")

    def _serve(self, wanted: str, *, cut: bool) -> None:
        body = self.server.body
        begin = int(wanted[6:-1]) if wanted and self.server.ranges else 0
        if begin and begin >= len(body):
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(body) - begin))
        self.end_headers()
        self.wfile.write(body[begin : len(body) // 2 if cut else None])
        self.close_connection = True


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with Mirror() as mirror:
        thread = threading.Thread(target=mirror.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield mirror
        mirror.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "opt/cromwell/cromwell.jar"


def fetch(
    url: str, target: Path, sha256: str = SHA, path: str = "", tries: int = 3
) -> subprocess.CompletedProcess[str]:
    proxies = {name for name in os.environ if name.lower().endswith("_proxy")}
    env = {name: value for name, value in os.environ.items() if name not in proxies}
    return subprocess.run(
        [sys.executable, SCRIPT, url, sha256, target, f"--tries={tries}", "--pause=0.01"],
        env={**env, "PATH": path + os.pathsep + os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )


def left(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def test_the_right_jar_is_put_in_place(mirror: Mirror, target: Path) -> None:
    told = fetch(mirror.url, target)
    assert (told.returncode, told.stdout) == (0, f"{target}: fetched\n")
    assert target.read_bytes() == JAR
    assert target.stat().st_mode & 0o777 == 0o644
    assert left(target) == ["cromwell.jar"]


def test_a_second_run_fetches_nothing(mirror: Mirror, target: Path) -> None:
    fetch(mirror.url, target)
    told = fetch(mirror.url, target, sha256=SHA.upper())
    assert (told.returncode, told.stdout) == (0, f"{target}: already there\n")
    assert len(mirror.asked) == 1


def test_another_version_takes_the_place_of_the_one_there(mirror: Mirror, target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.write_bytes(b"an older jar")
    assert fetch(mirror.url, target).returncode == 0
    assert target.read_bytes() == JAR


def test_a_redirect_is_followed(mirror: Mirror, target: Path) -> None:
    assert fetch(mirror.url.replace("cromwell-92.jar", "moved"), target).returncode == 0


def test_a_wrong_checksum_leaves_what_was_there(mirror: Mirror, target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.write_bytes(b"an older jar")
    told = fetch(mirror.url, target, sha256="0" * 64)
    assert told.returncode == 1
    assert f"its sha256 is {SHA}, not {'0' * 64}." in told.stderr
    assert len(mirror.asked) == 1
    assert left(target) == ["cromwell.jar"]
    assert target.read_bytes() == b"an older jar"


@pytest.mark.parametrize("code", ["403", "404"])
def test_a_refusal_is_not_tried_again(mirror: Mirror, target: Path, code: str) -> None:
    mirror.tricks.append(code)
    told = fetch(mirror.url, target)
    assert told.returncode == 1
    assert f"the server says {code}" in told.stderr
    assert left(target) == []
    assert len(mirror.asked) == 1


def test_a_web_page_in_the_jars_place_is_told(mirror: Mirror, target: Path) -> None:
    mirror.body = PAGE
    told = fetch(mirror.url, target)
    assert told.returncode == 1
    assert "It looks like a web page." in told.stderr
    assert left(target) == []


def test_a_truncated_download_is_taken_up_where_it_ended(mirror: Mirror, target: Path) -> None:
    mirror.tricks.append("cut")
    assert fetch(mirror.url, target).returncode == 0
    assert target.read_bytes() == JAR
    assert mirror.asked == ["", f"bytes={len(JAR) // 2}-"]


def test_what_an_earlier_run_left_is_taken_up(mirror: Mirror, target: Path) -> None:
    mirror.tricks.append("cut")
    assert fetch(mirror.url, target, tries=1).returncode == 1
    assert left(target) == ["cromwell.jar.part"]
    assert fetch(mirror.url, target).returncode == 0
    assert left(target) == ["cromwell.jar"]


def test_a_server_without_ranges_sends_all_of_it_again(mirror: Mirror, target: Path) -> None:
    mirror.ranges = False
    mirror.tricks.append("cut")
    assert fetch(mirror.url, target).returncode == 0
    assert target.read_bytes() == JAR


@pytest.mark.parametrize("rest", [b"another version's", JAR + b"and more"])
def test_a_rest_that_does_not_fit_is_thrown_away(mirror: Mirror, target: Path, rest: bytes) -> None:
    target.parent.mkdir(parents=True)
    target.with_name("cromwell.jar.part").write_bytes(rest)
    assert fetch(mirror.url, target).returncode == 0
    assert target.read_bytes() == JAR


def test_a_busy_server_is_asked_again(mirror: Mirror, target: Path) -> None:
    mirror.tricks += ["503", "429"]
    assert fetch(mirror.url, target).returncode == 0


def test_it_gives_up_in_the_end_and_says_why(target: Path) -> None:
    told = fetch(REFUSED, target)
    assert told.returncode == 1
    assert "Given up after 3 tries." in told.stderr
    assert "refused" in told.stderr
    assert not target.exists()


@pytest.mark.parametrize(
    ("url", "sha256", "says"),
    [
        ("file:///etc/passwd", SHA, "neither an https:// nor an s3:// address"),
        ("https://host", SHA, "neither an https:// nor an s3:// address"),
        ("https://host/jar", "latest", "'latest' is no sha256"),
    ],
)
def test_what_cannot_be_fetched_is_refused(target: Path, url: str, sha256: str, says: str) -> None:
    told = fetch(url, target, sha256=sha256)
    assert told.returncode == 1
    assert says in told.stderr


def test_without_a_checksum_https_has_to_vouch(mirror: Mirror, target: Path) -> None:
    told = fetch(mirror.url, target, sha256="unchecked")
    assert told.returncode == 1
    assert "neither an https:// nor an s3:// address" in told.stderr
    assert mirror.asked == []


class TestFromS3:
    """With a stub of the aws command that copies from a folder or fails as it is told."""

    URL = "s3://jars/cromwell-92.jar"

    @pytest.fixture
    def aws(self, tmp_path: Path) -> Path:
        command = tmp_path / "bin/aws"
        command.parent.mkdir()
        command.write_text(
            "#!/bin/bash\n"
            f'echo "$@" >>{tmp_path}/asked\n'
            f"if [ -s {tmp_path}/fails ]; then head -1 {tmp_path}/fails >&2;"
            f" sed -i 1d {tmp_path}/fails; exit 1; fi\n"
            f'cp {tmp_path}/jar "$5"\n'
        )
        command.chmod(0o755)
        (tmp_path / "jar").write_bytes(JAR)
        return tmp_path

    def test_the_right_jar_is_put_in_place(self, aws: Path, target: Path) -> None:
        assert fetch(self.URL, target, path=f"{aws}/bin").returncode == 0
        assert target.read_bytes() == JAR
        asked = (aws / "asked").read_text()
        assert re.fullmatch(r"s3 cp --only-show-errors s3://jars/cromwell-92.jar \S+\n", asked)

    def test_or_it_vouches_itself(self, aws: Path, target: Path) -> None:
        assert fetch(self.URL, target, path=f"{aws}/bin", sha256="unchecked").returncode == 0
        assert target.read_bytes() == JAR
        assert left(target) == ["cromwell.jar"]

    def test_a_wrong_one_is_not(self, aws: Path, target: Path) -> None:
        (aws / "jar").write_bytes(JAR[:-1])
        told = fetch(self.URL, target, path=f"{aws}/bin")
        assert told.returncode == 1
        assert "its sha256 is" in told.stderr
        assert left(target) == []

    def test_what_may_pass_is_tried_again(self, aws: Path, target: Path) -> None:
        (aws / "fails").write_text("Could not connect to the endpoint URL\n")
        assert fetch(self.URL, target, path=f"{aws}/bin").returncode == 0

    def test_a_missing_right_is_told_at_once(self, aws: Path, target: Path) -> None:
        words = "An error occurred (403) when calling the HeadObject operation: Forbidden"
        (aws / "fails").write_text(f"fatal error: {words}\n")
        told = fetch(self.URL, target, path=f"{aws}/bin")
        assert told.returncode == 1
        assert words in told.stderr
        assert len((aws / "asked").read_text().splitlines()) == 1
