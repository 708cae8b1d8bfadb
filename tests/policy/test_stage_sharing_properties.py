"""What holds where requests share executions and answers, whatever happens: random stages, equal requests, rebalances, drains.

``Shell`` keeps the books of an outsider. It knows what arrived and with which content, which bodies it would still have at
hand by what it was told, which calls run, which answers are stored; and it reads nothing of the machine before the end. What the
tier rule decides is held to the letter in ``test_stage_properties.py``, and is not repeated here.
"""

import math
from collections import defaultdict
from dataclasses import dataclass

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from failsoft.policy.actions import (
    Action,
    CancelCall,
    Commit,
    DropAnswers,
    Forget,
    Publish,
    Release,
    StartCall,
    StoreAnswer,
)
from failsoft.policy.answer import Answer, AnswerName
from failsoft.policy.answers import AnswersConfig
from failsoft.policy.breaker_settings import BreakerSettings
from failsoft.policy.coalescing import CoalescingConfig
from failsoft.policy.deadline import Stamp
from failsoft.policy.events import (
    AnswerDeleted,
    AnswerSeen,
    Arrived,
    Assigned,
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
from failsoft.policy.stage import StageMachine
from tests.policy.driver import EPOCH, MARGIN

ROUNDING = 1e-6
NUMBERS = (0, 1)
NAMES = ("interactive", "standard", "batch")

budgets = st.sampled_from([None, 0.06, 0.15, 0.3, 0.5, 0.7, 1.0, 2.0, 5.0])
rarely = st.integers(0, 15).map(lambda number: number == 11)
"""Not at the ends, which Hypothesis tries far more often: a drained worker or one without partitions has little to share."""


@st.composite
def stages(draw: st.DrawFn) -> StageSettings:
    """Models with few permits, so that there is always somebody who waits; answers that grow old within a run."""
    levels = [1, *sorted(draw(st.lists(st.sampled_from([1, 2, 3]), max_size=2)))]
    tiers = [
        TierSettings(f"model-{index}", level, draw(st.integers(1, 2)), draw(st.sampled_from([0.2, 0.04, None])))
        for index, level in enumerate(levels)
    ]
    answers = draw(
        st.none()
        | st.builds(
            AnswersConfig,
            ttl_seconds=st.just(0.1),
            jitter=st.just(0.0),
            revalidate_seconds=st.just(3.0),
        )
        | st.builds(
            AnswersConfig,
            ttl_seconds=st.sampled_from([0.1, 1.0]),
            jitter=st.just(0.0),
            revalidate_seconds=st.sampled_from([0.0, 0.5, 3.0]),
            error_seconds=st.sampled_from([0.0, 5.0]),
            bytes_max=st.sampled_from([750, 64 * 1024]),
        )
    )
    if answers is not None and draw(st.booleans()):
        tiers.append(TierSettings("cached", 3, limit=None, is_cached=True))
    if draw(st.booleans()):
        tiers.append(TierSettings("constant", 3, limit=None))
    coalescing = st.builds(
        CoalescingConfig,
        waiters_max=st.sampled_from([2, 10_000]),
        refused_seconds=st.sampled_from([0.0, 0.3]),
        enforce=st.sampled_from([True, True, True, False]),
    )
    floors = st.sampled_from([1, 2, 3, 3])
    classes = (
        ClassSettings("interactive", 8, 1, 5, patience=0.1, floor=draw(floors)),
        ClassSettings("standard", 3, 2, 5, patience=0.5, floor=draw(floors)),
        ClassSettings("batch", 1, 5, 5, patience=0.95, floor=draw(floors)),
    )
    return StageSettings(
        "answer",
        tuple(tiers),
        classes,
        publish_margin_seconds=MARGIN,
        breakers=BreakerSettings(enforce=draw(st.booleans())),
        coalescing=draw(coalescing),
        answers=answers,
    )


@dataclass(frozen=True)
class Written:
    """One record of the log; it says the same however often it is read."""

    key: str | None
    budget: float | None
    sent_at: float
    floor: int | None
    max_stale: float | None


@dataclass(eq=False)
class Seen:
    """One record under one assignment, as the books have it."""

    record: RecordId
    assignment: int
    written: Written
    floor: int
    deadline_at: float
    ends_by: float
    publish: Publish | None = None
    is_acknowledged: bool = False
    is_void: bool = False

    @property
    def waits(self) -> bool:
        return self.publish is None and not self.is_void


@dataclass(eq=False)
class Running:
    """One call."""

    start: StartCall
    key: str | None
    is_refresh: bool
    is_cancelled: bool = False


class Shell(RuleBasedStateMachine):
    """One worker, its shell and its broker."""

    @initialize(settings=stages())
    def begin(self, settings: StageSettings) -> None:
        self.settings = settings
        self.levels = {tier.name: tier.level for tier in settings.tiers}
        self.machine = StageMachine(settings)
        self.now = 1_000.0
        self.assignment = 0
        self.is_draining = False
        self.owned: dict[Partition, int] = {}
        self.logs: dict[Partition, list[Written]] = defaultdict(list)
        self.position: dict[Partition, int] = defaultdict(int)
        self.committed: dict[Partition, int] = defaultdict(int)
        self.seen: dict[RecordId, Seen] = {}
        self.ever_seen: list[Seen] = []
        self.bodies: set[RecordId] = set()
        self.calls: dict[int, Running] = {}
        self.ended: tuple[int, Running, Verdict] | None = None
        self.overdue: list[int] = []
        self.is_sound = True
        """False from the first check that has failed: what comes after it says nothing."""
        self.acknowledged: set[RecordId] = set()
        self.answers: dict[AnswerName, Answer] = {}
        self.heard: AnswerSeen | None = None
        self.refused_at: dict[str | None, float] = {}
        for number in NUMBERS:
            self.gain(number)

    # The books.

    def written(self, record: RecordId) -> Written:
        return self.logs[record.partition][record.offset]

    def send(self, event: Event) -> None:
        """Have something happen; check every action, and what must hold after it."""
        self.is_sound = False
        for action in self.machine.handle(event, now=self.now):
            self.check(action)
        for call in self.calls.values():
            assert call.is_cancelled or call.is_refresh or self.who_may_wait(call), "somebody waits for every call"
        for seen in self.seen.values():
            assert not seen.waits or self.now <= seen.ends_by + ROUNDING, "every record ends by its deadline"
        self.is_sound = True

    def who_may_wait(self, call: Running) -> list[Seen]:
        if call.key is None:
            return [seen for record, seen in self.seen.items() if record == call.start.record and seen.waits]
        return [seen for seen in self.seen.values() if seen.written.key == call.key and seen.waits]

    def check(self, action: Action) -> None:
        match action:
            case StartCall():
                self.check_start(action)
            case CancelCall():
                call = self.calls[action.call_id]
                assert not call.is_cancelled
                assert call.key is not None or not self.who_may_wait(call)
                call.is_cancelled = True
            case Publish():
                self.check_end(action, self.seen[action.record])
            case Forget():
                self.check_forgotten(action)
            case Release():
                self.bodies.remove(action.record)
            case StoreAnswer():
                self.check_stored(action)
            case DropAnswers():
                for name in action.answers:
                    del self.answers[name]
            case Commit():
                self.committed |= {partition: progress.offset for partition, (_, progress) in action.marks.items()}

    def check_start(self, start: StartCall) -> None:
        assert start.record in self.bodies, "the body that is called with must be there"
        seen = self.seen.get(start.record)
        is_refresh = (
            not self.is_draining and seen is not None and seen.publish is not None and seen.publish.ending.is_stale
        )
        call = Running(start, self.written(start.record).key, is_refresh)
        waiting = self.who_may_wait(call)
        assert waiting or is_refresh
        assert self.now < start.window_ends_at
        if waiting:
            assert self.levels[start.tier] <= max(seen.floor for seen in waiting)
            assert start.window_ends_at <= max(seen.deadline_at for seen in waiting) - MARGIN + ROUNDING
        self.calls[start.call_id] = call

    def check_end(self, publish: Publish, seen: Seen) -> None:
        ending = publish.ending
        assert seen.waits, "every record ends once"
        assert publish.assignment == seen.assignment
        assert publish.keeps_body <= (publish.record in self.bodies)
        if ending.outcome is Outcome.OK:
            assert ending.level is not None
            assert ending.level <= seen.floor, "never below the floor"
        if publish.call_id is not None:
            self.check_served(publish, seen.written.key)
        elif ending.outcome is Outcome.INVALID:
            said_for = self.settings.coalescing.refused_seconds
            assert self.now < self.refused_at[seen.written.key] + said_for, "a refusal stands for a moment only"
        if publish.answer is not None:
            self.check_past(publish.answer, ending, seen)
        assert publish.call_id is not None or publish.leader is None
        seen.publish = publish

    def check_served(self, publish: Publish, key: str | None) -> None:
        """A call ended just now, and it asked what this record asks."""
        assert self.ended is not None
        call_id, call, verdict = self.ended
        assert publish.call_id == call_id
        assert not call.is_cancelled
        assert (verdict, publish.ending.outcome) in {(Verdict.OK, Outcome.OK), (Verdict.REFUSED, Outcome.INVALID)}
        assert publish.ending.executions > 0
        if verdict is Verdict.OK:
            assert publish.ending.tier == call.start.tier
        own = publish.record == call.start.record
        assert publish.leader == (None if own else call.start.record)
        assert own or (key is not None and key == call.key), "an answer only to who asked the same"
        assert own or self.settings.coalescing.enforce

    def check_past(self, name: AnswerName, ending: Ending, seen: Seen) -> None:
        config = self.settings.answers
        assert config is not None
        answer = self.answers[name]
        age, ttl = self.now - answer.produced_at, min(answer.fresh_seconds, config.ttl_seconds)
        assert answer.number in {partition.number for partition in self.owned}, "what belongs to others is theirs"
        assert name.key == seen.written.key
        assert name.level <= seen.floor
        assert ending.age_seconds is not None
        assert math.isclose(ending.age_seconds, age, abs_tol=ROUNDING)
        assert ending.is_stale == (age >= ttl)
        is_last_resort = ending.tier == "cached"
        tolerated = config.error_seconds if is_last_resort else config.revalidate_seconds
        if seen.written.max_stale is not None:
            tolerated = min(tolerated, seen.written.max_stale)
        assert age < ttl + tolerated + ROUNDING, "no older than both tolerate"

    def check_stored(self, action: StoreAnswer) -> None:
        if action.call_id is None:
            assert self.heard is not None
            assert action.answer.name == self.heard.name
        else:
            assert self.ended is not None
            call_id, call, verdict = self.ended
            assert (action.call_id, verdict) == (call_id, Verdict.OK)
            assert not call.is_cancelled
            assert action.answer.name == AnswerName(call.key or "", self.levels[call.start.tier])
            assert action.answer.produced_at == self.now
        assert action.answer.number in {partition.number for partition in self.owned}
        self.answers[action.answer.name] = action.answer

    def check_forgotten(self, action: Forget) -> None:
        seen = self.seen.get(action.record)
        if seen is not None and not seen.is_void:
            assert self.is_draining or action.record in self.acknowledged, (
                "its result is in the log, or the next owner's care"
            )
            assert seen.publish is None
            seen.is_void = True
        assert action.keeps_body <= (action.record in self.bodies)
        if not action.keeps_body:
            self.bodies.discard(action.record)

    # Requests.

    @rule(
        name=st.sampled_from(NAMES),
        number=st.sampled_from(NUMBERS),
        key=st.sampled_from(["a", "a", "a", "b", None]),
        budget=budgets,
        floor=st.sampled_from([None, None, 1, 2, 3]),
        max_stale=st.sampled_from([None, None, 0.0, 0.2]),
        age=st.sampled_from([0.0, 0.0, 0.1, 1.02]),
    )
    def write(
        self,
        *,
        name: str,
        number: int,
        key: str | None,
        budget: float | None,
        floor: int | None,
        max_stale: float | None,
        age: float,
    ) -> None:
        """A producer appends a record, and whoever owns the partition reads up to it."""
        partition = Partition(name, number)
        self.logs[partition].append(Written(key, budget, self.now - age, floor, max_stale))
        self.read(partition)

    @rule(
        seconds=st.sampled_from([0.0, 0.05, 0.15, 0.25, 1.1]),
        number=st.sampled_from(NUMBERS),
        max_stale=st.sampled_from([None, None, 0.0, 0.03]),
        is_answered=st.booleans(),
    )
    def ask_again(self, seconds: float, number: int, max_stale: float | None, *, is_answered: bool) -> None:
        """What many have asked is asked once more, with all the time there is, while it is computed or when it is known."""
        if is_answered:
            self.answer(turns=2)
        self.let_pass(seconds)
        self.write(name="standard", number=number, key="a", budget=None, floor=None, max_stale=max_stale, age=0.0)

    def read(self, partition: Partition) -> None:
        while partition in self.owned and self.position[partition] < len(self.logs[partition]):
            record = RecordId(*partition, self.position[partition])
            self.position[partition] += 1
            self.arrive(record, self.written(record))

    def arrive(self, record: RecordId, written: Written) -> None:
        known = self.settings.by_class[record.request_class]
        budget = min(known.deadline_seconds if written.budget is None else written.budget, known.deadline_max_seconds)
        deadline_at = written.sent_at + budget
        floor = known.floor if written.floor is None else min(known.floor, written.floor)
        if not self.is_draining:
            ends_by = max(deadline_at, self.now)
            seen = Seen(record, self.owned[record.partition], written, floor, deadline_at, ends_by)
            self.seen[record] = seen
            self.ever_seen.append(seen)
        self.bodies.add(record)
        sent_at = EPOCH + written.sent_at
        self.send(
            Arrived(
                record,
                100,
                Stamp(budget_seconds=written.budget, sent_at=sent_at),
                appended_at=sent_at,
                received_at=EPOCH + self.now,
                floor=written.floor,
                key=written.key,
                max_stale_seconds=written.max_stale,
            )
        )

    @rule(choice=st.integers(0, 1_000))
    def acknowledge(self, choice: int) -> None:
        """Also what belongs to an assignment that is over."""
        published = [seen for seen in self.ever_seen if seen.publish and not seen.is_acknowledged]
        if published:
            self.acknowledge_end_of(published[choice % len(published)])

    def acknowledge_end_of(self, seen: Seen) -> None:
        assert seen.publish is not None
        seen.is_acknowledged = True
        self.acknowledged.add(seen.record)
        if self.seen[seen.record] is seen and not seen.is_void and not seen.publish.keeps_body:
            self.bodies.discard(seen.record)
        self.send(Published(seen.record, seen.assignment))

    # Calls.

    @precondition(lambda self: self.calls)
    @rule(choice=st.integers(0, 1_000), verdict=st.sampled_from(Verdict), part=st.floats(0, 1), is_stuck=rarely)
    def finish(self, choice: int, verdict: Verdict, part: float, is_stuck: bool) -> None:
        call_id = sorted(self.calls)[choice % len(self.calls)]
        window_ends_at = self.calls[call_id].start.window_ends_at
        if verdict is Verdict.TIMEOUT:
            part = 1.0
        self.let_pass(max(0.0, part * (window_ends_at - self.now)), but=call_id)
        self.end(call_id, verdict, is_over=not is_stuck)

    @rule(turns=st.integers(1, 4))
    def answer(self, turns: int) -> None:
        """All is well for a while: one call after the other is answered."""
        for _ in range(turns):
            if self.calls:
                self.end(min(self.calls), Verdict.OK)

    def end(self, call_id: int, verdict: Verdict, *, is_over: bool = True) -> None:
        call = self.calls.pop(call_id)
        if not is_over:
            self.overdue.append(call_id)
        self.ended = (call_id, call, verdict)
        if verdict is Verdict.REFUSED:
            self.refused_at[call.key] = self.now
        retry_after = 0.1 if verdict is Verdict.BACKPRESSURE else None
        self.send(CallFinished(call_id, verdict, is_over, retry_after, 100))
        self.ended = None

    @precondition(lambda self: self.overdue)
    @rule()
    def free_a_slot(self) -> None:
        self.send(SlotFreed(self.overdue.pop(0)))

    # The log of answers.

    @rule(
        key=st.sampled_from(["a", "a", "b"]),
        level=st.sampled_from([1, 1, 2, 3]),
        number=st.sampled_from(NUMBERS),
        age=st.sampled_from([0.0, 0.05, 0.3, 4.0]),
        fresh=st.sampled_from([0.05, 0.1, 1.0, 60.0]),
    )
    def hear(self, key: str, level: int, number: int, age: float, fresh: float) -> None:
        """An answer of another worker's; also in a partition that is not ours any more."""
        self.heard = AnswerSeen(AnswerName(key, level), number, "model-0", 100, age, fresh)
        self.send(self.heard)
        self.heard = None

    @rule(key=st.sampled_from("ab"), level=st.sampled_from([1, 2, 3]))
    def hear_of_a_deletion(self, key: str, level: int) -> None:
        self.send(AnswerDeleted(AnswerName(key, level)))
        assert AnswerName(key, level) not in self.answers

    # Time.

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.4, 1.5]))
    def pass_time(self, seconds: float) -> None:
        self.let_pass(seconds)

    def let_pass(self, seconds: float, *, but: int | None = None) -> None:
        """Wake the machine when it wants to be, and end calls at their windows; but not the one."""
        until = self.now + seconds
        while True:
            cuts = {call_id: call.start.window_ends_at for call_id, call in self.calls.items() if call_id != but}
            cut = min(cuts, key=cuts.__getitem__, default=None)
            cut_at = math.inf if cut is None else cuts[cut]
            woken_at = self.machine.next_wakeup()
            at = min(cut_at, math.inf if woken_at is None else woken_at)
            if at >= until:
                break
            self.now = max(self.now, at)
            if cut is not None and at == cut_at:
                self.end(cut, Verdict.TIMEOUT)
            else:
                self.send(Tick())
        self.now = until

    # Partitions.

    @rule(number=st.sampled_from(NUMBERS), what=st.sampled_from(["", "", "", "lose", "gain", "gain", "lose and gain"]))
    def rebalance(self, number: int, what: str) -> None:
        """What comes back at once was served or shared by then, and the others' executions go on."""
        if "lose" in what:
            self.lose(number)
        if "gain" in what:
            self.gain(number)

    def lose(self, number: int) -> None:
        lost = frozenset(partition for partition in self.owned if partition.number == number)
        if not lost:
            return
        for partition in lost:
            del self.owned[partition]
        for seen in self.seen.values():
            seen.is_void |= seen.record.partition in lost
        for call in self.calls.values():
            call.is_refresh &= call.start.record.partition not in lost
        self.send(Revoked(lost, len(self.owned) / (len(NAMES) * len(NUMBERS))))
        assert number not in {answer.number for answer in self.answers.values()}, "a partition takes its answers along"

    def gain(self, number: int) -> None:
        gained = [Partition(name, number) for name in NAMES]
        if gained[0] in self.owned:
            return
        self.assignment += 1
        for partition in gained:
            self.owned[partition] = self.assignment
            self.position[partition] = self.committed[partition]
        positions = {partition: Progress(self.committed[partition]) for partition in gained}
        self.send(Assigned(positions, self.assignment, len(self.owned) / (len(NAMES) * len(NUMBERS))))
        for partition in gained:
            self.read(partition)

    @rule(is_time=rarely)
    def drain(self, is_time: bool) -> None:
        if is_time:
            self.is_draining = True
            for call in self.calls.values():
                call.is_refresh = False
            self.send(DrainRequested())

    # The end.

    def teardown(self) -> None:
        """Once all calls end and the last deadline passes, all has ended, and nothing is kept for anybody."""
        if not getattr(self, "is_sound", False):
            return
        self.let_pass(6.0)
        while self.calls or self.overdue:
            for call_id in list(self.calls):
                self.end(call_id, Verdict.BROKEN)
            while self.overdue:
                self.free_a_slot()
        for seen in self.ever_seen:
            if seen.publish is not None and not seen.is_acknowledged:
                self.acknowledge_end_of(seen)
        assert all(seen.is_void or seen.is_acknowledged for seen in self.seen.values())
        assert not self.bodies
        self.send(RebalanceStarted())
        if not self.is_draining:
            assert {p: self.committed[p] for p in self.owned} == {p: len(self.logs[p]) for p in self.owned}
        self.check_that_nothing_is_kept()

    def check_that_nothing_is_kept(self) -> None:
        sharing = self.machine._sharing
        assert not self.machine._work
        assert {self.machine._room.left(name) for name in NAMES} == {self.settings.records_max}
        assert len(sharing.flights) == 0
        assert not sharing._errands
        assert not sharing._body_users
        assert not self.machine._calls._crowded
        assert len(self.machine._calls) == 0
        assert self.machine.is_drained == self.is_draining


TestShell = Shell.TestCase
TestShell.settings = hypothesis_settings(
    stateful_step_count=40, max_examples=2 * (hypothesis_settings.default or hypothesis_settings()).max_examples
)
