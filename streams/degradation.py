"""``failsoft streams degradation``: how requests ended, a record for each minute, stage, class, level and reason."""

from failsoft.kafka import ViewRecord
from failsoft.policy.degradation import Ledger
from failsoft.policy.rollup import RollUp
from failsoft.wire import Record
from failsoft.wire.degradation import decode_cell, encode_cell


class DegradationModel:
    """The ledger, to and from records."""

    def __init__(self) -> None:
        self._ledger = Ledger()

    def restore(self, record: ViewRecord, partitions: frozenset[int]) -> None:
        """Take up a cell; those of other partitions have other writers."""
        if record.value is None:
            return
        cell, count = decode_cell(record.value)
        if cell.partition in partitions:
            self._ledger.restore(cell, count)

    def fold(self, rollup: RollUp, *, partition: int, offset: int, appended_at: float) -> None:
        """Add a roll-up."""
        self._ledger.fold(rollup, partition=partition, offset=offset, appended_at=appended_at)

    def take_changed(self) -> list[Record]:
        """Cells that have changed."""
        return [encode_cell(*each) for each in self._ledger.take_changed().items()]

    def open(self) -> list[Record]:
        """The cells that a writer who was frozen may overwrite."""
        return [encode_cell(*each) for each in self._ledger.latest().items()]


if __name__ == "__main__":
    from streams.command import main  # brings Faust, which the model does not need

    main("degradation", DegradationModel)
