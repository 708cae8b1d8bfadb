import asyncio
import threading
import time

import pytest
import structlog

from failsoft.cli.exits import Exit
from failsoft.runtime.loop_watch import EXIT_CODE, LoopWatch

PATIENCE_SECONDS = 30.0


class End:
    """Takes the reason instead of ending the process, and lets the blocked loop go on."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.came = threading.Event()

    def __call__(self, why: str) -> None:
        self.reasons.append(why)
        self.came.set()


def watch(end: End, *, enforce: bool = True, late: list[float] | None = None) -> LoopWatch:
    seen: list[float] = [] if late is None else late
    return LoopWatch(exit_seconds=0.3, enforce=enforce, observe=seen.append, end=end, look_seconds=0.05)


async def test_a_loop_that_is_blocked_ends_the_process_and_says_where_it_stands():
    end = End()
    async with watch(end):
        await asyncio.sleep(0)
        assert end.came.wait(PATIENCE_SECONDS), "nobody noticed"
    assert "the event loop has not turned for" in end.reasons[0]
    assert f"{test_a_loop_that_is_blocked_ends_the_process_and_says_where_it_stands.__name__}" in end.reasons[0]


async def test_a_blocked_loop_is_reported_when_it_turns_again_and_never_ended_where_that_is_off():
    end, late = End(), list[float]()
    with structlog.testing.capture_logs() as lines:
        async with watch(end, enforce=False, late=late) as watching:
            await asyncio.sleep(0)
            ends_at = time.monotonic() + PATIENCE_SECONDS
            while watching._blocked_at is None and time.monotonic() < ends_at:
                time.sleep(0.01)  # noqa: ASYNC251 - blocking is the point
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not lines:
                    await asyncio.sleep(0.01)
    assert end.reasons == []
    assert lines[0]["event"] == "loop_was_blocked"
    assert max(late) > 0


async def test_a_loop_that_turns_is_left_alone():
    end, late = End(), list[float]()
    async with watch(end, late=late):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(late) < 4:
                await asyncio.sleep(0.05)
    assert end.reasons == []


@pytest.mark.parametrize("code", [EXIT_CODE])
def test_the_code_is_that_of_the_command_line(code):
    assert code == Exit.WATCHDOG
