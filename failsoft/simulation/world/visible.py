"""Which results readers see: of each id, the first record in its partition. All readers agree, because the log has one order."""

from collections.abc import Hashable


class VisibleOnce:
    """Reads results in log order and tells the first of each id from its repeats."""

    def __init__(self) -> None:
        self._seen: set[Hashable] = set()
        self.repeats_in_log = 0

    def __contains__(self, id_: Hashable) -> bool:
        return id_ in self._seen

    def __len__(self) -> int:
        return len(self._seen)

    def read(self, id_: Hashable) -> bool:
        """Read the next record. True if it is what readers see; False if it repeats one."""
        if id_ in self._seen:
            self.repeats_in_log += 1
            return False
        self._seen.add(id_)
        return True
