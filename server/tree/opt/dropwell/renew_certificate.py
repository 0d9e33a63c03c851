#!/usr/bin/env python3
"""Keep the proxy's certificate valid, and published for those who pin it.

A new certificate is published beside the one in use days before it is used, so that who
pins the published ones never meets one that he does not know. ``--early`` begins that
now instead of six weeks before the end. A certificate of the operator's own comes from its
secret instead, and is not published: who trusts its authority trusts it.
"""

from __future__ import annotations

import argparse
import re
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import instance

DAY_S = 86400
VALID_DAYS = 365
RENEW_DAYS = 45
OVERLAP_DAYS = 2
WARN_DAYS = 14
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n", re.DOTALL)
_REQUEST = """
[req]
prompt = no
distinguished_name = name
x509_extensions = extensions
[name]
CN = {name}
[extensions]
subjectAltName = {alternatives}
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
"""


def renew(tls: Path, names: list[str], now: float, early: bool = False) -> bool:
    """Do what is due, and say whether the proxy has to read its certificate again.

    Parameters
    ----------
    tls : Path
        Where ``server.pem`` is, key and certificate in one so that they change together;
        ``next.pem``, if one is to follow it; ``published.pem``, as old as its publication.
    names : list of str
        Names and addresses that the certificate is for.
    now : float
        Seconds since 1970.
    early : bool
        Whether the next one is made however long this one lasts.
    """
    current, following = tls / "server.pem", tls / "next.pem"
    if not _usable(current, names, now):
        following.unlink(missing_ok=True)
        instance.write_for_root(current, _made(names))
        return True
    left = _ends(current) - now
    if following.exists() and not _usable(following, names, now):
        following.unlink()
    if not following.exists():
        if early or left < RENEW_DAYS * DAY_S:
            instance.write_for_root(following, _made(names))
        return False
    if _published_for(tls, following, now) >= OVERLAP_DAYS * DAY_S or left < DAY_S:
        following.replace(current)
        return True
    return False


class Unfit(Exception):
    """What is in the secret cannot be served; the text says why."""


def take(tls: Path, pem: str, now: float) -> bool:
    """Have the proxy use a certificate of the operator's own, and say whether it is new.

    Raises
    ------
    Unfit
        Key and certificate do not belong together, are not there, or are out of date.
        What the proxy has stays as it is.
    """
    trial = tls / "trial.pem"
    instance.write_for_root(trial, pem)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(trial)
        if _ends(trial) <= now:
            raise Unfit("The certificate in the secret has ended.")
        (tls / "next.pem").unlink(missing_ok=True)
        return instance.write_for_root(tls / "server.pem", pem)
    except (ssl.SSLError, subprocess.CalledProcessError) as problem:
        words = problem.reason if isinstance(problem, ssl.SSLError) else "it cannot be read"
        raise Unfit(f"The secret holds no key with its certificate: {words}.") from problem
    finally:
        trial.unlink(missing_ok=True)


def publish(tls: Path, parameter: str) -> None:
    """Put the certificates that are or will be in use where clients look for them.

    Raises
    ------
    Unavailable
        They could not be put there; the next run tries again.
    """
    certificates = [_certificate(tls / "server.pem")]
    if (tls / "next.pem").exists():
        certificates.append(_certificate(tls / "next.pem"))
    text = "".join(certificates)
    if _there(parameter) != text.strip():
        instance.aws(
            *("ssm", "put-parameter", "--name", parameter, "--type", "String"),
            *("--overwrite", "--value", text),
        )
        (tls / "published.pem").unlink(missing_ok=True)
    instance.write_for_root(tls / "published.pem", text)


def _there(parameter: str) -> str:
    try:
        return instance.aws(
            "ssm", "get-parameter", "--name", parameter, "--query", "Parameter.Value"
        ).strip()
    except instance.Unavailable as problem:
        if problem.code == "ParameterNotFound":
            return ""
        raise


def is_published(tls: Path, held: Path) -> bool:
    """Say whether a certificate is among those that were last published."""
    published = tls / "published.pem"
    return published.exists() and _certificate(held) in published.read_text()


def _published_for(tls: Path, following: Path, now: float) -> float:
    if not is_published(tls, following):
        return 0.0
    return now - (tls / "published.pem").stat().st_mtime


def _usable(path: Path, names: list[str], now: float) -> bool:
    try:
        return _ends(path) > now and _names(path) == set(names) and _is_of_ours(path)
    except (OSError, subprocess.CalledProcessError, ValueError):
        return False


def _is_of_ours(path: Path) -> bool:
    subject, issuer = _told(path, "-subject", "-issuer").splitlines()
    return subject.partition("=")[2] == issuer.partition("=")[2]


def _certificate(path: Path) -> str:
    found = _CERTIFICATE.search(path.read_text())
    if found is None:
        raise ValueError(f"{path} holds no certificate")
    return found[0]


def _ends(path: Path) -> float:
    return ssl.cert_time_to_seconds(_told(path, "-enddate").strip().partition("=")[2])


def _names(path: Path) -> set[str]:
    told = _told(path, "-ext", "subjectAltName")
    return set(re.findall(r"(?:DNS|IP Address):([^,\s]+)", told))


def _told(path: Path, *what: str) -> str:
    command = ["openssl", "x509", "-noout", "-in", str(path), *what]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _made(names: list[str]) -> str:
    """Return a new key and its certificate as one text."""
    alternatives = [f"{'IP' if re.fullmatch(r'[0-9.]+', name) else 'DNS'}:{name}" for name in names]
    with tempfile.TemporaryDirectory() as folder:  # for its owner only
        request, key, certificate = (Path(folder, name) for name in ("request", "key", "crt"))
        request.write_text(
            _REQUEST.format(name=names[0][:64], alternatives=", ".join(alternatives))
        )
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
        where = ["-config", str(request), "-keyout", str(key), "-out", str(certificate)]
        subprocess.run(
            [*command, "-days", str(VALID_DAYS), *where], stderr=subprocess.DEVNULL, check=True
        )
        return key.read_text() + certificate.read_text()


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Renew and publish the proxy's certificate.")
    parser.add_argument("--early", action="store_true", help="begin to replace it now")
    told = parser.parse_args(words)
    settings: dict[str, Any] = instance.settings()
    tls = instance.ETC / "tls"
    if settings["certificate_secret"]:
        return _serve_own(tls, settings)
    return _serve_ours(tls, settings, told.early)


def _serve_own(tls: Path, settings: dict[str, Any]) -> int:
    now = time.time()
    try:
        changed = take(tls, instance.secret(settings["certificate_secret"]) + "\n", now)
    except (instance.Unavailable, Unfit) as problem:
        print(f"The proxy keeps the certificate that it has. {problem}", file=sys.stderr)
        if not (tls / "server.pem").exists():
            renew(tls, settings["server_names"], now)  # the proxy cannot start without any
        return 1
    if changed:
        instance.reload_proxy()
        print("The proxy has a new certificate.")
    left = int((_ends(tls / "server.pem") - now) // DAY_S)
    if left < WARN_DAYS:
        print(
            f"The certificate ends in {left} days: put the next into its secret.", file=sys.stderr
        )
        return 1
    return 0


def _serve_ours(tls: Path, settings: dict[str, Any], early: bool) -> int:
    if renew(tls, settings["server_names"], time.time(), early):
        instance.reload_proxy()
        print("The proxy has a new certificate.")
        if is_published(tls, tls / "server.pem"):
            # For a moment the proxy's old workers still show the old one: what is published
            # has both, and stays until the next run.
            return 0
    try:
        publish(tls, settings["certificate_parameter"])
    except instance.Unavailable as problem:
        print(f"The certificate could not be published: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
