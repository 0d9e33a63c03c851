"""What travels when a call with a large stderr has failed, over a real socket to a real client."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
from botocore.config import Config

from benchmarks.figures import Figure, show, title
from dropwell.aws.buckets import Bucket
from dropwell.calls import place_of_rc_key
from dropwell.diagnosis import TAIL_BYTES, Bench, Found, diagnose_return_code
from tests.simulation.world import MemoryBucket, MemoryLogs, MemoryTable, World

STDERR_BYTES = 200_000_000
STDOUT_BYTES = 10_000
GOAL = 1.05

_RUN = "e6236763-c518-41d0-9688-432549a8bf7d"
_RC_KEY = f"cromwell-execution/wgs/{_RUN}/call-Align/Align-rc.txt"
_LINE = b"[2026-04-12 17:44:01] INFO  Align  chr7:55,019,017 read pairs kept 1,048,576\n"
_PIECE = _LINE * 10_000


class Objects(ThreadingHTTPServer):
    """A bucket of three objects on loopback, which counts the bytes it sends, headers included."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.sizes = {"Align-rc.txt": 2, "Align-stderr.log": STDERR_BYTES}
        self.sizes["Align-stdout.log"] = STDOUT_BYTES
        self.requests: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Objects

    def do_GET(self) -> None:
        name = unquote(urlsplit(self.path).path).rpartition("/")[2]
        size = self.server.sizes[name]
        asked = self.headers.get("Range", "")
        length = min(int(asked.removeprefix("bytes=-")), size) if asked else size
        head = [
            "HTTP/1.1 206 Partial Content" if asked else "HTTP/1.1 200 OK",
            "Content-Type: binary/octet-stream",
            f"Content-Length: {length}",
            f"Content-Range: bytes {size - length}-{size - 1}/{size}",
            'ETag: "9a0364b9e99bb480dd25e1f0284c8555"',
            "x-amz-request-id: 656c76696e6727732072657175657374",
            "",
            "",
        ]
        self.server.requests[name] += 1
        self._send(name, "\r\n".join(head).encode())
        if name.endswith("-rc.txt"):
            self._send(name, b"1\n")
            return
        for start in range(0, length, len(_PIECE)):
            self._send(name, _PIECE[: length - start])

    def _send(self, name: str, data: bytes) -> None:
        self.server.sent[name] += self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def main() -> int:
    title(
        "End of a large log",
        f"A call fails with {STDERR_BYTES // 1_000_000} MB of stderr; the router looks into it"
        f" ({TAIL_BYTES // 1024} KiB of each log), over HTTP on\nloopback. Bytes are those the"
        " server sent, headers included. Baseline: the object is read whole.",
    )
    with Objects() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        s3 = boto3.client(
            "s3",
            region_name="eu-west-1",
            endpoint_url=f"http://127.0.0.1:{server.server_port}",
            aws_access_key_id="nobody",
            aws_secret_access_key="nothing",
            config=Config(s3={"addressing_style": "path"}),
        )
        _diagnose(Bucket(s3, "workflows"))  # the connection is made, the client warm
        server.requests.clear()
        server.sent.clear()
        looked = _diagnose(Bucket(s3, "workflows"))
        requests, sent = server.requests.copy(), server.sent.copy()
        stderr = "Align-stderr.log"
        server.sent.clear()
        whole = _read_whole(s3, _RC_KEY.replace("-rc.txt", "-stderr.log"))
        read_whole = server.sent[stderr]
        server.shutdown()
    ratio = sent[stderr] / TAIL_BYTES
    show(
        [
            Figure(
                name="bytes of stderr that travelled",
                ours=sent[stderr],
                baseline=read_whole,
                ratio=read_whole / sent[stderr],
            ),
            Figure(
                name="bytes sent for each byte of the tail",
                ours=f"{ratio:.4f}",
                goal=f"at most {GOAL}",
                met=ratio <= GOAL,
            ),
            Figure(name="requests for stderr", ours=requests[stderr], baseline=1),
            Figure(name="requests for rc, stderr and stdout", ours=requests.total()),
            Figure(name="bytes of all three", ours=sent.total()),
            Figure(name="ms, all three and the judgement", ours=looked, baseline=whole),
        ],
        against="read whole",
    )
    return int(ratio > GOAL)


def _diagnose(workflows: Bucket) -> float:
    world = World()
    bench = Bench(
        table=MemoryTable(world),
        inbox=MemoryBucket(world, "inbox"),
        workflows=workflows,
        scripts=workflows,
        logs=MemoryLogs(),
    )
    place = place_of_rc_key("workflows", _RC_KEY)
    assert place
    started = time.perf_counter()
    found = diagnose_return_code(place, bench, now=1_775_000_000)
    milliseconds = (time.perf_counter() - started) * 1000
    assert found is Found.FAILURE
    return milliseconds


def _read_whole(s3: Any, key: str) -> float:
    started = time.perf_counter()
    s3.get_object(Bucket="workflows", Key=key)["Body"].read()
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    sys.exit(main())
