"""FastStream, on aiokafka."""

import asyncio
import sys
from typing import Any

from faststream import FastStream
from faststream.kafka import KafkaBroker, KafkaMessage, KafkaResponse

from bench.contenders.service import COMMIT_SECONDS, READY, SLOTS, answer, requests_of, results_of


async def run(bootstrap: str) -> None:
    """As its documentation has it for many messages at once."""
    broker = KafkaBroker(bootstrap, acks="all", logger=None)

    @broker.subscriber(
        requests_of("faststream"),
        group_id="faststream",
        auto_offset_reset="earliest",
        auto_commit_interval_ms=round(COMMIT_SECONDS * 1000),
        max_workers=SLOTS,
    )
    @broker.publisher(results_of("faststream"))
    async def handle(line: dict[str, Any], message: KafkaMessage) -> KafkaResponse:
        raw: Any = message.raw_message
        return KafkaResponse(await answer(line["body"]), key=raw.key)

    app = FastStream(broker, logger=None)
    app.after_startup(lambda: print(READY, flush=True))
    await app.run()


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1]))
