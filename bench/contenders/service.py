"""What all contenders have in common: topics, bounds, and the model."""

from typing import Any

SLOTS = 64
COMMIT_SECONDS = 1.0
UNDER_WAY_MAX = 2_000
"""As many as failsoft holds of a class."""
READY = "ready: "


def requests_of(name: str) -> str:
    """Where a contender takes requests from."""
    return f"{name}.requests"


def results_of(name: str) -> str:
    """Where a contender writes results to."""
    return f"{name}.results"


async def answer(body: dict[str, Any]) -> dict[str, Any]:
    """The model: it takes no time."""
    asked = body["messages"][-1]["content"]
    return {
        "object": "chat.completion",
        "model": body["model"],
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": asked[:200]}, "finish_reason": "stop"},
        ],
        "usage": {"prompt_tokens": 250, "completion_tokens": 50, "total_tokens": 300},
    }
