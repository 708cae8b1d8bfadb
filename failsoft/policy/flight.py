"""One execution and everybody who waits for its answer: the *flight* of a content key.

It waits for a permit or runs. Its *leader* opened it, *followers* joined; both are *waiters*, and after boarding there is no
difference between them. What the rest of the stage sees of it follows from who is aboard::

    class, deadline, floor     the most urgent, the earliest, the strictest aboard
    level                      that of the tier that runs; while none does, the floor: it will not come to less
    answers by                 q95 of that tier after the start; once that has passed, the end of the window, for then
                               nothing better is known. While none runs: at once, because joining costs it no time

A waiting flight thus stands in the queue where its most urgent waiter would stand alone, for as long as it is aboard, and its
execution may last until the *last* deadline. Waiters are kept in a list sorted by deadline: with 10,000 of them it costs 6 us
to take one in and let it go again.
"""

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from failsoft.policy.request import ClassName, RecordId


class Waiter(NamedTuple):
    """One request that waits for an answer.

    Attributes:
        record: its place in the log.
        deadline_at: when it leaves, monotonic seconds.
        floor: the lowest level that it accepts.
    """

    record: RecordId
    deadline_at: float
    floor: int


class Flight:
    """One execution and its waiters. Who is aboard is the business of the table.

    Attributes:
        number: unique at this worker.
        key: the content key; None: it is not shared.
        leader: whose body is sent.
        level: of the tier that runs, None while none does.
    """

    __slots__ = (
        "_classes", "_expected_at", "_floors", "_is_retried", "_order", "_urgency", "_waiters", "_window_ends_at",
        "key", "leader", "level", "number",
    )  # fmt: skip

    def __init__(self, number: int, key: str | None, leader: RecordId, urgency: Sequence[ClassName]) -> None:
        self.number, self.key, self.leader = number, key, leader
        self.level: int | None = None
        self._urgency = urgency
        self._waiters: dict[RecordId, Waiter] = {}
        self._order: list[tuple[float, RecordId]] = []
        self._classes: Counter[ClassName] = Counter()
        self._floors: Counter[int] = Counter()
        self._expected_at = self._window_ends_at = inf
        self._is_retried = False

    def __len__(self) -> int:
        """How many are aboard."""
        return len(self._waiters)

    @property
    def waiters(self) -> list[Waiter]:
        """All of them, the earliest deadline first."""
        return [self._waiters[record] for _, record in self._order]

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody waits for it any more: its execution is to be cancelled."""
        return not self._waiters

    @property
    def request_class(self) -> ClassName:
        """The most urgent class aboard."""
        return next(name for name in self._urgency if self._classes[name])

    @property
    def floor(self) -> int:
        """The strictest floor aboard."""
        return min(floor for floor, waiting in self._floors.items() if waiting)

    @property
    def deadline_at(self) -> float:
        """The earliest deadline: by which it is sorted while it waits."""
        return self._order[0][0]

    @property
    def last_deadline_at(self) -> float:
        """The latest deadline: up to which its execution is of use to somebody."""
        return self._order[-1][0]

    def takes(self, waiter: Waiter, *, at_least: int, now: float) -> bool:
        """Whether its answer will be good enough and early enough.

        Args:
            waiter: who would board.
            at_least: the lowest level of a tier that runs already that would do.
            now: the instant.
        """
        is_good = self.floor <= waiter.floor if self.level is None else self.level <= min(waiter.floor, at_least)
        return is_good and self._answers_by(now) <= waiter.deadline_at

    def stopped(self) -> None:
        """Its execution ended without an answer; it waits again, here or at the next tier."""
        self.level = None

    def try_retry(self) -> bool:
        """Whether the tier that failed may be tried again: once, however many wait."""
        is_first, self._is_retried = not self._is_retried, True
        return is_first

    def started(self, level: int, *, expected_at: float, window_ends_at: float) -> None:
        """It runs. For the table, which lets those leave who do not accept the level."""
        self.level, self._expected_at, self._window_ends_at = level, expected_at, window_ends_at

    def add(self, waiter: Waiter) -> None:
        """Take one aboard. For the table."""
        self._waiters[waiter.record] = waiter
        insort(self._order, (waiter.deadline_at, waiter.record))
        self._classes[waiter.record.request_class] += 1
        self._floors[waiter.floor] += 1

    def remove(self, record: RecordId) -> None:
        """Let one go. For the table."""
        waiter = self._waiters.pop(record)
        del self._order[bisect_left(self._order, (waiter.deadline_at, record))]
        self._classes[record.request_class] -= 1
        self._floors[waiter.floor] -= 1

    def due_by(self, instant: float) -> list[Waiter]:
        """Those whose deadline is not after the instant."""
        due = bisect_right(self._order, instant, key=_instant)
        return [self._waiters[record] for _, record in self._order[:due]]

    def has_room(self, waiters_max: int) -> bool:
        """Whether another one may board."""
        return len(self._waiters) < waiters_max

    def _answers_by(self, now: float) -> float:
        """A waiting one has time: it takes the place that the waiter would have alone."""
        if self.level is None:
            return now
        return self._expected_at if now <= self._expected_at else self._window_ends_at


def _instant(entry: tuple[float, object]) -> float:
    return entry[0]
