"""When the proxy's certificate is made, published and replaced, on any day one likes."""

from __future__ import annotations

import os
import ssl
import time
from pathlib import Path

import instance
import pytest
from renew_certificate import DAY_S, publish, renew

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
