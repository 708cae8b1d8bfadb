"""Reads handwritten digits on models that are served elsewhere, as they are in production: the pipeline of `failsoft demo`.

The server speaks OpenAI's API and stands where the environment variable MODEL_SERVER_URL says. Requests are those of
digits.py. The limits are the server's slots, for all workers together, so that who waits does so here, where the deadlines
are known, and not in the server's queue.

    failsoft model-server &                              # prints its address
    MODEL_SERVER_URL=http://… failsoft worker workers.served:pipeline

Where there are several, MODEL_SERVER_URLS names them by region, the usual one first: ``eu=http://…,us=http://…``. An operator
moves requests from one to the other (runbooks/).
"""

import os
from typing import Any

from failsoft import Constant, OpenAICompatible, Pipeline

LARGE_SLOTS = 8
SMALL_SLOTS = 16
UNREADABLE = {
    "object": "chat.completion",
    "model": "digits-unreadable",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "?"}, "finish_reason": "stop"}],
}

regions = os.environ.get("MODEL_SERVER_URLS", "")
where: dict[str, Any] = {"url": os.environ.get("MODEL_SERVER_URL", "http://127.0.0.1:8000")}
if regions:
    where = {"urls": dict(pair.split("=", 1) for pair in regions.split(","))}

pipeline = Pipeline("digits")
classify = pipeline.stage("classify")
classify.tier("large", OpenAICompatible("large", **where, limit=LARGE_SLOTS), expect="200ms")
classify.tier("small", OpenAICompatible("small", **where, limit=SMALL_SLOTS), expect="40ms")
classify.tier("unreadable", Constant(UNREADABLE))
