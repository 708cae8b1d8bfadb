"""The dice of every command that leaves something to chance, made from ``--seed``."""

from collections.abc import Callable
from random import Random


def dice_of(seed: int) -> Callable[[str], Random]:
    """Make dice of its own for each part of a world, all from one seed."""
    return lambda part: Random(f"{seed} {part}")
