"""By what a request of ours is keyed: equal ones have to meet at one worker."""

import pytest

from failsoft import Pipeline
from failsoft.catalogue import parse
from failsoft.pipeline import Stage
from failsoft.runtime.submission import choose_destination
from failsoft.wire import Identity, RequestLine
from failsoft.wire.envelope import decode_headers
from failsoft.wire.identity import result_id

CATALOGUE = parse("""
version: 1
defaults: {partitions: 6, replication: 1, config: {message.timestamp.type: LogAppendTime}}
classes:
  batch: {weight: 1, deadline: 1h, deadline_max: 2h}
pipelines: {shop: [answer]}
topics:
  requests:     {config: {retention.ms: 7d}}
  results:      {config: {retention.ms: 7d}}
  dead-letters: {config: {retention.ms: 14d}}
  outcomes:     {partitions: 1, config: {retention.ms: 1h}}
""")
SURE = {"prompt": "hello", "temperature": 0}
UNSURE = {"prompt": "hello", "temperature": 1}


def declared(**how: str) -> tuple[Pipeline, Stage]:
    pipeline = Pipeline("shop")
    return pipeline, pipeline.stage("answer", **how)  # type: ignore[arg-type]  # the test names the word


def keyed(
    body: dict[str, object], pipeline: Pipeline | str, *, number: str = "1", coalesce_key: str | None = None
) -> tuple[str, str | None]:
    """The key of the record, and the one that a worker of the stage computes of it."""
    destination = choose_destination(CATALOGUE, pipeline=pipeline, tenant="acme")
    line, identity = RequestLine(number, "/v1/x", body), Identity("/test", number)
    record = destination.record(line, b"{}", identity, sent_at=0.0, coalesce_key=coalesce_key)
    envelope = decode_headers(list(record.headers), topic="t", partition=0, offset=0)
    assert envelope.coalesce_key == coalesce_key
    stage = declared()[1] if isinstance(pipeline, str) else pipeline.stages["answer"]
    return (record.key or b"").decode(), stage.content_key(line, envelope)


@pytest.mark.parametrize("coalesce_key", [None, "greeting"])
@pytest.mark.parametrize("how", [{}, {"coalesce": "always"}, {"data_version": "7"}], ids=str)
def test_a_sender_that_knows_the_pipeline_keys_as_its_workers_do(how, coalesce_key):
    pipeline, _ = declared(**how)
    for body in (SURE, UNSURE):
        key, of_worker = keyed(body, pipeline, coalesce_key=coalesce_key)
        assert key == (of_worker or result_id(Identity("/test", "1")))


def test_what_shares_nothing_is_spread_by_its_result():
    pipeline, _ = declared(coalesce="off")
    for body in (SURE, UNSURE):
        for coalesce_key in (None, "greeting"):
            assert keyed(body, pipeline, coalesce_key=coalesce_key) == (result_id(Identity("/test", "1")), None)


def test_a_sender_that_knows_only_the_name_keys_as_a_stage_does_that_declares_nothing():
    assert keyed(SURE, "shop", number="1") == keyed(SURE, "shop", number="2")
    for body, coalesce_key in ((SURE, None), (SURE, "greeting"), (UNSURE, "greeting")):
        key, of_worker = keyed(body, "shop", coalesce_key=coalesce_key)
        assert key == of_worker
    assert keyed(UNSURE, "shop", number="1")[0] != keyed(UNSURE, "shop", number="2")[0]
