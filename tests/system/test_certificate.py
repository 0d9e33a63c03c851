"""When the proxy's certificate is made, published and replaced, on any day one likes."""

from __future__ import annotations

import os
import ssl
import subprocess
import time
from pathlib import Path

import instance
import pytest
from renew_certificate import DAY_S, Unfit, publish, renew, take

NAMES = ["cromwell.one.internal", "localhost", "127.0.0.1"]
PARAMETER = "/gwfcore/one/cromwell/certificate"


class Parameters:
    """SSM, as the aws command shows it."""

    def __init__(self) -> None:
        self.text: str | None = None
        self.puts = 0
        self.down = False

    def aws(self, *words: str) -> str:
        if self.down:
            raise instance.Unavailable("An error occurred (ThrottlingException): slow down")
        if words[1] == "put-parameter":
            self.text, self.puts = words[-1], self.puts + 1
            return ""
        if self.text is None:
            raise instance.Unavailable("An error occurred (ParameterNotFound): none")
        return self.text.strip()


@pytest.fixture
def ssm(monkeypatch: pytest.MonkeyPatch) -> Parameters:
    parameters = Parameters()
    monkeypatch.setattr(instance, "aws", parameters.aws)
    return parameters


@pytest.fixture
def tls(tmp_path: Path) -> Path:
    """Return a folder with a certificate that has just been made and published by nobody."""
    assert renew(tmp_path / "tls", NAMES, time.time())
    return tmp_path / "tls"


def in_days(days: float) -> float:
    return time.time() + days * DAY_S


def published_at(tls: Path, when: float) -> None:
    os.utime(tls / "published.pem", (when, when))


def test_the_first_is_made_at_once_for_its_names(tls: Path) -> None:
    assert ssl.create_default_context(
        cadata=(tls / "server.pem").read_text()
    ).cert_store_stats() == {
        "x509": 1,
        "crl": 0,
        "x509_ca": 0,
    }
    assert (tls / "server.pem").stat().st_mode & 0o777 == 0o600
    assert tls.stat().st_mode & 0o777 == 0o700


def test_while_it_lasts_nothing_is_done(tls: Path) -> None:
    before = (tls / "server.pem").read_text()
    assert not renew(tls, NAMES, in_days(300))
    assert (tls / "server.pem").read_text() == before
    assert not (tls / "next.pem").exists()


def test_another_name_makes_another_certificate_at_once(tls: Path) -> None:
    before = (tls / "server.pem").read_text()
    assert renew(tls, [*NAMES, "10.0.0.7"], time.time())
    assert (tls / "server.pem").read_text() != before


def test_one_that_ended_or_cannot_be_read_is_replaced_at_once(tls: Path) -> None:
    assert renew(tls, NAMES, in_days(366))
    (tls / "server.pem").write_text("no certificate")
    assert renew(tls, NAMES, time.time())


def test_the_next_is_published_two_days_before_it_is_used(tls: Path, ssm: Parameters) -> None:
    publish(tls, PARAMETER)
    assert not renew(tls, NAMES, in_days(325))
    assert (tls / "next.pem").exists()
    assert not renew(tls, NAMES, in_days(330)), "it is not published yet"
    publish(tls, PARAMETER)
    assert (ssm.text or "").count("BEGIN CERTIFICATE") == 2
    published_at(tls, in_days(326))
    assert not renew(tls, NAMES, in_days(327))
    assert renew(tls, NAMES, in_days(328.5))
    publish(tls, PARAMETER)
    assert (ssm.text or "").count("BEGIN CERTIFICATE") == 1
    assert (ssm.text or "") in (tls / "server.pem").read_text()


def test_rather_unpublished_than_none(tls: Path) -> None:
    renew(tls, NAMES, in_days(325))
    assert renew(tls, NAMES, in_days(364.5))


def test_what_is_published_already_is_not_put_again(tls: Path, ssm: Parameters) -> None:
    publish(tls, PARAMETER)
    first = (tls / "published.pem").stat().st_mtime_ns
    publish(tls, PARAMETER)
    assert ssm.puts == 1
    assert (tls / "published.pem").stat().st_mtime_ns == first


def test_what_was_changed_there_is_put_right(tls: Path, ssm: Parameters) -> None:
    publish(tls, PARAMETER)
    ssm.text = "something else"
    publish(tls, PARAMETER)
    assert (ssm.text or "") in (tls / "server.pem").read_text()


def test_what_could_not_be_published_does_not_count_as_published(
    tls: Path, ssm: Parameters
) -> None:
    publish(tls, PARAMETER)
    renew(tls, NAMES, in_days(325))
    ssm.down = True
    with pytest.raises(instance.Unavailable, match="slow down"):
        publish(tls, PARAMETER)
    published_at(tls, in_days(300))
    assert not renew(tls, NAMES, in_days(330))


def test_two_fit_into_a_parameter(tls: Path, ssm: Parameters) -> None:
    renew(tls, NAMES, time.time(), early=True)
    publish(tls, PARAMETER)
    assert len(ssm.text or "") < 4096
    assert "PRIVATE" not in (ssm.text or "")


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return key and chain that an authority has signed."""
    folder = tmp_path_factory.mktemp("authority")
    new_key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    for command in (
        f"openssl req -x509 {new_key} -subj /CN=Authority -keyout a.key -out a.pem",
        f"openssl req {new_key} -subj /CN=cromwell.example -keyout own.key -out own.csr",
        "openssl x509 -req -in own.csr -CA a.pem -CAkey a.key -set_serial 7 -days 90 -out own.pem",
    ):
        subprocess.run(command.split(), cwd=folder, capture_output=True, check=True)
    return "".join((folder / name).read_text() for name in ("own.key", "own.pem", "a.pem"))


class TestOnesOwn:
    """A certificate that an authority of the operator's has signed."""

    def test_it_takes_the_place_of_ours_at_once(self, tls: Path, pem: str) -> None:
        renew(tls, NAMES, time.time(), early=True)
        assert take(tls, pem, time.time())
        assert (tls / "server.pem").read_text() == pem
        assert (tls / "server.pem").stat().st_mode & 0o777 == 0o600
        assert sorted(path.name for path in tls.iterdir()) == ["server.pem"]

    def test_the_same_again_is_nothing_new(self, tls: Path, pem: str) -> None:
        take(tls, pem, time.time())
        assert not take(tls, pem, time.time())

    def test_without_it_ours_is_made_again(self, tls: Path, pem: str) -> None:
        take(tls, pem, time.time())
        assert renew(tls, ["cromwell.example"], time.time())
        assert (tls / "server.pem").read_text() != pem

    @pytest.mark.parametrize("what", ["another key", "no key", "nothing", "ended"])
    def test_one_that_cannot_be_served_leaves_what_there_is(
        self, tls: Path, pem: str, what: str
    ) -> None:
        before = (tls / "server.pem").read_text()
        key = before[: before.index("-----BEGIN CERTIFICATE")]
        chain = pem[pem.index("-----BEGIN CERTIFICATE") :]
        given = {"another key": key + chain, "no key": chain, "nothing": "", "ended": pem}[what]
        with pytest.raises(Unfit, match="ended" if what == "ended" else "no key with its cert"):
            take(tls, given, in_days(91))
        assert (tls / "server.pem").read_text() == before
        assert sorted(path.name for path in tls.iterdir()) == ["server.pem"]
