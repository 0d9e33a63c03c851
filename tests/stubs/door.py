"""What opens Cromwell's door: certificates as the server makes them, and texts that change."""

from __future__ import annotations

import re
import ssl
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import renew_certificate
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from dropwell.errors import TryAgain

HERE = ("cromwell.one.internal", "127.0.0.1")
ELSEWHERE = ("cromwell.two.internal",)
_CONSTRAINTS = x509.BasicConstraints(ca=True, path_length=None)
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n", re.DOTALL)


@cache
def key_and_certificate(names: tuple[str, ...] = HERE, number: int = 1) -> str:
    """Return a key and its certificate, made as the server makes its own; one for each number."""
    with tempfile.TemporaryDirectory() as folder:
        renew_certificate.renew(Path(folder), list(names), time.time())
        return Path(folder, "server.pem").read_text()


def ended(pem: str) -> str:
    """Return a key and its certificate as if the latter had been for the year 2020."""
    return _remade(
        pem, pem, not_valid_before=datetime(2020, 1, 1), not_valid_after=datetime(2021, 1, 1)
    )


def authority() -> str:
    """Return the key and certificate of somebody who vouches for others."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of our own")])
    extensions = [x509.Extension(_CONSTRAINTS.oid, True, _CONSTRAINTS)]
    pem = key_and_certificate(number=0)
    return _remade(pem, pem, subject_name=name, issuer_name=name, extensions=extensions)


def vouched_for(pem: str, by: str) -> str:
    """Return a key and its certificate as if an authority had signed it."""
    issuer = _of(by).subject
    names = _of(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return _remade(pem, by, issuer_name=issuer, extensions=[names])


def _remade(pem: str, by: str, **change: Any) -> str:
    lasting = _of(pem)
    made = x509.CertificateBuilder(
        **{
            "issuer_name": lasting.issuer,
            "subject_name": lasting.subject,
            "public_key": lasting.public_key(),
            "serial_number": lasting.serial_number,
            "not_valid_before": lasting.not_valid_before_utc.replace(tzinfo=None),
            "not_valid_after": lasting.not_valid_after_utc.replace(tzinfo=None),
            "extensions": list(lasting.extensions),
            **change,
        }
    ).sign(serialization.load_pem_private_key(by.encode(), None), hashes.SHA256())
    return pem.replace(certificate(pem), made.public_bytes(serialization.Encoding.PEM).decode())


def _of(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(certificate(pem).encode())


def certificate(pem: str) -> str:
    """Return what is published of a key and its certificate."""
    [found] = _CERTIFICATE.findall(pem)
    return found


def show(context: ssl.SSLContext, pem: str) -> ssl.SSLContext:
    """Have a server show this certificate from now on."""
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as held:
        held.write(pem)
        held.flush()
        context.load_cert_chain(held.name)
    return context


def showing(pem: str) -> ssl.SSLContext:
    """Return what a server shows its certificate with."""
    return show(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), pem)


class Kept:
    """A text kept elsewhere: what it is now, and what was last read of it.

    Attributes
    ----------
    text : str, callable or None
        As it is now, or what tells it; `None` while it cannot be read.
    reads : int
        How often it was fetched, not remembered.
    """

    def __init__(self, text: str | Callable[[], str] | None) -> None:
        self.text = text
        self.reads = 0
        self._known: str | None = None

    def read(self, *, afresh: bool = False) -> str:
        if afresh or self._known is None:
            self.reads += 1
            if self.text is None:
                raise TryAgain("it could not be read: AccessDeniedException")
            self._known = self.text if isinstance(self.text, str) else self.text()
        return self._known
