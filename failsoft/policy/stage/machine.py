"""The machine: everything that one worker of one stage decides. Values in, values out.

It composes the patterns, together with its dispatcher. One owner feeds it events with the instant at which they happened;
it answers with actions, and there is no await between an event and carrying out the synchronous part of its actions. It
reads no clock, rolls no dice and does no I/O: the asyncio shell and the simulator drive the same object.

Two shapes were weighed. A machine per request with a shared scheduler reads well for one request, but every rule here is
about *which* request a free permit takes, so the scheduler would have held all state anyway. So: one machine, in which a
record is a small ``Work`` that waits for an ``Errand``, and every event ends in the same dispatch.
"""

from collections.abc import Callable, Iterable, Mapping

from failsoft.policy.actions import Action, AnnounceRegister, CancelCall, Commit, Forget, Publish, StartCall
from failsoft.policy.deadline import GRACE_SECONDS, grant
from failsoft.policy.errors import IllegalTransition
from failsoft.policy.events import (
    Arrived,
    Assigned,
    BacklogSeen,
    CallFinished,
    DrainRequested,
    Event,
    Published,
    RebalanceStarted,
    RegisterSeen,
    Revoked,
    SlotFreed,
    Tick,
    Verdict,
)
from failsoft.policy.jitter import EvenJitter
from failsoft.policy.offsets import OffsetLedger
from failsoft.policy.outcome import Ending, Outcome, Reason
from failsoft.policy.request import ClassName, RecordId, Request
from failsoft.policy.settings import StageSettings, TierSettings
from failsoft.policy.stage.dispatcher import Dispatcher, Start
from failsoft.policy.stage.endpoint import Condition, Ticket
from failsoft.policy.stage.work import Errand, Standing, Work

TICK_SECONDS = 0.02
"""While something waits, time alone changes decisions. 100 ms made no measurable loss; 20 ms costs 0.3 % of a core."""
HIGHER_FLOOR_WAIT_SECONDS = 30.0
"""Longest wait of a request that asks for a higher floor than its class."""

_FALLBACK_REASONS = {
    Verdict.TIMEOUT: Reason.ENDPOINT_TIMEOUT,
    Verdict.BACKPRESSURE: Reason.ENDPOINT_BACKPRESSURE,
    Verdict.TRANSIENT: Reason.ENDPOINT_ERROR,
    Verdict.UNREACHABLE: Reason.ENDPOINT_ERROR,
    Verdict.BROKEN: Reason.ENDPOINT_ERROR,
}


class _Call:
    __slots__ = ("errand", "is_reported", "ticket", "tier")

    def __init__(self, errand: Errand, tier: int, ticket: Ticket) -> None:
        self.errand: Errand | None = errand
        self.tier = tier
        self.ticket = ticket
        self.is_reported = False


class StageMachine:
    """Decides everything that one worker of one stage does. Values in, values out.

    Args:
        settings: tiers, classes and bounds of the stage.
        process: this worker's name, unlike any other's: breakers are told apart by it.
    """

    def __init__(self, settings: StageSettings, *, process: str = "worker") -> None:
        self._settings = settings
        self._classes = settings.by_class
        self._wanted_level = settings.tiers[0].level
        self._answers = [tier for tier in settings.tiers if not tier.is_model]
        self._dispatcher = Dispatcher(settings, process=process, jitter=EvenJitter(process))
        self._endpoints = self._dispatcher.endpoints
        self._work: dict[RecordId, Work] = {}
        self._held_records = dict.fromkeys(self._classes, 0)
        self._held_bytes = dict.fromkeys(self._classes, 0)
        self._oldest_age: dict[ClassName, float] = {}
        self._calls: dict[int, _Call] = {}
        self._offsets = OffsetLedger()
        self._commit_at = float("-inf")
        self._is_draining = False
        self._now = 0.0
        self._actions: list[Action] = []
        self._handlers: Mapping[type[Event], Callable[..., None]] = {
            Arrived: self._on_arrived,
            CallFinished: self._on_call_finished,
            SlotFreed: self._on_slot_freed,
            Published: self._on_published,
            Tick: lambda _: None,
            Assigned: self._on_assigned,
            Revoked: self._on_revoked,
            RebalanceStarted: lambda _: self._commit(),
            BacklogSeen: self._on_backlog_seen,
            RegisterSeen: self._on_register_seen,
            DrainRequested: self._on_drain_requested,
        }

    def handle(self, event: Event, *, now: float) -> list[Action]:
        """Take one event in and say what to do. ``now`` is monotonic seconds and never goes back."""
        self._now = now
        self._handlers[type(event)](event)
        self._dispatch()
        self._sync()
        if now >= self._commit_at:
            self._commit()
        actions, self._actions = self._actions, []
        return actions

    def next_wakeup(self) -> float | None:
        """When to send Tick if nothing else happens; None: not at all."""
        if self._dispatcher.has_waiting:
            return self._now + TICK_SECONDS
        return self._commit_at if self._offsets.has_uncommitted else None

    def room(self) -> Mapping[ClassName, int]:
        """How many more records of each class to take."""
        return {name: self._room_of(name) for name in self._classes}

    def _room_of(self, name: ClassName) -> int:
        is_held = self._dispatcher.is_held(name, self._oldest_age.get(name, 0.0))
        is_full = is_held or self._held_bytes[name] >= self._settings.bytes_max or self._offsets.is_too_wide(name)
        return 0 if self._is_draining or is_full else max(0, self._settings.records_max - self._held_records[name])

    @property
    def is_drained(self) -> bool:
        """After DrainRequested: nothing runs and nothing is being published any more."""
        return self._is_draining and not self._calls and not self._work

    @property
    def waiting(self) -> Mapping[ClassName, int]:
        """Records in memory that wait for a permit, per class."""
        return self._dispatcher.waiting

    @property
    def permits(self) -> Mapping[str, tuple[int, int]]:
        """Per model tier: (in flight, held by this worker)."""
        return {end.settings.name: (end.permits.in_flight, end.permits.count) for end in self._endpoints}

    @property
    def conditions(self) -> Mapping[str, Condition]:
        """Per model tier: how its endpoint stands, for those who watch."""
        return {end.settings.name: end.condition for end in self._endpoints}

    # A record comes in.

    def _on_arrived(self, event: Arrived) -> None:
        if event.record in self._work:
            return  # it came twice, and is in hand
        assignment = None if self._is_draining else self._offsets.started(event.record)
        if assignment is None:
            self._actions.append(Forget(event.record))
        elif event.is_malformed:
            work = self._hold(event, assignment, None)
            self._end(work, Outcome.INVALID, Reason.MALFORMED, dead_letter=True)
        else:
            self._admit(event, assignment)

    def _admit(self, event: Arrived, assignment: int) -> None:
        known = self._classes[event.record.request_class]
        granted = grant(
            event.stamp,
            appended_at=event.appended_at,
            received_at=event.received_at,
            clock_offset=event.clock_offset,
            default_seconds=known.deadline_seconds,
            maximum_seconds=known.deadline_max_seconds,
        )
        deadline_at = self._now + granted.remaining_seconds
        floor = known.floor if event.floor is None else min(known.floor, event.floor)
        wait_until = min(deadline_at, self._now + HIGHER_FLOOR_WAIT_SECONDS) if floor < known.floor else deadline_at
        request = Request(event.record, assignment, deadline_at, granted.budget_seconds, floor, event.size_bytes)
        work = self._hold(event, assignment, request)
        if granted.remaining_seconds < -GRACE_SECONDS:
            self._end(work, Outcome.EXPIRED, Reason.DEADLINE_PASSED)
        else:
            work.errand = Errand(work, request, lane=(known.name, floor), deadline_at=wait_until)
            self._dispatcher.queue(work.errand, now=self._now)

    def _hold(self, event: Arrived, assignment: int, request: Request | None) -> Work:
        work = self._work[event.record] = Work(event.record, assignment, event.size_bytes, request=request)
        self._held_records[event.record.request_class] += 1
        self._held_bytes[event.record.request_class] += event.size_bytes
        return work

    def _drop(self, work: Work) -> None:
        del self._work[work.record]
        self._held_records[work.record.request_class] -= 1
        self._held_bytes[work.record.request_class] -= work.size_bytes

    # A call ends.

    def _on_call_finished(self, event: CallFinished) -> None:
        call = self._calls.get(event.call_id)
        if call is None or call.is_reported:
            raise IllegalTransition(f"call {event.call_id} finished twice, or was never started")
        errand, call.errand, call.is_reported = call.errand, None, True
        seconds = self._now - call.ticket.started_at
        endpoint = self._endpoints[call.tier]
        endpoint.finish(call.ticket, event.verdict, is_wanted=errand is not None, now=self._now)
        if event.is_over:
            self._on_slot_freed(SlotFreed(event.call_id))
        if errand is not None:
            errand.call_seconds += seconds
            errand.call_id = None
            self._after_call(errand, call.tier, event, seconds)

    def _after_call(self, errand: Errand, tier: int, event: CallFinished, seconds: float) -> None:
        if event.verdict is Verdict.OK:
            self._end_served(errand, self._endpoints[tier].settings, event.call_id)
        elif event.verdict is Verdict.REFUSED:
            self._end(errand.work, Outcome.INVALID, Reason.REQUEST_REFUSED, call_id=event.call_id)
        else:
            errand.reason = _FALLBACK_REASONS[event.verdict]
            if not self._dispatcher.retry(errand, tier, event, seconds=seconds, now=self._now):
                errand.next_tier, errand.ready_at = tier + 1, self._now
                self._dispatcher.queue_urgent(errand)

    def _on_slot_freed(self, event: SlotFreed) -> None:
        call = self._calls.pop(event.call_id, None)
        if call is not None:
            self._endpoints[call.tier].freed()

    # A request ends.

    def _end_served(self, errand: Errand, tier: TierSettings, call_id: int | None = None) -> None:
        reason = errand.reason if tier.level > self._wanted_level else Reason.NONE
        self._end(errand.work, Outcome.OK, reason, tier=tier, call_id=call_id)

    def _end_unserved(self, errand: Errand) -> None:
        """No model tier can be in time: an answer that is there at once, else the reason why there is none."""
        _, floor = errand.lane
        work = errand.work
        answer = next((tier for tier in self._answers if tier.level <= floor), None)
        if answer is not None:
            self._end_served(errand, answer)
        elif work.request is not None and self._now >= work.request.deadline_at:
            self._end(work, Outcome.EXPIRED, errand.reason if errand.executions else Reason.DEADLINE_PASSED)
        elif self._settings.tiers[-1].level > floor:
            self._end(work, Outcome.UNAVAILABLE, Reason.FLOOR)
        else:
            self._end(work, Outcome.FAILED if errand.executions else Outcome.UNAVAILABLE, errand.reason)

    def _end(
        self,
        work: Work,
        outcome: Outcome,
        reason: Reason,
        *,
        tier: TierSettings | None = None,
        call_id: int | None = None,
        dead_letter: bool = False,
    ) -> None:
        errand = work.errand
        call_seconds = 0.0
        if errand is not None:
            errand.move(Standing.OVER)
            call_seconds = errand.call_seconds
        work.end()
        ending = Ending(
            outcome=outcome,
            reason=reason,
            tier=None if tier is None else tier.name,
            level=None if tier is None else tier.level,
            wanted_level=self._wanted_level,
            executions=0 if errand is None else errand.executions,
            queue_seconds=max(0.0, work.waited_seconds(self._now) - call_seconds),
            call_seconds=call_seconds,
            slack_seconds=0.0 if work.request is None else work.request.deadline_at - self._now,
            dead_letter=dead_letter,
        )
        self._actions.append(Publish(work.record, work.assignment, ending, call_id))

    def _on_published(self, event: Published) -> None:
        work = self._work.get(event.record)
        if work is not None and work.assignment == event.assignment:
            self._drop(work)
            self._offsets.finished(event.record, event.assignment)

    def _commit(self) -> None:
        self._commit_at = self._now + self._settings.commit_interval_seconds
        offsets = self._offsets.to_commit()
        if offsets:
            self._actions.append(Commit(offsets))

    # Who owns what, and how much waits in the log.

    def _on_assigned(self, event: Assigned) -> None:
        self._offsets.assign(event.positions, event.assignment)
        self._share(event.share)

    def _on_revoked(self, event: Revoked) -> None:
        self._offsets.revoke(event.partitions)
        self._forget(work for work in self._work.values() if work.record.partition in event.partitions)
        self._share(event.share)

    def _on_drain_requested(self, _: DrainRequested) -> None:
        """What was not started stands uncommitted in the log: the next owner takes it sooner than we could."""
        self._is_draining = True
        self._forget(
            work for work in self._work.values() if work.errand is not None and work.errand.standing is Standing.WAITING
        )

    def _on_backlog_seen(self, event: BacklogSeen) -> None:
        self._dispatcher.backlog_seen(event.request_class, event.records)
        self._oldest_age[event.request_class] = event.oldest_age_seconds

    def _on_register_seen(self, event: RegisterSeen) -> None:
        endpoint = next((endpoint for endpoint in self._endpoints if endpoint.name == event.breaker), None)
        if endpoint is not None:  # registers of other stages, and of tiers that are gone, stand in the topic too
            endpoint.register_seen(event.process, event.register, age_seconds=event.age_seconds, now=self._now)

    def _sync(self) -> None:
        for endpoint in self._endpoints:
            register = endpoint.sync(now=self._now)
            if register is not None:
                self._actions.append(AnnounceRegister(endpoint.name, register))

    def _share(self, part: float) -> None:
        for endpoint in self._endpoints:
            endpoint.permits.share(part)

    def _forget(self, works: Iterable[Work]) -> None:
        for work in list(works):
            if work.errand is not None:
                self._abandon(work.errand)
            self._drop(work)
            self._actions.append(Forget(work.record))

    def _abandon(self, errand: Errand) -> None:
        self._dispatcher.discard(errand)
        if errand.call_id is not None:
            self._calls[errand.call_id].errand = None
            self._actions.append(CancelCall(errand.call_id))

    # Who runs next.

    def _dispatch(self) -> None:
        for decided in self._dispatcher.dispatch(now=self._now):
            if isinstance(decided, Start):
                self._start(decided)
            else:
                self._end_unserved(decided.errand)

    def _start(self, start: Start) -> None:
        errand, call_id = start.errand, start.ticket.call_id
        errand.call_id = call_id
        errand.executions += 1
        errand.move(Standing.CALLING)
        self._calls[call_id] = _Call(errand, start.tier, start.ticket)
        self._actions.append(
            StartCall(
                call_id=call_id,
                record=errand.work.record,
                tier=self._endpoints[start.tier].settings.name,
                window_ends_at=self._now + start.window_seconds,
                deadline_at=errand.deadline_at,
                execution=errand.executions,
            )
        )
