from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsoft.policy.deadline import grant
from failsoft.policy.errors import MalformedRecord
from failsoft.policy.outcome import Reason
from failsoft.wire import Envelope, Identity
from failsoft.wire.dead_letter import DeadLetter
from failsoft.wire.envelope import decode_headers, encode_request_headers
from failsoft.wire.identity import result_id
from failsoft.wire.limits import HEADER_COUNT
from failsoft.wire.replay import Replay, encode_replay, end_of
from tests.wire.strategies import envelopes, hostile_headers, identities

NOW = 1_800_000_000.0
REQUEST = Envelope(Identity("/shop", "7"), tenant="acme", floor=2, correlation=(("correlation_id", b"\xff1"),))
HEADERS = tuple(encode_request_headers(REQUEST, budget_seconds=5.0, sent_at=NOW - 3600))
LETTER = DeadLetter("t.s.batch", 3, 1207, "t.s", Reason.POISON, "", "", b"k", b"v", HEADERS)


def replayed(letter: DeadLetter = LETTER, number: int = 1, seconds: float = 60.0):
    name = Replay(Replay.told(letter.request).original, number)
    return encode_replay(letter, name, expires_at=NOW + seconds, sent_at=NOW)


def read(record) -> Envelope:
    return decode_headers(record.headers, topic="t.s.batch", partition=0, offset=9)


def test_a_replay_is_a_request_of_its_own_that_names_the_old_one_and_counts():
    envelope = read(replayed())
    assert envelope.identity == Identity(f"/replay/{result_id(REQUEST.identity)}", "1")
    assert result_id(envelope.identity) != result_id(REQUEST.identity)
    assert Replay.told(envelope.identity) == Replay(result_id(REQUEST.identity), 1)


@given(identities, st.integers(1, 10**9 - 1))
def test_a_replay_of_a_replay_keeps_the_original_and_counts_on(identity, number):
    first = Replay(Replay.told(identity).original, number)
    assert Replay.told(first.identity) == first


@pytest.mark.parametrize(
    "identity",
    [
        Identity("/shop", "7"),
        Identity("/replay/", "1"),
        Identity("/replay/6f0f9f0e-5d0b-5c39-9a86-2f4f2e8f7d31", "0"),
        Identity("/replay/6f0f9f0e-5d0b-5c39-9a86-2f4f2e8f7d31", "1a"),
        Identity("/replay/6f0f9f0e-5d0b-5c39-9a86-2f4f2e8f7d31x", "1"),
        Identity("/replay/6f0f9f0e-5d0b-5c39-9a86-2f4f2e8f7d31", "9" * 30),
    ],
)
def test_what_only_looks_like_a_replay_is_an_original(identity):
    assert Replay.told(identity) == Replay(result_id(identity), 0)


def test_all_but_name_and_deadline_is_as_it_came():
    record, envelope = replayed(), read(replayed())
    assert (record.key, record.value) == (b"k", b"v")
    assert (envelope.tenant, envelope.floor, envelope.correlation) == ("acme", 2, REQUEST.correlation)
    ours = {"ce_id", "ce_source", "ce_expirytime", "ce_budgetms", "ce_sentat"}
    assert [header for header in record.headers if header[0] not in ours] == [
        header for header in HEADERS if header[0] not in ours
    ]


@given(envelopes(), st.integers(1, 86_400))
def test_the_new_deadline_is_what_a_worker_reads_of_it(envelope, seconds):
    headers = tuple(encode_request_headers(envelope, budget_seconds=5.0, sent_at=NOW - 3600))
    stamp = read(replayed(replace(LETTER, headers=headers), seconds=seconds)).stamp
    granted = grant(stamp, appended_at=NOW, received_at=NOW, clock_offset=0.0, default_seconds=1.0, maximum_seconds=1e6)
    assert (granted.budget_seconds, granted.remaining_seconds, granted.is_suspect) == (seconds, seconds, False)


def test_a_plain_producers_timeout_is_replaced_too():
    record = replayed(replace(LETTER, headers=(("timeout-ms", b"50"),)))
    assert read(record).stamp.timeout_seconds is None
    assert read(record).stamp.budget_seconds == 60.0


@given(hostile_headers)
def test_hostile_headers_raise_nothing_else(headers):
    letter = replace(LETTER, headers=tuple(headers))
    try:
        record = replayed(letter)
        end_of(letter, given_up_at=NOW, default_seconds=60.0)
    except MalformedRecord:
        return
    assert dict(record.headers)["ce_source"] == Replay.told(letter.request).identity.source.encode()


def test_headers_that_are_too_many_with_ours_are_refused_before_a_worker_does():
    with pytest.raises(MalformedRecord, match="headers"):
        replayed(replace(LETTER, headers=tuple((f"h{n}", b"") for n in range(HEADER_COUNT - 1))))


def stamped(**headers: str) -> DeadLetter:
    said = tuple(
        (name.replace("_ms", "-ms") if name == "timeout_ms" else name, text.encode()) for name, text in headers.items()
    )
    return replace(LETTER, headers=said)


@pytest.mark.parametrize(
    ("letter", "end"),
    [
        (LETTER, NOW - 3600 + 5.0),
        (stamped(ce_budgetms="2000", ce_sentat="2027-01-15T08:00:00Z"), NOW + 2.0),
        (stamped(ce_budgetms="2000"), NOW - 10 + 2.0),
        (stamped(timeout_ms="3000"), NOW - 10 + 3.0),
        (stamped(), NOW - 10 + 60.0),
    ],
)
def test_the_old_deadline_ends_when_its_sender_said(letter, end):
    assert end_of(letter, given_up_at=NOW - 10, default_seconds=60.0) == end


def test_a_deadline_that_cannot_be_read_is_named():
    with pytest.raises(MalformedRecord, match="ce_expirytime"):
        end_of(stamped(ce_expirytime="tomorrow"), given_up_at=NOW, default_seconds=60.0)


def test_repeats_of_a_letter_share_its_id_and_nothing_else_does():
    assert replace(LETTER, reason=Reason.MALFORMED, problem="worse").id == LETTER.id
    assert replace(LETTER, offset=1208).id != LETTER.id
    other = tuple(encode_request_headers(Envelope(Identity("/shop", "8")), budget_seconds=5.0, sent_at=NOW))
    assert replace(LETTER, headers=other).id != LETTER.id


def test_a_letters_tenant_is_told_as_far_as_it_can_be_read():
    assert LETTER.tenant == "acme"
    assert replace(LETTER, headers=()).tenant is None
    assert replace(LETTER, headers=(("ce_tenant", b"\xff"),)).tenant == "\ufffd"
    assert replace(LETTER, headers=(("ce_tenant", b"a"), ("ce_tenant", b"b"))).tenant is None


@pytest.mark.parametrize("ahead_seconds", [-600.0, 0.0, 600.0])
def test_between_stages_a_replay_has_its_budget_whatever_the_clock_of_who_sends_it(ahead_seconds):
    """There no stamp is suspect, so one by a clock that is behind would have passed when it comes."""
    record = encode_replay(LETTER, Replay("x", 1), expires_at=NOW + 60, sent_at=NOW, is_between=True)
    envelope = decode_headers(record.headers, topic="t.s.batch", partition=0, offset=9, is_between=True)
    at = NOW + ahead_seconds  # by the broker's clock
    granted = grant(
        envelope.stamp, appended_at=at, received_at=at, clock_offset=0.0, default_seconds=1.0, maximum_seconds=90.0
    )
    assert granted.remaining_seconds == 60.0


def test_between_stages_it_may_have_the_headers_that_a_worker_added():
    letter = replace(LETTER, headers=(*HEADERS, *(("h", b""),) * (HEADER_COUNT - len(HEADERS) + 1)))
    with pytest.raises(MalformedRecord, match="headers"):
        encode_replay(letter, Replay("x", 1), expires_at=NOW + 60, sent_at=NOW)
    assert encode_replay(letter, Replay("x", 1), expires_at=NOW + 60, sent_at=NOW, is_between=True)
