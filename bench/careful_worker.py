"""What overload.py and trace.py hold failsoft against (b): a careful worker on aiokafka, what a good engineer writes in a day.

A topic per class and a consumer for each, so that a flood of bulk never stands before what is urgent. What was taken waits in
one queue, the most urgent class first, then the oldest; each class has 100 places in it. Twelve at once are served, as many as
the large model serves and queues. A request that has expired is not called for and gets its result at once. A call of the large
model has what is left of the deadline, less .2 s that are kept for the small one, and 2 s at most, more than healthy calls need;
on an error, a refusal or a timeout the small model is asked with what is then left. Offsets are committed once a second, and only
up to what has its result.

It does not know how long calls take, how many wait, or whether the large model is well: it steps down on what has failed.

    python -m bench.careful_worker --bootstrap B --topic T1 --topic T2 … --results R --url U     (the most urgent first)
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.plain_worker import FAILURES, IN_FLIGHT, Ways, until_told, ways

PLACES = 100
LARGE_SECONDS_MAX = 2.0
SMALL_SECONDS = 0.2
COMMIT_SECONDS = 1.0


@dataclass(order=True, slots=True)
class Waiting:
    """A request in the queue: the order is by class, then by age."""

    rank: int
    appended_at: float
    record: Any = field(compare=False)
    lane: "Lane" = field(compare=False)

    @property
    def remaining_seconds(self) -> float:
        """Until its deadline. Its sender says what it grants, the broker when it came; all clocks here are one machine's."""
        budget_ms = int(dict(self.record.headers)["ce_budgetms"])
        return self.appended_at + budget_ms / 1_000 - time.time()


class Lane:
    """One class: its consumer, its places in the queue, and which of its records have their results."""

    def __init__(self, consumer: AIOKafkaConsumer, rank: int) -> None:
        self._consumer = consumer
        self._rank = rank
        self._places = asyncio.Semaphore(PLACES)
        self._unfinished: defaultdict[TopicPartition, set[int]] = defaultdict(set)
        self._next: dict[TopicPartition, int] = {}

    async def fill(self, queue: "asyncio.PriorityQueue[Waiting]") -> None:
        """Take records for ever, as long as there are places."""
        async for record in self._consumer:
            await self._places.acquire()
            place = TopicPartition(record.topic, record.partition)
            self._unfinished[place].add(record.offset)
            self._next[place] = record.offset + 1
            queue.put_nowait(Waiting(self._rank, record.timestamp / 1_000, record, self))

    def done(self, record: Any) -> None:
        """A record has its result."""
        self._unfinished[TopicPartition(record.topic, record.partition)].discard(record.offset)
        self._places.release()

    async def commit(self) -> None:
        """Commit for ever: of each partition up to the first record without a result."""
        while True:
            await asyncio.sleep(COMMIT_SECONDS)
            done = {place: min(self._unfinished[place], default=self._next[place]) for place in self._next}
            if done:
                await self._consumer.commit(done)


async def answer_all(queue: "asyncio.PriorityQueue[Waiting]", to: Ways) -> None:
    """Serve one after the other, for ever."""
    while True:
        waiting = await queue.get()
        await _answer(waiting, to)
        waiting.lane.done(waiting.record)


async def _answer(waiting: Waiting, to: Ways) -> None:
    for model, level, kept, longest in (("large", 1, SMALL_SECONDS, LARGE_SECONDS_MAX), ("small", 2, 0.0, 60.0)):
        seconds = min(waiting.remaining_seconds - kept, longest)
        if seconds <= 0:
            continue
        try:
            body = await to.ask(model, waiting.record, timeout_seconds=seconds)
        except FAILURES:
            continue
        await to.answer(waiting.record, body, outcome="ok", tier=model, level=level)
        return
    await to.answer(waiting.record, None, outcome="expired" if waiting.remaining_seconds <= 0 else "failed")


async def _started(bootstrap: str, topic: str, closing: AsyncExitStack) -> AIOKafkaConsumer:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=f"careful.{topic}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    closing.push_async_callback(consumer.stop)
    return consumer


async def serve(bootstrap: str, topics: Sequence[str], results: str, url: str) -> None:
    """Serve until cancelled."""
    queue = asyncio.PriorityQueue[Waiting]()
    async with AsyncExitStack() as closing:
        to = await closing.enter_async_context(ways(bootstrap, results, url))
        lanes = [Lane(await _started(bootstrap, topic, closing), rank) for rank, topic in enumerate(topics)]
        tasks = await closing.enter_async_context(asyncio.TaskGroup())  # the last to come is the first to end
        for lane in lanes:
            tasks.create_task(lane.fill(queue))
            tasks.create_task(lane.commit())
        for _ in range(IN_FLIGHT):
            tasks.create_task(answer_all(queue, to))
        print("ready: careful", flush=True)
        await asyncio.Event().wait()


def main(
    bootstrap: Annotated[str, typer.Option(help="host:port of the broker.")],
    topic: Annotated[list[str], typer.Option(help="Of the requests, the most urgent first.")],
    results: Annotated[str, typer.Option(help="Topic of the results.")],
    url: Annotated[str, typer.Option(help="Of the model server, without /v1.")],
) -> None:
    """Serve until SIGTERM."""
    until_told(serve(bootstrap, topic, results, url))


if __name__ == "__main__":
    typer.run(main)
