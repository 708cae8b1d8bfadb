"""Faust, on aiokafka."""

import asyncio
import logging
import sys
import tempfile
from typing import Any

import faust
import orjson

from bench.contenders.service import READY, answer, requests_of, results_of
from failsoft.kafka import Connection
from streams.settings import new_app


def run(bootstrap: str) -> None:
    """An agent, with the settings of streams/ and sending from the loop as its documentation has it."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    with tempfile.TemporaryDirectory() as folder:
        app = new_app("faust", Connection(bootstrap), folder=folder)
        requests, results = (
            app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
            for name in (requests_of("faust"), results_of("faust"))
        )

        @app.agent(requests)
        async def handle(stream: Any) -> None:
            async for event in stream.events():
                line = orjson.loads(event.value)
                value = orjson.dumps(await answer(line["body"]))
                await results.send(key=event.key, value=value)

        async def tell() -> None:
            print(READY, flush=True)

        app.task(tell)
        worker = faust.Worker(
            app, loop=loop, loglevel="ERROR", override_logging=False, redirect_stdouts=False, quiet=True
        )
        worker.spinner = None
        worker.execute_from_commandline()


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    run(sys.argv[1])
