"""What a run must show: figures between two bounds, and the ones that scenarios ask for."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

from failsoft.policy.events import Verdict
from failsoft.policy.request import ClassName
from failsoft.simulation.fleet import Fleet
from failsoft.simulation.report import Called, Summary


@dataclass(frozen=True, slots=True)
class Expectation:
    """One thing that a run must show: a figure between two bounds."""

    says: str
    figure: Callable[[Fleet], float]
    at_least: float = -math.inf
    at_most: float = math.inf

    @property
    def bounds(self) -> str:
        """What was wanted, in words."""
        words = (
            f"at least {self.at_least:g}" if self.at_least > -math.inf else "",
            f"at most {self.at_most:g}" if self.at_most < math.inf else "",
        )
        return " and ".join(word for word in words if word)

    def is_met(self, fleet: Fleet) -> bool:
        """Whether a run shows it."""
        return self.at_least <= self.figure(fleet) <= self.at_most


def _summary(
    figure: Callable[[Summary], float],
    request_class: ClassName | None = None,
    since: float = 0.0,
    until: float = math.inf,
) -> Callable[[Fleet], float]:
    return lambda fleet: figure(fleet.tally.summary(request_class, since=since, until=until))


def in_time(request_class: ClassName | None = None, at_least: float = 1.0, **span: float) -> Expectation:
    """The part answered in time, at any level."""
    figure = _summary(lambda summary: summary.in_time_share, request_class, **span)
    return Expectation(f"in time{_of(request_class)}{_within(**span)}", figure, at_least=at_least)


def full(request_class: ClassName | None = None, at_least: float = 1.0, **span: float) -> Expectation:
    """The part answered in time at level 1."""
    figure = _summary(lambda summary: summary.level_share(1), request_class, **span)
    return Expectation(f"level 1{_of(request_class)}{_within(**span)}", figure, at_least)


def level(number: int, at_most: float, request_class: ClassName | None = None, **span: float) -> Expectation:
    """The part answered in time at a level that is to be rare."""
    figure = _summary(lambda summary: summary.level_share(number), request_class, **span)
    return Expectation(f"level {number}{_of(request_class)}{_within(**span)}", figure, at_most=at_most)


def value(at_least: float) -> Expectation:
    """Worth of all answers over requests."""
    return Expectation("value", _summary(lambda summary: summary.value), at_least)


def tail(request_class: ClassName, at_most: float, **span: float) -> Expectation:
    """The 99th percentile of the time to a result."""
    figure = _summary(lambda summary: summary.p99_seconds, request_class, **span)
    return Expectation(f"p99{_of(request_class)}{_within(**span)}, s", figure, at_most=at_most)


def median(request_class: ClassName, at_least: float, **span: float) -> Expectation:
    """The median of the time to a result, where a rule is shown to make it long."""
    figure = _summary(lambda summary: summary.p50_seconds, request_class, **span)
    return Expectation(f"p50{_of(request_class)}{_within(**span)}, s", figure, at_least)


def waste(at_most: float) -> Expectation:
    """The part of the models' seconds that brought no answer."""
    return Expectation("wasted work", _summary(lambda summary: summary.wasted_work), at_most=at_most)


def starts(tier: str, since: float, until: float, at_most: float, at_least: float = -math.inf) -> Expectation:
    """Calls of one tier that were started."""

    def figure(fleet: Fleet) -> float:
        return len(_calls(fleet, tier, since, until))

    return Expectation(f"calls of {tier}{_within(since=since, until=until)}", figure, at_least, at_most)


def failed(tier: str, at_most: float) -> Expectation:
    """Calls of one tier that brought no answer."""

    def figure(fleet: Fleet) -> float:
        return sum(call.verdict is not Verdict.OK for call in _calls(fleet, tier))

    return Expectation(f"calls of {tier} without an answer", figure, at_most=at_most)


def at_once(tier: str, at_most: float, since: float, until: float) -> Expectation:
    """Calls of one tier, of those that were started in that time, that were in flight together in the whole fleet."""

    def figure(fleet: Fleet) -> float:
        calls = _calls(fleet, tier, since, until)
        moves = sorted(
            [(call.started_at, 1) for call in calls] + [(call.started_at + call.seconds, -1) for call in calls]
        )
        return max(accumulate(change for _, change in moves), default=0)

    return Expectation(f"calls of {tier} at once{_within(since=since, until=until)}", figure, at_most=at_most)


def calls_each(tier: str, at_most: float, *, since: float = 0.0, until: float = math.inf) -> Expectation:
    """Calls of one tier over the requests asked in that time."""

    def figure(fleet: Fleet) -> float:
        return len(_calls(fleet, tier, since, until)) / max(1, fleet.tally.summary(since=since, until=until).offered)

    return Expectation(f"calls of {tier} per request{_within(since=since, until=until)}", figure, at_most=at_most)


def lives(at_least: int) -> Expectation:
    """Processes that were started: shows that what was to die did."""
    return Expectation("processes started", lambda fleet: sum(host.lives for host in fleet.hosts), at_least=at_least)


def _calls(fleet: Fleet, tier: str, since: float = 0.0, until: float = math.inf) -> list[Called]:
    return [call for call in fleet.tally.calls if call.tier == tier and since <= call.started_at < until]


def _of(request_class: ClassName | None) -> str:
    return "" if request_class is None else f", {request_class}"


def _within(since: float = 0.0, until: float = math.inf) -> str:
    if since == 0.0 and math.isinf(until):
        return ""
    return f", from {since:g} s" if math.isinf(until) else f", {since:g} to {until:g} s"
