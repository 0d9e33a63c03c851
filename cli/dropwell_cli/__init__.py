"""The `dropwell` command."""


class Failure(Exception):
    """What was asked cannot be done; the text says why, and what to do instead."""
