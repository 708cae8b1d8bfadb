"""What workers tell of themselves, passed on to the stages that want to know."""

import structlog

from failsoft import Pipeline
from failsoft.kafka import ViewRecord
from failsoft.policy.events import RollUpSeen
from failsoft.policy.rollup import RollUp
from failsoft.runtime.later_stages import LaterStages
from failsoft.wire.rollup import encode_rollup


def test_who_tells_what_cannot_be_read_is_complained_of_once_and_silences_nobody():
    pipeline = Pipeline("support")
    retrieve = pipeline.stage("retrieve")
    pipeline.stage("answer", after=retrieve)
    later, heard = LaterStages(), list[RollUpSeen]()
    later.attach(retrieve, heard.append)
    good = encode_rollup(RollUp("answer", {}, {}), pipeline="support", id_="1")
    headers = tuple((name, text or b"") for name, text in good.headers)
    records = [
        ViewRecord(0, offset, None, value, headers, 0.0, 0.0)
        for offset, value in enumerate([b"{", good.value, b"{", b"[]", good.value])
    ]
    with structlog.testing.capture_logs() as said:
        later.take(records)
    assert [(line["event"], line["offset"]) for line in said] == [("malformed_rollup", 0)]
    assert [each.rollup.stage for each in heard] == ["answer", "answer"]
