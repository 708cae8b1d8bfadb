"""What signals do to a worker whose own code is stuck. In processes of their own, because they end."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from failsoft.runtime.worker import _unless_asked

PROGRAM = """
import asyncio, sys, threading
from failsoft.runtime import ending

async def main():
    ending.CLOSE_SECONDS = {close_seconds}
    end = ending.Ending(drain_seconds=0.1)
    end.listen()
    end.code = {code}
    {then}

asyncio.run(main())
"""
BLOCKS_THE_LOOP = "print('stuck', flush=True)\n    while True: pass"
LEAVES_A_THREAD = (
    "threading.Thread(target=threading.Event().wait).start(); print('stuck', flush=True); await end.asked.wait()"
)
DRAINS = "print('stuck', flush=True); await end.asked.wait(); sys.exit(7)"


@asynccontextmanager
async def started(then: str, *, close_seconds: float = 0.1, code: int = 4) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run it until it is stuck; it is gone afterwards."""
    program = PROGRAM.format(close_seconds=close_seconds, code=code, then=then)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"stuck\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize(("stuck", "code"), [(BLOCKS_THE_LOOP, 4), (LEAVES_A_THREAD, 0)])
async def test_time_ends_what_does_not_end_itself_with_the_code_that_is_true_by_then(stuck: str, code: int):
    async with started(stuck, code=code) as process, asyncio.timeout(30.0):
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == code


async def test_a_worker_that_ends_in_time_keeps_its_own_exit_code():
    async with started(DRAINS, close_seconds=60.0) as process, asyncio.timeout(30.0):
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 7


async def test_a_second_signal_ends_it_at_once():
    async with started(BLOCKS_THE_LOOP, close_seconds=3600.0) as process, asyncio.timeout(30.0):
        ended = asyncio.create_task(process.wait())
        while not ended.done():  # several signals before it looks are one
            process.send_signal(signal.SIGTERM)
            await asyncio.wait({ended}, timeout=0.1)
        assert ended.result() == 128 + signal.SIGTERM


async def test_a_start_that_is_asked_to_end_is_given_up():
    asked, given_up = asyncio.Event(), asyncio.Event()

    async def start() -> str:
        asked.set()
        try:
            return str(await asyncio.Event().wait())
        finally:
            given_up.set()

    assert await _unless_asked(start(), asked) is None
    assert given_up.is_set()


async def test_a_start_that_fails_says_why_and_one_that_succeeds_what_it_returns():
    async def fail() -> str:
        raise ZeroDivisionError

    async def succeed() -> str:
        return "http://127.0.0.1:1"

    with pytest.raises(ZeroDivisionError):
        await _unless_asked(fail(), asyncio.Event())
    assert await _unless_asked(succeed(), asyncio.Event()) == "http://127.0.0.1:1"
