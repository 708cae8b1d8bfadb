"""Whatever happens while routes move: every call goes where the route leads at that instant, and everybody ends once."""

from collections import Counter
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from failsoft.policy.actions import Action, CancelCall, Publish, StartCall
from failsoft.policy.deadline import Stamp
from failsoft.policy.events import Arrived, Assigned, CallFinished, Event, Published, RouteSeen, Tick, Verdict
from failsoft.policy.progress import Progress
from failsoft.policy.request import Partition, RecordId
from failsoft.policy.retry_budget import EXECUTIONS_MAX
from failsoft.policy.routing import Route, Routes
from failsoft.policy.stage import StageMachine
from tests.policy.driver import APOLOGY, EPOCH, LARGE, SMALL, stage

REGIONS = {"answer/large": ("eu", "us"), "answer/small": ("eu", "us", "asia")}
TIERS = (
    replace(LARGE, limit=2, regions=REGIONS["answer/large"]),
    replace(SMALL, limit=1, regions=REGIONS["answer/small"]),
    APOLOGY,
)
CLASSES = ("interactive", "standard", "batch")
PATIENCE_SECONDS = 4_000.0
"""Longer than any deadline."""


class Worker(RuleBasedStateMachine):
    """One worker of a stage whose two models stand in several regions each."""

    def __init__(self) -> None:
        super().__init__()
        settings = stage(*TIERS)
        self.machine = StageMachine(settings)
        self.routes = Routes(REGIONS)
        self.now = 1_000.0
        self.epoch = 0
        self.keys: dict[RecordId, str | None] = {}
        self.calls: dict[int, StartCall] = {}
        self.in_flight: Counter[tuple[str, str | None]] = Counter()
        self.ended: Counter[RecordId] = Counter()
        self.offsets: Counter[str] = Counter()
        self.pending: list[Publish] = []
        self.send(Assigned({Partition(name, 0): Progress(0) for name in CLASSES}, 1, 1.0))

    def send(self, event: Event) -> None:
        for action in self.machine.handle(event, now=self.now):
            self.check(action)

    def check(self, action: Action) -> None:
        match action:
            case StartCall():
                identity = self.keys[action.record] or "-".join(map(str, action.record))
                assert action.region == self.routes.region(f"answer/{action.tier}", identity=identity)
                assert action.execution <= EXECUTIONS_MAX + len(REGIONS) - 1
                place = action.tier, action.region
                assert self.in_flight[place] < self.machine.permits_of(*place)
                self.in_flight[place] += 1
                self.calls[action.call_id] = action
            case Publish():
                self.ended[action.record] += 1
                self.pending.append(action)
            case CancelCall():
                pass  # it is reported all the same

    @invariant()
    def nobody_ends_twice(self) -> None:
        assert not self.ended or max(self.ended.values()) == 1

    @rule(
        name=st.sampled_from(CLASSES), key=st.one_of(st.none(), st.integers(0, 30).map(str)), budget=st.floats(0.1, 60)
    )
    def arrive(self, name: str, key: str | None, budget: float) -> None:
        record = RecordId(name, 0, self.offsets[name])
        self.offsets[name] += 1
        self.keys[record] = key
        sent_at = EPOCH + self.now
        stamp = Stamp(budget_seconds=budget, sent_at=sent_at)
        self.send(Arrived(record, 100, stamp, appended_at=sent_at, received_at=sent_at, key=key))

    @rule(
        endpoint=st.sampled_from(sorted(REGIONS)),
        share=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
        is_new=st.booleans(),
        data=st.data(),
    )
    def move(self, endpoint: str, share: float, is_new: bool, data: st.DataObject) -> None:
        self.epoch += is_new
        origin, target = data.draw(st.permutations(REGIONS[endpoint]))[:2]
        route = Route(endpoint, origin, target, share, self.epoch)
        self.routes.heard(route)
        self.send(RouteSeen(route))

    @precondition(lambda self: self.calls)
    @rule(choice=st.integers(0, 100), verdict=st.sampled_from(Verdict), seconds=st.floats(0, 0.5))
    def finish(self, choice: int, verdict: Verdict, seconds: float) -> None:
        call = self.calls[sorted(self.calls)[choice % len(self.calls)]]
        self.let_pass(seconds)
        if call.call_id in self.calls:
            self.end(call, verdict)

    @rule(seconds=st.floats(0, 20))
    def let_pass(self, seconds: float) -> None:
        """Calls are cut at their windows; the machine is woken when it wants to be."""
        until = self.now + seconds
        while (at := self.next_at()) < until:
            self.now = max(self.now, at)
            due = [call for call in self.calls.values() if call.window_ends_at <= self.now]
            for call in due:
                self.end(call, Verdict.TIMEOUT)
            self.send(Tick())
        self.now = until

    def next_at(self) -> float:
        ends = min((call.window_ends_at for call in self.calls.values()), default=float("inf"))
        return min(ends, self.machine.next_wakeup() or float("inf"))

    def end(self, call: StartCall, verdict: Verdict) -> None:
        del self.calls[call.call_id]
        self.in_flight[call.tier, call.region] -= 1
        self.send(CallFinished(call.call_id, verdict))

    def teardown(self) -> None:
        """All that came ends, and every permit comes back."""
        self.let_pass(PATIENCE_SECONDS)
        for publish in self.pending:
            self.send(Published(publish.record, publish.assignment))
        assert self.ended.keys() == self.keys.keys()
        assert all(in_flight == 0 for in_flight, _ in self.machine.permits.values())


TestRegions = Worker.TestCase
