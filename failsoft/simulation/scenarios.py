"""Named worlds with what must come out of them: each scenario is a plan, and expectations that a run is held against.

All of them run the reference stage: a full model of 16 slots and .2 s, a small one of 32 slots and .04 s, a canned answer; a
fifth interactive (2 s), half standard (10 s), the rest batch (60 s). Loads are multiples of the full model's capacity.
Whatever happens, no invariant may break; that is not repeated in the expectations.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from failsoft.policy.errors import ConfigurationError
from failsoft.policy.settings import ClassSettings, StageSettings, TierSettings
from failsoft.simulation.endpoints import Cancellation, Condition
from failsoft.simulation.expectations import Expectation, calls_each, full, in_time, lives, starts, tail, value, waste
from failsoft.simulation.faults import BadWay, BrokerDown, Crash, CutOff, Drain, Fault, KillCaller, ModelFault, flapping
from failsoft.simulation.fleet import ModelPlan, Plan
from failsoft.simulation.latency_law import Lognormal
from failsoft.simulation.workload import ClassLoad, Phase

INTERACTIVE, STANDARD, BATCH = "interactive", "standard", "batch"
FULL, SMALL, CANNED = "full", "small", "canned"
FULL_LAW, SMALL_LAW = Lognormal(0.2), Lognormal(0.04)
FULL_SLOTS, SMALL_SLOTS = 16, 32
CAPACITY = FULL_SLOTS / FULL_LAW.mean_seconds
"""Requests a second that the full model serves."""

SETTINGS = StageSettings(
    "answer",
    (TierSettings(FULL, 1, FULL_SLOTS, 0.2), TierSettings(SMALL, 2, SMALL_SLOTS, 0.04), TierSettings(CANNED, 3, None)),
    (
        ClassSettings(INTERACTIVE, 8, 2, 60, 0.1),
        ClassSettings(STANDARD, 3, 10, 900, 0.5),
        ClassSettings(BATCH, 1, 60, 3600, 0.95),
    ),
)
MODELS = {FULL: ModelPlan(FULL_LAW, FULL_SLOTS), SMALL: ModelPlan(SMALL_LAW, SMALL_SLOTS)}
MIX = (ClassLoad(INTERACTIVE, 0.2, 2.0), ClassLoad(STANDARD, 0.5, 10.0), ClassLoad(BATCH, 0.3, 60.0))


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named world."""

    name: str
    says: str
    plan: Plan
    expects: Sequence[Expectation]


def named(name: str) -> Scenario:
    """Find a scenario.

    Raises:
        ConfigurationError: there is none of that name.
    """
    for scenario in SCENARIOS:
        if scenario.name == name:
            return scenario
    raise ConfigurationError(f"scenario {name}: there is none; `failsoft simulate --list` shows them all")


def _phases(*loads: tuple[float, float, float]) -> tuple[Phase, ...]:
    return tuple(Phase(load * CAPACITY, begins_at, ends_at) for load, begins_at, ends_at in loads)


def _plan(*faults: Fault, load: float = 0.7, seconds: float = 40.0) -> Plan:
    return Plan(SETTINGS, MODELS, _phases((load, 0, seconds)), MIX, faults=faults)


HANG, DOWN = Condition(hangs=True), Condition(error_share=1.0)
FLOOD_SECONDS = 30.0

SCENARIOS: tuple[Scenario, ...] = (
    Scenario("steady", "seven tenths of the capacity, nothing wrong", _plan(), (in_time(), full(at_least=0.99))),
    Scenario(
        "overload-1.2",
        "a fifth more than the full model can serve",
        _plan(load=1.2),
        (in_time(), full(at_least=0.97), full(INTERACTIVE, at_least=0.97)),
    ),
    Scenario(
        "overload-3",
        "three times what the full model can serve",
        _plan(load=3),
        (in_time(), value(0.88), full(INTERACTIVE, at_least=0.9), full(BATCH, at_least=0.97), waste(0.02)),
    ),
    Scenario(
        "overload-10",
        "ten times what the full model can serve, for a while",
        replace(_plan(), phases=_phases((10, 0, 10), (0.5, 10, 40))),
        (in_time(at_least=0.999), value(0.80), waste(0.02), full(INTERACTIVE, at_least=0.9, since=15)),
    ),
    Scenario(
        "slow",
        "the full model takes five times as long for 20 s",
        _plan(ModelFault(10, 20, FULL, Condition(slow=5.0)), seconds=60),
        (in_time(), full(at_least=0.97, since=40), waste(0.15)),
    ),
    Scenario(
        "widening",
        "the full model's 99th percentile triples while its median stays",
        _plan(ModelFault(15, 20, FULL, Condition(widen=3.0)), load=0.8, seconds=50),
        (in_time(), full(at_least=0.97), waste(0.05)),
    ),
    Scenario(
        "spike",
        "four times the capacity for 5 s, half of it before and after",
        replace(_plan(), phases=_phases((0.5, 0, 10), (4, 10, 15), (0.5, 15, 60))),
        (in_time(), full(BATCH, at_least=0.97), full(INTERACTIVE, at_least=0.97, since=17)),
    ),
    Scenario(
        "outage",
        "the full model fails every call for 20 s",
        _plan(ModelFault(15, 20, FULL, DOWN), seconds=75),
        (in_time(), full(at_least=0.97, since=55), tail(INTERACTIVE, 1.0, since=15, until=35)),
    ),
    Scenario(
        "hang",
        "the full model answers nothing for 20 s, and then does again",
        _plan(ModelFault(15, 20, FULL, HANG), seconds=65),
        (
            in_time(),
            tail(INTERACTIVE, 1.5, since=15, until=35),
            starts(FULL, 15, 17, at_most=40),
            starts(FULL, 17, 35, at_most=100),
            full(INTERACTIVE, at_least=0.95, since=39),
        ),
    ),
    Scenario(
        "flapping",
        "the full model hangs for 5 s of every 15",
        _plan(*flapping(FULL, HANG, begins_at=10, ends_at=70, ill_seconds=5, well_seconds=10), seconds=75),
        (in_time(), value(0.93)),
    ),
    Scenario(
        "storm-429",
        "nine tenths of the calls to the full model are told to come later, for 20 s",
        _plan(ModelFault(15, 20, FULL, Condition(busy_share=0.9)), seconds=75),
        (in_time(), full(at_least=0.97, since=55), tail(INTERACTIVE, 1.0, since=15, until=35)),
    ),
    Scenario(
        "burning",
        "the full model slows down threefold and goes on with calls that were cut",
        replace(
            _plan(ModelFault(10, 20, FULL, Condition(slow=3.0)), seconds=60),
            models={**MODELS, FULL: replace(MODELS[FULL], cancellation=Cancellation.BURNS)},
        ),
        (in_time(), full(at_least=0.95, since=40)),
    ),
    Scenario(
        "batch-flood",
        "a flood of batch, ten times the capacity, under a light load of the rest",
        replace(
            _plan(),
            phases=(
                Phase(
                    0.3 * CAPACITY,
                    0,
                    FLOOD_SECONDS + 10,
                    (ClassLoad(INTERACTIVE, 0.5, 2), ClassLoad(STANDARD, 0.5, 10)),
                ),
                Phase(10 * CAPACITY, 5, 10, (ClassLoad(BATCH, 1, 60),)),
            ),
        ),
        (
            in_time(INTERACTIVE),
            in_time(STANDARD),
            full(INTERACTIVE, at_least=0.97),
            tail(INTERACTIVE, 0.8),
            in_time(BATCH, at_least=0.99),
        ),
    ),
    Scenario(
        "interactive-flood",
        "twice the capacity of interactive beside a quarter of standard and of batch",
        replace(
            _plan(),
            phases=_phases((2.5, 0, FLOOD_SECONDS)),
            mix=(ClassLoad(INTERACTIVE, 0.8, 2), ClassLoad(STANDARD, 0.1, 10), ClassLoad(BATCH, 0.1, 60)),
        ),
        (in_time(), full(STANDARD, at_least=0.9), full(BATCH, at_least=0.9)),
    ),
    Scenario(
        "cold-start",
        "the first second brings three times the capacity, and nobody has measured anything yet; the authors' word is wrong",
        replace(
            _plan(),
            settings=replace(
                SETTINGS,
                tiers=(
                    replace(SETTINGS.tiers[0], expected_seconds=1.0),
                    replace(SETTINGS.tiers[1], expected_seconds=0.2),
                    SETTINGS.tiers[2],
                ),
            ),
            phases=_phases((3, 0, 1), (0.7, 1, 40)),
        ),
        (in_time(at_least=0.999), full(at_least=0.95, since=10)),
    ),
    Scenario(
        "bad-node",
        "one host of ten cannot reach any model",
        replace(_plan(BadWay(10, 20, 3, DOWN), seconds=60), hosts=10, partitions=40),
        (in_time(), full(at_least=0.85, since=10, until=30), full(at_least=0.97, since=45)),
    ),
    Scenario(
        "worker-killed",
        "one of three workers is killed in the middle of its work, and comes back after 10 s",
        _plan(Crash(15, 10, 0, in_steps=7), seconds=50),
        (lives(4), in_time(BATCH), in_time(STANDARD, at_least=0.99), in_time(INTERACTIVE, since=25)),
    ),
    Scenario(
        "all-killed",
        "all workers are killed at once, and come back after 5 s",
        _plan(*(Crash(15, 5, host) for host in range(3)), seconds=50),
        (lives(6), in_time(BATCH), in_time(INTERACTIVE, since=30)),
    ),
    Scenario(
        "rolling-restart",
        "each worker in turn is stopped in an orderly way and started again",
        _plan(*(Drain(10 + 8 * host, 3, host) for host in range(3)), seconds=50),
        (lives(6), in_time(at_least=0.999), full(at_least=0.97)),
    ),
    Scenario(
        "cut-off",
        "one worker does not reach the broker for 20 s; it goes on with what it has, and nobody may see it twice",
        _plan(CutOff(15, 20, 1), seconds=60),
        (in_time(BATCH), in_time(STANDARD, at_least=0.97), in_time(INTERACTIVE, since=40)),
    ),
    Scenario(
        "broker-restart",
        "the broker is away for 4 s",
        _plan(BrokerDown(15, 4), seconds=50),
        (in_time(BATCH), in_time(STANDARD), in_time(INTERACTIVE, since=25)),
    ),
    Scenario(
        "clock-behind",
        "the producers' clock is five minutes behind, two workers' clocks are wrong, and a backlog waits",
        replace(_plan(), phases=_phases((3, 0, 15)), producer_skew_seconds=-300, skews_seconds={0: -300, 1: 300}),
        (in_time(), value(0.88)),
    ),
    Scenario(
        "clock-ahead",
        "the producers' clock is five minutes ahead, two workers' clocks are wrong, and a backlog waits",
        replace(_plan(), phases=_phases((3, 0, 15)), producer_skew_seconds=300, skews_seconds={0: 300, 1: -300}),
        (in_time(), value(0.88)),
    ),
    Scenario(
        "retry-storm",
        "three tenths of the calls to the full model fail for 20 s, at nine tenths of the capacity",
        _plan(ModelFault(10, 20, FULL, Condition(error_share=0.3)), load=0.9, seconds=60),
        (in_time(), calls_each(FULL, 1.15, since=10, until=30), full(at_least=0.95, since=50)),
    ),
    Scenario(
        "prober-killed",
        "the full model fails for 20 s, and twice whoever tries it is killed",
        _plan(ModelFault(15, 20, FULL, DOWN), KillCaller(18, 5, FULL), KillCaller(28, 5, FULL), seconds=90),
        (lives(5), in_time(BATCH), full(at_least=0.97, since=70)),
    ),
    Scenario(
        "stale-breaker",
        "all workers die while the full model fails, and come back when it is well",
        _plan(ModelFault(15, 15, FULL, DOWN), *(Crash(25, 10, host) for host in range(3)), seconds=90),
        (lives(6), in_time(BATCH), in_time(INTERACTIVE, since=50), full(at_least=0.97, since=70)),
    ),
    Scenario(
        "infeasible-target",
        "the author asks for a latency that the full model does not have even when idle",
        replace(
            _plan(load=0.5),
            settings=replace(SETTINGS, tiers=(replace(SETTINGS.tiers[0], target_seconds=0.05), *SETTINGS.tiers[1:])),
        ),
        (in_time(), full(at_least=0.95)),
    ),
    Scenario(
        "metastable",
        "ten times the capacity for 5 s at a model that goes on with what was cut; the load after it is bearable again",
        replace(
            _plan(),
            phases=_phases((0.8, 0, 10), (10, 10, 15), (0.8, 15, 80)),
            models={**MODELS, FULL: replace(MODELS[FULL], cancellation=Cancellation.BURNS)},
        ),
        (in_time(at_least=0.999), full(INTERACTIVE, at_least=0.97, since=20), waste(0.05)),
    ),
)
