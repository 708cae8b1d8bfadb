"""What waits, in which order, and who must not wait any longer.

**Order.** Inside a class the earliest deadline comes first. A *lane* holds the waiting requests of one class and one floor, so
that all of a lane may use the same tiers; it is a list sorted by deadline, because every question of the tier rule is one of
rank (the first that can still be served safely, how many are due before this one), and with at most 2,000 entries a
bisection and a memmove beat any tree.

**Between classes.** Weighted credits, as a floor and not as a turn order: each class is charged the service time it takes
divided by its weight; a class that begins to wait starts at the least charge of those waiting or, if nobody waits, where the
class that was served last stood (start-time fair queueing). So nobody saves up claims in quiet times, and a class that had the
stage to itself for an hour is not kept out of it for another. The tier rule looks at the charges only when a class has nearly
waited out its patience. Fair turns all the time would serve bulk while urgent requests step down (research/policy-lab.md §7:
.927 instead of .960 of the possible at twice the load).

**Must run now.** A lower tier with ``permits`` and mean service ``mean`` clears n requests in ``n mean / permits``. So the
requests due by ``d`` fit only while ``d - now - reserve - safety n mean / permits > 0``; when that fails anywhere in the
queue, the last responsible moment has come. Tested at ranks 1, 2, 4, 8 ... of each lane: between two ranks the need less than
doubles, and a safety of 2 covers just that. (Take anyone with n due by its deadline d. Each lane has a tested entry at half or
more of its part of n; the latest of these is due before d, with more than n / 2 due by then.)
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Generic, Protocol, TypeVar

from failsoft.policy.request import ClassName

SAFETY = 2.0
"""On the time that a lower tier needs for those before: what looking at doubling ranks only may overlook. 1 to 2 made no
measurable difference (policy-lab.md §5)."""


class Waiting(Protocol):
    """What a lane needs to know of an entry."""

    @property
    def deadline_at(self) -> float:
        """Absolute end, monotonic seconds."""


W = TypeVar("W", bound=Waiting)
_deadline = attrgetter("deadline_at")


class Lane(Generic[W]):
    """The waiting requests of one class and one floor, earliest deadline first; equal deadlines in order of arrival."""

    __slots__ = ("entries", "floor", "request_class")

    def __init__(self, request_class: ClassName, floor: int) -> None:
        self.request_class = request_class
        self.floor = floor
        self.entries: list[W] = []
        """To be read by anyone; only ``push`` and ``remove`` change it."""

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[W]:
        return iter(self.entries)

    def push(self, entry: W) -> None:
        """Take one in."""
        self.entries.insert(bisect_right(self.entries, entry.deadline_at, key=_deadline), entry)

    def remove(self, entry: W) -> None:
        """Take one out; it must be there."""
        index = bisect_left(self.entries, entry.deadline_at, key=_deadline)
        while self.entries[index] is not entry:
            index += 1
        del self.entries[index]

    @property
    def head(self) -> W:
        """The one with the earliest deadline; the lane must not be empty."""
        return self.entries[0]

    @property
    def newest(self) -> W:
        """The one with the latest deadline; the lane must not be empty."""
        return self.entries[-1]

    def first_due_from(self, instant: float) -> W | None:
        """The first whose deadline is not before the instant."""
        index = bisect_left(self.entries, instant, key=_deadline)
        return self.entries[index] if index < len(self.entries) else None

    def count_due_by(self, instant: float) -> int:
        """How many have a deadline at or before the instant."""
        return bisect_right(self.entries, instant, key=_deadline)

    def at_doubling_ranks(self) -> Iterator[W]:
        """Those at ranks 1, 2, 4, 8 ..."""
        rank = 1
        while rank <= len(self.entries):
            yield self.entries[rank - 1]
            rank *= 2


class Credits:
    """What each class has been charged, service seconds over weight."""

    def __init__(self, weights: dict[ClassName, float]) -> None:
        self._weights = weights
        self._charged = dict.fromkeys(weights, 0.0)
        self._reached = 0.0

    def charge(self, request_class: ClassName, seconds: float) -> None:
        """A class took this much service."""
        self._reached = max(self._reached, self._charged[request_class])
        self._charged[request_class] += seconds / self._weights[request_class]

    def begin_waiting(self, request_class: ClassName, waiting: Iterable[ClassName]) -> None:
        """A class that was empty waits again: it starts where the least charged of those waiting stands, not behind."""
        least = min((self._charged[name] for name in waiting), default=self._reached)
        self._charged[request_class] = max(self._charged[request_class], least)

    def charged(self, request_class: ClassName) -> float:
        """The charge of one class so far."""
        return self._charged[request_class]


def spare_seconds(lanes: Iterable[Lane[W]], *, now: float, reserve_seconds: float, seconds_each: float) -> float:
    """How long all of these may still wait before this tier would be late for one of them; zero or less: run one now.

    One more arrival takes at most ``SAFETY * seconds_each`` from it, and time what passes: a caller that keeps account need
    not ask again before it is used up.

    Args:
        lanes: those that may use the tier.
        now: monotonic seconds.
        reserve_seconds: what one execution of the tier needs at worst.
        seconds_each: mean service time over permits: how fast the tier works a queue off.
    """
    filled = [lane for lane in lanes if lane.entries]
    each = SAFETY * seconds_each
    start = now + reserve_seconds
    after_all = start + each * sum(len(lane.entries) for lane in filled)
    spare = math.inf
    for ranked in filled:
        for entry in ranked.at_doubling_ranks():
            due_at = entry.deadline_at
            if due_at - after_all >= spare:
                break  # even with all the others before them, these have more to spare
            count = sum([lane.count_due_by(due_at) for lane in filled])
            spare = min(spare, due_at - start - each * count)
    return spare
