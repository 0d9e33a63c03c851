"""The functions at Cromwell's door: certificate and token from AWS, wrong, missing and renewed."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest

from dropwell.aws import kept
from dropwell.runs import Due, State
from tests.functional.conftest import ACCOUNT, REGION, client
from tests.stubs.cromwell import CromwellStub
from tests.stubs.door import certificate, key_and_certificate, show, showing
from tests.unit.bundle_builders import zipped

OLD, NEW = key_and_certificate(number=1), key_and_certificate(number=2)
TOKEN, NEXT = "first.Token+of-this/Server~0123456789", "second-token-of-this-server"
PARAMETER = "/gwfcore/one/cromwell/certificate"
SECRET = "dropwell/token-AbCdEf"  # moto takes an ARN of ours for one without its last characters
BUNDLE = zipped({"main.wdl": "version 1.0\nworkflow hello {}\n"})


@pytest.fixture
def tls() -> ssl.SSLContext:
    return showing(OLD)


@pytest.fixture
def cromwell(tls: ssl.SSLContext) -> Iterator[CromwellStub]:
    with CromwellStub(tls=tls) as stub:
        stub.token = TOKEN
        yield stub


@pytest.fixture
def parameters() -> dict[str, str]:
    arn = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{SECRET}"
    return {"CromwellCertificateParameter": PARAMETER, "CromwellTokenSecretArn": arn}


def publish(*held: str) -> None:
    text = "".join(map(certificate, held))
    client("ssm").put_parameter(Name=PARAMETER, Value=text, Type="String", Overwrite=True)


def tell(token: str) -> None:
    client("secretsmanager").put_secret_value(SecretId=SECRET, SecretString=token)


@pytest.fixture
def opened(cloud, event):
    """Have certificate and token where the settings say, and let bundles land."""
    publish(OLD)
    client("secretsmanager").create_secret(Name=SECRET, SecretString=TOKEN)
    return lambda: cloud.land(event("s3_drop"), BUNDLE)


def waits(cloud, drop, why: str) -> None:
    """See that a drop waits, lost nothing, and says why."""
    run = cloud.run(drop.run_id)
    assert (run.state, run.due_kind) == (State.QUEUED, Due.SUBMIT)
    assert run.due_at == cloud.clock.now + 30
    shown = cloud.page(run.folder + "status.json")["waiting"]
    assert why in shown
    assert TOKEN not in shown
    assert cloud.keys("inbox/") == [drop.key]
    assert cloud.notices(drop.run_id) == []


def posted(cloud, cromwell, drop) -> None:
    """See that a drop that waited is posted once when its time has come."""
    cloud.clock.pass_by(31)
    cloud.sweep()
    for message in cloud.sent("DropQueue"):
        assert cloud.submitter(message.body) == []
    assert cloud.run(drop.run_id).submitted_at == cloud.clock.now
    assert [one.run_id for one in cromwell.accepted] == [drop.run_id]
    assert cloud.keys("inbox/") == []


def test_a_drop_is_posted_with_both(cloud, opened, cromwell):
    told, drop = opened()
    assert cloud.submitter(told) == []
    assert cloud.run(drop.run_id).submitted_at
    assert {one.headers["Authorization"] for one in cromwell.requests} == {f"Bearer {TOKEN}"}


def test_both_are_renewed_while_functions_are_at_work(cloud, opened, cromwell, tls):
    told, drop = opened()
    cloud.submitter(told)
    cromwell.succeed(drop.run_id)
    publish(NEW)
    show(tls, NEW)
    tell(NEXT)
    cromwell.token = NEXT
    told, second = opened()
    cloud.submitter(told)
    assert cloud.run(second.run_id).submitted_at
    cloud.clock.pass_by(60)
    cloud.sweep()
    assert cloud.run(drop.run_id).state is State.COMPLETE


def test_a_refused_token_keeps_a_drop_waiting_until_it_is_right(
    cloud, opened, cromwell, counted, caplog
):
    cromwell.token = NEXT
    told, drop = opened()
    assert cloud.submitter(told) == []
    waits(cloud, drop, "Cromwell's door refuses our token (401)")
    assert counted()["CromwellShutUsOut"] == 1
    [said] = [told for told in caplog.records if told.levelname == "ERROR"]
    assert said.message == "not let in by Cromwell"
    assert said.reason.startswith("Cromwell's door refuses our token")
    tell(NEXT)
    posted(cloud, cromwell, drop)
    assert counted().get("CromwellShutUsOut", 0) == 0


def test_another_certificate_keeps_a_drop_waiting_until_it_is_published(
    cloud, opened, cromwell, tls
):
    show(tls, NEW)
    told, drop = opened()
    assert cloud.submitter(told) == []
    waits(cloud, drop, "none of the pinned ones")
    assert cromwell.requests == []
    publish(OLD, NEW)
    posted(cloud, cromwell, drop)


def test_what_is_not_there_keeps_a_drop_waiting_until_it_is(cloud, event, cromwell):
    told, drop = cloud.land(event("s3_drop"), BUNDLE)
    assert cloud.submitter(told) == []
    waits(cloud, drop, "is missing: the token could not be read: An error occurred")
    client("secretsmanager").create_secret(Name=SECRET, SecretString=TOKEN)
    publish(OLD)
    posted(cloud, cromwell, drop)


def test_a_run_goes_on_being_watched_after_a_time_without_the_token(
    cloud, opened, cromwell, counted
):
    run = cloud.running(due_kind=Due.POLL, due_at=cloud.clock.now)
    cromwell.succeed(run.run_id)
    cromwell.token = NEXT
    counted()
    cloud.sweep()
    assert cloud.run(run.run_id).state is State.RUNNING
    told = counted()
    assert (told["CromwellAway"], told["CromwellShutUsOut"]) == (1, 1)
    tell(NEXT)
    cloud.clock.pass_by(60)
    cloud.sweep()
    assert cloud.run(run.run_id).state is State.COMPLETE


def test_what_was_read_is_remembered_for_the_next_event(cloud, opened):
    told, first = opened()
    cloud.submitter(told)
    client("secretsmanager").delete_secret(SecretId=SECRET, ForceDeleteWithoutRecovery=True)
    client("ssm").delete_parameter(Name=PARAMETER)
    told, second = opened()
    cloud.submitter(told)
    assert first.run_id != second.run_id
    assert cloud.run(second.run_id).submitted_at


def test_what_is_withdrawn_is_trusted_no_longer_than_it_is_remembered(
    cloud, opened, cromwell, monkeypatch
):
    monkeypatch.setattr(kept, "REMEMBERED_SECONDS", 0)
    told, first = opened()
    cloud.submitter(told)
    publish(NEW)
    told, second = opened()
    cloud.submitter(told)
    waits(cloud, second, "none of the pinned ones")
    assert [one.run_id for one in cromwell.accepted] == [first.run_id]


def test_a_secret_of_bytes_is_said_to_be_no_text(cloud, opened):
    client("secretsmanager").put_secret_value(SecretId=SECRET, SecretBinary=b"token")
    told, drop = opened()
    cloud.submitter(told)
    waits(cloud, drop, "the token is no text")
