"""Scenarios of sick models: slow, wide, failing, busy, hanging, and back again; and of one that is well and is told nothing."""

from dataclasses import replace

from failsoft.simulation.endpoints import Condition
from failsoft.simulation.expectations import (
    at_once,
    calls_each,
    failed,
    full,
    in_time,
    level,
    starts,
    tail,
    value,
    waste,
)
from failsoft.simulation.faults import KillCaller, ModelFault, SilentRetrieval, flapping
from failsoft.simulation.scenarios.reference import (
    BATCH,
    FULL,
    INTERACTIVE,
    SMALL,
    STANDARD,
    Scenario,
    alone,
    burning,
    grounded,
    mixed,
    patient,
    reference,
)
from failsoft.simulation.workload import Phase

HANG, DOWN = Condition(hangs=True), Condition(error_share=1.0)
PROBES = 3
"""At a time, of the whole fleet."""

ILLNESS_SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "slow",
        "the full model takes five times as long for 20 s",
        reference(ModelFault(5, 20, FULL, Condition(slow=5.0)), seconds=45),
        (in_time(), full(at_least=0.97, since=35), waste(0.15)),
    ),
    Scenario(
        "widening",
        "the full model's 99th percentile triples while its median stays",
        reference(ModelFault(10, 20, FULL, Condition(widen=3.0)), load=0.8, seconds=40),
        (in_time(), full(at_least=0.97), waste(0.05)),
    ),
    Scenario(
        "silent-retrieval",
        "for 20 s requests come without the documents that the full model needs, and nothing says so",
        grounded(reference(SilentRetrieval(10, 20), seconds=45)),
        (
            in_time(),
            full(at_least=0.97, since=0, until=10),
            level(1, 0.0, since=10, until=30),
            level(3, 0.0),
            full(at_least=0.97, since=30),
            calls_each(FULL, 0.0, since=12, until=30),
            tail(INTERACTIVE, 0.3, since=10, until=30),
        ),
    ),
    Scenario(
        "outage",
        "the full model fails every call for 20 s, and then does not any more",
        reference(ModelFault(10, 20, FULL, DOWN), seconds=60),
        (
            in_time(),
            tail(INTERACTIVE, 1.0, since=10, until=30),
            full(INTERACTIVE, at_least=0.9, since=48),
            full(at_least=0.97, since=50),
        ),
    ),
    Scenario(
        "outage-without-a-way-out",
        "the only model fails every call for 20 s, no other answer will do, and all have time: what waits in the log probes it",
        patient(alone(reference(ModelFault(10, 20, FULL, DOWN), seconds=60))),
        (
            full(at_least=0.9, since=30),
            tail(INTERACTIVE, 30.0, since=15),
            tail(BATCH, 30.0, since=15),
        ),
    ),
    Scenario(
        "hang",
        "the full model answers nothing for 20 s, and then does again",
        reference(ModelFault(10, 20, FULL, HANG), seconds=50),
        (
            in_time(),
            tail(INTERACTIVE, 1.5, since=10, until=30),
            starts(FULL, 10, 12, at_most=40),
            starts(FULL, 12, 30, at_most=100),
            full(INTERACTIVE, at_least=0.95, since=34),
        ),
    ),
    Scenario(
        "small-hangs",
        "the small model hangs for 10 s while the full one has twice its load: some are answered without a model at the end",
        reference(ModelFault(5, 10, SMALL, HANG), load=2, seconds=25),
        (in_time(), level(3, 0.03), full(INTERACTIVE, at_least=0.9)),
    ),
    Scenario(
        "single-permits",
        "sixteen workers with one permit each; the model hangs for 35 s, and each probes until they have agreed that it is ill",
        replace(reference(ModelFault(5, 35, FULL, HANG), load=0.5, seconds=45), hosts=16, partitions=32),
        (in_time(), starts(FULL, 10, 20, at_least=50, at_most=150), at_once(FULL, PROBES, since=32, until=40)),
    ),
    Scenario(
        "quiet-fleet",
        "fifty workers that ask once in 5 s each, of a full model that fails nine calls in ten",
        replace(
            reference(ModelFault(0, 15, FULL, Condition(error_share=0.9))),
            hosts=50,
            partitions=100,
            phases=(Phase(10, 5, 15, mixed(0, 1, 0)),),
        ),
        (in_time(), failed(FULL, at_most=40), starts(FULL, 9, 15, at_most=2 * PROBES)),
    ),
    Scenario(
        "flapping",
        "the full model hangs for 5 s of every 15",
        reference(*flapping(FULL, HANG, begins_at=5, ends_at=50, ill_seconds=5, well_seconds=10), seconds=50),
        (in_time(), value(0.93)),
    ),
    Scenario(
        "storm-429",
        "nine tenths of the calls to the full model are told to come later, for 20 s",
        reference(ModelFault(10, 20, FULL, Condition(busy_share=0.9)), seconds=60),
        (in_time(), full(at_least=0.97, since=50), tail(INTERACTIVE, 1.0, since=10, until=30)),
    ),
    Scenario(
        "retry-storm",
        "three tenths of the calls to the full model fail for 20 s, at nine tenths of the capacity",
        reference(ModelFault(5, 20, FULL, Condition(error_share=0.3)), load=0.9, seconds=50),
        (in_time(), calls_each(FULL, 1.15, since=5, until=25), full(at_least=0.95, since=45)),
    ),
    Scenario(
        "burning",
        "the full model slows down threefold and goes on with calls that were cut",
        burning(reference(ModelFault(5, 20, FULL, Condition(slow=3.0)), seconds=45)),
        (in_time(), full(at_least=0.95, since=35)),
    ),
    Scenario(
        "prober-killed",
        "the full model fails for 9 s; who probes it first is killed, and who does so next as well",
        replace(
            reference(
                ModelFault(3, 9, FULL, DOWN),
                KillCaller(8, 30, FULL),
                KillCaller(12, 30, FULL),
                load=0.5,
                seconds=42,
            ),
            hosts=5,
            partitions=40,
        ),
        (in_time(BATCH), in_time(STANDARD, at_least=0.95), full(at_least=0.9, since=25, until=40)),
    ),
)
