"""Looks at the duties of a worker every second: rebuilds the part that stands still, and ends the worker if that does not help.

The rule, its bounds and what does not count are in :mod:`failsoft.policy.watchdog`; here are the clock, the question to the
cluster, the log and the metrics. Ending is an error that :func:`failsoft.runtime.worker.run_worker` raises, so that the worker
still leaves its group and closes, each step bounded.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import structlog

from failsoft.kafka import Duty
from failsoft.policy.errors import WorkerStuck
from failsoft.policy.watchdog import LOOK_SECONDS, Step, Watch, WatchdogSettings
from failsoft.runtime.metrics import Metrics

log = structlog.get_logger("failsoft.watchdog")

SHARED = ""
"""The stage of a duty that all stages of a worker share. An empty label is as good as none."""


@dataclass(frozen=True, slots=True)
class _Watched:
    stage: str
    duty: Duty
    watch: Watch
    enforce: bool


class Watchdog:
    """The watchdog of one worker.

    Args:
        metrics: where silence and rebuilds are shown.
        is_cluster_whole: asks the cluster, in bounded time; only where something stands still.
    """

    def __init__(self, metrics: Metrics, *, is_cluster_whole: Callable[[], Awaitable[bool]]) -> None:
        self._metrics = metrics
        self._is_cluster_whole = is_cluster_whole
        self._watched: list[_Watched] = []

    def watch(self, duties: Iterable[Duty], settings: WatchdogSettings, *, stage: str = SHARED) -> None:
        """Look at these from now on."""
        for duty in duties:
            watch = Watch(rebuild_seconds=settings.rebuild_seconds, exit_seconds=settings.exit_seconds)
            self._watched.append(_Watched(stage, duty, watch, settings.enforce))

    async def run(self) -> None:
        """Look for ever.

        Raises:
            WorkerStuck: a duty stands still, and rebuilding its part has not helped.
        """
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            is_suspect = any(each.watch.is_suspect for each in self._watched)
            is_whole = not is_suspect or await self._is_cluster_whole()
            for each in self._watched:
                self._look(each, is_whole=is_whole)
            self._show()

    def _look(self, each: _Watched, *, is_whole: bool) -> None:
        now = asyncio.get_running_loop().time()
        step = each.watch.look(each.duty.sight(), now=now, is_cluster_whole=is_whole)
        if step is Step.NOTHING:
            return
        why = f"{each.duty.said} ({each.watch.silent_seconds:.0f} s, while the cluster is whole)"
        if not each.enforce:
            if step is Step.REBUILD:
                log.warning("watchdog_would_rebuild", stage=each.stage, duty=each.duty.kind.value, why=why)
        elif step is Step.REBUILD:
            log.error("watchdog_rebuilds", stage=each.stage, duty=each.duty.kind.value, why=why)
            self._metrics.watchdog_rebuilds.labels(each.stage, each.duty.kind.value).inc()
            each.duty.rebuild()
        else:
            raise WorkerStuck(f"stage {each.stage}: {why}" if each.stage else why)

    def _show(self) -> None:
        silent: dict[tuple[str, str], float] = {}
        for each in self._watched:
            label = (each.stage, each.duty.kind.value)
            silent[label] = max(silent.get(label, 0.0), each.watch.silent_seconds)
        for label, seconds in silent.items():
            self._metrics.watchdog_silent.labels(*label).set(seconds)
