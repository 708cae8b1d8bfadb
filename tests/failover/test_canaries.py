"""Canaries against two real servers: agreement, speed, and how many calls are answered at once."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import orjson
import pytest

from failsoft.endpoints import OpenAICompatible, Output
from failsoft.failover.canaries import Canaries, digest_of, read_canaries
from failsoft.failover.checks import Check, CheckName
from failsoft.failover.declared import fitted
from failsoft.failover.ports import Seen
from failsoft.failover.probe import Probe, is_of
from failsoft.failover.run import Look
from failsoft.kafka import Connection
from failsoft.pipeline import Pipeline
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.outcome import Ending, Outcome, Reason
from failsoft.testing import ModelServer
from failsoft.testing.model_server import Faults, ModelSettings
from failsoft.testing.virtual_clock import VirtualClock
from failsoft.testing.virtual_time import run_in_virtual_time
from failsoft.wire import Envelope, Identity
from failsoft.wire.body import RequestLine
from failsoft.wire.result import decode_result, encode_result
from tests.failover.world import RUNBOOK

LINES = tuple(
    RequestLine(f"c{n}", "/v1/chat/completions", {"messages": [{"role": "user", "content": f"question {n}"}]})
    for n in range(8)
)
FAST = {"large": ModelSettings(slots=4, queue=0, median_seconds=0.01, sigma=0.0)}


@asynccontextmanager
async def regions(us: str = "large") -> AsyncIterator[tuple[Canaries, ModelServer, ModelServer]]:
    """Two servers, of which the second may have another model under the same name."""
    async with ModelServer(FAST, digits=False) as first, ModelServer(FAST, digits=False) as second:
        endpoint = OpenAICompatible(us, urls={"eu": first.url, "us": second.url}, limit=16)
        await endpoint.open()
        try:
            yield Canaries(LINES, endpoint, tier="large"), first, second
        finally:
            await endpoint.close()


async def test_two_regions_with_one_model_say_the_same():
    async with regions() as (canaries, _, _):
        (eu, _), (us, seconds) = await canaries.ask("eu"), await canaries.ask("us")
    assert eu == us
    assert eu.keys() == {line.custom_id for line in LINES}
    assert all(0 < each < 5 for each in seconds)


async def test_a_region_that_fails_answers_nothing_and_takes_for_ever():
    async with regions() as (canaries, _, second):
        second.models["large"].faults = Faults(error_rate=1.0)
        answers, seconds = await canaries.ask("us")
    assert answers == {}
    assert set(seconds) == {math.inf}


async def test_at_once_as_many_are_answered_as_there_are_slots():
    async with regions() as (canaries, _, _):
        assert await canaries.answered_at_once("us", 4) == 4
        assert await canaries.answered_at_once("us", 9) == 4  # there is no queue


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        (
            {"choices": [{"message": {"content": " yes\n"}}], "id": "1"},
            {"choices": [{"message": {"content": "yes"}}], "id": "2"},
            True,
        ),
        ({"choices": [{"message": {"content": "yes"}}]}, {"choices": [{"message": {"content": "no"}}]}, False),
        ({"choices": [{"text": "yes"}]}, {"choices": [{"text": "yes", "index": 0}]}, True),
        ({"data": [1, 2], "created": 1}, {"created": 2, "data": [1, 2]}, True),
        ({"data": [1, 2]}, {"data": [1, 3]}, False),
        (
            {"choices": [{"message": {"content": None, "tool_calls": [1]}}]},
            {"choices": [{"message": {"content": None, "tool_calls": [2]}}]},
            False,
        ),
    ],
)
def test_answers_agree_if_they_say_the_same(one, other, agree):
    assert (digest_of(Output(one)) == digest_of(Output(orjson.dumps(other)))) is agree


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ((b'{"custom_id": "1"}',), "canary: line 1: "),
        ((b"nonsense",), "canary: line 1: "),
        (
            (b'{"custom_id":"1","method":"POST","url":"/v1/chat/completions","body":{}}',) * 2,
            "line 2: custom_id '1' is there twice",
        ),
    ],
)
def test_a_canary_that_is_no_request_is_named(lines, problem):
    with pytest.raises(ConfigurationError, match=problem):
        read_canaries(replace(RUNBOOK, canaries=lines))


def pipeline(**urls: str) -> Pipeline:
    declared = Pipeline("digits")
    stage = declared.stage("classify")
    stage.tier("large", OpenAICompatible("m", urls=urls) if urls else OpenAICompatible("m", url="http://h"))
    return declared


def test_a_runbook_takes_the_regions_of_its_endpoint():
    fit, endpoint = fitted(RUNBOOK, pipeline(asia="http://a", eu="http://e", us="http://u"))
    assert fit.regions == ("asia", "eu", "us") == endpoint.regions


@pytest.mark.parametrize(
    ("runbook", "urls", "problem"),
    [
        (replace(RUNBOOK, pipeline="other"), {"eu": "http://e", "us": "http://u"}, "pipeline: is other"),
        (replace(RUNBOOK, stage="read"), {"eu": "http://e", "us": "http://u"}, "no stage read; there are classify"),
        (replace(RUNBOOK, tier="small"), {"eu": "http://e", "us": "http://u"}, "small is no OpenAICompatible tier"),
        (RUNBOOK, {"eu": "http://e"}, "to: classify/large has no region us; it has eu"),
        (RUNBOOK, {}, "from: classify/large has no region eu; it has none; declare urls"),
    ],
)
def test_a_runbook_that_does_not_fit_its_pipeline_is_refused(runbook, urls, problem):
    with pytest.raises(ConfigurationError, match=problem):
        fitted(runbook, pipeline(**urls))


def test_what_arrives_in_an_earlier_stage_cannot_be_told_by_results_and_is_refused():
    declared = pipeline(eu="http://e", us="http://u")
    declared.stage("answer", after=declared.stages["classify"])
    checked = replace(RUNBOOK, during=(*RUNBOOK.during, Check(CheckName.ARRIVED, 0.5)))
    with pytest.raises(ConfigurationError, match=r"during\.arrived: .* leave it out"):
        fitted(checked, declared)
    assert fitted(RUNBOOK, declared)[0].regions == ("eu", "us")


@pytest.mark.parametrize(
    ("tier", "stage", "counts"),
    [("large", "classify", True), ("large", None, True), ("large", "answer", False), ("small", "classify", False)],
)
def test_a_tier_of_the_same_name_in_another_stage_is_another_endpoint(tier, stage, counts):
    record = encode_result(
        Ending(Outcome.OK, Reason.NONE, tier, 1),
        Envelope(Identity("/test", "1")),
        pipeline="digits",
        published_at=0.0,
        custom_id=None,
        body={},
        stage=stage,
    )
    assert is_of(RUNBOOK, decode_result(record.headers, record.value)) is counts


class Silent(OpenAICompatible):
    """Takes connections, and says nothing."""

    async def check_region(self, region: str | None) -> str | None:
        del region
        await asyncio.Event().wait()
        raise AssertionError


def test_a_region_that_says_nothing_is_not_reachable_and_is_not_waited_for():
    endpoint = Silent("large", urls={"eu": "http://e", "us": "http://u"})

    async def look() -> Seen:
        probe = Probe(RUNBOOK, endpoint, connection=Connection("127.0.0.1:1"), clock=VirtualClock())
        async with asyncio.timeout(60.0):
            return await probe.look((Check(CheckName.REACHABLE, 1.0),), Look(None, 0.0), known={})

    assert run_in_virtual_time(look()).figures == {CheckName.REACHABLE: 0.0}
