"""What the local server can be told, on the command line or from Python."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dropwell_local.engine.retrying import MEMORY_KEYS


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the local Cromwell behaves; times are seconds.

    Parameters
    ----------
    data : Path
        Where it keeps its database and what workflows leave on this machine.
    root : str
        ``backend…config.root``: where calls' files go.
    script_bucket : str
        ``scriptBucketName``.
    events : tuple of str
        Where Batch's events go: ``bus`` is whatever the rules of the default event bus
        say, a URL is that queue, anything else a file that gets one envelope a line.
    port : int
        On 127.0.0.1; 0 is any free one.
    launch_interval : float
        One waiting workflow starts at a time, this far apart (Cromwell: 20).
    visibility_lag : float
        How long reads answer 404 after a submission (Cromwell: up to about 10).
    poll_lag : float
        How long after the last job a workflow is seen to have ended (Cromwell: up to 300).
    max_workflows : int
        How many run at once (Cromwell: 5000); each has a process of 60 to 90 MB.
    job_limit : int
        How many calls of one workflow have a job at once; the others are queued in Cromwell
        (``concurrent-job-limit`` over ``hog-factor``: 1000).
    vcpus, memory_mib : int
        The compute environment that all workflows share.
    job_memory : float
        How long Batch knows a job that has ended (AWS: seven days at least).
    chaos : str
        Cruelties to begin with, as `chaos.parse` reads them; empty, none.
    isolation : str
        Whether tasks run in bubblewrap: ``auto``, where it works; ``bubblewrap``; ``none``.
    runtime_defaults : dict
        ``default-runtime-attributes``, below those of a workflow's options.
    memory_retry_keys : tuple of str
        ``system.memory-retry-error-keys``.
    trust_rc : bool
        Whether a return code that a call accepts is a success though Batch calls the job failed.
    call_caching : bool
        ``call-caching.enabled``: a call that was run before is not run again.
    tags : bool
        ``tagResources``: off, as Cromwell was before 91, jobs carry no tags.
    callback : str
        ``workflow-state-callback.endpoint``: where the end of every run is posted that names no
        place of its own; empty, nowhere.
    callback_pause : float
        By which the pauses between tries to post it are multiplied.
    max_request_mib : int
        ``akka.http.server.parsing.max-content-length``.
    max_metadata_rows : int
        ``metadata-read-row-number-safety-threshold``: of a workflow with more, metadata is 500.
    shutdown_notice : float
        How long requests are answered 503 before the server stops (Cromwell: until its
        workflows are at rest).
    delivery_patience : float
        How long an event waits for a queue that cannot be reached before it is lost.
    logs : bool
        Whether jobs' logs are written to CloudWatch Logs.
    region, account, queue : str
        In the ARNs of jobs and of the queue that they wait in.
    end_with_stdin : bool
        Stop when standard input is gone, and so with whoever started the process.
    """

    data: Path
    root: str
    script_bucket: str
    events: tuple[str, ...] = ("bus",)
    port: int = 0
    launch_interval: float = 0.5
    visibility_lag: float = 2.0
    poll_lag: float = 1.0
    max_workflows: int = 10
    job_limit: int = 50
    vcpus: int = field(default_factory=lambda: max(4, os.cpu_count() or 1))
    memory_mib: int = field(
        default_factory=lambda: (
            os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 4 // 5 >> 20
        )
    )
    job_memory: float = 7 * 86400.0
    chaos: str = ""
    isolation: str = "auto"
    runtime_defaults: dict[str, Any] = field(default_factory=dict)
    memory_retry_keys: tuple[str, ...] = MEMORY_KEYS
    trust_rc: bool = False
    tags: bool = True
    call_caching: bool = False
    callback: str = ""
    callback_pause: float = 1.0
    max_request_mib: int = 64
    max_metadata_rows: int = 1_000_000
    shutdown_notice: float = 0.0
    delivery_patience: float = 60.0
    logs: bool = True
    region: str = field(default_factory=lambda: os.environ.get("AWS_DEFAULT_REGION", "us-east-1"))
    account: str = "123456789012"
    queue: str = "dropwell"
    end_with_stdin: bool = False

    @property
    def queue_arn(self) -> str:
        return f"arn:aws:batch:{self.region}:{self.account}:job-queue/{self.queue}"

    def arguments(self) -> list[str]:
        """Return the command line that says the same."""
        words = [f"--events={where}" for where in self.events]
        for name in _PLAIN:
            words.append(f"--{name.replace('_', '-')}={getattr(self, name)}")
        words += [f"--memory-retry-key={key}" for key in self.memory_retry_keys]
        words.append(f"--runtime-defaults={json.dumps(self.runtime_defaults)}")
        words += ["--trust-rc"] if self.trust_rc else []
        words += ["--call-caching"] if self.call_caching else []
        words += [] if self.tags else ["--no-tags"]
        words += [] if self.logs else ["--no-logs"]
        words += ["--end-with-stdin"] if self.end_with_stdin else []
        return words


_PLAIN: dict[str, type] = {
    "data": Path,
    "root": str,
    "script_bucket": str,
    "port": int,
    "launch_interval": float,
    "visibility_lag": float,
    "poll_lag": float,
    "max_workflows": int,
    "job_limit": int,
    "vcpus": int,
    "memory_mib": int,
    "job_memory": float,
    "chaos": str,
    "isolation": str,
    "callback": str,
    "callback_pause": float,
    "max_request_mib": int,
    "max_metadata_rows": int,
    "shutdown_notice": float,
    "delivery_patience": float,
    "region": str,
    "account": str,
    "queue": str,
}


def parse(words: list[str]) -> Settings:
    """Read a command line.

    >>> parse(["--data=/d", "--root=s3://b/cromwell-execution", "--script-bucket=b"]).events
    ('bus',)
    """
    parser = argparse.ArgumentParser(prog="python -m dropwell_local.cromwell")
    for name, kind in _PLAIN.items():
        required = name in ("data", "root", "script_bucket")
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            required=required,
            default=argparse.SUPPRESS,
        )
    parser.add_argument("--events", action="append", default=argparse.SUPPRESS)
    parser.add_argument("--memory-retry-key", action="append", dest="memory_retry_keys", default=[])
    parser.add_argument("--runtime-defaults", type=json.loads, default=argparse.SUPPRESS)
    parser.add_argument("--trust-rc", action="store_true", default=argparse.SUPPRESS)
    parser.add_argument("--call-caching", action="store_true", default=argparse.SUPPRESS)
    parser.add_argument("--no-tags", dest="tags", action="store_false", default=argparse.SUPPRESS)
    parser.add_argument("--no-logs", dest="logs", action="store_false", default=argparse.SUPPRESS)
    parser.add_argument(
        "--end-with-stdin",
        dest="end_with_stdin",
        action="store_true",
        default=argparse.SUPPRESS,
        help="stop when the other end of standard input is gone",
    )
    given = vars(parser.parse_args(words))
    if "events" in given:
        given["events"] = tuple(given["events"])
    given["memory_retry_keys"] = tuple(given["memory_retry_keys"]) or MEMORY_KEYS
    return Settings(**given)
