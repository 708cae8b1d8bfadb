"""Whom to refuse at once, with a hint when to come back, because nothing could serve him in time.

Shedding is the last resort. A request for which a lower tier answers in time is served by it; one that can wait is held, in
the log, for nothing. What is left are classes that may use model tiers only and whose deadline is short against what stands
before them. Without shedding each of their requests would wait out its deadline to learn that it was in vain.

**Pressure** of a class is how long everything before a new request takes at the tiers that the class may use, over how long
a new request may wait::

    pressure = drain / slack            drain: infinite while no tier runs; 0 where a tier answers at once
                                        slack: budget - reserve - q95
    wanted   = clamp((3 pressure - 2) / (3 - 2), 0, .75)

Factors 2 and 3 (failsafe-go's queue factors) of a third of the slack: none is shed while the line is shorter than two thirds
of what may wait, and at three thirds the last in line would be late. Never all: what still gets in shows how things are
(Finagle .75). So a class that can be held, batch with a day, has no pressure whatever its backlog.

**The rate** follows the highest of the wanted ones, up by 5 % a second, down by 1 % (DAGOR), because a queue answers late
and a quick hand makes it swing; down by 10 % where nothing is wanted any more, so that all are let in 10 s after the end.

**Who.** Each request has a level: the urgency of its class, then the hash of its user, then its own::

    level = 100 urgency + hash(user) % 100 + hash(request) / 2^32             shed below the rate's quantile of the last 1,000

The least urgent of the classes under pressure go first, and within a class the same users stay out or in (DAGOR, Cinnamon):
a user all of whose requests work is worth more than two of whom half do. The last part splits the one level on the border,
so that a single user is shed in part, too. A class is under pressure from two thirds until it is below one third; from one
third if a more urgent one is, for which it has to make room.
"""

import math
import zlib
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

from failsoft.policy.errors import ConfigurationError
from failsoft.policy.request import ClassName

TIGHTEN_PER_SECOND, EASE_PER_SECOND, RELEASE_PER_SECOND = 0.05, 0.01, 0.1
USERS = 100
"""Levels of a class: a step of one is a hundredth of it."""
WINDOW_REQUESTS = 1_000
RETRY_AFTER_SECONDS_MIN, RETRY_AFTER_SECONDS_MAX = 1.0, 60.0
RETRY_AFTER_SPREAD = 0.5
"""Hints differ by up to half, so that those who were refused together do not come back together."""


@dataclass(frozen=True, slots=True)
class AdmissionConfig:
    """When to shed.

    Attributes:
        shed_from: pressure at which shedding begins; half of it where it has begun.
        shed_all: pressure at which as many as may be are shed.
        reject_max: the most that is shed, 0-1.
        enforce: False counts whom it would have shed, and sheds nobody.
    """

    shed_from: float = 2 / 3
    shed_all: float = 1.0
    reject_max: float = 0.75
    enforce: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if not 0 < self.shed_from < self.shed_all:
            raise ConfigurationError("admission: 0 < shed_from < shed_all does not hold")
        if not 0 < self.reject_max < 1:
            raise ConfigurationError(
                "admission: reject_max must be above 0 and below 1, or nothing would show the end of it"
            )


@dataclass(slots=True)
class _Line:
    """What stands before a new request of one class."""

    drain_seconds: float = 0.0
    slack_seconds: float = math.inf
    is_pressed: bool = False

    @property
    def pressure(self) -> float:
        if self.drain_seconds <= 0 or math.isinf(self.slack_seconds):
            return 0.0
        return self.drain_seconds / self.slack_seconds if self.slack_seconds > 0 else math.inf


class Admission:
    """Lets requests in or sheds them, for all classes of a stage.

    Args:
        classes: most urgent first.
        config: when to shed.

    Attributes:
        rate: the part of the requests under pressure that is shed now.
        shed: how many were shed, by class; with ``enforce=False``, how many would have been.
    """

    __slots__ = ("_config", "_counts", "_levels", "_lines", "_moved_at", "_urgency", "rate", "shed")

    def __init__(self, classes: Sequence[ClassName], config: AdmissionConfig | None = None) -> None:
        self._config = config or AdmissionConfig()
        self._urgency = {name: rank for rank, name in enumerate(reversed(classes))}
        self._lines = {name: _Line() for name in classes}
        self._levels: deque[int] = deque()
        self._counts: Counter[int] = Counter()
        self._moved_at: float | None = None
        self.rate = 0.0
        self.shed: Counter[ClassName] = Counter()

    def pressure(self, request_class: ClassName) -> float:
        """How long everything before a new request of a class takes, over how long it may wait, as last seen."""
        return self._lines[request_class].pressure

    def line_seen(self, request_class: ClassName, *, drain_seconds: float, slack_seconds: float, now: float) -> None:
        """Say what stands before a new request of a class, memory and log, and how long it may wait."""
        self._move(now)
        line = self._lines[request_class]
        line.drain_seconds, line.slack_seconds = drain_seconds, slack_seconds
        more_urgent = (self._lines[name] for name, rank in self._urgency.items() if rank > self._urgency[request_class])
        has_begun = line.is_pressed or any(other.is_pressed for other in more_urgent)
        line.is_pressed = line.pressure >= self._config.shed_from / (2 if has_begun else 1)

    def retry_after_seconds(self, request_class: ClassName, user: str, request: str, *, now: float) -> float | None:
        """Decide on a request: None lets it in; else it is shed, and may come back after so long.

        Args:
            request_class: of the request.
            user: whose it is; all of one user's requests share a fate.
            request: its identity.
            now: the instant.
        """
        self._move(now)
        line = self._lines[request_class]
        if not line.is_pressed:
            return None
        level = USERS * self._urgency[request_class] + zlib.crc32(user.encode()) % USERS
        own = zlib.crc32(request.encode()) / 2**32
        self._remember(level)
        if not self._is_below(level, own):
            return None
        self.shed[request_class] += 1
        return self._hint(line, own) if self._config.enforce else None

    def _is_below(self, level: int, own: float) -> bool:
        """Whether a level lies in the lowest part, as large as the rate, of the last levels."""
        below = sum(count for known, count in self._counts.items() if known < level)
        return below + own * self._counts[level] < self.rate * len(self._levels)

    def _remember(self, level: int) -> None:
        self._levels.append(level)
        self._counts[level] += 1
        if len(self._levels) > WINDOW_REQUESTS:
            oldest = self._levels.popleft()
            self._counts[oldest] -= 1
            if not self._counts[oldest]:
                del self._counts[oldest]

    def _hint(self, line: _Line, own: float) -> float:
        """When the line will be so short that nobody is shed."""
        spare = line.drain_seconds - self._config.shed_from * max(line.slack_seconds, 0.0)
        seconds = max(spare, RETRY_AFTER_SECONDS_MIN) * (1 + RETRY_AFTER_SPREAD * own)
        return min(seconds, RETRY_AFTER_SECONDS_MAX)

    def _move(self, now: float) -> None:
        """Let the rate follow what is wanted, for the time that has passed."""
        seconds = 0.0 if self._moved_at is None else now - self._moved_at
        self._moved_at = now
        if not seconds:
            return
        wanted = max(self._wanted(line.pressure) for line in self._lines.values())
        if wanted >= self.rate:
            self.rate = min(wanted, self.rate + TIGHTEN_PER_SECOND * seconds)
        else:
            ease = EASE_PER_SECOND if wanted else RELEASE_PER_SECOND
            self.rate = max(wanted, self.rate - ease * seconds)

    def _wanted(self, pressure: float) -> float:
        begins, ends = self._config.shed_from, self._config.shed_all
        return min(max((pressure - begins) / (ends - begins), 0.0), self._config.reject_max)
