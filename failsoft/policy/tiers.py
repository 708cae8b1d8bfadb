"""Which waiting request a free permit takes, at which tier, and for how long: *first refusal*.

    A free permit of the full tier takes the waiting request with the earliest deadline that it can still serve safely. A
    lower tier may take the first request of a class only after the full tier has had first refusal of it for the class's
    patience (or when it stands in a queue longer than the full tier works off in that time). It must take a request when
    waiting longer would make it late. A tier that answers at once does so when no model can be in time.

Why this shape. A gate that closes the full tier on load leaves it idle and sends away bulk that could have waited: it loses
12-18 % of the value under overload. Waiting pays exactly when the overload ends within the deadline, which nobody can know;
so patience, not a load estimate, is the parameter. The rule needs no arrival rate, no gate state, no other worker
(research/policy-lab.md: at least 96.6 % of the blind bound in 50 of 51 scenarios).

Rules, all in seconds::

    reserve(tier)  = q99 of the next model tier that the request may use + margin        (margin alone if there is none)
    safe           = remaining >= reserve + q95        the head that the full tier takes
    edge           = remaining >= reserve + q70        if no head is safe: the newest that may well make it
    window         = min(remaining - reserve, max(2 q99 of answers, 250 ms))
    turn           = 3 mean / permits                  three turnovers: one would send 16 % down at load .7 with one permit
    patience       = max(min(share x budget, budget - reserve - q90), turn)
    limit          = max(3, patience x permits / mean) waiting, in memory and in the log
    hopeless       = remaining < q50 + margin          at every model tier that is left

A tier is *edge* at q50 where no model tier is below it: nothing else could answer in time, so an even chance is taken. The
last model tier's window is capped at 5 q99 instead of 2: what it cuts can only become a fallback answer, so it must be
stuck, not slow.
"""

from dataclasses import dataclass
from typing import Protocol, TypeVar

from failsoft.policy.speed import Speed

WINDOW_CAP = 2.0
"""Times q99 of answers. Ends a hang in under a second at 200 ms median; 1.25 loses 2 % when a model gets slower."""
LAST_WINDOW_CAP = 5.0
WINDOW_LEAST_SECONDS = 0.25
"""A function that answers at once would have milliseconds, and this worker's own event loop may be late by more: of 2,400 calls
on a machine with four busy loops two were cut, after .23 s."""
TURNS = 3.0
LIMIT_MIN = 3.0
FLOOR_FROM = 0.9
"""Part of its patience after which a class may claim its weighted share (.75 loses 1.1 %, none starves in a flood)."""
FLOOR_SLACK = 2.0
"""Service times that a class may be ahead before another's claim is heard."""
PROBE_IDLE_SECONDS = 30.0
"""A tier that no request fits, and that has not been called for this long, is tried with one: it may have recovered."""
REFUSED_AT_EASE_SECONDS = 0.5
"""A head of a refused class that has more than this left comes in its class's turn, also when others are urgent."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One model tier as it stands now: its latency, this worker's permits, and whether it has stopped answering."""

    speed: Speed
    permits: int
    is_stalled: bool = False

    @property
    def seconds_each(self) -> float:
        """How fast it works a queue off: mean service time over permits."""
        return self.speed.mean / max(self.permits, 1)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the rule says to the requests of one lane, all seconds but ``limit``.

    Attributes:
        safe: remaining time from which the full tier takes the earliest deadline.
        edge: remaining time down to which it takes the newest.
        reserve: kept back from its calls.
        patience: how long the first waits before a lower tier may take it.
        limit: how many may wait before a lower tier may take the first.
    """

    safe: float
    edge: float
    reserve: float
    patience: float
    limit: float


class Entry(Protocol):
    """What the rule reads of a waiting request."""

    @property
    def deadline_at(self) -> float:
        """Absolute end, monotonic seconds."""


E_co = TypeVar("E_co", bound=Entry, covariant=True)


class Queue(Protocol[E_co]):
    """What the rule asks a lane."""

    @property
    def newest(self) -> E_co:
        """The one with the latest deadline."""

    def first_due_from(self, instant: float) -> E_co | None:
        """The first whose deadline is not before the instant."""

    def __len__(self) -> int:
        """How many wait."""


def reserve_seconds(rungs: list[Rung], tier: int, tiers: int, margin_seconds: float) -> float:
    """What a call at this tier leaves for the next one that the request may use, and for publishing."""
    return margin_seconds + (rungs[tier + 1].speed.q99 if tier + 1 < tiers else 0.0)


def patience_seconds(share: float, budget_seconds: float, *, reserve: float, full: Rung) -> float:
    """How long a request waits for the full tier before a lower one may take it."""
    turn = TURNS * full.seconds_each
    return max(min(share * budget_seconds, budget_seconds - reserve - full.speed.q90), turn)


def terms(rungs: list[Rung], tiers: int, *, share: float, budget_seconds: float, margin_seconds: float) -> Terms:
    """The rule's figures for a lane whose requests have this budget and may use this many model tiers (at least one)."""
    full = rungs[0]
    reserve = reserve_seconds(rungs, 0, tiers, margin_seconds)
    patience = patience_seconds(share, budget_seconds, reserve=reserve, full=full)
    if full.is_stalled and patience < WINDOW_CAP * full.speed.q99:
        patience = 0.0  # it would not outlast a probe
    return Terms(
        safe=reserve + full.speed.q95,
        edge=reserve + (full.speed.q70 if tiers > 1 else full.speed.q50),
        reserve=reserve,
        patience=patience,
        limit=max(LIMIT_MIN, patience / full.seconds_each) if patience else 0.0,
    )


def candidate(queue: Queue[E_co], known: Terms, *, now: float) -> E_co | None:
    """Whom the full tier would take from this lane: the earliest that is safe, else the newest at the edge."""
    safe = queue.first_due_from(now + known.safe)
    if safe is not None or not len(queue):
        return safe
    return queue.newest if queue.newest.deadline_at >= now + known.edge else None


def window_seconds(
    rungs: list[Rung], tier: int, tiers: int, *, remaining_seconds: float, margin_seconds: float
) -> float:
    """The longest time that one call at this tier may take.

    The next tier's reserve is kept back as long as that leaves this tier an even chance; for the full tier it does whenever
    the rule calls it. A probe of the full tier keeps it back as long as anything is left: below, no next tier could use it.
    """
    speed = rungs[tier].speed
    is_last = tier + 1 >= tiers
    cap = max((LAST_WINDOW_CAP if is_last else WINDOW_CAP) * speed.q99, WINDOW_LEAST_SECONDS)
    reserve = reserve_seconds(rungs, tier, tiers, margin_seconds)
    enough = speed.q50 if tier > 0 else 0.0
    if remaining_seconds - reserve <= enough:
        reserve = margin_seconds
    return min(remaining_seconds - reserve, cap)
