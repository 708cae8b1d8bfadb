"""One stage of one worker: what comes in becomes events, what the machine says becomes I/O.

Everything here runs on one event loop and nothing awaits between an event and the synchronous part of its actions, so there
is one owner of the machine at any instant and no lock. Whoever has news calls ``feed``: the inbox with records, a call with
its end, the outbox with an acknowledgement, a timer with the passing of time.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from uuid import uuid4

import structlog

from failsoft.catalogue import Catalogue
from failsoft.endpoints import CachedAnswer, Call, Constant, Output
from failsoft.kafka import Fetched, OutboxClosed, ViewRecord
from failsoft.pipeline import Stage
from failsoft.policy.actions import (
    Action,
    AnnounceRegister,
    CancelCall,
    Commit,
    DropAnswers,
    Forget,
    Publish,
    Release,
    StartCall,
    StoreAnswer,
)
from failsoft.policy.context import Completeness
from failsoft.policy.events import (
    AnswerDeleted,
    AnswerSeen,
    Arrived,
    Assigned,
    BacklogSeen,
    CallFinished,
    Committed,
    DrainRequested,
    Event,
    Published,
    RebalanceStarted,
    Revoked,
    SlotFreed,
    Tick,
)
from failsoft.policy.progress import Mark, Marks, Progress
from failsoft.policy.request import ClassName, Partition, RecordId
from failsoft.policy.rollup import Kind, RollUp
from failsoft.policy.settings import StageSettings
from failsoft.policy.stage import StageMachine
from failsoft.runtime.answer_log import AnswerLog
from failsoft.runtime.bodies import Bodies, End
from failsoft.runtime.broker_clock import BrokerClock
from failsoft.runtime.calls import Calls
from failsoft.runtime.clock import Clock
from failsoft.runtime.fleet_prior import places
from failsoft.runtime.forwarding import Forwarder
from failsoft.runtime.held import Held, read
from failsoft.runtime.metrics import Metrics
from failsoft.runtime.observer import Observer
from failsoft.runtime.ports import InboxPort, OutboxPort, ViewPort
from failsoft.runtime.publisher import Publisher
from failsoft.wire import RequestLine

log = structlog.get_logger("failsoft.stage")

COMMIT_RETRY_SECONDS = 1.0
LAST_COMMIT_SECONDS = 1.0
"""A broker that has not answered by then is away, and what was not committed is only repeated."""


class StageRunner:
    """Runs one stage.

    Args:
        stage: its tiers.
        catalogue: its classes.
        outbox: where ends go.
        clock: the only reader of time.
        metrics: what is counted.
        settings: what the machine is told; None: what the stage declares.
        process: this worker's name, unlike any other's; None: a new one.
        observer: who looks on.
        announce: has the other workers know this one's word on a breaker; by default they do not.
    """

    def __init__(
        self,
        stage: Stage,
        *,
        catalogue: Catalogue,
        outbox: OutboxPort,
        clock: Clock,
        metrics: Metrics,
        settings: StageSettings | None = None,
        process: str | None = None,
        observer: Observer | None = None,
        announce: Callable[[AnnounceRegister], None] = lambda _: None,
    ) -> None:
        self.stage = stage
        settings = settings or stage.settings(catalogue)
        self.machine = StageMachine(settings, process=process or str(uuid4()))
        self._clock = clock
        self._outbox = outbox
        self._metrics = metrics
        self._observer = observer or Observer()
        self._announce = announce
        metrics.declare(settings, self.machine)
        self._bodies = Bodies(stage)
        self._next_bodies = self._bodies if stage.successor is None else Bodies(stage.successor)
        """What the next stage answers at once, where it is not asked."""
        called = {t.settings.name: t.serves for t in stage.tiers if not isinstance(t.serves, CachedAnswer | Constant)}
        self._calls = Calls(called, clock, self._call_ended, prepare=self._bodies.prepared)
        self._publisher = Publisher(
            outbox,
            pipeline=stage.pipeline,
            stage=stage.name,
            reply_topics=frozenset(catalogue.reply_topics),
            clock=clock,
            refused=lambda kind: metrics.records_refused.labels(stage.name, kind.value).inc(),
            forwarders=_forwarders(stage, BrokerClock(clock.wall, outbox).wall),
        )
        self._answer_log: AnswerLog | None = None
        self._heard: Output | None = None
        """The body of the answer that the machine is being told of."""
        self._endings: Counter[Kind] = Counter()
        self._places = places(stage)
        self._inbox: InboxPort | None = None
        self._held: dict[RecordId, Held] = {}
        self._lent: defaultdict[RecordId, dict[int, Held]] = defaultdict(dict)
        """Whose bodies are needed for others, each under its assignment."""
        self._started: dict[int, tuple[str, float]] = {}
        self._to_commit: dict[Partition, Mark] = {}
        self._committing: asyncio.Task[None] | None = None
        self._publishing: set[asyncio.Task[None]] = set()
        self._wakeup: asyncio.TimerHandle | None = None
        self._drained = asyncio.Event()
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self, inbox: InboxPort, *, answers: ViewPort | None = None) -> None:
        """Get the endpoints ready, then take records.

        Args:
            inbox: where they come from.
            answers: the log of answers, whose records go to ``answers_seen``; None: answers stay within this worker.
        """
        await self._calls.open()
        if answers is not None:
            self._answer_log = AnswerLog(
                self.stage,
                view=answers,
                outbox=self._outbox,
                clock=self._clock,
                hear=self._hear,
                written=self._metrics.answers_written,
                read=self._metrics.answers_read,
            )
            await answers.start()
        self._inbox = inbox
        await inbox.start()

    async def drain(self, seconds: float) -> bool:
        """Take nothing more, and finish what has begun; what has not is left to the next owner. True if all was finished."""
        self.feed(DrainRequested())
        try:
            async with asyncio.timeout(seconds):
                await self._drained.wait()
        except TimeoutError:
            log.warning("drain_incomplete", stage=self.stage.name, left=len(self._held))
        self.feed(RebalanceStarted())
        try:
            async with asyncio.timeout(LAST_COMMIT_SECONDS):
                await self._commit_once()
        except TimeoutError:
            log.warning("last_commit_unanswered", stage=self.stage.name)
        return self.machine.is_drained

    async def close(self) -> None:
        """Leave the group and let go of everything, each step bounded."""
        if self._wakeup is not None:
            self._wakeup.cancel()
        if self._committing is not None:
            self._committing.cancel()
        inbox = [self._inbox.stop()] if self._inbox is not None else []
        answers = [self._answer_log.close()] if self._answer_log is not None else []
        await asyncio.gather(*inbox, *answers)
        await self._calls.close()
        self._failure.cancel()
        for task in self._publishing:
            task.cancel()
        await asyncio.gather(*self._publishing, return_exceptions=True)

    async def failed(self) -> None:
        """Wait until something here ends on an error that is a bug; raise it. Faults of models and brokers are not among them."""
        if self._inbox is None:
            raise ValueError("not started")
        parts = [part for part in (self._inbox, self._answer_log) if part is not None]
        waits = [asyncio.ensure_future(part.failed()) for part in parts]
        try:
            done, _ = await asyncio.wait({*waits, self._failure}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        for ended in done:
            ended.result()

    def feed(self, event: Event) -> None:
        """Tell the machine, and do what it says."""
        try:
            now = self._clock.monotonic()
            actions = self.machine.handle(event, now=now)
            self._observer.handled(self.machine, event, actions, now=now)
            for action in actions:
                self._perform(action)
        except Exception as error:
            self._fail(error)
            raise
        if self.machine.is_drained:
            self._drained.set()
        self._set_wakeup()

    # The inbox tells.

    def room(self, request_class: ClassName) -> int:
        """How many more records of this class to take."""
        return self.machine.room()[request_class]

    def records(self, batch: Sequence[Fetched]) -> None:
        """Take records, one event each. What is in hand keeps its place.

        In a topic that was made anew another record has the same one; it comes again once the inbox has begun anew there.
        """
        for fetched in batch:
            if fetched.record in self._held:
                continue
            held = read(fetched, self.stage.content_key, examine=self._examine, is_between=not self.stage.is_first)
            held.fetched = fetched  # which is dropped below, unless it becomes a dead letter at once
            self._held[fetched.record] = held
            self._observer.took(fetched.record, held.envelope.identity, held.key)
            self.feed(
                Arrived(
                    record=fetched.record,
                    size_bytes=fetched.size_bytes,
                    stamp=held.envelope.stamp,
                    appended_at=fetched.timestamp,
                    received_at=self._clock.wall(),
                    clock_offset=self._outbox.clock_offset.seconds,
                    floor=held.envelope.floor,
                    key=held.key,
                    max_stale_seconds=held.envelope.max_stale_seconds,
                    tenant=held.envelope.tenant or held.envelope.identity.source,
                    is_malformed=held.malformed is not None,
                    context=held.context,
                )
            )
            if not held.is_dead:
                held.fetched = None

    def _examine(self, line: RequestLine) -> Completeness | None:
        """Find out what came of the context, once, and count it."""
        found = self.stage.examine(line, wall_now=self._clock.wall())
        if found is not None:
            self._metrics.examined(self.stage.name, found)
        return found

    def backlog(self, request_class: ClassName, records: int, oldest_age_seconds: float) -> None:
        """What is still in the log counts as waiting."""
        self._metrics.backlog.labels(self.stage.name, request_class).set(records)
        self.feed(BacklogSeen(request_class, records, oldest_age_seconds))

    def assigned(self, positions: Mapping[Partition, Progress], assignment: int, share: float) -> None:
        """Own these partitions."""
        crashed = sum(1 for progress in positions.values() if progress.crashes)
        log.info(
            "assigned", stage=self.stage.name, partitions=len(positions), share=round(share, 3), after_crashes=crashed
        )
        self.feed(Assigned(positions, assignment, share))
        if self._answer_log is not None:
            self._answer_log.gain(positions)

    def revoked(self, partitions: frozenset[Partition], share: float) -> None:
        """Own these no longer."""
        log.info("revoked", stage=self.stage.name, partitions=len(partitions), share=round(share, 3))
        for partition in partitions:
            self._to_commit.pop(partition, None)
        if self._answer_log is not None:
            self._answer_log.lose(partitions)
        self.feed(Revoked(partitions, share))

    def marks_to_commit(self) -> Marks:
        """What may be committed before partitions move."""
        self.feed(RebalanceStarted())
        return dict(self._to_commit)

    def answers_seen(self, records: Sequence[ViewRecord]) -> None:
        """Take what stands in the log of answers, in partitions of this worker."""
        if self._answer_log is not None:
            self._answer_log.take(records)

    def _hear(self, event: AnswerSeen | AnswerDeleted, body: Output | None) -> None:
        self._heard = body
        self.feed(event)
        self._heard = None

    def take_rollup(self) -> RollUp:
        """What has ended since this was last asked."""
        endings, self._endings = self._endings, Counter()
        latency = {self._places[tier]: profile for tier, profile in self.machine.take_latency().items()}
        return RollUp(self.stage.name, endings, latency)

    def words_to_take_back(self) -> list[str]:
        """Breakers on which this worker's word may be deleted, when it goes."""
        return self.machine.words_to_take_back(now=self._clock.monotonic())

    # The machine says.

    def _perform(self, action: Action) -> None:
        match action:
            case StartCall():
                self._start_call(action)
            case CancelCall():
                self._calls.cancel(action.call_id)
            case Publish():
                self._publish_soon(action)
            case Forget():
                self._let_go(action.record, keeps_body=action.keeps_body)
            case Release():
                self._release(action.record)
            case StoreAnswer():
                self._store_answer(action)
            case DropAnswers():
                self._bodies.drop(action.answers)
            case Commit():
                self._commit_soon(action.marks)
            case AnnounceRegister():
                self._announce(action)

    def _store_answer(self, action: StoreAnswer) -> None:
        output = self._heard if action.call_id is None else self._calls.answer_of(action.call_id)
        if output is None:
            raise ValueError("the machine keeps an answer that it was not told of")
        self._bodies.store(action.answer.name, output)
        if action.call_id is not None and self._answer_log is not None:
            self._answer_log.write(action.answer, output)

    def _start_call(self, action: StartCall) -> None:
        held = self._body_of(action.record, action.assignment)
        if held.line is None:
            raise ValueError("the machine called with a body that could not be read, or that it has released")
        call = Call(
            body=held.line.body,
            url=held.line.url,
            request_class=action.record.request_class,
            tier=action.tier,
            execution=action.execution,
            tenant=held.envelope.tenant,
            headers={name: (value or b"").decode(errors="replace") for name, value in held.envelope.trace},
            window_ends_at=action.window_ends_at,
            clock=self._clock.monotonic,
            region=action.region,
            context=self.stage.usable_context(held.line, held.context),
        )
        self._started[action.call_id] = (action.tier, self._clock.monotonic())
        self._calls.start(action.call_id, call)

    def _publish_soon(self, action: Publish) -> None:
        """Put the result together now, while all that it is made of is there, and have it sent."""
        self._held[action.record].is_dead = action.ending.dead_letter
        end: End
        if action.call_id is not None:
            end = self._calls.end_of(action.call_id)
        else:
            bodies = self._bodies if action.ending.stage is None else self._next_bodies
            end = bodies.of(action.ending.tier, action.answer)
        leader = None if action.leader is None else self._leader(action.leader)
        task = asyncio.get_running_loop().create_task(self._publish(action, self._held[action.record], end, leader))
        self._publishing.add(task)
        task.add_done_callback(self._published)

    async def _publish(self, action: Publish, held: Held, end: End, leader: Held | None) -> None:
        shared_with = None if leader is None else leader.envelope.identity
        ending = await self._publisher.publish(held, action.ending, end, shared_with=shared_with)
        self._metrics.ended(self.stage.name, action.record.request_class, ending)
        self._endings[Kind(action.record.request_class, ending.level, ending.reason, ending.outcome)] += 1
        if self._held.get(action.record) is held:  # else the partition went, came back, and brought the record again
            self._let_go(action.record, keeps_body=action.keeps_body)
        self.feed(Published(action.record, action.assignment))
        if self._inbox is not None:
            self._inbox.wake(action.record.request_class)

    def _let_go(self, record: RecordId, *, keeps_body: bool) -> None:
        held = self._held.pop(record, None)
        if held is not None and held.line is not None and keeps_body:
            self._lent[record].setdefault(held.assignment, held)

    def _body_of(self, record: RecordId, assignment: int) -> Held:
        lent = self._lent.get(record, {})
        return lent[assignment] if assignment in lent else self._held[record]

    def _leader(self, record: RecordId) -> Held:
        return next(iter(self._lent.get(record, {}).values()), None) or self._held[record]

    def _release(self, record: RecordId) -> None:
        """Drop a body, also where it is there twice: its partition went, and came back while others needed it.

        In a topic that was made anew it is another's that came in its place: that one's own calls still need it.
        """
        lent = self._lent.pop(record, {})
        held = self._held.get(record)
        if self.stage.successor is not None:
            return  # it is handed on with its body
        if held is not None and all(other.key == held.key for other in lent.values()):
            held.line = None

    def _published(self, task: "asyncio.Task[None]") -> None:
        self._publishing.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, OutboxClosed):
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if not self._failure.done():
            self._failure.set_exception(error)

    def _call_ended(self, event: CallFinished | SlotFreed) -> None:
        if isinstance(event, CallFinished):
            tier, started_at = self._started.pop(event.call_id)
            self._metrics.called(self.stage.name, tier, event.verdict, self._clock.monotonic() - started_at)
        self.feed(event)

    def _commit_soon(self, marks: Marks) -> None:
        self._to_commit.update(marks)
        if self._committing is None or self._committing.done():
            self._committing = asyncio.get_running_loop().create_task(self._commit_until_done())

    async def _commit_until_done(self) -> None:
        """Commit what there is. What the group did not take is tried again, until it is taken or the partition is lost."""
        while self._to_commit:
            if not await self._commit_once():
                await asyncio.sleep(COMMIT_RETRY_SECONDS)

    async def _commit_once(self) -> bool:
        """Commit what there is now; whether the group has taken all of it."""
        if self._inbox is None or not self._to_commit:
            return True
        marks, self._to_commit = self._to_commit, {}
        accepted = await self._inbox.commit(marks)
        taken = {partition: marks[partition] for partition in accepted}
        left = {partition: mark for partition, mark in marks.items() if partition not in taken}
        self._to_commit = {**left, **self._to_commit}
        self._observer.committed(taken)
        if taken and self.machine.awaits_commits:
            self.feed(Committed(taken))
        return not left

    def _set_wakeup(self) -> None:
        """One timer, for the earliest instant at which time alone changes a decision."""
        at = self.machine.next_wakeup()
        if self._wakeup is not None:
            if at is not None and self._wakeup.when() <= at and not self._wakeup.cancelled():
                return
            self._wakeup.cancel()
            self._wakeup = None
        if at is not None:
            self._wakeup = asyncio.get_running_loop().call_at(at, self._wake_up)

    def _wake_up(self) -> None:
        self._wakeup = None
        self.feed(Tick())


def _forwarders(stage: Stage, broker_clock: Callable[[], float]) -> Mapping[str, Forwarder]:
    """Who writes what goes on, by the stage that answered: this one, or the next where that is not asked."""
    following = [each for each in (stage, stage.successor) if each is not None and each.successor is not None]
    return {
        each.name: Forwarder(each, each.successor, broker_clock=broker_clock) for each in following if each.successor
    }
