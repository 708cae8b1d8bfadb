"""What the shell needs of Kafka, and no more: the real one has it, and so has the in-memory one of :mod:`failsoft.testing`."""

from collections.abc import Collection, Sequence
from typing import Protocol

from failsoft.kafka import Acknowledged
from failsoft.policy.clock_offset import ClockOffset
from failsoft.policy.progress import Marks
from failsoft.policy.request import ClassName, Partition


class OutboxPort(Protocol):
    """Where results go."""

    @property
    def clock_offset(self) -> ClockOffset:
        """The broker's clock against ours."""

    async def send(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]] = (),
        partition: int | None = None,
    ) -> Acknowledged:
        """Send one record and wait for the broker's word, as long as it takes."""


class InboxPort(Protocol):
    """Where records come from, and offsets go back to."""

    async def start(self) -> None:
        """Connect, and begin to join the group."""

    async def stop(self, *, leave: bool = True) -> None:
        """Take nothing more and close."""

    async def failed(self) -> None:
        """Wait until it ends on an error that is a bug, and raise it."""

    async def commit(self, marks: Marks) -> frozenset[Partition]:
        """Commit; return the partitions whose mark the group now has."""

    def wake(self, request_class: ClassName) -> None:
        """Say that there may be room again."""


class ViewPort(Protocol):
    """A compacted topic as this process reads it. Whoever makes one says who takes its records."""

    async def start(self) -> None:
        """Begin to read; returns at once."""

    async def caught_up(self, timeout_seconds: float = ...) -> bool:
        """Wait until all is read that was there; False if that takes too long."""

    def gain(self, numbers: Collection[int]) -> None:
        """Read these partitions too."""

    def lose(self, numbers: Collection[int]) -> None:
        """Read these no more."""

    async def failed(self) -> None:
        """Wait until it ends on an error that is a bug, and raise it."""

    async def stop(self) -> None:
        """Read no more and close."""
