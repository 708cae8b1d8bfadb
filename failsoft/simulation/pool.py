"""A stage without Kafka: arrivals go straight to the worker that owns their partition, results are acknowledged at once.

What is left is the policy against the models, so this is where rules are measured (research/policy-lab.md was) and large
sweeps are run. Where it matters how long records are on their way, a :class:`Way` says so. What else Kafka adds, backlog in the
log, rebalances, crashes, is in :mod:`failsoft.simulation.host`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from failsoft.policy.actions import AnnounceRegister, Commit, Publish
from failsoft.policy.deadline import Stamp
from failsoft.policy.events import Arrived, Assigned, Published, RegisterSeen
from failsoft.policy.progress import Progress
from failsoft.policy.request import Partition, RecordId
from failsoft.policy.settings import StageSettings
from failsoft.simulation.endpoints import ModelEndpoint
from failsoft.simulation.engine import Engine
from failsoft.simulation.latency_law import LatencyLaw
from failsoft.simulation.report import Tally
from failsoft.simulation.shell import Shell, Watch
from failsoft.simulation.workload import Ask

if TYPE_CHECKING:
    from random import Random

REQUEST_BYTES = 500
GRACE_SECONDS = 60.0
"""After the last deadline; what has no end by then never gets one."""


class Way:
    """How long records are on their way.

    Args:
        to_worker: a request, from its append to a worker's hands.
        to_log: a result, from its decision to its append.
        rng: the dice.
    """

    def __init__(self, to_worker: LatencyLaw, to_log: LatencyLaw, rng: "Random") -> None:
        self._to_worker = to_worker
        self._to_log = to_log
        self._rng = rng

    def seconds_to_worker(self) -> float:
        """Draw for one request."""
        return self._to_worker.seconds(self._rng, 1, slow=1.0, widen=1.0)

    def seconds_to_log(self) -> float:
        """Draw for one result."""
        return self._to_log.seconds(self._rng, 1, slow=1.0, widen=1.0)


class Worker:
    """One worker: a shell whose records come by a call and whose results are acknowledged at once.

    Args:
        engine: virtual time.
        settings: of the stage.
        models: tier -> endpoint.
        name: unlike any other's.
        tally: what ends are counted in.
        watches: who looks on, beside the tally.
        pool: all workers; each hears every word on a breaker at once.
        way: how long records are on their way; None: no time.
    """

    def __init__(
        self,
        engine: Engine,
        settings: StageSettings,
        models: Mapping[str, ModelEndpoint],
        *,
        name: str,
        tally: Tally,
        watches: Sequence[Watch],
        pool: Sequence["Worker"],
        way: Way | None = None,
    ) -> None:
        self.shell = Shell(engine, settings, models, owner=self, watches=(tally, *watches), name=name)
        self._engine = engine
        self._tally = tally
        self._pool = pool
        self._way = way
        self._asks: dict[RecordId, Ask] = {}
        self._offsets: dict[Partition, int] = defaultdict(int)

    def own(self, settings: StageSettings, numbers: Iterable[int], partitions: int) -> None:
        """Own these partition numbers of every class, for good."""
        owned = list(numbers)
        positions = {Partition(known.name, number): Progress(0) for known in settings.classes for number in owned}
        self.shell.feed(Assigned(positions, 1, len(owned) / partitions))

    def take(self, ask: Ask, number: int) -> None:
        """A request is appended to this partition."""
        self._tally.asked(ask)
        if self._way is None:
            self._receive(ask, number)
        else:
            self._engine.after(self._way.seconds_to_worker(), self._receive, ask, number)

    def _receive(self, ask: Ask, number: int) -> None:
        partition = Partition(ask.request_class, number)
        record = RecordId(*partition, self._offsets[partition])
        self._offsets[partition] += 1
        self._asks[record] = ask
        stamp = Stamp(budget_seconds=ask.budget_seconds, sent_at=ask.at)
        tenant = str(ask.tenant)
        self.shell.feed(Arrived(record, REQUEST_BYTES, stamp, ask.at, self._engine.now, key=ask.key, tenant=tenant))

    def publish(self, action: Publish) -> None:
        """Take the result as acknowledged when it is appended."""
        if self._way is None:
            self._append_result(action)
        else:
            self._engine.after(self._way.seconds_to_log(), self._append_result, action)

    def _append_result(self, action: Publish) -> None:
        self._tally.result(self._asks.pop(action.record), action.ending, self._engine.now)
        self._engine.at(self._engine.now, self.shell.feed, Published(action.record, action.assignment))

    def commit(self, action: Commit) -> None:
        """There is no log to tell."""

    def forget(self, record: RecordId) -> None:
        """Nothing is ever taken away here."""

    def announce(self, action: AnnounceRegister) -> None:
        """Tell all workers."""
        seen = RegisterSeen(action.breaker, self.shell.name, action.register)
        for worker in self._pool:
            self._engine.at(self._engine.now, worker.shell.feed, seen)


def run_pool(
    engine: Engine,
    settings: StageSettings,
    models: Mapping[str, ModelEndpoint],
    asks: Iterable[Ask],
    *,
    workers: int = 1,
    partitions: int | None = None,
    watches: Sequence[Watch] = (),
    way: Way | None = None,
) -> Tally:
    """Run all these requests to their ends and return what they came to.

    Args:
        engine: virtual time; faults may be scheduled on it before.
        settings: of the stage.
        models: tier -> endpoint, shared by all workers.
        asks: the arrivals.
        workers: how many workers share the partitions.
        partitions: of each class; as many as workers by default.
        watches: who looks on, beside the tally.
        way: how long records are on their way; None: no time.
    """
    numbers = partitions or workers
    tally = Tally()
    pool: list[Worker] = []
    for index in range(workers):
        name = f"worker-{index}"
        pool.append(Worker(engine, settings, models, name=name, tally=tally, watches=watches, pool=pool, way=way))
        pool[index].own(settings, range(index, numbers, workers), numbers)
    expected = list(asks)
    for ask in expected:
        number = ask.partition(numbers)
        engine.at(ask.at, pool[number % workers].take, ask, number)
    until = max((ask.deadline_at for ask in expected), default=0.0) + GRACE_SECONDS
    while len(tally.ended) < len(expected) and engine.now < until:
        engine.run(until=engine.now + 1.0)
    return tally
