"""One execution and everybody who waits for its answer: the *flight* of a content key.

It waits for a permit or runs. Its *leader* opened it, *followers* joined; both are *waiters*, and after boarding there is no
difference between them. What the rest of the stage sees of it follows from who is aboard::

    class, deadline, floor     the most urgent, the earliest, the strictest aboard
    level                      that of the tier that runs; while none does, the floor: it will not come to less

Whether its answer will be early enough for one who would board depends on the age of its call::

    none runs                  always: joining costs no time
    before q95 of the tier     if q95 lies before the deadline, and before the end of the window
    once q95 has passed        if the end of the window lies before the deadline, for then nothing better is known
    before the median          also if the median lies before both, and q95 of a call that begins now beyond the deadline

The last is for those who have too little time to be sure of anything. A call of their own would begin later than this one and
so, most likely, end later: what is left of a call that is younger than its median is shorter than a new one, up to a sigma of 1.
And who cannot wait for the end parts from this one as soon as it would from its own. Without that line a herd with short
deadlines, or one in front of a slow model, is a call for each: every permit that there is.

A waiting flight thus stands in the queue where its most urgent waiter would stand alone, for as long as it is aboard, and its
execution may last until the *last* deadline. Waiters are kept in a list sorted by deadline: with 10,000 of them it costs 6 us
to take one in and let it go again.
"""

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Sequence
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


class Outlook(NamedTuple):
    """What is known of a call when it starts: its instants.

    Attributes:
        level: of the tier.
        started_at: now.
        even_at: when it will have answered with an even chance, the tier's median.
        expected_at: when it will most likely have answered, q95.
        window_ends_at: when it will be cut.
    """

    level: int
    started_at: float
    even_at: float
    expected_at: float
    window_ends_at: float

    def is_timely(self, deadline_at: float, *, now: float) -> bool:
        """Whether one with this deadline does best to wait for it."""
        if now > self.expected_at:
            return self.window_ends_at <= deadline_at
        until = min(deadline_at, self.window_ends_at)
        if self.expected_at <= until:
            return True
        own_expected_at = now + self.expected_at - self.started_at
        return now < self.even_at <= until and own_expected_at > deadline_at


class Flight:
    """One execution and its waiters. Who is aboard is the business of the table.

    Attributes:
        number: unique at this worker.
        key: the content key; None: it is not shared.
        leader: whose body is sent.
    """

    __slots__ = (
        "_classes", "_floors", "_is_retried", "_order", "_outlook", "_urgency", "_waiters", "key", "leader", "number",
    )  # fmt: skip

    def __init__(self, number: int, key: str | None, leader: RecordId, urgency: Sequence[ClassName]) -> None:
        self.number, self.key, self.leader = number, key, leader
        self._outlook: Outlook | None = None
        self._urgency = urgency
        self._waiters: dict[RecordId, Waiter] = {}
        self._order: list[tuple[float, RecordId]] = []
        self._classes: Counter[ClassName] = Counter()
        self._floors: Counter[int] = Counter()
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
    def level(self) -> int | None:
        """Of the tier that runs, None while none does."""
        return None if self._outlook is None else self._outlook.level

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
        outlook = self._outlook
        if outlook is None:
            return self.floor <= waiter.floor and now <= waiter.deadline_at
        return outlook.level <= min(waiter.floor, at_least) and outlook.is_timely(waiter.deadline_at, now=now)

    def stopped(self) -> None:
        """Its execution ended without an answer; it waits again, here or at the next tier."""
        self._outlook = None

    def try_retry(self) -> bool:
        """Whether the tier that failed may be tried again: once, however many wait."""
        is_first, self._is_retried = not self._is_retried, True
        return is_first

    def started(self, outlook: Outlook) -> None:
        """It runs. For the table, which lets those leave who do not accept the level."""
        self._outlook = outlook

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


def _instant(entry: tuple[float, object]) -> float:
    return entry[0]
