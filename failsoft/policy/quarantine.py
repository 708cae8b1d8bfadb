"""Which of a partition's records may be under way together, after an owner of it has died.

A record can end the process that runs it: native code that crashes, memory that the host does not have. It comes back, and ends
the next one. Three crashes, and it is found:

    crashes   what the owner does with the partition                     what its mark says while it lives
    0         everything at once; this costs nothing                     taken records, once a second
    1         *wary*: at most ``CROWD`` records are out at once, each    all that are out
              only after a commit that names it
    2, 3 ...  those that were out when the last owner died go *alone*:   the one that is out
              one at a time, and nothing else of any partition that
              is watched in this process
    >= 3      and one was out alone: it is *poison*. It ends as a dead letter with a result, and the partition goes on

A kill that no record is guilty of costs the partition some commits, no more. To be taken for poison a record has to be out
alone at the end of one owner, after two others of its partition have ended in a row. Wariness ends, and the count with it, when
all that was under way at the last end is done, and then ``WARY_RECORDS`` further ones or a minute of peace.

Whose deadline comes while it waits here is let out whatever the marks say: too late for a call, in time for a result.

Two shapes were weighed. Records one at a time after every unclean end (the plain reading of "quarantine") would make each crash
of a worker cost its records one service time after another, and the urgent ones their deadlines. So a first crash, which is
nearly always an accident, only makes wary. And alone is meant in the *process*, not in the partition: else the poison of one
would have those that were out beside it, one in each, taken for its like. A suspect that is not done within a minute is waited
for no longer.

Source: research/reliability.md H21; research/kafka.md §2.
"""

import heapq
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice

from failsoft.policy.progress import Marks, Out, Progress
from failsoft.policy.request import Partition, RecordId

CROWD = 4
"""Records of a wary partition that are out at once: with some dozen partitions enough for all permits, and few to suspect."""
WARY_RECORDS = 64
"""What may have been taken after the dead owner's last commit, and is named by none, is among the next few dozens."""
PEACE_SECONDS = 60.0


@dataclass(slots=True)
class _Ward:
    """One partition under watch."""

    suspects_until: int
    """Those up to here were out when the last owner died, and go alone."""
    begun_until: int
    wary_until: int
    peace_at: float
    waiting: dict[int, None] = field(default_factory=dict)
    """In order of offsets."""
    named: set[int] = field(default_factory=set)
    """To be let out when a commit that names them is acknowledged."""
    out: set[int] = field(default_factory=set)

    @property
    def highest_started(self) -> int:
        """The last that is, or is about to be, under way; -1 if none is."""
        return max(self.named | self.out, default=-1)

    def is_harmless(self, low_watermark: int, now: float) -> bool:
        """Whether it need not be watched any more."""
        is_over = low_watermark >= self.wary_until or now >= self.peace_at
        return is_over and low_watermark > self.begun_until

    def has_suspects(self, low_watermark: int, now: float) -> bool:
        """Whether one that may have ended the last owner is not done yet."""
        return low_watermark <= self.suspects_until and now < self.peace_at

    @property
    def under_way(self) -> int:
        """How many are out, or about to be."""
        return len(self.named) + len(self.out)


class Quarantine:
    """The partitions of this worker whose last owner has died."""

    def __init__(self) -> None:
        self._wards: dict[Partition, _Ward] = {}
        self._suspected: dict[Partition, _Ward] = {}
        """Those of them that may have suspects."""
        self._poison: set[RecordId] = set()
        self._dues: list[tuple[float, RecordId]] = []
        """When each has to be let out, a heap; also of those who are out already."""
        self._alone: RecordId | None = None
        """The suspect that is out, or about to be: nothing else of what is watched is."""
        self._moved: dict[Partition, _Ward] = {}
        """Those with whom something has happened since it was last somebody's turn."""
        self._peace_at = -math.inf
        """When peace comes to the next of them; in the past where it is not known."""

    def __bool__(self) -> bool:
        return bool(self._wards)

    @property
    def partitions(self) -> list[Partition]:
        """Those under watch."""
        return list(self._wards)

    def assign(self, partition: Partition, progress: Progress, *, now: float) -> None:
        """Own a partition whose last owner left it like this, with this owner's beginning counted in."""
        self.revoke([partition])
        if not progress.crashes:
            return
        suspects_until = progress.highest_started if progress.crashes > 1 else progress.offset - 1
        wary_until = max(progress.highest_started + 1, progress.offset + WARY_RECORDS)
        ward = _Ward(suspects_until, progress.highest_started, wary_until, now + PEACE_SECONDS)
        self._wards[partition] = self._moved[partition] = ward
        self._peace_at = -math.inf
        if progress.crashes > 1:
            self._suspected[partition] = ward
        if progress.poison is not None:
            self._poison.add(RecordId(*partition, progress.poison))

    def revoke(self, partitions: Iterable[Partition]) -> None:
        """Own them no longer."""
        gone = self._wards.keys() & partitions
        if not gone:
            return
        for partition in gone:
            del self._wards[partition]
            self._suspected.pop(partition, None)
            self._moved.pop(partition, None)
        self._peace_at = -math.inf
        self._dues = [due for due in self._dues if due[1].partition not in gone]
        heapq.heapify(self._dues)
        self._poison = {record for record in self._poison if record.partition not in gone}
        if self._alone is not None and self._alone.partition in gone:
            self._alone = None

    def moved(self, record: RecordId) -> None:
        """A record has arrived or is done: the watermark of its partition may have moved, and there may be room in it."""
        if self._wards:
            self._note(record.partition)

    def is_poison(self, record: RecordId) -> bool:
        """Whether a record is not to be run any more."""
        return record in self._poison

    def holds(self, record: RecordId, *, until: float) -> bool:
        """Whether a record that has arrived has to wait here for its turn, until this instant at most."""
        ward = self._wards.get(record.partition) if self._wards else None
        if ward is None:
            return False
        ward.waiting[record.offset] = None
        heapq.heappush(self._dues, (until, record))
        return True

    def is_waiting(self, record: RecordId) -> bool:
        """Whether a record waits here for its turn."""
        ward = self._wards.get(record.partition)
        return ward is not None and record.offset in ward.waiting

    def passed(self, record: RecordId) -> None:
        """A record that waits here needs no turn: it is served with another."""
        ward = self._wards[record.partition]
        ward.waiting.pop(record.offset)
        ward.named.discard(record.offset)
        self._moved[record.partition] = ward

    def out(self, partition: Partition) -> Out | None:
        """What a mark has to say of what is under way, or is about to be; None where that is all that was taken."""
        ward = self._wards.get(partition)
        if ward is None:
            return None
        return Out(ward.highest_started, is_alone=self._alone is not None and self._alone.partition == partition)

    def name_next(self, low_watermarks: Callable[[Partition], int], *, now: float) -> list[Partition]:
        """Choose whose turn it is: of these partitions a commit is due that names them."""
        if self._suspected:  # watermarks and time only go on: who has none has none any more
            self._suspected = {
                place: ward for place, ward in self._suspected.items() if ward.has_suspects(low_watermarks(place), now)
            }
        if self._suspected:
            return self._name_alone()
        moved, self._moved = self._moved, {}
        return [partition for partition, ward in moved.items() if self._name_crowd(ward)]

    def committed(self, marks: Marks) -> list[RecordId]:
        """These marks are acknowledged: who may go now, in order."""
        free: list[RecordId] = []
        for partition, mark in marks.items():
            ward = self._wards.get(partition)
            named = () if ward is None else sorted(ward.named)
            free += [RecordId(*partition, offset) for offset in named if offset <= mark.progress.highest_started]
        return [self._let_out(record) for record in free]

    def finished(self, record: RecordId) -> None:
        """A record is done."""
        if not self._wards:
            return
        ward = self._wards.get(record.partition)
        if ward is not None:
            ward.out.discard(record.offset)
        if record == self._alone:
            self._alone = None

    def let_out_due(self, *, now: float) -> list[RecordId]:
        """Those who cannot wait here any longer."""
        free = []
        while self._dues and self._dues[0][0] <= now:
            record = heapq.heappop(self._dues)[1]
            ward = self._wards.get(record.partition)
            if ward is not None and record.offset in ward.waiting:
                free.append(self._let_out(record))
        return free

    def release(self, low_watermarks: Callable[[Partition], int], *, now: float) -> dict[Partition, list[RecordId]]:
        """The partitions that are watched no more, and who has waited in them."""
        doubtful = self._wards if now >= self._peace_at else self._moved
        harmless = [
            partition for partition, ward in doubtful.items() if ward.is_harmless(low_watermarks(partition), now)
        ]
        waited = {name: [RecordId(*name, offset) for offset in self._wards[name].waiting] for name in harmless}
        if harmless:
            self.revoke(harmless)
        return waited

    def due_at(self, now: float) -> float:
        """When time alone may let somebody out; infinite if it does not."""
        if not self._wards:
            return math.inf
        if now >= self._peace_at:
            to_come = (ward.peace_at for ward in self._wards.values() if ward.peace_at > now)
            self._peace_at = min(to_come, default=math.inf)
        return min(self._peace_at, self._dues[0][0]) if self._dues else self._peace_at

    def _name_alone(self) -> list[Partition]:
        """One suspect, when nothing else is out."""
        if any(ward.under_way for ward in self._wards.values()):
            return []
        for partition, ward in self._suspected.items():
            offset = next(iter(ward.waiting), None)
            if offset is not None and offset <= ward.suspects_until:
                ward.named.add(offset)
                self._alone = RecordId(*partition, offset)
                return [partition]
        return []

    def _name_crowd(self, ward: _Ward) -> bool:
        room = CROWD - ward.under_way
        if room <= 0 or len(ward.waiting) == len(ward.named):  # who is named waits still
            return False
        chosen = [offset for offset in islice(ward.waiting, CROWD) if offset not in ward.named][:room]
        ward.named.update(chosen)
        return bool(chosen)

    def _note(self, partition: Partition) -> None:
        ward = self._wards.get(partition)
        if ward is not None:
            self._moved[partition] = ward

    def _let_out(self, record: RecordId) -> RecordId:
        partition = record.partition
        ward = self._moved[partition] = self._wards[partition]
        ward.waiting.pop(record.offset, None)
        ward.named.discard(record.offset)
        ward.out.add(record.offset)
        return record
