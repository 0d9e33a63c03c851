"""A call that is not run: what it would leave is copied from an earlier one that was the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dropwell_local.engine import layout, store
from dropwell_local.engine.caching import Caching, Uncacheable, copy_work
from dropwell_local.engine.session import Failure, Session, failure, now


class Copy:
    """A call that is taken from the cache. It has the face of an `Attempt`, and no job.

    Parameters
    ----------
    session : Session
        Its run.
    call : Call
        Which call.
    caching : Caching
        What it has in common with the earlier one.
    entry : mapping
        What the cache knows of that, as `Attempt.done` has told it.
    stdout, stderr : Path
        Where its streams are to be on this machine.
    """

    number = 1
    past = over = None
    is_open = files_gone = False

    def __init__(
        self,
        session: Session,
        call: layout.Call,
        caching: Caching,
        entry: Mapping[str, Any],
        *,
        stdout: Path,
        stderr: Path,
    ) -> None:
        assert session.run is not None
        place = layout.place_of(session.run, call, 1)
        self.place = replace(place, root=f"{place.root}/cacheCopy", cached=True)
        self.code: int = entry["code"]
        self.made_in: str = entry["call"].partition(":")[0]
        self._session, self._call, self._entry = session, call, entry
        self._caching = replace(caching, result=f"Cache Hit: {entry['call']}")
        self._stdout, self._stderr = stdout, stderr

    def url(self, relative: str) -> str:
        return f"s3://{self.place.bucket}/{self.place.root}/{relative}"

    def take(self, work: Path) -> None:
        """Copy files, into the call's own folder, and objects.

        Raises
        ------
        Uncacheable
            Something of the earlier call is gone.
        """
        copy_work(
            Path(self._entry["work"]),
            work,
            (Path(self._entry["stdout"]), self._stdout),
            (Path(self._entry["stderr"]), self._stderr),
        )
        # Last the rc file: whoever sees it believes in the copy.
        for relative in sorted(self._entry["stored"], key=lambda one: one.endswith("-rc.txt")):
            self._take_object(relative)
        bucket = f"s3://{self.place.bucket}"
        self._session.remember(self._stderr, f"{bucket}/{self.place.stderr_key}")
        self._session.remember(self._stdout, f"{bucket}/{self.place.stdout_key}")

    def _take_object(self, relative: str) -> None:
        before, after = f"{self._entry['root']}/{relative}", self.url(relative)
        try:
            self._session.know_content(after, self._session.content_of(before))
            store.copy(before, after)
        except store.Unreadable as problem:
            raise Uncacheable(str(problem)) from problem

    def begin(self, inputs: Mapping[str, Any], attributes: Mapping[str, str]) -> None:
        """Tell of it as Cromwell does while it copies."""
        bucket = f"s3://{self.place.bucket}"
        self._tell(
            executionStatus="Running",
            backend="AWSBATCH",
            start=now(),
            inputs=inputs,
            callRoot=f"{bucket}/{self.place.root}",
            stdout=f"{bucket}/{self.place.stdout_key}",
            stderr=f"{bucket}/{self.place.stderr_key}",
            runtimeAttributes=dict(attributes),
            callCaching=self._caching.told(hit=True),
        )

    def store_output(self, path: Path, relative: str) -> None:
        """Note where an output is; only what the earlier call did not store is stored."""
        if path.is_dir() or relative in self._entry["stored"]:
            self._session.remember(path, self.url(relative))
        else:
            self._session.upload(path, self.url(relative))

    def store_list(self, relative: str, text: str) -> None:
        """Do nothing: it is among the copies."""

    def done(self, outputs: Mapping[str, Any]) -> None:
        self._tell(executionStatus="Done", returnCode=self.code, outputs=outputs, end=now())

    def incomplete(self, reason: str) -> None:
        why: Failure = failure(reason)
        self._session.blame(self._call.holder.workflow_id, why)
        self._tell(executionStatus="Failed", failures=[why], retryableFailure=False, end=now())

    def unreadable(self, output: str, reason: str) -> None:
        self.incomplete(f"Failed to evaluate job outputs:\nBad output '{output}': {reason}")

    def _tell(self, **facts: Any) -> None:
        self._session.tell_call(self._call, 1, **facts)
