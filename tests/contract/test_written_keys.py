"""What the paths write, watched in the simulation: none of it may start anything."""

from __future__ import annotations

import pytest

from dropwell.drops import CONTROL, INBOX, REJECTED, RUNS, Ignored, what_is
from dropwell.projects import PROJECTS_FILE
from tests.simulation.lab import Job, Lab
from tests.simulation.world import World
from tests.transformed import template


def written(lab: Lab) -> set[str]:
    """Return every key that was written to the inbox bucket by a function."""
    keys = [name.removeprefix("put ") for name in lab.world.trace if name.startswith("put ")]
    return {key for key in keys if key != "event"}


def lived(lab: Lab) -> Lab:
    lab.settle()
    return lab


def complete() -> Lab:
    lab = Lab(World())
    lab.drop()
    return lived(lab)


def failed() -> Lab:
    lab = Lab(World())
    drop = lab.drop()
    lab.plan(drop, [Job("gather", return_code=3, stderr="Error: no reads\n")], "Failed")
    return lived(lab)


def canceled() -> Lab:
    lab = Lab(World())
    lab.cromwell.away = True
    drop = lab.drop()
    lab.world.step()
    lab.cromwell.away = False
    lab.abort(drop)
    lab.world.pending = [d for d in lab.world.pending if d.queue != "plant"]
    return lived(lab)


def rejected() -> Lab:
    lab = Lab(World())
    drop = lab.drop()
    lab.inbox.objects[drop.key] = {"v1": b"x" * drop.size}
    lab.world.pending = [d for d in lab.world.pending if d.queue != "plant"]
    return lived(lab)


@pytest.mark.parametrize("story", [complete, failed, canceled, rejected])
def test_whatever_becomes_of_a_drop_what_we_write_notifies_nobody(story):
    keys = written(story())
    assert keys
    assert not [key for key in keys if key.startswith((INBOX, CONTROL))]
    assert all(key.startswith((RUNS, REJECTED)) for key in keys)


@pytest.mark.parametrize("key", [PROJECTS_FILE, "config/a.zip", "config/inbox/a/b.zip"])
def test_what_the_operator_writes_starts_nothing(key):
    told = template().properties("InboxBucket")["NotificationConfiguration"]
    for configuration in told["QueueConfigurations"]:
        [rule] = configuration["Filter"]["S3Key"]["Rules"]
        assert rule["Name"] == "prefix"
        assert not key.startswith(rule["Value"])
    assert set(told) == {"QueueConfigurations"}
    assert what_is(key, 100) is Ignored.NOT_OURS


@pytest.mark.parametrize("role", ["SubmitterRole", "StatusWatcherRole", "LogRouterRole"])
def test_no_function_writes_what_the_operator_writes(role):
    reach = template(names={"InboxBucket.Arn": "arn:aws:s3:::inbox"}).rights(role)
    writes = {
        resource.rpartition(":::inbox/")[2]
        for actions, resources in reach.items()
        for resource in resources
        if any(action.startswith(("s3:Put", "s3:Delete", "s3:Abort")) for action in actions)
    }
    assert not [key for key in writes if key.startswith(("config", "*"))]
