"""What is known of a tier's latency: the figures that every rule below reads, and nothing else."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Speed:
    """Latency of one tier as seen from this worker, all in seconds.

    ``mean`` and ``q99`` are of answers only: they size queues and cap windows, and a window that ended must not feed its own
    cap. The others count a call cut at its window as "at least that long": they decide whether a call can be in time.
    """

    mean: float
    q50: float
    q70: float
    q90: float
    q95: float
    q99: float
    samples: int
