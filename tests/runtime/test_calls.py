"""Calls under way, with an endpoint whose calls end when the test says."""

import asyncio

import pytest

from failsoft import Busy, Call, EndpointBroken, Output, RequestRefused
from failsoft.endpoints import Running
from failsoft.policy.events import CallFinished, SlotFreed, Verdict
from failsoft.runtime.calls import Calls
from failsoft.runtime.clock import Clock


class Switchboard:
    """An endpoint with one call, whose two ends are in the test's hands."""

    limit = 1

    def __init__(self) -> None:
        self.answer: asyncio.Future[Output] = asyncio.get_running_loop().create_future()
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        """Nothing to open."""

    def start(self, _: Call) -> Running:
        return Running(self.answer, self.over)

    async def close(self) -> None:
        """Nothing to close."""


class Stand:
    def __init__(self, window_seconds: float = 60.0) -> None:
        self.endpoint = Switchboard()
        self.reports: list[CallFinished | SlotFreed] = []
        self.ends: list[object] = []
        clock = Clock()
        self.calls = Calls({"large": self.endpoint}, clock, self.report)
        self.calls.start(
            1,
            Call(
                body={},
                url="/v1/x",
                request_class="batch",
                tier="large",
                execution=1,
                tenant=None,
                headers={},
                window_ends_at=clock.monotonic() + window_seconds,
                clock=clock.monotonic,
            ),
        )

    def report(self, event: CallFinished | SlotFreed) -> None:
        self.reports.append(event)
        self.ends.append(self.calls.end_of(event.call_id))

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


async def test_an_answer_is_reported_once_and_is_there_for_all_while_it_is():
    stand = Stand()
    output = Output({"a": 1})
    stand.endpoint.answer.set_result(output)
    stand.endpoint.over.set_result(None)
    await stand.settle()
    assert stand.reports == [CallFinished(1, Verdict.OK, is_over=True)]
    assert stand.ends == [output]
    assert stand.calls.end_of(1) is None


async def test_a_call_that_cannot_be_cut_frees_its_slot_when_it_is_really_over():
    stand = Stand()
    stand.calls.cancel(1)
    await stand.settle()
    assert stand.reports == [CallFinished(1, Verdict.TIMEOUT, is_over=False)]
    stand.endpoint.over.set_result(None)
    await stand.settle()
    assert stand.reports[1:] == [SlotFreed(1)]


async def test_a_call_that_is_over_when_it_is_cut_does_not_hold_its_slot():
    """The endpoint may be done with a call before its answer has been reported; a cut in between must not lose the slot."""
    stand = Stand()
    stand.endpoint.over.set_result(None)
    await stand.settle()
    stand.calls.cancel(1)
    await stand.settle()
    assert stand.reports == [CallFinished(1, Verdict.TIMEOUT, is_over=True)]


async def test_what_comes_after_the_cut_is_not_reported():
    stand = Stand()
    stand.calls.cancel(1)
    stand.endpoint.over.set_result(None)
    await stand.settle()
    stand.calls.cancel(1)
    assert [type(report) for report in stand.reports] == [CallFinished, SlotFreed]


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (Busy(retry_after_seconds=3.0), Verdict.BACKPRESSURE),
        (RequestRefused("too long", status_code=413), Verdict.REFUSED),
        (EndpointBroken("no such model"), Verdict.BROKEN),
        (ConnectionRefusedError(), Verdict.UNREACHABLE),
        (ConnectionResetError(), Verdict.TRANSIENT),
        (ZeroDivisionError(), Verdict.TRANSIENT),
        (TimeoutError(), Verdict.TIMEOUT),
    ],
)
async def test_what_a_call_raises_decides_whose_fault_it_was(error: Exception, verdict: Verdict):
    stand = Stand()
    stand.endpoint.answer.set_exception(error)
    stand.endpoint.over.set_result(None)
    await stand.settle()
    (report,) = stand.reports
    assert isinstance(report, CallFinished)
    assert report.verdict is verdict
    assert report.retry_after_seconds == (3.0 if isinstance(error, Busy) else None)


async def test_an_answer_without_a_body_is_the_endpoint_s_fault_and_ends_no_worker():
    stand = Stand()
    stand.endpoint.answer.set_result(Output(None))  # type: ignore[arg-type]  # an author's mistake
    stand.endpoint.over.set_result(None)
    await stand.settle()
    assert stand.reports == [CallFinished(1, Verdict.BROKEN, is_over=True)]
