"""A server that answers as Cromwell 92 on AWS Batch does, and really runs what it is given."""
