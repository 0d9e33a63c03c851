"""The database's bootstrap on a real MariaDB, and what its user can do then, over TLS."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from renew_certificate import renew

from server.render import limits
from tests.system.server_here import ROOT, ServerHere, free_port, until

MASTER = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:master-AbCdEf"
PASSWORD = "p'a\"s\\s`; DROP TABLE x; -- ${w} $(o) #größe\\"


class Database:
    """A MariaDB of our own on a loopback port, with a certificate for localhost."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.socket = folder / "s"
        data = folder / "data"
        assert renew(folder / "tls", ["localhost"], time.time())
        self.certificate = folder / "tls/server.pem"
        made = ["mariadb-install-db", "--no-defaults", f"--datadir={data}"]
        made += ["--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(made, capture_output=True, check=True)
        self.process = subprocess.Popen(
            [
                *("mariadbd", "--no-defaults", f"--user={data.owner()}", f"--datadir={data}"),
                *(f"--socket={self.socket}", f"--port={self.port}", "--bind-address=127.0.0.1"),
                *(f"--ssl-cert={self.certificate}", f"--ssl-key={self.certificate}"),
                *("--skip-log-bin", "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=4M"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(lambda: self.as_root("SELECT 1").returncode == 0, "the database")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()

    def as_root(self, sql: str) -> subprocess.CompletedProcess[str]:
        return _sql(["--user=root", f"--socket={self.socket}"], sql)

    def as_user(
        self, sql: str, password: str = PASSWORD, *, tls: bool = True
    ) -> subprocess.CompletedProcess[str]:
        trusting = [f"--ssl-ca={self.certificate}", "--ssl-verify-server-cert"]
        where = ["--protocol=tcp", "--host=localhost", f"--port={self.port}", "--user=cromwell"]
        return _sql([*where, *(trusting if tls else ["--skip-ssl"]), f"--password={password}"], sql)


def _sql(words: list[str], sql: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["mariadb", "--no-defaults", "--batch", "--skip-column-names", *words],
        input=sql,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database(tmp_path_factory.mktemp("db"))
    database.as_root(
        "CREATE USER 'master'@'%' IDENTIFIED BY 'm\"aster';"
        "GRANT ALL ON *.* TO 'master'@'%' WITH GRANT OPTION;"
        "CREATE DATABASE others;"
    )
    yield database
    database.stop()


@pytest.fixture
def server(database: Database) -> Iterator[ServerHere]:
    """Return a machine on which the bootstrap has been run."""
    server = ServerHere(database_host="localhost", database_port=database.port)
    server.lay_out()
    ca = server.prefix / "etc/dropwell/database-ca.pem"
    pem = database.certificate.read_text()
    ca.write_text(pem[pem.index("-----BEGIN CERTIFICATE") :])
    tell(server, "master-AbCdEf", "master", 'm"aster')
    tell(server, "database-AbCdEf", "cromwell", PASSWORD)
    told = run(server)
    assert (told.returncode, told.stderr) == (0, "")
    yield server
    server.clear()


def tell(server: ServerHere, secret: str, username: str, password: str) -> None:
    text = json.dumps({"username": username, "password": password})
    (server.prefix / f"aws/{secret}.AWSCURRENT").write_text(text)


def run(server: ServerHere) -> subprocess.CompletedProcess[str]:
    return server.script("bootstrap_database.py", MASTER)


def test_the_user_logs_in_over_tls(server: ServerHere, database: Database) -> None:
    told = database.as_user("SELECT CURRENT_USER(); SHOW STATUS LIKE 'Ssl_cipher'")
    assert told.stderr == ""
    user, cipher = told.stdout.splitlines()
    assert user == "cromwell@%"
    assert cipher.startswith("Ssl_cipher\tTLS_")


def test_without_tls_it_is_not_let_in(server: ServerHere, database: Database) -> None:
    told = database.as_user("SELECT 1", tls=False)
    assert "Access denied" in told.stderr


def test_a_second_run_changes_nothing(server: ServerHere, database: Database) -> None:
    database.as_user("CREATE TABLE cromwell.kept (a INT); INSERT INTO cromwell.kept VALUES (7)")
    told = run(server)
    assert told.returncode == 0
    assert told.stdout == "The user cromwell and its schema are as they should be.\n"
    assert database.as_user("SELECT a FROM cromwell.kept; DROP TABLE cromwell.kept").stdout == "7\n"


def test_it_has_its_own_schema_and_no_other(server: ServerHere, database: Database) -> None:
    own = "CREATE TABLE t (a LONGBLOB); ALTER TABLE t ADD b INT; DROP TABLE t"
    assert database.as_user(f"USE cromwell; {own}").stderr == ""
    for sql in (
        "SELECT * FROM mysql.user",
        "CREATE DATABASE mine",
        "CREATE TABLE others.t (a INT)",
        "CREATE USER 'more'",
        "GRANT SELECT ON cromwell.* TO 'master'@'%'",
    ):
        assert "denied" in database.as_user(sql).stderr, sql


def test_after_a_rotation_the_new_password_counts(server: ServerHere, database: Database) -> None:
    tell(server, "database-AbCdEf", "cromwell", "the-next-one")
    assert run(server).returncode == 0
    assert database.as_user("SELECT 1", "the-next-one").stdout == "1\n"
    assert "Access denied" in database.as_user("SELECT 1").stderr


def test_another_server_than_the_authorities_know_is_not_told_a_password(
    server: ServerHere, database: Database
) -> None:
    other = server.prefix / "other"
    assert renew(other, ["localhost"], time.time())
    (server.prefix / "etc/dropwell/database-ca.pem").write_bytes(
        (other / "server.pem").read_bytes()
    )
    told = run(server)
    assert told.returncode == 1
    assert "The database says: " in told.stderr
    assert "certificate" in told.stderr


@pytest.mark.parametrize(
    ("secret", "says"),
    [
        ("plain text", "has no username and password"),
        ('{"username": "root", "password": "x"}', "username is 'root', not 'cromwell'"),
        ('{"username": "cromwell", "password": "a\\nb"}', "holds control characters"),
    ],
)
def test_a_secret_that_is_none_is_told_without_what_it_holds(
    server: ServerHere, secret: str, says: str
) -> None:
    server.tell_secret("database_secret", secret)
    told = run(server)
    assert told.returncode == 1
    assert says in told.stderr
    assert secret not in told.stderr


class DataApi:
    """The HTTP endpoint of a database: each statement is a session of its own, over TLS."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def execute_statement(self, sql: str, **_: str) -> None:
        trusting = [f"--ssl-ca={self.database.certificate}", "--ssl-verify-server-cert"]
        where = ["--protocol=tcp", "--host=localhost", f"--port={self.database.port}"]
        told = _sql([*where, *trusting, "--user=master", '--password=m"aster'], sql)
        assert (told.returncode, told.stderr) == (0, "")


def function_of_the_stack() -> ModuleType:
    path = ROOT / "stacks/database_user.py"
    spec = importlib.util.spec_from_file_location("database_user", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_stacks_function_makes_the_same_user_however_often(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = function_of_the_stack()
    monkeypatch.setenv("CLUSTER", "arn:cluster")
    monkeypatch.setenv("MASTER_SECRET", MASTER)
    for password in ("first-Password.0", "first-Password.0", "another~One+1"):
        for sql in function.statements("cromwell", "cromwell", password):
            function.execute(DataApi(database), sql)
        made = "CREATE TABLE cromwell.t (a INT); DROP TABLE cromwell.t; SELECT CURRENT_USER()"
        assert database.as_user(made, password).stdout == "cromwell@%\n"
        assert "denied" in database.as_user("CREATE TABLE others.t (a INT)", password).stderr
        assert "Access denied" in database.as_user("SELECT 1", password, tls=False).stderr
    assert "Access denied" in database.as_user("SELECT 1", "first-Password.0").stderr


def test_the_packets_that_follow_from_a_body_limit_are_taken(database: Database) -> None:
    for mib in (8, 16, 64, 100, 128):
        size = limits(mib)["max_allowed_packet"]
        told = database.as_root(
            f"SET GLOBAL max_allowed_packet = {size}; SELECT @@GLOBAL.max_allowed_packet;"
        )
        assert told.stdout == f"{size}\n"
