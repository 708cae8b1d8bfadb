"""What was asked and what an answer says it was asked, as digests: whether an answer is anybody else's.

A trial's models repeat the text that they were asked as the member ``asked`` of their answer. Where producers write
down the digest of the text that they sent, a checker can tell an answer that was given to another's question, also
within one tenant, where no canary sings.
"""

import hashlib
from typing import Any

ECHO = "asked"


def text_digest(text: str) -> str:
    """Stand for a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def echo_digest(body: Any) -> str | None:
    """Of the text that an answer repeats; None where it repeats nothing."""
    text = body.get(ECHO) if isinstance(body, dict) else None
    return text_digest(text) if isinstance(text, str) else None
