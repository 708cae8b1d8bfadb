"""The stage: the one place in which the patterns meet. ``StageMachine`` is all that a shell needs to know."""

from failsoft.policy.stage.condition import Condition, HandoverCondition, Saved
from failsoft.policy.stage.gates import Gate, GateName
from failsoft.policy.stage.machine import StageMachine

__all__ = ["Condition", "Gate", "GateName", "HandoverCondition", "Saved", "StageMachine"]
