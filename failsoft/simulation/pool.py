"""A stage without Kafka: arrivals go straight to the worker that owns their partition, results are acknowledged at once.

What is left is the policy against the models, so this is where rules are measured (research/policy-lab.md was) and large
sweeps are run. What Kafka adds, delays, backlog in the log, rebalances, crashes, is in :mod:`failsoft.simulation.host`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from failsoft.policy.actions import Commit, Publish
from failsoft.policy.deadline import Stamp
from failsoft.policy.events import Arrived, Assigned, Published
from failsoft.policy.request import Partition, RecordId
from failsoft.policy.settings import StageSettings
from failsoft.simulation.endpoints import ModelEndpoint
from failsoft.simulation.engine import Engine
from failsoft.simulation.report import Tally
from failsoft.simulation.shell import Shell, Watch
from failsoft.simulation.workload import Ask

REQUEST_BYTES = 500


class Worker:
    """One worker: a shell whose records come by a call and whose results are acknowledged at once."""

    def __init__(
        self,
        engine: Engine,
        settings: StageSettings,
        models: Mapping[str, ModelEndpoint],
        *,
        tally: Tally,
        watches: Sequence[Watch],
    ) -> None:
        self.shell = Shell(engine, settings, models, owner=self, watches=(tally, *watches))
        self._engine = engine
        self._tally = tally
        self._asks: dict[RecordId, Ask] = {}
        self._offsets: dict[Partition, int] = defaultdict(int)

    def own(self, settings: StageSettings, numbers: Iterable[int], partitions: int) -> None:
        """Own these partition numbers of every class, for good."""
        owned = list(numbers)
        positions = {Partition(known.name, number): 0 for known in settings.classes for number in owned}
        self.shell.feed(Assigned(positions, 1, len(owned) / partitions))

    def take(self, ask: Ask, number: int) -> None:
        """A request arrives in this partition."""
        partition = Partition(ask.request_class, number)
        record = RecordId(*partition, self._offsets[partition])
        self._offsets[partition] += 1
        self._asks[record] = ask
        self._tally.asked(ask)
        now = self._engine.now
        stamp = Stamp(budget_seconds=ask.budget_seconds, sent_at=now)
        self.shell.feed(Arrived(record, REQUEST_BYTES, stamp, appended_at=now, received_at=now))

    def publish(self, action: Publish) -> None:
        """Take the result as acknowledged."""
        self._tally.result(self._asks.pop(action.record), action.ending, self._engine.now)
        self._engine.at(self._engine.now, self.shell.feed, Published(action.record, action.assignment))

    def commit(self, action: Commit) -> None:
        """There is no log to tell."""

    def forget(self, record: RecordId) -> None:
        """Nothing is ever taken away here."""


def run_pool(
    engine: Engine,
    settings: StageSettings,
    models: Mapping[str, ModelEndpoint],
    asks: Iterable[Ask],
    *,
    workers: int = 1,
    partitions: int | None = None,
    watches: Sequence[Watch] = (),
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
    """
    numbers = partitions or workers
    tally = Tally()
    pool = [Worker(engine, settings, models, tally=tally, watches=watches) for _ in range(workers)]
    for index, worker in enumerate(pool):
        worker.own(settings, range(index, numbers, workers), numbers)
    for ask in asks:
        number = ask.partition(numbers)
        engine.at(ask.at, pool[number % workers].take, ask, number)
    engine.run()
    return tally
