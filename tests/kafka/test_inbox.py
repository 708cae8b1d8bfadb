import asyncio

import pytest

from failsoft.kafka.inbox import Inbox
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.request import Partition

from .conftest import Listener, create_topics, until

pytestmark = pytest.mark.kafka


async def test_records_arrive_in_order_of_offsets_with_all_that_the_log_knows_of_them(new_stage, outbox):
    stage, listener = await new_stage(1), Listener()
    sent = [
        await outbox.send(stage.topics["batch"], key=b"k", value=b"v%d" % n, headers=[("h", b"1"), ("h", b"2")])
        for n in range(20)
    ]
    await stage.join(listener)
    await until(lambda: len(listener.taken) == 20)
    assert [(f.record.offset, f.value) for f in listener.taken] == [(n, b"v%d" % n) for n in range(20)]
    assert listener.taken[0].timestamp == sent[0].appended_at
    assert listener.taken[0].is_append_time
    assert listener.taken[0].headers == (("h", b"1"), ("h", b"2"))
    assert listener.taken[0].size_bytes == len(b"k") + len(b"v0") + 4
    assert listener.share == 1.0
