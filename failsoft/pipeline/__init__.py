"""What a pipeline author writes: a pipeline, its stages, and each stage's tiers, best first.

Everything is checked where it is declared, so that the traceback points at the line to fix::

    pipeline = Pipeline("digits")
    classify = pipeline.stage("classify", floor={"batch": 2})

    @classify.tier("large", limit=4, runs_in="thread")
    async def large(call: Call) -> Output: ...

    classify.tier("unknown", Constant({"content": "?"}))
"""

from failsoft.pipeline.pipeline import Pipeline
from failsoft.pipeline.stage import Serves, Stage, Tier
from failsoft.pipeline.target import load_pipeline

__all__ = ["Pipeline", "Serves", "Stage", "Tier", "load_pipeline"]
