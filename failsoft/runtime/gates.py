"""What every gate looks at, beside its threshold: two gauges, read from the machines at each scrape.

    failsoft_gate_value{stage, gate, tier, class}        failsoft_gate_threshold{stage, gate, tier, class}

All gates share them, so that one panel and one rule serve all: a gate closes where its value comes to its threshold, but for
``retry_budget``, which closes below it. Which gates there are: :mod:`failsoft.policy.stage.gates`. ``tier`` and ``class`` are
empty where a gate is not of a tier or a class.
"""

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from failsoft.policy.stage import StageMachine

_LABELS = ("stage", "gate", "tier", "class")


class Gates(Collector):
    """All stages of one worker."""

    def __init__(self) -> None:
        self._machines: list[tuple[str, StageMachine]] = []

    def watch(self, stage: str, machine: StageMachine) -> None:
        """Show a stage from now on."""
        self._machines.append((stage, machine))

    def collect(self) -> Iterable[Metric]:
        """Read them all."""
        values = GaugeMetricFamily("failsoft_gate_value", "What a gate looks at", labels=_LABELS)
        thresholds = GaugeMetricFamily("failsoft_gate_threshold", "From where on it closes", labels=_LABELS)
        for stage, machine in self._machines:
            for gate in machine.gates:
                where = (stage, gate.name.value, gate.tier, gate.request_class)
                values.add_metric(where, gate.value)
                thresholds.add_metric(where, gate.threshold)
        return values, thresholds
