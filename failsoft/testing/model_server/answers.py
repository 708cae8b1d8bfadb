"""What the server says: the same prompt always gets the same answer, in the form of OpenAI's API."""

import hashlib
import math
import time
from collections.abc import Sequence
from typing import Any

DIMENSIONS = 32  # a sha256 has 32 bytes


def plain_answer(model: str, prompt: str) -> str:
    """An answer that tells which model gave it and to which prompt."""
    return f"{model} read {len(prompt.split())} words, {hashlib.sha256(prompt.encode()).hexdigest()[:12]}"


def chat_completion(model: str, prompt: str, answer: str) -> dict[str, Any]:
    """The body of ``/v1/chat/completions``."""
    message = {"role": "assistant", "content": answer}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"object": "chat.completion", "choices": [choice], **_common(model, prompt, answer)}


def completion(model: str, prompt: str, answer: str) -> dict[str, Any]:
    """The body of ``/v1/completions``."""
    choice = {"index": 0, "text": answer, "finish_reason": "stop"}
    return {"object": "text_completion", "choices": [choice], **_common(model, prompt, answer)}


def embeddings(model: str, inputs: Sequence[str]) -> dict[str, Any]:
    """The body of ``/v1/embeddings``."""
    words = sum(len(text.split()) for text in inputs)
    return {
        "object": "list",
        "model": model,
        "data": [{"object": "embedding", "index": n, "embedding": _vector(text)} for n, text in enumerate(inputs)],
        "usage": {"prompt_tokens": words, "total_tokens": words},
    }


def error(message: str, kind: str, code: str | None = None) -> dict[str, Any]:
    """The body of every failure."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _common(model: str, prompt: str, answer: str) -> dict[str, Any]:
    asked, said = len(prompt.split()), len(answer.split())  # a word is a token here
    return {
        "id": f"cmpl-{hashlib.sha256(f'{model}/{prompt}'.encode()).hexdigest()[:24]}",
        "created": int(time.time()),
        "model": model,
        "usage": {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said},
    }


def _vector(text: str) -> list[float]:
    """A unit vector out of the text's digest."""
    raw = [byte - 127.5 for byte in hashlib.sha256(text.encode()).digest()]
    length = math.hypot(*raw)
    return [number / length for number in raw]
