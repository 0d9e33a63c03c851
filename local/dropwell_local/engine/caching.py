"""Call caching: what makes two calls the same, and how a call becomes a copy of an earlier one.

What is compared is what Cromwell compares (CallCacheHashingJobActor.scala), but for the
command: Cromwell takes its template, here it is what the template came to, with the content
of a file in place of its path.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import WDL

_BACKEND = "AWSBATCH"
_COMPARED = ("docker", "continueOnReturnCode", "failOnStderr")
"""The runtime attributes that make a difference (`usedInCallCaching`)."""
_UNSPECIFIED = "N/A"
_SMALL = 1 << 20


class Uncacheable(Exception):
    """A call that cannot be compared with others, or an earlier one that cannot be copied."""


@dataclass(frozen=True)
class Mode:
    """Whether a call may be taken from the cache, and whether it goes there.

    >>> print(Mode(read=False, write=True), Mode(read=False, write=False))
    WriteCache CallCachingOff
    """

    read: bool = False
    write: bool = False

    def __str__(self) -> str:
        names = {(True, True): "ReadAndWriteCache", (True, False): "ReadCache"}
        return names.get((self.read, self.write), "WriteCache" if self.write else "CallCachingOff")


def mode_of(options: Mapping[str, Any], *, enabled: bool) -> Mode:
    """Return what a run's options make of a server that caches calls, or does not."""

    def wanted(option: str) -> bool:
        return enabled and str(options.get(option, True)).lower() != "false"

    return Mode(read=wanted("read_from_cache"), write=wanted("write_to_cache"))


@dataclass(frozen=True)
class Caching:
    """What is known of a call for the cache.

    Parameters
    ----------
    mode : Mode
        What may be done.
    hashes : dict
        Of everything that is compared, as metadata shows it.
    result : str
        What was found; empty, if nobody looked.
    """

    mode: Mode = Mode()
    hashes: dict[str, Any] = field(default_factory=dict)
    result: str = ""

    @property
    def key(self) -> str:
        """Return what calls that are the same have in common."""
        return _md5(repr(sorted(_leaves(self.hashes))))

    def without_read(self) -> Caching:
        """Return it for another attempt, for which nobody looks."""
        return replace(self, mode=replace(self.mode, read=False), result="")

    def told(self, *, reusable: bool = True, hit: bool = False) -> dict[str, Any]:
        """Return it as metadata has it."""
        return {
            "effectiveCallCachingMode": str(self.mode),
            "allowResultReuse": self.mode.write and reusable,
            **({"hit": hit, "result": self.result} if self.result else {}),
            **({"hashes": self.hashes} if self.hashes else {}),
        }


def hashes_of(
    task: Any,
    inputs: Any,
    *,
    command: str,
    attributes: Mapping[str, str],
    content: Callable[[str], str],
) -> dict[str, Any]:
    """Return the hashes of all that makes a call what it is.

    Parameters
    ----------
    task : WDL.Tree.Task
        What it calls; the name makes no difference.
    inputs : WDL.Env.Bindings
        What it is called with.
    command : str
        With the content of files in place of their paths.
    attributes : mapping
        Its runtime attributes.
    content : callable
        Returns the fingerprint of a file that an input names.

    Raises
    ------
    Uncacheable
        It wants a directory, whose content Cromwell does not compare.
    """

    def fingerprint(value: Any) -> str:
        if isinstance(value, WDL.Value.Directory):
            raise Uncacheable(f"{value.value} is a directory")
        return content(value.value)

    given = {
        binding.name: _md5(repr(WDL.Value.rewrite_paths(binding.value, fingerprint).json))
        for binding in inputs
    }
    declared = [*(task.inputs or []), *task.postinputs]
    known = {
        f"{decl.type} {decl.name}": given.pop(str(decl.name), "") or _md5(str(decl.expr))
        for decl in declared
    }
    return {
        "backend name": _md5(_BACKEND),
        "command template": _md5(command),
        "input count": _md5(str(len(declared))),
        "output count": _md5(str(len(task.outputs))),
        "input": {**known, **given},
        "output expression": {
            f"{decl.type} {decl.name}": _md5(str(decl.expr)) for decl in task.outputs
        },
        "runtime attribute": {
            name: _md5(attributes[name]) if name in attributes else _UNSPECIFIED
            for name in _COMPARED
        },
    }


def copy_work(source: Path, target: Path, *streams: tuple[Path, Path]) -> None:
    """Give a call the folder and streams of an earlier one, without another byte on the disk.

    Raises
    ------
    Uncacheable
        They are gone, or a file in them names the folder it was made in: that would lead to
        the earlier call.
    """
    if not source.is_dir() or not all(before.is_file() for before, _ in streams):
        raise Uncacheable("its files are no longer on this machine")
    name = str(source).encode()
    for file in (*source.rglob("*"), *(before for before, _ in streams)):
        if file.is_symlink() or not file.is_file() or file.stat().st_size > _SMALL:
            continue
        if name in file.read_bytes():
            raise Uncacheable(f"{file.name} names its folder")
    try:
        shutil.copytree(source, target, symlinks=True, copy_function=_link, dirs_exist_ok=True)
        for before, after in streams:
            _link(before, after)
    except OSError as problem:
        raise Uncacheable(str(problem)) from problem
    for link in (path for path in target.rglob("*") if path.is_symlink()):
        to = link.readlink()
        if to.is_relative_to(source):
            link.unlink()
            link.symlink_to(target / to.relative_to(source))


def _link(before: str | Path, after: str | Path) -> None:
    Path(after).unlink(missing_ok=True)
    try:
        os.link(before, after, follow_symlinks=False)
    except OSError:
        shutil.copy2(before, after, follow_symlinks=False)


def _leaves(hashes: Mapping[str, Any]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in hashes.items():
        if isinstance(value, dict):
            found += [(f"{name}: {inner}", leaf) for inner, leaf in _leaves(value)]
        else:
            found.append((name, value))
    return found


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest().upper()
