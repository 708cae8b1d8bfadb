"""A whole world from a plan and a seed: producers, a cluster, worker hosts, models, faults; run until nothing is left to do.

A *plan* says what there is; the *seed* decides what is left to chance: arrivals, service times, where it matters the order of
what happens at one instant. The same plan and seed give the same run to the last digit.

When the last arrival and the last fault are over, the world gets the longest budget and a minute more to settle: every
request its visible result, every offset committed. What is left then is lost, and is reported as such.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from failsoft.policy.actions import Publish, StartCall
from failsoft.policy.events import Event, Verdict
from failsoft.policy.settings import StageSettings
from failsoft.simulation.cluster import Cluster
from failsoft.simulation.endpoints import Cancellation, ModelEndpoint
from failsoft.simulation.engine import Engine
from failsoft.simulation.faults import Fault
from failsoft.simulation.host import Host
from failsoft.simulation.invariants import Invariants
from failsoft.simulation.latency_law import LatencyLaw
from failsoft.simulation.report import Tally
from failsoft.simulation.shell import CallUnderWay, Shell
from failsoft.simulation.workload import UNIQUE, Ask, ClassLoad, Contents, Phase, poisson

if TYPE_CHECKING:
    from random import Random

SETTLING_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """A model endpoint to be."""

    law: LatencyLaw
    slots: int
    queue_max: int = 64
    cancellation: Cancellation = Cancellation.FREES


@dataclass(frozen=True, slots=True)
class Plan:
    """What there is in a world.

    Attributes:
        settings: the stage, as production has it.
        models: tier -> the model behind it; of a tier that stands in several regions, ``<tier>@<region>``.
        phases: how much is asked, and when.
        mix: of classes, where a phase does not say.
        contents: what is asked.
        hosts: how many worker hosts.
        partitions: of each class's topic.
        faults: what goes wrong.
        skews_seconds: host -> its wall clock minus the true time.
        producer_skew_seconds: the producers' wall clock minus the true time.
        link_seconds: a round trip to the broker.
        session_seconds: the group's session timeout.
        arrivals: instants that were recorded, instead of phases.
    """

    settings: StageSettings
    models: Mapping[str, ModelPlan]
    phases: Sequence[Phase]
    mix: Sequence[ClassLoad]
    contents: Contents = UNIQUE
    hosts: int = 3
    partitions: int = 24
    faults: Sequence[Fault] = ()
    skews_seconds: Mapping[int, float] = field(default_factory=dict)
    producer_skew_seconds: float = 0.0
    link_seconds: float = 0.01
    session_seconds: float = 6.0

    @property
    def ends_at(self) -> float:
        """When the last arrival and the last fault are over."""
        return max(
            *(phase.ends_at for phase in self.phases), *(fault.begins_at + fault.seconds for fault in self.faults), 0.0
        )


class Fleet:
    """The world of one plan and seed.

    Args:
        plan: what there is.
        dice: makes a ``random.Random`` from a word, so that each part of the world has dice of its own.
        shuffles: whether what happens at one instant happens in an order of its own, as real tasks would.
    """

    def __init__(self, plan: Plan, dice: "Callable[[str], Random]", *, shuffles: bool = False) -> None:
        self.plan = plan
        self.engine = Engine(ties=dice("ties") if shuffles else None)
        self.tally = Tally()
        self.invariants = Invariants(self.engine, plan.settings)
        self.asks: list[Ask] = poisson(plan.phases, plan.mix, dice("arrivals"), plan.contents)
        self.models = {
            tier: ModelEndpoint(
                self.engine,
                model.law,
                slots=model.slots,
                rng=dice(f"model {tier}"),
                queue_max=model.queue_max,
                cancellation=model.cancellation,
            )
            for tier, model in plan.models.items()
        }
        self.cluster = Cluster(
            self.engine,
            [known.name for known in plan.settings.classes],
            plan.partitions,
            tally=self.tally,
            audits=(self.invariants,),
            session_seconds=plan.session_seconds,
        )
        self._ambush = Ambush(self)
        self.hosts = [self._host(number) for number in range(plan.hosts)]

    def model(self, tier: str) -> ModelEndpoint:
        """The endpoint of a tier."""
        return self.models[tier]

    def kill_next_caller(self, tier: str, *, restart_after_seconds: float) -> None:
        """Kill whoever starts the next call of a tier, right after it has."""
        self._ambush.lies_in_wait[tier] = restart_after_seconds

    def run(self) -> None:
        """Run to the end, and look whether anything is left."""
        self.begin()
        self.engine.run(until=self.plan.ends_at)
        self.end()

    def begin(self) -> None:
        """Set the world up; whoever does so lets time pass."""
        for host in self.hosts:
            self.engine.at(0.0, host.start)
        for fault in self.plan.faults:
            self.engine.at(fault.begins_at, fault.begin, self)
            self.engine.at(fault.begins_at + fault.seconds, fault.end, self)
        for ask in self.asks:
            self.engine.at(ask.at, self.cluster.produce, ask, self.plan.producer_skew_seconds)

    def end(self) -> None:
        """Let the world settle, and look whether anything is left."""
        self._settle()
        self.invariants.check_settled(self.cluster)

    def _settle(self) -> None:
        longest = max(load.budget_seconds for load in self.plan.mix)
        until = self.engine.now + longest + SETTLING_SECONDS
        while self.engine.now < until and not self.cluster.is_settled:
            self.engine.run(until=math.floor(self.engine.now) + 1.0)

    def _host(self, number: int) -> Host:
        return Host(
            self.engine,
            self.cluster,
            self.plan.settings,
            self.models,
            name=f"worker-{number}",
            watches=(self.tally, self.invariants, self._ambush),
            skew_seconds=self.plan.skews_seconds.get(number, 0.0),
            link_seconds=self.plan.link_seconds,
        )


class Ambush:
    """Kills processes by what they do.

    Args:
        fleet: whose.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.lies_in_wait: dict[str, float] = {}
        """Tier -> after how many seconds the host of who calls it next starts another process."""
        self._fleet = fleet

    def call_started(self, shell: Shell, action: StartCall) -> None:
        """Kill the caller, if it was waited for."""
        pause = self.lies_in_wait.pop(action.tier, None)
        if pause is not None:
            shell.dies_in = 0
            host = next(host for host in self._fleet.hosts if host.process is not None and host.process.shell is shell)
            self._fleet.engine.after(pause, host.restart)

    def call_ended(self, shell: Shell, call: CallUnderWay, verdict: Verdict) -> None:
        """Only starts are waited for."""

    def decided(self, shell: Shell, action: Publish) -> None:
        """Only starts are waited for."""

    def handled(self, shell: Shell, event: Event) -> None:
        """Only starts are waited for."""
