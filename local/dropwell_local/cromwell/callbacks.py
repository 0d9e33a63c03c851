"""The word that Cromwell posts when a run ends: to whom, what it says, how often it tries.

From WorkflowCallbackActor.scala in release 92. There is no signature and no token, and
whoever is told may well ask before `/status` shows the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import urllib3

OPTION = "workflow_callback_uri"

_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _GROWTH, _RETRIES = 3.0, 300.0, 1.1, 10
_TIMEOUT = urllib3.Timeout(connect=10.0, read=60.0)
_NO_URI = re.compile(r'[\s<>"{}|\\^`]|%(?![0-9A-Fa-f]{2})')


def address(options: Mapping[str, Any], default: str) -> str:
    """Return where a run's end is to be told; empty, nowhere.

    Parameters
    ----------
    options : mapping
        The run's; what they name comes before the default, even where it is no URI.

    Examples
    --------
    >>> address({"workflow_callback_uri": "http://hook/a"}, "http://hook/b")
    'http://hook/a'
    >>> address({"workflow_callback_uri": "no uri"}, "http://hook/b")
    ''
    """
    wanted = str(options.get(OPTION, default))
    return "" if _NO_URI.search(wanted) else wanted


def message(workflow_id: str, status: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is posted.

    Parameters
    ----------
    facts : mapping
        The run's metadata: outputs, if it succeeded, and failures, if it failed.

    Examples
    --------
    >>> failures = [{"message": "Workflow failed", "causedBy": [{"message": "no", "causedBy": []}]}]
    >>> message("e6", "Failed", {"failures": failures})["failures"]
    ['Workflow failed:\\nno']
    """
    return {
        "workflowId": workflow_id,
        "state": status,
        "outputs": facts.get("outputs", {}) if status == "Succeeded" else {},
        "failures": [_in_one(one) for one in facts.get("failures", [])],
    }


def _in_one(failure: Mapping[str, Any]) -> str:
    """Return a failure with its causes in one text (MessageAggregation.scala)."""
    causes = [_in_one(cause) for cause in failure["causedBy"]]
    return f"{failure['message']}:\n" + "\n".join(causes) if causes else str(failure["message"])


def pauses(scale: float) -> Iterator[float]:
    """Return the seconds before each further try.

    >>> [round(one, 2) for one in pauses(1.0)][:3], len(list(pauses(1.0)))
    ([3.0, 3.3, 3.63], 10)
    """
    pause = _FIRST_PAUSE_S
    for _ in range(_RETRIES):
        yield min(pause, _LONGEST_PAUSE_S) * scale
        pause *= _GROWTH


class Callback:
    """One run's end on its way to whoever wants to hear of it.

    Parameters
    ----------
    url : str
        Where it is posted.
    told : dict
        What `message` says.
    scale : float
        By which the pauses between tries are multiplied.
    """

    def __init__(self, url: str, told: dict[str, Any], *, scale: float) -> None:
        self.url = url
        self.tried = asyncio.Event()
        self._body = json.dumps(told).encode()
        self._scale = scale

    async def send(self) -> bool:
        """Post it until it is taken; `False` if it never is."""
        for pause in pauses(self._scale):
            if await self._try():
                return True
            await asyncio.sleep(pause)
        return await self._try()

    async def _try(self) -> bool:
        """Post it once, in a thread that nobody waits for when the server stops."""
        loop, taken = asyncio.get_running_loop(), asyncio.Event()
        accepted = False

        def post() -> None:
            nonlocal accepted
            accepted = _accepted(self.url, self._body)
            with contextlib.suppress(RuntimeError):  # the server has stopped in the meantime
                loop.call_soon_threadsafe(taken.set)

        threading.Thread(target=post, name="callback", daemon=True).start()
        await taken.wait()
        self.tried.set()
        return accepted


def _accepted(url: str, body: bytes) -> bool:
    """Post once; anything but 4xx, 5xx and no answer at all counts as taken."""
    try:
        with urllib3.PoolManager() as pool:
            answer = pool.request(
                "POST",
                url,
                body=body,
                headers={"Content-Type": "application/json"},
                timeout=_TIMEOUT,
                retries=False,
                redirect=False,
            )
    except urllib3.exceptions.HTTPError:
        return False
    return answer.status < 400
