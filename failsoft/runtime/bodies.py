"""The bodies of results: what a call answered, what a constant says, and the answers of the past.

The machine decides which answers are kept and which one serves, by name; here is what stands under the names.
"""

from collections.abc import Iterable
from dataclasses import replace

from failsoft.endpoints import Constant, Output
from failsoft.pipeline import Stage
from failsoft.policy.answer import AnswerName
from failsoft.policy.errors import MalformedRecord
from failsoft.wire.answer import answer_body

End = Output | BaseException | None
"""What a request ended with: an answer, the model's refusal, or nothing."""


class Bodies:
    """What one stage can answer without a call.

    Args:
        stage: its tiers.
    """

    def __init__(self, stage: Stage) -> None:
        self._constants = {
            tier.settings.name: Output(tier.serves.body, context=tier.serves.context)
            for tier in stage.tiers
            if isinstance(tier.serves, Constant)
        }
        self._keeps_answers = stage.keeps_answers
        self._answers: dict[AnswerName, Output] = {}

    def of(self, tier: str | None, answer: AnswerName | None) -> End:
        """What serves: this answer, else what this tier always says; None where nothing serves."""
        if answer is not None:
            return self._answers[answer]
        return None if tier is None else self._constants[tier]

    def store(self, answer: AnswerName, output: Output) -> None:
        """Keep an answer."""
        self._answers[answer] = output

    def drop(self, answers: Iterable[AnswerName]) -> None:
        """Drop these."""
        for answer in answers:
            self._answers.pop(answer, None)

    def prepared(self, output: Output) -> tuple[Output, int | None]:
        """An answer as it is kept, and its bytes: None if no result could carry it, 0 where none is kept, so nobody asks."""
        if not self._keeps_answers:
            return output, 0
        try:
            written = replace(output, body=answer_body(output.body))
        except MalformedRecord:
            return output, None
        return written, len(written.body)
