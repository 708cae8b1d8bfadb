import math
import random
from collections.abc import Callable
from typing import Any

import pytest

from failsoft.policy import concurrency
from failsoft.policy.breaker import Breaker
from failsoft.policy.breaker_board import BreakerBoard
from failsoft.policy.breaker_settings import BreakerSettings
from failsoft.policy.breaker_states import Trigger
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.register import Word
from failsoft.policy.scheduling import Credits
from failsoft.policy.stage import dispatcher
from failsoft.simulation.expectations import Expectation
from failsoft.simulation.fleet import Fleet
from failsoft.simulation.scenarios import SCENARIOS, Scenario, named

SEED = 1


def dice(part: str) -> random.Random:
    return random.Random(f"{SEED} {part}")


def missed_in(scenario: Scenario) -> tuple[Fleet, dict[str, float]]:
    fleet = Fleet(scenario.plan, dice)
    fleet.run()
    return fleet, {expected.says: expected.figure(fleet) for expected in scenario.expects if not expected.is_met(fleet)}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_scenario_shows_what_it_must_and_breaks_no_invariant(scenario):
    fleet, missed = missed_in(scenario)
    assert missed == {}
    assert list(map(str, fleet.invariants.broken)) == []


def _trips_for_all(breaker: Breaker, now: float, trip: Callable[..., None] = Breaker._trip) -> None:
    """The breaker as it would be if one worker's word were enough."""
    trip(breaker, now)
    breaker._open_fleet(Trigger.FLEET_OPENED, frozenset(), now)


def _waits_for_the_first(board: BreakerBoard, word: Word, _: float, __: float) -> float:
    """The board as it would be if only one could probe, alive or not: the first of all that were ever heard."""
    is_first = all(board._weight(board._process) > board._weight(other) for other in board._others)
    return board._opened_at + word.open_seconds if is_first else math.inf


MISTAKES: dict[str, tuple[str, Any, str, Any]] = {
    "nobody follows a prober that died": ("prober-killed", BreakerBoard, "_probe_at", _waits_for_the_first),
    "a descent is never undone": ("infeasible-target", concurrency, "WORTH", -math.inf),
    "nobody sees the last responsible moment": ("batch-crowd", dispatcher, "spare_seconds", lambda *_, **__: math.inf),
    "one worker's word opens a breaker for all": ("bad-node-at-start", Breaker, "_trip", _trips_for_all),
    "what a class had alone is held against it": (
        "flood-after-quiet",
        Credits,
        "_reached",
        property(lambda _: 0.0, lambda *_: None),
    ),
    "counts are not pooled": ("quiet-fleet", BreakerSettings, "causes_of_pool", lambda *_: frozenset()),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_scenario_notices_the_mistake_that_it_is_there_for(monkeypatch, mistake):
    name, place, attribute, wrong = MISTAKES[mistake]
    monkeypatch.setattr(place, attribute, wrong, raising=attribute != "_reached")
    assert missed_in(named(name))[1] != {}


def test_names_are_unique_and_an_unknown_one_says_where_to_look():
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)
    with pytest.raises(ConfigurationError, match="simulate --list"):
        named("no such thing")


@pytest.mark.parametrize(("figure", "is_met"), [(0.4, False), (0.5, True), (1.0, True), (1.1, False)])
def test_an_expectation_is_missed_on_either_side(figure, is_met):
    fleet = Fleet(named("steady").plan, dice)
    assert Expectation("a figure", lambda _: figure, at_least=0.5, at_most=1.0).is_met(fleet) is is_met
