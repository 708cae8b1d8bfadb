import random
from collections import Counter

import pytest

from failsoft.simulation.workload import UNIQUE, Ask, ClassLoad, Contents, Phase, poisson, trace

MIX = (ClassLoad("interactive", 0.2, 2.0), ClassLoad("batch", 0.8, 60.0))


def drawn(*phases: Phase, contents: Contents = UNIQUE, seed: int = 1) -> list[Ask]:
    return poisson(phases, MIX, random.Random(seed), contents)


def test_arrivals_come_at_the_rate_of_their_phase_in_order_of_time():
    asks = drawn(Phase(100, 0, 50), Phase(400, 20, 30))
    assert [ask.at for ask in asks] == sorted(ask.at for ask in asks)
    assert sum(ask.at < 20 for ask in asks) == pytest.approx(2_000, rel=0.1)
    assert sum(20 <= ask.at < 30 for ask in asks) == pytest.approx(5_000, rel=0.1)
    assert [ask.number for ask in asks] == list(range(len(asks)))


def test_classes_come_by_their_shares_with_their_budgets():
    asks = drawn(Phase(100, 0, 100))
    counts = Counter(ask.request_class for ask in asks)
    assert counts["interactive"] / len(asks) == pytest.approx(0.2, abs=0.02)
    assert {(ask.request_class, ask.budget_seconds) for ask in asks} == {("interactive", 2.0), ("batch", 60.0)}


def test_a_phase_may_have_a_mix_of_its_own():
    asks = drawn(Phase(100, 0, 10), Phase(100, 10, 20, (ClassLoad("flood", 1, 5),)))
    assert all((ask.request_class == "flood") == (ask.at >= 10) for ask in asks)


def test_popular_contents_follow_zipfs_law_and_unique_ones_never_repeat():
    counts = Counter(ask.content for ask in drawn(Phase(500, 0, 100), contents=Contents(distinct=100)))
    assert counts[0] / counts[9] == pytest.approx(10, rel=0.2)
    assert len({ask.content for ask in drawn(Phase(100, 0, 100))}) == len(drawn(Phase(100, 0, 100)))


def test_partitions_are_filled_evenly_and_chosen_by_content():
    asks = drawn(Phase(500, 0, 40))
    counts = Counter(ask.partition(8) for ask in asks)
    assert max(counts.values()) < 1.15 * min(counts.values())


def test_the_seed_decides():
    phase = Phase(50, 0, 10)
    assert drawn(phase, seed=1) == drawn(phase, seed=1)
    assert drawn(phase, seed=1) != drawn(phase, seed=2)


def test_a_trace_gives_the_instants():
    asks = trace([3.0, 1.0, 2.0], MIX, random.Random(1))
    assert [ask.at for ask in asks] == [1.0, 2.0, 3.0]
