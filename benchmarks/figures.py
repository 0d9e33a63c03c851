"""How figures are printed: beside their baseline, with the ratio and the goal, if any."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of a report.

    Parameters
    ----------
    name : str
        What was measured, with its unit.
    ours : float or str
        What it is here.
    baseline : float or None
        The same of what it is compared with.
    ratio : float or None
        As a reader wants it, greater or smaller than one; `None` to leave it out.
    goal : str
        In words; empty where there is none.
    met : bool or None
        Whether the goal is met.
    """

    name: str
    ours: float | str
    baseline: float | None = None
    ratio: float | None = None
    goal: str = ""
    met: bool | None = None


def title(text: str, about: str) -> None:
    print(f"{text}\n{'-' * len(text)}\n{about}\n")


def show(figures: Iterable[Figure], *, against: str) -> None:
    """Print figures as a table; the third column is headed by what it is compared with."""
    print(f"{'':<46}{'here':>12}{against:>18}{'ratio':>10}   goal")
    for figure in figures:
        verdict = {None: "", True: ": met", False: ": MISSED"}[figure.met]
        print(
            f"{figure.name:<46}{_short(figure.ours):>12}{_short(figure.baseline):>18}"
            f"{_short(figure.ratio, 'x'):>10}   {figure.goal}{verdict}".rstrip()
        )
    print()


def _short(value: float | str | None, unit: str = "") -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, int) or value >= 100:
        return f"{value:,.0f}{unit}"
    return f"{value:.3g}{unit}"
