"""What operators say of routes comes to the stage that it is about, as it stands in the log."""

from failsoft.kafka import ViewRecord
from failsoft.policy.events import Event, RouteSeen
from failsoft.policy.routing import Route
from failsoft.runtime.breaker_news import BreakerNews, SharedClock
from failsoft.runtime.metrics import Metrics
from failsoft.wire import Record
from failsoft.wire.route import ROUTE_TYPE, SaidRoute, encode_route

TO_US = Route("answer/large", "eu", "us", 0.1, 7)


def a_reader(metrics: Metrics | None = None) -> tuple[BreakerNews, list[Event]]:
    clock = SharedClock(lambda: 0.0, lambda: 0.0, lambda: 0.0)
    return BreakerNews({"answer": None}, clock=clock, heard=(metrics or Metrics()).breaker_records_heard), []


def in_the_log(record: Record, offset: int) -> ViewRecord:
    headers = tuple((name, value or b"") for name, value in record.headers)
    return ViewRecord(0, offset, record.key, record.value, headers, 0.0, 0.0)


def heard(*records: Record) -> tuple[list[Event], Metrics]:
    metrics = Metrics()
    news, events = a_reader(metrics)
    news.tell("answer", events.append)
    events.clear()
    news.controls([in_the_log(record, offset) for offset, record in enumerate(records)])
    return events, metrics


def counted(metrics: Metrics, fate: str) -> float:
    value = metrics.registry.get_sample_value("failsoft_breaker_records_heard_total", {"kind": "control", "fate": fate})
    assert value is not None
    return value


def test_a_word_on_a_route_comes_to_its_stage():
    events, _ = heard(encode_route(SaidRoute(TO_US, "ada", "eu is slow")))
    assert events == [RouteSeen(TO_US)]


def test_a_word_on_another_stage_and_a_deleted_one_come_to_nobody():
    record = encode_route(SaidRoute(Route("other/large", "eu", "us", 0.1, 7), "ada", ""))
    events, metrics = heard(record, Record(record.key, None, ()))
    assert events == []
    assert counted(metrics, "foreign") == 2


def test_a_word_that_cannot_be_read_does_not_silence_the_next():
    bad = Record(b"route|answer/large|7", b"{}", (("ce_type", ROUTE_TYPE.encode()),))
    events, metrics = heard(bad, encode_route(SaidRoute(TO_US, "ada", "")))
    assert events == [RouteSeen(TO_US)]
    assert counted(metrics, "malformed") == 1


def test_a_word_that_was_said_before_its_stage_is_there_is_kept_for_it():
    """A worker that starts reads what was said before it runs its stages: else each restart takes the route back."""
    news, events = a_reader()
    news.controls([in_the_log(encode_route(SaidRoute(TO_US, "ada", "eu is slow")), 0)])
    news.tell("answer", events.append)
    assert [event for event in events if isinstance(event, RouteSeen)] == [RouteSeen(TO_US)]
