"""The reference stage that all scenarios run, and what makes a plan of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from failsoft.policy.settings import ClassSettings, StageSettings, TierSettings
from failsoft.simulation.endpoints import Cancellation
from failsoft.simulation.expectations import Expectation
from failsoft.simulation.faults import Fault
from failsoft.simulation.fleet import ModelPlan, Plan
from failsoft.simulation.latency_law import Lognormal
from failsoft.simulation.workload import ClassLoad, Phase

INTERACTIVE, STANDARD, BATCH = "interactive", "standard", "batch"
FULL, SMALL, CANNED = "full", "small", "canned"
FULL_LAW, SMALL_LAW = Lognormal(0.2), Lognormal(0.04)
FULL_SLOTS, SMALL_SLOTS = 16, 32
DOCUMENTS = "documents"
SCARCE_SLOTS = 2
"""Of a small model that is no way out of an overload: two thirds of the full one's rate."""
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


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named world."""

    name: str
    says: str
    plan: Plan
    expects: Sequence[Expectation]


def mixed(interactive: float, standard: float, batch: float) -> tuple[ClassLoad, ...]:
    """So much of each class, in parts of whatever sum; of what is nothing there is none."""
    parts = ((INTERACTIVE, interactive, 2.0), (STANDARD, standard, 10.0), (BATCH, batch, 60.0))
    return tuple(ClassLoad(name, share, seconds) for name, share, seconds in parts if share)


MIX = mixed(0.2, 0.5, 0.3)


def phases(*loads: tuple[float, float, float]) -> tuple[Phase, ...]:
    """So many times the full model's capacity, from and to these seconds."""
    return tuple(Phase(load * CAPACITY, begins_at, ends_at) for load, begins_at, ends_at in loads)


def reference(*faults: Fault, load: float = 0.7, seconds: float = 40.0) -> Plan:
    """The reference stage under an even load."""
    return Plan(SETTINGS, MODELS, phases((load, 0, seconds)), MIX, faults=faults)


def grounded(plan: Plan) -> Plan:
    """The same, but the full model cannot do without the documents that an earlier stage has found."""
    full, *others = plan.settings.tiers
    needing = replace(full, needs=frozenset({DOCUMENTS}))
    return replace(plan, settings=replace(plan.settings, tiers=(needing, *others), parts=(DOCUMENTS,)))


def alone(plan: Plan) -> Plan:
    """The same with the full model only, and nobody who would take less."""
    full, *_ = plan.settings.tiers
    strict = tuple(replace(known, floor=full.level) for known in plan.settings.classes)
    return replace(
        plan, settings=replace(plan.settings, tiers=(full,), classes=strict), models={FULL: plan.models[FULL]}
    )


def patient(plan: Plan) -> Plan:
    """The same where everybody has ten minutes."""
    classes = tuple(
        replace(known, deadline_seconds=600.0, deadline_max_seconds=3600.0) for known in plan.settings.classes
    )
    mix = tuple(replace(load, budget_seconds=600.0) for load in plan.mix)
    return replace(plan, settings=replace(plan.settings, classes=classes), mix=mix)


def burning(plan: Plan) -> Plan:
    """The same with a full model that goes on with what was cut."""
    return replace(plan, models={**plan.models, FULL: replace(plan.models[FULL], cancellation=Cancellation.BURNS)})


def scarce(plan: Plan) -> Plan:
    """The same with few slots of the small model."""
    full, small, canned = plan.settings.tiers
    return replace(
        plan,
        settings=replace(plan.settings, tiers=(full, replace(small, limit=SCARCE_SLOTS), canned)),
        models={**plan.models, SMALL: ModelPlan(SMALL_LAW, SCARCE_SLOTS)},
    )
