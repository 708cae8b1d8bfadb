"""An operator's word on a breaker: hold it open, let all calls pass, or let it decide by itself again.

    open    no calls, whatever is measured: the endpoint is known to be wrong, or is being worked on
    closed  all calls pass, and what would have opened it is only counted: the breaker is known to be wrong
    auto    takes either back

A word ends by itself, because the operator who forgets to take it back is the usual one. Of two words the later one holds, by the
broker's time of their append: all workers read one log, and whoever reads a part of it again must not go back to an old word.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from failsoft.policy.breaker_states import State


class Force(StrEnum):
    """What an operator wants of a breaker."""

    OPEN = "open"
    CLOSED = "closed"
    AUTO = "auto"


_STATES = {Force.OPEN: State.FORCED_OPEN, Force.CLOSED: State.METRICS_ONLY, Force.AUTO: None}


@dataclass(frozen=True, slots=True)
class Control:
    """One word.

    Attributes:
        force: what is wanted.
        said_at: when it was appended, by the broker's clock, epoch seconds; orders words.
        ends_at: from when it holds no more, monotonic seconds of this worker.
    """

    force: Force
    said_at: float
    ends_at: float = math.inf

    def followed_by(self, other: "Control") -> "Control":
        """The word that holds when both have been said, in whatever order they were heard."""
        return other if other.said_at >= self.said_at else self

    def holds(self, *, now: float) -> Force:
        """What is wanted now."""
        return self.force if now < self.ends_at else Force.AUTO

    def state(self, *, now: float) -> State | None:
        """The state that a breaker is to be set to now; None: its own."""
        return _STATES[self.holds(now=now)]


NOTHING_SAID = Control(Force.AUTO, -math.inf)
