"""What the machine tells the shell to do. Actions carry instants, not durations, so that two shells agree to the last digit."""

from collections.abc import Mapping
from dataclasses import dataclass

from failsoft.policy.outcome import Ending
from failsoft.policy.register import Register
from failsoft.policy.request import Partition, RecordId


@dataclass(frozen=True, slots=True)
class StartCall:
    """Call this tier for this record. Ends with a CallFinished, whatever happens.

    The shell ends the call itself at ``window_ends_at`` and reports TIMEOUT.
    """

    call_id: int
    record: RecordId
    tier: str
    window_ends_at: float
    deadline_at: float
    execution: int


@dataclass(frozen=True, slots=True)
class CancelCall:
    """Nobody waits for this call any more. It still reports CallFinished when it is really over."""

    call_id: int


@dataclass(frozen=True, slots=True)
class Publish:
    """This is the end of the record: publish it, and report Published when it is acknowledged.

    Attributes:
        record: whose end it is.
        assignment: to be handed back with Published.
        ending: how it ended.
        call_id: the call whose answer is the body; None where no model answered.
    """

    record: RecordId
    assignment: int
    ending: Ending
    call_id: int | None = None


@dataclass(frozen=True, slots=True)
class Forget:
    """The record is void here: its partition went to another worker. Drop what is kept for it."""

    record: RecordId


@dataclass(frozen=True, slots=True)
class Commit:
    """Commit these offsets, each with the assignment that the work belongs to. A refusal is normal and changes nothing."""

    offsets: Mapping[Partition, tuple[int, int]]
    """partition -> (assignment, offset of the next record that is not done)"""


@dataclass(frozen=True, slots=True)
class AnnounceRegister:
    """Tell the others this worker's word on a breaker."""

    breaker: str
    register: Register


Action = StartCall | CancelCall | Publish | Forget | Commit | AnnounceRegister
