"""When a worker is taken for stuck: a part of it is rebuilt first, and if that does not help the process ends.

**Duties.** A worker has few kinds of work that never wait for a model: to fetch what there is room for, to stay in its group, to
commit what is finished, to send what has ended. Each either has nothing to do or gets on; calls need no watching, because each
ends by its window. So a model that hangs for hours is no reason to act: its calls end, its breaker opens, the class is held,
and none of the duties has anything to do that it does not do.

**Silence** of a duty is the time since it was last seen at rest or getting on::

    silence >= rebuild  ->  rebuild its part, once          silence >= exit  ->  end the process with code 5

A process that stands where others would go on holds partitions that the group could give to them. A part that was just rebuilt
has nothing to do for a moment, which proves nothing: from then on rest only halts the count, until the duty gets on or has
been at rest for as long as a rebuilding takes to come. Not counted is time that is not this process's fault: while the
cluster is not whole (no broker answers, a partition has no leader or a replica is behind), silence begins anew; and of a pause
between two looks (SIGSTOP, a virtual machine that was moved) two steps count at most.

**Bounds.** Each part mends itself first: a fetcher that brings nothing after 15 s, a producer that gets no answer after 30 s, a
member that is ill after 45 s. Rebuilding at 60 s comes after all of them; ending at 180 s leaves the rebuilt part two minutes,
twice what the longest rebalance takes. An event loop that does not turn for 60 s has been evicted from its group ten times over
and serves nobody; heartbeats are on it, so nothing in the process gets on either, and there is no part to rebuild.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from failsoft.policy.errors import ConfigurationError

LOOK_SECONDS = 1.0
"""How often duties are looked at."""
SUSPECT_SECONDS = 5.0
"""From this silence on it is asked at every look whether the cluster is whole; nothing takes so long in a healthy one."""


@dataclass(frozen=True, slots=True)
class WatchdogSettings:
    """How long a worker may stand still.

    Attributes:
        rebuild_seconds: silence after which a part is rebuilt.
        exit_seconds: silence after which the process ends.
        loop_seconds: how long the event loop may not turn before the process ends.
        enforce: False says what it would do, and does nothing.
    """

    rebuild_seconds: float = 60.0
    exit_seconds: float = 180.0
    loop_seconds: float = 60.0
    enforce: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if not 0 < self.rebuild_seconds < self.exit_seconds:
            raise ConfigurationError(
                "watchdog: 0 < rebuild < exit does not hold; a part is rebuilt before the process ends"
            )
        if self.loop_seconds <= 0:
            raise ConfigurationError(
                "watchdog: loop must be above zero; to switch the watchdog off set enforce to false"
            )

    @classmethod
    def strictest(cls, settings: Iterable["WatchdogSettings"]) -> Self:
        """What holds for that which stages of one process share: the least of each bound, enforced if any stage says so."""
        known = list(settings)
        return cls(
            rebuild_seconds=min(each.rebuild_seconds for each in known),
            exit_seconds=min(each.exit_seconds for each in known),
            loop_seconds=min(each.loop_seconds for each in known),
            enforce=any(each.enforce for each in known),
        )


@dataclass(frozen=True, slots=True)
class Sight:
    """What is seen of a duty.

    Attributes:
        is_due: there is something to do.
        done: how often it got on, since the start.
    """

    is_due: bool
    done: int


class Step(StrEnum):
    """What to do about a duty."""

    NOTHING = "nothing"
    REBUILD = "rebuild"
    EXIT = "exit"


class Watch:
    """One duty, looked at again and again.

    Args:
        rebuild_seconds: silence after which its part is rebuilt; infinity: it has none.
        exit_seconds: silence after which the process ends.
    """

    def __init__(self, *, rebuild_seconds: float = math.inf, exit_seconds: float) -> None:
        self._rebuild_seconds = rebuild_seconds
        self._exit_seconds = exit_seconds
        self._done = -1
        self._looked_at = math.inf
        self._is_rebuilt = False
        self._rest_seconds = 0.0
        self.silent_seconds = 0.0
        """How long it has not got on."""

    @property
    def is_suspect(self) -> bool:
        """Whether to ask if the cluster is whole."""
        return self.silent_seconds >= SUSPECT_SECONDS

    def look(self, sight: Sight, *, now: float, is_cluster_whole: bool = True) -> Step:
        """Take in what is seen; ``now`` is monotonic seconds."""
        since, self._looked_at = max(0.0, now - self._looked_at), now
        step_seconds = min(since, 2 * LOOK_SECONDS)
        self._rest_seconds = 0.0 if sight.is_due else self._rest_seconds + step_seconds
        is_at_rest = not sight.is_due and (not self._is_rebuilt or self._rest_seconds >= self._rebuild_seconds)
        if is_at_rest or sight.done != self._done or not is_cluster_whole:
            self._done, self._is_rebuilt, self.silent_seconds = sight.done, False, 0.0
            return Step.NOTHING
        self.silent_seconds += step_seconds if sight.is_due else 0.0
        if self.silent_seconds >= self._exit_seconds:
            return Step.EXIT
        if self.silent_seconds >= self._rebuild_seconds and not self._is_rebuilt:
            self._is_rebuilt = True
            return Step.REBUILD
        return Step.NOTHING
