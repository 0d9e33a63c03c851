"""Cromwell is killed outright, or set back to an earlier time, while runs go on."""

from __future__ import annotations

import contextlib
import urllib.request
from collections import Counter

import psutil
import pytest

from dropwell.records import COUNTS, recount
from tests.e2e.inbox import Inbox, eventually, hello

TASK = """
task work {
  input { Int i = 0  Int code = 0  Int seconds = 0 }
  command <<< echo "shard ~{i}" >&2; sleep ~{seconds}; exit ~{code} >>>
  output { Int square = i * i }
  runtime { docker: "debian:12" memory: "128 MB" maxRetries: 1 }
}
"""
PART = f"""version 1.0
workflow part {{
  input {{ Int i }}
  call work {{ input: i = i }}
  call work as more {{ input: i = work.square, seconds = i }}
  output {{ Int square = more.square }}
}}
{TASK}"""
WHOLE = """version 1.0
import "part.wdl" as parts
workflow cut_whole {
  scatter (i in range(4)) { call parts.part { input: i = i } }
  output { Array[Int] squares = part.square }
}
"""
FAILING = f"""version 1.0
workflow cut_failing {{
  call work as bad {{ input: code = 3 }}
  call work as slow {{ input: seconds = 3 }}
}}
{TASK}"""

_STATUSES = ("runnable", "starting", "running", "succeeded", "failed")
_PLAIN = {"Succeeded": "COMPLETE", "Failed": "EXECUTOR_ERROR"}


def server(inbox: Inbox) -> psutil.Process:
    """Return the process of this stack's Cromwell."""
    data = f"--data={inbox.stack.folder / 'cromwell'}"
    found = [one for one in psutil.Process().children(recursive=True) if data in words(one)]
    assert len(found) == 1
    return found[0]


def words(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return process.cmdline()
    return []


def is_up(inbox: Inbox) -> bool:
    try:
        with urllib.request.urlopen(f"{inbox.stack.cromwell_url}/engine/v1/version", timeout=5):
            return True
    except OSError:
        return False


def snapshots(inbox: Inbox, path: str) -> None:
    url = f"{inbox.stack.cromwell_url}/dropwell/snapshots/{path}"
    with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=20):
        pass


@pytest.fixture(scope="module")
def cut(inbox: Inbox) -> dict[str, str]:
    """Drop two bundles, and kill -9 Cromwell while some of their jobs run and some have ended."""
    uncached = {"options.json": {"read_from_cache": False}}
    runs = {
        "cut_whole": inbox.drop("cut_whole", {"main.wdl": WHOLE, "part.wdl": PART, **uncached}),
        "cut_failing": inbox.drop("cut_failing", {"main.wdl": FAILING, **uncached}),
    }

    def in_the_middle() -> bool:
        whole, failing = (inbox.jobs(run_id) for run_id in runs.values())
        return whole["SUCCEEDED"] >= 1 and failing["FAILED"] >= 1 and failing["RUNNING"] >= 1

    eventually(in_the_middle, within=60, what="jobs that have ended and jobs that run")
    server(inbox).kill()
    eventually(lambda: not is_up(inbox), within=5, what="the end of Cromwell")
    eventually(lambda: is_up(inbox), within=30, what="Cromwell's return")
    return runs


@pytest.mark.parametrize(
    ("name", "state", "jobs"),
    [
        ("cut_whole", "COMPLETE", {"SUCCEEDED": 8}),
        ("cut_failing", "EXECUTOR_ERROR", {"SUCCEEDED": 1, "FAILED": 2}),
    ],
)
def test_a_run_that_was_cut_ends_as_if_it_had_not_been(
    inbox: Inbox, cut: dict[str, str], name: str, state: str, jobs: dict[str, int]
) -> None:
    run_id = cut[name]

    assert inbox.end_of(run_id, sweeping=True) == state

    (workflow,) = inbox.workflows(name)
    assert (workflow["id"], _PLAIN[workflow["status"]]) == (run_id, state)
    eventually(lambda: inbox.jobs(run_id) == jobs, within=20, what="the ends of all jobs")
    items = inbox.items(run_id)
    counted = {key: items[COUNTS].get(key, 0) for key in ("jobs", *_STATUSES)}
    assert {key: count for key, count in counted.items() if count} == recount(items.values())
    kinds = Counter(mail.attributes["kind"] for mail in inbox.mails(run_id))
    assert kinds - Counter(["failing"]) == {"accepted": 1, "ended": 1}


def test_a_run_that_cromwell_forgot_is_told_as_lost(inbox: Inbox) -> None:
    snapshots(inbox, "before")
    files = {"main.wdl": str(hello("forgotten")["main.wdl"]).replace("echo", "sleep 60; echo")}
    run_id = inbox.drop("forgotten", files)
    eventually(lambda: inbox.jobs(run_id)["RUNNING"], within=60, what="its job")

    snapshots(inbox, "before/restore")

    eventually(lambda: inbox.jobs(run_id)["FAILED"], within=20, what="the end of its job")

    def told() -> bool:
        inbox.sweep(asking=run_id)
        return inbox.state(run_id) == "SYSTEM_ERROR" and len(inbox.mails(run_id)) > 1

    eventually(told, within=60, what="the end of the run")
    assert inbox.items(run_id)["RUN"]["cause"] == "LOST_UPSTREAM"
    assert [mail.attributes["kind"] for mail in inbox.mails(run_id)] == ["accepted", "ended"]
    assert inbox.workflows("forgotten") == []
