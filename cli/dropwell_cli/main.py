"""The commands: what they take, what they do, with which code they end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dropwell_cli import Failure
from dropwell_cli.places import STACK_VARIABLE, WORK_VARIABLE
from dropwell_local.engine.sandbox import Isolation

if TYPE_CHECKING:
    from rich.console import Console

    from dropwell.runs import Run
    from dropwell_cli.following import Watched
    from dropwell_cli.packing import Parcel
    from dropwell_cli.places import Place
    from dropwell_cli.sessions import Outcome, Session
    from dropwell_local.stack import LocalStack

_PLAIN = {"add_completion": False, "no_args_is_help": True, "rich_markup_mode": None}

_TAKEN_SECONDS = 30
"""How long a drop may lie in the inbox before its id is taken for a wrong one."""

_MOST_ABORTED = 10_000

app = typer.Typer(
    epilog=(
        "Commands look at the running local stack, else at the deployed one that --stack or"
        f" {STACK_VARIABLE} names."
    ),
    pretty_exceptions_enable=False,
    **_PLAIN,  # type: ignore[arg-type]
)
local_app = typer.Typer(
    help="Run a whole Dropwell on this machine.",
    epilog="Emulated AWS, and a Cromwell-compatible server over a real WDL engine.",
    **_PLAIN,  # type: ignore[arg-type]
)
app.add_typer(local_app, name="local")


def _examples(*lines: str) -> str:
    """Return what a command's help ends with; the mark keeps the lines from being joined."""
    return "\b\n" + "\n".join(["Examples:", *(f"  dropwell {line}" for line in lines)])


def _tell_version(asked: bool) -> None:
    if asked:
        from dropwell import __version__

        typer.echo(f"dropwell {__version__}")
        raise typer.Exit


@app.callback()
def dropwell(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Drop a WDL bundle, see it run, and read how it ended and why."""


Stack = Annotated[
    str | None,
    typer.Option(
        "--stack", "--stack-name", metavar="NAME", help="Look at this CloudFormation stack."
    ),
]
Local = Annotated[bool, typer.Option("--local", help="Look at the local stack only.")]
Work = Annotated[
    Path | None,
    typer.Option(
        "--work",
        metavar="DIR",
        envvar=WORK_VARIABLE,
        help="The local stack's folder, if not ~/.dropwell.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Project = Annotated[str, typer.Option("--project", metavar="P", help="The project to drop for.")]
Bundle = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="A zip, a tar.gz, a WDL file or a folder.")
]
Bundles = Annotated[
    list[Path], typer.Argument(metavar="BUNDLE", help="Zips, tars, WDL files or folders.")
]
Named = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's id, the beginning of it, or its name.")
]
Chaos = Annotated[
    str,
    typer.Option(
        "--chaos",
        metavar="WORDS",
        help="Be cruel: such as seed=7,duplicate=0.2,lose=0.1,spot=1; see docs/chaos.md.",
    ),
]
Isolate = Annotated[
    Isolation,
    typer.Option("--isolation", help="Keep tasks apart from this machine, by bubblewrap."),
]
OfProject = Annotated[
    str, typer.Option("--project", metavar="P", help="Only runs of this project.")
]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--label", metavar="KEY=VALUE", help="Only runs that bear this label; may be repeated."
    ),
]


# The local stack


@local_app.command(
    epilog=_examples(
        "local up",
        "local up --cromwell-url https://cromwell.internal",
        "local up --chaos seed=7,duplicate=0.5,spot=0.2",
    )
)
def up(
    work: Work = None,
    cromwell_url: Annotated[
        str | None,
        typer.Option("--cromwell-url", metavar="URL", help="Use this Cromwell, not the local one."),
    ] = None,
    chaos: Chaos = "",
    isolation: Isolate = Isolation.AUTO,
) -> None:
    """Start the local stack, until Ctrl-C."""
    from dropwell_cli import faces
    from dropwell_cli.places import local_place
    from dropwell_cli.sessions import checked_chaos
    from dropwell_local.stack import DEFAULT_WORK, local_stack

    cromwell = {"chaos": checked_chaos(chaos, cromwell_url), "isolation": isolation.value}
    out = faces.console()
    with (
        suppress(KeyboardInterrupt),
        faces.steps(out) as step,
        local_stack(
            work or DEFAULT_WORK, cromwell_url=cromwell_url, cromwell=cromwell, say=step.begin
        ) as stack,
    ):
        step.done()
        faces.stack_page(out, stack, local_place(stack, work))
        _tell_mails(out, stack)


def _tell_mails(out: Console, stack: LocalStack) -> None:
    """Print the subject of each mail as it comes, until interrupted."""
    from dropwell_cli import faces

    told = 0
    while True:
        mails = stack.mails()
        for mail in mails[told:]:
            faces.address(out, f"{mail.sent_at[11:19]}  {mail.subject}")
        told = len(mails)
        time.sleep(1)


@local_app.command(
    name="run",
    epilog=_examples(
        "local run examples/hello",
        "local run wgs.zip other.tar.gz --json",
        "local run wgs.zip --chaos oom=0.2",
    ),
)
def run_here(
    bundles: Bundles,
    project: Project = "default",
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="Stop looking after so long.")
    ] = 3600,
    chaos: Chaos = "",
    isolation: Isolate = Isolation.AUTO,
    as_json: Json = False,
    work: Work = None,
) -> None:
    """Drop bundles, and follow them to the end.

    Uses the local stack that runs, or starts one for as long as it takes. Ends with 0
    only if every run ended COMPLETE. With --json, prints one object a bundle.
    """
    from dropwell_cli import faces
    from dropwell_cli.packing import packed

    _check_project(project)
    parcels = [packed(bundle) for bundle in bundles]
    out = faces.console(error=as_json)
    outcome, _ = _through(
        parcels,
        project=project,
        timeout=timeout,
        work=work,
        chaos=chaos,
        isolation=isolation,
        out=out,
    )
    if as_json:
        for result in outcome.results:
            faces.say_json_line(result)
    raise typer.Exit(0 if outcome.all_complete else 1)


@local_app.command(
    epilog=_examples("local demo", "local demo --chaos seed=7,duplicate=0.5,lose=0.1")
)
def demo(chaos: Chaos = "", isolation: Isolate = Isolation.AUTO, work: Work = None) -> None:
    """Drop five examples, and see them end.

    Three complete, one fails and one is rejected; ends with 0 if they do.
    """
    from dropwell_cli import faces
    from dropwell_cli.demo import EXAMPLES, parcels

    out = faces.console()
    out.print("Five bundles are dropped into an inbox on this machine:\n")
    faces.examples(out, EXAMPLES)
    outcome, _ = _through(
        parcels(),
        project="demo",
        timeout=600,
        work=work,
        chaos=chaos,
        isolation=isolation,
        out=out,
    )
    wrong = [
        example.folder
        for example, result in zip(EXAMPLES, outcome.results, strict=True)
        if not example.ended_so(result["state"], result["cause"])
    ]
    out.print()
    if wrong:
        out.print(f"Not as it should be: {', '.join(wrong)}.", style="red")
        raise typer.Exit(1)
    out.print("All five ended as they should.", style="green")


def _through(
    parcels: Sequence[Parcel],
    *,
    project: str,
    timeout: float,
    work: Path | None,
    chaos: str,
    isolation: Isolation,
    out: Console,
) -> tuple[Outcome, Session]:
    """Drop parcels into the local stack and follow them to the end, saying where everything is."""
    from dropwell_cli import faces
    from dropwell_cli.sessions import checked_chaos, local_session, run_through

    chaos = checked_chaos(chaos)
    dropped: list[Watched] = []
    session: Session | None = None
    try:
        with local_session(work, out, chaos=chaos, isolation=isolation) as session:
            outcome = run_through(
                session.place,
                parcels,
                project=project,
                timeout=timeout,
                out=out,
                dropped=dropped.extend,
            )
    except KeyboardInterrupt:
        faces.interrupted(out, session, dropped)
        raise typer.Exit(130) from None
    faces.ending(out, outcome.watched, outcome.results)
    faces.where(out, session, outcome)
    if not outcome.in_time:
        fate = "were stopped with it" if session.ours else "go on"
        out.print(f"\nNot all ended within {timeout:g} seconds; the others {fate}.", style="red")
    return outcome, session


# Drops and runs, wherever they are


@app.command(
    epilog=_examples("submit wgs-0412.zip --project cardio", "submit ./wgs --stack dropwell-prod")
)
def submit(
    bundle: Bundle,
    project: Project = "default",
    as_json: Json = False,
    stack: Stack = None,
    local: Local = False,
    work: Work = None,
) -> None:
    """Drop a bundle into the inbox.

    Says which run it becomes; whether it is taken, its notices tell.
    """
    from dropwell_cli import faces
    from dropwell_cli.packing import packed
    from dropwell_cli.sessions import drop_in

    _check_project(project)
    parcel = packed(bundle)
    place = _place(stack, local, work)
    dropped = drop_in(place, parcel, project)
    if as_json:
        faces.say_json({"bundle": dropped.bundle, "run_id": dropped.run_id, "project": project})
        return
    out = faces.console()
    out.print(f"Dropped {dropped.name} into {place.label}, project {project}.")
    faces.address(out, f"Run     {dropped.run_id}")
    faces.address(out, f"Follow  {place.hint('watch', dropped.run_id)}")


@app.command(
    epilog=_examples(
        "runs --state RUNNING --project cardio", "runs --name 'wgs-*' --label cohort=A"
    )
)
def runs(
    project: OfProject = "",
    state: Annotated[
        list[str] | None,
        typer.Option("--state", metavar="STATE", help="Only runs in this state; may be repeated."),
    ] = None,
    name: Annotated[
        str,
        typer.Option("--name", metavar="NAME", help="Only runs so called; * stands for anything."),
    ] = "",
    label: Labels = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="At most so many.")
    ] = 20,
    as_json: Json = False,
    stack: Stack = None,
    local: Local = False,
    work: Work = None,
) -> None:
    """List runs, newest first.

    Filters add up: a run is listed if it fits all of them.
    """
    from dropwell_cli import faces, finding, reading

    wanted = finding.Filter(
        project=project, name=name, states=_states(state or []), labels=_labels(label)
    )
    place = _place(stack, local, work)
    now = int(time.time())
    found = finding.listed(place.table, now=now, limit=limit, wanted=wanted)
    if as_json:
        faces.say_json([reading.account(one.run, one.counts) for one in found])
    elif found:
        faces.run_list(faces.console(), found, now)
    else:
        which = "runs" if wanted == finding.EVERY else "such runs"
        back = f"as far as {finding.MONTHS} months back"
        faces.console().print(f"No {which} in {place.label}, {back}.")


@app.command(epilog=_examples("show wgs-0412", "show 6f2c0d1e --json"))
def show(
    run: Named,
    as_json: Json = False,
    stack: Stack = None,
    local: Local = False,
    work: Work = None,
) -> None:
    """Show all that is known of a run.

    How it is, how its calls fared, why it failed or what it returned, and where its
    folder is.
    """
    from dropwell_cli import faces, following, reading

    place, found = _meant(run, stack, local, work)
    one = _watched(place, found)
    one.notices = reading.said(place, one.standing)
    if as_json:
        faces.say_json(following.result(place, one))
        return
    known = one.standing.run or found
    faces.page(
        faces.console(),
        one.standing,
        known,
        calls=reading.calls(place, known.run_id),
        outputs=reading.outputs(place, known),
        facts=reading.facts(place, one.standing),
        folder=reading.folder_uri(place, known),
        now=time.time(),
    )


@app.command(epilog=_examples("watch wgs-0412", "watch 6f2c0d1e --timeout 3600"))
def watch(
    run: Named,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="SECONDS", help="Stop looking after so long."),
    ] = None,
    as_json: Json = False,
    stack: Stack = None,
    local: Local = False,
    work: Work = None,
) -> None:
    """Follow a run until it has ended.

    Shows its state, how many of its jobs have ended, how many shards of each call that
    runs, and the time since it was dropped; its notices as they come. Ends with 0 only if
    the run ended COMPLETE. With --json, prints what became of it.
    """
    from dropwell_cli import faces, following

    place, found = _watchable(run, stack, local, work)
    found.by_call = True
    out = faces.console(error=as_json)
    try:
        with faces.Progress(out, [found]) as face:
            in_time = following.follow(place, [found], face=face, timeout=timeout)
    except KeyboardInterrupt:
        out.print(f"\n{found.name} goes on. {place.hint('watch', found.run_id[:8])} looks again.")
        raise typer.Exit(130) from None
    told = following.result(place, found)
    faces.ending(out, [found], [told])
    if as_json:
        faces.say_json(told)
    if not in_time:
        out.print(f"\nIt had not ended after {timeout:g} seconds, and goes on.")
    raise typer.Exit(0 if found.standing.complete else 1)


@app.command(
    epilog=_examples(
        "logs wgs-0412", "logs wgs-0412 align-3 -n 100", "logs wgs-0412 align --follow"
    )
)
def logs(
    run: Named,
    call: Annotated[
        str | None,
        typer.Argument(metavar="CALL", help="A call, such as align, or a shard: align-3."),
    ] = None,
    lines: Annotated[
        int,
        typer.Option(
            "--lines", "-n", metavar="N", min=1, help="How many of the last lines of each."
        ),
    ] = 40,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is written, until it ends.")
    ] = False,
    as_json: Json = False,
    stack: Stack = None,
    local: Local = False,
    work: Work = None,
) -> None:
    """Print what calls wrote last.

    The ends of stderr and stdout of a call, or, without CALL, of the calls that failed.
    If none did, the calls are listed. With --follow, what CALL writes while it runs, or
    whatever runs, until it has ended; it comes from the jobs' log, as CloudWatch has it.
    """
    from dropwell_cli import faces, following, reading

    if follow and as_json:
        raise typer.BadParameter("--follow prints lines as they come, and no --json.")
    place, found = _meant(run, stack, local, work)
    if follow:
        out = faces.console()
        with _interruptible(out, f"\n{found.name} goes on."):
            following.follow_logs(
                place,
                found.run_id,
                call,
                lines,
                show=lambda *news: faces.log_news(out, *news),
                sleep=time.sleep,
            )
        return
    known = reading.calls(place, found.run_id)
    chosen = reading.meant(known, call) if call else [one for one in known if one.failed]
    out = faces.console()
    if not chosen and not as_json:
        out.print(faces.no_log(found, known))
        if known:
            out.print(faces.call_table(known))
            out.print(f"\nRead one by {place.hint('logs', found.run_id[:8], 'CALL')}")
        return
    read = [(one, reading.logs(place, one, lines)) for one in chosen[: reading.MOST_LOGS]]
    if as_json:
        faces.say_json([reading.log_account(one, ends) for one, ends in read])
        return
    for one, ends in read:
        faces.call_log(out, one, ends)
    if more := len(chosen) - len(read):
        out.print(f"And {more} more. Name a shard, such as {reading.shown(chosen[-1])}.")


@app.command(epilog=_examples("abort wgs-0412", "abort --label cohort=A --project cardio"))
def abort(
    run: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="A run's id, the beginning of it, or its name."),
    ] = None,
    label: Labels = None,
    project: OfProject = "",
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="With --label: do not ask before.")
    ] = False,
    as_json: Json = False,
    stack: Stack = None,
    local: Local = False,
    work: Work = None,
) -> None:
    """Ask for runs to be stopped.

    One, or with --label all that bear a label and have not ended; they are listed, and
    only asked for once that is confirmed.
    """
    from dropwell.drops import Action
    from dropwell_cli import faces

    if bool(run) == bool(label):
        raise typer.BadParameter("Give a RUN, or the runs' --label.")
    if label:
        if as_json and not yes:
            raise typer.BadParameter("With --json nobody can be asked: add --yes.")
        _abort_all(_place(stack, local, work), _labels(label), project, yes=yes, as_json=as_json)
        return
    place, found = _meant(run or "", stack, local, work)
    asked = not found.state.terminal
    if asked:
        place.ask(Action.ABORT, found.project, found.run_id)
    if as_json:
        faces.say_json(_asked(found, asked))
    elif asked:
        out = faces.console()
        out.print(f"Asked for {found.name} ({found.run_id}) to stop.")
        faces.address(out, f"Follow  {place.hint('watch', found.run_id[:8])}")
    else:
        faces.console().print(f"{found.name} has ended already: {found.state.value}.")


def _asked(run: Run, asked: bool) -> dict[str, Any]:
    return {"run_id": run.run_id, "state": run.state.value, "asked": asked}


def _abort_all(
    place: Place, labels: tuple[tuple[str, str], ...], project: str, *, yes: bool, as_json: bool
) -> None:
    """Ask for all runs of some labels that have not ended to be stopped, once that is confirmed."""
    from dropwell.drops import Action
    from dropwell.runs import State
    from dropwell.text import plural
    from dropwell_cli import faces, finding

    live = frozenset(state for state in State if not state.terminal) - {State.CANCELING}
    wanted = finding.Filter(project=project, labels=labels, states=live)
    now = int(time.time())
    found = finding.listed(place.table, now=now, limit=_MOST_ABORTED, wanted=wanted)
    out = faces.console()
    if not as_json:
        if not found:
            out.print("No run that bears it is to be stopped.")
            return
        faces.run_list(out, found, now)
    if not yes:
        typer.confirm(f"Stop {plural(len(found), 'run')}?", abort=True)
    for one in found:
        place.ask(Action.ABORT, one.run.project, one.run.run_id)
    if as_json:
        faces.say_json([_asked(one.run, True) for one in found])
    else:
        out.print(f"Asked for {plural(len(found), 'run')} to stop.")


@app.command(epilog=_examples("release wgs-0412"))
def release(
    run: Named,
    as_json: Json = False,
    stack: Stack = None,
    local: Local = False,
    work: Work = None,
) -> None:
    """Let a run go that is on hold, as "hold" in its manifest asked."""
    from dropwell.drops import Action
    from dropwell.runs import State
    from dropwell_cli import faces

    place, found = _meant(run, stack, local, work)
    asked = found.state is State.PAUSED
    if asked:
        place.ask(Action.RELEASE, found.project, found.run_id)
    if as_json:
        faces.say_json(_asked(found, asked))
    elif asked:
        out = faces.console()
        out.print(f"Asked for {found.name} ({found.run_id}) to be released.")
        faces.address(out, f"Follow  {place.hint('watch', found.run_id[:8])}")
    else:
        faces.console().print(f"{found.name} is not on hold: {found.state.value}.")


@app.command(epilog=_examples("notices", "notices wgs-0412"))
def notices(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="A run's id, the beginning of it, or its name."),
    ] = None,
    limit: Annotated[
        int,
        typer.Option("--limit", metavar="N", min=1, help="Without RUN: of at most so many runs."),
    ] = 20,
    as_json: Json = False,
    stack: Stack = None,
    local: Local = False,
    work: Work = None,
) -> None:
    """Read notices again.

    Those of a run in full; without RUN, a list of those of the latest runs.
    """
    from dropwell_cli import faces, finding, reading

    if run:
        place, found = _meant(run, stack, local, work)
        ids = [found.run_id]
    else:
        place = _place(stack, local, work)
        listed = finding.listed(place.table, now=int(time.time()), limit=limit)
        ids = [one.run.run_id for one in listed]
    standings = reading.standings(place, ids)
    told = sorted(
        (one for run_id in ids for one in reading.said(place, standings[run_id])),
        key=lambda one: one.at,
    )
    out = faces.console()
    if as_json:
        faces.say_json([one.as_json() for one in told])
    elif not told:
        out.print("Nothing was told yet.")
    elif run:
        for one in told:
            faces.letter(out, one)
    else:
        faces.notice_list(out, told)


# The operator's side


@app.command(epilog=_examples("doctor", "doctor --stack-name dropwell-prod --json"))
def doctor(
    as_json: Json = False,
    stack: Stack = None,
    local: Local = False,
    work: Work = None,
) -> None:
    """Look whether all is well with a Dropwell, from outside.

    Says of each thing what was found and what to do; changes nothing. Ends with 0 if
    nothing fails; what only warns goes on working.
    """
    from dropwell_cli import faces
    from dropwell_cli.doctor import report, sound
    from dropwell_cli.examining import examine

    place = _place(stack, local, work)
    found = examine(place, clock=time.time)
    if as_json:
        faces.say_json(report(place.label, found))
    else:
        faces.health(faces.console(), place.label, found)
    raise typer.Exit(0 if sound(found) else 1)


# Shared


@contextmanager
def _interruptible(out: Console, goes_on: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        out.print(goes_on)
        raise typer.Exit(130) from None


def _place(stack: str | None, local: bool, work: Path | None) -> Place:
    from dropwell_cli.places import find_place

    return find_place(stack=stack, local=local, work=work)


def _meant(named: str, stack: str | None, local: bool, work: Path | None) -> tuple[Place, Run]:
    from dropwell_cli.finding import find_run

    place = _place(stack, local, work)
    return place, find_run(place.table, named, now=int(time.time()))


def _watched(place: Place, run: Run) -> Watched:
    from dropwell_cli.following import Watched
    from dropwell_cli.reading import standings

    return Watched(
        run_id=run.run_id,
        name=run.name,
        standing=standings(place, [run.run_id])[run.run_id],
    )


def _watchable(
    named: str, stack: str | None, local: bool, work: Path | None
) -> tuple[Place, Watched]:
    """Return the run that is meant; one that was dropped a moment ago may not be on record yet."""
    from dropwell_cli.finding import find_run, whole_id

    place = _place(stack, local, work)
    give_up = time.monotonic() + _TAKEN_SECONDS
    while True:
        try:
            return place, _watched(place, find_run(place.table, named, now=int(time.time())))
        except Failure:
            if not whole_id(named) or time.monotonic() > give_up:
                raise
        time.sleep(place.pause)


def _check_project(project: str) -> None:
    from dropwell.drops import safe_name

    if safe_name(project) != project:
        raise typer.BadParameter(
            f'"{project}" cannot name a project; letters, digits and . _ - = + @ can.'
        )


def _labels(given: Sequence[str] | None) -> tuple[tuple[str, str], ...]:
    from dropwell_cli.finding import label_of

    try:
        return tuple(label_of(text) for text in given or ())
    except Failure as failure:
        raise typer.BadParameter(str(failure)) from None


def _states(names: Sequence[str]) -> frozenset[Any]:
    from dropwell.runs import State

    unknown = [name for name in names if name.upper() not in set(State)]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]} is no state; there are {', '.join(State)}.")
    return frozenset(State(name.upper()) for name in names)


def main() -> None:
    """Run the command; what cannot be done is told in a sentence."""
    try:
        app()
    except _told_in_words() as error:
        from dropwell_cli.faces import console

        out = console(error=True)
        out.print(_words(error), soft_wrap=not out.is_terminal)
        sys.exit(1)


def _told_in_words() -> tuple[type[Exception], ...]:
    """Return what to expect; asked only once something went wrong, so loading is no matter."""
    from botocore.exceptions import BotoCoreError, ClientError

    from dropwell.errors import DropwellError
    from dropwell_local import LocalFailure

    return (Failure, LocalFailure, DropwellError, BotoCoreError, ClientError)


def _words(error: BaseException) -> str:
    from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

    if isinstance(error, EndpointConnectionError) and "//127.0.0.1:" in str(error):
        return "The local stack does not answer any more. Was it stopped?"
    if isinstance(error, ClientError):
        told = error.response.get("Error", {})
        if _out_of_time(told):
            return (
                "AWS refuses what this machine's clock says. Set it by the network, such as with"
                " `timedatectl set-ntp true`."
            )
        return f"AWS refused {error.operation_name}: {told.get('Message') or told.get('Code')}"
    if isinstance(error, BotoCoreError):
        return f"AWS cannot be asked: {str(error).rstrip('.')}."
    return str(error)


def _out_of_time(told: Any) -> bool:
    """Return whether AWS refused a request for its time (Common Errors, AWS API references)."""
    code, message = told.get("Code"), told.get("Message") or ""
    return code in ("RequestExpired", "RequestTimeTooSkewed") or message.startswith(
        ("Signature expired", "Signature not yet current")
    )
