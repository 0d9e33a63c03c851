"""The demonstration: five example bundles, and how each of them must end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dropwell.runs import State
from dropwell_cli import Failure
from dropwell_cli.packing import Parcel, packed


class Example(NamedTuple):
    """A bundle of the examples, what it shows, and how it ends."""

    folder: str
    shows: str
    state: State
    cause: str | None = None

    def ended_so(self, state: str | None, cause: str | None) -> bool:
        return state == self.state and cause == self.cause


EXAMPLES = (
    Example("hello", "the least that runs", State.COMPLETE),
    Example("fastq-stats", "scatter and gather over reads in the bundle", State.COMPLETE),
    Example("subworkflows", "workflows that call workflows", State.COMPLETE),
    Example("failing", "one task of four fails by itself", State.EXECUTOR_ERROR, "TASK_ERROR"),
    Example("typo", "an input's name is misspelt", State.REJECTED),
)


def parcels() -> Sequence[Parcel]:
    """Return the five bundles.

    Raises
    ------
    Failure
        They are not here: the command was installed without the project.
    """
    folder = Path(__file__).parents[2] / "examples"
    if not folder.is_dir():
        raise Failure("The example bundles are not here. Run this from a clone of the project.")
    return [packed(folder / example.folder) for example in EXAMPLES]
