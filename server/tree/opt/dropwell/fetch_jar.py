#!/usr/bin/env python3
"""Fetch one file by its address and its checksum, and put it in place whole or not at all.

``fetch_jar.py URL SHA256 TARGET``, with an https, http or s3 address. What makes the file
the right one is the checksum, so any mirror will do. A download that broke off is taken up
where it ended. Run again, it sees that the file is there and fetches nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

_CHUNK = 1 << 20
_TIMEOUT_S = 30.0
_LONGEST_PAUSE_S = 60.0
_MAY_PASS = {408, 425, 429, 500, 502, 503, 504}


class Failed(Exception):
    """It cannot be fetched; another try would end the same."""


class Broken(Exception):
    """It was not fetched this time; another try may."""


def fetch(url: str, sha256: str, target: Path, tries: int = 6, pause: float = 2.0) -> bool:
    """Fetch a file unless it is there, and say whether that was needed.

    Parameters
    ----------
    url : str
        Where it is: ``https://``, ``http://`` or ``s3://``.
    sha256 : str
        What it must be, in hexadecimal.
    target : Path
        Where it goes. Beside it lies ``<name>.part`` until it is whole.
    tries : int
        How often, at most.
    pause : float
        Seconds after the first failure; doubled after each further one.

    Raises
    ------
    Failed
        With what was wrong. What is at `target` is then what was there before.
    """
    wanted = sha256.lower()
    if not re.fullmatch(r"[0-9a-f]{64}", wanted):
        raise Failed(f"{sha256!r} is no sha256: 64 hexadecimal digits are needed.")
    if not re.match(r"(https?|s3)://[^/]+/.", url):
        raise Failed(f"{url!r} is neither an https:// nor an s3:// address of a file.")
    if target.is_file() and _sha256(target) == wanted:
        return False
    part = _part(target)
    _patiently(url, lambda: _once(url, wanted, part), tries, pause)
    part.chmod(0o644)
    part.replace(target)
    return True


def fetch_unchecked(url: str, target: Path, tries: int = 6, pause: float = 2.0) -> None:
    """Fetch a file that nobody knows the checksum of, for which https or S3 has to vouch.

    Raises
    ------
    Failed
        With what was wrong. What is at `target` is then what was there before.
    """
    if not re.match(r"(https|s3)://[^/]+/.", url):
        raise Failed(f"{url!r} is neither an https:// nor an s3:// address of a file.")
    part = _part(target)
    part.unlink(missing_ok=True)
    get = _copy_from_s3 if url.startswith("s3://") else _download
    _patiently(url, lambda: get(url, part), tries, pause)
    part.chmod(0o644)
    part.replace(target)


def _part(target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.with_name(target.name + ".part")


def _patiently(url: str, once: Callable[[], object], tries: int, pause: float) -> None:
    for number in range(1, tries + 1):
        try:
            once()
            return
        except Broken as problem:
            if number == tries:
                raise Failed(f"{url}: {problem} Given up after {tries} tries.") from problem
            print(f"{url}: {problem} Trying again.", file=sys.stderr)
            time.sleep(min(pause * 2 ** (number - 1), _LONGEST_PAUSE_S))


def _once(url: str, wanted: str, part: Path) -> None:
    """Leave the right file at `part`, or raise."""
    get = _copy_from_s3 if url.startswith("s3://") else _download
    begun = get(url, part)
    found = _sha256(part)
    if found == wanted:
        return
    looks = _looks_like(part)
    part.unlink()
    if begun:
        raise Broken("What was taken up where it had ended is not the file.")
    raise Failed(f"{url}: its sha256 is {found}, not {wanted}.{looks} Nothing was put in place.")


def _download(url: str, part: Path) -> int:
    """Append to `part` what is missing, and return how much of it had been there before."""
    begun = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "dropwell", "Accept-Encoding": "identity"}
    if begun:
        headers["Range"] = f"bytes={begun}-"
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            if answer.status != http.client.PARTIAL_CONTENT:
                begun = 0
            with part.open("ab" if begun else "wb") as file:
                got = _pour(answer, file)
                file.flush()
                os.fsync(file.fileno())
            length = answer.headers.get("Content-Length")
    except urllib.error.HTTPError as problem:
        if problem.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            return begun  # there is no more of it: the checksum tells whether it is whole
        if problem.code in _MAY_PASS:
            raise Broken(f"The server says {problem.code} {problem.reason}.") from problem
        raise Failed(f"{url}: the server says {problem.code} {problem.reason}.") from problem
    except (OSError, http.client.HTTPException) as problem:
        raise Broken(f"The download broke off ({problem}).") from problem
    if length is not None and got < int(length):
        raise Broken(f"The download broke off after {begun + got} bytes.")
    return begun


def _pour(answer: http.client.HTTPResponse, file: BinaryIO) -> int:
    got = 0
    for chunk in iter(lambda: answer.read(_CHUNK), b""):
        got += file.write(chunk)
    return got


def _copy_from_s3(url: str, part: Path) -> int:
    command = ["aws", "s3", "cp", "--only-show-errors", url, str(part)]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as problem:
        raise Failed(f"{url}: the aws command is not installed.") from problem
    if told.returncode or not part.is_file():
        words = told.stderr.strip() or f"aws ended with {told.returncode}."
        if re.search(r"\((400|403|404|AccessDenied|NoSuchKey|NoSuchBucket)\)", words):
            raise Failed(f"{url}: {words}")
        raise Broken(words)
    return 0


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def _looks_like(path: Path) -> str:
    with path.open("rb") as file:
        begin = file.read(200).lstrip()
    return " It looks like a web page." if begin.startswith(b"<") else ""


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Fetch one file by address and checksum.")
    parser.add_argument("url")
    parser.add_argument("sha256", help="or 'unchecked', where https or S3 has to vouch for it")
    parser.add_argument("target", type=Path)
    parser.add_argument("--tries", type=int, default=6)
    parser.add_argument("--pause", type=float, default=2.0, help="seconds, doubled each time")
    told = parser.parse_args(words)
    try:
        if told.sha256 == "unchecked":
            fetch_unchecked(told.url, told.target, told.tries, told.pause)
            fresh = True
        else:
            fresh = fetch(told.url, told.sha256, told.target, told.tries, told.pause)
    except Failed as problem:
        print(problem, file=sys.stderr)
        return 1
    print(f"{told.target}: {'fetched' if fresh else 'already there'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
