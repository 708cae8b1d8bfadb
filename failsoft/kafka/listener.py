"""What the inbox hands over, and whom it tells.

All calls come on the event loop and must return at once: heartbeats wait behind them. ``assigned`` comes before the first
record of its partitions, and after ``revoked`` no record of its partitions comes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from failsoft.policy.progress import Marks, Progress
from failsoft.policy.request import ClassName, Partition, RecordId


@dataclass(frozen=True, slots=True)
class Fetched:
    """One record as it stands in the log.

    Attributes:
        record: its place.
        topic: the topic of its class.
        assignment: the assignment of its partition under which it was fetched.
        timestamp: epoch seconds.
        is_append_time: the timestamp is the broker's, of the append; else it is the sender's.
        key: None if it has none.
        value: None for a tombstone, and for a record that cannot be decoded at all, which has nothing but its place.
        headers: in their order, repeats included; a header without value has an empty one here.
        size_bytes: key, value and headers.
    """

    record: RecordId
    topic: str
    assignment: int
    timestamp: float
    is_append_time: bool
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    size_bytes: int


class InboxListener(Protocol):
    """Who takes the records of one stage."""

    def room(self, request_class: ClassName) -> int:
        """Return how many more records of this class to hand over. At zero nothing is handed over until ``Inbox.wake``."""

    def records(self, batch: Sequence[Fetched]) -> None:
        """Take these: all of one class, in order of offsets within each partition, no more than there was room for."""

    def backlog(self, request_class: ClassName, records: int, oldest_age_seconds: float) -> None:
        """Learn how much of the class is still in the log, and how old its oldest record is at most."""

    def assigned(self, positions: Mapping[Partition, Progress], assignment: int, share: float) -> None:
        """Own these from here on: how far each is, with this beginning counted in; records come from its offset on."""

    def revoked(self, partitions: frozenset[Partition], share: float) -> None:
        """Drop these: others own them. The set is empty when only the share has changed."""

    def marks_to_commit(self) -> Marks:
        """Return what may be committed now: a rebalance is about to begin."""
