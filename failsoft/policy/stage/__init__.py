"""The stage: the one place in which the patterns meet. ``StageMachine`` is all that a shell needs to know."""

from failsoft.policy.stage.endpoint import Condition
from failsoft.policy.stage.machine import Saved, StageMachine

__all__ = ["Condition", "Saved", "StageMachine"]
