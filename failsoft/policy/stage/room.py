"""How many more records of a class to take: bounded by their number and their bytes, not by permits.

The scheduler has to see many to order them by deadline and to find equal ones, so room is wide: 2,000 records or 32 MiB a class.
Followers hold no body and wait for a call that is there anyway. They count apart, so that a herd on one content does not keep
others out, and have a bound of their own, because each still has its entries here and its headers at the shell.
"""

from failsoft.policy.request import ClassName
from failsoft.policy.settings import StageSettings
from failsoft.policy.stage.work import Work

FOLLOWERS_MAX = 10_000


class Room:
    """What one worker holds of each class.

    Args:
        settings: of the stage.
    """

    def __init__(self, settings: StageSettings) -> None:
        self._records_max, self._bytes_max = settings.records_max, settings.bytes_max
        self._hands_on = bool(settings.later)
        names = [known.name for known in settings.classes]
        self._records, self._bytes, self._followers = (
            dict.fromkeys(names, 0),
            dict.fromkeys(names, 0),
            dict.fromkeys(names, 0),
        )

    def take(self, work: Work) -> None:
        """A record is held from here on."""
        self._count(work, 1)

    def drop(self, work: Work) -> None:
        """A record is held no longer."""
        self._count(work, -1)

    def follow(self, work: Work) -> None:
        """A record that is held needs no body any more; but one that goes on to a next stage takes it along, and counts."""
        if self._hands_on:
            return
        self._count(work, -1)
        work.is_follower = True
        self._count(work, 1)

    def taken(self, request_class: ClassName) -> tuple[int, int]:
        """How many records of a class are held, beside followers, and their bytes."""
        return self._records[request_class], self._bytes[request_class]

    def left(self, request_class: ClassName) -> int:
        """How many more records of a class there is room for."""
        is_full = self._bytes[request_class] >= self._bytes_max or self._followers[request_class] >= FOLLOWERS_MAX
        return 0 if is_full else max(0, self._records_max - self._records[request_class])

    def _count(self, work: Work, change: int) -> None:
        name = work.record.request_class
        if work.is_follower:
            self._followers[name] += change
        else:
            self._records[name] += change
            self._bytes[name] += change * work.size_bytes
