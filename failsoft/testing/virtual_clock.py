"""A wall clock for virtual time: it begins at the same instant in every run, so that instants on the wire are the same too."""

from failsoft.runtime.clock import Clock
from failsoft.simulation.cluster import EPOCH


class VirtualClock(Clock):
    """The running loop's clock; its wall clock shows the simulator's epoch at virtual zero."""

    def wall(self) -> float:
        """Epoch seconds."""
        return EPOCH + self.monotonic()
