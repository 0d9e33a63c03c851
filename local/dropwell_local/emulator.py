"""Emulated AWS: one ministack that listens on the loopback address, with authorisation on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from dropwell_local import LocalFailure
from dropwell_local.ports import LOOPBACK, ReservedPort

ACCOUNT = "123456789012"
REGION = "us-east-1"
CREDENTIALS: Mapping[str, str] = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": REGION,
}
"""The emulated account's owner, who may do anything."""
EMULATOR_LOG = "emulator.log"

_READY_SECONDS = 30
_STOP_SECONDS = 10


class EmulatorFailed(LocalFailure):
    """The emulator did not start; the text ends with the last lines of its log."""


def environment_of_owner(url: str) -> dict[str, str]:
    """Return the environment of a program that acts as the emulated account's owner.

    Whatever this shell says of AWS is left out, so that the program cannot
    reach a real account by mistake.
    """
    here = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    return {**here, **nowhere, **CREDENTIALS, "AWS_ENDPOINT_URL": url}


@contextlib.contextmanager
def running_emulator(*, python: Path, folder: Path, batch_url: str | None = None) -> Iterator[str]:
    """Run the emulator while the block does, and give its URL.

    Parameters
    ----------
    python : Path
        The Python of the environment that holds ministack.
    folder : Path
        Where its log, its objects (``s3/``) and its temporary files go. They
        stay, so that what ran can be looked at afterwards.
    batch_url : str, optional
        Where the functions find AWS Batch, if it is not the emulator's.

    Raises
    ------
    EmulatorFailed
        It ended, or did not answer within half a minute.
    """
    objects, temporary = folder / "s3", folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    log = folder / EMULATOR_LOG
    port = ReservedPort()
    url = f"http://{LOOPBACK}:{port.number}"
    # An environment of its own: functions inherit it, and must not see the host's.
    environment = {
        **CREDENTIALS,
        "PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(temporary),
        "TMPDIR": str(temporary),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "AWS_ENDPOINT_URL": url,
        "GATEWAY_PORT": str(port.number),
        "BIND_HOST": LOOPBACK,
        "AUTH": "true",
        "MINISTACK_HOST": LOOPBACK,
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_REGION": REGION,
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(objects),
        # Both would listen on every address of the machine.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
    }
    if batch_url:
        environment["AWS_ENDPOINT_URL_BATCH"] = batch_url
    with log.open("wb") as output:
        port.release()
        process = subprocess.Popen(
            [str(python), "-m", "dropwell_local.emulator_process"],
            env=environment,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_ready(url, process, log)
        yield url
    finally:
        _stop(process)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), _open(f"{url}/_ministack/ready"):
            return
        time.sleep(0.05)
    tail = log.read_text(errors="replace")[-2000:]
    raise EmulatorFailed(f"The AWS emulator did not start. The end of {log}:\n{tail}")


def _open(url: str) -> contextlib.AbstractContextManager[object]:
    # Never through a proxy: this is the loopback address.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return direct.open(url, timeout=2)  # type: ignore[no-any-return]


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the emulator and whatever function it still runs."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
