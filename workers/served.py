"""Reads handwritten digits on models that are served elsewhere, as they are in production: the pipeline of `failsoft demo`.

The server speaks OpenAI's API and stands where the environment variable MODEL_SERVER_URL says. Requests are those of
digits.py. The limits are the server's slots, for all workers together, so that who waits does so here, where the deadlines
are known, and not in the server's queue.

    failsoft model-server &                              # prints its address
    MODEL_SERVER_URL=http://… failsoft worker workers.served:pipeline
"""

import os

from failsoft import Constant, OpenAICompatible, Pipeline

LARGE_SLOTS = 8
SMALL_SLOTS = 16
UNREADABLE = {
    "object": "chat.completion",
    "model": "digits-unreadable",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "?"}, "finish_reason": "stop"}],
}

url = os.environ.get("MODEL_SERVER_URL", "http://127.0.0.1:8000")

pipeline = Pipeline("digits")
classify = pipeline.stage("classify")
classify.tier("large", OpenAICompatible("large", url=url, limit=LARGE_SLOTS), expect="200ms")
classify.tier("small", OpenAICompatible("small", url=url, limit=SMALL_SLOTS), expect="40ms")
classify.tier("unreadable", Constant(UNREADABLE))
