"""What a decision costs: the stage machine alone, and the simulation around it.

The first row is check 13 of research/policy-lab.md §8: 10,000 requests at three times the capacity, through machine and
simulator. *machine* replays the very events of that run into a fresh machine, so it is the cost of deciding alone, spread
over requests. Times are CPU seconds of this process, the best of the rounds: other load on the host does not count.

    python bench/machine.py            # a minute; a table, and bench/results/machine.json
    python bench/machine.py --quick    # one round
"""

import time
from collections.abc import Callable
from random import Random

import typer

from bench.report import Quick, save
from failsoft.policy.actions import Publish, StartCall
from failsoft.policy.events import Event, Verdict
from failsoft.policy.stage import StageMachine
from failsoft.simulation.endpoints import ModelEndpoint
from failsoft.simulation.engine import Engine
from failsoft.simulation.fleet import Fleet, Plan
from failsoft.simulation.pool import run_pool
from failsoft.simulation.scenarios import CAPACITY, FULL, FULL_LAW, FULL_SLOTS, MIX, MODELS, SETTINGS, SMALL, SMALL_LAW
from failsoft.simulation.scenarios import SMALL_SLOTS as SLOTS_BELOW
from failsoft.simulation.shell import CallUnderWay, Shell
from failsoft.simulation.workload import Ask, Phase, poisson

REQUESTS = 10_000
LOADS = (0.7, 3.0, 10.0)


class Recorder:
    """Keeps what the machine was told, and when."""

    def __init__(self) -> None:
        self.events: list[tuple[float, Event]] = []

    def call_started(self, shell: Shell, action: StartCall) -> None:
        """Follows from the events."""

    def call_ended(self, shell: Shell, call: CallUnderWay, verdict: Verdict) -> None:
        """Follows from the events."""

    def decided(self, shell: Shell, action: Publish) -> None:
        """Follows from the events."""

    def handled(self, shell: Shell, event: Event) -> None:
        """Keep it."""
        self.events.append((shell.now, event))


def arrivals(load: float) -> list[Ask]:
    """Draw 10,000 requests, give or take the dice."""
    rate = load * CAPACITY
    return poisson([Phase(rate, 0, REQUESTS / rate)], MIX, Random("arrivals"))


def pool(asks: list[Ask], *watches: Recorder) -> None:
    """Run one worker without Kafka."""
    engine = Engine()
    models = {
        FULL: ModelEndpoint(engine, FULL_LAW, slots=FULL_SLOTS, rng=Random(FULL)),
        SMALL: ModelEndpoint(engine, SMALL_LAW, slots=SLOTS_BELOW, rng=Random(SMALL)),
    }
    run_pool(engine, SETTINGS, models, asks, watches=watches)


def fleet(load: float) -> int:
    """Run three workers in the simulated cluster, invariants checked; return how many requests there were."""
    rate = load * CAPACITY
    plan = Plan(SETTINGS, MODELS, [Phase(rate, 0, REQUESTS / rate)], MIX)
    world = Fleet(plan, Random)
    world.run()
    return len(world.asks)


def replay(events: list[tuple[float, Event]]) -> None:
    """Tell a fresh machine the same."""
    machine = StageMachine(SETTINGS)
    for now, event in events:
        machine.handle(event, now=now)
        machine.next_wakeup()


def best_seconds(run: Callable[[], object], rounds: int) -> float:
    """CPU seconds of the fastest of so many rounds."""
    found = []
    for _ in range(rounds):
        began_at = time.process_time()
        run()
        found.append(time.process_time() - began_at)
    return min(found)


def main(
    rounds: int = typer.Option(3, min=1, help="The best of so many counts."),
    *,
    quick: Quick = False,
) -> None:
    """Measure, print, and write bench/results/machine.json."""
    started_at = time.time()
    rows = [_row(load, 1 if quick else rounds) for load in sorted(LOADS, key=lambda load: load != 3.0)]
    print(
        f"{'load':>5} {'requests':>9} {'events':>8} {'machine us':>11} {'simulated us':>13} {'a second':>9} {'fleet us':>9}"
    )
    for row in rows:
        print(
            f"{row['load']:>5g} {row['requests']:>9} {row['events']:>8} {row['machine_us_per_request']:>11.0f} "
            f"{row['simulated_us_per_request']:>13.0f} {row['requests_per_second']:>9.0f} {row['fleet_us_per_request']:>9.0f}"
        )
    save("machine", started_at=started_at, seed=None, result={"rows": rows}, is_quick=quick)


def _row(load: float, rounds: int) -> dict[str, float]:
    asks = arrivals(load)
    recorder = Recorder()
    pool(asks, recorder)
    simulated = best_seconds(lambda: pool(asks), rounds)
    decided = best_seconds(lambda: replay(recorder.events), rounds)
    return {
        "load": load,
        "requests": len(asks),
        "events": len(recorder.events),
        "machine_us_per_request": decided / len(asks) * 1e6,
        "simulated_seconds": simulated,
        "simulated_us_per_request": simulated / len(asks) * 1e6,
        "requests_per_second": len(asks) / simulated,
        "fleet_us_per_request": best_seconds(lambda: fleet(load), 1) / len(asks) * 1e6,
    }


if __name__ == "__main__":
    typer.run(main)
