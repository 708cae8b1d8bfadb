"""What holds where parts of contexts age, equal requests share calls and answers, and floors differ, whatever happens.

``Shell`` keeps the books of an outsider: what was found of each request's context when it came, until when each part is young
enough, and which floor it said. Requests are equal whose contents and whose lacks are, as the content key of a worker has it;
of what age their parts are is no part of it. Now and then the shell stands still: then answers come late, and before the time
is told. Who is called when, and who shares what, is held to the letter in the properties of the stage and of its sharing.
"""

from collections import defaultdict
from dataclasses import dataclass

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from failsoft.policy.actions import Action, CancelCall, Forget, Publish, StartCall
from failsoft.policy.answer import AnswerName
from failsoft.policy.answers import AnswersConfig
from failsoft.policy.context import Completeness, Found
from failsoft.policy.deadline import Stamp
from failsoft.policy.events import (
    AnswerSeen,
    Arrived,
    Assigned,
    CallFinished,
    Event,
    Published,
    Revoked,
    RollUpSeen,
    Tick,
    Verdict,
)
from failsoft.policy.outcome import Ending, Outcome, Reason
from failsoft.policy.progress import Progress
from failsoft.policy.request import Partition, RecordId
from failsoft.policy.rollup import Kind, RollUp
from failsoft.policy.settings import ClassSettings, LaterStage, StageSettings, TierSettings
from failsoft.policy.stage import StageMachine
from tests.policy.driver import EPOCH, MARGIN

ROUNDING = 1e-6
NUMBERS = (0, 1)
NAMES = ("interactive", "batch")
PARTS = ("documents", "question", "history")
REQUIRED = frozenset({"documents", "question"})

needs = st.frozensets(st.sampled_from(PARTS), max_size=2)
states = st.sampled_from([Found.PRESENT] * 8 + list(Found))
ages = st.sampled_from([None, None, -0.001, 0.04, 0.1, 0.3, 1.0, 4.0])
"""In how many seconds a part will be too old, on arrival."""
often = st.sampled_from([0.0, 0.01, 0.05, 0.1, 0.3, 1.0])


@st.composite
def stages(draw: st.DrawFn) -> StageSettings:
    """Models with few permits that need parts of the context; answers of the past; a next stage that may stop."""
    levels = [1, *sorted(draw(st.lists(st.sampled_from([1, 2, 3]), max_size=2)))]
    tiers = [
        TierSettings(f"model-{index}", level, draw(st.integers(1, 2)), draw(st.sampled_from([0.2, 0.04])), needs=draw(needs))
        for index, level in enumerate(levels)
    ]  # fmt: skip
    has_next = draw(st.integers(0, 3)) == 2
    answers: AnswersConfig | None = None
    if not has_next and draw(st.booleans()):
        answers = AnswersConfig(ttl_seconds=draw(st.sampled_from([0.1, 1.0])), jitter=0.0, revalidate_seconds=3.0)
    if answers is not None and draw(st.booleans()):
        tiers.append(TierSettings("cached", 3, limit=None, is_cached=True))
    if draw(st.booleans()):
        tiers.append(TierSettings("constant", 3, limit=None))
    at_once = draw(st.sampled_from([None, TierSettings("sorry", 1, limit=None), TierSettings("sorry", 3, limit=None)]))
    floors = st.sampled_from([1, 2, 3, 3])
    return StageSettings(
        "answer",
        tuple(tiers),
        (
            ClassSettings("interactive", 8, 1, 5, patience=0.1, floor=draw(floors)),
            ClassSettings("batch", 1, 5, 5, patience=0.95, floor=draw(floors)),
        ),
        publish_margin_seconds=MARGIN,
        answers=answers,
        later=(LaterStage("next", at_once=at_once),) if has_next else (),
        parts=PARTS,
    )


@dataclass(eq=False)
class Asked:
    """One request, as an outsider has it."""

    context: Completeness
    complete_until: float
    """Monotonic seconds."""
    floor: int
    deadline_at: float
    assignment: int
    ending: Ending | None = None
    is_void: bool = False

    def is_whole(self, now: float) -> bool:
        return self.context.is_complete and now <= self.complete_until


class Shell(RuleBasedStateMachine):
    """The shell of one worker."""

    @initialize(settings=stages())
    def begin(self, settings: StageSettings) -> None:
        self.settings = settings
        self.models = {tier.name: tier for tier in settings.tiers if tier.is_model}
        self.machine = StageMachine(settings)
        self.now = 1_000.0
        self.is_late = False
        """It has just stood still: what should have happened meanwhile has not."""
        self.assignment = 0
        self.owned: set[int] = set()
        self.offsets: dict[Partition, int] = defaultdict(int)
        self.asked: dict[RecordId, Asked] = {}
        self.calls: dict[int, StartCall] = {}
        self.unacknowledged: list[Publish] = []
        for number in NUMBERS:
            self.move(number)

    def send(self, event: Event) -> None:
        self.is_sound = False
        for action in self.machine.handle(event, now=self.now):
            self.check(action)
        self.is_sound = True

    def check(self, action: Action) -> None:
        match action:
            case StartCall():
                assert self.asked[action.record].context.allows(self.models[action.tier].needs)
                self.calls[action.call_id] = action
            case CancelCall():
                self.end(action.call_id, Verdict.TIMEOUT)
            case Publish():
                self.check_end(action.ending, self.asked[action.record])
                self.unacknowledged.append(action)
            case Forget():
                self.asked[action.record].is_void = True

    def check_end(self, ending: Ending, asked: Asked) -> None:
        assert asked.ending is None, "one end"
        assert not asked.is_void
        asked.ending = ending
        assert self.is_late or self.now <= asked.deadline_at + ROUNDING, "never after its deadline"
        if ending.outcome is Outcome.OK:
            assert ending.level is not None
            assert ending.level <= asked.floor, "never below its floor"
            assert ending.level > 1 or asked.is_whole(self.now), "level 1 is the whole context"
            assert ending.reason is not Reason.NONE or ending.level == 1
            model = self.models.get(ending.tier or "")
            assert model is None or asked.context.allows(model.needs)
        else:
            assert ending.level is None
            assert ending.reason is not Reason.NONE

    # What happens.

    @rule(
        name=st.sampled_from(NAMES),
        number=st.sampled_from(NUMBERS),
        content=st.sampled_from(["a", "a", "b", None]),
        found=st.fixed_dictionaries(dict.fromkeys(PARTS, states)),
        young=st.fixed_dictionaries(dict.fromkeys(PARTS, ages)),
        budget=st.sampled_from([None, 0.1, 0.3, 0.7, 2.0, 5.0]),
        floor=st.sampled_from([None, None, 1, 1, 2, 3]),
        max_stale=st.sampled_from([None, None, 0.0, 0.3]),
    )
    def ask(
        self,
        *,
        name: str,
        number: int,
        content: str | None,
        found: dict[str, Found],
        young: dict[str, float | None],
        budget: float | None,
        floor: int | None,
        max_stale: float | None,
    ) -> None:
        if number not in self.owned:
            return
        stale_from = {
            part: EPOCH + self.now + seconds
            for part, seconds in young.items()
            if seconds is not None and found[part] is Found.PRESENT
        }
        context = Completeness(found, REQUIRED, {}, stale_from)
        until = min((at for part, at in stale_from.items() if part in REQUIRED), default=float("inf"))
        known = self.settings.by_class[name]
        partition = Partition(name, number)
        record = RecordId(*partition, self.offsets[partition])
        self.offsets[partition] += 1
        self.asked[record] = Asked(
            context,
            complete_until=self.now + until - (EPOCH + self.now),
            floor=known.floor if floor is None else min(known.floor, floor),
            deadline_at=self.now + (known.deadline_seconds if budget is None else budget),
            assignment=self.assignment,
        )
        at = EPOCH + self.now
        self.send(
            Arrived(
                record, 100, Stamp(budget_seconds=budget, sent_at=at), at, at,
                floor=floor, key=None if content is None else f"{content} {context.lacking}",
                max_stale_seconds=max_stale, context=context,
            )
        )  # fmt: skip
        self.is_late = False

    @precondition(lambda self: self.calls)
    @rule(choice=st.integers(0, 100), verdict=st.sampled_from([Verdict.OK] * 6 + list(Verdict)), after=often)
    def finish(self, choice: int, verdict: Verdict, after: float) -> None:
        call_id = sorted(self.calls)[choice % len(self.calls)]
        self.let_pass(min(after, self.calls[call_id].window_ends_at - self.now), but=call_id)
        if call_id in self.calls:
            self.end(call_id, verdict)

    @precondition(lambda self: self.calls)
    @rule(choice=st.integers(0, 100), verdict=st.sampled_from([Verdict.OK, Verdict.OK, Verdict.BROKEN]), beyond=often)
    def stand_still_until_after_a_window(self, choice: int, verdict: Verdict, beyond: float) -> None:
        """The answer came meanwhile, and is heard of before the clock is looked at."""
        call_id = sorted(self.calls)[choice % len(self.calls)]
        self.now = max(self.now, self.calls[call_id].window_ends_at) + beyond
        self.is_late = True
        self.end(call_id, verdict)
        self.let_pass(0.0)
        self.is_late = False

    def end(self, call_id: int, verdict: Verdict) -> None:
        del self.calls[call_id]
        self.send(CallFinished(call_id, verdict))

    @rule(seconds=often)
    def let_pass(self, seconds: float, *, but: int | None = None) -> None:
        """The machine is woken when it wants to be, and calls are cut at their windows."""
        until = self.now + seconds
        while True:
            cuts = {call_id: call.window_ends_at for call_id, call in self.calls.items() if call_id != but}
            cut_at = min(cuts.values(), default=float("inf"))
            woken_at = self.machine.next_wakeup()
            at = min(cut_at, float("inf") if woken_at is None else woken_at)
            if at > until:
                break
            self.now = max(self.now, at)
            if cut_at <= at:
                self.end(min(cuts, key=cuts.__getitem__), Verdict.TIMEOUT)
            else:
                self.send(Tick())
        self.now = max(self.now, until)

    @rule(content=st.sampled_from("ab"), level=st.sampled_from([1, 1, 2]), number=st.sampled_from(NUMBERS), age=often)
    def hear(self, content: str, level: int, number: int, age: float) -> None:
        """Another worker has answered what has its whole context."""
        self.send(AnswerSeen(AnswerName(f"{content} ", level), number, "model-0", 100, age, 1.0))

    @precondition(lambda self: self.settings.later)
    @rule(outcome=st.sampled_from([Outcome.OK, Outcome.FAILED]), name=st.sampled_from(NAMES))
    def hear_of_the_next_stage(self, outcome: Outcome, name: str) -> None:
        self.send(RollUpSeen(RollUp("next", {Kind(name, None, Reason.NONE, outcome): 20}, {}), EPOCH + self.now))

    @rule()
    def acknowledge(self) -> None:
        while self.unacknowledged:
            publish = self.unacknowledged.pop()
            self.send(Published(publish.record, publish.assignment))

    @rule(number=st.sampled_from(NUMBERS), is_time=st.integers(0, 7).map(lambda drawn: drawn == 5))
    def rebalance(self, number: int, *, is_time: bool) -> None:
        if is_time:
            self.move(number)

    def move(self, number: int) -> None:
        """A partition goes, with all that waits there; or comes, and goes on behind what was seen of it."""
        partitions = frozenset(Partition(name, number) for name in NAMES)
        if number in self.owned:
            self.owned.discard(number)
            self.send(Revoked(partitions, len(self.owned) / len(NUMBERS)))
        else:
            self.owned.add(number)
            self.assignment += 1
            positions = {partition: Progress(self.offsets[partition]) for partition in partitions}
            self.send(Assigned(positions, self.assignment, len(self.owned) / len(NUMBERS)))

    def teardown(self) -> None:
        """Once the last deadline has passed, all has ended."""
        if not getattr(self, "is_sound", False):
            return
        self.let_pass(6.0)
        assert all(asked.ending is not None or asked.is_void for asked in self.asked.values())
        assert not self.calls


TestShell = Shell.TestCase
TestShell.settings = hypothesis_settings(
    stateful_step_count=40, max_examples=2 * (hypothesis_settings.default or hypothesis_settings()).max_examples
)
