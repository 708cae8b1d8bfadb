"""What Hypothesis may put on the wire: values that are right, and bytes that are anything."""

from collections.abc import Sequence

from hypothesis import strategies as st

from failsoft.policy.deadline import Stamp
from failsoft.wire.attributes import PLAIN
from failsoft.wire.body import ContextPart, PartState, RequestLine
from failsoft.wire.envelope import Envelope
from failsoft.wire.identity import Identity
from failsoft.wire.record import Headers
from failsoft.wire.schema import SCHEMAS

words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=20)
instants = st.integers(0, 4_000_000_000_000).map(lambda milliseconds: milliseconds / 1000)
identities = st.builds(Identity, words, words)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), children, max_size=4)
    ),
    max_leaves=12,
)
json_objects = st.dictionaries(words, json_values, max_size=5)


def passed_on(names: Sequence[str]) -> st.SearchStrategy[Headers]:
    return st.lists(st.tuples(st.sampled_from(names), st.binary(max_size=20)), unique_by=lambda header: header[0]).map(
        tuple
    )


def envelopes() -> st.SearchStrategy[Envelope]:
    return st.builds(
        Envelope,
        identity=identities,
        type=st.just("failsoft.request.v1") | st.just("com.example.asked"),
        time_at=instants,
        stamp=st.builds(Stamp, expires_at=instants),
        tenant=st.none() | words,
        floor=st.none() | st.integers(1, 3),
        max_stale_seconds=st.none() | st.integers(0, 10**6),
        coalesce_key=st.none() | words,
        reply_to=st.none() | words,
        trace=st.just(()) | st.just((("traceparent", b"00-1-2-01"),)),
        correlation=passed_on(("kafka_correlationId",)),
    )


def lines() -> st.SearchStrategy[RequestLine]:
    parts = st.builds(ContextPart, json_values, st.sampled_from(PartState), st.none() | instants)
    return st.builds(
        RequestLine,
        custom_id=st.text(st.characters(codec="utf-8")),
        url=st.just("/v1/chat/completions"),
        body=json_objects,
        context=st.dictionaries(words, parts, max_size=3),
    )


def headers_of(kind: str) -> set[str]:
    return set(SCHEMAS[kind]["properties"]["headers"]["properties"])


_READ = sorted(PLAIN | headers_of("request") | headers_of("result"))

hostile_headers = st.lists(
    st.tuples(
        st.sampled_from(_READ) | st.text(st.characters(codec="utf-8"), max_size=12),
        st.none()
        | st.binary(max_size=30)
        | st.text(max_size=8, alphabet="0123456789-TZ:.+truefals").map(str.encode)
        | st.sampled_from((b"1.0", b"failsoft.result.v1", b"application/json", b"2026-02-30T00:00:00Z")),
    ),
    max_size=36,
)

hostile_values = (
    st.none()
    | st.binary(max_size=60)
    | st.text('[]{}",:\\ 019.eE-+tfn', max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
