"""What the machine tells the shell to do. Actions carry instants, not durations, so that two shells agree to the last digit."""

from dataclasses import dataclass
from typing import NamedTuple

from failsoft.policy.answer import Answer, AnswerName
from failsoft.policy.outcome import Ending
from failsoft.policy.progress import Marks
from failsoft.policy.register import Register
from failsoft.policy.request import RecordId


class StartCall(NamedTuple):
    """Call this tier with this record's body. Ends with a CallFinished, whatever happens.

    The shell ends the call itself at ``window_ends_at`` and reports TIMEOUT. After ``deadline_at`` an answer is of use to nobody.
    The body is that of the record that came under this assignment: in a topic that was made anew another one has the same place.
    The region is None where the tier's author names none.
    """

    call_id: int
    record: RecordId
    tier: str
    window_ends_at: float
    deadline_at: float
    execution: int
    assignment: int
    region: str | None = None


@dataclass(frozen=True, slots=True)
class CancelCall:
    """Nobody waits for this call any more. It still reports CallFinished when it is really over."""

    call_id: int


class Publish(NamedTuple):
    """This is the end of the record: publish it, and report Published when it is acknowledged.

    Attributes:
        record: whose end it is.
        assignment: to be handed back with Published.
        ending: how it ended.
        call_id: the call whose answer is the body; None where no model answered for it.
        answer: the answer of the past that is the body.
        leader: whose execution it shared, where it was not its own.
        keeps_body: its body may be called with again, for others: keep it until Release.
    """

    record: RecordId
    assignment: int
    ending: Ending
    call_id: int | None = None
    answer: AnswerName | None = None
    leader: RecordId | None = None
    keeps_body: bool = False


@dataclass(frozen=True, slots=True)
class Forget:
    """The record is void here: its partition went to another worker. Drop what is kept for it.

    Attributes:
        record: which.
        keeps_body: its body may be called with again, for others: keep it until Release.
    """

    record: RecordId
    keeps_body: bool = False


@dataclass(frozen=True, slots=True)
class Release:
    """No call is made with this record's body any more: another's is sent in its place, or the execution is over."""

    record: RecordId


@dataclass(frozen=True, slots=True)
class StoreAnswer:
    """Keep an answer under its name, in place of what is there. One that a call of ours gave goes into the log of answers, too.

    Attributes:
        answer: what it is, without its body.
        call_id: the call that gave it; None: it is the one that was just seen in the log.
    """

    answer: Answer
    call_id: int | None


@dataclass(frozen=True, slots=True)
class DropAnswers:
    """Drop what is kept under these names."""

    answers: tuple[AnswerName, ...]


@dataclass(frozen=True, slots=True)
class Commit:
    """Commit these marks, each for the assignment that the work belongs to. A refusal is normal and changes nothing."""

    marks: Marks


@dataclass(frozen=True, slots=True)
class AnnounceRegister:
    """Tell the others this worker's word on a breaker."""

    breaker: str
    register: Register


Action = StartCall | CancelCall | Publish | Forget | Release | StoreAnswer | DropAnswers | Commit | AnnounceRegister
