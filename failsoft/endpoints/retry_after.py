"""How long an HTTP server asks to be left alone: ``retry-after-ms``, else ``Retry-After``.

``Retry-After`` is seconds or an HTTP date (RFC 9110 §10.2.3); servers also write fractions of seconds, and OpenAI's own
add ``retry-after-ms``. A date is read against the ``Date`` of the same response, so that nobody's clock has to agree with
ours. What cannot be read counts as not said: a wrong header must not become a failure of its own.
"""

import math
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

SHARE_OF_REMAINING = 0.5
"""A wait takes at most half of the time there is: a server's round number must not use up what the next tier needs."""


def retry_after_seconds(headers: Mapping[str, str], *, remaining_seconds: float, now: float) -> float | None:
    """Read when to come back.

    Args:
        headers: of the response, by any case if the mapping allows it.
        remaining_seconds: what is left for the call.
        now: epoch seconds, for a date in a response that does not say its own.

    Returns:
        Seconds from now, within what can be waited; None if the server did not say.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    asked = milliseconds / 1_000 if milliseconds is not None else _seconds(headers, now)
    if asked is None:
        return None
    return min(max(asked, 0.0), max(remaining_seconds, 0.0) * SHARE_OF_REMAINING)


def _seconds(headers: Mapping[str, str], now: float) -> float | None:
    text = headers.get("retry-after")
    number = _number(text)
    if number is not None:
        return number
    at = _date(text)
    if at is None:
        return None
    said = _date(headers.get("date"))
    return at - (now if said is None else said)


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _date(text: str | None) -> float | None:
    """Epoch seconds of an HTTP date; one without a zone is in GMT, as all of them are."""
    try:
        date = parsedate_to_datetime(text or "")
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
