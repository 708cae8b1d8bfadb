"""Virtual time: a heap of what is due, and a clock that jumps from one entry to the next.

What is due at the same instant runs in the order in which it was scheduled, so that a run is a function of its seed. A fuzzer
hands in a ``random.Random`` for the ties: then entries of one instant run in an order drawn from it, as real tasks would, and
the run is still a function of the seed.

A heap and plain calls instead of a virtual asyncio loop: here time is all that is simulated, and a hundred thousand
requests take seconds (research/algorithms.md §10.2).
"""

import heapq
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from random import Random


class Engine:
    """The clock and what is due.

    Args:
        ties: draws the order of what is due at the same instant; None: as scheduled.
    """

    __slots__ = ("_due", "_scheduled", "_tie", "now")

    def __init__(self, *, ties: "Random | None" = None) -> None:
        self.now = 0.0
        """Seconds since the simulation began."""
        self._due: list[tuple[float, float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._scheduled = 0
        self._tie = None if ties is None else ties.random

    def at(self, instant: float, call: Callable[..., None], *args: Any) -> None:
        """Call something at an instant; one that has passed means now, after what is due already."""
        self._scheduled += 1
        tie = 0.0 if self._tie is None else self._tie()
        heapq.heappush(self._due, (max(instant, self.now), tie, self._scheduled, call, args))

    def after(self, seconds: float, call: Callable[..., None], *args: Any) -> None:
        """Call something so many seconds from now."""
        self.at(self.now + seconds, call, *args)

    def run(self, until: float = math.inf) -> None:
        """Run what is due up to and including an instant, in order of time; stop earlier when nothing is left."""
        due = self._due
        while due and due[0][0] <= until:
            self.now, _, _, call, args = heapq.heappop(due)
            call(*args)
        if until < math.inf:
            self.now = max(self.now, until)
