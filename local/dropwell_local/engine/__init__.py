"""WDL workflows as host processes, seen from outside as Cromwell on AWS Batch."""
