#!/usr/bin/env python3
"""Read the bearer token from its secret and have the proxy ask for it.

The current version counts and, while the secret is being rotated, the pending one. An
older one does not: who rotates because a token leaked wants it refused.
"""

from __future__ import annotations

import base64
import re
import sys

import instance

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{16,128}={0,2}")  # RFC 6750, and not to be guessed


def token_map(tokens: list[str]) -> str:
    """Return what nginx includes in a map: who has one of the tokens is let in.

    Regular expressions, since nginx compares plain keys without regard to case.

    >>> print(token_map(["abc.defghijklmno+"]), end="")
    "~^[Bb]earer abc\\.defghijklmno\\+$" token;
    "~^[Bb]asic ZHJvcHdlbGw6YWJjLmRlZmdoaWprbG1ubys=$" browser;
    """
    lines = []
    for token in tokens:
        as_password = base64.b64encode(f"dropwell:{token}".encode()).decode()
        lines.append(f'"~^[Bb]earer {_exactly(token)}$" token;\n')
        lines.append(f'"~^[Bb]asic {_exactly(as_password)}$" browser;\n')
    return "".join(lines)


def _exactly(text: str) -> str:
    return re.sub(r"([.+])", r"\\\1", text)


def main() -> int:
    arn = instance.settings()["token_secret"]
    try:
        tokens = [instance.secret(arn)]
    except instance.Unavailable as problem:
        print(f"The token could not be read, and the last one stays: {problem}", file=sys.stderr)
        return 1
    try:
        tokens.append(instance.secret(arn, "AWSPENDING"))
    except instance.Unavailable as problem:
        if problem.code != "ResourceNotFoundException":
            print(f"The pending token could not be read: {problem}", file=sys.stderr)
    good = [token for token in dict.fromkeys(tokens) if _TOKEN.fullmatch(token)]
    if tokens[0] not in good:
        print(
            "The secret is no token: 16 to 128 letters, digits and . _ ~ + / - are."
            " The last one stays.",
            file=sys.stderr,
        )
        return 1
    if instance.write_for_root(instance.ETC / "tokens/callers.map", token_map(good)):
        instance.reload_proxy()
        print("The proxy asks for a new token.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
