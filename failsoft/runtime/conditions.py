"""How a stage stands, read from the machine at each scrape: breakers, retries, limits, latency, and what was not called at all.

The machine keeps these counts anyway, dark or not, so nothing is counted twice and nothing costs a call. A state is a row of
series, one for each state there is, of which one is 1 (Prometheus' state set): a state that never was still has its series.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from failsoft.policy.answer import AnswerCounts, Freshness, Gone
from failsoft.policy.breaker_control import Force
from failsoft.policy.breaker_states import State
from failsoft.policy.settings import StageSettings
from failsoft.policy.stage import Condition, HandoverCondition, Saved, StageMachine
from failsoft.policy.widening import Spread

_TIER = ("stage", "tier")
_CLASS = (*_TIER, "class")


@dataclass(frozen=True, slots=True)
class _Families:
    """The families of one scrape."""

    state: GaugeMetricFamily
    forced: GaugeMetricFamily
    trips: CounterMetricFamily
    retries: CounterMetricFamily
    refused: CounterMetricFamily
    limit: GaugeMetricFamily
    infeasible: GaugeMetricFamily
    spread: GaugeMetricFamily
    joined: CounterMetricFamily
    lookups: CounterMetricFamily
    answers_kept: CounterMetricFamily
    answers_gone: CounterMetricFamily
    answers: GaugeMetricFamily
    answers_bytes: GaugeMetricFamily
    shed: CounterMetricFamily
    shed_part: GaugeMetricFamily

    @classmethod
    def empty(cls) -> "_Families":
        """All of them, without a sample."""
        return cls(
            GaugeMetricFamily("failsoft_breaker_state", "1 for the state that it is in", labels=(*_TIER, "state")),
            GaugeMetricFamily("failsoft_breaker_forced", "1 for what an operator wants", labels=(*_TIER, "force")),
            CounterMetricFamily("failsoft_breaker_trips", "Own or pooled counts opened it, or would", labels=_TIER),
            CounterMetricFamily("failsoft_retries", "Further executions that the budget paid for", labels=_CLASS),
            CounterMetricFamily("failsoft_retries_refused", "Those that it refused, or would have", labels=_CLASS),
            GaugeMetricFamily("failsoft_limit_calls", "What it bears, for the fleet, as measured here", labels=_TIER),
            GaugeMetricFamily("failsoft_limit_infeasible", "1 if fewer calls do not meet the target", labels=_TIER),
            GaugeMetricFamily("failsoft_latency_spread", "1 for how latency compares now", labels=(*_TIER, "spread")),
            CounterMetricFamily("failsoft_joined_requests", "Shared another's call, or would have", labels=("stage",)),
            CounterMetricFamily(
                "failsoft_answers_lookups", "What looks for an answer of the past found", labels=("stage", "freshness")
            ),
            CounterMetricFamily(
                "failsoft_answers_kept", "Answers kept: of an own call, or from the log", labels=("stage", "origin")
            ),
            CounterMetricFamily("failsoft_answers_gone", "Answers kept no longer, by why", labels=("stage", "reason")),
            GaugeMetricFamily("failsoft_answers", "Answers of the past that are kept", labels=("stage",)),
            GaugeMetricFamily("failsoft_answers_bytes", "What they take", labels=("stage",)),
            CounterMetricFamily("failsoft_shed_requests", "Refused at once, or would be", labels=("stage", "class")),
            GaugeMetricFamily("failsoft_shed_ratio", "Part that is refused now, under pressure", labels=("stage",)),
        )

    def add(self, settings: StageSettings, tier: str, condition: Condition) -> None:
        """The samples of one endpoint."""
        where = (settings.name, tier)
        self.add_breaker(settings.name, tier, condition)
        self.trips.add_metric(where, condition.trips)
        for known in settings.classes:
            self.retries.add_metric((*where, known.name), condition.retries.get(known.name, 0))
            self.refused.add_metric((*where, known.name), condition.retries_refused.get(known.name, 0))
        self.limit.add_metric(where, condition.limit)
        self.infeasible.add_metric(where, condition.is_target_infeasible)
        for spread in Spread:
            self.spread.add_metric((*where, spread.value), condition.spread is spread)

    def add_breaker(self, stage: str, name: str, condition: Condition | HandoverCondition) -> None:
        """The samples of one breaker, of an endpoint or before the next stage."""
        for state in State:
            self.state.add_metric((stage, name, state.value), condition.state is state)
        for force in Force:
            self.forced.add_metric((stage, name, force.value), condition.forced is force)

    def add_saved(self, settings: StageSettings, saved: Saved) -> None:
        """The samples of what one stage did not call."""
        self.joined.add_metric((settings.name,), saved.joined)
        if saved.answers is not None:
            self._add_answers(settings.name, saved.answers)
        for known in settings.classes:
            self.shed.add_metric((settings.name, known.name), saved.shed.get(known.name, 0))
        self.shed_part.add_metric((settings.name,), saved.shed_part)

    def _add_answers(self, stage: str, counts: AnswerCounts) -> None:
        for freshness in Freshness:
            self.lookups.add_metric((stage, freshness.value), counts.lookups.get(freshness, 0))
        self.answers_kept.add_metric((stage, "call"), counts.stored)
        self.answers_kept.add_metric((stage, "log"), counts.heard)
        for reason in Gone:
            self.answers_gone.add_metric((stage, reason.value), counts.gone.get(reason, 0))
        self.answers.add_metric((stage,), counts.kept)
        self.answers_bytes.add_metric((stage,), counts.kept_bytes)

    def all(self) -> Iterable[Metric]:
        """In the order of the exposition."""
        return tuple(getattr(self, each.name) for each in fields(self))


class Conditions(Collector):
    """All stages of one worker."""

    def __init__(self) -> None:
        self._machines: list[tuple[StageSettings, StageMachine]] = []

    def watch(self, settings: StageSettings, machine: StageMachine) -> None:
        """Show a stage from now on."""
        self._machines.append((settings, machine))

    def collect(self) -> Iterable[Metric]:
        """Read them all."""
        families = _Families.empty()
        for settings, machine in self._machines:
            for tier, condition in machine.conditions.items():
                families.add(settings, tier, condition)
            for name, before_next in machine.handovers.items():
                families.add_breaker(settings.name, name, before_next)
            families.add_saved(settings, machine.saved)
        return families.all()
