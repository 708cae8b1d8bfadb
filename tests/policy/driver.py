"""Drives a stage machine by hand: one event in, its actions out, and what they add up to.

The driver is the shell of these tests. It keeps the one clock and says ``Tick`` when the machine wants to be woken; everything
else, the end of a call at its window too, happens when the script says so.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from failsoft.policy.actions import Action, CancelCall, Commit, Forget, Publish, Release, StartCall, StoreAnswer
from failsoft.policy.answer import AnswerName
from failsoft.policy.context import Completeness
from failsoft.policy.deadline import Stamp
from failsoft.policy.events import Arrived, Assigned, CallFinished, Event, Published, RebalanceStarted, Tick, Verdict
from failsoft.policy.outcome import Ending
from failsoft.policy.progress import Marks, Progress
from failsoft.policy.request import ClassName, Partition, RecordId
from failsoft.policy.settings import ClassSettings, StageSettings, TierSettings
from failsoft.policy.speed import Speed
from failsoft.policy.stage import StageMachine

EPOCH = 1_800_000_000.0
MARGIN = 0.05

LARGE = TierSettings("large", 1, limit=1, expected_seconds=0.2)
SMALL = TierSettings("small", 2, limit=1, expected_seconds=0.04)
TINY = TierSettings("tiny", 2, limit=1, expected_seconds=0.01)
APOLOGY = TierSettings("apology", 3, limit=None)

INTERACTIVE = ClassSettings("interactive", 8, deadline_seconds=2, deadline_max_seconds=60, patience=0.1)
STANDARD = ClassSettings("standard", 3, deadline_seconds=10, deadline_max_seconds=600, patience=0.5)
BATCH = ClassSettings("batch", 1, deadline_seconds=60, deadline_max_seconds=3600, patience=0.95)
CLASSES = (INTERACTIVE, STANDARD, BATCH)


def stage(*tiers: TierSettings, classes: Iterable[ClassSettings] = CLASSES, **bounds: Any) -> StageSettings:
    """A stage of three classes; its tiers are ``LARGE, SMALL, APOLOGY`` if none is said."""
    return StageSettings(
        "answer",
        tiers or (LARGE, SMALL, APOLOGY),
        tuple(classes),
        publish_margin_seconds=MARGIN,
        **bounds,
    )


class Driver:
    """One worker that owns partitions 0 and 1 of all classes, and all permits."""

    def __init__(self, settings: StageSettings | None = None, *, share: float = 1.0) -> None:
        self.settings = settings or stage()
        self.machine = StageMachine(self.settings)
        self.now = 1_000.0
        self.calls: dict[RecordId, list[StartCall]] = defaultdict(list)
        self.publishes: dict[RecordId, list[Publish]] = defaultdict(list)
        self.cancelled: list[int] = []
        self.forgotten: list[RecordId] = []
        self.released: list[RecordId] = []
        self.stored: list[AnswerName] = []
        self.commits: list[dict[Partition, tuple[int, int]]] = []
        self._offsets: dict[Partition, int] = defaultdict(int)
        self._running: dict[int, tuple[float, StartCall]] = {}
        self.partitions = frozenset(
            Partition(known.name, number) for known in self.settings.classes for number in (0, 1)
        )
        self._committed: dict[Partition, int] = {}
        self.send(Assigned(dict.fromkeys(self.partitions, Progress(0)), 1, share))

    def _note_commit(self, marks: Marks) -> None:
        moved = {
            partition: (assignment, progress.offset)
            for partition, (assignment, progress) in marks.items()
            if progress.offset != self._committed.get(partition, 0)
        }
        self._committed |= {partition: offset for partition, (_, offset) in moved.items()}
        if moved:
            self.commits.append(moved)

    def moved(self) -> dict[Partition, tuple[int, int]]:
        """What a rebalance that begins now finds done and not committed: partition -> (assignment, offset)."""
        known = len(self.commits)
        self.send(RebalanceStarted())
        return self.commits[-1] if len(self.commits) > known else {}

    # What happens.

    def send(self, event: Event) -> list[Action]:
        """Have something happen now."""
        actions = self.machine.handle(event, now=self.now)
        for action in actions:
            match action:
                case StartCall():
                    self.calls[action.record].append(action)
                    self._running[action.call_id] = (self.now, action)
                case Publish():
                    self.publishes[action.record].append(action)
                case CancelCall():
                    self.cancelled.append(action.call_id)
                case Forget():
                    self.forgotten.append(action.record)
                case Release():
                    self.released.append(action.record)
                case StoreAnswer():
                    self.stored.append(action.answer.name)
                case Commit():
                    self._note_commit(action.marks)
        return actions

    def arrive(
        self,
        request_class: ClassName = "interactive",
        *,
        budget: float | None = None,
        age: float = 0.0,
        floor: int | None = None,
        number: int = 0,
        size: int = 100,
        key: str | None = None,
        max_stale: float | None = None,
        tenant: str = "",
        context: Completeness | None = None,
        is_malformed: bool = False,
    ) -> RecordId:
        """Have a record arrive whose sender granted ``budget``, ``age`` seconds ago; without, the class's default."""
        partition = Partition(request_class, number)
        record = RecordId(*partition, self._offsets[partition])
        self._offsets[partition] += 1
        arrival = self.arrival(record, budget=budget, age=age, floor=floor, size=size, is_malformed=is_malformed)
        self.send(arrival._replace(key=key, max_stale_seconds=max_stale, tenant=tenant, context=context))
        return record

    def arrival(
        self,
        record: RecordId,
        *,
        budget: float | None = None,
        age: float = 0.0,
        floor: int | None = None,
        size: int = 100,
        is_malformed: bool = False,
    ) -> Arrived:
        """The event alone."""
        sent_at = EPOCH + self.now - age
        return Arrived(
            record,
            size,
            Stamp(budget_seconds=budget, sent_at=sent_at),
            appended_at=sent_at,
            received_at=EPOCH + self.now,
            floor=floor,
            is_malformed=is_malformed,
        )

    def finish(
        self,
        record: RecordId,
        verdict: Verdict = Verdict.OK,
        *,
        after: float = 0.0,
        is_over: bool = True,
        retry_after: float | None = None,
        size: int = 100,
    ) -> list[Action]:
        """Have the running call of a record end so much later."""
        self.wait(after)
        call = self.call(record)
        del self._running[call.call_id]
        return self.send(CallFinished(call.call_id, verdict, is_over, retry_after, size))

    def time_out(self, record: RecordId, *, is_over: bool = True) -> list[Action]:
        """Have the window of a running call end."""
        after = self.call(record).window_ends_at - self.now
        return self.finish(record, Verdict.TIMEOUT, after=after, is_over=is_over)

    def acknowledge(self, record: RecordId) -> list[Action]:
        """Have the broker acknowledge the result of a record."""
        (publish,) = self.publishes[record]
        return self.send(Published(record, publish.assignment))

    def wait(self, seconds: float) -> None:
        """Let time pass; the machine is woken when it wants to be."""
        until = self.now + seconds
        while (at := self.machine.next_wakeup()) is not None and at < until:
            self.now = max(at, self.now)
            self.send(Tick())
        self.now = until
        self.send(Tick())

    def wait_for_end(self, record: RecordId, *, at_most: float) -> Ending:
        """Let time pass until a record has ended."""
        until = self.now + at_most
        while not self.publishes[record]:
            assert self.now < until, f"{record} has not ended within {at_most} s"
            self.wait(0.02)
        return self.ending(record)

    def wait_for_call(self, record: RecordId, *, at_most: float = 60.0) -> RecordId:
        """Let time pass until a record that waits is called, or ends without."""
        until = self.now + at_most
        while not self.calls[record] and not self.publishes[record]:
            assert self.now < until, f"{record} still waits after {at_most} s"
            self.wait(0.02)
        return record

    def play(
        self, arrivals: Iterable[tuple[float, ClassName]], *, service: Mapping[str, float]
    ) -> dict[ClassName, list[RecordId]]:
        """Have requests arrive at these instants and tiers answer after so long, until all has ended."""
        sent: dict[ClassName, list[RecordId]] = defaultdict(list)
        began_at, todo = self.now, sorted(arrivals, reverse=True)
        while todo or self._running or any(self.machine.waiting.values()):
            ends = [(began + service[call.tier], call.record) for began, call in self._running.values()]
            arrives_at = began_at + todo[-1][0] if todo else math.inf
            ends_at, record = min(ends, default=(math.inf, None))
            woken_at = self.machine.next_wakeup() or math.inf
            self.now = max(self.now, min(arrives_at, ends_at, woken_at))
            if self.now >= arrives_at:
                name = todo.pop()[1]
                sent[name].append(self.arrive(name))
            elif record is not None and self.now >= ends_at:
                self.finish(record)
                if self.publishes[record]:
                    self.acknowledge(record)
            else:
                self.send(Tick())
        return sent

    # What it came to.

    def call(self, record: RecordId) -> StartCall:
        """The running call of a record."""
        call = self.calls[record][-1]
        assert call.call_id in self._running, f"{record} is not being called"
        return call

    def is_running(self, record: RecordId) -> bool:
        """Whether a record is being called."""
        return bool(self.calls[record]) and self.calls[record][-1].call_id in self._running

    def tiers(self, record: RecordId) -> list[str]:
        """Which tiers were called for a record, in order."""
        return [call.tier for call in self.calls[record]]

    def ending(self, record: RecordId) -> Ending:
        """How a record ended; it must have ended once."""
        (publish,) = self.publishes[record]
        return publish.ending

    def speed(self, tier: int) -> Speed:
        """What the machine knows of a model tier now."""
        return self.machine._endpoints[tier].latency.speed(now=self.now)

    def keep_busy(self, tier: str = "large") -> RecordId:
        """Occupy one permit of a tier with a request that has all the time in the world."""
        record = self.arrive("batch", budget=3600, number=1)
        while self.call(record).tier != tier:
            self.finish(record, Verdict.BROKEN)
        return record
