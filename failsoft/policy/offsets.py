"""Which offset may be committed while records of one partition finish out of order.

**Rule.** Commit the contiguous low watermark: the offset of the first record that is not done. Everything below it is done;
what is done above it stays in memory (*finished above*) and will be run again if this worker dies. Only offsets that were
really received are tracked, so gaps in the log (compaction, transaction markers) need no handling.

Work belongs to one *assignment* of the partition. The tracker is thrown away with it, so a late finish of an earlier
assignment cannot move the watermark: the stage asks the tracker of the record's own assignment or none. (aiokafka stamps a
commit with the generation of the moment, not of the work: reliability.md A3. Faust commits past a record in flight: its
issue 606. Both are what this module exists to make impossible.)

Source: Confluent's Parallel Consumer, uForwarder's ack queue; research/algorithms.md §9.1.
"""

from collections import deque
from collections.abc import Iterable, Mapping

from failsoft.policy.request import ClassName, Partition, RecordId

SPAN_MAX = 16_000
"""Most records handed out past the watermark: what a crash can repeat, and what a commit's metadata can still describe
(a bit map in 4,096 bytes holds about 24,500)."""


class OffsetTracker:
    """The commit state of one partition under one assignment.

    Args:
        position: the offset of the first record that will arrive.
    """

    __slots__ = ("_finished", "_open", "_position", "committed")

    def __init__(self, position: int) -> None:
        self._open: deque[int] = deque()
        self._finished: set[int] = set()
        self._position = position
        self.committed = position
        """What was last given out to be committed."""

    def started(self, offset: int) -> bool:
        """Take a record in. False if it stands below what was already taken: it is not new, and must not be run again here."""
        if offset < self._position:
            return False
        self._open.append(offset)
        self._position = offset + 1
        return True

    def finished(self, offset: int) -> None:
        """Note that a record is done: its result is acknowledged. Twice is the same as once."""
        if not self._open or offset < self._open[0] or offset >= self._position:
            return
        self._finished.add(offset)
        while self._open and self._open[0] in self._finished:
            self._finished.discard(self._open.popleft())

    @property
    def low_watermark(self) -> int:
        """The offset of the first record that is not done: what may be committed."""
        return self._open[0] if self._open else self._position

    @property
    def highest_started(self) -> int:
        """The highest offset taken in so far; one below the first position when there is none."""
        return self._position - 1

    @property
    def span(self) -> int:
        """How many records were handed out at or past the watermark."""
        return len(self._open)

    @property
    def finished_above(self) -> frozenset[int]:
        """Records done above the watermark."""
        return frozenset(self._finished)


class OffsetLedger:
    """The trackers of all partitions that this worker owns, each under its assignment."""

    def __init__(self) -> None:
        self._trackers: dict[Partition, tuple[int, OffsetTracker]] = {}
        self._moved: dict[Partition, tuple[int, OffsetTracker]] = {}
        """Those whose watermark stands above what was last given out."""
        self._wide: set[Partition] = set()

    def assign(self, positions: Mapping[Partition, int], assignment: int) -> None:
        """Own these partitions from these offsets on. What was known of them under an earlier assignment is void."""
        for partition, position in positions.items():
            self._trackers[partition] = (assignment, OffsetTracker(position))
            self._moved.pop(partition, None)
            self._wide.discard(partition)

    def revoke(self, partitions: Iterable[Partition]) -> None:
        """Own them no longer."""
        for partition in partitions:
            self._trackers.pop(partition, None)
            self._moved.pop(partition, None)
            self._wide.discard(partition)

    def started(self, record: RecordId) -> int | None:
        """Take a record in; returns the assignment that its work belongs to, None if it is not ours or not new."""
        partition = record.partition
        found = self._trackers.get(partition)
        if found is None or not found[1].started(record.offset):
            return None
        self._note(partition, found)  # over a gap in the log the watermark moves at a start
        return found[0]

    def finished(self, record: RecordId, assignment: int) -> None:
        """Note that a record is done, if its assignment still holds."""
        partition = record.partition
        found = self._trackers.get(partition)
        if found is not None and found[0] == assignment:
            found[1].finished(record.offset)
            self._note(partition, found)

    def to_commit(self) -> dict[Partition, tuple[int, int]]:
        """What has moved since this was last asked: partition -> (assignment, low watermark)."""
        moved = {}
        for partition, (assignment, tracker) in self._moved.items():
            tracker.committed = tracker.low_watermark
            moved[partition] = (assignment, tracker.committed)
        self._moved.clear()
        return moved

    @property
    def has_uncommitted(self) -> bool:
        """Whether ``to_commit`` would say anything."""
        return bool(self._moved)

    def _note(self, partition: Partition, found: tuple[int, OffsetTracker]) -> None:
        tracker = found[1]
        if tracker.low_watermark > tracker.committed:
            self._moved[partition] = found
        if tracker.span >= SPAN_MAX:
            self._wide.add(partition)
        else:
            self._wide.discard(partition)

    def is_too_wide(self, request_class: ClassName) -> bool:
        """Whether a partition of this class has as many records past its watermark as it may."""
        return any(partition.request_class == request_class for partition in self._wide)
