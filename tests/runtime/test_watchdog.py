"""The watchdog in virtual time, over duties that do what the test says."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

import pytest

from failsoft import Pipeline
from failsoft.catalogue import parse
from failsoft.kafka import Duty, DutyKind
from failsoft.policy.errors import WorkerStuck
from failsoft.policy.watchdog import Sight, WatchdogSettings
from failsoft.runtime.metrics import Metrics
from failsoft.runtime.watchdog import Watchdog
from failsoft.runtime.worker import duty_topics
from failsoft.testing.stage import USUAL
from failsoft.testing.virtual_time import run_in_virtual_time

BOUNDS = WatchdogSettings(rebuild_seconds=60.0, exit_seconds=180.0)
LABELS = {"stage": "answer", "duty": "commit"}


@dataclass
class Commits:
    """A duty that stands still, unless rebuilding it helps."""

    heals: bool = False
    done: int = 0
    rebuilt_at: list[float] = field(default_factory=list)
    is_whole: bool = True
    asked: int = 0

    def duty(self) -> Duty:
        return Duty(DutyKind.COMMIT, "nothing was committed", lambda: Sight(is_due=True, done=self.done), self.rebuild)

    def rebuild(self) -> None:
        self.rebuilt_at.append(asyncio.get_running_loop().time())
        self.done += self.heals

    async def is_cluster_whole(self) -> bool:
        self.asked += 1
        return self.is_whole


async def run_for(seconds: float, commits: Commits, bounds: WatchdogSettings = BOUNDS) -> tuple[float, Metrics]:
    metrics = Metrics()
    watchdog = Watchdog(metrics, is_cluster_whole=commits.is_cluster_whole)
    watchdog.watch([commits.duty()], bounds, stage="answer")
    began_at = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(seconds):
            await watchdog.run()
    except TimeoutError:
        pass
    except WorkerStuck as stuck:
        assert str(stuck).startswith("stage answer: nothing was committed (")  # noqa: PT017
        return asyncio.get_running_loop().time() - began_at, metrics
    return seconds, metrics


def value(metrics: Metrics, name: str) -> float | None:
    return metrics.registry.get_sample_value(name, LABELS)


def in_virtual_time(test: Callable[[], Coroutine[None, None, None]]) -> Callable[[], None]:
    @functools.wraps(test)
    def run() -> None:
        run_in_virtual_time(test())

    del run.__wrapped__  # or pytest takes it for a coroutine
    return run


@in_virtual_time
async def test_what_stands_still_is_rebuilt_and_then_ends_the_worker():
    commits = Commits()
    seconds, metrics = await run_for(1_000, commits)
    assert len(commits.rebuilt_at) == 1
    assert seconds == pytest.approx(180, abs=3)
    assert value(metrics, "failsoft_watchdog_rebuilds_total") == 1.0


@in_virtual_time
async def test_what_rebuilding_heals_ends_nothing():
    commits = Commits(heals=True)
    seconds, metrics = await run_for(600, commits)
    assert seconds == 600
    assert len(commits.rebuilt_at) >= 2
    assert (value(metrics, "failsoft_watchdog_silent_seconds") or 0.0) < 60


@in_virtual_time
async def test_an_outage_of_any_length_ends_nothing_and_the_cluster_is_asked_only_where_something_stands():
    commits = Commits(is_whole=False)
    seconds, _ = await run_for(3_600, commits)
    assert (seconds, commits.rebuilt_at) == (3_600, [])
    assert 0 < commits.asked <= 3_600 / 5


@in_virtual_time
async def test_where_it_is_not_enforced_nothing_is_done_and_the_silence_is_shown():
    commits = Commits()
    seconds, metrics = await run_for(600, commits, WatchdogSettings(enforce=False))
    assert (seconds, commits.rebuilt_at) == (600, [])
    assert (value(metrics, "failsoft_watchdog_silent_seconds") or 0.0) > 500
    assert value(metrics, "failsoft_watchdog_rebuilds_total") is None or not value(
        metrics, "failsoft_watchdog_rebuilds_total"
    )


def test_a_worker_is_not_stuck_while_the_topic_of_its_roll_ups_is_ill():
    """They wait as long as it takes, and the producer is that of results: without requests nothing else is acknowledged."""
    pipeline = Pipeline("support")
    first = pipeline.stage("retrieve")
    pipeline.stage("answer", after=first)
    catalogue = parse(USUAL.replace("any: [one]", "support: [retrieve, answer]"))
    assert duty_topics([first], catalogue) == {
        "support.results",
        "support.dead-letters",
        "support.outcomes",
        *(f"support.{stage}.{name}" for stage in ("retrieve", "answer") for name in catalogue.classes),
    }
