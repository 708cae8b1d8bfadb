"""A stage under test: the production runner, its own tiers or doubles of them, virtual time, no Kafka.

    async with run_stage(answer, endpoints={"large": Fails(500), "small": Answers({...}, after="80ms")}) as stage:
        result = await stage.send(body, deadline="2s", request_class="interactive")
        assert (result.tier, result.reason) == ("small", "endpoint_error")

Requests and results cross the wire format and the machine of production, through the in-memory broker. Time is that of
:class:`~failsoft.testing.nested_loop.NestedLoop`: it passes only while the test awaits the stage, and every run is the same. A
virtual minute costs 30 ms, and 0.3 s while requests wait for a permit, because the machine then looks again every 20 ms. It works
wherever a test can be async: pytest-asyncio, ``IsolatedAsyncioTestCase``, ``asyncio.run``.

Tiers without a double run as declared, if they are functions: ``asyncio.sleep`` in them is virtual; one that runs in a thread
or in a process runs on the loop here (its ``warm_up`` first), and its computing takes no time: that a process would be killed
at its window is not shown. Other endpoints speak to the world, in which time cannot jump, and need a
double.

What is known of a tier's latency is its author's word (``expect``), as on a worker that has just started: a request that does not
fit it goes to a lower tier. Where the author says nothing, an :class:`~failsoft.testing.Answers` in its place is believed.
"""

import asyncio
import copy
import inspect
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from failsoft.catalogue import Catalogue, load, parse, results_topic
from failsoft.endpoints import Call, CallableEndpoint, Output, ProcessEndpoint
from failsoft.pipeline import Stage, Tier
from failsoft.policy.durations import Duration, parse_duration
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.request import ClassName
from failsoft.runtime.submission import Destination, choose_destination
from failsoft.simulation.cluster import EPOCH
from failsoft.testing.doubles import Answers, Double
from failsoft.testing.memory import MemoryBroker, MemoryOutbox, MemoryResultReader, MemoryWorker
from failsoft.testing.nested_loop import NestedLoop
from failsoft.testing.virtual_clock import VirtualClock
from failsoft.wire import Envelope, Identity, RequestLine, Result
from failsoft.wire.body import encode_request, gathered
from failsoft.wire.envelope import encode_request_headers
from failsoft.wire.identity import result_id
from failsoft.wire.limits import LARGE_VALUE_BYTES
from failsoft.wire.result import decode_result

USUAL = """
version: 1
defaults: {partitions: 1, replication: 1, config: {message.timestamp.type: LogAppendTime}}
classes:
  interactive: {weight: 8, deadline: 5s,  deadline_max: 60s}
  standard:    {weight: 3, deadline: 60s, deadline_max: 15m}
  batch:       {weight: 1, deadline: 24h, deadline_max: 72h}
pipelines: {any: [one]}
topics:
  requests:     {config: {retention.ms: 7d, max.message.bytes: 1.25MiB}}
  results:      {config: {retention.ms: 7d, max.message.bytes: 4MiB}}
  dead-letters: {config: {retention.ms: 14d, max.message.bytes: 4MiB}}
"""
"""The classes of the topics.yaml that comes with failsoft. Its pipeline makes room for that of the stage."""


@asynccontextmanager
async def run_stage(
    stage: Stage,
    *,
    endpoints: Mapping[str, Double] | None = None,
    catalogue: Catalogue | Path | str | None = None,
) -> AsyncIterator["StageUnderTest"]:
    """Run one stage in virtual time, without Kafka.

    Args:
        stage: what :meth:`failsoft.Pipeline.stage` has returned; it is not changed.
        endpoints: tier -> what it calls instead of what it declares.
        catalogue: the topic catalogue or its path; the three usual classes where not said.

    Raises:
        ConfigurationError: no such tier, or one that cannot run in virtual time and has no double.
    """
    given = Path(catalogue) if isinstance(catalogue, str) else catalogue
    known = given if isinstance(given, Catalogue) else parse(USUAL) if given is None else load(given)
    alone = replace(known, pipelines={stage.pipeline: (stage.name,)})
    tiers = _Tiers(stage, endpoints or {})
    loop = NestedLoop()
    try:
        await loop.run(tiers.warm_up())
        inside = await loop.run(_Inside.begin(tiers.stage(), alone))
        yield StageUnderTest(loop, inside, tiers, alone)
        await loop.run(inside.end())
    finally:
        loop.close()


class StageUnderTest:
    """A stage that runs. Made by :func:`run_stage`."""

    def __init__(self, loop: NestedLoop, inside: "_Inside", tiers: "_Tiers", catalogue: Catalogue) -> None:
        self._loop = loop
        self._inside = inside
        self._tiers = tiers
        self._catalogue = catalogue
        self._numbers = itertools.count(1)

    @property
    def now(self) -> float:
        """Virtual seconds since the stage began."""
        return self._loop.now

    @property
    def wall_now(self) -> float:
        """What a clock on the wall shows there, epoch seconds: for parts of a context that are of an age."""
        return EPOCH + self.now  # the clock of the stage's own loop, which is not the test's

    @property
    def calls(self) -> list[Call]:
        """Every call of a tier so far, in order."""
        return self._tiers.calls

    @property
    def results(self) -> list[Result]:
        """Every visible result so far, in order."""
        return self._inside.results

    def replace(self, tier: str, double: Double) -> None:
        """Let a tier call something else from now on; calls under way are left as they are.

        Raises:
            ConfigurationError: there is no such tier, or it calls nothing.
        """
        self._tiers.replace(tier, double)

    async def send(
        self,
        body: Mapping[str, Any],
        *,
        request_class: ClassName,
        context: Mapping[str, Any] | None = None,
        deadline: Duration | None = None,
        floor: int | None = None,
        max_stale: Duration | None = None,
        tenant: str | None = None,
        url: str = "/v1/chat/completions",
    ) -> Result:
        """Send a request and wait, in virtual time, for its result, whatever its outcome.

        Args:
            body: of the model's API.
            request_class: urgency.
            context: what earlier stages would have gathered: name -> value, gathered now, or a
                :class:`~failsoft.wire.body.ContextPart`.
            deadline: how long it may take; the class's own where not said.
            floor: the lowest level that it accepts.
            max_stale: how far past its freshness an answer of the past may be, in whole seconds; as far as the stage allows where
                not said.
            tenant: whose it is.
            url: the path of the model's API.

        Raises:
            ConfigurationError: no such class, or a deadline that the class does not take.
            MalformedRecord: the body is no request; names the field.
        """
        number = str(next(self._numbers))
        destination = choose_destination(
            self._catalogue,
            request_class=request_class,
            deadline_seconds=None if deadline is None else parse_duration(deadline, field="deadline"),
        )
        tolerated = None if max_stale is None else int(parse_duration(max_stale, field="max_stale"))
        envelope = Envelope(Identity("/test", number), tenant=tenant, floor=floor, max_stale_seconds=tolerated)
        parts = gathered(context or {}, at=self.wall_now)
        value = encode_request(RequestLine(number, url, dict(body), parts), limit_bytes=LARGE_VALUE_BYTES)
        return await self._loop.run(self._inside.send(destination, envelope, value))

    async def pass_time(self, duration: Duration) -> None:
        """Let virtual time pass, and everything happen that is due in it."""
        await self._loop.run(asyncio.sleep(parse_duration(duration)))


class _Tiers:
    """What the tiers of a stage call at this moment, and what was called.

    Args:
        stage: as declared.
        doubles: tier -> what it calls instead.
    """

    def __init__(self, stage: Stage, doubles: Mapping[str, Double]) -> None:
        self.calls: list[Call] = []
        self._declared = stage
        self._called = [tier.settings.name for tier in stage.tiers if tier.settings.is_model]
        self._serving: dict[str, Double] = {
            tier.settings.name: _function(tier.serves)
            for tier in stage.tiers
            if isinstance(tier.serves, CallableEndpoint | ProcessEndpoint)
        }
        self._warm_ups = {
            tier.settings.name: tier.serves.warm_up
            for tier in stage.tiers
            if isinstance(tier.serves, ProcessEndpoint) and tier.serves.warm_up is not None
        }
        for tier, double in doubles.items():
            self.replace(tier, double)
        for tier in self._called:
            if tier not in self._serving:
                raise ConfigurationError(
                    f"{stage}, tier {tier}: it speaks to the world; give it a double in endpoints="
                )

    def replace(self, tier: str, double: Double) -> None:
        """Let a tier call something else from now on."""
        if tier not in self._called:
            known = ", ".join(self._called) or "none"
            raise ConfigurationError(f"{self._declared}: no tier {tier!r} that calls something; it has {known}")
        self._serving[tier] = double
        self._warm_ups.pop(tier, None)

    async def warm_up(self) -> None:
        """What its process would run before it serves a tier that has no double."""
        for warm_up in self._warm_ups.values():
            warmed = warm_up()
            if inspect.isawaitable(warmed):
                await warmed

    def stage(self) -> Stage:
        """The stage as declared, except that each call goes to what serves its tier at that moment."""
        stage = copy.copy(self._declared)
        stage.successor = None  # its answers are results here
        stage.tiers = [self._doubled(tier) for tier in self._declared.tiers]
        return stage

    def _doubled(self, tier: Tier) -> Tier:
        """Where the author has said nothing of a tier's latency, its double's is the truth."""
        settings, limit = tier.settings, tier.settings.limit
        if limit is None:
            return tier
        double = self._serving[settings.name]
        if settings.expected_seconds is None and isinstance(double, Answers):
            settings = replace(settings, expected_seconds=parse_duration(double.after) or None)
        return replace(tier, settings=settings, serves=CallableEndpoint(self._call, limit=limit))

    async def _call(self, call: Call) -> Output:
        self.calls.append(call)
        return await self._serving[call.tier](call)


def _function(serves: CallableEndpoint | ProcessEndpoint) -> Double:
    """What a tier would call, on the loop."""

    async def call(given: Call) -> Output:
        output = serves.function(given)
        return await output if inspect.isawaitable(output) else output

    return serves.function if isinstance(serves, CallableEndpoint) else call


class _Inside:
    """What lives on the virtual loop: a broker, a worker, and who waits for results."""

    def __init__(self, stage: Stage, catalogue: Catalogue) -> None:
        self.results: list[Result] = []
        self._clock = VirtualClock()
        broker = MemoryBroker(catalogue, self._clock)
        self._outbox = MemoryOutbox(broker)
        self._worker = MemoryWorker(broker, stage, catalogue=catalogue)
        self._reader = MemoryResultReader(broker, results_topic(stage.pipeline))
        self._reading = asyncio.get_running_loop().create_task(self._read())
        self._waiting: dict[str, asyncio.Future[Result]] = {}

    @classmethod
    async def begin(cls, stage: Stage, catalogue: Catalogue) -> Self:
        """Make it, and start the worker."""
        inside = cls(stage, catalogue)
        await inside._worker.start()
        return inside

    async def end(self) -> None:
        """Let go of the tiers' endpoints; what is under way is cut."""
        self._reading.cancel()
        await self._worker.close()

    async def send(self, destination: Destination, envelope: Envelope, value: bytes) -> Result:
        """Append a request and wait for its result, or for the bug that keeps it from coming."""
        headers = encode_request_headers(
            envelope, budget_seconds=destination.budget_seconds, sent_at=self._clock.wall()
        )
        id_ = result_id(envelope.identity)
        coming: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting[id_] = coming
        await self._outbox.send(destination.topic, key=id_.encode(), value=value, headers=headers)
        broken = asyncio.ensure_future(self._worker.runner.failed())
        ends: set[asyncio.Future[Any]] = {coming, broken, self._reading}
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            broken.cancel()
        for ended in done:
            ended.result()
        return await coming

    async def _read(self) -> None:
        await self._reader.start()
        async for record in self._reader.records():
            result = decode_result(record.headers, record.value)
            self.results.append(result)
            self._waiting[result.id].set_result(result)
