"""Calls under way: each is started, cut at its window, and reported once.

A call that ends by itself is over. One that is cut, or that nobody waits for any more, is reported at once, because the
request must move on; its permit comes back when the endpoint has really let go of it, which may be later (a thread).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from failsoft.endpoints import (
    Busy,
    Call,
    Endpoint,
    EndpointBroken,
    EndpointUnreachable,
    Output,
    RequestRefused,
    Running,
)
from failsoft.policy.events import CallFinished, SlotFreed, Verdict
from failsoft.runtime.clock import Clock

log = structlog.get_logger("failsoft.calls")


@dataclass(slots=True)
class _UnderWay:
    running: Running
    cutter: asyncio.TimerHandle
    tier: str
    is_reported: bool = False


class Calls:
    """The calls of one stage.

    Args:
        endpoints: tier -> what is called.
        clock: for windows.
        report: takes what happened, on the event loop.
        prepare: an answer as it is kept, and its bytes, for those who keep it; None: it cannot be kept.
    """

    def __init__(
        self,
        endpoints: dict[str, Endpoint],
        clock: Clock,
        report: Callable[[CallFinished | SlotFreed], None],
        *,
        prepare: Callable[[Output], tuple[Output, int | None]] = lambda output: (output, 0),
    ) -> None:
        self._endpoints = endpoints
        self._clock = clock
        self._report = report
        self._prepare = prepare
        self._under_way: dict[int, _UnderWay] = {}
        self._ends: dict[int, Output | BaseException] = {}

    async def open(self) -> None:
        """Get every endpoint ready."""
        for endpoint in self._endpoints.values():
            await endpoint.open()

    def start(self, call_id: int, call: Call) -> None:
        """Begin a call, to be cut at ``call.window_ends_at``."""
        running = self._endpoints[call.tier].start(call)
        cutter = asyncio.get_running_loop().call_at(call.window_ends_at, self._cut, call_id)
        self._under_way[call_id] = _UnderWay(running, cutter, call.tier)
        running.answer.add_done_callback(lambda answer: self._answered(call_id, answer))
        running.over.add_done_callback(lambda _: self._over(call_id))

    def cancel(self, call_id: int) -> None:
        """Nobody waits for this call any more."""
        self._cut(call_id)

    def end_of(self, call_id: int) -> Output | BaseException | None:
        """What a call ended with; known while its end is being reported, and dropped when all have taken it."""
        return self._ends.get(call_id)

    def answer_of(self, call_id: int) -> Output:
        """What a call answered that is being reported as OK."""
        end = self._ends[call_id]
        if not isinstance(end, Output):
            raise TypeError(f"call {call_id} did not answer")
        return end

    async def close(self) -> None:
        """Cut what is under way and let go of the endpoints."""
        for call_id in list(self._under_way):
            self._cut(call_id)
        for endpoint in self._endpoints.values():
            await endpoint.close()

    def _answered(self, call_id: int, answer: "asyncio.Future[Output]") -> None:
        under_way = self._under_way.get(call_id)
        if under_way is None or under_way.is_reported:
            return
        under_way.cutter.cancel()
        verdict, end = _verdict(answer)
        end, size_bytes = self._prepare(end) if isinstance(end, Output) else (end, 0)
        if verdict in {Verdict.OK, Verdict.REFUSED}:
            self._ends[call_id] = end
        else:
            log.info("call_failed", tier=under_way.tier, verdict=verdict.value, error=type(end).__name__)
        under_way.is_reported = True
        is_over = under_way.running.over.done()
        if is_over:
            del self._under_way[call_id]
        retry_after = end.retry_after_seconds if isinstance(end, Busy) else None
        try:
            self._report(CallFinished(call_id, verdict, is_over, retry_after, size_bytes))
        finally:
            self._ends.pop(call_id, None)

    def _cut(self, call_id: int) -> None:
        under_way = self._under_way.get(call_id)
        if under_way is None or under_way.is_reported:
            return
        under_way.cutter.cancel()
        under_way.is_reported = True
        under_way.running.answer.cancel()
        is_over = under_way.running.over.done()  # it may be, before its answer was reported: nobody would tell us again
        if is_over:
            del self._under_way[call_id]
        self._report(CallFinished(call_id, Verdict.TIMEOUT, is_over=is_over))

    def _over(self, call_id: int) -> None:
        under_way = self._under_way.get(call_id)
        if under_way is not None and under_way.is_reported:
            del self._under_way[call_id]
            self._report(SlotFreed(call_id))


def _verdict(answer: "asyncio.Future[Output]") -> tuple[Verdict, Output | BaseException]:
    """How a call ended by itself, and with what. What user code raises is a failure of its endpoint, whatever it is."""
    if answer.cancelled():
        return Verdict.TRANSIENT, asyncio.CancelledError()
    error = answer.exception()
    match error:
        case None if answer.result().body is None:  # authors' code is not held to the type
            return Verdict.BROKEN, EndpointBroken("an answer without a body")
        case None:
            return Verdict.OK, answer.result()
        case Busy():
            return Verdict.BACKPRESSURE, error
        case RequestRefused():
            return Verdict.REFUSED, error
        case EndpointBroken():
            return Verdict.BROKEN, error
        case TimeoutError():
            return Verdict.TIMEOUT, error
        case ConnectionRefusedError() | EndpointUnreachable():
            return Verdict.UNREACHABLE, error
        case _:
            return Verdict.TRANSIENT, error
