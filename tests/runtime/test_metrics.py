from typing import Any

from failsoft.policy.answer import Freshness, Gone
from failsoft.policy.answers import AnswersConfig
from failsoft.policy.breaker_settings import BreakerSettings
from failsoft.policy.breaker_states import State
from failsoft.policy.events import Verdict
from failsoft.policy.outcome import Outcome, Reason
from failsoft.policy.settings import StageSettings, TierSettings
from failsoft.policy.widening import Spread
from failsoft.runtime.answer_log import Read, Written
from failsoft.runtime.metrics import Metrics
from failsoft.runtime.publisher import RecordKind
from tests.policy.driver import APOLOGY, CLASSES, Driver

LARGE = TierSettings("large", 1, limit=4, expected_seconds=0.2)
PLACE = {"stage": "answer", "tier": "large"}


def watched(*, enforce: bool = True) -> tuple[Metrics, Driver]:
    settings = StageSettings("answer", (LARGE, APOLOGY), CLASSES, breakers=BreakerSettings(enforce=enforce))
    driver = Driver(settings)
    metrics = Metrics()
    metrics.declare(settings, driver.machine)
    return metrics, driver


def fail(driver: Driver, verdict: Verdict, *, times: int) -> None:
    for _ in range(times):
        record = driver.arrive("batch")
        driver.finish(record, verdict, after=1.0)


def set_of(metrics: Metrics, name: str, label: str) -> dict[str, float]:
    found = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            if sample.name == name and sample.labels["tier"] == "large":
                found[sample.labels[label]] = sample.value
    return found


def test_every_state_and_every_class_has_its_series_before_anything_has_happened():
    metrics, _ = watched()
    assert set_of(metrics, "failsoft_breaker_state", "state") == {state: float(state == "closed") for state in State}
    assert set_of(metrics, "failsoft_latency_spread", "spread") == {kind: float(kind == "normal") for kind in Spread}
    for name in ("failsoft_retries_total", "failsoft_retries_refused_total"):
        assert set_of(metrics, name, "class") == {known.name: 0.0 for known in CLASSES}
    value = metrics.registry.get_sample_value
    assert value("failsoft_breaker_trips_total", PLACE) == 0.0
    assert value("failsoft_limit_calls", PLACE) == 4.0
    assert value("failsoft_limit_infeasible", PLACE) == 0.0


def test_every_outcome_and_reason_has_its_series_before_anything_has_happened():
    metrics, _ = watched()
    where = {"stage": "answer", "class": "batch"}
    for outcome in Outcome:
        assert metrics.registry.get_sample_value("failsoft_requests_total", {**where, "outcome": outcome}) == 0.0
    for reason in Reason:
        assert metrics.registry.get_sample_value("failsoft_reasons_total", {**where, "reason": reason}) == 0.0


def test_answers_have_their_series_where_they_are_kept_before_anything_has_happened():
    cached = TierSettings("known", 3, limit=None, is_cached=True)
    settings = StageSettings("answer", (LARGE, cached, APOLOGY), CLASSES, answers=AnswersConfig())
    metrics, plain = Metrics(), watched()[0]
    metrics.declare(settings, Driver(settings).machine)
    series: list[tuple[str, dict[str, Any]]] = [
        *(("failsoft_answers_lookups_total", {"freshness": each}) for each in Freshness),
        *(("failsoft_answers_gone_total", {"reason": each}) for each in Gone),
        *(("failsoft_answers_kept_total", {"origin": each}) for each in ("call", "log")),
        *(("failsoft_answers_written_total", {"fate": each}) for each in Written),
        *(("failsoft_answers_read_total", {"fate": each}) for each in Read),
        ("failsoft_answers", {}),
        ("failsoft_answers_bytes", {}),
    ]
    for name, labels in series:
        where = {"stage": "answer", **{label: str(value) for label, value in labels.items()}}
        assert metrics.registry.get_sample_value(name, where) == 0.0, name
        assert plain.registry.get_sample_value(name, where) is None, name


def test_every_gate_shows_its_figure_beside_its_threshold():
    metrics, driver = watched()
    fail(driver, Verdict.UNREACHABLE, times=4)
    families = {family.name: family for family in metrics.registry.collect()}
    values, thresholds = families["failsoft_gate_value"].samples, families["failsoft_gate_threshold"].samples
    assert [sample.labels for sample in values] == [sample.labels for sample in thresholds]
    assert len(values) == len(driver.machine.gates)
    where = {**PLACE, "gate": "breaker_unreached", "class": ""}
    assert metrics.registry.get_sample_value("failsoft_gate_value", where) == 4.0
    assert metrics.registry.get_sample_value("failsoft_gate_threshold", where) == 5.0


def test_records_that_a_topic_may_refuse_have_their_series_before_one_does():
    metrics, _ = watched()
    for kind in RecordKind:
        where = {"stage": "answer", "record": kind.value}
        assert metrics.registry.get_sample_value("failsoft_records_refused_total", where) == 0.0


def test_every_duration_has_its_series_before_anything_has_happened():
    metrics, _ = watched()
    assert metrics.registry.get_sample_value("failsoft_call_seconds_count", PLACE) == 0.0
    for name in ("failsoft_queue_seconds_count", "failsoft_slack_seconds_count"):
        assert metrics.registry.get_sample_value(name, {"stage": "answer", "class": "batch"}) == 0.0


def test_an_opened_breaker_shows_as_open_and_as_one_trip():
    metrics, driver = watched()
    fail(driver, Verdict.UNREACHABLE, times=5)
    assert set_of(metrics, "failsoft_breaker_state", "state")["open"] == 1.0
    assert sum(set_of(metrics, "failsoft_breaker_state", "state").values()) == 1.0
    assert metrics.registry.get_sample_value("failsoft_breaker_trips_total", PLACE) == 1.0


def test_a_dark_breaker_shows_what_it_would_have_done():
    metrics, driver = watched(enforce=False)
    fail(driver, Verdict.UNREACHABLE, times=5)
    assert set_of(metrics, "failsoft_breaker_state", "state")["metrics_only"] == 1.0
    assert metrics.registry.get_sample_value("failsoft_breaker_trips_total", PLACE) == 1.0


def test_retries_are_shown_by_class_paid_and_refused():
    metrics, driver = watched(enforce=False)
    for _ in range(3):
        record = driver.arrive("batch")
        driver.finish(record, Verdict.TRANSIENT, after=0.01)
    assert set_of(metrics, "failsoft_retries_total", "class")["batch"] == 1.0
    assert set_of(metrics, "failsoft_retries_refused_total", "class")["batch"] == 2.0


def test_a_busy_endpoint_shows_a_lower_limit():
    metrics, driver = watched()
    fail(driver, Verdict.BACKPRESSURE, times=1)
    assert metrics.registry.get_sample_value("failsoft_limit_calls", PLACE) == 2.0
