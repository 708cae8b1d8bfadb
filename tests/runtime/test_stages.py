"""A request through several stages: the production runners on the broker in memory, in virtual time."""

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from failsoft import Busy, CachedAnswer, Call, Constant, ContextPart, Output, Pipeline, RequestRefused
from failsoft.catalogue import Catalogue, parse
from failsoft.pipeline import Stage
from failsoft.policy.breaker_control import Force
from failsoft.policy.breaker_states import State
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.outcome import Outcome, Reason
from failsoft.policy.register import Cause, Phase, Word
from failsoft.testing.memory import MemoryBroker, MemoryWorker
from failsoft.testing.virtual_clock import VirtualClock
from failsoft.testing.virtual_time import run_in_virtual_time
from failsoft.wire import Envelope, Identity, Record, RequestLine, Result
from failsoft.wire.body import decode_request, encode_request
from failsoft.wire.control import BreakerControl, encode_control
from failsoft.wire.envelope import decode_headers, encode_request_headers
from failsoft.wire.register import decode_register
from failsoft.wire.result import decode_result

CATALOGUE: Catalogue = parse("""
version: 1
defaults: {partitions: 2, replication: 1, config: {message.timestamp.type: LogAppendTime}}
classes:
  interactive: {weight: 8, deadline: 5s, deadline_max: 60s}
  batch:       {weight: 1, deadline: 1h, deadline_max: 2h}
pipelines: {support: [retrieve, answer]}
topics:
  requests:     {config: {retention.ms: 7d, max.message.bytes: 1.25MiB}}
  results:      {config: {retention.ms: 7d, max.message.bytes: 4MiB}}
  dead-letters: {config: {retention.ms: 14d, max.message.bytes: 4MiB}}
  outcomes:     {partitions: 1, config: {retention.ms: 1h}}
  breakers:     {partitions: 1, config: {cleanup.policy: "compact,delete"}}
  controls:     {partitions: 1, config: {cleanup.policy: compact}}
""")
BODY = {"messages": [{"role": "user", "content": "May I return shoes?"}]}
Tier = Callable[[Call], Awaitable[Output]]


async def finds(call: Call) -> Output:
    await asyncio.sleep(0.1)
    return Output({}, context={"documents": ["Returns within 30 days."]})


async def answers(call: Call) -> Output:
    await asyncio.sleep(0.2)
    return Output({"from": call.context.get("documents"), "to": call.body["messages"][0]["content"]})


async def fails(_: Call) -> Output:
    raise OSError("no route")


async def hangs(_: Call) -> Output:
    await asyncio.Event().wait()
    raise AssertionError


async def refuses(_: Call) -> Output:
    raise RequestRefused("too long", status_code=422)


async def is_busy(_: Call) -> Output:
    raise Busy


class Site:
    """Both stages, each with a worker."""

    def __init__(self, retrieve: Tier, answer: Tier, **said: Any) -> None:
        self.pipeline = Pipeline("support")
        first = self.pipeline.stage("retrieve", **said)
        first.tier("vectors", limit=4, expect="100ms")(retrieve)
        second = self.pipeline.stage("answer", after=first, **said)
        second.tier("large", limit=4, expect="200ms")(answer)
        self.clock = VirtualClock()
        self.broker = MemoryBroker(CATALOGUE, self.clock)
        self.workers: list[MemoryWorker] = []
        self.sent = 0

    async def start(self, *stages: str) -> list[MemoryWorker]:
        """A worker of each of these stages, or of all."""
        started: list[MemoryWorker] = []
        for name in stages or tuple(self.pipeline.stages):
            stage = self.pipeline.stages[name]
            started.append(
                MemoryWorker(self.broker, stage, catalogue=CATALOGUE, name=f"{name}-{len(self.workers) + len(started)}")
            )
            await started[-1].start()
        self.workers += started
        return started

    def send(self, *, budget_seconds: float = 5.0, body: dict[str, Any] | None = None, **said: Any) -> None:
        """Append a request to the first stage's topic."""
        self.sent += 1
        headers = encode_request_headers(
            Envelope(Identity("/shop", str(self.sent)), **said),
            budget_seconds=budget_seconds,
            sent_at=self.clock.wall(),
        )
        line = RequestLine(f"line {self.sent}", "/v1/chat/completions", body or BODY)
        self.broker.append("support.retrieve.interactive", Record(b"k%d" % self.sent, encode_request(line), headers))

    def records(self, topic: str) -> list[Record]:
        """All that stands in a topic."""
        return [
            entry.value
            for log in self.broker.topic(topic).logs
            for entry in log.read(0, 10_000)
            if entry.value is not None
        ]

    def results(self) -> list[Result]:
        """All that stand in the log, repeats too."""
        return [decode_result(record.headers, record.value) for record in self.records("support.results")]

    def said_of_breakers(self) -> list[tuple[str, Word]]:
        """What workers have said, oldest first."""
        said = [
            decode_register(record.key, record.value, record.headers) for record in self.records("support.breakers")
        ]
        return [(each.breaker, each.register.word) for each in said if each.register is not None]

    def force(self, breaker: str, force: Force, *, seconds: float | None) -> None:
        """An operator says it."""
        until = None if seconds is None else self.clock.wall() + seconds
        self.broker.append("support.controls", encode_control(BreakerControl(breaker, force, "ada", "a drill", until)))

    def committed(self, stage: str) -> int:
        """How many records of a stage the group has done with."""
        group = self.broker.group(f"failsoft.support.{stage}", CATALOGUE.stage_topics("support", stage)).group
        return sum(progress.offset for progress in group.marks.values())

    async def stop(self) -> None:
        for worker in self.workers:
            await worker.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await test()

    run_in_virtual_time(main())


def test_a_request_goes_through_both_stages_and_keeps_its_identity():
    async def main() -> None:
        site = Site(finds, answers)
        await site.start()
        site.send(tenant="shop", floor=1, correlation=(("ce_correlationid", b"basket"),))
        await asyncio.sleep(3.0)
        (result,) = site.results()
        assert result.request == Identity("/shop", "1")
        assert (result.outcome, result.tier, result.level, result.stage) == (Outcome.OK, "large", 1, "answer")
        assert result.body == {"from": ["Returns within 30 days."], "to": "May I return shoes?"}
        assert (result.custom_id, result.correlation) == ("line 1", (("ce_correlationid", b"basket"),))
        (step,) = result.trail
        assert (step.stage, step.tier, step.level, step.reason) == ("retrieve", "vectors", 1, Reason.NONE)
        assert step.call_seconds == pytest.approx(0.1, abs=0.01)
        assert (site.committed("retrieve"), site.committed("answer")) == (1, 1)
        await site.stop()

    run(main)


def test_what_goes_on_says_what_is_left_of_the_deadline_and_the_end_that_its_sender_named():
    async def main() -> None:
        site = Site(finds, answers)
        await site.start("retrieve")
        site.send(budget_seconds=2.0, tenant="shop")
        await asyncio.sleep(1.0)
        (first,), (second,) = site.records("support.retrieve.interactive"), site.records("support.answer.interactive")
        before = decode_headers(first.headers, topic="t", partition=0, offset=0)
        after = decode_headers(second.headers, topic="t", partition=0, offset=0, is_between=True)
        assert after.identity == before.identity
        assert after.tenant == "shop"
        assert after.stamp.expires_at == before.stamp.expires_at
        assert after.stamp.budget_seconds == pytest.approx(1.9, abs=0.02)
        assert decode_request(second.value).context["documents"].produced_at is not None
        await site.stop()

    run(main)


def test_a_record_is_not_done_before_the_next_stage_has_it():
    async def main() -> None:
        site = Site(finds, answers)
        (worker,) = await site.start("retrieve")
        site.send()
        await asyncio.sleep(0.05)
        worker.link.is_up = False
        await asyncio.sleep(2.0)
        assert (len(site.records("support.answer.interactive")), site.committed("retrieve")) == (0, 0)
        worker.link.is_up = True
        await asyncio.sleep(3.0)
        assert (len(site.records("support.answer.interactive")), site.committed("retrieve")) == (1, 1)
        await site.stop()

    run(main)


@pytest.mark.parametrize("away_seconds", [30.0, 70.0, 200.0])
def test_minutes_without_a_broker_between_two_stages_are_no_gift(away_seconds):
    remaining = []

    async def looks(call: Call) -> Output:
        remaining.append(call.remaining_seconds())
        return await hangs(call)

    async def main() -> None:
        site = Site(finds, looks)
        first, _ = await site.start()
        site.send(budget_seconds=59.0)
        await asyncio.sleep(0.05)
        first.link.is_up = False
        await asyncio.sleep(away_seconds)
        first.link.is_up = True
        await asyncio.sleep(2.0)
        (record,) = site.records("support.answer.interactive")
        envelope = decode_headers(record.headers, topic="t", partition=0, offset=0, is_between=True)
        assert envelope.stamp.budget_seconds == pytest.approx(58.9, abs=0.1)
        if away_seconds < 59.0:
            assert remaining
            assert remaining[0] <= 59.0 - away_seconds
        else:
            assert not remaining
            assert [result.outcome for result in site.results()] == [Outcome.EXPIRED]
        await site.stop()

    run(main)


@pytest.mark.parametrize(
    ("tier", "outcome", "reason"),
    [
        (fails, Outcome.FAILED, Reason.ENDPOINT_ERROR),
        (hangs, Outcome.FAILED, Reason.ENDPOINT_TIMEOUT),
        (refuses, Outcome.INVALID, Reason.REQUEST_REFUSED),
        (is_busy, Outcome.FAILED, Reason.ENDPOINT_BACKPRESSURE),
    ],
)
@pytest.mark.parametrize("stage", ["retrieve", "answer"])
def test_an_end_without_an_answer_is_final_in_any_stage_and_says_where(stage, tier, outcome, reason):
    async def main() -> None:
        site = Site(tier, answers) if stage == "retrieve" else Site(finds, tier)
        await site.start()
        site.send()
        await asyncio.sleep(10.0)
        (result,) = site.results()
        assert (result.outcome, result.stage) == (outcome, stage)
        assert result.reason is reason
        assert [step.stage for step in result.trail] == ([] if stage == "retrieve" else ["retrieve"])
        assert len(site.records("support.answer.interactive")) == (stage == "answer")
        assert site.committed("retrieve") == 1
        await site.stop()

    run(main)


def test_one_that_expires_on_its_way_ends_in_the_stage_that_finds_it():
    async def main() -> None:
        site = Site(finds, answers)
        await site.start("retrieve")
        site.send(budget_seconds=2.0)
        await asyncio.sleep(3.0)
        await site.start("answer")
        await asyncio.sleep(3.0)
        (result,) = site.results()
        assert (result.outcome, result.reason, result.stage) == (Outcome.EXPIRED, Reason.DEADLINE_PASSED, "answer")
        await site.stop()

    run(main)


@pytest.mark.parametrize("answered", [b"[1]", b"{", {"x": object()}, {"x": "y" * 5_000_000}])
def test_an_answer_that_is_no_request_of_the_next_stage_fails_where_it_was_given(answered):
    async def odd(_: Call) -> Output:
        return Output(answered)

    async def main() -> None:
        site = Site(odd, answers)
        await site.start()
        site.send()
        await asyncio.sleep(3.0)
        (result,) = site.results()
        assert (result.outcome, result.reason, result.stage) == (Outcome.FAILED, Reason.ANSWER_UNUSABLE, "retrieve")
        assert not site.records("support.answer.interactive")
        await site.stop()

    run(main)


@pytest.mark.parametrize(
    "answered",
    [
        Output({"x": object()}),
        Output({}, context={"documents": {"a set"}}),
        Output({}, context=["documents"]),  # type: ignore[arg-type]  # an author's mistake
        Output({}, context={"documents": ContextPart([], produced_at=1.8e12)}),  # milliseconds
        Output({}, context={"documents": ContextPart([], produced_at=math.inf)}),
    ],
    ids=["body", "part", "no-parts", "milliseconds", "never"],
)
@pytest.mark.parametrize("coalesce", ["off", "deterministic", "always"])
def test_what_cannot_be_written_down_fails_its_request_and_not_the_worker_whatever_is_shared(
    answered: Output, coalesce: str
):
    async def odd(_: Call) -> Output:
        return answered

    async def main() -> None:
        site = Site(odd, answers, coalesce=coalesce)
        await site.start()
        site.send()
        await asyncio.sleep(3.0)
        (result,) = site.results()
        assert (result.outcome, result.reason, result.stage) == (Outcome.FAILED, Reason.ANSWER_UNUSABLE, "retrieve")
        assert site.committed("retrieve") == 1
        await site.stop()

    run(main)


def test_a_weak_stage_makes_the_whole_answer_weak():
    async def main() -> None:
        site = Site(fails, answers)
        site.pipeline.stages["retrieve"].tier("nothing", Constant({}, context={"documents": []}))
        await site.start()
        site.send()
        await asyncio.sleep(3.0)
        (result,) = site.results()
        assert (result.outcome, result.tier, result.level) == (Outcome.OK, "large", 3)
        assert result.reason is Reason.ENDPOINT_ERROR
        assert result.body["from"] == []
        await site.stop()

    run(main)


@pytest.mark.parametrize("killed", ["retrieve", "answer"])
@pytest.mark.parametrize("after_seconds", [0.05, 0.15, 0.25, 0.6, 1.0, 1.5])
def test_nothing_is_lost_when_a_worker_of_either_stage_is_killed_and_each_result_is_visible_once(killed, after_seconds):
    async def main() -> None:
        site = Site(finds, answers)
        workers = dict(zip(("retrieve", "answer"), await site.start(), strict=True))
        for _ in range(20):
            site.send(budget_seconds=60.0)
        await asyncio.sleep(after_seconds)
        await workers[killed].kill()
        await site.start(killed)
        await asyncio.sleep(40.0)
        assert {result.request.id for result in site.results()} == {str(number) for number in range(1, 21)}
        assert all(result.is_ok for result in site.results())
        assert len({result.id for result in site.results()}) == 20
        assert site.committed("retrieve") == 20
        await site.stop()

    run(main)


def test_a_drain_of_the_first_stage_leaves_nothing_between_the_stages():
    async def main() -> None:
        site = Site(finds, answers)
        first, _ = await site.start()
        for _ in range(20):
            site.send(budget_seconds=60.0)
        await asyncio.sleep(0.15)
        await first.stop()
        handed_on = len(site.records("support.answer.interactive"))
        assert handed_on == site.committed("retrieve")
        await site.start("retrieve")
        await asyncio.sleep(30.0)
        assert len(site.results()) == 20
        await site.stop()

    run(main)


def test_a_request_that_was_handed_on_twice_is_executed_once_and_its_result_has_one_name():
    calls = []

    async def counted(call: Call) -> Output:
        calls.append(call)
        await asyncio.sleep(1.0)
        return Output({"by": "large"})

    async def main() -> None:
        site = Site(finds, counted, coalesce="off")
        await site.start("retrieve")
        site.send(budget_seconds=30.0)
        await asyncio.sleep(2.0)
        (record,) = site.records("support.answer.interactive")
        site.broker.append("support.answer.interactive", record)
        await site.start("answer")
        await asyncio.sleep(5.0)
        assert len(calls) == 1
        assert len({result.id for result in site.results()}) == 1
        assert all(result.coalesced_with is None for result in site.results())
        assert site.committed("answer") == 2
        await site.stop()

    run(main)


def test_two_tenants_whose_requests_have_one_name_share_no_answer_behind_the_first_stage():
    """As when both submit the same batch file: its lines are named by the file and their number."""
    called = []

    async def looks(call: Call) -> Output:
        called.append(call.tenant)
        await asyncio.sleep(1.0)
        return Output({"for": call.tenant})

    async def main() -> None:
        site = Site(finds, looks, coalesce="off")
        await site.start()
        for tenant in ("a", "b"):
            site.sent = 0
            site.send(budget_seconds=30.0, tenant=tenant)
        await asyncio.sleep(5.0)
        assert Counter(called) == {"a": 1, "b": 1}
        assert sorted(result.body["for"] for result in site.results()) == ["a", "b"]
        await site.stop()

    run(main)


def test_equal_requests_share_the_first_stage_and_each_goes_on():
    calls = []

    async def counted(call: Call) -> Output:
        calls.append(call)
        return await finds(call)

    async def main() -> None:
        site = Site(counted, answers, coalesce="always")
        await site.start()
        for number in range(5):
            site.send(body={**BODY, "user": f"u{number}"})
        await asyncio.sleep(3.0)
        assert len(calls) < 5
        results = site.results()
        assert {result.custom_id for result in results} == {f"line {number}" for number in range(1, 6)}
        assert all(result.is_ok for result in results)
        users = {decode_request(record.value).body["user"] for record in site.records("support.answer.interactive")}
        assert users == {f"u{number}" for number in range(5)}
        await site.stop()

    run(main)


def test_while_the_next_stage_fails_requests_end_before_it_and_it_is_asked_again_when_it_may_be_well():
    is_well = False
    calls = 0

    async def sick(call: Call) -> Output:
        nonlocal calls
        calls += 1
        return await (answers if is_well else fails)(call)

    async def main() -> None:
        nonlocal is_well
        site = Site(finds, sick)
        site.pipeline.stages["answer"].tier("sorry", Constant({"sorry": True}))
        await site.start()
        for _ in range(80):
            site.send(floor=2)
            await asyncio.sleep(0.25)
        by_stage = Counter((result.stage, result.outcome) for result in site.results())
        assert by_stage["answer", Outcome.UNAVAILABLE] + by_stage["answer", Outcome.FAILED] >= 20
        assert by_stage["retrieve", Outcome.UNAVAILABLE] >= 1
        before = len(site.records("support.answer.interactive"))
        site.send()
        await asyncio.sleep(1.0)
        last = max(site.results(), key=lambda result: int(result.request.id))
        assert (last.outcome, last.tier, last.level, last.stage) == (Outcome.OK, "sorry", 3, "answer")
        assert (last.reason, last.body) == (Reason.BREAKER_OPEN, {"sorry": True})
        assert len(site.records("support.answer.interactive")) == before
        is_well = True
        for _ in range(400):
            site.send()
            await asyncio.sleep(0.25)
        last = max(site.results(), key=lambda result: int(result.request.id))
        assert (last.outcome, last.tier, last.level) == (Outcome.OK, "large", 1)
        assert site.workers[0].runner.machine.handovers["stage:answer/interactive"].state is State.CLOSED
        said = [word for breaker, word in site.said_of_breakers() if breaker == "stage:answer/interactive"]
        assert {Phase.OPEN, Phase.HALF_OPEN, Phase.CLOSED} == {word.phase for word in said if word.epoch}
        assert {cause for word in said for cause in word.causes} <= {Cause.FAILURE_RATE, Cause.PROBE}
        await site.stop()

    run(main)


def test_a_next_stage_without_workers_stops_the_one_before_it():
    async def main() -> None:
        site = Site(finds, answers)
        await site.start("retrieve")
        for _ in range(30):
            site.send(budget_seconds=2.0)
            await asyncio.sleep(0.5)
        stopped = [result for result in site.results() if result.reason is Reason.BREAKER_OPEN]
        assert {result.outcome for result in stopped} == {Outcome.UNAVAILABLE}
        assert {result.stage for result in stopped} == {"retrieve"}
        assert len(stopped) >= 10
        await site.start("answer")
        await asyncio.sleep(5.0)
        assert len(site.results()) == 30
        await site.stop()

    run(main)


@pytest.mark.parametrize("name", ["stage:answer", "stage:answer/interactive"])
def test_an_operator_stops_what_goes_on_to_a_stage_and_all_see_it_until_the_word_ends(name):
    async def main() -> None:
        site = Site(finds, answers)
        site.pipeline.stages["answer"].tier("sorry", Constant({"sorry": True}))
        first, second = await site.start()
        site.force(name, Force.OPEN, seconds=30.0)
        await asyncio.sleep(1.0)
        before = len(site.records("support.answer.interactive"))
        for _ in range(20):
            site.send()
        await asyncio.sleep(2.0)
        assert len(site.records("support.answer.interactive")) == before
        assert {(result.tier, result.reason) for result in site.results()} == {("sorry", Reason.BREAKER_OPEN)}
        shown = {"stage": "retrieve", "tier": "stage:answer/interactive"}
        read = first.metrics.registry.get_sample_value
        assert read("failsoft_breaker_state", {**shown, "state": "forced_open"}) == 1
        assert read("failsoft_breaker_state", {**shown, "state": "closed"}) == 0
        assert read("failsoft_breaker_forced", {**shown, "force": "open"}) == 1
        assert second.metrics.registry.get_sample_value(
            "failsoft_breaker_records_heard_total", {"kind": "control", "fate": "foreign"}
        ), "it is the stage before that obeys"
        await asyncio.sleep(30.0)
        site.send()
        await asyncio.sleep(2.0)
        last = max(site.results(), key=lambda result: int(result.request.id))
        assert (last.tier, last.level) == ("large", 1)
        await site.stop()

    run(main)


def test_an_operator_has_requests_go_on_to_a_stage_that_fails():
    async def main() -> None:
        site = Site(finds, fails)
        await site.start()
        site.force("stage:answer", Force.CLOSED, seconds=3600.0)
        for _ in range(80):
            site.send()
            await asyncio.sleep(0.25)
        await asyncio.sleep(5.0)
        assert {result.stage for result in site.results()} == {"answer"}
        await site.stop()

    run(main)


def test_the_time_that_the_next_stage_takes_is_kept_back_from_the_calls_before_it():
    windows = []

    async def looks(call: Call) -> Output:
        windows.append(call.remaining_seconds())
        return await finds(call)

    async def slow(_: Call) -> Output:
        await asyncio.sleep(1.0)
        return Output({"by": "large"})

    async def main() -> None:
        site = Site(looks, slow)
        await site.start()
        for _ in range(40):
            site.send(budget_seconds=60.0)
        await asyncio.sleep(20.0)
        reserved = site.workers[0].runner.machine.reserved_seconds
        assert reserved == pytest.approx(1.05, rel=0.03)
        shown = site.workers[0].metrics.registry.get_sample_value
        assert shown("failsoft_reserved_seconds", {"stage": "retrieve"}) == reserved
        assert shown("failsoft_reserved_seconds", {"stage": "answer"}) is None
        site.send(budget_seconds=1.45)
        await asyncio.sleep(3.0)
        assert windows[-1] <= 1.45 - reserved
        (last,) = (result for result in site.results() if result.request.id == "41")
        assert last.is_ok
        assert last.slack_seconds > 0
        await site.stop()

    run(main)


def test_a_stage_behind_one_of_another_pipeline_or_behind_one_that_has_a_next_is_refused():
    pipeline, other = Pipeline("support"), Pipeline("other")
    first = pipeline.stage("retrieve")
    pipeline.stage("answer", after=first)
    with pytest.raises(ConfigurationError, match=r"other, stage 'answer'.*support.retrieve"):
        other.stage("answer", after=first)
    with pytest.raises(ConfigurationError, match="takes its answers already"):
        pipeline.stage("again", after=first)
    assert list(pipeline.stages) == ["retrieve", "answer"]


def test_a_stage_with_a_next_one_keeps_no_answers():
    def with_answers() -> tuple[Pipeline, Stage]:
        pipeline = Pipeline("support")
        first = pipeline.stage("retrieve")
        first.tier("vectors")(finds)
        return pipeline, first

    pipeline, first = with_answers()
    first.tier("cached", CachedAnswer())
    with pytest.raises(ConfigurationError, match="keeps no answers"):
        pipeline.stage("answer", after=first)
    pipeline, first = with_answers()
    pipeline.stage("answer", after=first)
    with pytest.raises(ConfigurationError, match="keeps no answers"):
        first.tier("cached", CachedAnswer())
