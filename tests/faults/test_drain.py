"""SIGTERM at any moment, whatever the cluster does: an exit in bounded time, with the code that is true."""

import asyncio
import contextlib
import random
import signal
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from failsoft.runtime.ending import UNFINISHED
from failsoft.testing.ensemble import Ensemble
from failsoft.testing.proxy import Behaviour
from tests.acceptance.harness import Cluster, new_cluster
from tests.faults.fleet import PIPELINE, WHOLE, Fleet, Worker, a_fleet, load

pytestmark = [pytest.mark.kafka, pytest.mark.acceptance]

AT_ONCE = 4 if WHOLE else 2
DRAIN_SECONDS = 3.0
CLOSE_SECONDS = 5.0
State = Literal["up", "down", "black-holed"]
Phase = Literal["starting", "idle", "short", "long"]
CALL_SECONDS: dict[Phase, float] = {"starting": 0.3, "short": 0.3, "long": 30.0}
KINDS: list[tuple[State, Phase]] = [
    ("down", "short"),
    ("black-holed", "long"),
    ("black-holed", "starting"),
    ("up", "idle"),
    ("down", "idle"),
    ("up", "short"),
    ("up", "long"),
    ("black-holed", "idle"),
    ("down", "starting"),
    ("black-holed", "short"),
    ("down", "long"),
    ("up", "starting"),
]
ANSWERS = 'answers: {config: {cleanup.policy: "compact,delete"}}'
KNOWN = """
from failsoft import CachedAnswer
stage.tier("known", CachedAnswer())
"""
"""So that a worker has one more reader to close: that of the log of answers."""
Exit = tuple[Worker, int, float]
"""Who ended, with which code, after how many seconds."""
ROUNDS = 26 if WHOLE else 4


@dataclass
class Exits:
    """How every try ended: state of the broker -> seconds."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    codes: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def note(self, state: State, phase: Phase, exits: list[Exit]) -> None:
        for worker, code, seconds in exits:
            self.seconds.setdefault(state, []).append(seconds)
            self.codes[state, phase, code] += 1
            print(f"{state}, {phase}: exit code {code} after {seconds:.1f} s", flush=True)
            if seconds > DRAIN_SECONDS + CLOSE_SECONDS:
                self.wrong.append(f"{state}, {phase}: {seconds:.1f} s, exit code {code}: {worker.log}")
            if code not in self._right(state, worker):
                self.wrong.append(f"{state}, {phase}: exit code {code}, unfinished {worker.unfinished()}: {worker.log}")

    @staticmethod
    def _right(state: State, worker: Worker) -> set[int]:
        if worker.unfinished():
            return {UNFINISHED}
        if worker.is_ready():
            return {0}
        without_broker = set() if state == "up" else {3}
        return {0, -signal.SIGTERM} | without_broker  # a process that has no handler yet has begun nothing

    def __str__(self) -> str:
        lines = []
        for state, seconds in sorted(self.seconds.items()):
            ordered = sorted(seconds)
            median, ninth = ordered[len(ordered) // 2], ordered[len(ordered) * 9 // 10]
            lines.append(f"{state}: {len(ordered)} exits, p50 {median:.1f}, p90 {ninth:.1f}, most {ordered[-1]:.1f} s")
        return "\n".join([*lines, *(f"{key}: {count}" for key, count in sorted(self.codes.items()))])


@pytest.mark.timeout(1800 if WHOLE else 300)
async def test_a_worker_that_is_told_to_end_does_so_in_time_with_the_right_code_whatever_the_broker_does(
    tmp_path: Path,
):
    rng, exits = random.Random(20261128), Exits()
    async with Ensemble(1, groups=("workers",)) as kafka:
        gate = kafka.gates["workers"]
        for number in range(ROUNDS):
            state, phase = KINDS[number % len(KINDS)]
            (folder := tmp_path / str(number)).mkdir()
            async with contextlib.AsyncExitStack() as closing:
                cluster = await closing.enter_async_context(new_cluster(kafka.direct, ANSWERS))
                fleet = await closing.enter_async_context(
                    a_fleet(cluster, folder, gate.addresses, "--drain", f"{DRAIN_SECONDS}s", code=PIPELINE + KNOWN)
                )
                if phase in CALL_SECONDS:
                    await closing.enter_async_context(
                        load(cluster, per_second=20, seconds=CALL_SECONDS[phase], finishes=False)
                    )
                exits.note(state, phase, await one_round(kafka, fleet, state, phase, rng))
                await gate.behave(Behaviour())
                if not kafka.nodes[1].is_running:
                    await kafka.start(1)
    print(exits)
    assert not exits.wrong, "\n".join(exits.wrong)


STUCK = """
import os, threading
from failsoft import Constant, Output, Pipeline

pipeline = Pipeline(os.environ["TEST_PIPELINE"])
stage = pipeline.stage("work", coalesce="off")

async def waits_for_ever(call):
    threading.Event().wait()

async def computes_for_ever(call):
    while True:
        pass

stage.tier("large", limit=1, expect="50ms", runs_in="%s")(%s)
stage.tier("sorry", Constant({"content": "sorry"}))
"""


@pytest.mark.parametrize(("runs_in", "function"), [("thread", "waits_for_ever"), ("loop", "computes_for_ever")])
async def test_a_worker_ends_in_time_though_a_tier_never_returns(
    cluster: Cluster, tmp_path: Path, runs_in: str, function: str
):
    """A thread is joined when the interpreter ends, and a tier that holds up the loop keeps the drain from running.

    Both end as unfinished: in the first the request has its answer, but its call still runs when the process is ended.
    """
    address, code = cluster.connection.bootstrap_servers, STUCK % (runs_in, function)
    async with a_fleet(cluster, tmp_path, address, "--drain", f"{DRAIN_SECONDS}s", code=code) as fleet:
        worker = await fleet.start()
        await cluster.send("interactive", "stuck", {"prompt": "x"}, budget_seconds=60.0)
        await worker.has_begun()
        exit_code, seconds = await worker.exit_after(signal.SIGTERM)
        assert seconds <= DRAIN_SECONDS + CLOSE_SECONDS
        assert exit_code == UNFINISHED


async def one_round(kafka: Ensemble, fleet: Fleet, state: State, phase: Phase, rng: random.Random) -> list[Exit]:
    """Start workers, have the broker's state come about at a random moment, and tell them to end at others."""
    workers = [await fleet.start() for _ in range(AT_ONCE)]
    if phase == "starting":
        await asyncio.gather(*(worker.listens() for worker in workers[: rng.randrange(AT_ONCE + 1)]))
        await asyncio.sleep(rng.uniform(0.0, 0.5))
    else:
        await asyncio.gather(*(worker.ready() for worker in workers))
        await asyncio.sleep(rng.uniform(0.0, 3.0))
    if state == "down":
        await kafka.kill(1)
    elif state == "black-holed":
        await kafka.gates["workers"].behave(Behaviour(swallows=True))

    async def told(worker: Worker, wait: float) -> Exit:
        await asyncio.sleep(wait)
        return worker, *await worker.exit_after(signal.SIGTERM)

    waits = [rng.choice([0.0, rng.uniform(0.0, 1.0), rng.uniform(0.0, 10.0)]) for _ in workers]
    return await asyncio.gather(*(told(worker, wait) for worker, wait in zip(workers, waits, strict=True)))
