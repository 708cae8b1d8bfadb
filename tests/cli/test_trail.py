"""What `failsoft results --id` says of a request that went through several stages."""

from failsoft.cli.trail import Trail, trail_json, trail_lines
from failsoft.kafka.results import ResultRecord
from failsoft.policy.outcome import Ending, Outcome, Reason
from failsoft.wire import Envelope, Identity, Step
from failsoft.wire.result import decode_result, encode_result

RETRIEVED = Step("retrieve", "keywords", 2, Reason.ENDPOINT_TIMEOUT, 0.035, 1.1)


def a_trail(*steps: Step) -> Trail:
    record = encode_result(
        Ending(Outcome.OK, Reason.NONE, "large", 1),
        Envelope(Identity("/shop", "1"), trail=steps),
        pipeline="support",
        published_at=0.0,
        custom_id="mine",
        body={},
        stage="answer",
    )
    headers = tuple((name, value or b"") for name, value in record.headers)
    stands = ResultRecord(0, 7, 0.0, record.key, record.value, headers)
    return Trail(decode_result(record.headers, record.value), stands)


def test_each_stage_that_it_went_through_has_a_line_and_the_one_where_it_ended():
    told = list(trail_lines(a_trail(RETRIEVED), "support.results"))
    assert "stage       answer" in told
    assert "in retrieve level 2, tier keywords (endpoint_timeout), queued 0.035 s, in calls 1.100 s" in told
    assert "served      level 2, tier large" in told


def test_machines_read_the_same():
    told = trail_json(a_trail(RETRIEVED))
    assert (told["stage"], told["level"], told["reason"]) == ("answer", 2, "endpoint_timeout")
    assert told["trail"] == [
        {
            "stage": "retrieve",
            "tier": "keywords",
            "level": 2,
            "reason": "endpoint_timeout",
            "queue_seconds": 0.035,
            "call_seconds": 1.1,
        }
    ]


def test_of_a_single_stage_there_is_nothing_before_it():
    assert not any(line.startswith("in retrieve") for line in trail_lines(a_trail(), "support.results"))
    assert trail_json(a_trail())["trail"] == []
