"""Who looks on at a stage's runner. The runner tells; what an observer does changes nothing.

The base class does nothing, so that a worker that nobody watches needs no condition. A trial's worker is watched by
:class:`failsoft.runtime.worker_history.WorkerHistory`.
"""

from collections.abc import Sequence

from failsoft.policy.actions import Action
from failsoft.policy.events import Event
from failsoft.policy.progress import Marks
from failsoft.policy.request import RecordId
from failsoft.policy.stage import StageMachine
from failsoft.wire import Identity


class Observer:
    """Is told what a runner learns and decides, at the instant of the decision and before anything of it is carried out."""

    def took(self, record: RecordId, identity: Identity, key: str | None) -> None:
        """A record came from the log; this is whose it is, and its content key where it may share an execution."""

    def handled(self, machine: StageMachine, event: Event, actions: Sequence[Action], *, now: float) -> None:
        """The machine was told this and said that; ``now`` is the monotonic instant that it was told with."""

    def committed(self, marks: Marks) -> None:
        """The group has taken these."""
