"""One life of a worker in the simulated cluster, the twin of ``runtime/runner.py``.

It translates between the cluster and the machine as the asyncio shell does: records by room, results published until
they are acknowledged, offsets committed each second, work kept over a rebalance. Its host's wall clock may be wrong,
and it measures that against the broker's clock as the outbox does: once before it takes records, then with every
acknowledgement.
"""

from collections.abc import Mapping, Sequence

from failsoft.policy.actions import AnnounceRegister, Commit, Publish
from failsoft.policy.clock_offset import ClockOffset
from failsoft.policy.context import Completeness, Found
from failsoft.policy.events import (
    Arrived,
    Assigned,
    BacklogSeen,
    Committed,
    DrainRequested,
    Published,
    RebalanceStarted,
    Revoked,
)
from failsoft.policy.progress import Mark, Progress
from failsoft.policy.request import ClassName, Partition, RecordId
from failsoft.policy.settings import StageSettings
from failsoft.simulation.cluster import EPOCH, Cluster, Said, Sent
from failsoft.simulation.endpoints import ModelEndpoint
from failsoft.simulation.engine import Engine
from failsoft.simulation.intake import Intake
from failsoft.simulation.member import Link, Member
from failsoft.simulation.shell import Shell, Watch
from failsoft.simulation.view import View
from failsoft.simulation.world import Entry

REQUEST_BYTES = 500
SEND_RETRY_SECONDS = 0.25
COMMIT_RETRY_SECONDS = 1.0
DRAIN_SECONDS = 20.0


class Held:
    """One record in a process's hands, from one arrival to the end of that work."""

    __slots__ = ("sent",)

    def __init__(self, sent: Sent) -> None:
        self.sent = sent


class Process:
    """One life of a worker.

    Args:
        engine: virtual time.
        cluster: the broker.
        settings: of the stage.
        models: tier -> endpoint.
        link: the way to the broker.
        skew_seconds: the host's wall clock minus the true time.
        name: for people.
        watches: who looks on.
    """

    def __init__(
        self,
        engine: Engine,
        cluster: Cluster,
        settings: StageSettings,
        models: Mapping[str, ModelEndpoint],
        *,
        link: Link,
        skew_seconds: float,
        name: str,
        watches: Sequence[Watch],
    ) -> None:
        self.shell = Shell(engine, settings, models, owner=self, watches=watches, name=name)
        self.clock_offset = ClockOffset()
        self._parts = settings.parts
        self.is_draining = False
        self._cluster = cluster
        self._link = link
        self._skew_seconds = skew_seconds
        self._member = Member(self.shell, cluster, link, self)
        self._intake = Intake(self.shell, cluster, link, self)
        self._view = View(self.shell, cluster, link)
        self._held: dict[RecordId, Held] = {}
        self._to_commit: dict[Partition, Mark] = {}
        self._is_committing = False

    def start(self) -> None:
        """Measure the clock, read the breakers, join the group; with no broker in reach, try again."""
        if not self._link.is_up:
            self.shell.later(self.shell.now + SEND_RETRY_SECONDS, self.start)
            return
        self._observe(self._wall() - self._link.seconds, self._cluster.clock - self._link.seconds / 2)
        self._view.start()
        self._intake.start()
        self._member.start()

    def drain(self) -> None:
        """Take nothing more, finish what has begun, commit, leave."""
        self.is_draining = True
        self.shell.feed(DrainRequested())
        self._leave_when_drained(self.shell.now + DRAIN_SECONDS)

    # What the machine wants.

    def publish(self, action: Publish) -> None:
        """Send the result until it is acknowledged."""
        held = self._held[action.record]
        self.shell.later(self.shell.now + self._link.seconds / 2, self._send, action, held, self._wall())

    def commit(self, action: Commit) -> None:
        """Commit soon, and again until the group has taken it."""
        self._to_commit |= action.marks
        if not self._is_committing:
            self._is_committing = True
            self.shell.later(self.shell.now + self._link.seconds, self._commit_until_done)

    def forget(self, record: RecordId) -> None:
        """Drop a record."""
        self._held.pop(record, None)

    def announce(self, action: AnnounceRegister) -> None:
        """Say it once; a word that is lost is said again with the next heartbeat of the register."""
        said = Said(self.shell.name, action.breaker, action.register)
        self.shell.later(self.shell.now + self._link.seconds / 2, self._say, said)

    # What the cluster says.

    def room(self, request_class: ClassName) -> int:
        """How many more records of this class to take."""
        return self.shell.machine.room_of(request_class)

    def records(self, batch: Sequence[tuple[RecordId, Entry[Sent]]]) -> None:
        """Take records, one event each."""
        for record, entry in batch:
            if entry.value is not None:
                self._held[record] = Held(entry.value)
                self.shell.feed(self._arrival(record, entry, entry.value))

    def backlog(self, request_class: ClassName, records: int, oldest_age_seconds: float) -> None:
        """What is still in the log counts as waiting."""
        self.shell.feed(BacklogSeen(request_class, records, oldest_age_seconds))

    def assigned(self, positions: Mapping[Partition, Progress], assignment: int, share: float) -> None:
        """Own these partitions."""
        self.shell.feed(Assigned(positions, assignment, share))
        self._intake.gain({partition: progress.offset for partition, progress in positions.items()})

    def revoked(self, partitions: frozenset[Partition], share: float) -> None:
        """Own these no longer."""
        self._intake.lose(partitions)
        for partition in partitions:
            self._to_commit.pop(partition, None)
        self.shell.feed(Revoked(partitions, share))

    def rebalance_began(self) -> None:
        """Commit what may be committed before partitions move."""
        self.shell.feed(RebalanceStarted())
        self._commit_once()

    # How it gets there.

    def _arrival(self, record: RecordId, entry: Entry[Sent], sent: Sent) -> Arrived:
        return Arrived(
            record,
            REQUEST_BYTES,
            sent.stamp,
            appended_at=entry.appended_at,
            received_at=self._wall(),
            clock_offset=self.clock_offset.seconds,
            key=f"{sent.ask.key}, of nothing" if sent.is_empty and sent.ask.key else sent.ask.key,
            tenant=str(sent.ask.tenant),
            context=self._context(sent),
        )

    def _context(self, sent: Sent) -> Completeness | None:
        if not self._parts:
            return None
        found = Found.EMPTY if sent.is_empty else Found.PRESENT
        return Completeness(dict.fromkeys(self._parts, found), frozenset(self._parts))

    def _send(self, action: Publish, held: Held, sent_at: float) -> None:
        """One attempt reaches the broker; the process may die right after it."""
        if not self._link.is_up:
            self.shell.later(self.shell.now + SEND_RETRY_SECONDS, self._send, action, held, self._wall())
            return
        self._cluster.publish(held.sent.ask, action.ending)
        appended_at = self._cluster.clock
        if self.shell.step():
            later = self.shell.now + self._link.seconds / 2
            self.shell.later(later, self._acknowledged, action, held, sent_at, appended_at)

    def _acknowledged(self, action: Publish, held: Held, sent_at: float, appended_at: float) -> None:
        """The acknowledgement comes; if it is lost on the way nobody knows, and the result is sent again."""
        if not self._link.is_up:
            self.shell.later(self.shell.now + SEND_RETRY_SECONDS, self._send, action, held, self._wall())
            return
        self._observe(sent_at, appended_at)
        if self._held.get(action.record) is held:  # it may have come again meanwhile, under a new assignment
            del self._held[action.record]
        self.shell.feed(Published(action.record, action.assignment))
        self._intake.wake(action.record.request_class)

    def _commit_until_done(self) -> None:
        self._commit_once()
        if self._to_commit:
            self.shell.later(self.shell.now + COMMIT_RETRY_SECONDS, self._commit_until_done)
        else:
            self._is_committing = False

    def _commit_once(self) -> None:
        marks, self._to_commit = self._to_commit, {}
        taken = self._member.commit(marks)
        self._to_commit = {partition: mark for partition, mark in marks.items() if partition not in taken}
        if self.shell.step() and self.shell.machine.awaits_commits:
            acknowledged = {partition: mark for partition, mark in marks.items() if partition in taken}
            self.shell.later(self.shell.now + self._link.seconds / 2, self.shell.feed, Committed(acknowledged))

    def _say(self, said: Said) -> None:
        if self._link.is_up:
            self._cluster.announce(said)

    def _leave_when_drained(self, until: float) -> None:
        if not self.shell.machine.is_drained and self.shell.now < until:
            self.shell.later(self.shell.now + 0.1, self._leave_when_drained, until)
            return
        self.shell.feed(RebalanceStarted())
        self._commit_once()
        self._member.leave()
        self.shell.die()

    def _wall(self) -> float:
        return EPOCH + self.shell.now + self._skew_seconds

    def _observe(self, sent_at: float, appended_at: float) -> None:
        self.clock_offset.observe(sent_at=sent_at, appended_at=appended_at, acked_at=self._wall(), now=self.shell.now)
