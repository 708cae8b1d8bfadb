"""How far one partition is: what a commit says to the next owner, beyond the offset.

    offset             low watermark: the first record that is not done
    finished           records above it that are done; the next owner does not run them again
    highest_started    the last record that was handed out; those from the offset up to it are *redeliveries* to the next owner
    is_clean           handed over by a worker that lived: nothing that was under way has ended a process
    crashes            how many owners in a row have died with this offset as their watermark

**Poison.** A record can end the process that runs it: native code that crashes, memory that the host does not have. Counting has
to outlive the process, and the offset's commit is the one thing that does. So an owner commits, before it runs anything, that it
has begun and is not clean. One that begins after an unclean end commits one crash more, and runs what was under way *one at a
time*, each only after the commit that everything before it is done: the next crash names its record. After the third at one
offset that record is not run any more. It ends as a dead letter with a result, and its partition goes on.

A worker that is evicted while it lives (a frozen host, a broker that was away) leaves the same trace as one that died. It takes
three in a row, without a single record done, to be taken for poison.

Source: Confluent's Parallel Consumer (the map), research/reliability.md H21, A8; research/kafka.md §2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from failsoft.policy.request import Partition

CRASHES_MAX = 3
"""One may be anything, two a coincidence; each costs a session timeout and a restart."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The commit state of one partition.

    Attributes:
        offset: the first record that is not done.
        finished: done above it.
        highest_started: the last that was handed out; below ``offset`` if none is under way.
        is_clean: nothing that was under way can have ended a process.
        crashes: owners in a row that died with this offset.
    """

    offset: int
    finished: frozenset[int] = frozenset()
    highest_started: int = -1
    is_clean: bool = True
    crashes: int = 0

    @property
    def is_suspect(self) -> bool:
        """Whether one of those under way may have ended the process."""
        return not self.is_clean and self.highest_started >= self.offset

    @property
    def poison(self) -> int | None:
        """The offset that is not run any more."""
        return self.offset if self.crashes >= CRASHES_MAX else None

    def taken_over(self, *, end: int) -> "Progress":
        """What the next owner commits before it runs anything: it has begun, and the last one may have died of what it ran.

        Args:
            end: of the log; where it holds nothing from the offset on, nothing was under way, and nobody died of it.
        """
        if end <= self.offset:
            return Progress(self.offset)
        crashes = self.crashes + 1 if self.is_suspect else 0
        begun = max(self.highest_started, self.offset)
        return replace(self, highest_started=begun, is_clean=False, crashes=crashes)

    def valid_from(self, position: int) -> "Progress":
        """What of it holds if the partition begins here: nothing, where the log has lost the offset it speaks of."""
        return self if position == self.offset else Progress(position)


Marks = Mapping[Partition, tuple[int, Progress]]
"""partition -> (assignment, how far it is): what a stage asks to have committed."""
