"""Reads handwritten digits: a pipeline of one stage, on real models that fit into a laptop.

A request is an OpenAI chat completion whose last message is an image, 64 numbers from 0 to 16, row by row; the answer is a
chat completion that says the digit. The models learn from the even rows of scikit-learn's digits when the worker starts, so
that the odd rows are questions they have never seen: of those `large` reads 97 % rightly in about 4 ms, and `small` 95 % in
less than 1 ms. Who asks for the odd rows therefore sees what a lower tier costs.

    failsoft worker workers.digits:pipeline
"""

import math
import time
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from failsoft import Call, Constant, Output, Pipeline, RequestRefused

PIXELS = 64
INK_MAX = 16.0
UNREADABLE = "?"

images, digits = load_digits(return_X_y=True)
with threadpool_limits(1):  # the matrices are small: on busy cores more threads only wait for each other
    trees = ExtraTreesClassifier(100, random_state=0).fit(images[::2], digits[::2])
    regression = LogisticRegression(max_iter=1000).fit(images[::2] / INK_MAX, digits[::2])


def completion(model: str, content: str) -> dict[str, Any]:
    """Write an answer as OpenAI's API does."""
    message = {"role": "assistant", "content": content}
    return {
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }


def image(call: Call) -> list[float]:
    """Read the image of a request; one that is none is its sender's fault, and no tier would do better."""
    try:
        ink = [float(number) for number in call.body["messages"][-1]["content"].split()]
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        raise RequestRefused("body.messages: the last one's content must be an image, as numbers") from None
    if len(ink) != PIXELS or not all(math.isfinite(number) and 0.0 <= number <= INK_MAX for number in ink):
        raise RequestRefused(f"body.messages: an image is {PIXELS} numbers from 0 to {INK_MAX:g}")
    return ink


pipeline = Pipeline("digits")
classify = pipeline.stage("classify")


@classify.tier("large", limit=4, runs_in="thread")
async def large(call: Call) -> Output:
    """A hundred trees vote; each by itself, since forests that predict in several threads upset scikit-learn's warnings."""
    pixels = np.asarray([image(call)], dtype=np.float32)
    votes = sum(tree.predict_proba(pixels, check_input=False) for tree in trees.estimators_)
    return Output(completion("digits-large", str(np.argmax(votes))))


@classify.tier("small", limit=4, runs_in="thread")
async def small(call: Call) -> Output:
    """One matrix, one product."""
    scaled = [number / INK_MAX for number in image(call)]
    return Output(completion("digits-small", str(regression.predict([scaled])[0])))


classify.tier("unreadable", Constant(completion("digits-unreadable", UNREADABLE)))
