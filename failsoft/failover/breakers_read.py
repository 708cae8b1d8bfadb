"""Whether the fleet's breaker of an endpoint in a region holds calls back, as ``breakers`` and ``controls`` say now."""

from failsoft.catalogue import pipeline_topic
from failsoft.kafka import Connection
from failsoft.kafka.raw import raw_records
from failsoft.policy.breaker_control import Force
from failsoft.policy.errors import MalformedRecord
from failsoft.policy.register import NEVER_OPENED, Phase, Word
from failsoft.wire.control import BreakerControl, decode_control
from failsoft.wire.register import decode_register


async def is_holding_back(connection: Connection, pipeline: str, endpoint: str, region: str, *, now: float) -> bool:
    """Whether it does.

    A region that is not called does not probe, so an opening stands in the log until somebody comes: past its time it lets
    calls through, and so counts as closed here.

    Args:
        connection: where the cluster is.
        pipeline: whose.
        endpoint: ``<stage>/<tier>``.
        region: where it is called.
        now: epoch seconds, by the broker's clock.
    """
    name = f"{endpoint}/{region}"
    forced = await _forced(connection, pipeline_topic(pipeline, "controls"), (endpoint, name), now)
    if forced is not Force.AUTO:
        return forced is Force.OPEN
    word, opened_at = await _joined(connection, pipeline_topic(pipeline, "breakers"), name)
    return word.phase is not Phase.CLOSED and now < opened_at + word.open_seconds


async def _forced(connection: Connection, topic: str, names: tuple[str, ...], now: float) -> Force:
    latest: BreakerControl | None = None
    async for record in raw_records(connection, topic, since=0.0):
        try:
            control = decode_control(record.value, record.headers) if record.value is not None else None
        except MalformedRecord:
            continue  # the workers do not obey it either
        if control is not None and control.breaker in names:
            latest = control
    if latest is None or (latest.until is not None and latest.until <= now):
        return Force.AUTO
    return latest.force


async def _joined(connection: Connection, topic: str, name: str) -> tuple[Word, float]:
    """What all workers say together, and when its epoch was opened."""
    words: dict[str, tuple[Word, float]] = {}
    async for record in raw_records(connection, topic, since=0.0):
        try:
            breaker, process, register = decode_register(record.key, record.value, record.headers)
        except MalformedRecord:
            continue
        if breaker == name and register is not None:
            words[process] = register.word, record.timestamp - register.since_seconds
        elif breaker == name:
            words.pop(process, None)
    joined = NEVER_OPENED
    for word, _ in words.values():
        joined = joined.join(word)
    opened = [opened_at for word, opened_at in words.values() if word.epoch == joined.epoch]
    return joined, max(opened, default=0.0)
