"""The process of the AWS emulator: ministack, for as long as its stdin is open.

Runs under the emulator's own Python, so it imports the standard library and
ministack only.
"""

from __future__ import annotations

import getpass
import socketserver
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from dropwell_local.lifeline import end_with_stdin


def as_behind_tls(app: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Let the emulator take requests for such as came over TLS.

    Callers reach AWS over TLS; here they come over plain HTTP, which the
    template's policies refuse. Ministack believes this header, as from a proxy
    that ends TLS in front of it.
    """

    async def behind_tls(scope: dict[str, Any], *channels: Any) -> None:
        if scope["type"] == "http":
            scope = {**scope, "headers": [*scope["headers"], (b"x-forwarded-proto", b"https")]}
        await app(scope, *channels)

    return behind_tls


def single_permission(action_of: Callable[..., str | None]) -> Callable[..., str | None]:
    """Let SQS's batch requests need the permission of the single ones.

    On AWS, SendMessage, DeleteMessage and ChangeMessageVisibility grant the batch
    forms as well, and no action of that name exists (the SQS API reference at
    AddPermission); ministack 1.5.33 asks for one.

    >>> single_permission(lambda name: name)("sqs:SendMessageBatch")
    'sqs:SendMessage'
    """

    def action(*arguments: Any, **named: Any) -> str | None:
        found = action_of(*arguments, **named)
        return found.removesuffix("Batch") if found and found.startswith("sqs:") else found

    return action


def dropped_by(name: str, notify: Callable[..., None]) -> Callable[..., None]:
    """Let S3's notifications name whoever runs this as the one who dropped.

    Ministack 1.5.33 names nobody; AWS names the caller's role and session.
    """
    identity = {"userIdentity": {"principalId": f"AWS:{name}"}}

    def named(*arguments: Any, record_extra: dict[str, Any] | None = None, **more: Any) -> None:
        notify(*arguments, record_extra={**identity, **(record_extra or {})}, **more)

    return named


def this_user() -> str:
    """Return the name of who runs this process; a bare container knows none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the one until Python 3.12, the other since
        return "local"


def main() -> None:
    end_with_stdin()
    # The runtime interface that ministack gives each function answers in small
    # writes; with Nagle's algorithm each warm call would wait about 40 ms.
    socketserver.StreamRequestHandler.disable_nagle_algorithm = True
    sys.argv[:] = ["ministack"]

    from ministack import app as ministack  # type: ignore[import-not-found]
    from ministack.core import iam_actions  # type: ignore[import-not-found]
    from ministack.services import s3  # type: ignore[import-not-found]

    iam_actions.extract_iam_action = single_permission(iam_actions.extract_iam_action)
    s3._fire_s3_event = dropped_by(this_user(), s3._fire_s3_event)
    ministack.app = as_behind_tls(ministack.app)
    ministack.main()


if __name__ == "__main__":
    main()
