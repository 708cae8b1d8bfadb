"""The simulated cluster: the world's logs and group on virtual time, with a switch for the broker.

Its clock is the true one: append times are ``EPOCH`` plus virtual time. Everything said to it takes effect at once; how long a
message travels is the caller's business. Nothing is said while the broker is down: callers look at ``is_up`` first.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from failsoft.policy.deadline import Stamp
from failsoft.policy.outcome import Ending
from failsoft.policy.progress import Progress
from failsoft.policy.register import Register
from failsoft.policy.request import ClassName, Partition
from failsoft.policy.routing import Route
from failsoft.simulation.engine import Engine
from failsoft.simulation.report import Tally
from failsoft.simulation.workload import Ask
from failsoft.simulation.world import Answer, Group, Log, VisibleOnce

EPOCH = 1_800_000_000.0
"""Wall time at virtual zero, epoch seconds."""
PRODUCER_RETRY_SECONDS = 0.25


class Sent(NamedTuple):
    """One request as its record says it.

    Attributes:
        ask: what is asked.
        stamp: on its deadline.
        is_empty: what earlier stages should have gathered is said to be there, and is not.
    """

    ask: Ask
    stamp: Stamp
    is_empty: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """One process's word on a breaker, as a record of the compacted topic."""

    process: str
    breaker: str
    register: Register


class Audit(Protocol):
    """Who checks the promises that a cluster can see."""

    def accepted(self, partition: Partition, offset: int, sent: Sent) -> None:
        """A request stands in the log."""

    def result(self, ask: Ask, ending: Ending, *, is_visible: bool) -> None:
        """A result stands in the log; only the first of a request is visible."""

    def committed(self, partition: Partition, before: int, after: int) -> None:
        """The group has committed."""


class Cluster:
    """One broker with the topics of one stage.

    Args:
        engine: virtual time.
        classes: the stage's classes, a topic each.
        partitions: of each topic.
        tally: what visible results are counted in.
        audits: who checks.
        session_seconds: the group's session timeout.
    """

    def __init__(
        self,
        engine: Engine,
        classes: Iterable[ClassName],
        partitions: int,
        *,
        tally: Tally,
        audits: Sequence[Audit] = (),
        session_seconds: float = 6.0,
    ) -> None:
        self.outages = 0
        """How many outages are on: while there is one, the broker answers nobody."""
        self.silences = 0
        """How many silences are on: while there is one, earlier stages gather nothing, and do not say so."""
        self.partitions = partitions
        self.classes = tuple(classes)
        self.logs: Mapping[Partition, Log[Sent]] = {
            Partition(name, number): Log() for name in self.classes for number in range(partitions)
        }
        self.results: Log[tuple[Ask, Ending]] = Log()
        self.visible = VisibleOnce()
        self.registers: Log[Said] = Log()
        self.routes: Log[Route] = Log()
        self.on_word: list[Callable[[], None]] = []
        """Who is told that somebody has said something on a breaker or a route."""
        self.group = Group(partitions, session_seconds=session_seconds)
        self.on_append: dict[Partition, Callable[[ClassName], None]] = {}
        """Who waits for records of a partition; who owned it before is not told any more."""
        self.on_generation: list[Callable[[], None]] = []
        """Who is told that a generation has begun."""
        self._unsent: deque[Sent] = deque()
        """What the producers keep while the broker is down."""
        self._engine = engine
        self._tally = tally
        self._audits = audits
        self._assignments = 0
        self._settles_at: float | None = None

    @property
    def is_up(self) -> bool:
        """Whether the broker answers."""
        return not self.outages

    @property
    def clock(self) -> float:
        """The broker's clock, epoch seconds."""
        return EPOCH + self._engine.now

    def next_assignment(self) -> int:
        """A name for a gain of partitions, unique in the run."""
        self._assignments += 1
        return self._assignments

    def produce(self, ask: Ask, producer_skew_seconds: float = 0.0) -> None:
        """Append a request, in the order of asking, or as soon as the broker is up; once it is in the log it is accepted."""
        stamp = Stamp(budget_seconds=ask.budget_seconds, sent_at=EPOCH + ask.at + producer_skew_seconds)
        self._unsent.append(Sent(ask, stamp, is_empty=self.silences > 0))
        if len(self._unsent) == 1:
            self._send()

    def _send(self) -> None:
        if not self.is_up:
            self._engine.after(PRODUCER_RETRY_SECONDS, self._send)
            return
        while self._unsent:
            self._accept(self._unsent.popleft())

    def _accept(self, sent: Sent) -> None:
        ask = sent.ask
        partition = Partition(ask.request_class, ask.partition(self.partitions))
        entry = self.logs[partition].append(sent, key=ask.content, now=self.clock)
        self._tally.asked(ask)
        for audit in self._audits:
            audit.accepted(partition, entry.offset, sent)
        if partition in self.on_append:
            self.on_append[partition](partition.request_class)

    def publish(self, ask: Ask, ending: Ending) -> None:
        """Append a result."""
        self.results.append((ask, ending), key=ask.number, now=self.clock)
        is_visible = self.visible.read(ask.number)
        if is_visible:
            self._tally.result(ask, ending, self._engine.now)
        for audit in self._audits:
            audit.result(ask, ending, is_visible=is_visible)

    def announce(self, said: Said) -> None:
        """Append a word on a breaker; of each process and breaker the last one is kept."""
        self.registers.append(said, key=(said.process, said.breaker), now=self.clock)
        self._tell_all()

    def say_route(self, route: Route) -> None:
        """Append an operator's word on a route."""
        self.routes.append(route, key=(route.endpoint, route.epoch), now=self.clock)
        self._tell_all()

    def _tell_all(self) -> None:
        for tell in list(self.on_word):
            tell()

    def commit(self, member: str, generation: int, marks: Mapping[Partition, Progress]) -> Answer:
        """Commit."""
        known = self.group.marks
        before = {partition: known[partition].offset if partition in known else 0 for partition in marks}
        answer = self.group.commit(member, generation, marks)
        if answer is Answer.OK:
            for audit in self._audits:
                for partition, mark in marks.items():
                    audit.committed(partition, before[partition], mark.offset)
        return answer

    def settle(self) -> None:
        """Let the group go on as far as it can now, and look again when time alone may change something."""
        if self.group.advance(now=self._engine.now):
            for tell in list(self.on_generation):
                tell()
        due = self.group.next_due()
        if due is not None and (self._settles_at is None or due < self._settles_at):
            self._settles_at = due
            self._engine.at(due, self._settle_at, due)

    def _settle_at(self, due: float) -> None:
        if self._settles_at == due:
            self._settles_at = None
            self.settle()

    @property
    def is_settled(self) -> bool:
        """Whether every accepted request has its visible result and every offset is committed."""
        committed = self.group.committed
        return len(self.visible) == len(self._tally.offered) and all(
            committed.get(partition, 0) == log.end for partition, log in self.logs.items()
        )
