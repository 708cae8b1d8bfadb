"""When which fault strikes: drawn from a seed before anything runs. Values only.

Faults come in **bursts**, each followed by quiet, because what happens in quiet is what users live with: a cycle is five minutes,
or the whole trial if that is shorter; its last 30 % are quiet. In 20 minutes that is six quiet minutes in four parts.

Within a burst there are several **lanes**, and one fault at a time in each, so that faults of different kinds meet as they do in
bad nights, while those meet never that would only hide each other: two of three brokers down is an outage, no finding. After
each fault its lane pauses for an exponentially distributed time. In a lane the kinds come in a shuffled order and
each as often as any other, until the lane is through; what is rare by nature (a topic made anew, forgotten offsets, a full disk)
comes once a cycle.

Every second burst is **single file**: all kinds in one shuffled order, one at a time, ten seconds apart. There one sees
how long it takes to recover from each, which nobody can tell where several are at work.

A **smoke** is one burst in which each kind strikes once, as soon as its lane is free.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

CYCLE_SECONDS = 300.0
QUIET_SHARE = 0.3
BETWEEN_SECONDS = 10.0
"""In single file: twice as long as the window in which a checker looks for results in time."""
SINGLE_FILE = "single file"

K = TypeVar("K")


class Kind(StrEnum):
    """What can go wrong. The words stand in histories and reports."""

    LEADER_KILLED = "leader-killed"
    CONTROLLER_KILLED = "controller-killed"
    ROLLING_RESTART = "rolling-restart"
    BROKER_FROZEN = "broker-frozen"
    DISK_FULL = "disk-full"
    WORKER_KILLED = "worker-killed"
    WORKER_STOPPED = "worker-stopped"
    WORKER_FROZEN = "worker-frozen"
    WORKER_FROZEN_LONG = "worker-frozen-long"
    JOIN_LEAVE_STORM = "join-leave-storm"
    CLOCK_SKEW = "clock-skew"
    OFFSETS_EXPIRED = "offsets-expired"
    NETWORK_CUT = "network-cut"
    NETWORK_BLACK_HOLE = "network-black-hole"
    NETWORK_DELAY = "network-delay"
    NETWORK_RESET = "network-reset"
    NETWORK_THROTTLE = "network-throttle"
    MODEL_OUTAGE = "model-outage"
    MODEL_HANG = "model-hang"
    MODEL_GARBAGE = "model-garbage"
    POISON_UNDECODABLE = "poison-undecodable"
    POISON_OVERSIZED = "poison-oversized"
    POISON_NESTED = "poison-nested"
    POISON_KILLER = "poison-killer"
    DEAD_LETTERS_UNWRITABLE = "dead-letters-unwritable"
    TOPIC_RECREATED = "topic-recreated"


@dataclass(frozen=True, slots=True)
class Lane:
    """Faults of which one strikes at a time.

    Attributes:
        often: kind -> how long it lasts, seconds.
        once: the same, of kinds that strike once a cycle.
        seconds_beyond: how long one takes beyond its own time: a start, an election.
        pause_seconds: mean of what lies between two of them.
    """

    often: Mapping[Kind, float]
    once: Mapping[Kind, float]
    seconds_beyond: float
    pause_seconds: float = 4.0


LANES: Mapping[str, Lane] = {
    "brokers": Lane(
        {Kind.LEADER_KILLED: 3.0, Kind.CONTROLLER_KILLED: 3.0, Kind.ROLLING_RESTART: 0.0, Kind.BROKER_FROZEN: 5.0},
        {Kind.DISK_FULL: 5.0},
        seconds_beyond=20.0,
    ),
    "workers": Lane(
        {
            Kind.WORKER_KILLED: 2.0,
            Kind.WORKER_STOPPED: 2.0,
            Kind.WORKER_FROZEN: 1.5,
            Kind.WORKER_FROZEN_LONG: 6.5,
            Kind.JOIN_LEAVE_STORM: 6.0,
            Kind.CLOCK_SKEW: 6.0,
        },
        {Kind.OFFSETS_EXPIRED: 3.0},
        seconds_beyond=8.0,
    ),
    "network": Lane(
        {
            Kind.NETWORK_CUT: 4.0,
            Kind.NETWORK_BLACK_HOLE: 4.0,
            Kind.NETWORK_DELAY: 5.0,
            Kind.NETWORK_RESET: 0.5,
            Kind.NETWORK_THROTTLE: 5.0,
        },
        {},
        seconds_beyond=1.0,
    ),
    "models": Lane({Kind.MODEL_OUTAGE: 4.0, Kind.MODEL_HANG: 4.0, Kind.MODEL_GARBAGE: 4.0}, {}, seconds_beyond=1.0),
    "poison": Lane(
        {Kind.POISON_UNDECODABLE: 0.5, Kind.POISON_OVERSIZED: 0.5, Kind.POISON_NESTED: 0.5},
        {Kind.POISON_KILLER: 0.5, Kind.DEAD_LETTERS_UNWRITABLE: 5.0, Kind.TOPIC_RECREATED: 3.0},
        seconds_beyond=4.0,
        pause_seconds=10.0,
    ),
}
"""Frozen long is twice the session timeout of a trial, and some: the group has given the worker up when it wakes."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault that will strike.

    Attributes:
        lane: in which it waits for those before it.
        kind: what goes wrong.
        at_seconds: not before this, from the beginning of the trial.
        seconds: how long it lasts, once it has begun.
        seed: of whatever it chooses.
    """

    lane: str
    kind: Kind
    at_seconds: float
    seconds: float
    seed: int


@dataclass(frozen=True, slots=True)
class Burst:
    """A time in which faults strike, from and to, seconds from the beginning; until the next one it is quiet."""

    begins: float
    ends: float


@dataclass(frozen=True, slots=True)
class Schedule:
    """What will happen in a trial.

    Attributes:
        seconds: how long it takes.
        bursts: in order.
        faults: in order of time.
    """

    seconds: float
    bursts: tuple[Burst, ...]
    faults: tuple[Planned, ...]


def draw_schedule(seconds: float, *, seed: int, is_smoke: bool = False, lanes: Mapping[str, Lane] = LANES) -> Schedule:
    """Draw what will happen.

    Args:
        seconds: how long the trial takes.
        seed: decides everything.
        is_smoke: each kind once, in one burst.
        lanes: which faults there are.
    """
    rng = random.Random(seed)
    bursts = _bursts(seconds)
    if is_smoke:
        faults = [fault for name, lane in lanes.items() for fault in _once_each(name, lane, rng)]
        return Schedule(seconds, bursts, tuple(faults))
    faults = []
    for name, lane in lanes.items():
        deck = _Deck(lane.often, rng)
        for burst in bursts[::2]:
            faults += _in_burst(name, lane, burst, deck, rng)
    everything = _Deck({(name, kind): each for name, lane in lanes.items() for kind, each in _all(lane)}, rng)
    for burst in bursts[1::2]:
        faults += _single_file(lanes, burst, everything, rng)
    return Schedule(seconds, bursts, tuple(sorted(faults, key=lambda each: each.at_seconds)))


def _bursts(seconds: float) -> tuple[Burst, ...]:
    count = max(1, round(seconds / CYCLE_SECONDS))
    cycle = seconds / count
    return tuple(Burst(n * cycle, (n + 1 - QUIET_SHARE) * cycle) for n in range(count))


class _Deck(Generic[K]):
    """What may be drawn, and how long it lasts: shuffled anew each time all have been drawn."""

    def __init__(self, lasts: Mapping[K, float], rng: random.Random) -> None:
        self._all = list(lasts.items())
        self._rng = rng
        self._left: list[tuple[K, float]] = []

    def draw(self) -> tuple[K, float]:
        if not self._left:
            self._left = self._rng.sample(self._all, len(self._all))
        return self._left.pop()


def _all(lane: Lane) -> Iterable[tuple[Kind, float]]:
    return (*lane.often.items(), *lane.once.items())


def _once_each(name: str, lane: Lane, rng: random.Random) -> Iterator[Planned]:
    for kind, seconds in _all(lane):
        yield Planned(name, kind, 0.0, seconds, rng.getrandbits(32))


def _single_file(
    lanes: Mapping[str, Lane], burst: Burst, deck: _Deck[tuple[str, Kind]], rng: random.Random
) -> Iterator[Planned]:
    """Fill a burst with one fault after another, in a lane of their own."""
    at = burst.begins + BETWEEN_SECONDS
    while True:
        (name, kind), seconds = deck.draw()
        beyond = lanes[name].seconds_beyond
        if at + seconds + beyond > burst.ends:
            return
        yield Planned(SINGLE_FILE, kind, at, seconds, rng.getrandbits(32))
        at += seconds + beyond + BETWEEN_SECONDS


def _in_burst(name: str, lane: Lane, burst: Burst, deck: _Deck[Kind], rng: random.Random) -> Sequence[Planned]:
    """Fill a burst; the rare kinds stand at drawn places among the others."""
    rare = sorted((rng.uniform(burst.begins, burst.ends), kind, seconds) for kind, seconds in lane.once.items())
    faults: list[Planned] = []
    at = burst.begins + rng.expovariate(1 / lane.pause_seconds)
    while True:
        if rare and rare[0][0] <= at:
            _, kind, seconds = rare.pop(0)
        else:
            kind, seconds = deck.draw()
        if at + seconds + lane.seconds_beyond > burst.ends:
            return faults
        faults.append(Planned(name, kind, at, seconds, rng.getrandbits(32)))
        at += seconds + lane.seconds_beyond / 2 + rng.expovariate(1 / lane.pause_seconds)
