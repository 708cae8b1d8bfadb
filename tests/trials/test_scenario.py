import random
import statistics

import pytest

from failsoft.pipeline import load_pipeline
from failsoft.testing.model_server.faults import Faults, draw, service_seconds
from failsoft.trials.scenario import ASKING, FULL, LARGE, MODELS, QUICK, SMALL, capacity_per_second


def test_capacity_is_slots_over_the_mean_service_time():
    large, rng = MODELS[LARGE], random.Random(0)
    mean = statistics.mean(service_seconds(draw(rng), large, Faults()) for _ in range(20_000))
    assert capacity_per_second(large) == pytest.approx(large.slots / mean, rel=0.02)


def test_the_small_model_can_take_what_the_large_one_cannot():
    worst = max(phase.requests_per_second for phase in (*FULL, *QUICK))
    assert capacity_per_second(MODELS[SMALL]) > 2 * worst


def test_the_workers_limits_are_the_slots_of_the_models():
    stage = load_pipeline("workers.served:pipeline").stages["classify"]
    limits = {tier.settings.name: tier.settings.limit for tier in stage.tiers if tier.settings.is_model}
    assert limits == {name: model.slots for name, model in MODELS.items()}


def test_the_shares_of_the_classes_are_all_there_is():
    assert sum(asking.share for asking in ASKING) == pytest.approx(1.0)
