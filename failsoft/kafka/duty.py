"""What a watchdog looks at: a kind of work that never waits for a model, how it gets on, and how its part is rebuilt.

Which bounds hold, and what follows, is decided in :mod:`failsoft.policy.watchdog`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from failsoft.policy.watchdog import Sight


class DutyKind(StrEnum):
    """The kinds, which are labels of metrics too."""

    FETCH = "fetch"
    MEMBERSHIP = "membership"
    COMMIT = "commit"
    SEND = "send"


@dataclass(frozen=True, slots=True)
class Duty:
    """One duty.

    Attributes:
        kind: what it is.
        said: what it is, in the line that says that it stands still.
        sight: how it gets on.
        rebuild: gives its part up, to be made anew; returns at once.
    """

    kind: DutyKind
    said: str
    sight: Callable[[], Sight]
    rebuild: Callable[[], None]
