"""An inbox and an outbox that do what the test says."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from failsoft.catalogue import Catalogue, parse
from failsoft.kafka import Acknowledged, Fetched
from failsoft.pipeline import Pipeline
from failsoft.policy.clock_offset import ClockOffset
from failsoft.policy.progress import Marks, Progress
from failsoft.policy.request import Partition, RecordId
from failsoft.runtime.clock import Clock
from failsoft.runtime.metrics import Metrics
from failsoft.runtime.runner import StageRunner
from failsoft.wire import Envelope, Identity, RequestLine, Result
from failsoft.wire.body import encode_request
from failsoft.wire.envelope import encode_request_headers
from failsoft.wire.result import decode_result

CATALOGUE: Catalogue = parse("""
version: 1
defaults: {partitions: 2, replication: 1, config: {message.timestamp.type: LogAppendTime}}
classes:
  interactive: {weight: 8, deadline: 5s,  deadline_max: 60s}
  batch:       {weight: 1, deadline: 1h, deadline_max: 2h}
pipelines: {demo: [work]}
topics:
  requests:     {config: {retention.ms: 7d}}
  results:      {config: {retention.ms: 7d}}
  dead-letters: {config: {retention.ms: 14d}}
  outcomes:     {partitions: 1, config: {retention.ms: 1h}}
reply_topics: [answers-for-app]
""")


class FakeOutbox:
    """Keeps what is sent; acknowledges at once, or when ``gate`` is opened."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes | None, bytes | None, Sequence[tuple[str, bytes | None]]]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.refuse: list[BaseException] = []
        self.clock_offset = ClockOffset()

    async def send(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]] = (),
        partition: int | None = None,
    ) -> Acknowledged:
        if self.refuse:
            raise self.refuse.pop(0)
        self.sent.append((topic, key, value, headers))
        await self.gate.wait()
        return Acknowledged(0, len(self.sent), None)

    def results(self) -> list[Result]:
        return [
            decode_result(list(headers), value) for topic, _, value, headers in self.sent if topic == "demo.results"
        ]


class FakeInbox:
    """Keeps what is committed; the group takes it, or not."""

    def __init__(self) -> None:
        self.committed: list[Mapping[Partition, tuple[int, int]]] = []
        self.takes = True
        self.answers = asyncio.Event()
        self.answers.set()
        self.woken: list[str] = []
        self.is_stopped = False

    async def start(self) -> None:
        """Nothing to connect to."""

    async def stop(self, *, leave: bool = True) -> None:
        self.is_stopped = leave

    async def failed(self) -> None:
        await asyncio.Event().wait()

    async def commit(self, marks: Marks) -> frozenset[Partition]:
        offsets = {
            partition: (assignment, progress.offset)
            for partition, (assignment, progress) in marks.items()
            if progress.offset
        }
        if offsets:
            self.committed.append(offsets)
        await self.answers.wait()
        return frozenset(marks) if self.takes else frozenset()

    def wake(self, request_class: str) -> None:
        self.woken.append(request_class)


@dataclass
class Stand:
    """One stage with fakes round it, owning partition 0 of both classes."""

    runner: StageRunner
    inbox: FakeInbox
    outbox: FakeOutbox
    clock: Clock
    metrics: Metrics
    offset: int = 0

    @classmethod
    async def of(cls, pipeline: Pipeline) -> "Stand":
        outbox, inbox, clock, metrics = FakeOutbox(), FakeInbox(), Clock(), Metrics()
        runner = StageRunner(
            pipeline.stages["work"],
            catalogue=CATALOGUE,
            outbox=outbox,
            clock=clock,
            metrics=metrics,
        )
        await runner.start(inbox)
        runner.assigned({Partition(name, 0): Progress(0) for name in CATALOGUE.classes}, 1, 1.0)
        return cls(runner, inbox, outbox, clock, metrics)

    def refused(self, record: str) -> float | None:
        """How many records of a kind the metrics say were refused."""
        where = {"stage": "work", "record": record}
        return self.metrics.registry.get_sample_value("failsoft_records_refused_total", where)

    def send(
        self,
        request_class: str = "interactive",
        *,
        budget_seconds: float = 5.0,
        value: bytes | None = None,
        url: str = "/v1/x",
        identity: str | None = None,
        assignment: int = 1,
        **said: object,
    ) -> None:
        """Have a record arrive now."""
        name = str(self.offset) if identity is None else identity
        headers = encode_request_headers(
            Envelope(Identity("/test", name), **said),  # type: ignore[arg-type]  # the test names the field
            budget_seconds=budget_seconds,
            sent_at=self.clock.wall(),
        )
        line = encode_request(
            RequestLine(
                str(self.offset),
                url,
                {
                    "n": self.offset if identity is None else identity,
                    "messages": [{"role": "user", "content": "hello"}],
                },
            )
        )
        self.runner.records(
            [
                Fetched(
                    record=RecordId(request_class, 0, self.offset),
                    topic=f"demo.work.{request_class}",
                    assignment=assignment,
                    timestamp=self.clock.wall(),
                    is_append_time=True,
                    key=None,
                    value=line if value is None else value,
                    headers=tuple((name, found or b"") for name, found in headers),
                    size_bytes=len(line),
                )
            ]
        )
        self.offset += 1

    async def settle(self, seconds: float = 0.0) -> None:
        """Let virtual time pass, and everything that is ready run."""
        await asyncio.sleep(seconds)
        for _ in range(20):
            await asyncio.sleep(0)
