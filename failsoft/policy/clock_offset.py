"""How far the broker's clock is ahead of ours, from acknowledgements of what we send.

An append lies between the send and its acknowledgement, on whatever clock::

    sent <= append <= acknowledged    =>    appended - acknowledged <= offset <= appended + 1 ms - sent

The broker tells append times in whole milliseconds, rounded down, hence the 1 ms. A batch has one append time for all its
records, and the rule holds for each of them. The narrowest interval of the last ten minutes counts (Cristian's
algorithm: the fastest answer says most); its middle is the estimate. Two intervals that exclude each other mean that a clock
was set, or has drifted that far: then only the newer is believed.

Ten minutes: at 50 parts per million, a bad quartz, the clocks drift 30 ms apart in it, which is one slow acknowledgement.
"""

from collections import deque
from typing import NamedTuple

HORIZON_SECONDS = 600.0
SLOT_SECONDS = 10.0
"""One interval is kept for each ten seconds, the narrowest: 60 in all, however many acknowledgements there are."""
RESOLUTION_SECONDS = 0.001


class _Interval(NamedTuple):
    slot: int
    low: float
    high: float

    @property
    def width(self) -> float:
        return self.high - self.low

    def excludes(self, other: "_Interval") -> bool:
        return self.low > other.high or self.high < other.low


class ClockOffset:
    """The broker's clock minus ours, as far as acknowledgements show it."""

    def __init__(self, *, horizon_seconds: float = HORIZON_SECONDS) -> None:
        self._slots = int(horizon_seconds / SLOT_SECONDS)
        self._kept: deque[_Interval] = deque()
        self._best: _Interval | None = None

    @property
    def seconds(self) -> float:
        """What to add to our clock to read the broker's; 0.0 while unknown."""
        return 0.0 if self._best is None else (self._best.low + self._best.high) / 2

    @property
    def uncertainty_seconds(self) -> float:
        """How far the truth may be from ``seconds``, either way; infinite while unknown."""
        return float("inf") if self._best is None else self._best.width / 2

    def observe(self, *, sent_at: float, appended_at: float, acked_at: float, now: float) -> None:
        """Learn from one acknowledgement.

        Args:
            sent_at: when it was sent, our wall clock, epoch seconds.
            appended_at: when the broker appended it, the broker's clock, epoch seconds.
            acked_at: when the acknowledgement came: ``sent_at`` plus the monotonic time between.
            now: monotonic seconds.
        """
        seen = _Interval(int(now / SLOT_SECONDS), appended_at - acked_at, appended_at + RESOLUTION_SECONDS - sent_at)
        if seen.width < RESOLUTION_SECONDS:
            return  # acknowledged before it was sent: a clock was set in between
        if self._best is not None and seen.excludes(self._best):
            self._kept.clear()
        while self._kept and self._kept[0].slot <= seen.slot - self._slots:
            self._kept.popleft()
        if not self._kept or self._kept[-1].slot != seen.slot:
            self._kept.append(seen)
        elif seen.width < self._kept[-1].width:
            self._kept[-1] = seen
        else:
            return  # the slot has a narrower one
        self._best = min(self._kept, key=lambda interval: interval.width)
