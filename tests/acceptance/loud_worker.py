"""A worker that says all it can: every logger at DEBUG, and models that fail in every way, the prompt in hand."""

import asyncio
import logging
import time
from importlib import import_module
from unittest import mock

from failsoft import Call, Output, Pipeline
from failsoft.cli import app
from failsoft.endpoints import Busy, RequestRefused
from failsoft.runtime.log import configure_log


def configure_loudly(_: str) -> None:
    """In place of the command's own: what an operator may do who looks for a fault."""
    configure_log("json", level=logging.DEBUG)
    for name in (None, "aiokafka", *logging.root.manager.loggerDict):
        logging.getLogger(name).setLevel(logging.DEBUG)
    logging.getLogger("loud").debug("all loggers are at DEBUG")


async def model(call: Call) -> Output:
    """Do what the request says, with the whole prompt in whatever it raises."""
    prompt = str(call.body)
    match call.body["kind"]:
        case "raises":
            raise ValueError(prompt)
        case "busy":
            raise Busy(prompt)
        case "refused":
            raise RequestRefused(prompt)
        case "hangs":
            await asyncio.sleep(3_600)
        case "blocks":
            time.sleep(0.3)  # noqa: ASYNC251 - so that asyncio's debug mode complains, with all that it knows
        case "garbage":
            return prompt  # type: ignore[return-value]  # the mistake of a pipeline's author
        case "no-json":
            return Output(prompt.encode())
    return Output({"answer": prompt})


def loud_pipeline(name: str) -> Pipeline:
    """One stage with two tiers that are alike."""
    pipeline = Pipeline(name)
    stage = pipeline.stage("work", coalesce="always")
    stage.tier("large", limit=4, expect="100ms")(model)
    stage.tier("small", limit=4, expect="100ms")(model)
    return pipeline


if __name__ == "__main__":
    with mock.patch.object(import_module("failsoft.cli.worker"), "configure_log", configure_loudly):
        app()
