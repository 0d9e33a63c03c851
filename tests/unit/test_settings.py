"""Settings: read from the environment as a whole, or refused as a whole with every reason."""

from __future__ import annotations

import pytest

from dropwell.settings import BadSettings, LogRouterSettings, SubmitterSettings

ROUTER = {
    "TABLE_NAME": "t",
    "INBOX_BUCKET": "i",
    "WORKFLOW_BUCKET": "w",
    "RETENTION_DAYS": "400",
    "DIAGNOSIS_QUEUE_URL": "q",
    "MAIL_TOPIC_ARN": "m",
    "BUS_NAME": "b",
    "SCRIPT_BUCKET": "s",
    "BATCH_LOG_GROUP": "l",
    "NOTICE_DETAIL": "standard",
}
SUBMITTER = {
    "TABLE_NAME": "t",
    "INBOX_BUCKET": "i",
    "WORKFLOW_BUCKET": "w",
    "RETENTION_DAYS": "400",
    "CROMWELL_URL": "http://c",
    "ENFORCED_OPTIONS": '{"read_from_cache": false}',
    "SUBMISSION_LIMIT_BYTES": "8388608",
    "LEASE_SECONDS": "150",
}


def test_are_read_by_their_names():
    settings = LogRouterSettings.of(ROUTER | {"SOMETHING_ELSE": "x"})
    assert (settings.table_name, settings.batch_log_group) == ("t", "l")
    assert settings.retention_seconds == 400 * 86400


def test_of_every_kind_are_read():
    settings = SubmitterSettings.of(SUBMITTER | {"ALLOWED_IMPORT_HOSTS": "a.org, b.org,,"})
    assert settings.submission_limit_bytes == 8_388_608
    assert settings.enforced_options == {"read_from_cache": False}
    assert settings.allowed_import_hosts == ("a.org", "b.org")


def test_that_have_a_default_may_be_empty():
    assert SubmitterSettings.of(SUBMITTER | {"ALLOWED_OPTIONS": ""}).allowed_options == ()


def test_that_are_missing_are_all_named_at_once():
    with pytest.raises(BadSettings, match=r"BUS_NAME is not set; .*NOTICE_DETAIL is not set"):
        LogRouterSettings.of(ROUTER | {"BUS_NAME": "", "NOTICE_DETAIL": ""})


@pytest.mark.parametrize(
    ("variable", "text", "why"),
    [
        ("LEASE_SECONDS", "soon", "LEASE_SECONDS='soon': invalid literal"),
        ("ENFORCED_OPTIONS", "[]", "ENFORCED_OPTIONS='\\[\\]': expected a JSON object"),
        ("ENFORCED_OPTIONS", "{", "ENFORCED_OPTIONS='{': "),
    ],
)
def test_that_cannot_be_read_say_why(variable, text, why):
    with pytest.raises(BadSettings, match=why):
        SubmitterSettings.of(SUBMITTER | {variable: text})
