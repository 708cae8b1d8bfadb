"""Jitter without dice: waits that are spread evenly, and differ between workers, and are the same in every run.

The n-th draw is the fractional part of ``start + n x golden ratio``, which fills 0 to 1 as evenly as a sequence can (Weyl);
the start comes from a name, so that workers that fail together do not come back together. A ``random.Random`` does as well:
both can draw ``uniform``.
"""

import hashlib
import math
from typing import Protocol

_GOLDEN = (math.sqrt(5) - 1) / 2


class Jitter(Protocol):
    """Something that draws."""

    def uniform(self, a: float, b: float, /) -> float:
        """Return a number from a to b."""


class EvenJitter:
    """Draws in the order of a Weyl sequence.

    Args:
        name: of who draws; it decides where the sequence begins.
    """

    __slots__ = ("_at",)

    def __init__(self, name: str) -> None:
        self._at = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=6).digest(), "big") / 2**48

    def uniform(self, a: float, b: float, /) -> float:
        """Return the next number from a to b."""
        self._at = (self._at + _GOLDEN) % 1
        return a + (b - a) * self._at
