"""The broker's clock: the one that all share, since records are stamped by it when they are appended.

It is this process's own, put right by what acknowledgements have shown (:mod:`failsoft.policy.clock_offset`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from failsoft.runtime.ports import OutboxPort


@dataclass(frozen=True, slots=True)
class BrokerClock:
    """What the broker's clock shows, as far as is known: this process's own until something was acknowledged.

    Attributes:
        own: this process's wall clock, epoch seconds.
        outbox: whose acknowledgements are gone by.
    """

    own: Callable[[], float]
    outbox: OutboxPort

    def wall(self) -> float:
        """Epoch seconds."""
        return self.own() + self.outbox.clock_offset.seconds

    def uncertainty_seconds(self) -> float:
        """How far that may be from the truth."""
        return self.outbox.clock_offset.uncertainty_seconds
