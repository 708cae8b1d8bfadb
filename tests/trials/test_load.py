import math
import statistics
from collections import Counter
from itertools import pairwise

import pytest

from failsoft.trials.load import Arrival, draw_load
from failsoft.trials.scenario import ASKING, FULL, QUICK, Phase

LONG = Phase("long", 200.0, 0.6)


def by_phase(load: list[Arrival]) -> dict[str, list[Arrival]]:
    phases: dict[str, list[Arrival]] = {}
    for arrival in load:
        phases.setdefault(arrival.asked.phase, []).append(arrival)
    return phases


def what(load: list[Arrival]) -> list[tuple[float, str, str]]:
    return [(each.at_seconds, each.asked.request_class, each.answer) for each in load]


def test_every_phase_gets_the_load_that_it_says_within_its_time():
    load = by_phase(draw_load("run", FULL, seed=0))
    assert list(load) == [phase.name for phase in FULL]
    for phase in FULL:
        at = [arrival.at_seconds for arrival in load[phase.name]]
        assert at == sorted(at)
        assert 0 < at[0] <= at[-1] < phase.seconds
        expected = phase.requests_per_second * phase.seconds
        assert abs(len(at) - expected) < 4 * expected**0.5


def test_gaps_are_exponential_as_of_people_who_do_not_know_of_each_other():
    gaps = [later.at_seconds - sooner.at_seconds for sooner, later in pairwise(draw_load("run", [LONG], seed=1))]
    mean = 1 / LONG.requests_per_second
    assert statistics.mean(gaps) == pytest.approx(mean, rel=0.08)
    for times_mean in (0.5, 1.0, 2.0):
        share = sum(gap > times_mean * mean for gap in gaps) / len(gaps)
        assert share == pytest.approx(math.exp(-times_mean), abs=0.03)


def test_classes_come_in_their_shares_with_their_deadlines():
    load = draw_load("run", [LONG], seed=0)
    counts = Counter((each.asked.request_class, each.asked.budget_seconds) for each in load)
    assert len(counts) == len(ASKING)
    for asking in ASKING:
        share = counts[asking.request_class, asking.deadline_seconds] / len(load)
        assert share == pytest.approx(asking.share, abs=0.03)


def test_every_request_has_a_name_of_its_own_also_among_runs():
    one, two = (draw_load(run, QUICK, seed=0) for run in ("one", "two"))
    ids = {each.result_id for each in (*one, *two)}
    assert len(ids) == len(one) + len(two)


def test_the_seed_decides_all_but_the_names():
    assert what(draw_load("one", QUICK, seed=3)) == what(draw_load("two", QUICK, seed=3))
    assert what(draw_load("one", QUICK, seed=3)) != what(draw_load("one", QUICK, seed=4))
