"""A bundle dropped in S3 becomes a Cromwell run; when it ends, people hear how, and why."""

__version__ = "0.1.0"
