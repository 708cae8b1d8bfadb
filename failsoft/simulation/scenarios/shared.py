"""Scenarios of equal requests: a herd that asks the same, and what becomes of it when the worker of its one call dies."""

from dataclasses import replace

from failsoft.simulation.expectations import full, in_time, lives, starts
from failsoft.simulation.faults import KillCaller
from failsoft.simulation.scenarios.reference import BATCH, FULL, SMALL, STANDARD, Scenario, reference
from failsoft.simulation.workload import ClassLoad, Contents, Phase

WAVES = 10
WAVE_REQUESTS, WAVE_SECONDS = 2_050, 0.1
"""Half a call: whoever asks after it has begun may join it, and its answer comes after the last has asked."""
ONE_CONTENT = Contents(distinct=1)
PATIENT = (ClassLoad(STANDARD, 0.5, 60.0), ClassLoad(BATCH, 0.5, 60.0))
"""Who has the time for the death of a worker: a session timeout of six seconds."""


def waves(count: int, *, apart_seconds: float = 2.0) -> tuple[Phase, ...]:
    """So many herds, one after the other."""
    starts_at = (number * apart_seconds for number in range(count))
    return tuple(Phase(WAVE_REQUESTS / WAVE_SECONDS, at, at + WAVE_SECONDS) for at in starts_at)


SHARED_SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "hot-key",
        f"{WAVES} waves of {WAVE_REQUESTS:,} requests each, all of the same content: a few calls serve each wave",
        replace(reference(), phases=waves(WAVES), contents=ONE_CONTENT),
        (starts(FULL, 0, 30, at_most=3 * WAVES, at_least=WAVES), starts(SMALL, 0, 30, at_most=0), in_time(), full()),
    ),
    Scenario(
        "leader-killed",
        "the worker that makes the one call for a herd is killed in the middle of it: the herd is read again by the next",
        replace(
            reference(KillCaller(0, 5, FULL)),
            phases=waves(1),
            mix=PATIENT,
            contents=ONE_CONTENT,
        ),
        (lives(4), starts(FULL, 0, 60, at_most=3, at_least=2), in_time(), full()),
    ),
)
