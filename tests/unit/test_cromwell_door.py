"""Cromwell's door, a real one: what opens it, and what is said where it stays shut."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dropwell.cromwell import Cromwell
from dropwell.errors import CromwellAway, NotLetIn
from dropwell.ports import Submission
from tests.stubs.cromwell import CromwellStub, Mode
from tests.stubs.door import (
    ELSEWHERE,
    Kept,
    authority,
    certificate,
    ended,
    key_and_certificate,
    show,
    showing,
    vouched_for,
)

RUN = "e6236763-c518-41d0-9688-432549a8bf7d"
OLD, NEW = key_and_certificate(number=1), key_and_certificate(number=2)
TOKEN = "first.Token+of-this/Server~0123456789"

SUBMISSION = Submission(
    run_id=RUN, source="version 1.0\nworkflow w {}", inputs={}, options={}, labels={}
)


class Door:
    """A Cromwell behind TLS, and a client with what it has read of its keys."""

    def __init__(self, pem: str = OLD) -> None:
        self.tls = showing(pem)
        self.cromwell = CromwellStub(tls=self.tls)
        self.token = Kept(TOKEN)
        self.certificates = Kept(certificate(OLD))
        self.said: list[str] = []

    @property
    def client(self) -> Cromwell:
        return self.at(self.cromwell.url)

    def at(self, url: str) -> Cromwell:
        return Cromwell(
            url,
            token=self.token,
            certificates=self.certificates,
            when_shut_out=self.said.append,
        )

    @property
    def tokens(self) -> list[str]:
        return [sent.headers["Authorization"] for sent in self.cromwell.requests]


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()
    with door.cromwell:
        door.cromwell.token = TOKEN
        yield door


def refused(door: Door, client: Cromwell | None = None) -> str:
    """Return why a submission is not let in; Cromwell takes none."""
    with pytest.raises(NotLetIn) as shut:
        (client or door.client).submit(SUBMISSION)
    assert door.cromwell.accepted == []
    return str(shut.value)


class TestTheCertificate:
    def test_that_is_pinned_is_trusted(self, door):
        assert door.client.submit(SUBMISSION) == "Submitted"
        assert (door.token.reads, door.certificates.reads) == (1, 1)
        assert door.said == []

    def test_that_is_not_pinned_is_refused_and_nothing_is_sent(self, door):
        door.certificates.text = certificate(NEW)
        said = refused(door)
        assert "none of the pinned ones" in said
        assert door.cromwell.requests == []
        assert door.said == [said]

    @pytest.mark.parametrize("shown", [OLD, NEW])
    def test_may_be_any_of_a_list(self, door, shown):
        door.certificates.text = certificate(OLD) + certificate(NEW)
        show(door.tls, shown)
        assert door.client.version() == "92"

    def test_is_read_once_more_when_another_is_shown(self, door):
        client = door.client
        assert client.version() == "92"
        show(door.tls, NEW)
        door.certificates.text = certificate(NEW)
        assert client.submit(SUBMISSION) == "Submitted"
        assert client.status(RUN) == "Submitted"
        assert door.certificates.reads == 2
        assert len(door.cromwell.accepted) == 1

    def test_is_for_its_names_only(self, door):
        client = door.at(door.cromwell.url.replace("127.0.0.1", "localhost"))
        said = refused(door, client)
        assert "not for this address" in said
        assert "localhost" in said
        assert door.cromwell.requests == []

    def test_of_another_host_is_refused_though_it_is_pinned(self, door):
        other = key_and_certificate(ELSEWHERE)
        show(door.tls, other)
        door.certificates.text = certificate(other)
        assert "127.0.0.1" in refused(door)

    def test_that_an_authority_signed_may_be_pinned_by_itself_or_by_that(self, door):
        ours = authority()
        signed = vouched_for(OLD, ours)
        show(door.tls, signed)
        for pinned in (ours, signed):
            door.certificates = Kept(certificate(pinned))
            assert door.client.version() == "92"
        door.certificates = Kept(certificate(OLD))
        assert "none of the pinned ones" in refused(door)

    def test_that_another_has_the_same_authority_does_not_make_it_pinned(self, door):
        ours = authority()
        show(door.tls, vouched_for(OLD, ours))
        door.certificates.text = certificate(vouched_for(NEW, ours))
        assert "none of the pinned ones" in refused(door)

    def test_that_has_ended_is_refused(self, door):
        once = ended(OLD)
        show(door.tls, once)
        door.certificates.text = certificate(once)
        assert "cannot be trusted today: certificate has expired" in refused(door)

    def test_that_nobody_vouches_for_has_to_be_pinned(self, door):
        said = refused(door, Cromwell(door.cromwell.url, token=door.token))
        assert said.startswith("Nobody whom we know vouches for")
        assert "pin it: CromwellCertificateParameter" in said

    @pytest.mark.parametrize(
        "text", [" ", "no certificate", "ü", OLD.partition("-----BEGIN CERT")[0]]
    )
    def test_that_is_none_is_said_to_be_none(self, door, text):
        door.certificates.text = text
        assert "holds no certificate in PEM form" in refused(door)

    def test_that_cannot_be_read_is_said_to_be_missing(self, door):
        door.certificates.text = None
        assert refused(door).endswith("is missing: it could not be read: AccessDeniedException")


class TestTheToken:
    def test_goes_with_every_request(self, door):
        client = door.client
        client.submit(SUBMISSION)
        client.abort(RUN)
        client.statuses([RUN])
        assert door.tokens == [f"Bearer {TOKEN}"] * 3
        assert door.token.reads == 1

    def test_is_read_once_more_when_it_is_refused(self, door):
        client = door.client
        client.version()
        door.cromwell.token = door.token.text = "second-token-of-this-server"
        assert client.submit(SUBMISSION) == "Submitted"
        assert client.status(RUN) == "Submitted"
        assert door.token.reads == 2
        assert len(door.cromwell.accepted) == 1
        assert door.said == []

    def test_is_told_as_refused_when_it_is_still_the_same(self, door):
        door.cromwell.token = "another-token-of-this-server"
        said = refused(door)
        assert said.startswith("Cromwell's door refuses our token (401)")
        assert "CromwellTokenSecretArn" in said
        assert door.token.reads == 2
        assert len(door.cromwell.requests) == 1
        assert door.said == [said]

    def test_is_sent_twice_at_most(self, door):
        client = door.client
        client.version()
        door.cromwell.token, door.token.text = "another-token-of-this-server", "a-third-one-is-here"
        del door.cromwell.requests[:]
        assert "refuses our token" in refused(door, client)
        assert door.tokens == [f"Bearer {TOKEN}", "Bearer a-third-one-is-here"]

    def test_is_never_told(self, door):
        door.cromwell.token = "another-token-of-this-server"
        assert TOKEN not in refused(door)
        assert TOKEN not in repr(door.client._keys())

    def test_may_end_in_a_line_break(self, door):
        door.token.text = TOKEN + "\n"
        assert door.client.version() == "92"

    @pytest.mark.parametrize("text", ["", '{"token": "x"}', "two words", "a\r\nX-Other: b", "ü"])
    def test_that_is_none_is_said_to_be_none(self, door, text):
        door.token.text = text
        said = refused(door)
        assert "is no token" in said
        assert text == "" or text not in said
        assert door.cromwell.requests == []

    def test_that_cannot_be_read_is_said_to_be_missing(self, door):
        door.token.text = None
        assert "could not be read: AccessDeniedException" in refused(door)
        door.token.text = TOKEN
        assert door.client.version() == "92"

    def test_is_asked_for_where_none_is_set(self, door):
        client = Cromwell(door.cromwell.url, certificates=door.certificates)
        assert "look at the token (CromwellTokenSecretArn)" in refused(door, client)

    def test_never_travels_in_the_clear(self):
        with CromwellStub() as plain:
            with pytest.raises(NotLetIn, match="not https"):
                Cromwell(plain.url, token=Kept(TOKEN)).version()
            with pytest.raises(NotLetIn, match="not https"):
                Cromwell(plain.url, certificates=Kept(certificate(OLD))).version()
            assert plain.requests == []


def test_what_waits_for_an_operator_fits_where_it_is_shown(door):
    door.certificates.text = certificate(NEW)
    assert len(refused(door)) < 300
    door.certificates.text = certificate(OLD)
    assert len(refused(door, door.at(door.cromwell.url.replace("127.0.0.1", "localhost")))) < 300
    door.cromwell.token = "another-token-of-this-server"
    assert len(refused(door)) < 300


def test_a_cromwell_that_is_away_is_not_one_that_keeps_us_out(door):
    door.cromwell.mode = Mode.GATEWAY
    with pytest.raises(CromwellAway) as away:
        door.client.version()
    assert not isinstance(away.value, NotLetIn)
    assert door.token.reads == 1
