"""The ledger of degradation: how many requests ended at which level and for which reason, minute by minute.

A cell counts the requests of one minute, stage, class, level and reason that one partition of roll-ups tells of, by outcome. The
minute is that of the broker's time, so the same roll-ups give the same cells, whenever and however often they are read. A
minute is what people look at; a day of it is some ten thousand cells.

**Exactly once, without a transaction.** A cell remembers the offset of the last roll-up in it (``through``), and stands in the
log with it as one record. Whoever takes over reads the cells back and passes over roll-ups at or below that: after a crash
the ones that are read again change nothing. The partition is part of the cell, so a cell has one writer and offsets that can
be compared; who wants the fleet's counts adds up over partitions.

**A writer that was frozen** and wakes may write what it had counted, behind what its successor has written since. So of a cell
that is read back the record with the highest offset holds and not the last one, and what was counted in the last three minutes is
written again and again: who was frozen for less than one is overwritten, who was frozen for longer has to end itself.

Cells are kept for two hours, twice as long as roll-ups are retained: no older one can change.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from failsoft.policy.outcome import Outcome, Reason
from failsoft.policy.request import ClassName
from failsoft.policy.rollup import RollUp

CELL_SECONDS = 60
KEPT_SECONDS = 7_200
OPEN_CELLS = 3
"""Minutes that are written again: the one that runs, the one in which a frozen writer may have counted last, and one more for the
time until they are written."""


class Cell(NamedTuple):
    """What is counted together.

    Attributes:
        begins_at: its minute, epoch seconds of the broker's clock.
        stage: whose requests.
        request_class: how urgent.
        level: at which they were served; 0: they were not.
        reason: why that was not level 1, or not ok.
        partition: of the roll-ups that were counted.
    """

    begins_at: int
    stage: str
    request_class: ClassName
    level: int
    reason: Reason
    partition: int


@dataclass(frozen=True, slots=True)
class Count:
    """What a cell holds.

    Attributes:
        endings: outcome -> requests.
        through: the offset of the last roll-up that is in it.
    """

    endings: Mapping[Outcome, int]
    through: int


NOTHING = Count({}, -1)


class Ledger:
    """The cells of some partitions."""

    def __init__(self) -> None:
        self._cells: dict[Cell, Count] = {}
        self._changed: set[Cell] = set()
        self._newest = 0

    def restore(self, cell: Cell, count: Count) -> None:
        """Take up a cell where it was left, by whoever has counted furthest."""
        if count.through > self._cells.get(cell, NOTHING).through:
            self._cells[cell] = count
        self._forget_old(cell.begins_at)

    def fold(self, rollup: RollUp, *, partition: int, offset: int, appended_at: float) -> None:
        """Count what a worker has told; what is in already is not counted again."""
        begins_at = int(appended_at) // CELL_SECONDS * CELL_SECONDS
        told: dict[Cell, Counter[Outcome]] = {}
        for kind, count in rollup.endings.items():
            cell = Cell(begins_at, rollup.stage, kind.request_class, kind.level or 0, kind.reason, partition)
            told.setdefault(cell, Counter())[kind.outcome] += count
        for cell, counts in told.items():
            known = self._cells.get(cell, NOTHING)
            if offset > known.through:
                self._cells[cell] = Count(Counter(known.endings) + counts, offset)
                self._changed.add(cell)
        self._forget_old(begins_at)

    def take_changed(self) -> dict[Cell, Count]:
        """The cells that have changed since this was last asked."""
        changed, self._changed = self._changed, set()
        return {cell: self._cells[cell] for cell in sorted(changed) if cell in self._cells}

    def latest(self) -> dict[Cell, Count]:
        """The cells of the last three minutes."""
        since = self._newest - (OPEN_CELLS - 1) * CELL_SECONDS
        return {cell: count for cell, count in sorted(self._cells.items()) if cell.begins_at >= since}

    def _forget_old(self, begins_at: int) -> None:
        if begins_at <= self._newest:
            return
        self._newest = begins_at
        for cell in [cell for cell in self._cells if cell.begins_at < begins_at - KEPT_SECONDS]:
            del self._cells[cell]
