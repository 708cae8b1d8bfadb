"""What is asked, and when: arrivals as plain values, drawn before the run from dice of their own.

Open loop: who asks does not wait for answers, so a slow system is not spared its load. *Poisson* arrivals at the rate of the
phase they fall into; a burst or a flood is a phase. A *trace* gives the instants instead. Which content is asked is drawn by
Zipf's law (rank r has weight ``r^-exponent``) or is unique; whose it is, evenly over the tenants.

The same seed gives the same arrivals whatever the stage does with them, so that two policies are compared on equal work.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import itemgetter
from typing import TYPE_CHECKING

from failsoft.policy.request import ClassName

if TYPE_CHECKING:
    from random import Random

_SPREAD = 2_654_435_761
"""Knuth's multiplicative hash: spreads contents over partitions without dice."""


@dataclass(frozen=True, slots=True)
class ClassLoad:
    """One class's part of the arrivals, and what its requests are granted."""

    request_class: ClassName
    share: float
    budget_seconds: float


@dataclass(frozen=True, slots=True)
class Phase:
    """A constant rate between two instants; ``mix`` is None where the workload's own holds."""

    per_second: float
    begins_at: float
    ends_at: float
    mix: tuple[ClassLoad, ...] | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, before anybody has seen it.

    Attributes:
        number: its identity in the run, from 0 in order of time.
        at: when it is sent, seconds since the run began.
        request_class: its class.
        budget_seconds: what its sender grants.
        content: what is asked.
        tenant: whose it is.
        key: equal for requests that may share an execution or an answer; None: it shares with no other.
    """

    number: int
    at: float
    request_class: ClassName
    budget_seconds: float
    content: int
    tenant: int = 0
    key: str | None = None

    @property
    def deadline_at(self) -> float:
        """When an answer is worth nothing any more, on the simulation's own clock, which is nobody's."""
        return self.at + self.budget_seconds

    def partition(self, partitions: int) -> int:
        """The partition number that its content chooses."""
        return (self.content * _SPREAD >> 8) % partitions


@dataclass(frozen=True, slots=True)
class Contents:
    """What is asked.

    Attributes:
        distinct: how many different contents there are; 0: no two requests ask the same, and none has a key.
        exponent: of Zipf's law; 1.0 is what caches of questions usually see.
        tenants: how many there are.
    """

    distinct: int = 0
    exponent: float = 1.0
    tenants: int = 1


UNIQUE = Contents()


def poisson(phases: Iterable[Phase], mix: Sequence[ClassLoad], rng: "Random", contents: Contents = UNIQUE) -> list[Ask]:
    """Draw the arrivals of these phases, in order of time."""
    drawn = [(at, phase.mix or tuple(mix)) for phase in phases for at in _instants(phase, rng)]
    return _asks(sorted(drawn, key=itemgetter(0)), rng, contents)


def trace(instants: Iterable[float], mix: Sequence[ClassLoad], rng: "Random", contents: Contents = UNIQUE) -> list[Ask]:
    """Take the instants as recorded, and draw the rest."""
    return _asks([(at, tuple(mix)) for at in sorted(instants)], rng, contents)


def _instants(phase: Phase, rng: "Random") -> Iterator[float]:
    if phase.per_second <= 0:
        return
    at = phase.begins_at
    while (at := at + rng.expovariate(phase.per_second)) <= phase.ends_at:
        yield at


def _asks(drawn: Sequence[tuple[float, tuple[ClassLoad, ...]]], rng: "Random", contents: Contents) -> list[Ask]:
    ranks = list(accumulate(rank**-contents.exponent for rank in range(1, contents.distinct + 1)))
    asks = []
    for number, (at, mix) in enumerate(drawn):
        load = _drawn_class(mix, rng)
        content = bisect_left(ranks, rng.random() * ranks[-1]) if ranks else rng.getrandbits(48)
        tenant = rng.randrange(contents.tenants) if contents.tenants > 1 else 0
        key = f"{tenant}/{content}" if ranks else None
        asks.append(Ask(number, at, load.request_class, load.budget_seconds, content, tenant, key))
    return asks


def _drawn_class(mix: tuple[ClassLoad, ...], rng: "Random") -> ClassLoad:
    at = rng.random() * math.fsum(load.share for load in mix)
    for load in mix:
        at -= load.share
        if at < 0:
            return load
    return mix[-1]
