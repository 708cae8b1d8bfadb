"""Scenarios of workers, of the broker, and of clocks: killed, stopped, cut off, wrong."""

from dataclasses import replace

from failsoft.simulation.expectations import full, in_time, level, lives, starts, value
from failsoft.simulation.faults import BadWay, BrokerDown, Crash, CutOff, Drain, ModelFault
from failsoft.simulation.scenarios.illnesses import DOWN
from failsoft.simulation.scenarios.reference import BATCH, FULL, INTERACTIVE, STANDARD, Scenario, phases, reference

HOST_SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "bad-node",
        "one host of ten cannot reach any model",
        replace(reference(BadWay(10, 20, 3, DOWN), seconds=50), hosts=10, partitions=40),
        (in_time(), full(at_least=0.85, since=10, until=30), full(at_least=0.95, since=45)),
    ),
    Scenario(
        "bad-node-at-start",
        "one host of ten cannot reach any model from the first second on, before anybody has spoken of a breaker",
        replace(reference(BadWay(0, 20, 3, DOWN), seconds=20), hosts=10, partitions=40),
        (full(at_least=0.88), level(3, 0.1), full(INTERACTIVE, at_least=0.85)),
    ),
    Scenario(
        "worker-killed",
        "one of three workers is killed in the middle of its work, and comes back after 10 s",
        reference(Crash(10, 10, 0, in_steps=7), seconds=35),
        (lives(4), in_time(BATCH), in_time(STANDARD, at_least=0.99), in_time(INTERACTIVE, since=20)),
    ),
    Scenario(
        "all-killed",
        "all workers are killed at once, and come back after 5 s",
        reference(*(Crash(10, 5, host) for host in range(3)), seconds=35),
        (lives(6), in_time(BATCH), in_time(INTERACTIVE, since=25)),
    ),
    Scenario(
        "rolling-restart",
        "each worker in turn is stopped in an orderly way and started again",
        reference(*(Drain(5 + 8 * host, 3, host) for host in range(3)), seconds=35),
        (lives(6), in_time(at_least=0.999), full(at_least=0.97)),
    ),
    Scenario(
        "cut-off",
        "one worker does not reach the broker for 20 s; it goes on with what it has, and nobody may see it twice",
        reference(CutOff(10, 20, 1), seconds=45),
        (in_time(BATCH), in_time(STANDARD, at_least=0.97), in_time(INTERACTIVE, since=35)),
    ),
    Scenario(
        "broker-restart",
        "the broker is away for 4 s",
        reference(BrokerDown(10, 4), seconds=30),
        (in_time(BATCH), in_time(STANDARD), in_time(INTERACTIVE, since=20)),
    ),
    Scenario(
        "clock-behind",
        "the producers' clock is five minutes behind, two workers' clocks are wrong, and a backlog waits",
        replace(reference(), phases=phases((3, 0, 12)), producer_skew_seconds=-300, skews_seconds={0: -300, 1: 300}),
        (in_time(), value(0.88)),
    ),
    Scenario(
        "clock-ahead",
        "the producers' clock is five minutes ahead, two workers' clocks are wrong, and a backlog waits",
        replace(reference(), phases=phases((3, 0, 12)), producer_skew_seconds=300, skews_seconds={0: 300, 1: -300}),
        (in_time(), value(0.88)),
    ),
    Scenario(
        "stale-breaker",
        "all workers die while the full model fails and its breaker is open, and come back when it is well",
        reference(ModelFault(3, 17, FULL, DOWN), *(Crash(15, 10, host) for host in range(3)), seconds=60),
        (
            lives(6),
            starts(FULL, 9, 15, at_most=6),
            in_time(BATCH),
            in_time(INTERACTIVE, since=35),
            full(at_least=0.9, since=50),
        ),
    ),
)
