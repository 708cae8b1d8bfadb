import random
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest

from failsoft.policy.settings import ClassSettings, StageSettings, TierSettings
from failsoft.simulation.latency_law import Lognormal, Measured
from failsoft.simulation.prediction import (
    Predicted,
    Question,
    arrivals,
    capacity,
    degrades_from,
    loads_between,
    outlasting,
    predict_asks,
    predict_load,
    usual_seconds,
)
from failsoft.simulation.workload import ClassLoad

SETTINGS = StageSettings(
    "answer",
    (TierSettings("full", 1, 8, 0.2), TierSettings("small", 2, 16, 0.04), TierSettings("canned", 3, None)),
    (ClassSettings("interactive", 8, 2, 60, 0.1), ClassSettings("standard", 3, 6, 900, 0.95)),
)
LAWS = {"full": Lognormal(0.2), "small": Lognormal(0.04)}
MIX = (ClassLoad("interactive", 0.5, 2.0), ClassLoad("standard", 0.5, 6.0))
QUESTION = Question(SETTINGS, LAWS, MIX, seconds=8.0)
SMALL_OVER_FULL = 10.0
"""The small model's capacity over the full one's."""


def dice(part: str) -> random.Random:
    return random.Random(f"7 {part}")


@cache
def at(load: float) -> Predicted:
    return predict_load(QUESTION, load, dice)


LOADS = loads_between(0.3, 6.0, 5)


def test_load_one_is_what_the_first_tier_serves():
    assert QUESTION.capacity == pytest.approx(8 / (0.2 * 1.0632), rel=1e-4)
    assert at(1.0).per_second == QUESTION.capacity
    assert at(1.0).total.offered == pytest.approx(QUESTION.capacity * 8, rel=0.2)


def test_more_load_never_means_more_of_level_one():
    shares = [at(load).total.level_share(1) for load in LOADS]
    assert all(after <= before + 0.01 for before, after in pairwise(shares))
    assert shares[0] > 0.99
    assert shares[-1] < 0.5


@pytest.mark.parametrize("load", LOADS)
def test_nobody_gets_level_three_while_level_two_has_capacity(load):
    assert load < SMALL_OVER_FULL
    assert at(load).total.levels.get(3, 0) == 0
    assert at(load).total.in_time_share == 1.0


def test_level_three_answers_what_two_models_cannot():
    full, small, canned = SETTINGS.tiers
    scarce = replace(SETTINGS, tiers=(full, replace(small, limit=2), canned))
    found = predict_load(replace(QUESTION, settings=scarce, mix=MIX[:1]), 5.0, dice)
    assert found.total.level_share(3) > 0.1
    assert found.total.in_time_share > 0.99


def test_every_request_ends_once_at_every_load():
    assert [at(load).invariants_broken for load in LOADS] == [0] * len(LOADS)
    for load in LOADS:
        assert sum(at(load).total.outcomes.values()) == at(load).total.offered


def test_the_seed_decides():
    assert predict_load(QUESTION, 1.5, dice) == at(1.5)
    assert predict_load(QUESTION, 1.5, random.Random) != at(1.5)


def test_classes_come_most_urgent_first_and_only_those_that_ask():
    assert list(at(1.5).classes) == ["interactive", "standard"]
    alone = predict_load(replace(QUESTION, mix=MIX[1:], seconds=2.0), 0.5, dice)
    assert list(alone.classes) == ["standard"]


def test_a_class_degrades_from_the_lowest_load_at_which_it_is_not_full():
    found = [at(load) for load in (0.3, 3.0, 6.0)]
    assert degrades_from(found) == {"interactive": 3.0, "standard": 3.0}
    assert degrades_from(found[:1]) == {"interactive": None, "standard": None}


def test_loads_are_at_equal_ratios_from_end_to_end():
    assert loads_between(0.5, 8.0, 5) == (0.5, 1.0, 2.0, 4.0, 8.0)
    assert loads_between(2.0, 2.0, 5) == (2.0,)
    assert loads_between(2.0, 4.0, 1) == (2.0,)


def test_arrivals_usually_last_for_enough_requests_and_longer_than_an_urgent_deadline():
    assert usual_seconds(SETTINGS, LAWS) == pytest.approx(2_000 / QUESTION.capacity)
    quick = {"full": Lognormal(0.001), "small": Lognormal(0.001)}
    assert usual_seconds(SETTINGS, quick) == 12.0


def test_a_class_that_can_wait_for_the_end_of_the_arrivals_is_named():
    assert outlasting(QUESTION) == []
    assert [each.request_class for each in outlasting(replace(QUESTION, seconds=5.0))] == ["standard"]


def test_a_recorded_trace_is_repeated_and_stretched_to_the_load():
    burst = (100.0, 100.1, 100.2, 150.0)
    found = predict_load(replace(QUESTION, recorded=burst, seconds=10.0), 0.3, dice)
    assert found.total.offered == round(0.3 * QUESTION.capacity * 10)


def test_bursts_of_a_trace_degrade_what_an_even_load_does_not():
    even = tuple(float(second) for second in range(1_000))
    bursts = tuple(100.0 * (number // 50) + number % 50 / 50 for number in range(1_000))
    shares = [
        predict_load(replace(QUESTION, recorded=recorded, mix=MIX[:1]), 0.7, dice).total.level_share(1)
        for recorded in (even, bursts)
    ]
    assert shares[0] == 1.0
    assert shares[1] < 0.9


def test_measured_durations_set_the_capacity():
    assert capacity(SETTINGS, {"full": Measured((0.1, 0.1, 0.4))}) == pytest.approx(8 / 0.2)


def test_permits_that_are_split_among_workers_keep_urgent_requests_waiting_longer():
    """One that is free at one worker is of no use to what waits at the others."""
    alone, split = (
        predict_load(replace(QUESTION, workers=workers), 2.0, dice).classes["interactive"] for workers in (1, 4)
    )
    assert split.p50_seconds > alone.p50_seconds * 1.1


def test_what_records_need_on_their_way_is_added_to_every_answer():
    slow = replace(QUESTION, on_the_way=(Measured((0.3,)), Measured((0.2,))))
    found = predict_load(slow, 0.3, dice)
    assert found.total.p50_seconds == pytest.approx(at(0.3).total.p50_seconds + 0.5, abs=0.02)
    assert found.invariants_broken == 0


def test_what_came_too_late_from_the_log_is_not_answered_in_time():
    late = replace(QUESTION, mix=MIX[:1], on_the_way=(Measured((2.1,)), Measured((0.0,))))
    found = predict_load(late, 0.3, dice)
    assert found.total.in_time == 0
    assert found.total.outcomes == {"expired": found.total.offered}


def test_known_arrivals_are_left_as_they_are():
    asks = arrivals(QUESTION, 0.3, random.Random("others"))
    found = predict_asks(QUESTION, 0.3, asks, dice)
    assert found.total.offered == len(asks)
    assert found == predict_asks(QUESTION, 0.3, asks, dice)
