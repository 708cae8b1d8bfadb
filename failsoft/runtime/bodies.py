"""The bodies of results: what a call answered, what a constant says, and the answers of the past.

The machine decides which answers are kept and which one serves, by name; here is what stands under the names.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from failsoft.endpoints import CachedAnswer, Constant, Output
from failsoft.pipeline import Stage
from failsoft.policy.answer import AnswerName

End = Output | Mapping[str, Any] | BaseException | None
"""What a request ended with: an answer, a constant body, the model's refusal, or nothing."""


class Bodies:
    """What one stage can answer without a call.

    Args:
        stage: its tiers.
    """

    def __init__(self, stage: Stage) -> None:
        self._constants = {
            tier.settings.name: tier.serves.body for tier in stage.tiers if isinstance(tier.serves, Constant)
        }
        self._keeps_answers = any(isinstance(tier.serves, CachedAnswer) for tier in stage.tiers)
        self._answers: dict[AnswerName, Output] = {}

    def of(self, tier: str | None, answer: AnswerName | None) -> End:
        """What serves: this answer, else what this tier always says; None where nothing serves."""
        if answer is not None:
            return self._answers[answer]
        return None if tier is None else self._constants[tier]

    def store(self, answer: AnswerName, end: End) -> None:
        """Keep an answer."""
        if isinstance(end, Output):
            self._answers[answer] = end

    def drop(self, answers: Iterable[AnswerName]) -> None:
        """Drop these."""
        for answer in answers:
            self._answers.pop(answer, None)

    def size_of(self, output: Output) -> int:
        """Bytes of an answer as JSON; 0 where none is kept, so nobody asks."""
        if not self._keeps_answers:
            return 0
        return len(output.body) if isinstance(output.body, bytes) else len(orjson.dumps(output.body))
