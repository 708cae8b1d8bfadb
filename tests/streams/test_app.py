"""The app round a model, without a broker: what is acknowledged, and when it had better end."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from failsoft.kafka import Connection, ViewRecord
from failsoft.policy.errors import EnvironmentFailure
from failsoft.policy.rollup import RollUp
from failsoft.wire import Record
from failsoft.wire.rollup import encode_rollup
from tests.streams.site import SERVED, has_faust

if not has_faust():
    pytest.skip("the extra `streams` is not installed", allow_module_level=True)

from streams.app import FROZEN_SECONDS, REPEAT_ROUNDS, App, RollUpsMissing
from streams.metrics import Metrics


class Model:
    """Each roll-up changes one record, which is open from then on."""

    def __init__(self) -> None:
        self.changed: list[Record] = []
        self.all: list[Record] = []

    def restore(self, record: ViewRecord, partitions: frozenset[int]) -> None:
        raise AssertionError

    def fold(self, rollup: RollUp, *, partition: int, offset: int, appended_at: float) -> None:
        self.changed.append(Record(b"%d-%d" % (partition, offset), b"v", ()))
        self.all.append(self.changed[-1])

    def take_changed(self) -> list[Record]:
        changed, self.changed = self.changed, []
        return changed

    def open(self) -> list[Record]:
        return self.all


class Event:
    """As Faust hands it over."""

    def __init__(self, offset: int, value: bytes, headers: Any) -> None:
        self.message = SimpleNamespace(partition=0, offset=offset, timestamp=1.0, value=value, headers=headers)
        self.is_acknowledged = False

    def ack(self) -> None:
        self.is_acknowledged = True


class Target:
    """The topic of the model: keeps what is sent; answers when the test says."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def send(self, *, key: bytes, value: bytes, headers: dict[str, bytes]) -> "asyncio.Future[None]":
        self.sent.append(key)
        return self.answer


def an_app(folder: object) -> tuple[App, Target]:
    app = App(
        "degradation",
        Model,
        connection=Connection("127.0.0.1:1"),
        pipeline="shop",
        metrics=Metrics("degradation"),
        folder=str(folder),
    )
    app._target_topic = target = Target()
    return app, target


def an_event(offset: int) -> Any:
    record = encode_rollup(RollUp("work", {SERVED: 1}, {}), pipeline="shop", id_=str(offset))
    return Event(offset, record.value or b"", tuple(record.headers))


async def published_at(app: App) -> float:
    await app.publish()
    assert app._published_at is not None
    return app._published_at


async def test_a_rollup_is_acknowledged_when_what_it_has_changed_is_and_not_before(tmp_path):
    app, target = an_app(tmp_path)
    event, later = an_event(1), an_event(2)
    app.take(event)
    publishing = asyncio.create_task(app.publish())
    await asyncio.sleep(0)
    app.take(later)
    assert (target.sent, event.is_acknowledged) == ([b"0-1"], False)
    target.answer.set_result(None)
    await publishing
    assert (event.is_acknowledged, later.is_acknowledged) == (True, False)


async def test_where_publishing_fails_nothing_is_acknowledged_and_the_error_ends_the_app(tmp_path):
    app, target = an_app(tmp_path)
    event = an_event(1)
    app.take(event)
    target.answer.set_exception(OSError("no broker"))
    with pytest.raises(OSError, match="no broker"):
        await app.publish()
    assert not event.is_acknowledged


async def test_what_is_no_rollup_is_acknowledged_with_the_rest(tmp_path):
    app, target = an_app(tmp_path)
    events: list[Any] = [
        Event(1, b"{", (("ce_type", b"failsoft.rollup.v1"),)),
        Event(2, b"", (("ce_type", b"failsoft.clockprobe.v1"),)),
        Event(3, b"", ()),
    ]
    for event in events:
        app.take(event)
    await app.publish()
    assert target.sent == []
    assert all(event.is_acknowledged for event in events)
    assert app._metrics.malformed._value.get() == 1


async def test_a_rollup_that_does_not_follow_the_last_one_ends_the_app_before_it_counts(tmp_path):
    app, target = an_app(tmp_path)
    target.answer.set_result(None)
    app.take(an_event(1))
    app.take(an_event(2))
    late = an_event(4)
    with pytest.raises(RollUpsMissing, match=r"shop\.outcomes-0: 4 came, and 3 did not"):
        app.take(late)
    await app.publish()
    assert target.sent == [b"0-1", b"0-2"]
    assert not late.is_acknowledged


async def test_a_rollup_that_comes_again_is_taken_and_the_next_has_to_follow_it(tmp_path):
    app, _ = an_app(tmp_path)
    for offset in (1, 2, 1, 2, 3):
        app.take(an_event(offset))


async def test_what_is_open_is_said_again_every_few_rounds(tmp_path):
    app, target = an_app(tmp_path)
    target.answer.set_result(None)
    app.take(an_event(1))
    for _ in range(2 * REPEAT_ROUNDS):
        await app.publish()
    assert target.sent == [b"0-1"] * 3


async def test_an_app_that_was_frozen_for_longer_than_others_would_mend_ends(tmp_path):
    app, _ = an_app(tmp_path)
    app.require_awake(time.monotonic() + 10 * FROZEN_SECONDS)  # it has not begun
    at = await published_at(app)
    app.require_awake(at + FROZEN_SECONDS - 1)
    with pytest.raises(EnvironmentFailure, match="stood still for 61 s"):
        app.require_awake(at + FROZEN_SECONDS + 1)


async def test_one_that_only_waits_for_its_broker_goes_on(tmp_path):
    app, target = an_app(tmp_path)
    at = await published_at(app)
    app.take(an_event(1))
    publishing = asyncio.create_task(app.publish())
    await asyncio.sleep(0)
    app.require_awake(at + 10 * FROZEN_SECONDS)
    target.answer.set_result(None)
    await publishing


async def test_taking_over_drops_what_is_pending_for_it_comes_again(tmp_path):
    app, target = an_app(tmp_path)
    event = an_event(1)
    app.take(event)
    assert not app.is_assigned
    await app.restore(frozenset())
    await app.publish()
    assert (target.sent, event.is_acknowledged, app.is_assigned) == ([], False, True)
