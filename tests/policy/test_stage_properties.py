"""What holds after every event, whatever happens: random stages, requests, ends of calls, rebalances and stalls.

``Worker`` plays the shell and keeps books of its own: who arrived, who is being called, what is acknowledged, which offsets
may be committed. Of the machine it reads nothing but the latency figures, from which it works out the rule of
``failsoft.policy.tiers`` anew.
"""

import math
from collections import defaultdict
from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from failsoft.policy.actions import Action, CancelCall, Commit, Forget, Publish, StartCall
from failsoft.policy.breaker_settings import BreakerSettings
from failsoft.policy.deadline import Stamp
from failsoft.policy.events import (
    Arrived,
    Assigned,
    BacklogSeen,
    CallFinished,
    DrainRequested,
    Event,
    Published,
    RebalanceStarted,
    Revoked,
    SlotFreed,
    Tick,
    Verdict,
)
from failsoft.policy.outcome import Ending, Outcome
from failsoft.policy.progress import Progress
from failsoft.policy.request import Partition, RecordId
from failsoft.policy.settings import ClassSettings, StageSettings, TierSettings
from failsoft.policy.speed import Speed
from failsoft.policy.stage import StageMachine
from tests.policy.driver import EPOCH, MARGIN

ROUNDING = 1e-6
HIGHER_FLOOR_WAIT = 30.0
IDLE = 30.0
NUMBERS = (0, 1)

budgets = st.one_of(st.none(), st.floats(0.2, 2.0), st.floats(0.0, 10.0), st.floats(0.0, 700.0))
rarely = st.integers(0, 15).map(lambda number: number == 11)
"""Not at the ends, which Hypothesis tries far more often: a drained worker or one without partitions has little to decide."""


@st.composite
def stages(draw: st.DrawFn) -> StageSettings:
    """One to three models, best first, with or without an answer that is there at once; classes with any floor."""
    levels = [1, *sorted(draw(st.lists(st.sampled_from([1, 2, 3]), max_size=2)))]
    tiers = [
        TierSettings(
            f"model-{index}",
            level,
            limit=draw(st.integers(1, 4)),
            expected_seconds=draw(st.sampled_from([0.2, 0.04, 1.0, None])),
        )
        for index, level in enumerate(levels)
    ]
    if draw(st.booleans()):
        tiers.append(TierSettings("constant", 3, limit=None))
    floors = st.sampled_from([1, 2, 3, 3])
    classes = (
        ClassSettings("interactive", 8, 2, 10, patience=0.1, floor=draw(floors)),
        ClassSettings("standard", 3, 10, 60, patience=0.5, floor=draw(floors)),
        ClassSettings("batch", 1, 60, 600, patience=0.95, floor=draw(floors)),
    )
    return StageSettings("answer", tuple(tiers), classes, publish_margin_seconds=MARGIN, breakers=DARK)


@dataclass(eq=False)
class Seen:
    """One record under one assignment, as the books have it."""

    record: RecordId
    assignment: int
    deadline_at: float
    waits_until: float
    floor: int
    is_malformed: bool
    tiers: list[int] = field(default_factory=list)
    call_id: int | None = None
    ending: Ending | None = None
    is_acknowledged: bool = False
    is_void: bool = False
    may_retry: bool = False
    """Its last call failed for a reason that passes."""

    @property
    def is_waiting(self) -> bool:
        """For its first call."""
        return not (self.tiers or self.ending or self.is_void)


DARK = BreakerSettings(enforce=False)
"""Breakers have machines of their own; here they only look on, so that every other rule can be held to the letter."""


class Worker(RuleBasedStateMachine):
    """One worker, its shell and its broker."""

    @initialize(settings=stages())
    def begin(self, settings: StageSettings) -> None:
        self.settings = settings
        self.models = [tier for tier in settings.tiers if tier.is_model]
        self.index = {tier.name: index for index, tier in enumerate(self.models)}
        self.machine = StageMachine(settings)
        self.now = 1_000.0
        self.assignment = 0
        self.share = 0.0
        self.is_draining = False
        self.owned: dict[Partition, int] = {}
        self.end_of_log: dict[Partition, int] = defaultdict(int)
        self.committed: dict[Partition, int] = defaultdict(int)
        self.seen: dict[RecordId, Seen] = {}
        self.ever_seen: list[Seen] = []
        self.acknowledged: set[RecordId] = set()
        self.calls: dict[int, tuple[StartCall, Seen]] = {}
        self.overdue: list[tuple[int, int]] = []
        self.in_flight = [0] * len(self.models)
        self.tried_at = [-math.inf] * len(self.models)
        for number in NUMBERS:
            self.gain(number)

    # The books.

    def speeds(self) -> list[Speed]:
        return [endpoint.latency.speed(now=self.now) for endpoint in self.machine._endpoints]

    def allowed(self, floor: int) -> int:
        return sum(tier.level <= floor for tier in self.models)

    def permits(self, tier: int) -> int:
        """By its share, and less where the endpoint has said that it is busy."""
        most = max(1, round((self.models[tier].limit or 0) * self.share)) if self.share else 0
        count = self.machine.permits[self.models[tier].name][1]
        assert min(most, 1) <= count <= most
        return count

    def send(self, event: Event) -> None:
        """Have something happen; check every action, and what must hold after it."""
        for action in self.machine.handle(event, now=self.now):
            self.check(action)
        self.check_that_the_full_tier_is_not_idle()

    def check(self, action: Action) -> None:
        match action:
            case StartCall():
                self.check_start(action, self.seen[action.record])
            case Publish():
                self.check_end(action, self.seen[action.record])
            case CancelCall():
                assert self.calls[action.call_id][1].is_void
            case Forget():
                seen = self.seen.get(action.record)
                is_done = action.record in self.acknowledged and seen is not None and not seen.tiers
                assert seen is None or seen.is_void or is_done or (self.is_draining and seen.is_waiting)
                if seen is not None:
                    seen.is_void = True
            case Commit():
                for partition, (assignment, progress) in action.marks.items():
                    if progress.offset != self.committed[partition]:
                        self.check_commit(partition, assignment, progress.offset)

    def check_start(self, call: StartCall, seen: Seen) -> None:
        tier, speeds, remaining = self.index[call.tier], self.speeds(), seen.waits_until - self.now
        window = call.window_ends_at - self.now
        allowed = self.allowed(seen.floor)
        assert not seen.is_malformed
        assert not seen.is_void
        assert seen.ending is None
        assert seen.call_id is None
        assert tier < allowed
        last = max(seen.tiers, default=-1)
        assert tier > last or (tier == last and seen.may_retry), (
            "no tier twice but for a retry, and none above one that failed"
        )
        assert seen.tiers.count(tier) < 3
        assert call.execution == len(seen.tiers) + 1
        assert math.isclose(call.deadline_at, seen.waits_until, abs_tol=ROUNDING)
        assert self.in_flight[tier] < self.permits(tier)
        assert 0 < window <= max((2 if tier + 1 < allowed else 5) * speeds[tier].q99, 0.25) + ROUNDING
        assert self.now < seen.deadline_at
        is_probe = not self.in_flight[tier] and self.now >= self.tried_at[tier] + IDLE
        reserve = MARGIN + (speeds[tier + 1].q99 if tier + 1 < allowed else 0.0)
        if tier == 0:
            chance = speeds[0].q70 if allowed > 1 else speeds[0].q50
            assert is_probe or remaining >= reserve + chance - ROUNDING
            keeps_reserve = remaining > reserve + ROUNDING
        else:
            assert is_probe or remaining >= MARGIN + speeds[tier].q50 - ROUNDING
            keeps_reserve = remaining >= reserve + speeds[tier].q50 + ROUNDING
        assert window + (reserve if keeps_reserve else MARGIN) <= remaining + ROUNDING
        self.calls[call.call_id] = (call, seen)
        seen.tiers.append(tier)
        seen.call_id = call.call_id
        self.in_flight[tier] += 1
        self.tried_at[tier] = self.now

    def check_end(self, publish: Publish, seen: Seen) -> None:
        ending = publish.ending
        assert seen.ending is None, "every record ends once"
        assert publish.assignment == seen.assignment
        assert not seen.is_void
        assert seen.call_id is None
        assert ending.executions == len(seen.tiers) <= len(self.models) + 2
        assert ending.dead_letter == seen.is_malformed
        if ending.outcome is Outcome.OK:
            assert ending.level is not None
            assert ending.level <= seen.floor
            if publish.call_id is not None:
                assert ending.tier == self.models[seen.tiers[-1]].name
        elif ending.outcome in {Outcome.UNAVAILABLE, Outcome.FAILED}:
            assert not any(tier.level <= seen.floor for tier in self.settings.tiers if not tier.is_model)
        elif ending.outcome is Outcome.EXPIRED:
            assert self.now >= seen.deadline_at - ROUNDING
        seen.ending = ending

    def check_commit(self, partition: Partition, assignment: int, offset: int) -> None:
        assert self.owned[partition] == assignment
        assert self.committed[partition] < offset <= self.end_of_log[partition]
        mine = [seen for record, seen in self.seen.items() if record.partition == partition and not seen.is_void]
        assert all(seen.is_acknowledged for seen in mine if seen.record.offset < offset)
        self.committed[partition] = offset

    def check_that_the_full_tier_is_not_idle(self) -> None:
        has_free = self.in_flight[0] < self.permits(0)
        if not has_free or self.machine._endpoints[0].stall.allows_from(self.in_flight[0]) > self.now:
            return
        speeds = self.speeds()
        for seen in self.seen.values():
            allowed = self.allowed(seen.floor)
            if seen.is_waiting and allowed:
                reserve = MARGIN + (speeds[1].q99 if allowed > 1 else 0.0)
                assert seen.waits_until - self.now < reserve + speeds[0].q95 + ROUNDING

    # What happens.

    @rule(
        name=st.sampled_from(["interactive", "standard", "batch"]),
        number=st.sampled_from(NUMBERS),
        budget=budgets,
        age=st.one_of(st.just(0.0), st.floats(0, 0.5), st.floats(0, 20)),
        floor=st.sampled_from([None, None, None, 1, 2, 3]),
        gap=st.sampled_from([0, 0, 0, 1, 5]),
        is_malformed=rarely,
    )
    def arrive(
        self,
        *,
        name: str,
        number: int,
        budget: float | None,
        age: float,
        floor: int | None,
        gap: int,
        is_malformed: bool,
    ) -> None:
        partition = Partition(name, number)
        record = RecordId(name, number, self.end_of_log[partition] + gap)
        known = self.settings.by_class[name]
        sent_at = EPOCH + self.now - age
        granted = min(known.deadline_seconds if budget is None else budget, known.deadline_max_seconds)
        deadline_at = self.now + granted - age
        lowest = known.floor if floor is None else min(known.floor, floor)
        waits_until = min(deadline_at, self.now + HIGHER_FLOOR_WAIT) if lowest < known.floor else deadline_at
        if partition in self.owned and not self.is_draining:
            self.end_of_log[partition] = record.offset + 1
            seen = Seen(record, self.owned[partition], deadline_at, waits_until, lowest, is_malformed=is_malformed)
            self.seen[record] = seen
            self.ever_seen.append(seen)
        stamp = Stamp(budget_seconds=budget, sent_at=sent_at)
        self.send(
            Arrived(
                record,
                100,
                stamp,
                appended_at=sent_at,
                received_at=EPOCH + self.now,
                floor=floor,
                is_malformed=is_malformed,
            )
        )

    @rule(
        count=st.integers(2, 12),
        name=st.sampled_from(["interactive", "standard", "batch"]),
        number=st.sampled_from(NUMBERS),
        longest=budgets,
    )
    def flood(self, count: int, name: str, number: int, longest: float | None) -> None:
        """Many at once, each with less time than the one before."""
        for index in range(count):
            budget = None if longest is None else longest * (1 - index / (2 * count))
            self.arrive(name=name, number=number, budget=budget, age=0.0, floor=None, gap=0, is_malformed=False)

    @precondition(lambda self: self.calls)
    @rule(choice=st.integers(0, 1_000), verdict=st.sampled_from(Verdict), part=st.floats(0, 1), is_stuck=rarely)
    def finish(self, choice: int, verdict: Verdict, part: float, is_stuck: bool) -> None:
        call_id = sorted(self.calls)[choice % len(self.calls)]
        call, _ = self.calls[call_id]
        until = (
            call.window_ends_at if verdict is Verdict.TIMEOUT else self.now + part * (call.window_ends_at - self.now)
        )
        self.let_pass(max(0.0, until - self.now), but=call_id)
        self.end(call_id, verdict, is_over=not is_stuck)

    @precondition(lambda self: self.calls)
    @rule(turns=st.integers(1, 8), seconds=st.floats(0.01, 0.5))
    def answer(self, turns: int, seconds: float) -> None:
        """All is well for a while: one call after the other is answered."""
        for _ in range(turns):
            if self.calls:
                call_id = min(self.calls)
                self.let_pass(min(seconds, max(0.0, self.calls[call_id][0].window_ends_at - self.now)), but=call_id)
                self.end(call_id, Verdict.OK)

    def end(self, call_id: int, verdict: Verdict, *, is_over: bool = True) -> None:
        call, seen = self.calls.pop(call_id)
        seen.call_id = None
        seen.may_retry = verdict in {Verdict.TRANSIENT, Verdict.UNREACHABLE}
        if is_over:
            self.in_flight[self.index[call.tier]] -= 1
        else:
            self.overdue.append((call_id, self.index[call.tier]))
        self.send(CallFinished(call_id, verdict, is_over))
        if not seen.is_void:
            assert (seen.ending is not None) >= (verdict in {Verdict.OK, Verdict.REFUSED})

    @precondition(lambda self: self.overdue)
    @rule()
    def free_a_slot(self) -> None:
        call_id, tier = self.overdue.pop(0)
        self.in_flight[tier] -= 1
        self.send(SlotFreed(call_id))

    @rule(choice=st.integers(0, 1_000))
    def acknowledge(self, choice: int) -> None:
        """Also what belongs to an assignment that is over, and what was never ours."""
        ended = [seen for seen in self.ever_seen if seen.ending and not seen.is_acknowledged]
        if ended:
            self.acknowledge_end_of(ended[choice % len(ended)])
        else:
            self.send(Published(RecordId("batch", 0, choice), -1))

    def acknowledge_end_of(self, seen: Seen) -> None:
        seen.is_acknowledged = not seen.is_void
        self.acknowledged.add(seen.record)
        self.send(Published(seen.record, seen.assignment))

    @rule(seconds=st.floats(0, 0.3))
    def pass_time(self, seconds: float) -> None:
        self.let_pass(seconds)

    @rule(seconds=st.one_of(st.floats(0, 2), st.floats(0, 100)))
    def stall(self, seconds: float) -> None:
        """Nobody runs for so long: the process was stopped, or the machine was busy."""
        self.now += seconds
        for call_id in [call_id for call_id, (call, _) in self.calls.items() if call.window_ends_at <= self.now]:
            self.end(call_id, Verdict.TIMEOUT)
        self.send(Tick())

    def let_pass(self, seconds: float, *, but: int | None = None) -> None:
        """Wake the machine when it wants to be, up to ten times, and end calls at their windows; but not the one."""
        until, pause = self.now + seconds, seconds / 10
        while True:
            others = {i: call.window_ends_at for i, (call, _) in self.calls.items() if i != but}
            call_id = min(others, key=others.__getitem__, default=None)
            cut_at = math.inf if call_id is None else others[call_id]
            woken_at = self.machine.next_wakeup()
            at = min(cut_at, math.inf if woken_at is None else max(woken_at, self.now + pause))
            if at >= until:
                break
            self.now = max(self.now, at)
            if call_id is not None and at == cut_at:
                self.end(call_id, Verdict.TIMEOUT)
            else:
                self.send(Tick())
        self.now = until

    @precondition(lambda self: bool(self.owned))
    @rule(number=st.sampled_from(NUMBERS), is_time=rarely)
    def lose(self, number: int, is_time: bool) -> None:
        lost = frozenset(partition for partition in self.owned if partition.number == number)
        if not (lost and is_time):
            return
        for partition in lost:
            del self.owned[partition]
        self.share = len(self.owned) / (3 * len(NUMBERS))
        void = [seen for record, seen in self.seen.items() if record.partition in lost]
        for seen in void:
            seen.is_void = True
        self.send(Revoked(lost, self.share))

    @rule(number=st.sampled_from(NUMBERS))
    def gain(self, number: int) -> None:
        gained = [Partition(name, number) for name in self.settings.by_class]
        if gained[0] in self.owned:
            return
        self.assignment += 1
        for partition in gained:
            self.owned[partition] = self.assignment
            self.end_of_log[partition] = self.committed[partition]
        self.share = len(self.owned) / (3 * len(NUMBERS))
        self.send(
            Assigned(
                {partition: Progress(self.committed[partition]) for partition in gained}, self.assignment, self.share
            )
        )

    @rule(name=st.sampled_from(["interactive", "standard", "batch"]), records=st.integers(0, 5_000))
    def see_backlog(self, name: str, records: int) -> None:
        self.send(BacklogSeen(name, records, 1.0))

    @rule()
    def rebalance(self) -> None:
        self.send(RebalanceStarted())

    @rule(is_time=rarely)
    def drain(self, is_time: bool) -> None:
        if is_time:
            self.is_draining = True
            self.send(DrainRequested())

    def teardown(self) -> None:
        """Once all calls end and the last deadline passes, nothing waits, all has ended, and all of it can be committed."""
        if not hasattr(self, "machine"):
            return
        self.now = max([self.now, *(seen.deadline_at for seen in self.seen.values())]) + 1.0
        self.send(Tick())
        while self.calls or self.overdue:
            for call_id in list(self.calls):
                self.end(call_id, Verdict.BROKEN)
            while self.overdue:
                self.free_a_slot()
        assert not any(self.machine.waiting.values())
        mine = [seen for seen in self.seen.values() if not seen.is_void]
        assert all(seen.ending for seen in mine)
        for seen in mine:
            if not seen.is_acknowledged:
                self.acknowledge_end_of(seen)
        self.send(RebalanceStarted())
        if not self.is_draining:
            assert {p: self.committed[p] for p in self.owned} == {p: self.end_of_log[p] for p in self.owned}
            assert set(self.machine.room().values()) == {self.settings.records_max}
        assert self.machine.is_drained == self.is_draining
        assert self.machine.next_wakeup() is None
        assert all(in_flight == 0 for in_flight, _ in self.machine.permits.values())


TestWorker = Worker.TestCase
