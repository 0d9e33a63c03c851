"""The Cromwell server as it is deployed, over HTTPS: what it lets through, and how it stays up."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import threading
import time
import uuid
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from dropwell.cromwell import Cromwell
from dropwell.errors import CromwellAway, NotLetIn, Refused
from dropwell.ports import Submission
from server.render import render, write
from tests.stubs.door import certificate, key_and_certificate
from tests.stubs.server import PARAMETERS
from tests.system.server_here import TOKEN, ServerHere, until

LIMIT = 8 << 20
WORKFLOWS = "/api/workflows/v1"


@pytest.fixture(scope="module")
def server() -> Iterator[ServerHere]:
    with ServerHere() as server:
        yield server


def submission(**change: Any) -> Submission:
    given: dict[str, Any] = {
        "run_id": str(uuid.uuid4()),
        "source": "version 1.0\nworkflow w {}\n",
        "inputs": {},
        "options": {},
        "labels": {},
        "on_hold": True,
        **change,
    }
    return Submission(**given)


def form(size: int) -> tuple[bytes, str]:
    """Return a submission whose body has exactly so many bytes."""

    def encoded(zipped: int) -> tuple[bytes, str]:
        fields: dict[str, str | bytes] = {
            "workflowSource": "version 1.0\nworkflow w {}\n",
            "workflowOnHold": "true",
            "workflowDependencies": b"z" * zipped,
        }
        return urllib3.encode_multipart_formdata(fields, boundary="-" * 20 + "dropwell")

    return encoded(size - len(encoded(0)[0]))


def post(server: ServerHere, size: int, **more: Any) -> urllib3.BaseHTTPResponse:
    body, content_type = form(size)
    assert len(body) == size
    headers = {"Content-Type": content_type}
    return server.ask("POST", WORKFLOWS, body=body, headers=headers, **more)


class TestOverHttps:
    def test_our_client_reads_and_submits(self, server: ServerHere) -> None:
        client = server.client()
        assert client.version() == "92"
        posted = submission()
        assert client.submit(posted) == "On Hold"
        assert client.status(posted.run_id) == "On Hold"

    def test_the_certificate_is_for_its_names_only(self, server: ServerHere) -> None:
        assert server.client(url=f"https://localhost:{server.https}").version() == "92"
        with (
            urllib3.PoolManager(
                ssl_context=server.trust(), server_hostname="elsewhere.internal"
            ) as elsewhere,
            pytest.raises(urllib3.exceptions.SSLError, match="elsewhere"),
        ):
            elsewhere.request("GET", server.url, retries=False)

    def test_who_does_not_pin_it_does_not_trust_it(self, server: ServerHere) -> None:
        with pytest.raises(CromwellAway, match="certificate"):
            Cromwell(server.url).version()

    def test_our_client_says_why_it_is_not_let_in(self, server: ServerHere) -> None:
        another = certificate(key_and_certificate())
        unnamed = f"https://127.1:{server.https}"  # leads here, and is no name of the certificate
        for client, said in (
            (server.client(certificates=another), "none of the pinned ones"),
            (server.client(unnamed), "not for this address"),
            (server.client(token="another-token-of-some-server"), "refuses our token"),
            (server.client(f"http://localhost:{server.http}"), "nothing is sent in the clear"),
        ):
            with pytest.raises(NotLetIn, match=said):
                client.submit(submission())

    def test_old_tls_is_refused(self, server: ServerHere) -> None:
        told = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{server.https}", "-tls1_1"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert told.returncode != 0

    def test_the_swagger_page_comes_through(self, server: ServerHere) -> None:
        answer = server.ask("GET", "/swagger")
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/html")
        assert "<table>" in answer.data.decode()

    def test_cromwells_own_refusals_come_through(self, server: ServerHere) -> None:
        answer = server.ask("GET", f"{WORKFLOWS}/nonsense/status")
        assert (answer.status, answer.json()["message"]) == (
            400,
            "Invalid workflow ID: 'nonsense'.",
        )


class TestTheToken:
    @pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], TOKEN.upper(), TOKEN + "x"])
    def test_without_it_nothing_is_answered(self, server: ServerHere, token: str | None) -> None:
        for method, path in (("GET", "/engine/v1/version"), ("POST", WORKFLOWS), ("GET", "/")):
            answer = server.ask(method, path, token=token)
            assert answer.status == 401
            assert answer.headers["Content-Type"] == "application/json"
            assert answer.json()["status"] == "fail"
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="Cromwell"'

    def test_a_large_submission_without_it_is_refused_all_the_same(
        self, server: ServerHere
    ) -> None:
        assert post(server, LIMIT, token="wrong").status == 401

    def test_a_browser_gives_it_as_a_password(self, server: ServerHere) -> None:
        page = {"Accept": "text/html"}
        asked = server.ask("GET", "/swagger", token=None, headers=page)
        assert asked.headers["WWW-Authenticate"].startswith('Basic realm="Cromwell"')
        page["Authorization"] = "Basic " + b64encode(f"dropwell:{TOKEN}".encode()).decode()
        assert server.ask("GET", "/swagger", token=None, headers=page).status == 200
        page["Sec-Fetch-Site"] = "cross-site"
        other = server.ask("POST", WORKFLOWS, token=None, headers=page)
        assert (other.status, other.json()["status"]) == (403, "fail")
        followed = server.ask("GET", "/swagger", token=None, headers=page)
        assert followed.status == 200

    def test_a_new_one_is_taken_and_the_old_one_refused(self, server: ServerHere) -> None:
        def status(token: str) -> int:
            return server.ask("GET", "/engine/v1/version", token=token).status

        client, new = server.client(), "second-token-of-this-server"
        assert client.version() == "92"
        server.tell_secret("token_secret", new, "AWSPENDING")
        assert server.script("refresh_token.py").returncode == 0
        until(lambda: status(new) == 200, "the pending token")
        assert status(TOKEN) == 200
        server.tell_secret("token_secret", new)
        server.script("refresh_token.py")
        until(lambda: status(TOKEN) == 401, "the old token's end")
        assert status(new) == 200
        assert client.version() == "92"
        (server.prefix / "aws/token-AbCdEf.AWSPENDING").unlink()
        server.tell_secret("token_secret", TOKEN)
        server.script("refresh_token.py")
        # For a moment the proxy's old workers answer some of the requests.
        until(lambda: {status(TOKEN) for _ in range(10)} == {200}, "the first token again")

    def test_one_that_cannot_be_read_stays_as_it_was(self, server: ServerHere) -> None:
        down = server.prefix / "aws/down"
        down.touch()
        told = server.script("refresh_token.py")
        down.unlink()
        assert told.returncode == 1
        assert "the last one stays" in told.stderr
        assert server.is_up()

    def test_it_is_in_no_log_and_for_root_only(self, server: ServerHere) -> None:
        server.ask("GET", "/engine/v1/version")
        assert TOKEN not in server.log("dropwell/proxy-access.log")
        callers = server.prefix / "etc/dropwell/tokens/callers.map"
        assert callers.stat().st_mode & 0o777 == 0o600


class TestBodies:
    def test_a_submission_at_the_limit_is_taken(self, server: ServerHere) -> None:
        answer = post(server, LIMIT)
        assert (answer.status, answer.json()["status"]) == (201, "On Hold")

    def test_one_byte_more_is_refused_in_json(self, server: ServerHere) -> None:
        answer = post(server, LIMIT + 1)
        assert answer.status == 413
        assert answer.headers["Content-Type"] == "application/json"
        assert "larger than the 8 MiB" in answer.json()["message"]

    def test_our_client_hears_so_too(self, server: ServerHere) -> None:
        with pytest.raises(Refused, match="larger than Cromwell, or the proxy"):
            server.client().submit(submission(dependencies=b"z" * LIMIT))

    def test_over_http_a_submission_is_sent_again_not_lost(self, server: ServerHere) -> None:
        body, content_type = form(LIMIT)
        headers = {"Content-Type": content_type, "Authorization": f"Bearer {TOKEN}"}
        http = f"http://localhost:{server.http}{WORKFLOWS}"
        first = server.ask("POST", http, body=body, headers=headers)
        assert first.status == 308
        assert first.headers["Location"] == f"https://localhost:{server.https}{WORKFLOWS}"
        with urllib3.PoolManager(ssl_context=server.trust()) as connections:
            retries = urllib3.Retry(3, remove_headers_on_redirect=[])
            answer = connections.request("POST", http, body=body, headers=headers, retries=retries)
        assert (answer.status, answer.json()["status"]) == (201, "On Hold")

    def test_http_on_the_https_port_is_sent_there_too(self, server: ServerHere) -> None:
        answer = server.ask("POST", f"http://localhost:{server.https}{WORKFLOWS}?a=b", body=b"x")
        assert answer.status == 308
        assert answer.headers["Location"] == f"https://localhost:{server.https}{WORKFLOWS}?a=b"


class TestStayingUp:
    """Each finds the server up, and leaves it so."""

    def test_cromwell_is_told_its_configuration_and_the_databases_password(
        self, server: ServerHere
    ) -> None:
        told = (server.prefix / "var/lib/cromwell/told").read_text().splitlines()
        assert told == [
            "-XX:MaxRAMPercentage=75.0",
            "-XX:+ExitOnOutOfMemoryError",
            f"-Djava.io.tmpdir={server.prefix}/var/lib/cromwell/tmp",
            f"-Dconfig.file={server.prefix}/etc/dropwell/cromwell.conf",
            "-jar",
            f"{server.prefix}/opt/cromwell/cromwell.jar",
            "server",
            "eu-central-1",
            "cromwell",
            "p'\"a\\${s}",
        ]

    def test_java_trusts_the_databases_authority(self, server: ServerHere) -> None:
        store = server.prefix / "var/lib/dropwell/truststore/database-ca.p12"
        told = subprocess.run(
            ["keytool", "-list", "-keystore", store, "-storepass", "changeit"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "trustedCertEntry" in told.stdout

    def test_killed_it_is_back(self, server: ServerHere) -> None:
        before = server.pid()
        os.kill(before, signal.SIGKILL)
        until(lambda: server.pid() not in (0, before) and server.is_up(), "Cromwell again")

    def test_stop_sends_term_and_waits_for_what_is_left_to_do(self, server: ServerHere) -> None:
        begun = time.monotonic()
        assert server.supervisorctl("stop", "cromwell-server") == "cromwell-server: stopped\n"
        assert time.monotonic() - begun > 2
        supervisor = server.log("dropwell/supervisord.log")
        assert "waiting for cromwell-server to stop" in supervisor
        assert "killing" not in supervisor.rpartition("waiting for")[2]
        answer = server.ask("GET", "/engine/v1/version")
        assert answer.status == 502
        assert answer.json()["status"] == "error"
        with pytest.raises(CromwellAway):
            server.client().version()
        assert server.supervisorctl("start", "cromwell-server") == "cromwell-server: started\n"
        until(server.is_up, "Cromwell again")

    def test_an_edit_and_a_restart_take_effect(self, server: ServerHere) -> None:
        conf = server.prefix / "etc/dropwell/cromwell.conf"
        text = conf.read_text()
        conf.write_text(
            text.replace(f"max-content-length = {9 << 20}", "max-content-length = 1048576")
        )
        server.supervisorctl("restart", "cromwell-server")
        until(server.is_up, "Cromwell")
        assert post(server, 2 << 20).status == 413
        conf.write_text(text)
        server.supervisorctl("restart", "cromwell-server")
        until(server.is_up, "Cromwell")
        assert post(server, 2 << 20).status == 201

    def test_a_secret_that_cannot_be_read_yet_is_waited_for(self, server: ServerHere) -> None:
        down = server.prefix / "aws/down"
        server.supervisorctl("stop", "cromwell-server")
        down.touch()
        server.supervisorctl("start", "cromwell-server")
        until(
            lambda: "not readable yet" in server.log("cromwell/cromwell-server.log")[-1000:],
            "word of the secret",
        )
        down.unlink()
        until(server.is_up, "Cromwell")

    def test_a_new_secret_of_the_databases_starts_it_anew(self, server: ServerHere) -> None:
        before = server.pid()
        assert server.script("follow_secret.py").stdout == ""
        assert server.pid() == before
        old = server.secret("database_secret")
        server.tell_secret("database_secret", old.replace("p'", "q'"))
        told = server.script("follow_secret.py")
        assert "Cromwell is started anew.\n" in told.stdout
        until(server.is_up, "Cromwell")
        assert server.pid() != before
        assert (server.prefix / "var/lib/cromwell/told").read_text().endswith("q'\"a\\${s}")
        server.tell_secret("database_secret", old)
        server.supervisorctl("stop", "cromwell-server")
        assert server.script("follow_secret.py").stdout == ""  # stopped, it stays so
        assert server.pid() == 0
        server.supervisorctl("start", "cromwell-server")
        until(server.is_up, "Cromwell")

    def test_a_slow_answer_is_waited_for(self, server: ServerHere) -> None:
        """Stopped in the middle of it, Cromwell answers late; the proxy is still there."""
        pid = server.pid()
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(4, os.kill, (pid, signal.SIGCONT)).start()
        begun = time.monotonic()
        assert server.client().version() == "92"
        assert time.monotonic() - begun > 3


class TestTheCertificate:
    def test_it_can_be_pinned_and_ends_in_a_year(self, server: ServerHere) -> None:
        held = server.prefix / "etc/dropwell/tls/server.pem"
        assert held.stat().st_mode & 0o777 == 0o600
        assert server.published in held.read_text()
        assert "PRIVATE" not in server.published

    def test_it_is_renewed_without_downtime(self, server: ServerHere) -> None:
        first, seen, done = server.trust(), [], threading.Event()
        client = server.client()

        def keep_asking() -> None:
            while not done.is_set():
                seen.append((server.ask("GET", "/engine/v1/version").status, client.version()))

        asking = threading.Thread(target=keep_asking)
        asking.start()
        try:
            assert server.script("renew_certificate.py", "--early").returncode == 0
            both = server.published
            assert both.count("BEGIN CERTIFICATE") == 2
            server.script("renew_certificate.py")
            assert server.published == both  # it is too early
            published = server.prefix / "etc/dropwell/tls/published.pem"
            days_ago = time.time() - 3 * 86400
            os.utime(published, (days_ago, days_ago))
            assert (
                server.script("renew_certificate.py").stdout == "The proxy has a new certificate.\n"
            )
            until(lambda: _served(server) in _held(server), "the new certificate")
            time.sleep(0.5)
        finally:
            done.set()
            asking.join()
        assert set(seen) == {(200, "92")}
        assert len(seen) > 3
        assert server.published == both  # while the old one may still be met
        server.script("renew_certificate.py")
        assert server.published.count("BEGIN CERTIFICATE") == 1
        assert server.published in both
        with (
            pytest.raises(urllib3.exceptions.SSLError),
            urllib3.PoolManager(ssl_context=first) as p,
        ):
            p.request("GET", server.url, retries=False)


def test_a_certificate_of_ones_own_comes_from_its_secret(server: ServerHere) -> None:
    """Here the one that the server has made itself; beside it, for it is not asked to stop."""
    arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:own-AbCdEf"
    other = ServerHere(certificate_secret=arn)
    other.lay_out()
    held = other.prefix / "etc/dropwell/tls/server.pem"
    told = other.script("renew_certificate.py")
    assert told.returncode == 1
    assert "keeps the certificate that it has" in told.stderr
    assert "BEGIN CERTIFICATE" in held.read_text()  # so that the proxy can start
    other.tell_secret("certificate_secret", _held(server))
    told = other.script("renew_certificate.py")
    assert (told.returncode, told.stdout) == (0, "The proxy has a new certificate.\n")
    assert held.read_text().strip() == _held(server).strip()
    assert "put-parameter" not in (other.prefix / "aws/asked").read_text()
    other.clear()


def test_the_units_are_what_systemd_takes(tmp_path: Path) -> None:
    """Verified below a root that has the programs they name and this machine's targets."""
    write(render(PARAMETERS), tmp_path)
    for program in ("usr/sbin/nginx", "opt/dropwell/supervisor/bin/supervisord"):
        (tmp_path / program).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)
    theirs = Path("usr/lib/systemd/system")
    (tmp_path / theirs).mkdir(parents=True)
    for target in Path("/", theirs).glob("*.target"):
        (tmp_path / theirs / target.name).write_bytes(target.read_bytes())
    units = sorted(unit.name for unit in (tmp_path / "etc/systemd/system").iterdir())
    assert len(units) == 8
    told = subprocess.run(
        ["systemd-analyze", "verify", f"--root={tmp_path}", "--man=no", *units],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stderr) == (0, "")


def _held(server: ServerHere) -> str:
    return (server.prefix / "etc/dropwell/tls/server.pem").read_text()


def _served(server: ServerHere) -> str:
    return ssl.get_server_certificate(("127.0.0.1", server.https))
