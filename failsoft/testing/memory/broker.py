"""Topics as logs, a group per stage, and the broker's clock: one broker, which never loses what it has acknowledged.

Append times are the broker's (LogAppendTime), by the clock that it is given. Keys choose partitions by CRC-32; a record without
one goes to partition 0. Everything said to it takes effect at once; how long the way takes, and whether it is open, is the
link's business.
"""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass
from zlib import crc32

from failsoft.catalogue import Catalogue
from failsoft.kafka import RecordRefused
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.progress import Progress
from failsoft.policy.request import ClassName, Partition
from failsoft.runtime.clock import Clock
from failsoft.simulation.world import Answer, Entry, Group, Log
from failsoft.wire import Record

SESSION_SECONDS = 6.0
"""As workers have it: after how long the group gives up a member that is not heard of."""
_LARGEST = "max.message.bytes"
_AROUND_BYTES = 70
"""What Kafka counts beside the record itself: 61 bytes of its batch, and some of lengths and timestamps."""


@dataclass(slots=True)
class MemoryLink:
    """The way between one worker and the broker; a test may change it at any time.

    Attributes:
        seconds: how long a request and its answer take.
        is_up: whether anything gets through.
    """

    seconds: float = 0.0
    is_up: bool = True


class MemoryTopic:
    """One topic.

    Args:
        partitions: how many.
        bytes_max: the largest record that it takes; None: any.
    """

    def __init__(self, partitions: int, bytes_max: int | None = None) -> None:
        self.logs: list[Log[Record]] = [Log() for _ in range(partitions)]
        self.bytes_max = bytes_max
        self.appended = asyncio.Event()
        """Set, and replaced, at every append: whoever reads takes it before it looks."""

    def choose(self, key: bytes | None) -> int:
        """The partition of a key."""
        return 0 if key is None else crc32(key) % len(self.logs)


class MemoryBroker:
    """One broker with the topics of a catalogue.

    Args:
        catalogue: which topics there are.
        clock: the broker's.
        session_seconds: of every group.
    """

    def __init__(self, catalogue: Catalogue, clock: Clock, *, session_seconds: float = SESSION_SECONDS) -> None:
        self.clock = clock
        self.context = copy_context()
        """In which its timers run: it is a process of its own, whoever speaks to it."""
        self.topics = {name: MemoryTopic(1) for name in catalogue.reply_topics}
        for spec in catalogue.wanted_topics():
            largest = spec.config.get(_LARGEST)
            self.topics[spec.name] = MemoryTopic(spec.partitions, None if largest is None else int(largest))
        self._session_seconds = session_seconds
        self._groups: dict[str, Coordinator] = {}

    def topic(self, name: str) -> MemoryTopic:
        """Find a topic.

        Raises:
            ConfigurationError: it does not exist; a real broker would let the sender wait.
        """
        if name not in self.topics:
            raise ConfigurationError(f"no topic {name!r} in the catalogue, which has {', '.join(self.topics)}")
        return self.topics[name]

    def append(self, name: str, record: Record, partition: int | None = None) -> tuple[int, Entry[Record]]:
        """Append a record; return its partition and its entry.

        Raises:
            RecordRefused: it is larger than the topic takes.
        """
        topic = self.topic(name)
        size = _AROUND_BYTES + record.size_bytes
        if topic.bytes_max is not None and size > topic.bytes_max:
            raise RecordRefused(f"{name}: {size} bytes; its {_LARGEST} is {topic.bytes_max}")
        number = topic.choose(record.key) if partition is None else partition
        entry = topic.logs[number].append(record, key=record.key, now=self.clock.wall())
        woken, topic.appended = topic.appended, asyncio.Event()
        woken.set()
        for coordinator in self._groups.values():
            coordinator.appended(name, number)
        return number, entry

    def group(self, name: str, topics: Mapping[ClassName, str]) -> "Coordinator":
        """The group of one stage, made when it is first asked for."""
        if name not in self._groups:
            self._groups[name] = Coordinator(self, topics, session_seconds=self._session_seconds)
        return self._groups[name]


class Coordinator:
    """One stage as its members see it: the logs of its classes, and its group.

    Args:
        broker: whose topics they are.
        topics: class -> topic.
        session_seconds: the group's session timeout.

    Raises:
        ConfigurationError: a topic is missing, or the topics have unequal counts of partitions.
    """

    def __init__(self, broker: MemoryBroker, topics: Mapping[ClassName, str], *, session_seconds: float) -> None:
        self.classes = tuple(topics)
        counts = {topic: len(broker.topic(topic).logs) for topic in topics.values()}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{topic} has {count}" for topic, count in sorted(counts.items()))
            raise ConfigurationError(f"topics of one stage need equal partition counts: {listed}")
        self.logs = {
            Partition(name, number): log
            for name, topic in topics.items()
            for number, log in enumerate(broker.topic(topic).logs)
        }
        self.partitions = max(counts.values())
        self.group = Group(self.partitions, session_seconds=session_seconds)
        self.on_generation: list[Callable[[], None]] = []
        self.on_append: dict[Partition, Callable[[ClassName], None]] = {}
        self._classes_by_topic = {topic: name for name, topic in topics.items()}
        self._clock = broker.clock
        self._context = broker.context
        self._assignments = itertools.count(1)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def clock(self) -> float:
        """The broker's clock, epoch seconds."""
        return self._clock.wall()

    def appended(self, topic: str, number: int) -> None:
        """Wake whoever waits for records of a partition, if it is one of this stage."""
        name = self._classes_by_topic.get(topic)
        if name is not None and (wake := self.on_append.get(Partition(name, number))):
            wake(name)

    def next_assignment(self) -> int:
        """A name for a gain of partitions."""
        return next(self._assignments)

    def commit(self, member: str, generation: int, marks: Mapping[Partition, Progress]) -> Answer:
        """Commit offsets, fenced."""
        return self.group.commit(member, generation, marks)

    def settle(self) -> None:
        """Let the group go on as far as it can now, and look again when time alone may change something."""
        if self.group.advance(now=self._clock.monotonic()):
            for tell in list(self.on_generation):
                tell()
        if self._timer is not None:
            self._timer.cancel()
        due = self.group.next_due()
        call_at = asyncio.get_running_loop().call_at
        self._timer = None if due is None else call_at(due, self.settle, context=self._context)
