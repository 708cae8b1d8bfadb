"""Who shares a call, through the worker's own code: equals of one tenant and nobody else, whatever senders write as their key."""

import asyncio
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from failsoft import Call, Output, Pipeline
from failsoft.policy.outcome import Outcome
from failsoft.testing.virtual_time import run_in_virtual_time
from failsoft.wire import RequestLine
from failsoft.wire.body import encode_request
from failsoft.wire.content_key import content_key
from tests.runtime.fakes import Stand

STAGE = "demo.work"
TENANTS = (None, "a", "b", "None", 'a","demo.work","key","k', "a b")
QUESTIONS = ("France", "Spain")


def line_of(question: str) -> RequestLine:
    return RequestLine("1", "/v1/x", {"asked": question, "temperature": 0})


FORGED = (
    "k",
    '","key","k',
    *(str(content_key(line_of(asked), tenant=tenant, stage=STAGE)) for asked in QUESTIONS for tenant in TENANTS[:3]),
    str(content_key(line_of("France"), tenant="a", stage=STAGE, coalesce_key="k")),
)
"""Among them what another tenant's key really is, and what would read like it if parts were only strung together."""

asks = st.tuples(
    st.sampled_from(("interactive", "batch")),
    st.sampled_from(TENANTS),
    st.sampled_from(QUESTIONS),
    st.none() | st.sampled_from(FORGED),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(asks, min_size=2, max_size=30))
def test_a_herd_of_several_tenants_is_one_call_for_each_of_them_and_what_it_asks(herd):
    called: Counter[str | None] = Counter()

    async def scene() -> None:
        pipeline = Pipeline("demo")

        @pipeline.stage("work").tier("large", limit=64, expect="200ms")
        async def large(call: Call) -> Output:
            called[call.tenant] += 1
            await asyncio.sleep(0.2)
            return Output({"for": call.tenant, "asked": call.body["asked"]})

        stand = await Stand.of(pipeline)
        for number, (name, tenant, asked, key) in enumerate(herd):
            value = encode_request(line_of(asked))
            stand.send(name, identity=str(number), value=value, tenant=tenant, coalesce_key=key)
        await stand.settle(5.0)
        results = {result.request.id: result for result in stand.outbox.results()}
        await stand.runner.close()
        assert len(results) == len(herd)
        for number, (_, tenant, asked, key) in enumerate(herd):
            result = results[str(number)]
            assert result.outcome is Outcome.OK
            assert result.body["for"] == tenant
            assert key is not None or result.body["asked"] == asked

    run_in_virtual_time(scene())
    wanted = {(tenant, ("asked", asked) if key is None else ("key", key)) for _, tenant, asked, key in herd}
    assert called == Counter(tenant for tenant, _ in wanted)
