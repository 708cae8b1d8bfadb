"""Which bodies a worker's shell would still have. There are none in the simulation, but a machine may lose them all the same.

A body is there from the arrival of its record until the machine says that it calls with it no more: its record has ended or is
void, and it need not be kept for others; or it is released. A call with one that is gone, or a release of one, is what the real
shell would fail on, and fails here.
"""

from failsoft.policy.actions import Action, Forget, Publish, Release, StartCall
from failsoft.policy.errors import IllegalTransition
from failsoft.policy.request import RecordId


class Bodies:
    """Of one worker."""

    def __init__(self) -> None:
        self._there: set[RecordId] = set()

    def __len__(self) -> int:
        """How many are there."""
        return len(self._there)

    def arrived(self, record: RecordId) -> None:
        """A record was taken, with its body."""
        self._there.add(record)

    def follow(self, action: Action) -> None:
        """Do with the bodies what an action says.

        Raises:
            IllegalTransition: it is about a body that is gone.
        """
        match action:
            case StartCall() | Release() if action.record not in self._there:
                raise IllegalTransition(f"{action.record}: {type(action).__name__}, but its body is gone")
            case Release():
                self._there.remove(action.record)
            case Publish() | Forget() if not action.keeps_body:
                self._there.discard(action.record)
