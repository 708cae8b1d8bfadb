"""What overload.py and trace.py hold failsoft against (a): a plain worker on aiokafka, as many run in production.

One topic for all, taken in the order of the log. Each record is a task of its own, as many at once as the large model serves and
queues, so that it never has to refuse one. A call has 5 s; what fails or takes longer is tried again after .2 and .4 s, three
times in all, and then answered with the failure. The client commits every five seconds, as it does by default. It
knows no deadlines and no other model.

    python -m bench.plain_worker --bootstrap B --topic T --results R --url U
"""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
import typer
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

IN_FLIGHT = 12
"""The slots of the large model (bench/contest.py) and its queue."""
TIMEOUT_SECONDS = 5.0
TRIES = 3
PAUSE_SECONDS = 0.2
FAILURES = (aiohttp.ClientError, TimeoutError, OSError)


@dataclass(frozen=True, slots=True)
class Ways:
    """Where a worker asks and where it answers."""

    session: aiohttp.ClientSession
    producer: AIOKafkaProducer
    results: str

    async def ask(self, model: str, record: Any, *, timeout_seconds: float) -> bytes:
        """Have a model answer a request: its body, with the model's name in it."""
        line = orjson.loads(record.value)
        timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        async with self.session.post(line["url"], json={**line["body"], "model": model}, timeout=timeout) as response:
            response.raise_for_status()
            return await response.read()

    async def answer(self, record: Any, body: bytes | None, *, outcome: str, tier: str = "", level: int = 0) -> None:
        """Publish the end of a request, under its id."""
        said = {"outcome": outcome, "tier": tier, "level": str(level)}
        headers = [(name, value.encode()) for name, value in said.items()]
        await self.producer.send_and_wait(self.results, body, key=dict(record.headers)["ce_id"], headers=headers)


@asynccontextmanager
async def ways(bootstrap: str, results: str, url: str) -> AsyncIterator[Ways]:
    """Open them, and close them."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0)) as session:
            yield Ways(session, producer, results)
    finally:
        await producer.stop()


def until_told(work: Coroutine[Any, Any, None]) -> None:
    """Run until SIGTERM."""

    async def run() -> None:
        task = asyncio.ensure_future(work)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(run())


class PlainWorker:
    """Consume, call, produce."""

    def __init__(self, to: Ways) -> None:
        self._to = to
        self._free = asyncio.Semaphore(IN_FLIGHT)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, consumer: AIOKafkaConsumer) -> None:
        """Take records for ever."""
        async for record in consumer:
            await self._free.acquire()
            task = asyncio.create_task(self._serve(record))
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._free.release()

    async def _serve(self, record: Any) -> None:
        for attempt in range(TRIES):
            try:
                body = await self._to.ask("large", record, timeout_seconds=TIMEOUT_SECONDS)
            except FAILURES:
                await asyncio.sleep(PAUSE_SECONDS * 2**attempt * random.uniform(0.5, 1.5))
            else:
                await self._to.answer(record, body, outcome="ok", tier="large", level=1)
                return
        await self._to.answer(record, None, outcome="failed")


async def serve(bootstrap: str, topic: str, results: str, url: str) -> None:
    """Serve until cancelled."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=f"plain.{topic}", auto_offset_reset="earliest"
    )
    async with ways(bootstrap, results, url) as to:
        await consumer.start()
        try:
            print("ready: plain", flush=True)
            await PlainWorker(to).run(consumer)
        finally:
            await consumer.stop()


def main(
    bootstrap: str = typer.Option(..., help="host:port of the broker."),
    topic: str = typer.Option(..., help="Of the requests."),
    results: str = typer.Option(..., help="Topic of the results."),
    url: str = typer.Option(..., help="Of the model server, without /v1."),
) -> None:
    """Serve until SIGTERM."""
    until_told(serve(bootstrap, topic, results, url))


if __name__ == "__main__":
    typer.run(main)
