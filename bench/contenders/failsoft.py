"""failsoft: what a pipeline author writes."""

from bench.contenders.service import SLOTS, answer
from failsoft import Call, Output, Pipeline

pipeline = Pipeline("overhead")


@pipeline.stage("serve").tier("model", limit=SLOTS, expect=0.001)
async def serve(call: Call) -> Output:
    """The model as a tier."""
    return Output(await answer(dict(call.body)))
