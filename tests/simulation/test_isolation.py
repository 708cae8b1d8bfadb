"""A flood of one class stays where it is, Kafka's delays included."""

import random
from dataclasses import replace
from functools import cache

import pytest

from failsoft.simulation.fleet import Fleet
from failsoft.simulation.scenarios import BATCH, CAPACITY, FULL_LAW, INTERACTIVE, STANDARD
from failsoft.simulation.scenarios.reference import mixed, reference
from failsoft.simulation.workload import Phase

SHARES = {INTERACTIVE: mixed(1, 0, 0), STANDARD: mixed(0, 1, 0), BATCH: mixed(0, 0, 1)}


@cache
def p99_seconds(request_class: str, flooded_by: str | None = None) -> float:
    """Of a third of the capacity, alone or while three times the capacity of another class comes."""
    phases = [Phase(CAPACITY / 3, 0, 5, SHARES[request_class])]
    if flooded_by is not None:
        phases.append(Phase(3 * CAPACITY, 0, 5, SHARES[flooded_by]))
    fleet = Fleet(replace(reference(), phases=tuple(phases)), lambda part: random.Random(f"3 {part}"))
    fleet.run()
    return fleet.tally.summary(request_class).p99_seconds


@pytest.mark.parametrize(
    ("request_class", "flooded_by"), [(INTERACTIVE, STANDARD), (INTERACTIVE, BATCH), (STANDARD, BATCH)]
)
def test_a_flood_delays_a_more_urgent_class_by_half_of_its_p99_and_one_service_at_most(request_class, flooded_by):
    alone = p99_seconds(request_class)
    assert p99_seconds(request_class, flooded_by) <= 1.5 * alone + FULL_LAW.mean_seconds
