"""The stages that a request has passed, as one header."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.errors import MalformedRecord
from failsoft.policy.outcome import Ending, Outcome, Reason
from failsoft.wire import Envelope, Headers, Identity, Trail
from failsoft.wire.envelope import decode_headers, encode_request_headers
from failsoft.wire.limits import HEADER_BYTES
from failsoft.wire.result import decode_result, encode_result
from failsoft.wire.trail import STEPS_MAX, Step, decode_trail, encode_trail, weakest

names = st.from_regex(r"\A[a-z0-9][a-z0-9-]{0,61}[a-z0-9]\Z")
milliseconds = st.integers(0, 10**9).map(lambda count: count / 1000)
steps = st.builds(Step, names, names, st.integers(1, 3), st.sampled_from(Reason), milliseconds, milliseconds)
KEYWORDS = Step("retrieve", "keywords", 2, Reason.ENDPOINT_TIMEOUT, 0.035, 1.1)
VECTORS = Step("retrieve", "vectors", 1, Reason.NONE, 0.0, 0.1)


def a_request(*, trail: Trail = (), correlation: Headers = ()) -> Envelope:
    return Envelope(Identity("/shop", "1"), trail=trail, correlation=correlation)


@given(st.lists(steps, max_size=STEPS_MAX).map(tuple))
def test_a_trail_is_read_as_it_was_written(trail):
    assert decode_trail(encode_trail(trail)) == trail


@given(st.lists(steps, min_size=STEPS_MAX + 1, max_size=20).map(tuple))
def test_of_a_long_trail_the_last_steps_are_kept(trail):
    assert decode_trail(encode_trail(trail)) == trail[-STEPS_MAX:]


@pytest.mark.parametrize(
    "text",
    [
        "retrieve",
        "a,b,4,none,0,0",
        "a,b,1,because,0,0",
        "a,b,1,none,-1,0",
        "a,b,1,none,0,0;",
        ";".join(["a,b,1,none,0,0"] * (STEPS_MAX + 1)),
    ],
)
def test_what_no_worker_writes_is_refused(text):
    with pytest.raises(MalformedRecord, match="ce_trail"):
        decode_trail(text)


def test_the_trail_travels_between_stages_and_nobody_outside_can_bring_one():
    headers = encode_request_headers(a_request(trail=(KEYWORDS,)), budget_seconds=1.0, sent_at=0.0, is_between=True)
    between = decode_headers(headers, topic="t", partition=0, offset=0, is_between=True)
    assert between.trail == (KEYWORDS,)
    assert decode_headers(headers, topic="t", partition=0, offset=0).trail == ()


def test_the_fullest_request_from_outside_has_room_for_the_longest_trail():
    longest = Step("s" * 63, "t" * 63, 3, Reason.ENDPOINT_BACKPRESSURE, 2e6, 2e6)
    envelope = a_request(trail=(longest,) * STEPS_MAX)
    bare = encode_request_headers(a_request(), budget_seconds=1.0, sent_at=0.0)
    used = sum(len(name) + len(value or b"") for name, value in bare)
    full = a_request(trail=envelope.trail, correlation=(("ce_correlationid", b"x" * (HEADER_BYTES - used - 20)),))
    assert encode_request_headers(full, budget_seconds=1.0, sent_at=0.0, is_between=True)


def test_the_weakest_step_is_the_first_of_the_lowest_level_and_none_where_all_were_full():
    again = Step("rank", "fast", 2, Reason.QUEUE_LONG, 0.0, 0.0)
    assert weakest((VECTORS, KEYWORDS, again)) is KEYWORDS
    assert weakest((VECTORS,)) is None
    assert weakest(()) is None


@pytest.mark.parametrize(
    ("trail", "served", "level", "reason"),
    [
        ((VECTORS,), Ending(Outcome.OK, Reason.NONE, "large", 1), 1, Reason.NONE),
        ((KEYWORDS,), Ending(Outcome.OK, Reason.NONE, "large", 1), 2, Reason.ENDPOINT_TIMEOUT),
        ((KEYWORDS,), Ending(Outcome.OK, Reason.QUEUE_LONG, "small", 2), 2, Reason.QUEUE_LONG),
        ((KEYWORDS,), Ending(Outcome.EXPIRED, Reason.DEADLINE_PASSED), None, Reason.DEADLINE_PASSED),
    ],
)
def test_an_answer_is_no_better_than_the_weakest_stage_behind_it(trail, served, level, reason):
    record = encode_result(
        served,
        a_request(trail=trail),
        pipeline="support",
        published_at=0.0,
        custom_id="1",
        body={} if served.outcome is Outcome.OK else None,
        stage="answer",
    )
    result = decode_result(record.headers, record.value)
    assert (result.level, result.reason, result.tier) == (level, reason, served.tier)
    assert (result.stage, result.trail) == ("answer", trail)
