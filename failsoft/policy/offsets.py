"""Which offset may be committed while records of one partition finish out of order.

**Rule.** Commit the contiguous low watermark: the offset of the first record that is not done. Everything below it is done;
what is done above it stays in memory (*finished above*) and will be run again if this worker dies. Only offsets that were
really received are tracked, so gaps in the log (compaction, transaction markers) need no handling.

Work belongs to one *assignment* of the partition. The tracker is thrown away with it, so a late finish of an earlier
assignment cannot move the watermark: the stage asks the tracker of the record's own assignment or none. (aiokafka stamps a
commit with the generation of the moment, not of the work: reliability.md A3. Faust commits past a record in flight: its
issue 606. Both are what this module exists to make impossible.)

What the last owner's mark says is done is taken in as done and not run again; nor is what this worker has finished itself while
it owned the partition before, or after it had lost it (*remembered*): a partition that goes and comes back costs no repeats.
Nothing that was done in one log is believed to be done in another of the same name.

Source: Confluent's Parallel Consumer, uForwarder's ack queue; research/algorithms.md §9.1.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from failsoft.policy.progress import Mark, Out, Progress
from failsoft.policy.request import ClassName, Partition, RecordId

SPAN_MAX = 16_000
"""Most records handed out past the watermark: what a crash can repeat, and what a commit's metadata can still describe
(a bit map in 4,096 bytes holds about 24,500)."""


class OffsetTracker:
    """The commit state of one partition under one assignment.

    Args:
        position: the offset of the first record that will arrive.
        finished: records above it that are done already.
        newest_at: when the newest of those was appended; one that was appended later is not meant.
    """

    __slots__ = ("_done_before", "_done_until", "_finished", "_open", "_position", "begins_at", "newest_at")

    def __init__(self, position: int, finished: Iterable[int] = (), newest_at: float = 0.0) -> None:
        self._open: deque[int] = deque()
        self._finished: set[int] = set()
        self.begins_at = self._position = position
        self._done_before, self._done_until = set(finished), newest_at
        self.newest_at = newest_at
        """When the newest record that was taken in, here or before, was appended."""

    def started(self, offset: int, appended_at: float = 0.0) -> bool:
        """Take a record in. False if it is not to be run here: it stands below what was taken in already, or is done."""
        if offset < self._position:
            return False
        self._open.append(offset)
        self._position = offset + 1
        self.newest_at = max(self.newest_at, appended_at)
        if offset not in self._done_before:
            return True
        if appended_at > self._done_until:  # another record, of a log that was made anew
            self._done_before.clear()
            return True
        self._done_before.discard(offset)
        self.finished(offset)
        return False

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
        """Records done above the watermark, by this owner or one before."""
        return frozenset(self._finished | self._done_before)


@dataclass(slots=True)
class _Owned:
    """One partition under one assignment."""

    assignment: int
    tracker: OffsetTracker
    redelivered_until: int
    crashes: int
    committed: Progress


@dataclass(slots=True)
class _Remembered:
    """What this worker has finished of a partition that is not its own any more."""

    begins_at: int
    low_watermark: int
    newest_at: float
    log: str
    finished: set[int] = field(default_factory=set)


class OffsetLedger:
    """The trackers of all partitions that this worker owns, each under its assignment."""

    def __init__(self) -> None:
        self._owned: dict[Partition, _Owned] = {}
        self._moved: set[Partition] = set()
        """Those of which there is something new to commit."""
        self._wide: set[Partition] = set()
        self._remembered: dict[Partition, _Remembered] = {}

    def assign(self, partitions: Mapping[Partition, Progress], assignment: int) -> None:
        """Own these partitions, as their last owner has left them. An earlier assignment of them is void."""
        self.revoke(partitions)
        for partition, progress in partitions.items():
            done, newest_at = self._known_done(partition, progress)
            tracker = OffsetTracker(progress.offset, done, newest_at)
            self._owned[partition] = _Owned(
                assignment, tracker, progress.highest_started, progress.crashes, replace(progress, is_clean=False)
            )

    def revoke(self, partitions: Iterable[Partition]) -> None:
        """Own them no longer; remember what was done."""
        for partition in partitions:
            owned = self._owned.pop(partition, None)
            self._moved.discard(partition)
            self._wide.discard(partition)
            if owned is not None:
                self._remember(partition, owned.tracker, owned.committed.log)

    def started(self, record: RecordId, appended_at: float = 0.0) -> int | None:
        """Take a record in; returns the assignment that its work belongs to, None if it is not ours, not new or done."""
        partition = record.partition
        owned = self._owned.get(partition)
        if owned is None:
            return None
        is_new = owned.tracker.started(record.offset, appended_at)
        self._note(partition, owned.tracker)
        return owned.assignment if is_new else None

    def finished(self, record: RecordId, assignment: int) -> None:
        """Note that a record is done. One of an assignment that is over counts only if the partition comes back."""
        partition = record.partition
        owned = self._owned.get(partition)
        if owned is None:
            remembered = self._remembered.get(partition)
            if remembered is not None and record.offset >= remembered.low_watermark:
                remembered.finished.add(record.offset)
        elif owned.assignment == assignment:
            owned.tracker.finished(record.offset)
            self._note(partition, owned.tracker)

    def is_redelivery(self, record: RecordId) -> bool:
        """Whether the last owner had handed out a record that has just arrived."""
        return record.offset <= self._owned[record.partition].redelivered_until

    def low_watermark(self, partition: Partition) -> int:
        """The first record that is not done, of a partition that is owned."""
        return self._owned[partition].tracker.low_watermark

    def touch(self, partitions: Iterable[Partition]) -> None:
        """There is something to say of these that is not in the trackers."""
        self._moved |= self._owned.keys() & partitions

    def forgive(self, partition: Partition) -> None:
        """No record of it is suspected any more: the owners that died before count no longer."""
        self._owned[partition].crashes = 0
        self.touch([partition])

    def to_commit(
        self, *, is_clean: bool = False, watched: Callable[[Partition], Out | None] = lambda _: None
    ) -> dict[Partition, Mark]:
        """What is new since this was last asked.

        Args:
            is_clean: this owner may lose them now, alive: then of all partitions whose mark does not say so yet.
            watched: what the mark of a partition says is under way; None: all that was taken in.
        """
        marks = {}
        for partition in sorted(self._owned if is_clean else self._moved):
            owned = self._owned[partition]
            tracker = owned.tracker
            out = watched(partition) or Out(tracker.highest_started, is_alone=False)
            progress = Progress(
                tracker.low_watermark,
                tracker.finished_above,
                out.highest_started,
                tracker.newest_at,
                is_clean,
                owned.crashes,
                out.is_alone,
                owned.committed.log,
            )
            if progress != owned.committed:
                owned.committed = progress
                marks[partition] = Mark(owned.assignment, progress)
        self._moved.clear()
        return marks

    @property
    def has_uncommitted(self) -> bool:
        """Whether ``to_commit`` would say anything."""
        return bool(self._moved)

    def is_too_wide(self, request_class: ClassName) -> bool:
        """Whether a partition of this class has as many records past its watermark as it may."""
        return any(partition.request_class == request_class for partition in self._wide)

    def _note(self, partition: Partition, tracker: OffsetTracker) -> None:
        self._moved.add(partition)
        if tracker.span >= SPAN_MAX:
            self._wide.add(partition)
        elif self._wide:
            self._wide.discard(partition)

    def _remember(self, partition: Partition, tracker: OffsetTracker, log: str) -> None:
        begins_at = tracker.low_watermark - min(SPAN_MAX, tracker.low_watermark - tracker.begins_at)
        self._remembered[partition] = _Remembered(
            begins_at, tracker.low_watermark, tracker.newest_at, log, set(tracker.finished_above)
        )

    def _known_done(self, partition: Partition, progress: Progress) -> tuple[set[int], float]:
        """What is done of a partition above where it begins, by the last mark and by our own memory."""
        done, newest_at = set(progress.finished), progress.newest_at
        remembered = self._remembered.pop(partition, None)
        if remembered is not None and remembered.log == progress.log and progress.offset >= remembered.begins_at:
            done.update(range(progress.offset, remembered.low_watermark))
            done.update(offset for offset in remembered.finished if offset >= progress.offset)
            newest_at = max(newest_at, remembered.newest_at)
        return done, newest_at
