import random

import pytest

from failsoft.policy.errors import ConfigurationError
from failsoft.simulation.expectations import Expectation
from failsoft.simulation.fleet import Fleet
from failsoft.simulation.scenarios import SCENARIOS, named

SEED = 1


def dice(part):
    return random.Random(f"{SEED} {part}")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_scenario_shows_what_it_must_and_breaks_no_invariant(scenario):
    fleet = Fleet(scenario.plan, dice)
    fleet.run()
    missed = {expected.says: expected.figure(fleet) for expected in scenario.expects if not expected.is_met(fleet)}
    assert missed == {}
    assert list(map(str, fleet.invariants.broken)) == []


def test_names_are_unique_and_an_unknown_one_says_where_to_look():
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)
    with pytest.raises(ConfigurationError, match="simulate --list"):
        named("no such thing")


@pytest.mark.parametrize(("figure", "is_met"), [(0.4, False), (0.5, True), (1.0, True), (1.1, False)])
def test_an_expectation_is_missed_on_either_side(figure, is_met):
    fleet = Fleet(named("steady").plan, dice)
    assert Expectation("a figure", lambda _: figure, at_least=0.5, at_most=1.0).is_met(fleet) is is_met
