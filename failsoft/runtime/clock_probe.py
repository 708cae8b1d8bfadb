"""Measures this host's clock against the broker's before the first deadline is read.

A record is sent and its acknowledgement says when the broker appended it; the true offset lies in an interval as wide as that
took (:mod:`failsoft.policy.clock_offset`). On a cluster that is just electing a leader an acknowledgement takes seconds, and the
middle is then off by seconds: a worker that was started in a fault let requests expire two seconds early. So the probe is
repeated until the interval is narrow. Five times are enough: a cluster that is slow for longer is slow for the answers too, and
the estimate gets better with each of them.
"""

from failsoft.runtime.ports import OutboxPort

PROBE_TYPE = "failsoft.clockprobe.v1"
PROBES = 5
GOOD_SECONDS = 0.05
"""Uncertainty, as the margin for publishing; an acknowledgement within 100 ms gives it, and usual ones take 3 to 30."""


async def measure_clock(outbox: OutboxPort, topic: str) -> None:
    """Send probes until the broker's clock is known well enough, or as well as can be."""
    for _ in range(PROBES):
        await outbox.send(topic, key=None, value=b"", headers=[("ce_type", PROBE_TYPE.encode())])
        if outbox.clock_offset.uncertainty_seconds <= GOOD_SECONDS:
            return
