"""The records of one stage, and the offsets back: one membership and one fetcher per class (research/kafka.md, shape d).

Membership decides what is ours; the fetchers bring it, each at its own pace; the listener decides how much. Partition n of all
classes is with one worker, because the topics have equal counts (checked here) and the assignor goes by number.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import TypeVar

from failsoft.kafka.clients import equal_partitions
from failsoft.kafka.connection import Connection
from failsoft.kafka.duty import Duty, DutyKind
from failsoft.kafka.fetcher import STALL_SECONDS, Fetcher
from failsoft.kafka.listener import InboxListener
from failsoft.kafka.membership import HEARTBEAT_SECONDS, ILL_SECONDS, SESSION_SECONDS, Membership
from failsoft.policy.progress import Marks, Progress
from failsoft.policy.request import ClassName, Partition
from failsoft.policy.watchdog import Sight

log = logging.getLogger(__name__)

T = TypeVar("T")


class Inbox:
    """What one worker takes of one stage.

    Args:
        connection: where the cluster is.
        pipeline: the pipeline's name.
        stage: the stage's name; with the pipeline's it names the group.
        topics: class -> topic.
        listener: who takes the records.
        session_timeout_seconds: when the group takes a silent worker for dead.
        heartbeat_seconds: how often it says that it is not.
        ill_seconds: when a membership that does not recover is replaced.
        stall_seconds: when a fetcher that brings nothing, although there is something, is replaced.
        wall_clock: epoch seconds, as near to the broker's clock as is known.
        on_deleted: takes a class, and how many of its records were deleted before they were read.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        pipeline: str,
        stage: str,
        topics: Mapping[ClassName, str],
        listener: InboxListener,
        session_timeout_seconds: float = SESSION_SECONDS,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        ill_seconds: float = ILL_SECONDS,
        stall_seconds: float = STALL_SECONDS,
        wall_clock: Callable[[], float] = time.time,
        on_deleted: Callable[[ClassName, int], None] = lambda *_: None,
    ) -> None:
        self._connection = connection
        self._topics = dict(topics)
        self._listener = listener
        self._on_deleted = on_deleted
        self._membership = Membership(
            connection,
            group=f"failsoft.{pipeline}.{stage}",
            topics=topics,
            owner=self,
            session_timeout_seconds=session_timeout_seconds,
            heartbeat_seconds=heartbeat_seconds,
            ill_seconds=ill_seconds,
            on_deleted=self._deleted,
        )
        self._fetchers = {
            name: Fetcher(
                connection,
                request_class=name,
                topic=topic,
                taker=listener,
                wall_clock=wall_clock,
                stall_seconds=stall_seconds,
                classes=len(topics),
                on_deleted=partial(on_deleted, name),
                on_made_anew=partial(self._begin_anew, name),
            )
            for name, topic in topics.items()
        }
        self._tasks: list[asyncio.Task[None]] = []
        self._failure: asyncio.Future[None] | None = None
        self._is_stopping = False
        self._is_refused = False
        self._commits = 0

    async def start(self) -> None:
        """Check the topics, connect, and begin to join the group.

        Raises:
            ConfigurationError: a topic is missing, or the topics have unequal counts of partitions.
            EnvironmentFailure: no broker answers.
        """
        partitions = await equal_partitions(self._connection, self._topics.values())
        self._failure = asyncio.get_running_loop().create_future()
        try:
            for fetcher in self._fetchers.values():
                await fetcher.start()
            await self._membership.start(partitions=partitions)
        except BaseException:
            await self.stop()
            raise
        self._watch(self._membership.poll_forever())
        for fetcher in self._fetchers.values():
            self._watch(fetcher.fetch_forever())

    async def stop(self, *, leave: bool = True) -> None:
        """Take nothing more and close, in bounded time even with the broker gone. The listener hears nothing of it."""
        self._is_stopping = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await asyncio.gather(
            self._membership.stop(leave=leave), *(fetcher.stop() for fetcher in self._fetchers.values())
        )
        if self._failure is not None and not self._failure.done():
            self._failure.set_result(None)

    async def failed(self) -> None:
        """Wait until a part of the inbox, or a call of the listener, ends on an error that is a bug, and raise it.

        Faults of brokers and networks are not among them: those are waited out. Returns when the inbox is stopped.
        """
        if self._failure is not None:
            await asyncio.shield(self._failure)

    async def commit(self, marks: Marks) -> frozenset[Partition]:
        """Commit; return the partitions whose mark the group now has.

        The rest was refused, not answered in time, or belongs to an assignment that is over. None of that is an error.
        """
        taken = await self._membership.commit(marks)
        self._is_refused = not marks.keys() <= taken
        self._commits += not self._is_refused
        return taken

    async def joined(self) -> None:
        """Wait until the group has answered for the first time, also with no partition: a standby is a member too."""
        await self._membership.has_joined.wait()

    def duties(self) -> list[Duty]:
        """What a watchdog looks at."""
        return [
            *(_fetching(fetcher, name) for name, fetcher in self._fetchers.items()),
            Duty(
                DutyKind.MEMBERSHIP,
                "the group has not answered",
                lambda: Sight(is_due=True, done=self._membership.turns),
                self._membership.give_up,
            ),
            Duty(
                DutyKind.COMMIT,
                "no commit was taken although there is something to commit",
                lambda: Sight(is_due=self._is_refused, done=self._commits),
                self._membership.give_up,
            ),
        ]

    def wake(self, request_class: ClassName) -> None:
        """Say that there may be room again."""
        self._fetchers[request_class].wake()

    def assigned(self, positions: Mapping[Partition, Progress], assignment: int, share: float) -> None:
        """Tell the listener first, then begin to fetch. Called by the membership."""
        self._tell(lambda: self._listener.assigned(positions, assignment, share))
        for name, fetcher in self._fetchers.items():
            numbers = {place.number: at.offset for place, at in positions.items() if place.request_class == name}
            if numbers:
                fetcher.gain(numbers, assignment)

    def revoked(self, partitions: frozenset[Partition], share: float) -> None:
        """Stop to fetch first, then tell the listener. Called by the membership."""
        self._is_refused = False  # what was not taken may be another's now
        for name, fetcher in self._fetchers.items():
            numbers = [partition.number for partition in partitions if partition.request_class == name]
            if numbers:
                fetcher.lose(numbers)
        self._tell(lambda: self._listener.revoked(partitions, share))

    def marks_to_commit(self) -> Marks:
        """Ask the listener. Called by the membership."""
        return self._tell(self._listener.marks_to_commit)

    def _begin_anew(self, request_class: ClassName, numbers: frozenset[int]) -> None:
        self._membership.begin_anew(frozenset(Partition(request_class, number) for number in numbers))

    def _deleted(self, partition: Partition, count: int) -> None:
        """What was deleted before anybody had begun with it here. Called by the membership."""
        log.error(
            "%s-%d: %d records were deleted before they were read", self._topics[partition[0]], partition[1], count
        )
        self._on_deleted(partition.request_class, count)

    def _tell(self, call: Callable[[], T]) -> T:
        """Call the listener; aiokafka would swallow what it raises, so it is kept for ``failed``."""
        try:
            return call()
        except Exception as error:
            self._fail(error)
            raise

    def _watch(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """These end only by ``stop``: whatever else ends them would leave the stage without records, in silence."""
        if not self._is_stopping:
            self._fail(RuntimeError("cancelled from outside") if task.cancelled() else task.exception())

    def _fail(self, error: BaseException | None) -> None:
        if error is not None and self._failure is not None and not self._failure.done():
            log.critical("the inbox has failed: %r", error)
            self._failure.set_exception(error)
            self._failure.exception()  # who does not wait for it has read the line above


def _fetching(fetcher: Fetcher, request_class: ClassName) -> Duty:
    return Duty(
        DutyKind.FETCH,
        f"nothing of {request_class} was fetched although there is something, and room for it",
        lambda: Sight(is_due=True, done=fetcher.turns),
        fetcher.give_up,
    )
