"""What other workers say of breakers, and operators of breakers and routes, passed on to the stages of this process.

One view for all stages, because there is one topic of each kind for a pipeline. What cannot be read is counted and left out:
whoever may write there is a worker or an operator, and one of a newer version must not silence the others. A word on a breaker
that no stage here has is somebody else's, and counted apart. The breaker before a stage belongs to the stage before that one.

Ages are reckoned by the broker's clock, as far as this process knows it; where it does not, a word counts as new, and an opening
lasts longer than it has to (research/algorithms.md §5.2).

A stage with nothing to do is not woken by its machine. So each hears of the time now and then: words are said again within the
hour, an operator's word ends, and what the metrics show is so.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

import structlog
from prometheus_client import Counter

from failsoft.kafka import ViewRecord
from failsoft.policy.breaker_control import Control
from failsoft.policy.errors import MalformedRecord
from failsoft.policy.events import ControlSeen, Event, RegisterSeen, RegistersSeen, RouteSeen, Tick
from failsoft.policy.register import breaker_before
from failsoft.wire.control import BreakerControl, decode_control
from failsoft.wire.register import decode_register
from failsoft.wire.route import SaidRoute, decode_route

log = structlog.get_logger("failsoft.breakers")

TRUSTED_SECONDS = 1.0
"""How well the broker's clock has to be known for ages to be believed: a fifth of the shortest opening."""
TICK_SECONDS = 5.0


class SharedClock(NamedTuple):
    """What this process knows of the time.

    Attributes:
        monotonic: seconds, its own.
        broker: epoch seconds, as near to the broker's clock as is known.
        uncertainty_seconds: how far that may be from the truth.
    """

    monotonic: Callable[[], float]
    broker: Callable[[], float]
    uncertainty_seconds: Callable[[], float]


class Heard(StrEnum):
    """What became of a record."""

    TAKEN = "taken"
    FOREIGN = "foreign"
    """Of a stage that this process does not run, or of another type."""
    MALFORMED = "malformed"


class _Kept:
    """What was heard before its stage was there: the registers together, so that nothing is decided on a part of them."""

    def __init__(self) -> None:
        self.registers: list[RegisterSeen] = []
        self.words: list[Event] = []
        """Of operators, on breakers and on routes, in their order."""

    def keep(self, event: Event) -> None:
        if isinstance(event, RegistersSeen):
            self.registers += event.registers
        elif isinstance(event, ControlSeen | RouteSeen):
            self.words.append(event)


class BreakerNews:
    """Reads both topics for the stages of one process.

    Args:
        stages: their names, and that of the stage that comes after each, None after the last. What is heard before one is there
            is kept for it.
        clock: of this process, and of the broker as far as it is known.
        heard: counts records, by kind and by what became of them.
    """

    def __init__(self, stages: Mapping[str, str | None], *, clock: SharedClock, heard: Counter) -> None:
        self._clock = clock
        self._heard = heard
        self._kept = {stage: _Kept() for stage in stages}
        self._feeds: dict[str, Callable[[Event], None]] = {stage: kept.keep for stage, kept in self._kept.items()}
        self._stages = {stage: stage for stage in stages}
        self._stages |= {breaker_before(after): stage for stage, after in stages.items() if after is not None}
        self._complained: set[str] = set()

    def tell(self, stage: str, feed: Callable[[Event], None]) -> None:
        """Pass on what concerns this stage: what was heard, and what comes."""
        self._feeds[stage] = feed
        kept = self._kept.pop(stage, _Kept())
        for event in (RegistersSeen(tuple(kept.registers)), *kept.words):
            feed(event)

    async def keep_time(self) -> None:
        """Tell the stages of the time, for ever."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            for feed in self._feeds.values():
                feed(Tick())

    def registers(self, records: Sequence[ViewRecord]) -> None:
        """Take records of ``<pipeline>.breakers``; of several of one writer the last says all that he knows."""
        said: dict[str, list[RegisterSeen]] = {}
        is_trusted = self._clock.uncertainty_seconds() <= TRUSTED_SECONDS
        for record in {record.key: record for record in records}.values():
            seen = self._register(record, record.age_seconds if is_trusted else 0.0)
            if seen is not None:
                said.setdefault(self._stage_of(seen.breaker), []).append(seen)
        for stage, all_seen in said.items():
            self._count("register", Heard.TAKEN, len(all_seen))
            self._feeds[stage](RegistersSeen(tuple(all_seen)))

    def controls(self, records: Sequence[ViewRecord]) -> None:
        """Take records of ``<pipeline>.controls``."""
        for record in records:
            try:
                control = None if record.value is None else decode_control(record.value, record.headers)
                said = decode_route(record.value, record.headers)
            except MalformedRecord as error:
                self._malformed("control", record, error)
                continue
            subject = control.breaker if control is not None else said.route.endpoint if said is not None else ""
            feed = self._feeds.get(self._stage_of(subject))
            self._count("control", Heard.FOREIGN if feed is None else Heard.TAKEN)
            if feed is not None and control is not None:
                self._pass_on(control, record, feed)
            elif feed is not None and said is not None:
                self._pass_on_route(said, feed)

    def _register(self, record: ViewRecord, age_seconds: float) -> RegisterSeen | None:
        try:
            breaker, process, register = decode_register(record.key, record.value, record.headers)
        except MalformedRecord as error:
            self._malformed("register", record, error)
            return None
        if self._stage_of(breaker) not in self._feeds:
            self._count("register", Heard.FOREIGN)
            return None
        return RegisterSeen(breaker, process, register, age_seconds=age_seconds)

    def _pass_on(self, said: BreakerControl, record: ViewRecord, feed: Callable[[Event], None]) -> None:
        now = self._clock.monotonic()
        ends_at = float("inf") if said.until is None else now + said.until - self._clock.broker()
        if ends_at > now:
            log.info("breaker_forced", breaker=said.breaker, force=said.force, who=said.who, seconds=ends_at - now)
        feed(ControlSeen(said.breaker, Control(said.force, record.appended_at, ends_at)))

    def _pass_on_route(self, said: SaidRoute, feed: Callable[[Event], None]) -> None:
        route = said.route
        log.info(
            "route_said",
            endpoint=route.endpoint,
            origin=route.origin,
            target=route.target,
            share=route.share,
            epoch=route.epoch,
            who=said.who,
        )
        feed(RouteSeen(route))

    def _count(self, kind: str, fate: Heard, count: int = 1) -> None:
        self._heard.labels(kind, fate.value).inc(count)

    def _malformed(self, kind: str, record: ViewRecord, error: MalformedRecord) -> None:
        """Count it, and say it of the first: one bad writer would fill the log."""
        self._count(kind, Heard.MALFORMED)
        if kind not in self._complained:
            log.warning("breaker_record_malformed", kind=kind, offset=record.offset, error=str(error))
        self._complained.add(kind)

    def _stage_of(self, breaker: str) -> str:
        """Which stage of this process has it; else no name of any."""
        return self._stages.get(breaker.partition("/")[0], "")
