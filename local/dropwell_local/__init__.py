"""The local stack: emulated AWS, and a Cromwell-compatible server over a real WDL engine."""


class LocalFailure(Exception):
    """The local stack cannot do what was asked; the text says why, to people."""
