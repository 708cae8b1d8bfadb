"""aiokafka alone."""

import asyncio
import contextlib
import signal
import sys
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from bench.contenders.service import COMMIT_SECONDS, READY, UNDER_WAY_MAX, answer, requests_of, results_of


async def run(bootstrap: str) -> None:
    """Consume, one task for each message, produce."""
    consumer = AIOKafkaConsumer(
        requests_of("raw"),
        bootstrap_servers=bootstrap,
        group_id="raw",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    under_way: set[asyncio.Task[None]] = set()

    async def handle(message: Any) -> None:
        line = orjson.loads(message.value)
        value = orjson.dumps(await answer(line["body"]))
        await producer.send_and_wait(results_of("raw"), value, key=message.key, headers=list(message.headers))

    async def commit_forever() -> None:
        while True:
            await asyncio.sleep(COMMIT_SECONDS)
            answered, mine = dict(reached), set(under_way)
            if mine:
                await asyncio.wait(mine)
            if answered:
                await consumer.commit(answered)

    reached: dict[TopicPartition, int] = {}
    async with producer, consumer, asyncio.TaskGroup() as tasks:
        print(READY, flush=True)
        tasks.create_task(commit_forever())
        while True:
            if len(under_way) >= UNDER_WAY_MAX:
                await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            taken = await consumer.getmany(timeout_ms=500, max_records=max(1, UNDER_WAY_MAX - len(under_way)))
            for place, messages in taken.items():
                for message in messages:
                    task = tasks.create_task(handle(message))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
                reached[place] = messages[-1].offset + 1


async def until_asked(bootstrap: str) -> None:
    """Run until SIGTERM."""
    running = asyncio.create_task(run(bootstrap))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await running


if __name__ == "__main__":
    asyncio.run(until_asked(sys.argv[1]))
