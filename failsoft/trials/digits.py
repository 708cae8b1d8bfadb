"""What is asked in a trial: handwritten digits as OpenAI chat completions, and the answers that are right.

scikit-learn brings 1,797 labelled images. Models learn from the even rows (failsoft/testing/model_server/digits.py); the odd
rows are asked, so that accuracy is measured on images that no model has seen. A sheet is an image under a heading of its own:
there are more requests than images, and two sheets with the same image are not the same question. About a quarter of the
requests ask again what was asked shortly before, as people do.

Labels stay here: neither the requests nor the workers know them.
"""

import random
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from failsoft.policy.errors import EnvironmentFailure
from failsoft.wire import Result

REPEATED_SHARE = 0.25
RECENT_SHEETS = 50
"""What is asked again is one of so many last ones."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """One question.

    Attributes:
        answer: the digit that the image shows.
        body: of the chat completion.
    """

    answer: str
    body: Mapping[str, Any] = field(repr=False)


class Sheets:
    """Draws what is asked next.

    Args:
        run: the unique name of the trial: no two trials ask the same.
        rng: which images, in which order, and which are repeated.

    Raises:
        EnvironmentFailure: scikit-learn is missing.
    """

    def __init__(self, run: str, rng: random.Random) -> None:
        self._run = run
        self._rng = rng
        self._images = _unseen_images()
        self._recent: deque[Sheet] = deque(maxlen=RECENT_SHEETS)
        self._count = 0

    def draw(self) -> Sheet:
        """A new one, or one of the last again."""
        if self._recent and self._rng.random() < REPEATED_SHARE:
            return self._rng.choice(self._recent)
        self._count += 1
        ink, label = self._rng.choice(self._images)
        sheet = Sheet(str(label), _body(f"Sheet {self._count} of {self._run}: which digit is it?", ink))
        self._recent.append(sheet)
        return sheet


def accuracy(results: Mapping[str, Result], answers: Mapping[str, str]) -> dict[str, float]:
    """By tier, the share of its answers that say the right digit; both arguments are by result id."""
    answered = [(result.tier, _content(result.body) == answers[id_]) for id_, result in results.items()]
    total = Counter(tier for tier, _ in answered if tier is not None)
    right = Counter(tier for tier, is_right in answered if tier is not None and is_right)
    return {tier: right[tier] / total[tier] for tier in total}


def _unseen_images() -> list[tuple[Sequence[float], int]]:
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415 - slow to import, and only the `demo` extra brings it
    except ImportError as error:
        raise EnvironmentFailure("the demo needs scikit-learn: pip install 'failsoft[demo]'") from error
    ink, labels = load_digits(return_X_y=True)
    return list(zip(ink[1::2].tolist(), labels[1::2].tolist(), strict=True))


def _body(heading: str, ink: Sequence[float]) -> dict[str, Any]:
    content = " ".join(f"{number:g}" for number in ink)
    messages = [{"role": "system", "content": heading}, {"role": "user", "content": content}]
    return {"model": "digits", "messages": messages, "temperature": 0}


def _content(body: object) -> str | None:
    """What a chat completion says; None where it is none."""
    match body:
        case {"choices": [{"message": {"content": str(content)}}, *_]}:
            return content
        case _:
            return None
