"""Parameters of a server that renders, for tests to change."""

from __future__ import annotations

from typing import Any

ACCOUNT = "123456789012"
SECRETS = f"arn:aws:secretsmanager:eu-central-1:{ACCOUNT}:secret"
PARAMETERS: dict[str, Any] = {
    "region": "eu-central-1",
    "root": "s3://work/cromwell-execution",
    "script_bucket": "work",
    "queue_arn": f"arn:aws:batch:eu-central-1:{ACCOUNT}:job-queue/default",
    "database_host": "db.cluster-abc.eu-central-1.rds.amazonaws.com",
    "database_secret": f"{SECRETS}:database-AbCdEf",
    "token_secret": f"{SECRETS}:token-AbCdEf",
    "certificate_parameter": "/gwfcore/one/cromwell/certificate",
    "jar_url": "https://jars.internal/cromwell-92.jar",
    "jar_sha256": "0" * 64,
    "server_names": ["cromwell.one.internal", "localhost", "127.0.0.1"],
}
