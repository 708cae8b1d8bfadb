"""A worker that breaks the commit rule: it commits what it has only taken in, as if that were done."""

from failsoft.cli import app
from failsoft.policy.offsets import OffsetTracker


def position(tracker: OffsetTracker) -> int:
    """The offset after the last record taken in."""
    return tracker.highest_started + 1


OffsetTracker.low_watermark = property(position)  # type: ignore[assignment, method-assign]  # the point of this file

if __name__ == "__main__":
    app()
