"""How far one partition is: what a commit says to the next owner, beyond the offset.

    offset             low watermark: the first record that is not done
    finished           records above it that are done; the next owner does not run them again
    highest_started    the last record that was handed out: what stands from the offset up to it, and is not done, is a
                       *redelivery* to the next owner
    newest_at          when the newest record that this speaks of was appended, by the broker's clock
    is_clean           handed over by a worker that lived: nothing that was under way has ended a process
    crashes            owners in a row that were not heard of again
    is_alone           the first that is not done was out, and nothing else of its partition, because it is suspected
    log                which log it speaks of; empty where brokers do not tell

A topic that was deleted and made anew counts its offsets from zero again, and a mark of the old one must not hide a record of
the new one. So a mark that names another log is void, and so is one whose offset the log does not have; and what it says of
a record that was appended after all that it speaks of is not believed.

**Crashes.** Counting has to outlive the process, and the commit is the one thing that does. An owner commits, before it takes
anything, that it has begun and is not clean, and says so until it hands over. One that begins after an unclean end counts one
crash more; what it does about it is :mod:`failsoft.policy.quarantine`. A worker that is evicted while it lives (a frozen host,
a broker that was away) leaves the same trace as one that died.

Source: Confluent's Parallel Consumer (the map); research/reliability.md H21, A8; research/kafka.md §2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from failsoft.policy.request import Partition

CRASHES_MAX = 3
"""One may be anything, two a coincidence; each costs a session timeout and a restart."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The commit state of one partition. ``highest_started`` is below ``offset`` where nothing is under way."""

    offset: int
    finished: frozenset[int] = frozenset()
    highest_started: int = -1
    newest_at: float = 0.0
    is_clean: bool = True
    crashes: int = 0
    is_alone: bool = False
    log: str = ""

    @property
    def poison(self) -> int | None:
        """The offset that is not run any more."""
        return self.offset if self.is_alone and self.crashes >= CRASHES_MAX else None

    def taken_over(self) -> "Progress":
        """What the next owner commits before it takes anything: it has begun, and the last one may have died.

        Of that owner nothing is out yet, so the next crash is not laid to the record that was; unless that is settled already.
        """
        if self.is_clean:
            return replace(self, is_clean=False, crashes=0, is_alone=False)
        crashes = self.crashes + 1
        return replace(self, crashes=crashes, is_alone=self.is_alone and crashes >= CRASHES_MAX)

    def valid_from(self, position: int) -> "Progress":
        """What of it holds if the partition begins here: nothing, where the log has lost the offset it speaks of."""
        return self if position == self.offset else Progress(position)

    def is_of(self, log: str) -> bool:
        """Whether it may speak of this log. False only where it names another."""
        return self.log == log or "" in (self.log, log)


class Out(NamedTuple):
    """What of a partition is under way, or is about to be; ``highest_started`` is -1 where nothing is."""

    highest_started: int
    is_alone: bool


class Mark(NamedTuple):
    """What is to be committed of a partition, and under which assignment the work was done."""

    assignment: int
    progress: Progress


Marks = Mapping[Partition, Mark]
