"""What a run came to: per class and in total, in the words of every report of this project.

*in_time* is an ok answer published before its deadline, at any level. *value* weighs it by level: 1, .7, .2 for levels 1, 2, 3,
none for late or no answer; so a stage that answers everything with a constant shows. *wasted_work* is the part of the
models' seconds spent on calls that brought no answer. Levels count what was in time.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from failsoft.policy.actions import Publish, StartCall
from failsoft.policy.events import Event, Verdict
from failsoft.policy.outcome import Ending, Outcome
from failsoft.policy.request import ClassName
from failsoft.simulation.shell import CallUnderWay, Shell
from failsoft.simulation.workload import Ask

K = TypeVar("K", int, str)

LEVEL_VALUES = {1: 1.0, 2: 0.7, 3: 0.2}
"""What an answer in time is worth (research/policy-lab.md)."""


class Ended(NamedTuple):
    """One request and its visible end."""

    ask: Ask
    ending: Ending
    at: float

    @property
    def seconds(self) -> float:
        """From sending to the result."""
        return self.at - self.ask.at

    @property
    def is_in_time(self) -> bool:
        """Answered, and before the deadline."""
        return self.ending.outcome is Outcome.OK and self.at <= self.ask.deadline_at

    @property
    def value(self) -> float:
        """What it was worth."""
        return LEVEL_VALUES[self.ending.level or 3] if self.is_in_time else 0.0


class Called(NamedTuple):
    """One call that is over."""

    request_class: ClassName
    tier: str
    started_at: float
    seconds: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of one class, or of all. Times in seconds; ``value`` and ``wasted_work`` 0-1; the rest are counts."""

    offered: int
    in_time: int
    levels: Mapping[int, int]
    tiers: Mapping[str, int]
    outcomes: Mapping[str, int]
    value: float
    wasted_work: float
    calls_per_request: float
    p50_seconds: float
    p95_seconds: float
    p99_seconds: float

    @property
    def in_time_share(self) -> float:
        """The part of the offered that was answered in time, 0-1."""
        return self.in_time / max(1, self.offered)

    def level_share(self, level: int) -> float:
        """The part of the offered that was answered in time at a level, 0-1."""
        return self.levels.get(level, 0) / max(1, self.offered)


@dataclass(slots=True)
class Tally:
    """Looks on and counts."""

    offered: list[Ask] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    calls: list[Called] = field(default_factory=list)

    def asked(self, ask: Ask) -> None:
        """A request was accepted."""
        self.offered.append(ask)

    def result(self, ask: Ask, ending: Ending, at: float) -> None:
        """A request has its visible end."""
        self.ended.append(Ended(ask, ending, at))

    def call_started(self, shell: Shell, action: StartCall) -> None:
        """Only calls that are over count."""

    def call_ended(self, shell: Shell, call: CallUnderWay, verdict: Verdict) -> None:
        """A call is over for its worker."""
        action = call.action
        seconds = shell.now - call.started_at
        self.calls.append(Called(action.record.request_class, action.tier, call.started_at, seconds, verdict))

    def decided(self, shell: Shell, action: Publish) -> None:
        """What counts is the visible result."""

    def handled(self, shell: Shell, event: Event) -> None:
        """Nothing to count."""

    def summary(
        self, request_class: ClassName | None = None, *, since: float = 0.0, until: float = math.inf
    ) -> Summary:
        """The figures of what was asked between two instants, of one class or of all."""

        def counts(ask: Ask) -> bool:
            return request_class in {None, ask.request_class} and since <= ask.at < until

        offered = sum(map(counts, self.offered))
        ended = [end for end in self.ended if counts(end.ask)]
        calls = [
            call
            for call in self.calls
            if request_class in {None, call.request_class} and since <= call.started_at < until
        ]
        in_time = [end for end in ended if end.is_in_time]
        p50, p95, p99 = quantiles([end.seconds for end in ended], (0.5, 0.95, 0.99))
        return Summary(
            offered=offered,
            in_time=len(in_time),
            levels=_counted(end.ending.level for end in in_time if end.ending.level is not None),
            tiers=_counted(end.ending.tier for end in in_time if end.ending.tier is not None),
            outcomes=_counted(end.ending.outcome.value for end in ended),
            value=math.fsum(end.value for end in ended) / max(1, offered),
            wasted_work=wasted_share(calls),
            calls_per_request=len(calls) / max(1, offered),
            p50_seconds=p50,
            p95_seconds=p95,
            p99_seconds=p99,
        )

    def by_class(self) -> dict[ClassName, Summary]:
        """The figures of each class that asked."""
        return {name: self.summary(name) for name in sorted({ask.request_class for ask in self.offered})}


def wasted_share(calls: Iterable[Called]) -> float:
    """The part of the seconds of these calls that brought no answer, 0-1."""
    seconds: dict[bool, float] = defaultdict(float)
    for call in calls:
        seconds[call.verdict is Verdict.OK] += call.seconds
    total = seconds[True] + seconds[False]
    return seconds[False] / total if total else 0.0


def quantiles(values: Iterable[float], wanted: Sequence[float]) -> list[float]:
    """Values at these ranks, by nearest rank; zeros when there are none."""
    ordered = sorted(values)
    if not ordered:
        return [0.0] * len(wanted)
    return [ordered[min(len(ordered) - 1, int(rank * len(ordered)))] for rank in wanted]


def _counted(values: Iterable[K]) -> dict[K, int]:
    return dict(sorted(Counter(values).items()))
