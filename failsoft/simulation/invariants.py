"""What must hold in every world, checked at every step: the promises, as a machine can check them.

=====================  ================================================================================================
rule                   says
=====================  ================================================================================================
phantom                no result for a request that was never accepted
visible_twice          of the results of a request the first is visible, and no other
lost                   every accepted request has a visible result in the end
commit_ahead           an offset is committed only when all records below it have a result in the log
commit_regression      a committed offset never goes back
call_after_deadline    no call starts after the deadline, as far as the broker's clock can tell
window_too_long        a call's window leaves the publish margin before the deadline (of equal requests, the latest)
too_many_calls         a record is called at most three times, and once more for each lower tier, while a process owns it, unless
                       it shares its execution with others
too_many_retries       the calls of a tier beyond the first of each record stay within the budget that its settings grant
over_permits           a worker has no more calls in flight than it has permits when it starts one
not_settled            when all faults are over, all offsets get committed
=====================  ================================================================================================

What a worker must not leave lying is in :mod:`failsoft.simulation.neglect`, and broken under the names there.

The rules look at the world and at the actions, not into the machine: what a machine believes cannot excuse it.
"""

import math
from collections import Counter, defaultdict
from dataclasses import dataclass

from failsoft.policy.actions import Publish, StartCall
from failsoft.policy.deadline import GRACE_SECONDS
from failsoft.policy.events import Arrived, Event, Revoked, Verdict
from failsoft.policy.outcome import Ending
from failsoft.policy.request import ClassName, Partition, RecordId
from failsoft.policy.settings import StageSettings
from failsoft.simulation.cluster import Cluster, Sent
from failsoft.simulation.engine import Engine
from failsoft.simulation.neglect import Neglect
from failsoft.simulation.shell import CallUnderWay, Shell
from failsoft.simulation.workload import Ask

EXECUTIONS_MAX = 3
CLOCK_SECONDS = 0.05
"""How far a worker's idea of the broker's clock may be off: half a round trip, and some."""
ROUNDING_SECONDS = 1e-6


@dataclass(frozen=True, slots=True)
class Broken:
    """One breach of a rule."""

    rule: str
    at: float
    detail: str

    def __str__(self) -> str:
        return f"{self.rule} at {self.at:.3f} s: {self.detail}"


@dataclass(slots=True)
class _Account:
    """Calls of one tier for one class at one worker."""

    begun_at: float
    first: int = 0
    further: int = 0


class Invariants:
    """Looks on at a whole cluster; what is broken is kept, and changes nothing.

    Args:
        engine: virtual time.
        settings: of the stage.
    """

    def __init__(self, engine: Engine, settings: StageSettings) -> None:
        self.broken: list[Broken] = []
        self._engine = engine
        self._settings = settings
        self._margin = settings.publish_margin_seconds
        self._calls_max = EXECUTIONS_MAX + sum(tier.is_model for tier in settings.tiers) - 1
        self._sent: dict[RecordId, tuple[float, Sent]] = {}
        self._latest_at: dict[str | int, float] = defaultdict(float)
        """The latest deadline of all that may share an execution."""
        self._accepted: set[int] = set()
        self._with_result: set[int] = set()
        self._calls: dict[str, Counter[RecordId]] = defaultdict(Counter)
        self._tried: dict[str, set[tuple[RecordId, str]]] = defaultdict(set)
        self._accounts: dict[tuple[str, str, ClassName], _Account] = {}
        self._retries = settings.retries
        self._neglect = Neglect(settings, self._break)

    # The cluster says.

    def accepted(self, partition: Partition, offset: int, sent: Sent) -> None:
        """A request stands in the log."""
        self._sent[RecordId(*partition, offset)] = (self._engine.now, sent)
        who = _who(sent.ask)
        self._latest_at[who] = max(self._latest_at[who], self._engine.now + sent.ask.budget_seconds)
        self._accepted.add(sent.ask.number)

    def result(self, ask: Ask, ending: Ending, *, is_visible: bool) -> None:
        """A result stands in the log."""
        if ask.number not in self._accepted:
            self._break("phantom", f"request {ask.number}, {ending.outcome}")
        if is_visible == (ask.number in self._with_result):
            self._break("visible_twice", f"request {ask.number} has two visible results, or none")
        self._with_result.add(ask.number)

    def committed(self, partition: Partition, before: int, after: int) -> None:
        """The group has committed."""
        if after < before:
            self._break("commit_regression", f"{partition} from {before} to {after}")
        for offset in range(before, after):
            _, sent = self._sent[RecordId(*partition, offset)]
            if sent.ask.number not in self._with_result:
                self._break("commit_ahead", f"{partition} at {after}, but offset {offset} has no result")

    # The shells say.

    def call_started(self, shell: Shell, action: StartCall) -> None:
        """A call begins."""
        ask = self._sent[action.record][1].ask
        latest_at = max(self._latest_at[_who(ask)], self._renewal_ends_at(ask))
        if self._engine.now > latest_at + GRACE_SECONDS + CLOCK_SECONDS:
            self._break("call_after_deadline", f"{action.record} of {shell.name}")
        if action.window_ends_at > latest_at - self._margin + CLOCK_SECONDS:
            self._break("window_too_long", f"{action.record} of {shell.name} at {action.tier}")
        self._calls[shell.name][action.record] += 1
        if ask.key is None:
            self._check_alone(shell, action)
        permits, in_flight = shell.machine.permits_of(action.tier), shell.in_flight_of(action.tier)
        if in_flight > permits:
            self._break("over_permits", f"{shell.name} at {action.tier}: {in_flight} of {permits}")
        self._neglect.call_started(shell, action.record, action.tier)

    def call_ended(self, shell: Shell, call: CallUnderWay, verdict: Verdict) -> None:
        """How its tier stands."""
        self._neglect.call_ended(shell, call.action.tier, verdict, self._engine.now - call.started_at)

    def decided(self, shell: Shell, action: Publish) -> None:
        """Whether it was neglected."""
        self._neglect.decided(shell, action.record, action.ending)

    def handled(self, shell: Shell, event: Event) -> None:
        """Work that was lost with its partition is over; if the record comes back, it is counted anew."""
        match event:
            case Arrived(record=record) if record in self._sent:
                is_called = record in self._calls[shell.name] or self._is_done(record)
                self._neglect.arrived(shell, record, *self._sent[record], is_called=is_called)
            case Revoked():
                calls = self._calls[shell.name]
                for record in [record for record in calls if record.partition in event.partitions]:
                    del calls[record]
                tried = self._tried[shell.name]
                tried -= {key for key in tried if key[0].partition in event.partitions}
        self._neglect.handled(shell, event)

    def _is_done(self, record: RecordId) -> bool:
        """Whether its result stands in the log: a worker that remembers it need not run it again."""
        return self._sent[record][1].ask.number in self._with_result

    # In the end.

    def check_settled(self, cluster: Cluster) -> None:
        """All faults are over and there was time: nothing may be left."""
        lost = sorted(self._accepted - self._with_result)
        if lost:
            self._break("lost", f"{len(lost)} requests, the first {lost[:5]}")
        for partition, log in cluster.logs.items():
            at = cluster.group.committed.get(partition, 0)
            if at != log.end:
                self._break("not_settled", f"{partition}: committed {at} of {log.end}")

    def _renewal_ends_at(self, ask: Ask) -> float:
        """A call that renews an answer is nobody's: it has the time of its class."""
        if ask.key is None or self._settings.answers is None:
            return -math.inf
        return self._engine.now + self._settings.by_class[ask.request_class].deadline_seconds

    def _check_alone(self, shell: Shell, action: StartCall) -> None:
        """What holds of a request that shares with no other: in what parts others share is not seen from here."""
        if action.window_ends_at > action.deadline_at - self._margin + ROUNDING_SECONDS:
            self._break("window_too_long", f"{action.record} of {shell.name} at {action.tier}")
        calls = self._calls[shell.name][action.record]
        if calls > self._calls_max:
            self._break("too_many_calls", f"{action.record} of {shell.name}: {calls}")
        self._account(shell.name, action.record, action.tier)

    def _account(self, process: str, record: RecordId, tier: str) -> None:
        account = self._accounts.setdefault((process, tier, record.request_class), _Account(self._engine.now))
        if (record, tier) not in self._tried[process]:
            self._tried[process].add((record, tier))
            account.first += 1
            return
        account.further += 1
        reserve = 1 + (self._engine.now - account.begun_at) / self._retries.reserve_seconds
        paid = self._retries.ratio * account.first + reserve
        if self._retries.enforce and account.further > paid + ROUNDING_SECONDS:
            self._break("too_many_retries", f"{process} at {tier}: {account.further}, {paid:.1f} are paid for")

    def _break(self, rule: str, detail: str) -> None:
        self.broken.append(Broken(rule, self._engine.now, detail))


def _who(ask: Ask) -> str | int:
    """Requests that may share an execution, or the one alone that may not."""
    return ask.number if ask.key is None else ask.key
