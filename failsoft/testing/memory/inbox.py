"""The records of one stage, and the offsets back, as :class:`failsoft.kafka.Inbox` has them.

The member and the fetchers are those of the simulated processes; this gives them an event loop to live on.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from typing import Any

from failsoft.kafka import Fetched, InboxListener
from failsoft.policy.progress import Marks, Progress
from failsoft.policy.request import ClassName, Partition, RecordId
from failsoft.simulation.intake import Intake
from failsoft.simulation.member import Member
from failsoft.simulation.world import Entry
from failsoft.testing.memory.broker import MemoryBroker, MemoryLink
from failsoft.wire import Record


class MemoryInbox:
    """What one worker takes of one stage.

    Args:
        broker: where the topics are.
        pipeline: the pipeline's name.
        stage: the stage's name; with the pipeline's it names the group.
        topics: class -> topic.
        listener: who takes the records.
        link: the way to the broker.
    """

    def __init__(
        self,
        broker: MemoryBroker,
        *,
        pipeline: str,
        stage: str,
        topics: Mapping[ClassName, str],
        listener: InboxListener,
        link: MemoryLink | None = None,
    ) -> None:
        self.link = link or MemoryLink()
        self._topics = dict(topics)
        self._listener = listener
        self._life = _Life(self._fail)
        coordinator = broker.group(f"failsoft.{pipeline}.{stage}", topics)
        self._member = Member(self._life, coordinator, self.link, self)
        self._intake: Intake[Record] = Intake(self._life, coordinator, self.link, self)
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        """Begin to join the group."""
        self._intake.start()
        self._member.start()

    async def stop(self, *, leave: bool = True) -> None:
        """Take nothing more. Without ``leave`` the group hears nothing of it, as when a process is killed."""
        if leave:
            self._member.leave()
        self._life.end()
        if not self._failure.done():
            self._failure.set_result(None)

    async def failed(self) -> None:
        """Wait until a call of the listener ends on an error, and raise it; return when the inbox is stopped."""
        await asyncio.shield(self._failure)

    async def commit(self, marks: Marks) -> frozenset[Partition]:
        """Commit; return the partitions whose mark the group now has."""
        await asyncio.sleep(self.link.seconds / 2)
        taken = self._member.commit(marks) if self._life.is_on else frozenset()
        await asyncio.sleep(self.link.seconds / 2)
        return taken if self.link.is_up else frozenset()

    def wake(self, request_class: ClassName) -> None:
        """Say that there may be room again."""
        self._intake.wake(request_class)

    # The member tells.

    def assigned(self, positions: Mapping[Partition, Progress], assignment: int, share: float) -> None:
        """Tell the listener first, then begin to fetch."""
        self._listener.assigned(positions, assignment, share)
        self._intake.gain({partition: progress.offset for partition, progress in positions.items()})

    def revoked(self, partitions: frozenset[Partition], share: float) -> None:
        """Stop to fetch first, then tell the listener."""
        self._intake.lose(partitions)
        self._listener.revoked(partitions, share)

    def rebalance_began(self) -> None:
        """Commit what is done while the group still knows us as the owner."""
        self._member.commit(self._listener.marks_to_commit())

    # The fetchers tell.

    def room(self, request_class: ClassName) -> int:
        """Ask the listener."""
        return self._listener.room(request_class)

    def records(self, batch: Sequence[tuple[RecordId, Entry[Record]]]) -> None:
        """Hand them over."""
        fetched = [self._fetched(place, entry) for place, entry in batch]
        if fetched:
            self._listener.records(fetched)

    def backlog(self, request_class: ClassName, records: int, oldest_age_seconds: float) -> None:
        """Pass it on."""
        self._listener.backlog(request_class, records, oldest_age_seconds)

    def _fetched(self, place: RecordId, entry: Entry[Record]) -> Fetched:
        record = entry.value or Record(None, None, ())
        headers = tuple((name, value or b"") for name, value in record.headers)
        return Fetched(
            record=place,
            topic=self._topics[place.request_class],
            assignment=self._member.owned[place.number],
            timestamp=entry.appended_at,
            is_append_time=True,
            key=record.key,
            value=record.value,
            headers=headers,
            size_bytes=record.size_bytes,
        )

    def _fail(self, error: Exception) -> None:
        if not self._failure.done():
            self._failure.set_exception(error)
            self._failure.exception()  # it is also with whoever waits for ``failed``


class _Life:
    """A process on the running loop: its clock, and timers that do nothing after its end.

    Whoever makes it is the process: its timers run in that context, also those that a word from the broker sets.
    """

    def __init__(self, on_error: Callable[[Exception], None]) -> None:
        self.is_on = True
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._on_error = on_error

    @property
    def now(self) -> float:
        """Monotonic seconds."""
        return self._loop.time()

    def later(self, instant: float, call: Callable[..., None], *args: Any) -> None:
        """Set a timer."""
        self._loop.call_at(instant, self._fire, call, args, context=self._context)

    def end(self) -> None:
        """Let no timer do anything any more."""
        self.is_on = False

    def _fire(self, call: Callable[..., None], args: tuple[Any, ...]) -> None:
        if not self.is_on:
            return
        try:
            call(*args)
        except Exception as error:  # a bug of the listener: whoever runs the stage must hear of it
            self._on_error(error)
