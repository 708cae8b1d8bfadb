"""The machine: everything that one worker of one stage decides. Values in, values out.

It composes the patterns, together with its dispatcher. One owner feeds it events with the instant at which they happened;
it answers with actions, and there is no await between an event and carrying out the synchronous part of its actions. It
reads no clock, rolls no dice and does no I/O: the asyncio shell and the simulator drive the same object.

Two shapes were weighed. A machine per request with a shared scheduler reads well for one request, but every rule here is
about *which* request a free permit takes, so the scheduler would have held all state anyway. So: one machine, in which a
record is a small ``Work`` that waits for an ``Errand``, and every event ends in the same dispatch.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping

from failsoft.policy.actions import (
    Action,
    AnnounceRegister,
    CancelCall,
    Commit,
    DropAnswers,
    Forget,
    Release,
    StartCall,
    StoreAnswer,
)
from failsoft.policy.admission import Admission
from failsoft.policy.answer import Answer, AnswerName, Hit
from failsoft.policy.coalescing import Refusal
from failsoft.policy.errors import IllegalTransition
from failsoft.policy.events import (
    AnswerDeleted,
    AnswerSeen,
    Arrived,
    Assigned,
    BacklogSeen,
    CallFinished,
    Committed,
    ControlSeen,
    DrainRequested,
    Event,
    LatencySeen,
    Published,
    RebalanceStarted,
    RegisterSeen,
    RegistersSeen,
    Revoked,
    RollUpSeen,
    RouteSeen,
    SlotFreed,
    Tick,
    Verdict,
)
from failsoft.policy.flight import Outlook
from failsoft.policy.jitter import EvenJitter
from failsoft.policy.offsets import OffsetLedger
from failsoft.policy.outcome import Outcome, Reason
from failsoft.policy.profile import Profile
from failsoft.policy.quarantine import Quarantine
from failsoft.policy.request import ClassName, Partition, RecordId, Request
from failsoft.policy.settings import StageSettings, TierSettings
from failsoft.policy.stage.ahead import Ahead
from failsoft.policy.stage.arrival import is_late, request_of
from failsoft.policy.stage.calls import Calls, CallUnderWay
from failsoft.policy.stage.columns import dispatcher
from failsoft.policy.stage.condition import Condition, HandoverCondition, Saved
from failsoft.policy.stage.dispatcher import Start
from failsoft.policy.stage.endings import Endings
from failsoft.policy.stage.endpoint import Endpoint
from failsoft.policy.stage.gates import Gate, gates_of_classes, gates_of_endpoint
from failsoft.policy.stage.room import Room
from failsoft.policy.stage.sharing import Sharing
from failsoft.policy.stage.work import Errand, Standing, Work

_FALLBACK_REASONS = {
    Verdict.TIMEOUT: Reason.ENDPOINT_TIMEOUT,
    Verdict.BACKPRESSURE: Reason.ENDPOINT_BACKPRESSURE,
    Verdict.TRANSIENT: Reason.ENDPOINT_ERROR,
    Verdict.UNREACHABLE: Reason.ENDPOINT_ERROR,
    Verdict.BROKEN: Reason.ENDPOINT_ERROR,
}

_MOVE_WATCHED = {Arrived, Published, Committed, Assigned, Revoked, DrainRequested}
"""What may give somebody in quarantine his turn, beside time."""
_MOVE_NOBODY = {Published, AnswerSeen, AnswerDeleted, RollUpSeen}
"""What changes nothing for those who wait."""


class StageMachine:
    """Decides everything that one worker of one stage does. Values in, values out.

    Args:
        settings: tiers, classes and bounds of the stage.
        process: this worker's name, unlike any other's: breakers are told apart by it.
    """

    def __init__(self, settings: StageSettings, *, process: str = "worker") -> None:
        self._settings = settings
        self._classes = settings.by_class
        self._models = [tier for tier in settings.tiers if tier.is_model]
        jitter = EvenJitter(process)
        self._dispatcher = dispatcher(settings, process=process, jitter=jitter)
        self._endpoints = self._dispatcher.endpoints
        self._endpoints_of: Mapping[str, list[Endpoint]] = {
            tier.name: [end for end in self._endpoints if end.settings.name == tier.name] for tier in settings.tiers
        }
        self._work: dict[RecordId, Work] = {}
        self._sharing = Sharing(settings, self._work, jitter=jitter)
        self._ahead = Ahead(settings, jitter=jitter)
        self._endings = Endings(settings, self._sharing, self._ahead)
        self._admission = Admission([known.name for known in settings.classes], settings.admission)
        self._room = Room(settings)
        self._oldest_age: dict[ClassName, float] = {}
        self._calls = Calls()
        self._offsets = OffsetLedger()
        self._quarantine = Quarantine()
        self._alike: defaultdict[str | None, list[Work]] = defaultdict(list)
        """Content key -> those with it that wait in quarantine, or have waited."""
        self._commit_at = float("-inf")
        self._look_at = math.inf
        """When time alone may change what becomes of those who wait, or are called."""
        self._watch_at = math.inf
        """When time alone may let somebody out of quarantine."""
        self._is_draining = False
        self._asked_at = -math.inf
        """When there was a request last, here or in the log."""
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
            RebalanceStarted: lambda _: self._commit(is_clean=True),
            Committed: self._on_committed,
            BacklogSeen: self._on_backlog_seen,
            RegisterSeen: self._on_register_seen,
            RegistersSeen: self._on_registers_seen,
            ControlSeen: self._on_control_seen,
            RouteSeen: self._on_route_seen,
            LatencySeen: self._on_latency_seen,
            RollUpSeen: self._on_rollup_seen,
            AnswerSeen: self._on_answer_seen,
            AnswerDeleted: self._on_answer_deleted,
            DrainRequested: self._on_drain_requested,
        }

    def handle(self, event: Event, *, now: float) -> list[Action]:
        """Take one event in and say what to do. ``now`` is monotonic seconds and never goes back."""
        self._now = now
        self._handlers[type(event)](event)
        is_watching = bool(self._quarantine)
        if is_watching and (type(event) in _MOVE_WATCHED or now >= self._watch_at):
            self._dispatch()  # whom a permit was given is called, before others join it
            self._watch()
        if is_watching or type(event) not in _MOVE_NOBODY:  # else it changes nothing for those who wait
            if self._calls.are_shared:
                self._part()
            self._sync()
            self._dispatch()
            self._watch_at = self._quarantine.due_at(now)
            self._look_at = min(self._dispatcher.next_wakeup(), self._calls.parts_at, self._watch_at)
        if now >= self._commit_at:
            self._commit()
        actions, self._actions = self._actions, []
        return actions

    def next_wakeup(self) -> float | None:
        """When to send Tick if nothing else happens; None: not at all."""
        commit_at = self._commit_at if self._offsets.has_uncommitted else math.inf
        at = min(self._look_at, commit_at)
        return None if math.isinf(at) else at

    def room(self) -> Mapping[ClassName, int]:
        """How many more records of each class to take."""
        return {name: self.room_of(name) for name in self._classes}

    def room_of(self, name: ClassName) -> int:
        """How many more records of one class to take."""
        is_held = self._dispatcher.is_held(name, self._oldest_age.get(name, 0.0), now=self._now)
        return 0 if self._is_draining or is_held or self._offsets.is_too_wide(name) else self._room.left(name)

    @property
    def is_drained(self) -> bool:
        """After DrainRequested: nothing runs and nothing is being published any more."""
        return self._is_draining and not self._calls and not self._work

    def words_to_take_back(self, *, now: float) -> list[str]:
        """Breakers on which this worker's register may be deleted, when it goes: others know as much."""
        of_endpoints = [endpoint.name for endpoint in self._endpoints if endpoint.board.may_leave(now=now)]
        return [*of_endpoints, *(handover.name for handover in self._ahead.handovers)]

    @property
    def awaits_commits(self) -> bool:
        """Whether it has to hear of each commit that the group takes."""
        return bool(self._quarantine)

    @property
    def waiting(self) -> Mapping[ClassName, int]:
        """Records in memory that wait for a permit, per class."""
        return self._dispatcher.waiting

    @property
    def permits(self) -> Mapping[str, tuple[int, int]]:
        """Per model tier: (in flight, held by this worker)."""
        found: dict[str, tuple[int, int]] = {}
        for endpoint in self._endpoints:
            in_flight, count = found.get(endpoint.settings.name, (0, 0))
            found[endpoint.settings.name] = in_flight + endpoint.permits.in_flight, count + endpoint.permits.count
        return found

    def permits_of(self, tier: str, region: str | None = None) -> int:
        """How many permits of a model tier this worker holds, in all regions or in one."""
        held = [end.permits.count for end in self._endpoints_of[tier] if region is None or region == end.region]
        return sum(held)

    @property
    def saved(self) -> Saved:
        """How many calls were saved, and how many requests were shed."""
        return Saved(
            joined=self._sharing.flights.joined,
            answers=None if self._sharing.answers is None else self._sharing.answers.counts,
            shed=dict(self._admission.shed),
            shed_part=self._admission.rate,
        )

    @property
    def conditions(self) -> Mapping[str, Condition]:
        """Per model tier: how its endpoint stands, for those who watch; of several regions that with most of the requests."""
        return {end.settings.name: end.condition for end in self._dispatcher.usual}

    @property
    def reserved_seconds(self) -> float:
        """What later stages need together, as far as this worker knows."""
        return self._ahead.seconds if self._ahead.next is not None else 0.0

    @property
    def handovers(self) -> Mapping[str, HandoverCondition]:
        """By name: how the breakers before the next stage stand, one for each class; none where there is no next stage."""
        return {handover.name: handover.condition for handover in self._ahead.handovers}

    def take_latency(self) -> Mapping[str, Profile]:
        """Tier -> how long its calls took that ended since this was last asked; tiers without any are left out.

        Of one that stands in several regions, ``<tier>/<region>``.
        """
        taken = {end.place: end.latency.take_untold() for end in self._endpoints}
        return {tier: profile for tier, profile in taken.items() if profile.samples}

    @property
    def gates(self) -> list[Gate]:
        """How every gate stood at the last event; of several regions that with most of the requests."""
        lines = [column.first_in_line(now=self._now) for column in self._dispatcher.columns]
        before_tiers = (gates_of_endpoint(end, self._settings, now=self._now) for end in self._dispatcher.usual)
        before_classes = gates_of_classes(
            self._settings, admission=self._admission, room=self._room, oldest_age=self._oldest_age, lines=lines
        )
        return [*itertools.chain.from_iterable(before_tiers), *before_classes]

    # A record comes in.

    def _on_arrived(self, event: Arrived) -> None:
        if event.record in self._work:
            return  # it came twice, and is in hand
        assignment = None if self._is_draining else self._offsets.started(event.record, event.appended_at)
        self._quarantine.moved(event.record)
        if assignment is None:
            self._actions.append(Forget(event.record, keeps_body=self._sharing.needs_body(event.record)))
        elif event.is_malformed:
            nothing = Request.unreadable(event.record, assignment, event.size_bytes, now=self._now)
            self._end(self._hold(nothing), Outcome.INVALID, Reason.MALFORMED, dead_letter=True)
        else:
            self._asked_at = self._now
            known = self._classes[event.record.request_class]
            request = request_of(event, known, self._models, assignment, now=self._now)
            self._receive(self._hold(self._reserved(request)))

    def _reserved(self, request: Request) -> Request:
        """The same, with the time of later stages kept back: its calls end before that begins."""
        usual = self._dispatcher.usual
        if self._ahead.next is None or not usual:
            return request
        q95s = [endpoint.latency.speed(now=self._now).q95 for endpoint in usual]
        usable = (q95s[place] for place, end in enumerate(usual) if request.may_use(place, end.settings.level))
        least_q95 = min(usable, default=0.0)
        reserve = self._ahead.reserve(request, own_q95=q95s[0], least_q95=least_q95, now=self._now)
        until = request.deadline_at - reserve
        return request._replace(waits_until=min(request.waits_until, until))

    def _receive(self, work: Work) -> None:
        """Take a record in; one of a partition whose last owner has died waits for its turn first."""
        until = work.request.waits_until - self._settings.publish_margin_seconds
        work.is_redelivery = self._offsets.is_redelivery(work.record)
        if self._quarantine.is_poison(work.record):
            self._end(work, Outcome.FAILED, Reason.POISON, dead_letter=True)
        elif self._quarantine and self._needs_no_call(work):
            pass  # it goes with another, or is answered already
        elif not self._quarantine.holds(work.record, until=until):
            self._admit(work)
        elif work.request.key is not None:
            self._alike[work.request.key].append(work)

    def _admit(self, work: Work) -> None:
        if is_late(work.request, now=self._now):
            self._end(work, Outcome.EXPIRED, Reason.DEADLINE_PASSED)
        elif not self._ahead.allows(work.request, now=self._now):
            self._actions.append(self._endings.stopped(work, now=self._now))
        elif work.request.key is None or not self._share(work):
            self._queue(work)

    def _share(self, work: Work) -> bool:
        """Whether an equal request's execution or answer serves it."""
        found = self._sharing.find(work, best_level=self._dispatcher.best_level(work.request), now=self._now)
        match found:
            case Refusal():
                self._end(work, found.outcome, found.reason)
            case Hit():
                self._serve_from_past(work, found)
            case Errand():
                self._follow(work, found)
        return found is not None

    def _follow(self, work: Work, errand: Errand) -> None:
        """Its body is of no use any more, and its deadline may move the errand that it joined.

        One that went with its partition and came back may join a call that is made with its own body.
        """
        self._room.follow(work)
        if not self._sharing.needs_body(work.record):
            self._actions.append(Release(work.record))
        self._put_in_place(errand)
        self._calls.look_at(errand)

    def _queue(self, work: Work) -> None:
        retry_after = self._shed(work.request)
        if retry_after is not None:
            self._end(work, Outcome.SHED, Reason.OVERLOADED, retry_after_seconds=retry_after)
        else:
            self._dispatcher.queue(self._sharing.open(work, now=self._now), now=self._now)

    def _shed(self, request: Request) -> float | None:
        """When a request that is not taken in may come back; None: it is taken in."""
        name = request.record.request_class
        line = self._dispatcher.line(request, now=self._now)
        if line is None:
            return None
        drain_seconds, slack_seconds = line
        self._admission.line_seen(name, drain_seconds=drain_seconds, slack_seconds=slack_seconds, now=self._now)
        _, number, offset = request.record
        return self._admission.retry_after_seconds(name, request.tenant, f"{number}-{offset}", now=self._now)

    def _put_in_place(self, errand: Errand) -> None:
        if self._sharing.is_out_of_place(errand):
            self._dispatcher.discard(errand)
            self._sharing.place(errand)
            self._dispatcher.put_back(errand, now=self._now)

    def _hold(self, request: Request) -> Work:
        work = self._work[request.record] = Work(request)
        self._room.take(work)
        return work

    def _drop(self, work: Work) -> None:
        del self._work[work.record]
        self._room.drop(work)

    # A call ends.

    def _on_call_finished(self, event: CallFinished) -> None:
        call = self._calls.get(event.call_id)
        if call is None or call.is_reported:
            raise IllegalTransition(f"call {event.call_id} finished twice, or was never started")
        errand, call.is_reported = call.errand, True
        self._calls.drop(event.call_id)
        seconds = self._now - call.ticket.started_at
        call.ticket.endpoint.finish(call.ticket, event.verdict, is_wanted=errand is not None, now=self._now)
        if event.is_over:
            self._on_slot_freed(SlotFreed(event.call_id))
        if errand is not None:
            errand.call_seconds += seconds
            errand.call_id = None
            self._after_call(errand, call, event, seconds)

    def _after_call(self, errand: Errand, call: CallUnderWay, event: CallFinished, seconds: float) -> None:
        tier = call.tier
        if event.verdict is Verdict.OK:
            self._answered(errand, call.ticket.endpoint.settings, event)
        elif event.verdict is Verdict.REFUSED:
            for work in self._sharing.refuse(errand, now=self._now):
                self._end(work, Outcome.INVALID, Reason.REQUEST_REFUSED, call_id=event.call_id)
            self._close(errand)
        elif self._sharing.stop_refreshing(errand):
            self._close(errand)
        else:
            errand.failed(_FALLBACK_REASONS[event.verdict])
            if not self._dispatcher.retry(errand, tier, event, seconds=seconds, now=self._now):
                errand.next_tier, errand.ready_at = errand.untried_after(tier), self._now
                self._dispatcher.queue_urgent(errand)

    def _answered(self, errand: Errand, tier: TierSettings, event: CallFinished) -> None:
        level = errand.work.request.level(tier.level, now=self._now)
        stored = self._sharing.store(errand, level=level, tier=tier.name, size_bytes=event.size_bytes, now=self._now)
        if stored is not None:
            self._keep_answer(*stored, call_id=event.call_id)
        for work in self._sharing.land(errand):
            self._actions.append(self._endings.served(work, errand, tier, call_id=event.call_id, now=self._now))
        self._close(errand)

    def _keep_answer(self, answer: Answer, dropped: list[AnswerName], *, call_id: int | None = None) -> None:
        self._actions.append(StoreAnswer(answer, call_id))
        self._drop_answers(dropped)

    def _drop_answers(self, names: list[AnswerName]) -> None:
        if names:
            self._actions.append(DropAnswers(tuple(names)))

    def _on_slot_freed(self, event: SlotFreed) -> None:
        call = self._calls.end(event.call_id)
        if call is not None:
            call.ticket.endpoint.freed()

    # A request ends.

    def _serve_from_past(self, work: Work, hit: Hit) -> None:
        """An answer serves at once. If it is stale and a permit of the full tier lies idle, the model is asked again."""
        errand = self._refresh(work, hit) if hit.is_stale else None
        self._actions.append(self._endings.served_from_past(work, hit, now=self._now))
        if errand is not None:
            self._start(self._dispatcher.start_now(errand, now=self._now))

    def _refresh(self, work: Work, hit: Hit) -> Errand | None:
        seconds = self._classes[work.record.request_class].deadline_seconds
        if not self._dispatcher.is_idle(work.request, seconds=seconds, now=self._now):
            return None
        level = max(hit.answer.name.level, self._dispatcher.best_level(work.request))
        return self._sharing.refresh(work, level=level, seconds=seconds, now=self._now)

    def _end(
        self,
        work: Work,
        outcome: Outcome,
        reason: Reason,
        *,
        call_id: int | None = None,
        dead_letter: bool = False,
        retry_after_seconds: float | None = None,
    ) -> None:
        self._actions.append(
            self._endings.end(
                work,
                outcome,
                reason,
                call_id=call_id,
                dead_letter=dead_letter,
                retry_after_seconds=retry_after_seconds,
                now=self._now,
            )
        )

    def _close(self, errand: Errand) -> None:
        errand.move(Standing.OVER)
        released = self._sharing.close(errand)
        if released is not None:
            self._actions.append(Release(released))

    def _on_published(self, event: Published) -> None:
        work = self._work.get(event.record)
        self._offsets.finished(event.record, event.assignment)
        self._quarantine.moved(event.record)
        if work is not None and work.assignment == event.assignment:
            self._drop(work)
            self._quarantine.finished(event.record)

    def _commit(self, *, is_clean: bool = False) -> None:
        self._commit_at = self._now + self._settings.commit_interval_seconds
        marks = self._offsets.to_commit(is_clean=is_clean, watched=self._quarantine.out)
        if marks:
            self._actions.append(Commit(marks))
        self._drop_answers(self._sharing.expire(now=self._now))

    # Partitions whose last owner has died.

    def _on_committed(self, event: Committed) -> None:
        self._let_in(self._quarantine.committed(event.marks))

    def _watch(self) -> None:
        self._let_in(self._quarantine.let_out_due(now=self._now))
        for partition, waited in self._quarantine.release(self._offsets.low_watermark, now=self._now).items():
            self._offsets.forgive(partition)
            self._let_in(waited)
        named = self._quarantine.name_next(self._offsets.low_watermark, now=self._now)
        if named:
            self._offsets.touch(named)
            self._commit()
        if not self._quarantine:
            self._alike.clear()

    def _let_in(self, records: Iterable[RecordId]) -> None:
        """Who has waited in quarantine takes its way, and those with it who want the same as it and have waited, too."""
        for record in records:
            work = self._work[record]
            if work.has_begun or work.errand is not None:
                continue  # with one before it
            self._admit(work)
            self._dispatch()  # whom a permit was given is called, before others join it
            for other in self._alike.pop(work.request.key, ()):
                is_here = self._work.get(other.record) is other and self._quarantine.is_waiting(other.record)
                if is_here and self._needs_no_call(other):
                    self._quarantine.passed(other.record)

    def _needs_no_call(self, work: Work) -> bool:
        """Whether it is served with another, or by the past: it cannot end the process, so it need not be named.

        Where the next stage takes nobody, or a few, it waits for its turn as one without a key does.
        """
        may_share = work.request.key is not None and not is_late(work.request, now=self._now)
        return may_share and self._ahead.allows_all(work.request, now=self._now) and self._share(work)

    # Answers in the log.

    def _on_answer_seen(self, event: AnswerSeen) -> None:
        kept = self._sharing.hear(event, now=self._now)
        if kept is not None:
            self._keep_answer(*kept)

    def _on_answer_deleted(self, event: AnswerDeleted) -> None:
        self._drop_answers(self._sharing.discard(event.name))

    # Who owns what, and how much waits in the log.

    def _on_assigned(self, event: Assigned) -> None:
        self._offsets.assign(event.positions, event.assignment)
        for partition, progress in event.positions.items():
            self._quarantine.assign(partition, progress, now=self._now)
        self._sharing.own(event.positions)
        self._share_permits(event.share)

    def _on_revoked(self, event: Revoked) -> None:
        self._offsets.revoke(event.partitions)
        self._quarantine.revoke(event.partitions)
        self._forget(work for work in self._work.values() if work.record.partition in event.partitions)
        self._stop_refreshing(event.partitions)
        self._drop_answers(self._sharing.lose(event.partitions))
        self._share_permits(event.share)

    def _on_drain_requested(self, _: DrainRequested) -> None:
        """What was not started stands uncommitted in the log: the next owner takes it sooner than we could."""
        self._is_draining = True
        self._quarantine.revoke(self._quarantine.partitions)
        self._forget(work for work in self._work.values() if not work.has_begun)
        self._stop_refreshing()

    def _on_backlog_seen(self, event: BacklogSeen) -> None:
        self._dispatcher.backlog_seen(event.request_class, event.records)
        self._oldest_age[event.request_class] = event.oldest_age_seconds
        if event.records:
            self._asked_at = self._now

    def _on_register_seen(self, event: RegisterSeen) -> None:
        endpoint = next((endpoint for endpoint in self._endpoints if endpoint.name == event.breaker), None)
        if endpoint is not None:  # registers of other stages, and of tiers that are gone, stand in the topic too
            endpoint.register_seen(event.process, event.register, age_seconds=event.age_seconds, now=self._now)

    def _on_registers_seen(self, event: RegistersSeen) -> None:
        for seen in event.registers:
            self._on_register_seen(seen)

    def _on_control_seen(self, event: ControlSeen) -> None:
        for endpoint in self._endpoints:
            if event.breaker in {endpoint.name, endpoint.tier_name}:
                endpoint.control_seen(event.control, now=self._now)
        self._ahead.control_seen(event.breaker, event.control)

    def _on_route_seen(self, event: RouteSeen) -> None:
        self._dispatcher.route_seen(event.route, now=self._now)

    def _on_latency_seen(self, event: LatencySeen) -> None:
        for endpoint in self._endpoints:
            if endpoint.name == event.endpoint:
                endpoint.latency_seen(event.profile)

    def _on_rollup_seen(self, event: RollUpSeen) -> None:
        self._ahead.heard(event.rollup, appended_at=event.appended_at, now=self._now)
        self._actions.extend(self._ahead.sync(now=self._now))  # it moves nobody who waits, but maybe a breaker

    def _sync(self) -> None:
        for endpoint in self._endpoints:
            register = endpoint.sync(asked_at=self._asked_at, now=self._now) if self._now >= endpoint.sync_at else None
            if register is not None:
                self._actions.append(AnnounceRegister(endpoint.name, register))
        self._actions.extend(self._ahead.sync(now=self._now))

    def _share_permits(self, part: float) -> None:
        for endpoint in self._endpoints:
            endpoint.permits.share(part)

    def _forget(self, works: Iterable[Work]) -> None:
        for work in list(works):
            errand = work.errand
            if errand is not None:
                self._sharing.leave(work)
                self._after_leaving(errand)
            self._drop(work)
            self._actions.append(Forget(work.record, keeps_body=self._sharing.needs_body(work.record)))

    def _after_leaving(self, errand: Errand) -> None:
        """Somebody has left it: it goes on for the rest, or is abandoned."""
        if errand.flight is None or errand.flight.is_abandoned:
            self._abandon(errand)
        else:
            self._put_in_place(errand)

    def _abandon(self, errand: Errand) -> None:
        """Nobody waits for it."""
        self._sharing.land(errand)
        self._dispatcher.discard(errand)
        if errand.call_id is not None:
            self._calls.drop(errand.call_id)
            self._actions.append(CancelCall(errand.call_id))
        self._close(errand)

    def _stop_refreshing(self, partitions: Container[Partition] | None = None) -> None:
        """Let go of what nobody waits for: of these partitions, or all."""
        for errand in self._calls.refreshing():
            is_lost = partitions is None or errand.body_of.partition in partitions
            if is_lost and self._sharing.stop_refreshing(errand):
                self._abandon(errand)

    # Who runs next.

    def _dispatch(self) -> None:
        is_settled = False
        while not is_settled:
            is_settled = True
            for decided in self._dispatcher.dispatch(now=self._now):
                if isinstance(decided, Start):
                    self._start(decided)
                else:
                    is_settled = self._give_up(decided.errand) and is_settled

    def _give_up(self, errand: Errand) -> bool:
        """No model can serve an errand in time; those aboard who alone could be served go on. True if there are none."""
        works = self._sharing.aboard(errand)
        hopeless = [work for work in works if not self._dispatcher.has_hope(work.request, errand.next_tier)]
        if len(works) == 1:
            hopeless = works
        elif not hopeless:  # one has the deadline, another the floor
            self._dispatcher.put_back(self._sharing.part(works[:1], errand, now=self._now), now=self._now)
        for work in hopeless:
            self._actions.append(self._endings.unserved(work, errand, now=self._now))
            self._sharing.leave(work)
        if len(hopeless) < len(works):
            self._sharing.place(errand)
            self._dispatcher.put_back(errand, now=self._now)
            return False
        self._close(errand)
        return True

    def _part(self) -> None:
        for call, errand in self._calls.parting(now=self._now):
            works = self._sharing.aboard(errand)
            early = [work for work in works if self._calls.cannot_wait(call, work.request)]
            self._calls.is_last(call)
            if early:
                own = self._sharing.part(early, errand, now=self._now)
                own.failed(Reason.ENDPOINT_TIMEOUT)
                own.call_seconds += self._now - call.ticket.started_at
                own.next_tier, own.ready_at = own.untried_after(call.tier), self._now
                self._dispatcher.queue_urgent(own)
                self._after_leaving(errand)

    def _start(self, start: Start) -> None:
        errand, call_id = start.errand, start.ticket.call_id
        errand.call_id = call_id
        errand.executions += 1
        errand.move(Standing.CALLING)
        window_ends_at = self._now + start.window_seconds
        self._calls.start(CallUnderWay(errand, start.tier, start.ticket, start.windows, window_ends_at))
        endpoint = start.ticket.endpoint
        if errand.flight is not None:
            speed, now = endpoint.latency.speed(now=self._now), self._now
            level = errand.work.request.level_on_arrival(endpoint.settings.level)
            outlook = Outlook(level, now, now + speed.q50, now + speed.q95, window_ends_at)
            self._sharing.take_off(errand, outlook)
            self._calls.look_at(errand)
        self._actions.append(
            StartCall(
                call_id=call_id,
                record=errand.body_of,
                tier=endpoint.settings.name,
                window_ends_at=window_ends_at,
                deadline_at=errand.last_deadline_at,
                execution=errand.executions,
                assignment=errand.body_assignment,
                region=endpoint.region,
            )
        )
