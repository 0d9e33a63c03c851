"""The functions, and settings for them as the template would give."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Function:
    """One function of the template.

    Parameters
    ----------
    logical_id : str
        Its name in the template, and its folder of a build.
    handler : str
        Its source.
    door : str
        The function in it that makes clients and adapters at the first call.
    clients : tuple of str
        The clients it makes.
    """

    logical_id: str
    handler: str
    door: str
    clients: tuple[str, ...]


FUNCTIONS = {
    "submitter": Function(
        "SubmitterFunction",
        "functions/submitter/handler.py",
        "desk",
        ("s3", "dynamodb"),
    ),
    "status_watcher": Function(
        "StatusWatcherFunction",
        "functions/status_watcher/handler.py",
        "watch",
        ("sqs", "s3", "dynamodb", "batch"),
    ),
    "log_router": Function(
        "LogRouterFunction",
        "functions/log_router/handler.py",
        "doors",
        ("s3", "dynamodb", "logs", "sns", "events", "sqs"),
    ),
}

_SQS = "https://sqs.eu-west-1.amazonaws.com/123456789012"

SETTINGS = {
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nothing",
    "POWERTOOLS_SERVICE_NAME": "dropwell",
    "POWERTOOLS_METRICS_NAMESPACE": "Dropwell",
    "TABLE_NAME": "dropwell",
    "INBOX_BUCKET": "dropwell-inbox",
    "WORKFLOW_BUCKET": "dropwell-workflows",
    "SCRIPT_BUCKET": "dropwell-workflows",
    "RETENTION_DAYS": "400",
    "CROMWELL_URL": "http://127.0.0.1:9",
    "ENFORCED_OPTIONS": "{}",
    "SUBMISSION_LIMIT_BYTES": "8388608",
    "SIGHTING_QUEUE_URL": f"{_SQS}/sightings",
    "DIAGNOSIS_QUEUE_URL": f"{_SQS}/diagnosis",
    "DROP_QUEUE_URL": f"{_SQS}/drops",
    "LEASE_SECONDS": "150",
    "VISIBILITY_SECONDS": "300",
    "MAIL_TOPIC_ARN": "arn:aws:sns:eu-west-1:123456789012:mail",
    "BUS_NAME": "dropwell",
    "BATCH_LOG_GROUP": "/aws/batch/job",
    "NOTICE_DETAIL": "standard",
}
