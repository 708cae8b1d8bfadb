"""Measures this host's clock against the broker's before the first deadline is read.

A record is sent and its acknowledgement says when the broker appended it; the true offset lies in an interval as wide as that
took (:mod:`failsoft.policy.clock_offset`). On a cluster that is just electing a leader an acknowledgement takes seconds, and the
middle is then off by seconds: a worker that was started in a fault let requests expire two seconds early. So the probe is
repeated until the interval is narrow. Five times are enough where it is tolerable by then: the estimate gets better with each
answer. Where it is not, up to fifteen more are tried: in a trial that starts workers amid faults a call began 3 s after its
deadline.
"""

from failsoft.runtime.ports import OutboxPort

PROBE_TYPE = "failsoft.clockprobe.v1"
PROBES = 5
PROBES_AT_MOST = 20
TOLERABLE_SECONDS = 0.25
"""Uncertainty with which a request may expire early or be called late by a part of a second, and no more."""
GOOD_SECONDS = 0.05
"""Uncertainty, as the margin for publishing; an acknowledgement within 100 ms gives it, and usual ones take 3 to 30."""


async def measure_clock(outbox: OutboxPort, topic: str) -> None:
    """Send probes until the broker's clock is known well enough, or as well as can be."""
    for sent in range(1, PROBES_AT_MOST + 1):
        await outbox.send(topic, key=None, value=b"", headers=[("ce_type", PROBE_TYPE.encode())])
        enough = TOLERABLE_SECONDS if sent >= PROBES else GOOD_SECONDS
        if outbox.clock_offset.uncertainty_seconds <= enough:
            return
