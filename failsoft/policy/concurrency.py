"""How many calls may be in flight at an endpoint: its *limit*, and the *permits* that a worker holds of it.

**Permits.** The limit belongs to the endpoint and is for the whole fleet. A worker's permits are its share of it by the part
of the stage's partitions that it owns::

    permits = max(1, round(limit x owned / all))

so that they follow the work when workers come and go, without asking anybody. Rounding may over-commit the limit by half a
permit a worker, and the least permit by one where there are more workers than permits: an endpoint's own bounded queue
takes that up (research/policy-lab.md: 2 x over-committed local limits cost nothing measurable).

**Limit.** What an endpoint bears is measured, against a target T for the q95 of latency, by *cohorts*: the first
n = max(20, permits) calls that start after the last change. A call is *over* when it takes longer than T::

    over > a + sqrt(a q), a = (1 - q) n                limit x .8, at once
    all n ended, over > a                              limit x .95
    all n ended, over <= a, half the permits used      limit + max(1, sqrt(limit) / 4)
    429 to a call started after the last halving       limit x .5: once a round trip, for older calls are old news

Every worker measures for itself and moves its own idea of the fleet's limit. The ideas differ by half; their permits add up
to the limit all the same, because every worker sees what all of them do: 16 workers hold 61 where one holds 66, at the same
throughput. Gradient2 and Vegas, made for calls of milliseconds, drift to the maximum or settle at 40 % of the throughput
where latency grows smoothly with the batch (research/algorithms.md §4.2).

**Infeasible target.** Where even one call alone takes longer than T, these rules would end at one call in flight and a
hundredth of the throughput. So a descent has to pay: three decreases in a row, half of the limit, must shorten the calls by
a fifth, which is what cohorts of twenty can tell from chance. If they do not, it is not our calls that make each other long:
the descent is undone, and the limit held for 5 cohorts, then 10, at most 80, until one meets the target. The first cohort of
a descent is no measure: it has seen both sides of the change that began it. To move requests elsewhere is the tier rule's
part.
"""

import math
from collections import deque
from dataclasses import dataclass

from failsoft.policy.cohort import Cohort
from failsoft.policy.errors import ConfigurationError

COHORT_CALLS_MIN = 20
"""A q95 of fewer is the slowest call."""
DECREASE, SLIGHT_DECREASE, HALVING = 0.8, 0.95, 0.5
INCREASE_MIN, INCREASE_ROOT = 1.0, 0.25
"""By one while the limit is small, by a quarter of its root above 16: a step is then within the noise of a cohort."""
BUSY_SHARE = 0.5
"""An endpoint of which less than this was used at any time has not shown that it bears more."""
DESCENT_STEPS = 3
"""Decreases in a row after which calls must have become shorter: .8^3 is half."""
WORTH = 0.2
"""By how much the logarithm of a call must have fallen then."""
HELD_COHORTS, HELD_COHORTS_MAX = 5, 80


class Permits:
    """The permits of one worker at one endpoint.

    Args:
        limit: of the endpoint, for the whole fleet.
    """

    __slots__ = ("_limit", "_part", "count", "in_flight")

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._part = 0.0
        self.count = 0
        """This worker's permits: none before it owns a partition."""
        self.in_flight = 0

    def share(self, part: float) -> None:
        """Take the part, 0-1, of the limit that goes with the partitions owned."""
        self._part = part
        self.count = max(1, round(self._limit * part)) if part > 0 else 0

    def resize(self, limit: float) -> None:
        """The endpoint bears this many now. Calls above it are not cut; none starts until they have ended."""
        self._limit = limit
        self.share(self._part)

    @property
    def has_free(self) -> bool:
        """Whether another call may start."""
        return self.in_flight < self.count

    def take(self) -> None:
        """A call starts."""
        self.in_flight += 1

    def give_back(self) -> None:
        """A call is over."""
        self.in_flight -= 1


@dataclass(frozen=True, slots=True)
class LimitConfig:
    """What a limit aims at.

    Attributes:
        target_seconds: T, for the quantile of latency: the budget less the wait and the reserve, of the most urgent class.
        limit_max: for the whole fleet.
        initial: to begin with; None: ``limit_max``, the author's word until something is measured.
        limit_min: for the whole fleet.
        quantile: of calls that are to meet the target.
        enforce: False leaves the permits alone. The value then says where the limit would go, but not where it would settle:
            it never sees what its moves do.
    """

    target_seconds: float
    limit_max: int
    initial: int | None = None
    limit_min: int = 1
    quantile: float = 0.95
    enforce: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.target_seconds <= 0:
            raise ConfigurationError(f"limit: target_seconds {self.target_seconds} must be above zero")
        if not 1 <= self.limit_min <= self.begins_at <= self.limit_max:
            raise ConfigurationError("limit: 1 <= limit_min <= initial <= limit_max does not hold")
        if not 0 < self.quantile < 1:
            raise ConfigurationError(f"limit: quantile {self.quantile} is not between 0 and 1")

    @property
    def begins_at(self) -> int:
        """The first value."""
        return self.limit_max if self.initial is None else self.initial


class Limit:
    """What one endpoint bears, for the whole fleet, as measured by one worker.

    Args:
        config: what it aims at.
        permits: of this worker, resized as the limit moves. A permit is taken before a call is told to start here.

    Attributes:
        value: the limit.
        target_seconds: T; it may be moved.
        is_target_infeasible: fewer calls do not make them short enough.
    """

    __slots__ = (
        "_allowed", "_cohort", "_config", "_descent", "_halved_at", "_held_cohorts", "_hold_cohorts", "_permits",
        "_too_many", "is_target_infeasible", "target_seconds", "value",
    )  # fmt: skip

    def __init__(self, config: LimitConfig, permits: Permits) -> None:
        self._config = config
        self._permits = permits
        self._cohort: Cohort | None = None
        self._allowed = self._too_many = 0.0  # calls of the cohort that may be over, and that are too many to be chance
        self._descent: deque[Cohort] = deque(maxlen=2 * DESCENT_STEPS + 2)
        self._halved_at = -math.inf
        self._held_cohorts = 0
        self._hold_cohorts = HELD_COHORTS
        self.is_target_infeasible = False
        self.target_seconds = config.target_seconds
        self.value = 0.0
        self._move(config.begins_at)

    @property
    def overdue_at(self) -> float | None:
        """When to look if nothing else happens: a call will then have been running for too long."""
        oldest = self._cohort.oldest_started_at if self._cohort else None
        return None if oldest is None else oldest + self.target_seconds

    def started(self, call_id: int, *, now: float) -> None:
        """A call starts; its permit is taken."""
        is_busy = self._permits.in_flight >= BUSY_SHARE * self._permits.count
        cohort = self._cohort
        if cohort is None:
            cohort = self._cohort = Cohort(max(COHORT_CALLS_MIN, self._permits.count), self.value)
            self._allowed = (1 - self._config.quantile) * cohort.size
            self._too_many = self._allowed + math.sqrt(self._allowed * self._config.quantile)
        cohort.is_busy = cohort.is_busy or is_busy
        if cohort.has_room:
            cohort.start(call_id, now=now)

    def answered(self, call_id: int, *, now: float) -> None:
        """A call was answered."""
        self.look(now=now)
        for cohort in self._cohorts():
            cohort.end(call_id, now=now)
        if self._descent:
            self._judge_descent()
        self._judge()

    def cut(self, call_id: int, *, now: float) -> None:
        """A call ended without an answer, at its window or by a failure: it counts if it was too long already."""
        self.look(now=now)
        for cohort in self._cohorts():
            cohort.forget(call_id)
        self.answered(call_id, now=now)

    def refused(self, call_id: int, *, started_at: float, now: float) -> None:
        """The endpoint said that it is busy (429)."""
        self.cut(call_id, now=now)
        if started_at >= self._halved_at:
            self._halved_at = now
            self._descent.clear()
            self._move(self.value * HALVING)

    def look(self, *, now: float) -> None:
        """Count what has been running for too long."""
        for cohort in self._cohorts():
            cohort.look(self.target_seconds, now=now)
        self._judge()

    def _cohorts(self) -> list[Cohort]:
        current = [] if self._cohort is None else [self._cohort]
        return [*self._descent, *current] if self._descent else current

    def _judge(self) -> None:
        """Move the limit if the cohort has said enough."""
        cohort = self._cohort
        if cohort is None:
            return
        if cohort.over > self._too_many and not self._held_cohorts:
            self._descent.append(cohort)
            self._move(self.value * DECREASE)
        elif cohort.ended == cohort.size:
            self._end_cohort(cohort, meets_target=cohort.over <= self._allowed)

    def _end_cohort(self, cohort: Cohort, *, meets_target: bool) -> None:
        step = 0.0
        if meets_target:
            self._descent.clear()
            self._held_cohorts, self._hold_cohorts, self.is_target_infeasible = 0, HELD_COHORTS, False
            step = max(INCREASE_MIN, INCREASE_ROOT * math.sqrt(self.value)) if cohort.is_busy else 0.0
        elif self._held_cohorts:
            self._held_cohorts -= 1
        else:
            step = (SLIGHT_DECREASE - 1) * self.value
        self._move(self.value + step)

    def _judge_descent(self) -> None:
        """Undo a descent that has not paid."""
        while len(self._descent) > DESCENT_STEPS + 1:
            first, second, last = self._descent[0], self._descent[1], self._descent[DESCENT_STEPS + 1]
            if not (second.is_settled and last.is_settled):
                return
            self._descent.popleft()
            if second.log_mean - last.log_mean < WORTH:
                self._hold_at(first.limit)

    def _hold_at(self, limit: float) -> None:
        """It is not our calls that make each other long: go back, and wait before this is tried again."""
        self.is_target_infeasible = True
        self._held_cohorts = self._hold_cohorts
        self._hold_cohorts = min(2 * self._hold_cohorts, HELD_COHORTS_MAX)
        self._descent.clear()
        self._move(limit)

    def _move(self, value: float) -> None:
        """Set the limit; calls that start from here on are the next cohort."""
        self.value = float(min(max(value, self._config.limit_min), self._config.limit_max))
        self._cohort = None
        if self._config.enforce:
            self._permits.resize(self.value)
