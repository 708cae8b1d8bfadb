"""Named worlds with what must come out of them: each scenario is a plan, and expectations that a run is held against.

All of them run the reference stage: a full model of 16 slots and .2 s, a small one of 32 slots and .04 s, a canned answer; a
fifth interactive (2 s), half standard (10 s), the rest batch (60 s). Loads are multiples of the full model's capacity.
Whatever happens, no invariant may break; that is not repeated in the expectations.
"""

from failsoft.policy.errors import ConfigurationError
from failsoft.simulation.scenarios.hosts import HOST_SCENARIOS
from failsoft.simulation.scenarios.illnesses import ILLNESS_SCENARIOS
from failsoft.simulation.scenarios.loads import LOAD_SCENARIOS
from failsoft.simulation.scenarios.reference import (
    BATCH,
    CAPACITY,
    FULL,
    FULL_LAW,
    FULL_SLOTS,
    INTERACTIVE,
    MIX,
    MODELS,
    SETTINGS,
    SMALL,
    SMALL_LAW,
    SMALL_SLOTS,
    STANDARD,
    Scenario,
)
from failsoft.simulation.scenarios.shared import SHARED_SCENARIOS

__all__ = [
    "BATCH",
    "CAPACITY",
    "FULL",
    "FULL_LAW",
    "FULL_SLOTS",
    "INTERACTIVE",
    "MIX",
    "MODELS",
    "SCENARIOS",
    "SETTINGS",
    "SMALL",
    "SMALL_LAW",
    "SMALL_SLOTS",
    "STANDARD",
    "Scenario",
    "named",
]

SCENARIOS: tuple[Scenario, ...] = (*LOAD_SCENARIOS, *ILLNESS_SCENARIOS, *HOST_SCENARIOS, *SHARED_SCENARIOS)


def named(name: str) -> Scenario:
    """Find a scenario.

    Raises:
        ConfigurationError: there is none of that name.
    """
    for scenario in SCENARIOS:
        if scenario.name == name:
            return scenario
    raise ConfigurationError(f"scenario {name}: there is none; `failsoft simulate --list` shows them all")
