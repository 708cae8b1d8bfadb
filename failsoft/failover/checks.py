"""What is measured before and while traffic moves, and what a figure must be.

=============  ==========================================  ==========================================================
check          figure                                      passes if
=============  ==========================================  ==========================================================
reachable      1 if the region answers and has the model   it is 1
breakers       breakers that hold this region's calls back  none does
agreement      part of the canary set that gets the answer  at least the bound
               that the region which is left gives
p95            95 % of the canary calls take at most this   at most the bound, seconds
capacity       calls answered of so many at once            at least the bound
served         part of the requests that ended ok while     at least the bound
               this share was on
arrived        of the calls that this share should have     at least the bound
               brought over, the part that came
=============  ==========================================  ==========================================================

A figure that could not be measured fails its check: what nobody could look at has not been shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class CheckName(StrEnum):
    """What is measured."""

    REACHABLE = "reachable"
    BREAKERS = "breakers"
    AGREEMENT = "agreement"
    P95 = "p95"
    CAPACITY = "capacity"
    SERVED = "served"
    ARRIVED = "arrived"


AT_MOST = frozenset({CheckName.BREAKERS, CheckName.P95})
"""Of these less is better."""
GLANCES = frozenset({CheckName.BREAKERS})
"""These cost nothing, so they are looked at again and again while a share is held: a sick region is left early."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at, and what it must be."""

    name: CheckName
    bound: float


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check came to.

    Attributes:
        at: when: ``before``, or the share that was on, such as ``10%``.
        check: what was looked at.
        bound: what it must be.
        figure: what it was; None: it could not be measured.
        passed: whether it may go on.
    """

    at: str
    check: CheckName
    bound: float
    figure: float | None
    passed: bool

    def __str__(self) -> str:
        figure = "not measured" if self.figure is None else f"{self.figure:.4g}"
        word = "at most" if self.check in AT_MOST else "at least"
        return f"{self.at}: {self.check} {figure}, {word} {self.bound:.4g}: {'passed' if self.passed else 'FAILED'}"


ARRIVED_LEAST = 10.0
"""Fewer that should have come over say nothing: at 1 % of a quiet pipeline the next share tells."""


def arrived(came: int, of: int, share: float) -> float | None:
    """Which part of the calls that should have gone over did; all, where too few should to tell; None: there was no call."""
    if not of:
        return None
    expected = of * share
    return 1.0 if expected < ARRIVED_LEAST and share < 1 else min(1.0, came / expected)


def finding(check: Check, figure: float | None, *, at: str) -> Finding:
    """Judge one figure."""
    if figure is None:
        passed = False
    elif check.name in AT_MOST:
        passed = figure <= check.bound
    else:
        passed = figure >= check.bound
    return Finding(at, check.name, check.bound, figure, passed)


def findings(checks: tuple[Check, ...], figures: Mapping[CheckName, float | None], *, at: str) -> tuple[Finding, ...]:
    """Judge all of them."""
    return tuple(finding(check, figures.get(check.name), at=at) for check in checks)
