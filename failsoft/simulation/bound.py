"""The blind bound: what no rule can beat that knows all arrivals and faults but no single service time.

A linear program of flows (research/policy-lab.md §1). Requests of one class that arrive in one bin of time form a group; a
group may spend slot-seconds of the full tier and of the next one in each bin between its arrival and its deadline. One attempt
at the full tier costs ``E[min(S, D)]`` of a slot and is answered with chance ``F(D)``; what it misses is worth a level 2
answer. What is served by neither is worth a level 3 answer::

    maximise    sum over groups   full (F(D) + (1 - F(D)) .7) + lower .7 + rest .2
    subject to  per bin and tier  slot-seconds used <= slots x width x availability
                per group         full + lower <= requests

A value relative to it is how much of the possible a rule got. Needs scipy: ``pip install 'failsoft[simulation]'``.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from failsoft.policy.errors import EnvironmentFailure
from failsoft.simulation.report import LEVEL_VALUES
from failsoft.simulation.workload import Ask

FULL, REDUCED, FALLBACK = (LEVEL_VALUES[level] for level in (1, 2, 3))


class Served(Protocol):
    """One model tier as the bound sees it."""

    def chance(self, within: float, instant: float) -> float:
        """The part of calls, started now, that are answered within so many seconds."""

    def cost(self, within: float, instant: float) -> float:
        """Mean slot-seconds of a call that is cut after so many seconds: ``E[min(S, within)]``."""

    def seconds_between(self, begins_at: float, ends_at: float) -> float:
        """Slot-seconds that it has between two instants."""


@dataclass(frozen=True, slots=True)
class Station:
    """A tier whose service times are lognormal.

    Attributes:
        slots: calls at once.
        median_seconds: of its service times.
        sigma: of their logarithm.
        down: instants between which it answers nothing.
        widened: instants between which ``widened_sigma`` holds.
        widened_sigma: the sigma then.
        slowed: instants between which all service times are ``slow`` times as long.
        slow: that factor.
    """

    slots: int
    median_seconds: float
    sigma: float
    down: tuple[float, float] = (0.0, 0.0)
    widened: tuple[float, float] = (0.0, 0.0)
    widened_sigma: float = 0.0
    slowed: tuple[float, float] = (0.0, 0.0)
    slow: float = 1.0

    def sigma_at(self, instant: float) -> float:
        """The sigma of calls that start now."""
        return self.widened_sigma if self.widened[0] <= instant < self.widened[1] else self.sigma

    def median_at(self, instant: float) -> float:
        """The median of calls that start now."""
        return self.median_seconds * (self.slow if self.slowed[0] <= instant < self.slowed[1] else 1.0)

    def chance(self, within: float, instant: float) -> float:
        """As :class:`Served`."""
        if within <= 0:
            return 0.0
        return _normal(math.log(within / self.median_at(instant)) / self.sigma_at(instant))

    def cost(self, within: float, instant: float) -> float:
        """As :class:`Served`."""
        sigma, median = self.sigma_at(instant), self.median_at(instant)
        mean = median * math.exp(sigma**2 / 2)
        z = math.log(max(within, 1e-9) / median) / sigma
        return mean * _normal(z - sigma) + within * (1 - _normal(z))

    def seconds_between(self, begins_at: float, ends_at: float) -> float:
        """As :class:`Served`."""
        down = max(0.0, min(ends_at, self.down[1]) - max(begins_at, self.down[0]))
        return self.slots * (ends_at - begins_at - down)


def blind_bound(asks: Iterable[Ask], full: Served, lower: Served, *, bin_seconds: float = 0.5) -> float:
    """The highest value that any rule can expect of these requests, in level 1 answers.

    Raises:
        EnvironmentFailure: scipy is not installed.
    """
    try:
        from scipy.optimize import linprog  # noqa: PLC0415 - an extra, needed here alone
        from scipy.sparse import coo_matrix  # noqa: PLC0415
    except ImportError:
        raise EnvironmentFailure("the bound needs scipy: pip install 'failsoft[simulation]'") from None
    program = _Program(_groups(asks, bin_seconds), (full, lower), bin_seconds)
    rows, columns, entries = zip(*program.cells, strict=True)
    matrix = coo_matrix((entries, (rows, columns)), shape=(len(program.bounds), len(program.gains)))
    found: Any = linprog([-gain for gain in program.gains], A_ub=matrix, b_ub=program.bounds, method="highs")
    return float(-found.fun) + FALLBACK * program.requests


Group = tuple[int, float]
"""Arrival bin and budget, seconds."""


def _groups(asks: Iterable[Ask], bin_seconds: float) -> Mapping[Group, int]:
    return Counter((int(ask.at / bin_seconds), ask.budget_seconds) for ask in asks)


class _Program:
    """The linear program, as columns (requests of one group served by one tier in one bin) and sparse rows."""

    def __init__(self, groups: Mapping[Group, int], tiers: tuple[Served, Served], bin_seconds: float) -> None:
        self.gains: list[float] = []
        self.bounds: list[float] = []
        self.cells: list[tuple[int, int, float]] = []
        self.requests = sum(groups.values())
        self._capacities: dict[tuple[int, int], int] = {}
        self._width = bin_seconds
        for (arrived, budget), requests in sorted(groups.items()):
            row = self._row(requests)
            for index, tier in enumerate(tiers):
                self._add(row, index, tier, arrived, budget)

    def _add(self, row: int, index: int, tier: Served, arrived: int, budget: float) -> None:
        """Add the columns of one group at one tier: every bin from its arrival to its deadline."""
        for at in range(arrived, arrived + max(1, math.ceil(budget / self._width))):
            begins_at = at * self._width
            chance = tier.chance(budget, begins_at) if index == 0 else 1.0
            gain = (chance * FULL + (1 - chance) * REDUCED if index == 0 else REDUCED) - FALLBACK
            column = len(self.gains)
            self.gains.append(gain)
            self.cells += [
                (row, column, 1.0),
                (self._capacity(index, tier, at), column, tier.cost(budget, begins_at)),
            ]

    def _capacity(self, index: int, tier: Served, at: int) -> int:
        key = (index, at)
        if key not in self._capacities:
            self._capacities[key] = self._row(tier.seconds_between(at * self._width, (at + 1) * self._width))
        return self._capacities[key]

    def _row(self, bound: float) -> int:
        self.bounds.append(bound)
        return len(self.bounds) - 1


def _normal(z: float) -> float:
    """The standard normal distribution function."""
    return (1 + math.erf(z / math.sqrt(2))) / 2
