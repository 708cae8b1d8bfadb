"""The log of answers with an outbox and a view that do what the test says."""

import asyncio
from collections.abc import Collection

import pytest
import structlog

from failsoft import CachedAnswer, Call, OpenAICompatible, Output, Pipeline
from failsoft.kafka import OutboxClosed, RecordRefused
from failsoft.policy.answer import Answer, AnswerName
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.request import Partition
from failsoft.runtime.answer_log import SEND_SECONDS, UNDER_WAY_BYTES, AnswerLog, Written
from failsoft.runtime.metrics import Metrics
from failsoft.testing.virtual_clock import VirtualClock
from failsoft.testing.virtual_time import run_in_virtual_time
from failsoft.wire.answer import decode_answer
from tests.runtime.fakes import FakeOutbox


class FakeView:
    """Keeps which partitions it is to read."""

    def __init__(self) -> None:
        self.numbers: set[int] = set()
        self.is_stopped = False

    async def start(self) -> None:
        """Nothing to read."""

    async def caught_up(self, timeout_seconds: float = 5.0) -> bool:
        return True

    def gain(self, numbers: Collection[int]) -> None:
        self.numbers |= set(numbers)

    def lose(self, numbers: Collection[int]) -> None:
        self.numbers -= set(numbers)

    async def failed(self) -> None:
        await asyncio.Event().wait()

    async def stop(self) -> None:
        self.is_stopped = True


class Stand:
    def __init__(self) -> None:
        stage = Pipeline("demo").stage("work")
        stage.tier("large", OpenAICompatible("llama", url="http://127.0.0.1:1/v1"), revision="7")
        stage.tier("known", CachedAnswer())
        self.outbox, self.view, self.metrics = FakeOutbox(), FakeView(), Metrics()
        self.log = AnswerLog(
            stage,
            view=self.view,
            outbox=self.outbox,
            clock=VirtualClock(),
            hear=lambda *_: None,
            written=self.metrics.answers_written,
            read=self.metrics.answers_read,
        )

    def write(self, size_bytes: int = 100, *, number: int = 3, level: int = 1) -> None:
        body = b'"' + b"x" * (size_bytes - 2) + b'"'
        answer = Answer(AnswerName("k", level), "large", size_bytes, 0.0, 60.0, number)
        self.log.write(answer, Output(body, region="eu"))

    def fate(self, fate: Written) -> float:
        value = self.metrics.registry.get_sample_value(
            "failsoft_answers_written_total", {"stage": "work", "fate": fate.value}
        )
        return value or 0.0


def test_an_answer_is_written_with_what_the_next_owner_needs_to_know():
    async def main() -> None:
        stand = Stand()
        stand.write()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        ((topic, key, value, headers),) = stand.outbox.sent
        assert topic == "demo.answers"
        said = decode_answer(key, list(headers), value or b"")
        assert (said.name, said.stage, said.tier, said.region) == (AnswerName("k", 1), "work", "large", "eu")
        assert (said.revision, said.fresh_seconds) == ("llama@7", 60.0)
        assert said.produced_at == pytest.approx(VirtualClock().wall(), abs=0.001)
        assert stand.fate(Written.WRITTEN) == 1

    run_in_virtual_time(main())


def test_while_too_much_is_under_way_answers_are_left_out_and_counted():
    async def main() -> None:
        stand = Stand()
        stand.outbox.gate.clear()
        size = 900_000
        for _ in range(20):
            stand.write(size)
        fits = UNDER_WAY_BYTES // (size + 500)
        assert stand.fate(Written.BEHIND) == 20 - fits
        await asyncio.sleep(1)
        assert len(stand.outbox.sent) == fits
        stand.outbox.gate.set()
        await asyncio.sleep(1)
        assert stand.fate(Written.WRITTEN) == fits
        stand.write(size)
        assert stand.fate(Written.BEHIND) == 20 - fits

    run_in_virtual_time(main())


def test_a_broker_that_does_not_answer_is_not_waited_for_and_is_complained_of_once():
    async def main() -> None:
        stand = Stand()
        stand.outbox.gate.clear()
        with structlog.testing.capture_logs() as said:
            for _ in range(10):
                stand.write()
            await asyncio.sleep(SEND_SECONDS + 0.1)
        assert stand.fate(Written.FAILED) == 10
        assert [line["event"] for line in said] == ["answers_not_shared"]
        stand.outbox.gate.set()
        stand.write(UNDER_WAY_BYTES // 10)
        await asyncio.sleep(1)
        assert stand.fate(Written.WRITTEN) == 1, "nothing of it is counted as under way any more"

    run_in_virtual_time(main())


@pytest.mark.parametrize("error", [RecordRefused("no"), OutboxClosed("no"), ConfigurationError("no such topic")])
def test_what_the_broker_does_not_take_is_counted_and_ends_nothing(error):
    async def main() -> None:
        stand = Stand()
        stand.outbox.refuse = [error]
        stand.write()
        stand.write()
        await asyncio.sleep(1)
        assert (stand.fate(Written.FAILED), stand.fate(Written.WRITTEN)) == (1, 1)

    run_in_virtual_time(main())


def test_one_that_is_too_large_is_not_sent():
    async def main() -> None:
        stand = Stand()
        stand.write(1_000_001)
        await asyncio.sleep(1)
        assert stand.outbox.sent == []
        assert stand.fate(Written.TOO_LARGE) == 1

    run_in_virtual_time(main())


def test_the_view_follows_the_partitions_of_all_classes_and_ends_with_the_worker():
    async def main() -> None:
        stand = Stand()
        stand.log.gain([Partition(name, number) for name in ("interactive", "batch") for number in (1, 2)])
        stand.log.lose([Partition("interactive", 2), Partition("batch", 2)])
        assert stand.view.numbers == {1}
        await stand.log.close()
        assert stand.view.is_stopped

    run_in_virtual_time(main())


@pytest.mark.parametrize(("answers_after", "fate"), [(0.5, Written.WRITTEN), (1.5, None)])
def test_what_is_under_way_when_the_worker_ends_has_a_second_left(answers_after, fate):
    async def main() -> None:
        stand = Stand()
        stand.outbox.gate.clear()
        stand.write()
        asyncio.get_running_loop().call_later(answers_after, stand.outbox.gate.set)
        began_at = asyncio.get_running_loop().time()
        await stand.log.close()
        assert asyncio.get_running_loop().time() - began_at == min(answers_after, 1.0)
        assert stand.fate(Written.WRITTEN) == (fate is Written.WRITTEN)

    run_in_virtual_time(main())


def test_a_model_is_told_by_its_name_and_by_its_author_s_word():
    stage = Pipeline("demo").stage("work")
    stage.tier("large", OpenAICompatible("meta/llama", url="http://127.0.0.1:1/v1"), revision="2026-11")
    stage.tier("small", OpenAICompatible("phi", url="http://127.0.0.1:1/v1"))

    @stage.tier("rules", revision="b")
    async def rules(_: Call) -> Output:
        return Output({})

    @stage.tier("plain")
    async def plain(_: Call) -> Output:
        return Output({})

    assert [tier.revision for tier in stage.tiers] == ["meta/llama@2026-11", "phi", "b", None]


@pytest.mark.parametrize("revision", ["", "a b", "a/b", "ü", "x" * 65])
def test_a_revision_that_could_not_stand_in_a_key_is_refused(revision):
    stage = Pipeline("demo").stage("work")
    with pytest.raises(ConfigurationError, match="tier large: revision"):
        stage.tier("large", OpenAICompatible("llama", url="http://127.0.0.1:1/v1"), revision=revision)
