"""How much of a class is still in the log, in the partitions that are ours, and how old its head is at most.

The rest is high watermark minus position, summed over partitions. The head is no older than the oldest record of the
last hand-over, nor than the last moment when nothing was left: a class that was idle for hours has no backlog of that age.
Before either it is not known and told as 0.
"""

from collections.abc import Mapping


class Backlog:
    """The ends of the log and the age of its head, as seen by one fetcher."""

    def __init__(self) -> None:
        self._ends: dict[int, int] = {}
        self._head_at: float | None = None

    def seen_end(self, number: int, end: int | None) -> None:
        """Note how far a partition reaches; None is what a client says that has not fetched from it yet."""
        if end is not None:
            self._ends[number] = end

    def taken(self, oldest_at: float) -> None:
        """Note what was handed over: the timestamp of the oldest of it, epoch seconds."""
        self._head_at = oldest_at

    def forget(self, number: int) -> None:
        """Drop a partition that is lost."""
        self._ends.pop(number, None)

    def records(self, positions: Mapping[int, int]) -> int:
        """Return how many records are left behind these positions."""
        return sum(max(0, self._ends.get(number, 0) - position) for number, position in positions.items())

    def told(self, positions: Mapping[int, int], *, now: float) -> tuple[int, float]:
        """Return records left and the age of the head, seconds; ``now`` in epoch seconds."""
        left = self.records(positions)
        if positions and not left:
            self._head_at = now
        return left, 0.0 if self._head_at is None else max(0.0, now - self._head_at)
