"""What one worker's calls have answered, at the worker that owns the partition next: in memory, in virtual time."""

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failsoft import CachedAnswer, Call, Constant, Output, Pipeline
from failsoft.catalogue import Catalogue, parse, requests_topic
from failsoft.endpoints import EndpointFailed
from failsoft.policy.answer import Freshness
from failsoft.policy.outcome import Outcome
from failsoft.runtime.answer_log import Read, Written
from failsoft.testing.memory import MemoryBroker, MemoryOutbox, MemoryResultReader, MemoryWorker
from failsoft.testing.virtual_clock import VirtualClock
from failsoft.testing.virtual_time import run_in_virtual_time
from failsoft.wire import Envelope, Identity, Record, RequestLine, Result
from failsoft.wire.body import encode_request
from failsoft.wire.envelope import encode_request_headers
from failsoft.wire.result import decode_result

TEXT = """
version: 1
defaults: {partitions: 6, replication: 1, config: {message.timestamp.type: LogAppendTime}}
classes:
  interactive: {weight: 8, deadline: 5s, deadline_max: 60s}
  batch:       {weight: 1, deadline: 1h, deadline_max: 2h}
pipelines: {support: [answer]}
topics:
  requests:     {config: {retention.ms: 7d}}
  results:      {config: {retention.ms: 7d}}
  dead-letters: {config: {retention.ms: 14d}}
  answers:      {config: {cleanup.policy: "compact,delete", max.message.bytes: 10kB}}
"""
CATALOGUE: Catalogue = parse(TEXT)
ALONE: Catalogue = parse("\n".join(line for line in TEXT.splitlines() if "  answers:" not in line))
SECONDS = 0.2


class Fleet:
    """A broker, a sender, and workers of one stage, whose model says whom it answered and with what marker."""

    def __init__(self, catalogue: Catalogue = CATALOGUE) -> None:
        self.catalogue = catalogue
        self.clock = VirtualClock()
        self.broker = MemoryBroker(catalogue, self.clock)
        self.calls: list[tuple[str, Any]] = []
        self.is_down = False
        self.padding = ""
        self._outbox = MemoryOutbox(self.broker)
        self._numbers = itertools.count()
        self._workers = itertools.count()

    async def start(self, *, revision: str | None = None, **answers: Any) -> MemoryWorker:
        name = f"worker-{next(self._workers)}"
        stage = Pipeline("support").stage("answer")

        async def large(call: Call) -> Output:
            self.calls.append((name, call.body["asked"]))
            await asyncio.sleep(SECONDS)
            if self.is_down:
                raise EndpointFailed("down")
            return Output({"by": name, "for": call.tenant, "asked": call.body["asked"], "padding": self.padding})

        stage.tier("large", expect="200ms", limit=64, revision=revision)(large)
        stage.tier("known", CachedAnswer(**answers))
        stage.tier("sorry", Constant({"by": None}))
        worker = MemoryWorker(self.broker, stage, catalogue=self.catalogue, name=name)
        await worker.start()
        await asyncio.sleep(10)
        return worker

    async def ask(
        self,
        asked: Any,
        *,
        tenant: str | None = None,
        coalesce_key: str | None = None,
        max_stale: int | None = None,
        budget: float = 5.0,
    ) -> Result:
        """Send an interactive request, and wait for its result."""
        identity = Identity("/test", str(next(self._numbers)))
        envelope = Envelope(identity, tenant=tenant, coalesce_key=coalesce_key, max_stale_seconds=max_stale)
        headers = encode_request_headers(envelope, budget_seconds=budget, sent_at=self.clock.wall())
        value = encode_request(RequestLine(identity.id, "/v1/x", {"asked": asked, "temperature": 0}))
        # As producers do who know the content, and no tenant: what is asked chooses the partition.
        key = f"{asked}-{coalesce_key}".encode()
        reader = MemoryResultReader(self.broker, "support.results")
        await reader.start()
        await self._outbox.send(
            requests_topic("support", "answer", "interactive"), key=key, value=value, headers=headers
        )
        async with asyncio.timeout(budget + 1):
            async for record in reader.records():
                result = decode_result(record.headers, record.value)
                if result.request == identity:
                    return result
        raise AssertionError

    def logged(self) -> list[Record]:
        """All that stands in the log of answers."""
        topic = self.broker.topic("support.answers")
        return [entry.value for log in topic.logs for entry in log.read(0, 10_000) if entry.value is not None]

    def corrupt(self, asked: Any, change: Mapping[str, bytes | None], value: bytes | None) -> None:
        """Append a changed copy of what stands in the log for this."""
        topic = self.broker.topic("support.answers")
        for number, log in enumerate(topic.logs):
            for entry in log.read(0, 10_000):
                if entry.value is not None and str(asked).encode() in (entry.value.value or b""):
                    headers = [(name, change.get(name, text)) for name, text in entry.value.headers]
                    self.broker.append("support.answers", Record(entry.value.key, value, headers), number)


def fates(worker: MemoryWorker, name: str) -> dict[str, float]:
    """A counter of the log of answers by fate, zeros left out."""
    counter = getattr(worker.runner._metrics, name)
    return {
        s.labels["fate"]: s.value for m in counter.collect() for s in m.samples if s.name.endswith("_total") and s.value
    }


def test_the_next_owner_of_a_partition_serves_what_the_last_one_was_told():
    async def main() -> None:
        fleet = Fleet()
        first = await fleet.start()
        given = await fleet.ask("France")
        await asyncio.sleep(60)
        await first.kill()
        second = await fleet.start()
        served = await fleet.ask("France")
        assert served.body == given.body
        assert (served.tier, served.level, served.executions, served.is_stale) == ("large", 1, 0, False)
        assert served.age_seconds == pytest.approx(60 + 10, abs=0.5)
        assert fleet.calls == [("worker-0", "France")]
        assert fates(first, "answers_written") == {"written": 1}
        assert fates(second, "answers_read") == {"taken": 1}
        await second.close()

    run_in_virtual_time(main())


def test_without_a_topic_for_them_answers_stay_within_the_worker():
    async def main() -> None:
        fleet = Fleet(ALONE)
        first = await fleet.start()
        for _ in range(2):
            await fleet.ask("France")
        await first.stop()
        second = await fleet.start()
        assert (await fleet.ask("France")).body["by"] == "worker-1"
        assert [worker for worker, _ in fleet.calls] == ["worker-0", "worker-1"]
        await second.close()

    run_in_virtual_time(main())


def test_with_the_model_down_beyond_all_windows_what_is_known_is_served_stale_and_the_rest_by_the_constant():
    async def main() -> None:
        fleet = Fleet()
        first = await fleet.start()
        for n in range(20):
            await fleet.ask(n)
        await first.kill()
        await asyncio.sleep(2 * 3_600)
        fleet.is_down = True
        second = await fleet.start()
        results = await asyncio.gather(*(fleet.ask(n, budget=1.0) for n in range(40)))
        for n, result in enumerate(results):
            assert result.outcome is Outcome.OK
            assert result.slack_seconds >= 0, "nothing waits past its deadline"
            assert result.level == 3
            if n < 20:
                assert (result.tier, result.is_stale) == ("known", True)
                assert result.body["asked"] == n
                assert result.age_seconds is not None
                assert 7_200 < result.age_seconds < 7_300
            else:
                assert (result.tier, result.is_stale, result.age_seconds) == ("sorry", False, None)
        counts = second.runner.machine.saved.answers
        assert counts is not None
        assert counts.lookups[Freshness.STALE] == 20
        assert counts.lookups[Freshness.EXPIRED] >= 20, (
            "too old to serve at once; who waits in quarantine is looked up again"
        )
        await second.close()

    run_in_virtual_time(main())


@pytest.mark.parametrize(("max_stale", "tier"), [(None, "known"), (7_000, "known"), (60, "sorry"), (0, "sorry")])
def test_what_the_request_tolerates_bounds_what_another_worker_was_told(max_stale, tier):
    async def main() -> None:
        fleet = Fleet()
        first = await fleet.start(revalidate="0s")
        await fleet.ask("France")
        await first.kill()
        await asyncio.sleep(3_600)
        fleet.is_down = True
        second = await fleet.start(revalidate="0s")
        assert (await fleet.ask("France", max_stale=max_stale, budget=1.0)).tier == tier
        await second.close()

    run_in_virtual_time(main())


def test_a_stale_answer_serves_at_the_next_owner_while_the_model_is_asked_once():
    async def main() -> None:
        fleet = Fleet()
        first = await fleet.start()
        await fleet.ask("France")
        await first.kill()
        await asyncio.sleep(600)
        second = await fleet.start()
        stale = await asyncio.gather(*(fleet.ask("France") for _ in range(5)))
        await asyncio.sleep(1)
        renewed = await fleet.ask("France")
        assert [(result.body["by"], result.is_stale) for result in stale] == [("worker-0", True)] * 5
        assert (renewed.body["by"], renewed.is_stale) == ("worker-1", False)
        assert [worker for worker, _ in fleet.calls] == ["worker-0", "worker-1"]
        await second.close()

    run_in_virtual_time(main())


def test_a_partition_that_goes_takes_its_answers_along_and_brings_newer_ones_back():
    async def main() -> None:
        fleet = Fleet()
        first = await fleet.start()
        for n in range(30):
            await fleet.ask(n)
        second = await fleet.start()
        machines = [worker.runner.machine for worker in (first, second)]
        kept = [machine.saved.answers.kept for machine in machines if machine.saved.answers is not None]
        assert sum(kept) == 30, "each is with the owner of its partition"
        assert min(kept) > 0
        await second.stop()
        await asyncio.sleep(10)
        assert machines[0].saved.answers is not None
        assert machines[0].saved.answers.kept == 30
        for n in range(30):
            await fleet.ask(n)
        assert len(fleet.calls) == 30
        await first.close()

    run_in_virtual_time(main())


def test_another_revision_of_the_model_begins_with_nothing_and_displaces_nothing():
    async def main() -> None:
        fleet = Fleet()
        old = await fleet.start(revision="2026-10")
        await fleet.ask("France")
        await old.stop()
        new = await fleet.start(revision="2026-11")
        assert (await fleet.ask("France")).body["by"] == "worker-1"
        await asyncio.sleep(1)
        assert fates(new, "answers_read") == {"foreign": 1, "taken": 1}
        await new.stop()
        again = await fleet.start(revision="2026-10")
        assert (await fleet.ask("France")).body["by"] == "worker-0"
        assert len({record.key for record in fleet.logged()}) == 2
        await again.close()

    run_in_virtual_time(main())


@pytest.mark.parametrize(
    ("change", "value", "fate"),
    [
        ({}, b'{"by": 1, "by": 2}', Read.MALFORMED),
        ({"ce_freshms": b"soon"}, b"{}", Read.MALFORMED),
        ({"ce_type": None}, b"{}", Read.MALFORMED),
        ({"ce_servedtier": b"huge"}, b"{}", Read.FOREIGN),
        ({"ce_stage": b"retrieve"}, b"{}", Read.FOREIGN),
        ({"ce_revision": b"7"}, b"{}", Read.TAKEN),
        ({}, None, Read.DELETED),
    ],
)
def test_what_is_wrong_in_the_log_is_left_out_and_what_is_deleted_is_forgotten(change, value, fate):
    async def main() -> None:
        fleet = Fleet()
        first = await fleet.start()
        await fleet.ask("France")
        fleet.corrupt("France", change, value)
        await first.kill()
        second = await fleet.start()
        served = await fleet.ask("France")
        assert served.body["by"] == ("worker-1" if fate is Read.DELETED else "worker-0")
        assert fates(second, "answers_read")[fate.value] >= 1
        await second.close()

    run_in_virtual_time(main())


def test_an_answer_that_the_log_does_not_take_serves_here_all_the_same_and_holds_no_offset():
    async def main() -> None:
        fleet = Fleet()
        fleet.padding = "x" * 20_000
        worker = await fleet.start()
        for _ in range(2):
            assert (await fleet.ask("France")).outcome is Outcome.OK
        await asyncio.sleep(5)
        assert fates(worker, "answers_written") == {Written.FAILED.value: 1}
        assert len(fleet.calls) == 1
        group = fleet.broker.group("failsoft.support.answer", CATALOGUE.stage_topics("support", "answer")).group
        assert sum(group.committed.values()) == 2
        await worker.close()

    run_in_virtual_time(main())


def test_tenants_that_ask_the_same_in_the_same_partition_never_see_each_others_answers():
    async def main() -> None:
        fleet = Fleet()
        first = await fleet.start()
        for tenant in ("a", None, "b"):
            await fleet.ask("France", tenant=tenant, coalesce_key="forged")
        await first.kill()
        second = await fleet.start()
        for tenant in ("b", "c", "a", None):
            served = await fleet.ask("France", tenant=tenant, coalesce_key="forged")
            assert served.body["for"] == tenant
        assert [worker for worker, _ in fleet.calls] == ["worker-0"] * 3 + ["worker-1"], "only c was not known"
        await second.close()

    run_in_virtual_time(main())


_ASKED = st.tuples(
    st.sampled_from(["a", "b", None]),
    st.sampled_from(["France", "Italy"]),
    st.sampled_from([None, None, "forged", "a", "b"]),
    st.sampled_from([0.0, 100.0, 1_000.0, 10_000.0]),
)


@given(st.lists(st.one_of(_ASKED, st.sampled_from(["restart", "down", "up"])), max_size=15))
@settings(max_examples=20, deadline=None)
def test_whoever_asks_whatever_in_whatever_order_is_answered_with_what_was_said_to_its_tenant(steps):
    async def main() -> None:
        fleet = Fleet()
        worker = await fleet.start()
        for step in steps:
            if step == "restart":
                await worker.kill()
                worker = await fleet.start()
            elif isinstance(step, str):
                fleet.is_down = step == "down"
            else:
                tenant, asked, coalesce_key, pause = step
                await asyncio.sleep(pause)
                result = await fleet.ask(asked, tenant=tenant, coalesce_key=coalesce_key)
                assert result.body["by"] is None or result.body["for"] == tenant
                assert coalesce_key or result.body["by"] is None or result.body["asked"] == asked
        await worker.close()

    run_in_virtual_time(main())
