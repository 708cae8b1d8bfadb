"""Several stages without Kafka: what one answers goes on as the next one's request, with what is left of its time.

Each stage is a pool of one worker, as in :mod:`failsoft.simulation.pool`; a hop takes its time, and every worker hears once a
second what those of later stages tell of themselves. Each stage runs the machine of production. An end without an answer, in
whichever stage, is the request's; an answer of the last stage is, too, at the lowest level of all that had a part in it.

The other rule that is measured here is the usual one elsewhere: a *fixed* share of the budget for each stage, whether it needs it
or not. What a stage does not use of its share is lost, and one that needs more is cut.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from failsoft.policy.actions import AnnounceRegister, Commit, Publish
from failsoft.policy.deadline import Stamp
from failsoft.policy.events import Arrived, Assigned, Published, RegisterSeen, RollUpSeen
from failsoft.policy.outcome import Ending, Outcome
from failsoft.policy.profile import Profile
from failsoft.policy.progress import Progress
from failsoft.policy.request import Partition, RecordId
from failsoft.policy.rollup import Kind, Place, RollUp
from failsoft.policy.settings import LaterStage, StageSettings
from failsoft.simulation.endpoints import ModelEndpoint
from failsoft.simulation.engine import Engine
from failsoft.simulation.pool import GRACE_SECONDS, REQUEST_BYTES
from failsoft.simulation.report import Tally
from failsoft.simulation.shell import Shell
from failsoft.simulation.workload import Ask

ROLLUP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Link:
    """One stage of a chain: its settings, and what its tiers call."""

    settings: StageSettings
    models: Mapping[str, ModelEndpoint]


class _Worker:
    """The worker of one stage."""

    def __init__(self, chain: "Chain", place: int, link: Link) -> None:
        self._chain = chain
        self._place = place
        self._asks: dict[RecordId, tuple[Ask, int]] = {}
        self._offsets: dict[Partition, int] = defaultdict(int)
        self._ends: Counter[Kind] = Counter()
        self.stage = link.settings.name
        self.shell = Shell(
            chain.engine, link.settings, link.models, owner=self, watches=(chain.tally,), name=self.stage
        )
        positions = {Partition(known.name, 0): Progress(0) for known in link.settings.classes}
        self.shell.feed(Assigned(positions, 1, 1.0))
        self.shell.machine.take_latency()

    def take(self, ask: Ask, budget_seconds: float, level: int) -> None:
        """A request arrives, with this much of its time left; the stages before served it at this level or a better one."""
        partition = Partition(ask.request_class, 0)
        record = RecordId(*partition, self._offsets[partition])
        self._offsets[partition] += 1
        self._asks[record] = ask, level
        now = self._chain.engine.now
        stamp = Stamp(budget_seconds=budget_seconds, sent_at=now)
        self.shell.feed(Arrived(record, REQUEST_BYTES, stamp, now, now, tenant=str(ask.tenant)))

    def publish(self, action: Publish) -> None:
        """Hand it on, or take the result as acknowledged."""
        ask, level = self._asks.pop(action.record)
        ending = action.ending
        self._ends[Kind(ask.request_class, ending.level, ending.reason, ending.outcome)] += 1
        self._chain.ended(self._place, ask, ending, level)
        self._chain.engine.at(self._chain.engine.now, self.shell.feed, Published(action.record, action.assignment))

    def commit(self, action: Commit) -> None:
        """There is no log to tell."""

    def forget(self, record: RecordId) -> None:
        """Nothing is ever taken away here."""

    def announce(self, action: AnnounceRegister) -> None:
        """It hears itself."""
        seen = RegisterSeen(action.breaker, self.stage, action.register)
        self._chain.engine.at(self._chain.engine.now, self.shell.feed, seen)

    def rollup(self) -> RollUp:
        """What it has to tell."""
        ends, self._ends = self._ends, Counter()
        latency: dict[Place, Profile] = {
            Place(self.stage, tier, ""): profile for tier, profile in self.shell.machine.take_latency().items()
        }
        return RollUp(self.stage, ends, latency)


class Chain:
    """Stages one behind another.

    Args:
        engine: virtual time.
        links: the stages, in the order of the flow.
        hop_seconds: from one stage to the next.
        has_fixed_shares: each stage gets an equal part of the budget, and nothing is reserved.
    """

    def __init__(
        self, engine: Engine, links: Sequence[Link], *, hop_seconds: float = 0.02, has_fixed_shares: bool = False
    ) -> None:
        self.engine = engine
        self.tally = Tally()
        self._hop_seconds = hop_seconds
        self._has_fixed_shares = has_fixed_shares
        self._workers = [
            _Worker(self, place, link if has_fixed_shares else replace(link, settings=_with_later(links, place)))
            for place, link in enumerate(links)
        ]

    def run(self, asks: Iterable[Ask]) -> Tally:
        """Run all these requests to their ends and return what they came to."""
        expected = list(asks)
        for ask in expected:
            self.engine.at(ask.at, self._begin, ask)
        until = max((ask.deadline_at for ask in expected), default=0.0) + GRACE_SECONDS
        while len(self.tally.ended) < len(expected) and self.engine.now < until:
            self.engine.run(until=self.engine.now + ROLLUP_SECONDS)
            if not self._has_fixed_shares:
                self._tell()
        return self.tally

    def ended(self, place: int, ask: Ask, ending: Ending, level: int) -> None:
        """A stage has decided how a request ends there."""
        lowest = max(level, ending.level or level)
        is_last = place + 1 == len(self._workers) or ending.stage is not None
        if ending.outcome is not Outcome.OK or is_last:
            whole = replace(ending, level=None if ending.level is None else lowest)
            self.tally.result(ask, whole, self.engine.now)
        else:
            left = self._share(ask) if self._has_fixed_shares else ending.slack_seconds - self._hop_seconds
            self.engine.after(self._hop_seconds, self._workers[place + 1].take, ask, left, lowest)

    def _begin(self, ask: Ask) -> None:
        self.tally.asked(ask)
        self._workers[0].take(ask, self._share(ask) if self._has_fixed_shares else ask.budget_seconds, 1)

    def _share(self, ask: Ask) -> float:
        return ask.budget_seconds / len(self._workers) - self._hop_seconds

    def _tell(self) -> None:
        """Every stage tells those before it, and itself."""
        for place, worker in enumerate(self._workers, 1):
            said = RollUpSeen(worker.rollup(), self.engine.now)
            for before in self._workers[:place]:
                before.shell.feed(said)


def _with_later(links: Sequence[Link], place: int) -> StageSettings:
    """The settings of one stage, with those that come after it."""
    later = tuple(
        LaterStage(
            link.settings.name,
            link.settings.tiers[0].expected_seconds,
            next((tier for tier in link.settings.tiers if not tier.is_model and not tier.is_cached), None),
        )
        for link in links[place + 1 :]
    )
    return replace(links[place].settings, later=later)
