"""The stage that failsoft's worker serves in overload.py and trace.py: two models behind HTTP, and a word of regret.

Each run has topics of its own: BENCH_RUN names its pipeline, MODEL_SERVER_URL says where the models are.
"""

import os

from failsoft import Constant, OpenAICompatible, Pipeline

LARGE_SLOTS, LARGE_SECONDS = 6, 0.4
SMALL_SLOTS, SMALL_SECONDS = 12, 0.04

_url = os.environ.get("MODEL_SERVER_URL", "http://127.0.0.1:8000")

pipeline = Pipeline(os.environ.get("BENCH_RUN", "overload"))
answer = pipeline.stage("answer")
answer.tier("large", OpenAICompatible("large", url=_url, limit=LARGE_SLOTS), expect=LARGE_SECONDS)
answer.tier("small", OpenAICompatible("small", url=_url, limit=SMALL_SLOTS), expect=SMALL_SECONDS)
answer.tier("regret", Constant({"content": "Please ask again in a minute."}))
