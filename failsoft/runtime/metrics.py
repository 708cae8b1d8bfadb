"""What a worker counts, in a registry of its own. Every label value that can occur stands there from the start, at zero.

Names are ``failsoft_<noun>_<unit>``; labels are closed sets (stage, class, tier, outcome, reason), never ids.
"""

import itertools
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import version
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from failsoft.kafka import DutyKind
from failsoft.policy.context import Completeness, Found
from failsoft.policy.events import Verdict
from failsoft.policy.levels import REDUCED_LEVEL
from failsoft.policy.outcome import Ending, Outcome, Reason
from failsoft.policy.request import ClassName
from failsoft.policy.settings import StageSettings
from failsoft.policy.stage import StageMachine
from failsoft.runtime.announcer import Said
from failsoft.runtime.answer_log import Read, Written
from failsoft.runtime.breaker_news import Heard
from failsoft.runtime.conditions import Conditions
from failsoft.runtime.gates import Gates
from failsoft.runtime.publisher import RecordKind

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Doubling, as OpenTelemetry's GenAI conventions have them."""


class Counted(Collector):
    """A counter that somebody else keeps, read at each scrape; 0 until it is known who."""

    def __init__(self, name: str, documentation: str) -> None:
        self._name = name
        self._documentation = documentation
        self.read: Callable[[], int] = int

    def collect(self) -> Iterable[Metric]:
        """Read it."""
        yield CounterMetricFamily(self._name, self._documentation, value=self.read())


class _Ends(NamedTuple):
    """Where one kind of end is counted."""

    counters: list[Counter]
    queue_seconds: Histogram
    slack_seconds: Histogram


class Metrics:
    """The metrics of one worker process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        where = ["stage", "class"]
        r = self.registry
        self.requests = Counter("failsoft_requests", "Requests by how they ended", [*where, "outcome"], registry=r)
        self.reasons = Counter("failsoft_reasons", "Why it was not level 1, or not ok", [*where, "reason"], registry=r)
        self.served = Counter("failsoft_served", "Requests served, by tier", [*where, "tier", "level"], registry=r)
        self.calls = Counter("failsoft_calls", "Calls by verdict", ["stage", "tier", "verdict"], registry=r)
        self.call_seconds = Histogram(
            "failsoft_call_seconds", "Duration of calls", ["stage", "tier"], buckets=SECONDS, registry=r
        )
        self.queue_seconds = Histogram(
            "failsoft_queue_seconds", "From sending to the end, without calls", where, buckets=SECONDS, registry=r
        )
        self.slack_seconds = Histogram(
            "failsoft_slack_seconds", "Left of the deadline at the end", where, buckets=(0.0, *SECONDS), registry=r
        )
        self.context_parts = Counter(
            "failsoft_context_parts",
            "Parts of the context of requests that came in, by what they turned out to be",
            ["stage", "part", "found"],
            registry=r,
        )
        self.waiting = Gauge("failsoft_waiting_records", "In memory, waiting for a permit", where, registry=r)
        self.backlog = Gauge("failsoft_backlog_records", "Still in the log, in own partitions", where, registry=r)
        self.lost_by_operator = Counter(
            "failsoft_lost_by_operator_records", "Deleted or expired before they were read", where, registry=r
        )
        self.in_flight = Gauge("failsoft_in_flight_calls", "Calls that hold a permit", ["stage", "tier"], registry=r)
        self.permits = Gauge("failsoft_permits", "Permits of this worker", ["stage", "tier"], registry=r)
        self.answers_written = Counter(
            "failsoft_answers_written", "Answers for the log, by what became of them", ["stage", "fate"], registry=r
        )
        self.registers_said = Counter(
            "failsoft_registers_said", "Own words on breakers, by what became of them", ["fate"], registry=r
        )
        self.breaker_records_heard = Counter(
            "failsoft_breaker_records_heard",
            "Words of workers (register) and operators (control) on breakers, by what they were",
            ["kind", "fate"],
            registry=r,
        )
        self.breakers_read_seconds = Gauge(
            "failsoft_breakers_read_seconds", "How long the start read what was said of breakers", registry=r
        )
        self._declare_words()
        self.answers_read = Counter(
            "failsoft_answers_read", "Records of the log of answers, by what they were", ["stage", "fate"], registry=r
        )
        self.reserved = Gauge(
            "failsoft_reserved_seconds", "What its calls leave to later stages", ["stage"], registry=r
        )
        info = Gauge("failsoft_build_info", "Always 1", ["version"], registry=r)
        info.labels(version("failsoft")).set(1)
        self.loop_delay = Histogram(
            "failsoft_loop_delay_seconds", "By how much the event loop was late", buckets=SECONDS, registry=r
        )
        self.watchdog_silent = Gauge(
            "failsoft_watchdog_silent_seconds", "How long a duty has not got on", ["stage", "duty"], registry=r
        )
        self.watchdog_rebuilds = Counter(
            "failsoft_watchdog_rebuilds", "Parts that stood still and were rebuilt", ["stage", "duty"], registry=r
        )
        self._declare_duties("", [DutyKind.SEND])
        self.producers_replaced = Counted("failsoft_producers_replaced", "Producers that could not heal")
        r.register(self.producers_replaced)
        self.unacknowledged = Gauge(
            "failsoft_unacknowledged_seconds", "How long the oldest record has waited for the broker's word", registry=r
        )
        self.records_refused = Counter(
            "failsoft_records_refused",
            "Records that the broker would not take, by what they were",
            ["stage", "record"],
            registry=r,
        )
        self._conditions, self._gates = Conditions(), Gates()
        self._ends: dict[tuple[object, ...], _Ends] = {}
        self._calls: dict[tuple[str, str, Verdict], tuple[Counter, Histogram]] = {}
        """Series that were counted in before: to find them by their labels takes longer than to count."""
        r.register(self._conditions)
        r.register(self._gates)

    def declare(self, settings: StageSettings, machine: StageMachine) -> None:
        """Put every label value of a stage there, at zero: an absent series cannot be told from a broken one.

        What waits, what is in flight and how endpoints stand is read from the machine at each scrape.
        """
        self._conditions.watch(settings, machine)
        self._gates.watch(settings.name, machine)
        for kind in RecordKind:
            self.records_refused.labels(settings.name, kind.value)
        for fate in Written if settings.answers is not None else ():
            self.answers_written.labels(settings.name, fate.value)
        for read in Read if settings.answers is not None else ():
            self.answers_read.labels(settings.name, read.value)
        if settings.later:
            self.reserved.labels(settings.name).set_function(lambda: machine.reserved_seconds)
        self._declare_duties(settings.name, [kind for kind in DutyKind if kind is not DutyKind.SEND])
        for part, found in itertools.product(settings.parts, Found):
            self.context_parts.labels(settings.name, part, found.value)
        for known in settings.classes:
            where = (settings.name, known.name)
            for outcome in Outcome:
                self.requests.labels(*where, outcome.value)
            for reason in Reason:
                self.reasons.labels(*where, reason.value)
            for tier in settings.tiers:
                self.served.labels(*where, tier.name, str(tier.level))
                if settings.parts:  # some of them may be missing
                    self.served.labels(*where, tier.name, str(max(tier.level, REDUCED_LEVEL)))
            self.queue_seconds.labels(*where)
            self.slack_seconds.labels(*where)
            self.waiting.labels(*where).set_function(partial(_waiting, machine, known.name))
            self.backlog.labels(*where)
            self.lost_by_operator.labels(*where)
        for tier in settings.tiers:
            if tier.is_model:
                self.call_seconds.labels(settings.name, tier.name)
                for verdict in Verdict:
                    self.calls.labels(settings.name, tier.name, verdict.value)
                self.in_flight.labels(settings.name, tier.name).set_function(partial(_permits, machine, tier.name, 0))
                self.permits.labels(settings.name, tier.name).set_function(partial(_permits, machine, tier.name, 1))

    def _declare_words(self) -> None:
        for said in Said:
            self.registers_said.labels(said.value)
        for kind, heard in itertools.product(("register", "control"), Heard):
            self.breaker_records_heard.labels(kind, heard.value)

    def _declare_duties(self, stage: str, kinds: Iterable[DutyKind]) -> None:
        for kind in kinds:
            self.watchdog_silent.labels(stage, kind.value)
            self.watchdog_rebuilds.labels(stage, kind.value)

    def examined(self, stage: str, context: Completeness) -> None:
        """Count what the context of a request that came in turned out to be."""
        for part, found in context.parts.items():
            self.context_parts.labels(stage, part, found.value).inc()

    def ended(self, stage: str, request_class: ClassName, ending: Ending) -> None:
        """Count the end of one request, once, when its result is acknowledged."""
        key = (stage, request_class, ending.outcome, ending.reason, ending.tier, ending.level)
        ends = self._ends.get(key)
        if ends is None:
            ends = self._ends[key] = self._ends_of(stage, request_class, ending)
        for counter in ends.counters:
            counter.inc()
        ends.queue_seconds.observe(ending.queue_seconds)
        ends.slack_seconds.observe(ending.slack_seconds)

    def _ends_of(self, stage: str, request_class: ClassName, ending: Ending) -> "_Ends":
        where = (stage, request_class)
        counters = [
            self.requests.labels(*where, ending.outcome.value),
            self.reasons.labels(*where, ending.reason.value),
        ]
        if ending.tier is not None:
            counters.append(self.served.labels(*where, ending.tier, str(ending.level)))
        return _Ends(counters, self.queue_seconds.labels(*where), self.slack_seconds.labels(*where))

    def called(self, stage: str, tier: str, verdict: Verdict, seconds: float) -> None:
        """Count the end of one call."""
        key = (stage, tier, verdict)
        found = self._calls.get(key)
        if found is None:
            found = self._calls[key] = (
                self.calls.labels(stage, tier, verdict.value),
                self.call_seconds.labels(stage, tier),
            )
        counter, duration = found
        counter.inc()
        duration.observe(seconds)


def _waiting(machine: StageMachine, request_class: ClassName) -> float:
    return machine.waiting[request_class]


def _permits(machine: StageMachine, tier: str, which: int) -> float:
    return machine.permits[tier][which]
