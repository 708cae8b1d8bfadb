"""What is asked in the second act: questions to a shop, to each of which its pages have something to say.

Each is asked under a number of its own, in a message before it, so that no two requests are the same; nobody asks at
temperature 0, so no answer is shared.
"""

import random
from typing import Any

from failsoft.trials.digits import Sheet

QUESTIONS = (
    "May I send back my shoes?",
    "When do I get my refund?",
    "How long does delivery abroad take?",
    "Is shipping free?",
    "Where is my parcel?",
    "My parcel is lost, what now?",
    "The goods arrived damaged",
    "Is my device still under warranty?",
    "Do your shoes run small?",
    "can I pay by invoice",
    "How long is a gift voucher valid?",
    "I forgot my pasword",
)


class Questions:
    """Draws what is asked next.

    Args:
        run: the unique name of the trial.
        rng: which questions.
    """

    def __init__(self, run: str, rng: random.Random) -> None:
        self._run = run
        self._rng = rng
        self._count = 0

    def draw(self) -> Sheet:
        """The next question; what the right answer is, nobody here knows."""
        self._count += 1
        return Sheet("", body(f"Customer {self._count} of {self._run} asks.", self._rng.choice(QUESTIONS)))


def body(heading: str, question: str) -> dict[str, Any]:
    """Write a chat completion that asks this."""
    messages = [{"role": "system", "content": heading}, {"role": "user", "content": question}]
    return {"model": "support", "messages": messages}
