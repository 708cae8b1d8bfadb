"""What an implementation of *first refusal* must meet: research/policy-lab.md §8, by number, in its words and tolerances.

And of §9, where the rule breaks, what one machine can show; what takes several is among the scenarios.
"""

import random
from dataclasses import replace
from itertools import pairwise
from statistics import fmean

import pytest

from failsoft.policy.actions import StartCall
from failsoft.policy.events import Verdict
from failsoft.policy.stage.dispatcher import Dispatcher
from failsoft.simulation.bound import blind_bound
from failsoft.simulation.fleet import Fleet, ModelPlan, Plan
from failsoft.simulation.latency_law import Lognormal
from failsoft.simulation.report import quantiles
from failsoft.simulation.shell import Shell
from failsoft.simulation.workload import Phase
from tests.simulation.lab import (
    CLASSES,
    FEW,
    INTERACTIVE_FLOOD,
    IS_WHOLE,
    LONG,
    MARGIN,
    ONE,
    SEEDS,
    SIGMA,
    TIGHT,
    A,
    B,
    C,
    D,
    E,
    Run,
    load,
    mean,
    run,
    scarce,
)

# full tier share of all and per class, %; median and 99th percentile per class, seconds; most waste, %
TABLE = {
    "A": (A, SEEDS, 100.0, (100.0, 100.0, 100.0), (0.20, 0.20, 0.20), (0.45, 0.47, 0.46), 0.2),
    "load 1.1": (load(1.1), SEEDS, 100.0, (100.0, 100.0, 100.0), (0.22, 0.25, 5.40), (0.47, 0.53, 8.96), 0.2),
    "load 2": (load(2), SEEDS, 88.0, (100.0, 76.0, 100.0), (0.22, 4.96, 28.73), (0.46, 5.34, 34.72), 0.1),
    "B": (B, ONE, 67.1, (100.0, 34.3, 100.0), (0.23, 3.41, 48.02), (0.48, 4.92, 50.07), 0.1),
    "load 5": (load(5), ONE, 53.4, (96.2, 8.5, 100.0), (0.29, 2.04, 42.71), (0.55, 4.75, 49.95), 0.0),
    "C": (C, ONE, 45.9, (56.4, 17.3, 87.0), (0.20, 1.03, 47.85), (0.50, 5.00, 57.28), 0.1),
    "D": (D, SEEDS, 81.3, (67.8, 75.8, 99.5), (0.17, 0.28, 4.40), (0.97, 5.11, 23.85), 0.1),
    "E": (E, SEEDS, 99.6, (99.4, 99.7, 99.8), (0.21, 0.23, 0.74), (1.17, 1.34, 9.47), 2.2),
}
BOUNDS = {"A": 0.995, "B": 0.975, "C": 0.985, "D": 0.965, "E": 0.99}
SHORT = {("D", "batch"): 2.0, ("E", "batch"): 1.0}
"""Medians of a few seconds at the edge of saturation: they vary by a third between seeds, so only being longer counts."""
rows = pytest.mark.parametrize("row", TABLE)


# 1: the table.


@rows
def test_the_full_tier_gets_the_share_of_the_lab(row):
    shape, seeds, of_all, by_class, *_ = TABLE[row]
    assert mean(shape, lambda found: found.share(1), seeds) == pytest.approx(of_all, abs=3)
    for name, wanted in zip(CLASSES, by_class, strict=True):
        assert fmean(run(shape, seed).share(1, name) for seed in seeds) == pytest.approx(wanted, abs=5), name


@rows
def test_latencies_are_those_of_the_lab(row):
    shape, seeds, _, _, medians, tails, _ = TABLE[row]
    for name, median, tail in zip(CLASSES, medians, tails, strict=True):
        width = (
            0.15 if name == "batch" and median > 20 else 0.25
        )  # below, the queue of batch is short and its wait is noise
        figures = [run(shape, seed).tally.summary(name) for seed in seeds]
        found = fmean(figure.p50_seconds for figure in figures)
        if (row, name) in SHORT:
            assert found <= median + SHORT[row, name], name
        else:
            assert found == pytest.approx(median, rel=width), name
        assert fmean(figure.p99_seconds for figure in figures) == pytest.approx(tail, rel=0.30), name


@rows
def test_everything_is_answered_in_time_and_little_work_is_wasted(row):
    shape, seeds, *_, waste = TABLE[row]
    assert mean(shape, lambda found: found.in_time, seeds) >= 99.9
    assert mean(shape, Run.waste, seeds) <= waste + 2


@pytest.mark.parametrize("row", BOUNDS)
def test_the_value_comes_close_to_what_any_blind_rule_can_get(row):
    pytest.importorskip("scipy")
    shape, seeds, *_ = TABLE[row]
    assert mean(shape, Run.bound_ratio, seeds) >= BOUNDS[row]


# 2, 11, 12: what holds at every event.


class Looker:
    """Looks into the machine at every start of a call and after every event."""

    def __init__(self) -> None:
        self.idle: list[tuple[float, str]] = []
        self.short: list[tuple[float, StartCall]] = []
        self.seen_caps: dict[float, float] = {}

    def call_started(self, shell: Shell, action):
        dispatcher = shell.machine._dispatcher
        remaining = action.deadline_at - shell.now
        full, lower = (end.latency.speed(now=shell.now) for end in dispatcher.endpoints)
        window = action.window_ends_at - shell.now
        if action.tier == "full" and window + lower.q99 + MARGIN > remaining + 1e-9:
            self.short.append((shell.now, action))
        if action.tier == "lower" and remaining < lower.q50 + MARGIN - 1e-9:
            self.short.append((shell.now, action))
        self.seen_caps[shell.now] = 2 * full.q99

    def call_ended(self, shell, call, verdict):
        """Only starts matter here."""

    def decided(self, shell, action):
        """Only starts matter here."""

    def handled(self, shell: Shell, event):
        dispatcher = shell.machine._dispatcher
        assert isinstance(dispatcher, Dispatcher)  # nothing here has a choice of regions
        full, lower = dispatcher.endpoints
        if not full.is_open(shell.now):
            return
        needed = lower.latency.speed(now=shell.now).q99 + MARGIN + full.latency.speed(now=shell.now).q95
        self.idle += [
            (shell.now, lane.request_class)
            for lane in dispatcher._lanes.values()
            if lane and lane.newest.deadline_at - shell.now >= needed + 1e-9
        ]


@pytest.mark.parametrize("shape", [load(2), D, TIGHT], ids=["load 2", "D", "tight"])
def test_the_full_tier_never_idles_and_no_call_is_started_that_cannot_end_in_time(shape):
    looker = Looker()
    found = Run(shape, 11, looker)
    assert looker.idle == []
    assert looker.short == []
    assert sorted(end.ask.number for end in found.tally.ended) == [ask.number for ask in found.asks]


def test_a_hang_does_not_move_the_window_cap():
    looker = Looker()
    Run(replace(D, phases=((0.7, 0, 36),)), 11, looker)
    caps = looker.seen_caps
    before = fmean(cap for at, cap in caps.items() if 10 < at < 15)
    at_its_end = fmean(cap for at, cap in caps.items() if 34 < at < 35)
    assert at_its_end == pytest.approx(before, rel=0.1)


# 3, 4: overload.


def test_the_full_tier_is_busy_as_long_as_there_is_load():
    calls = [call for call in run(load(2), 11).tally.calls if call.tier == "full"]
    busy = sum(max(0.0, min(call.started_at + call.seconds, 30) - max(call.started_at, 2)) for call in calls)
    assert busy / (16 * 28) >= 0.99


def test_more_load_means_less_of_the_full_tier_and_still_no_canned_answer():
    shares = [mean(load(times), lambda found: found.share(1), ONE) for times in (0.5, 1.1, 2, 5, 10)]
    assert all(after <= before + 1 for before, after in pairwise(shares))
    assert all(run(load(times), 11).share(3) == 0 for times in (0.5, 1.1, 2, 5, 10))


# 5, 6: tight deadlines, scarce lower tier.


def test_deadlines_near_the_models_own_median_are_used_well():
    pytest.importorskip("scipy")
    assert mean(TIGHT, Run.bound_ratio, FEW) >= 0.96
    assert 15 <= mean(TIGHT, Run.waste, FEW) <= 25


@pytest.mark.parametrize(("times", "least"), [(5, 0.97), (10, 0.92)])
def test_a_scarce_lower_tier_is_spent_where_it_counts(times, least):
    pytest.importorskip("scipy")
    assert mean(scarce(times), Run.bound_ratio, ONE) >= least
    if times == 5:
        assert mean(scarce(times), lambda found: found.share(3), ONE) <= 1


# 7: a hang.


def test_a_hang_is_fed_little_and_felt_little():
    first = mean(D, lambda found: found.starts(15, 17))
    later = mean(D, lambda found: found.starts(17, 35)) / 18
    assert first <= 40
    assert later <= 1
    for seed in SEEDS:
        inside = [end.seconds for end in run(D, seed).ended("interactive", 15, 35)]
        median, tail = quantiles(inside, (0.5, 0.99))
        assert median <= 0.1
        assert tail <= 1.5


def test_after_a_hang_quality_is_back_within_seconds():
    for seed in SEEDS:
        found = run(D, seed)
        answered = [
            call.started_at + call.seconds
            for call in found.tally.calls
            if call.tier == "full" and call.started_at >= 15 and call.verdict is Verdict.OK
        ]
        assert min(at for at in answered if at >= 35) - 35 <= 2.5
        urgent = [end for end in found.ended(since=39, until=42) if end.ask.request_class != "batch"]
        assert sum(end.ending.level == 1 for end in urgent) / len(urgent) >= 0.95


# 8, 9, 10: floods, many workers, wrong priors.


@pytest.mark.parametrize("seed", ONE)
def test_a_flood_of_interactive_leaves_the_others_their_share(seed):
    found = run(INTERACTIVE_FLOOD, seed)
    assert found.share(1, "standard") >= 90
    assert found.share(1, "batch") >= 90


@pytest.mark.parametrize("seed", ONE)
def test_two_minutes_of_twice_the_load_starve_nobody(seed):
    found = run(LONG, seed)
    assert all(found.share(1, name) > 0 for name in CLASSES)
    assert found.in_time == 100


def test_sixteen_workers_who_know_nothing_of_each_other_lose_little():
    assert mean(replace(A, workers=16), lambda found: found.share(1), ONE) >= 99
    many, one = (mean(replace(B, workers=workers), lambda found: found.value, ONE) for workers in (16, 1))
    assert many == pytest.approx(one, abs=0.02)


@pytest.mark.parametrize("hosts", [1, 4, 16] if IS_WHOLE else [16])
def test_kafka_between_producers_and_workers_costs_little(hosts):
    """Shape B with fetches, commits and results over a link of 20 ms."""
    pytest.importorskip("scipy")
    models = {"full": ModelPlan(Lognormal(0.2, SIGMA), 16), "lower": ModelPlan(Lognormal(0.04, SIGMA), 32)}
    phases = [Phase(3 * B.capacity, 0, 45)]
    plan = Plan(B.settings(), models, phases, B.mix, hosts=hosts, partitions=4 * hosts, link_seconds=0.02)
    fleet = Fleet(plan, lambda part: random.Random(f"11 {part}"))
    fleet.run()
    found = fleet.tally.summary()
    assert found.in_time == len(fleet.asks)
    assert found.value * len(fleet.asks) / blind_bound(fleet.asks, B.full, B.lower) >= BOUNDS["B"]


@pytest.mark.parametrize("factor", [5, 0.2])
def test_a_wrong_prior_is_outvoted(factor):
    wrong = mean(replace(load(2), prior_factor=factor), lambda found: found.value, FEW)
    assert wrong == pytest.approx(mean(load(2), lambda found: found.value, FEW), abs=0.005)


# §9: where the rule breaks. Each of these is a price that docs/patterns.md names.


def p(found: Run, name: str) -> tuple[float, float]:
    """Median and 99th percentile of one class, seconds."""
    summary = found.tally.summary(name)
    return summary.p50_seconds, summary.p99_seconds


def test_where_the_lower_tier_is_scarce_too_what_the_full_tier_leaves_is_answered_at_the_edge_of_its_deadline():
    median, _ = p(run(scarce(10), 11), "interactive")
    assert median >= 1.5  # of 2 s, where .3 s are usual


def test_in_a_long_overload_bulk_waits_out_its_budget_whatever_serves_it_in_the_end():
    median, tail = p(run(LONG, 11), "batch")
    assert median >= 40  # of 60 s
    assert tail >= 0.9 * 57


def test_a_short_overload_favours_bulk_over_the_class_above_it():
    found = run(B, 11)
    assert found.share(1, "batch") >= found.share(1, "standard") + 50


def test_where_lengths_differ_very_much_the_urgent_wait_for_the_long_and_a_tenth_of_the_work_is_in_vain():
    found = run(replace(load(2), sigma=1.2), 11)
    _, tail = p(found, "interactive")
    assert tail >= 1.7
    assert 6 <= found.waste() <= 15
