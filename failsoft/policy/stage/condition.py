"""How a stage stands at this worker, for those who watch: its endpoints, what it hands on, and what was not called at all.

What does not enforce (``enforce: false``) counts here what it would have done.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from failsoft.policy.answer import AnswerCounts
from failsoft.policy.breaker_control import Force
from failsoft.policy.breaker_states import State
from failsoft.policy.request import ClassName
from failsoft.policy.widening import Spread


@dataclass(frozen=True, slots=True)
class Condition:
    """How an endpoint stands at this worker, for those who watch.

    Attributes:
        state: of its breaker.
        trips: how often this worker's counts opened the breaker, or would have.
        limit: what the endpoint bears, for the whole fleet, as this worker measures it.
        is_target_infeasible: fewer calls do not make them short enough.
        spread: how its latency compares with what it was.
        retries: class -> executions that the budget has paid for.
        retries_refused: class -> executions that it refused, or would have.
        forced: what an operator wants of the breaker.
    """

    state: State
    trips: int
    limit: float
    is_target_infeasible: bool
    spread: Spread
    retries: Mapping[ClassName, int]
    retries_refused: Mapping[ClassName, int]
    forced: Force = Force.AUTO


@dataclass(frozen=True, slots=True)
class HandoverCondition:
    """How the breaker before the next stage stands, of one class.

    Attributes:
        state: of the breaker.
        forced: what an operator wants of it.
    """

    state: State
    forced: Force


@dataclass(frozen=True, slots=True)
class Saved:
    """What was not called.

    Attributes:
        joined: requests that shared another's execution.
        answers: what became of answers of the past; None where none are kept.
        shed: class -> requests that were refused.
        shed_part: the part of the requests of classes under pressure that is refused now, 0-1.
    """

    joined: int
    answers: AnswerCounts | None
    shed: Mapping[ClassName, int]
    shed_part: float
