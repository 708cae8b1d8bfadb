"""The parts of a Kafka record that the wire contract speaks of: key, value, headers."""

from collections.abc import Sequence
from typing import NamedTuple

Headers = Sequence[tuple[str, bytes]]
"""Headers as we write them, in order; a name may stand more than once."""

ForeignHeaders = Sequence[tuple[str, bytes | None]]
"""Headers as Kafka hands them over: a foreign producer may write a header without a value."""


class Record(NamedTuple):
    """What is produced: hand it to the outbox as it is."""

    key: bytes | None
    value: bytes | None
    headers: ForeignHeaders

    @property
    def size_bytes(self) -> int:
        """Key, value and headers, as the runtime counts them."""
        parts = (self.key, self.value, *(part for pair in self.headers for part in pair))
        return sum(len(part) for part in parts if part)
