import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.kafka.results import ResultRecord
from failsoft.policy.outcome import Ending, Outcome, Reason
from failsoft.trials.ledger import Asked, Ledger, quantile
from failsoft.wire import Envelope, Identity
from failsoft.wire.identity import result_id
from failsoft.wire.result import encode_result

SOURCE = "/batch/here"
OK = Ending(Outcome.OK, Reason.NONE, tier="large", level=1)
OK_BELOW = Ending(Outcome.OK, Reason.QUEUE_LONG, tier="small", level=2)
EXPIRED = Ending(Outcome.EXPIRED, Reason.DEADLINE_PASSED)

offsets = itertools.count()


def id_of(number: int, source: str = SOURCE) -> str:
    return result_id(Identity(source, str(number)))


def asked(*numbers: int, request_class: str = "interactive", phase: str = "all") -> dict[str, Asked]:
    return {id_of(number): Asked(phase, request_class, SOURCE, f"custom-{number}", 5.0) for number in numbers}


def result(
    number: int, *, at: float = 101.0, ending: Ending = OK, source: str = SOURCE, custom_id: str | None = None
) -> ResultRecord:
    record = encode_result(
        ending,
        Envelope(Identity(source, str(number))),
        pipeline="digits",
        published_at=at,
        custom_id=custom_id or f"custom-{number}",
        body={} if ending.outcome is Outcome.OK else None,
    )
    headers = tuple((name, value or b"") for name, value in record.headers)
    return ResultRecord(0, next(offsets), at, record.key, record.value, headers)


def ledger_of(*numbers: int, accepted_at: float = 100.0) -> Ledger:
    ledger = Ledger(asked(*numbers), classes=["interactive"])
    for number in numbers:
        ledger.accept(id_of(number), appended_at=accepted_at)
    return ledger


def see(ledger: Ledger, *records: ResultRecord) -> None:
    """Show records to a reader that keeps its word, and to the log."""
    shown = set()
    for record in records:
        ledger.see_in_log(record)
        if record.key not in shown:
            ledger.see_shown(record)
        shown.add(record.key)


def test_every_accepted_request_with_a_result_keeps_the_promise():
    ledger = ledger_of(1, 2)
    see(ledger, result(1), result(2, ending=EXPIRED))
    verdict = ledger.verdict()
    assert verdict.is_kept
    assert (verdict.requests, verdict.lost, verdict.phantoms) == (2, 0, 0)


def test_an_accepted_request_without_a_result_is_lost():
    ledger = ledger_of(1, 2, 3)
    see(ledger, result(2))
    verdict = ledger.verdict()
    assert verdict.lost == verdict.phases["all"]["interactive"].lost == 2
    assert not verdict.is_kept


def test_a_request_that_was_never_acknowledged_may_have_a_result_or_none():
    ledger = Ledger(asked(1, 2, 3), classes=["interactive"])
    ledger.accept(id_of(1), appended_at=100.0)
    see(ledger, result(1), result(2))
    verdict = ledger.verdict()
    assert verdict.is_kept
    assert verdict.requests == 1


def test_repeats_in_the_log_are_no_fault_while_readers_see_none():
    ledger = ledger_of(1)
    see(ledger, result(1), result(1), result(1))
    verdict = ledger.verdict()
    assert verdict.is_kept
    assert (verdict.repeats_in_log, verdict.visible_repeats) == (2, 0)


def test_a_result_that_a_reader_is_shown_twice_is_a_broken_promise():
    ledger = ledger_of(1)
    ledger.see_shown(result(1))
    ledger.see_shown(result(1))
    verdict = ledger.verdict()
    assert verdict.visible_repeats == verdict.phases["all"]["interactive"].visible_repeats == 1
    assert not verdict.is_kept


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(result(9), id="of our file, but of no line in it"),
        pytest.param(result(1, custom_id="custom-2"), id="with another request's custom_id"),
        pytest.param(ResultRecord(0, 0, 101.0, b"key", b"{nope", ()), id="unreadable"),
    ],
)
def test_a_result_that_answers_nothing_that_was_asked_is_a_phantom(record: ResultRecord):
    ledger = ledger_of(1)
    see(ledger, result(1), record)
    verdict = ledger.verdict()
    assert verdict.phantoms == 1
    assert not verdict.is_kept


def test_somebody_elses_results_on_a_shared_cluster_do_not_count():
    ledger = ledger_of(1)
    see(ledger, result(1), result(1, source="/batch/elsewhere"), result(1, source="/batch/elsewhere"))
    verdict = ledger.verdict()
    assert verdict.is_kept
    assert verdict.repeats_in_log == 0


@pytest.mark.parametrize(
    ("at", "ending", "in_time"),
    [(105.0, OK, 1), (105.1, OK, 0), (101.0, OK_BELOW, 1), (101.0, EXPIRED, 0)],
    ids=["at the deadline", "past it", "at a lower level", "without an answer"],
)
def test_in_time_is_ok_at_any_level_before_the_deadline(at: float, ending: Ending, in_time: int):
    ledger = ledger_of(1)
    see(ledger, result(1, at=at, ending=ending))
    assert ledger.verdict().phases["all"]["interactive"].in_time == in_time


def test_the_first_result_shown_is_the_one_that_counts():
    ledger = ledger_of(1)
    ledger.see_shown(result(1, at=101.0, ending=OK))
    ledger.see_shown(result(1, at=109.0, ending=OK_BELOW))
    tally = ledger.verdict().phases["all"]["interactive"]
    assert (tally.tiers, tally.levels, tally.p50_seconds) == ({"large": 1}, {1: 1}, 1.0)


def test_latency_is_from_append_to_append():
    ledger = ledger_of(1, 2, 3, accepted_at=100.0)
    see(ledger, result(1, at=101.0), result(2, at=102.0), result(3, at=104.0, ending=EXPIRED))
    tally = ledger.verdict().phases["all"]["interactive"]
    assert (tally.p50_seconds, tally.p99_seconds) == (2.0, 4.0)


def test_a_class_of_which_nothing_came_back_has_no_latency():
    assert ledger_of(1).verdict().phases["all"]["interactive"].p99_seconds is None


def test_a_request_belongs_to_the_phase_it_was_sent_in_whenever_its_result_comes():
    ledger = Ledger(
        asked(1, phase="first") | asked(2, phase="second") | asked(3, phase="second", request_class="batch"),
        classes=["interactive", "batch"],
    )
    for number, at in ((1, 100.0), (2, 110.0), (3, 111.0)):
        ledger.accept(id_of(number), appended_at=at)
    see(ledger, result(2, at=110.5), result(1, at=112.0), result(3, at=112.5))
    phases = ledger.verdict().phases
    assert {(phase, name): tally.accepted for phase, classes in phases.items() for name, tally in classes.items()} == {
        ("first", "interactive"): 1,
        ("first", "batch"): 0,
        ("second", "interactive"): 1,
        ("second", "batch"): 1,
    }
    assert phases["first"]["interactive"].p50_seconds == 12.0


def test_what_a_level_gave_in_a_phase_counts_whenever_it_was_asked():
    ledger = Ledger(asked(1, phase="first") | asked(2, 3, 4, 5, phase="second"), classes=["interactive"])
    for number, at in ((1, 100.0), (2, 110.0), (3, 111.0), (4, 112.0), (5, 113.0)):
        ledger.accept(id_of(number), appended_at=at)
    see(ledger, result(1, at=110.0), result(2, at=110.5), result(3, at=119.9, ending=OK_BELOW))
    see(ledger, result(4, at=119.9), result(5, at=120.0))
    assert ledger.served_per_second("second", 1, seconds=10.0) == 0.3
    assert ledger.served_per_second("first", 1, seconds=10.0) == 0.0


def test_accepting_what_was_not_asked_is_a_mistake_of_the_trial():
    with pytest.raises(ValueError, match="not asked"):
        Ledger({}, classes=[]).accept("x", appended_at=1.0)


@given(st.lists(st.integers(), min_size=1), st.floats(0.01, 1.0))
def test_a_quantile_is_the_least_value_that_the_share_does_not_exceed(values: list[int], share: float):
    found = quantile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < share * len(values)
