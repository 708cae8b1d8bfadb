"""What a decision may look at of a request. The body never enters the machine; the shell keeps it under the record's name."""

import math
from typing import NamedTuple

from failsoft.policy.levels import FULL_LEVEL, REDUCED_LEVEL
from failsoft.policy.outcome import Reason

ClassName = str
"""Urgency: interactive, standard, batch. Never a number, never "priority"."""


class Partition(NamedTuple):
    """One partition of one class's topic of this stage. Equal numbers of all classes live on one worker."""

    request_class: ClassName
    number: int


class RecordId(NamedTuple):
    """Where a record stands in the log of this stage: the one name that machine and shell share for it."""

    request_class: ClassName
    number: int
    offset: int

    @property
    def partition(self) -> Partition:
        """The partition that the record stands in."""
        return Partition(self.request_class, self.number)


class Reach(NamedTuple):
    """What the context of a request leaves of its stage, where that is not every model tier at its own level.

    Attributes:
        tiers: which model tiers can run, by their number from the best.
        best_level: no answer to it counts for more, whoever gives it.
    """

    tiers: tuple[int, ...]
    best_level: int

    @property
    def has_full_tier(self) -> bool:
        """Whether it can be served as if its context were complete."""
        return 0 in self.tiers and self.best_level == FULL_LEVEL


class Request(NamedTuple):
    """One request as the policies see it.

    Attributes:
        record: its place in the log.
        assignment: the assignment of its partition under which it arrived; a later one makes its work void.
        deadline_at: absolute end, monotonic seconds.
        waits_until: its deadline; earlier where it waits for a higher floor than its class's, or other stages are still to come.
        budget_seconds: what was granted when it was sent, after the cap of its class. Patience is a share of it.
        floor: the lowest acceptable level.
        size_bytes: key, value and headers, for the bound on memory.
        key: content key; None: it shares nothing.
        max_stale_seconds: how far past its freshness an answer of the past may be; None: as far as the stage allows.
        tenant: whose it is.
        reach: what its context leaves of the stage; None: all of it.
        complete_until: after which instant a required part of its context is too old, monotonic seconds.
    """

    record: RecordId
    assignment: int
    deadline_at: float
    waits_until: float
    budget_seconds: float
    floor: int
    size_bytes: int
    key: str | None = None
    max_stale_seconds: float | None = None
    tenant: str = ""
    reach: Reach | None = None
    complete_until: float = math.inf

    @classmethod
    def unreadable(cls, record: RecordId, assignment: int, size_bytes: int, *, now: float) -> "Request":
        """Stand for a record that could not be read: it ends at once."""
        return cls(record, assignment, now, now, 0.0, 0, size_bytes)

    @property
    def identity(self) -> str:
        """What it is by, whoever has it in hand: equal requests have the same, others their place in the log."""
        return self.key or "-".join(map(str, self.record))

    @property
    def first_reason(self) -> Reason:
        """Why it will not be level 1, as far as that is known on arrival."""
        return Reason.NONE if self.reach is None or self.reach.has_full_tier else Reason.CONTEXT_INCOMPLETE

    def level(self, level: int, *, now: float) -> int:
        """At which level an answer of this level serves it."""
        return self.level_on_arrival(max(level, REDUCED_LEVEL) if now > self.complete_until else level)

    def level_on_arrival(self, level: int) -> int:
        """The same, were it given at once. Equal requests have this in common; their contexts may not be of one age."""
        return level if self.reach is None else max(level, self.reach.best_level)

    def may_use(self, tier: int, level: int) -> bool:
        """Whether a model tier with this number from the best, and this level, can serve it."""
        return self.level_on_arrival(level) <= self.floor and (self.reach is None or tier in self.reach.tiers)

    @property
    def granted_at(self) -> float:
        """When the budget began to run, on the monotonic clock: the wait in the log counts as waiting."""
        return self.deadline_at - self.budget_seconds

    def waited_seconds(self, now: float) -> float:
        """Since the sender granted the budget."""
        return now - self.granted_at
