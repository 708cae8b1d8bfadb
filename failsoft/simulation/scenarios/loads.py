"""Scenarios of load: more than the full model can serve, for how long, of which class, and what was promised too lightly."""

from dataclasses import replace

from failsoft.policy.settings import ClassSettings
from failsoft.simulation.expectations import full, in_time, level, median, tail, value, waste
from failsoft.simulation.scenarios.reference import (
    BATCH,
    CAPACITY,
    INTERACTIVE,
    SETTINGS,
    STANDARD,
    Scenario,
    burning,
    mixed,
    phases,
    reference,
    scarce,
)
from failsoft.simulation.workload import ClassLoad, Phase

_PRESSED = (ClassLoad(INTERACTIVE, 0.3, 2), ClassLoad(STANDARD, 0.7, 10))
_CROWD = (ClassLoad(BATCH, 1, 20),)
_full_tier, *_other_tiers = SETTINGS.tiers
_wrong_tiers = (
    replace(_full_tier, expected_seconds=1.0),
    replace(_other_tiers[0], expected_seconds=0.2),
    _other_tiers[1],
)

LOAD_SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "steady",
        "seven tenths of the capacity, nothing wrong",
        reference(seconds=20),
        (in_time(), full(at_least=0.99), waste(0.01)),
    ),
    Scenario(
        "overload-1.2",
        "a fifth more than the full model can serve",
        reference(load=1.2, seconds=30),
        (in_time(), full(at_least=0.97), full(INTERACTIVE, at_least=0.97)),
    ),
    Scenario(
        "overload-3",
        "three times what the full model can serve",
        reference(load=3, seconds=20),
        (
            in_time(),
            value(0.88),
            full(INTERACTIVE, at_least=0.9),
            full(BATCH, at_least=0.97),
            level(3, 0.0),
            waste(0.02),
        ),
    ),
    Scenario(
        "overload-10",
        "ten times what the full model can serve, for a while",
        replace(reference(), phases=phases((10, 0, 6), (0.5, 6, 25))),
        (in_time(at_least=0.999), value(0.80), level(3, 0.0), full(INTERACTIVE, at_least=0.9, since=11), waste(0.02)),
    ),
    Scenario(
        "spike",
        "four times the capacity for 5 s, half of it before and after",
        replace(reference(), phases=phases((0.5, 0, 5), (4, 5, 10), (0.5, 10, 40))),
        (in_time(), full(BATCH, at_least=0.97), full(INTERACTIVE, at_least=0.97, since=12)),
    ),
    Scenario(
        "batch-flood",
        "a flood of batch, ten times the capacity, under a light load of the rest",
        replace(
            reference(),
            phases=(Phase(0.3 * CAPACITY, 0, 30, mixed(1, 1, 0)), Phase(10 * CAPACITY, 5, 9, mixed(0, 0, 1))),
        ),
        (
            in_time(INTERACTIVE),
            in_time(STANDARD),
            full(INTERACTIVE, at_least=0.97),
            full(STANDARD, at_least=0.97),
            tail(INTERACTIVE, 0.8),
            in_time(BATCH, at_least=0.99),
        ),
    ),
    Scenario(
        "interactive-flood",
        "twice the capacity of interactive beside a quarter of standard and of batch",
        replace(reference(load=2.5, seconds=20), mix=mixed(0.8, 0.1, 0.1)),
        (in_time(), full(STANDARD, at_least=0.9), full(BATCH, at_least=0.9)),
    ),
    Scenario(
        "standard-flood",
        "twice the capacity of standard beside a quarter of interactive and of batch",
        replace(reference(load=2.5, seconds=20), mix=mixed(0.1, 0.8, 0.1)),
        (in_time(), full(INTERACTIVE, at_least=0.95), full(BATCH, at_least=0.9), tail(INTERACTIVE, 0.8)),
    ),
    Scenario(
        "flood-after-quiet",
        "standard has had the stage to itself, and the small model is scarce, when four times the capacity of interactive comes",
        replace(
            scarce(reference()),
            phases=(Phase(0.7 * CAPACITY, 0, 20, mixed(0, 1, 0)), Phase(5 * CAPACITY, 20, 35, mixed(0.8, 0.1, 0.1))),
        ),
        (
            in_time(),
            level(3, 0.02, STANDARD, since=20),
            full(STANDARD, at_least=0.8, since=20),
            full(BATCH, at_least=0.9),
        ),
    ),
    Scenario(
        "batch-crowd",
        "a crowd of batch that a scarce small model can only work off if it begins long before their patience is over",
        replace(
            scarce(reference()),
            settings=replace(
                scarce(reference()).settings, classes=(*SETTINGS.classes[:2], ClassSettings(BATCH, 1, 20, 60, 0.95))
            ),
            phases=(Phase(0.95 * CAPACITY, 0, 24, _PRESSED), Phase(700, 1, 2, _CROWD)),
            mix=(*_PRESSED, *_CROWD),
        ),
        (in_time(), level(3, 0.0), full(STANDARD, at_least=0.9)),
    ),
    Scenario(
        "hopeless",
        "ten times the capacity for longer than urgent deadlines, a scarce small model: nothing tells that waiting is in vain",
        scarce(reference(load=10, seconds=6)),
        (in_time(), level(3, 0.7), median(INTERACTIVE, at_least=1.2)),
    ),
    Scenario(
        "cold-start",
        "the first second brings three times the capacity, and nobody has measured anything yet; the authors' word is wrong",
        replace(
            reference(),
            settings=replace(SETTINGS, tiers=_wrong_tiers),
            phases=phases((3, 0, 1), (0.7, 1, 25)),
        ),
        (in_time(at_least=0.999), full(at_least=0.95, since=10)),
    ),
    Scenario(
        "infeasible-target",
        "the author asks for a latency that the full model does not have even when idle",
        replace(
            reference(load=0.5, seconds=25),
            settings=replace(SETTINGS, tiers=(replace(_full_tier, target_seconds=0.05), *_other_tiers)),
        ),
        (in_time(), full(at_least=0.95)),
    ),
    Scenario(
        "metastable",
        "ten times the capacity for 4 s at a model that goes on with what was cut; the load after it is bearable again",
        replace(burning(reference()), phases=phases((0.8, 0, 5), (10, 5, 9), (0.8, 9, 60))),
        (in_time(at_least=0.999), full(INTERACTIVE, at_least=0.97, since=14), waste(0.05)),
    ),
)
