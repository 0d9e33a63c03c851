"""Drops followed from start to end on the local stack: on the one that runs, else on one of ours.

A stack that was started for this lasts as long as it takes, and is stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropwell_cli import Failure
from dropwell_cli.faces import Progress, steps
from dropwell_cli.following import Watched, follow, result
from dropwell_cli.packing import Parcel
from dropwell_cli.places import Place, local_place
from dropwell_local.engine.sandbox import Isolation

if TYPE_CHECKING:
    from rich.console import Console

    from dropwell_local.stack import LocalStack


@dataclass(frozen=True, kw_only=True)
class Session:
    """The local stack, for a while.

    Parameters
    ----------
    stack, place
        What runs.
    ours : bool
        It was started for this, and stops after it.
    """

    stack: LocalStack
    place: Place
    ours: bool


@contextmanager
def local_session(
    work: Path | None,
    out: Console,
    *,
    chaos: str = "",
    isolation: Isolation = Isolation.AUTO,
) -> Iterator[Session]:
    """Give the running local stack, or run one while the block does.

    Parameters
    ----------
    chaos, isolation
        How the one that is started is to be. One that runs is as it is.

    Raises
    ------
    LocalFailure
        It could not be started.
    Failure
        One runs, and something is asked of how it is started.
    """
    from dropwell_local.stack import DEFAULT_WORK, LocalStack, NotRunning, local_stack

    folder = work or DEFAULT_WORK
    try:
        running: LocalStack | None = LocalStack.found(folder)
    except NotRunning:
        running = None
    asked = {"--chaos": bool(chaos), "--isolation": isolation is not Isolation.AUTO}
    if running and any(asked.values()):
        given = " and ".join(option for option, is_asked in asked.items() if is_asked)
        raise Failure(
            f"A local stack runs in {folder} already, and {given} would say how to start one."
            " Leave it out, stop that stack with Ctrl-C, or give another folder as --work."
        )
    if running:
        yield Session(stack=running, place=local_place(running, work), ours=False)
        return
    cromwell = {"chaos": chaos, "isolation": isolation.value}
    with steps(out) as step, local_stack(folder, cromwell=cromwell, say=step.begin) as stack:
        step.done()
        yield Session(stack=stack, place=local_place(stack, work), ours=True)


def checked_chaos(words: str, cromwell_url: str | None = None) -> str:
    """Return a description of chaos if there is one that can be followed.

    Raises
    ------
    Failure
        It is wrong, or meant for a Cromwell that is not ours to be cruel with.
    """
    from dropwell_local.cromwell.chaos import BadChaos, parse

    if words and cromwell_url:
        raise Failure("--chaos is for the local Cromwell; it cannot be used with --cromwell-url.")
    try:
        return str(parse(words))
    except BadChaos as problem:
        raise Failure(f"--chaos: {problem}.") from None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of drops.

    Parameters
    ----------
    watched : list of Watched
        Each drop, as it was last seen.
    results : list of dict
        The same, as programs read it.
    in_time : bool
        All ended before the time was over.
    """

    watched: list[Watched]
    results: list[dict[str, Any]]
    in_time: bool

    @property
    def all_complete(self) -> bool:
        return all(one.standing.complete for one in self.watched)


def run_through(
    place: Place,
    parcels: Sequence[Parcel],
    *,
    project: str,
    timeout: float | None,
    out: Console,
    dropped: Callable[[Sequence[Watched]], None] = lambda watched: None,
) -> Outcome:
    """Drop bundles, and follow them until all is told of them.

    Parameters
    ----------
    dropped : callable
        Told what was dropped, so that an interruption can be explained.
    """
    watched = [drop_in(place, parcel, project) for parcel in parcels]
    dropped(watched)
    with Progress(out, watched) as face:
        in_time = follow(place, watched, face=face, timeout=timeout)
    return Outcome(
        watched=watched, results=[result(place, one) for one in watched], in_time=in_time
    )


def drop_in(place: Place, parcel: Parcel, project: str) -> Watched:
    drop = place.drop(parcel, project)
    return Watched(run_id=drop.run_id, name=parcel.name, bundle=parcel.given)
