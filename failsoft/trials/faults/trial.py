"""A fault trial, from the first broker to the last line of its history.

Brokers, topics, models, workers, readers and callers start, in this order; a warm-up of five seconds shows that all is well; then
the schedule is carried out under load. When its time is over everything is healed, and the load ends. The trial has come to rest
when every accepted request has been shown a result, or when none has come for half a minute. Then workers are stopped in order,
so that nothing more can come, a reader reads everything from the beginning as a newcomer would, and the logs are written down.
What all that means is the checker's business.

Three workers: the first has a way to the brokers of its own, so that it can be cut off alone, the others share one.
"""

import asyncio
import contextlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from failsoft.catalogue import Catalogue, dead_letters_topic, parse, results_topic
from failsoft.kafka import Connection, admin, operations, partition_counts
from failsoft.policy.errors import ConfigurationError, EnvironmentFailure
from failsoft.policy.outcome import Reason
from failsoft.testing.artifacts import KAFKA_VERSION
from failsoft.testing.ensemble import Ensemble
from failsoft.testing.model_server import ModelSettings
from failsoft.trials.beside import beside
from failsoft.trials.faults.callers import CANARIES, Callers
from failsoft.trials.faults.crew import Crew, worker_command
from failsoft.trials.faults.leaks import leaks
from failsoft.trials.faults.names import LARGE_SLOTS, NAME, SMALL_SLOTS, STAGE
from failsoft.trials.faults.network import ALONE, CALLERS, GROUPS, WORKERS
from failsoft.trials.faults.readers import Reader
from failsoft.trials.faults.schedule import Kind, Schedule
from failsoft.trials.faults.site import Site
from failsoft.trials.faults.strike import Strikes
from failsoft.trials.history import FaultHistory, Limits, OffsetHistory, Trial, TrialClass, write_trial
from failsoft.trials.served_models import ServedModels

TARGET = "failsoft.trials.faults.pipeline:pipeline"
WORKER_COUNT = 3
SESSION_SECONDS = 3.0
DRAIN_SECONDS = 5.0
WARM_UP_SECONDS = 5.0
QUIET_SECONDS = 30.0
"""Nothing for so long, and nothing more will come."""
REST_SECONDS = 180.0
SAMPLE_SECONDS = 1.0
LOOK_SECONDS = 0.2
TELL_SECONDS = 10.0
SMALL_DISK_MEGABYTES = 512
GIVES_KILLERS_UP = "POISON" in Reason.__members__
"""Where a record that has crashed three workers is not given up, one that always does would end the trial."""
PARTITIONS = 6
MODELS = {
    "large": ModelSettings(slots=LARGE_SLOTS, queue=LARGE_SLOTS, median_seconds=0.06, sigma=0.35),
    "small": ModelSettings(slots=SMALL_SLOTS, queue=SMALL_SLOTS, median_seconds=0.02, sigma=0.35),
}
"""Together several hundred requests a second: the faults are what hurts, not the load."""
CATALOGUE = """
version: 1
defaults:
  partitions: {partitions}
  replication: {replication}
  config: {{min.insync.replicas: {in_sync}, message.timestamp.type: LogAppendTime}}
classes:
  interactive: {{weight: 8, deadline: 5s,  deadline_max: 60s}}
  standard:    {{weight: 3, deadline: 60s, deadline_max: 15m}}
  batch:       {{weight: 1, deadline: 24h, deadline_max: 72h}}
pipelines: {{{pipeline}: [{stage}]}}
topics:
  requests:     {{config: {{retention.ms: 7d, max.message.bytes: 1.25MiB}}}}
  results:      {{config: {{retention.ms: 7d, max.message.bytes: 4MiB}}}}
  dead-letters: {{config: {{retention.ms: 14d, max.message.bytes: 4MiB}}}}
  outcomes:     {{partitions: 1, config: {{retention.ms: 1h}}}}
  breakers:     {{partitions: 1, config: {{cleanup.policy: "compact,delete", retention.ms: 24h}}}}
  controls:     {{partitions: 1, config: {{cleanup.policy: compact}}}}
"""


@dataclass(frozen=True, slots=True)
class TrialSettings:
    """How a trial runs.

    Attributes:
        schedule: what strikes when.
        seed: of the load and the models; the schedule has been drawn from it too.
        brokers: 1 or 3.
        folder: of the history, empty.
        per_second: requests.
        is_smoke: all faults are struck, however late they are.
        without: kinds of fault that are left out.
    """

    schedule: Schedule
    seed: int
    brokers: int
    folder: Path
    per_second: float
    is_smoke: bool = False
    without: Collection[Kind] = ()


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """What a trial says of itself, beside its history.

    Attributes:
        accepted: requests that were acknowledged.
        unknown: sends whose outcome nobody knows.
        faults: kind -> how often it struck.
        skipped: kind -> why this machine cannot have it.
        late: faults that were left out because those before them took too long.
        ended_by_themselves: exit code -> workers that ended without being told to.
        drained: exit code -> workers that ended when told to.
        rest_seconds: from the end of the load to the last result.
        leaks: places in logs where a prompt is quoted.
    """

    accepted: int
    unknown: int
    faults: Mapping[str, int]
    skipped: Mapping[str, str]
    late: int
    ended_by_themselves: Mapping[int, int]
    drained: Mapping[int, int]
    rest_seconds: float
    leaks: Sequence[str]


async def run_trial(settings: TrialSettings, say: Callable[[str], None]) -> TrialOutcome:
    """Run one, and leave its history in the folder.

    Raises:
        EnvironmentFailure: something could not be started or healed; says what.
    """
    catalogue = _catalogue(settings.brokers)
    trial = _described(settings, catalogue)
    write_trial(settings.folder, trial)
    async with AsyncExitStack() as closing:
        logs = settings.folder / "logs"
        logs.mkdir()
        disk = closing.enter_context(_small_disk(settings.brokers))
        ensemble = await closing.enter_async_context(
            Ensemble(settings.brokers, groups=GROUPS, data_dirs={} if disk is None else {settings.brokers: disk})
        )
        say(f"{settings.brokers} brokers answer")
        direct, callers_way = Connection(ensemble.direct), Connection(ensemble.gates[CALLERS].addresses)
        await _apply(direct, catalogue)
        models = await closing.enter_async_context(ServedModels(MODELS, seed=settings.seed, folder=logs))
        offsets = OffsetHistory(settings.folder)
        closing.callback(offsets.close)
        faults = FaultHistory(settings.folder)
        closing.callback(faults.close)
        commands = _commands(ensemble, models, settings.folder, _written(settings))
        crew = await closing.enter_async_context(Crew(commands, folder=logs, say=say))
        say(f"{WORKER_COUNT} workers take requests")
        readers = [
            await closing.enter_async_context(
                Reader(connection, trial.results, folder=settings.folder, number=number, start="beginning")
            )
            for number, connection in enumerate((direct, callers_way), start=1)
        ]
        callers = await closing.enter_async_context(
            Callers(
                callers_way,
                catalogue,
                pipeline=NAME,
                folder=settings.folder,
                seed=settings.seed,
                per_second=settings.per_second,
            )
        )
        site = Site(
            ensemble,
            crew,
            models,
            callers,
            catalogue,
            trial,
            settings.folder,
            shown=lambda: readers[0].shown,
            small_disk=None if disk is None else (settings.brokers, disk),
            gives_killers_up=GIVES_KILLERS_UP,
        )
        strikes = Strikes(
            site, settings.schedule, faults, say, is_punctual=not settings.is_smoke, without=settings.without
        )
        async with beside(_sample(site, offsets)), beside(_tell(site, say)):
            await _under_load(site, strikes, readers, settings.schedule.seconds)
            rest_seconds = await _rest(site, readers[0])
        say(f"at rest after {rest_seconds:.1f} s; stopping the workers")
        await crew.stop()
        await _write_down(site, settings.folder, number=len(readers) + 1)
    return TrialOutcome(
        callers.sent,
        callers.unknown,
        dict(strikes.done),
        strikes.skipped,
        strikes.late,
        dict(crew.ended_by_themselves),
        dict(crew.drained),
        rest_seconds,
        list(leaks(settings.folder, CANARIES.values())),
    )


async def _under_load(site: Site, strikes: Strikes, readers: list[Reader], seconds: float) -> None:
    """Send, strike, and be quiet until the time is over; nothing that a trial needs may end meanwhile."""
    began_at = time.monotonic()
    async with beside(site.callers.ask()) as asking, beside(_struck(strikes, began_at)) as striking:
        while not striking.done() or time.monotonic() - began_at < seconds + WARM_UP_SECONDS:
            for reader in readers:
                reader.require_reading()
            site.models.require_running()
            if asking.done():
                asking.result()
            if striking.done():
                striking.result()
            await asyncio.sleep(LOOK_SECONDS)
    await site.callers.settle()


async def _struck(strikes: Strikes, began_at: float) -> None:
    await asyncio.sleep(began_at + WARM_UP_SECONDS - time.monotonic())
    await strikes.carry_out()


async def _rest(site: Site, reader: Reader) -> float:
    """Wait until everything accepted has been shown a result; or nothing has come for a while; or it has been long enough."""
    began_at = time.monotonic()
    while site.callers.accepted.keys() - reader.shown:
        reader.require_reading()
        now = time.monotonic()
        if now - max(began_at, reader.moved_at) > QUIET_SECONDS or now - began_at > REST_SECONDS:
            break
        await asyncio.sleep(LOOK_SECONDS)
    return time.monotonic() - began_at


async def _write_down(site: Site, folder: Path, *, number: int) -> None:
    newcomer = Reader(
        site.connection, results_topic(NAME), folder=folder, number=number, start="beginning", until_end=True
    )
    async with newcomer:
        await newcomer.finished()
    for topic in site.trial.topics:
        await site.dump(topic)


async def _sample(site: Site, history: OffsetHistory) -> None:
    """Look where the group is, once a second; while brokers are away or a topic is being made anew, there is nothing to see."""
    while True:
        with contextlib.suppress(EnvironmentFailure, ConfigurationError):
            committed = await operations.committed(site.connection, site.trial.group)
            counts = await partition_counts(site.connection, site.topics.values())
            bounds = await operations.log_bounds(site.connection, counts)
            history.sample({place: found.offset for place, found in committed.items()}, bounds)
        await asyncio.sleep(SAMPLE_SECONDS)


async def _tell(site: Site, say: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(TELL_SECONDS)
        waiting = len(site.callers.accepted.keys() - set(site.shown()))
        say(f"{site.callers.sent} requests accepted, {waiting} without a result yet")


def _catalogue(brokers: int) -> Catalogue:
    return parse(_catalogue_text(brokers), source="the trial's catalogue")


def _catalogue_text(brokers: int) -> str:
    in_sync = max(1, brokers - 1)
    return CATALOGUE.format(partitions=PARTITIONS, replication=brokers, in_sync=in_sync, pipeline=NAME, stage=STAGE)


def _written(settings: TrialSettings) -> Path:
    path = settings.folder / "topics.yaml"
    path.write_text(_catalogue_text(settings.brokers), "utf-8")
    return path


def _described(settings: TrialSettings, catalogue: Catalogue) -> Trial:
    topics = catalogue.stage_topics(NAME, STAGE)
    return Trial(
        pipeline=NAME,
        stage=STAGE,
        classes={
            name: TrialClass(topics[name], each.deadline_seconds, each.deadline_max_seconds)
            for name, each in catalogue.classes.items()
        },
        results=results_topic(NAME),
        dead_letters=dead_letters_topic(NAME),
        group=f"failsoft.{NAME}.{STAGE}",
        seed=settings.seed,
        began_at=time.time(),
        canaries=CANARIES,
        shares=True,
        limits=_limits(settings),
        versions={
            "failsoft": version("failsoft"),
            "aiokafka": version("aiokafka"),
            "kafka": KAFKA_VERSION,
            "python": platform.python_version(),
        },
    )


def _limits(settings: TrialSettings) -> Limits:
    """What the trial is held against; in a smoke, which has all faults of a night in two minutes, repeats are counted only."""
    usual = Limits(session_seconds=SESSION_SECONDS)
    return replace(usual, repeats_share=1.0) if settings.is_smoke else usual


def _commands(ensemble: Ensemble, models: ServedModels, folder: Path, catalogue: Path) -> list[list[str]]:
    ways = [ALONE, *[WORKERS] * (WORKER_COUNT - 1)]
    return [
        worker_command(
            TARGET,
            bootstrap=ensemble.gates[way].addresses,
            catalogue=catalogue,
            models_url=models.url,
            history=folder,
            session_seconds=SESSION_SECONDS,
            drain_seconds=DRAIN_SECONDS,
        )
        for way in ways
    ]


async def _apply(connection: Connection, catalogue: Catalogue) -> None:
    applied = await admin.apply(connection, catalogue)
    if not applied.remaining.is_in_step:
        raise EnvironmentFailure("the new cluster did not take the trial's topics")


@contextlib.contextmanager
def _small_disk(brokers: int) -> Iterator[Path | None]:
    """Mount a small disk for one node where this user may; one broker alone has none, or its metadata would go with it."""
    if brokers == 1 or os.geteuid() != 0 or not sys.platform.startswith("linux"):
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="failsoft-disk-") as folder:
        size = f"size={SMALL_DISK_MEGABYTES}m"
        mounted = subprocess.run(  # noqa: S603 - our own words
            ["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder],  # noqa: S607
            capture_output=True,
            check=False,
        )
        if mounted.returncode:
            yield None
            return
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], capture_output=True, check=False)  # noqa: S603, S607
