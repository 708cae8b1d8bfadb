"""The clock is measured until it is known, or it is clear that it will not be."""

from collections.abc import Sequence

from failsoft.kafka import Acknowledged
from failsoft.runtime.clock_probe import PROBES, PROBES_AT_MOST, measure_clock
from tests.runtime.fakes import FakeOutbox


class SlowOutbox(FakeOutbox):
    """Acknowledgements take as long as is listed; the append is right before each, as after an election."""

    def __init__(self, takes: Sequence[float]) -> None:
        super().__init__()
        self.takes = list(takes)

    async def send(self, topic, **record) -> Acknowledged:
        acknowledged = await super().send(topic, **record)
        seconds = self.takes.pop(0)
        self.clock_offset.observe(sent_at=0.0, appended_at=seconds, acked_at=seconds, now=0.0)
        return acknowledged


async def test_a_probe_that_took_seconds_is_repeated_until_the_clock_is_known():
    outbox = SlowOutbox([4.0, 2.0, 0.01, 0.01])
    await measure_clock(outbox, "outcomes")
    assert len(outbox.sent) == 3
    assert abs(outbox.clock_offset.seconds) < 0.05


async def test_one_quick_probe_is_enough_and_a_cluster_that_stays_slow_is_not_waited_for():
    quick, slow, sick = SlowOutbox([0.01, 0.01]), SlowOutbox([0.4] * 10), SlowOutbox([4.0] * 30)
    for outbox in (quick, slow, sick):
        await measure_clock(outbox, "outcomes")
    assert (len(quick.sent), len(slow.sent), len(sick.sent)) == (1, PROBES, PROBES_AT_MOST)


async def test_where_five_probes_took_seconds_more_are_sent_until_the_clock_is_tolerably_known():
    outbox = SlowOutbox([6.0, 5.0, 4.0, 4.0, 4.0, 3.0, 0.3, 0.01])
    await measure_clock(outbox, "outcomes")
    assert len(outbox.sent) == 7
    assert outbox.clock_offset.uncertainty_seconds < 0.25
