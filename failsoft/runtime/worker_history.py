"""What a worker under trial writes down of itself, for a checker that believes no worker.

One file a process and stage, ``worker-<process>.<stage>.jsonl``, in the folder that ``failsoft worker --history DIR`` names. An
option, not an environment variable: a variable is inherited by whatever the worker starts and left behind in a shell, and a
worker that writes a history by accident fills a disk.

=============  ==================================================================================================
event          says
=============  ==================================================================================================
started        which process this is, and of which pipeline and stage
took           a record came from the log: its place, its result's id, its content key if it may share
execute        a call begins: whose body, which tier, the worker's reckoning of the broker's clock, and the deadline on it
ended          a call is over, and how
published      the broker has acknowledged the result of this record (and its dead letter before it)
committed      the group has taken these offsets, each with the assignment it belongs to (one number a gain of a partition)
assigned       partitions came, with the offsets to begin at
revoked        partitions went
breaker        the breaker before a tier has gone into this state; an opening stands behind the calls of its instant, anything
               else before them, so that a call between "open" and the next state is one too many
=============  ==================================================================================================

``at`` is the machine's wall clock, read here and not through the worker's own clock: a trial may skew that one, and on one
machine all histories and brokers share this one. Commits that are sent while a rebalance begins are not among ``committed``:
they are made inside the membership; the samples of the group's offsets show them.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from failsoft.policy.actions import Action, StartCall
from failsoft.policy.breaker_states import State
from failsoft.policy.events import Assigned, CallFinished, Event, Published, Revoked
from failsoft.policy.progress import Marks
from failsoft.policy.request import RecordId
from failsoft.policy.stage import StageMachine
from failsoft.runtime.line_file import LineFile
from failsoft.runtime.observer import Observer
from failsoft.wire import Identity
from failsoft.wire.identity import result_id


@dataclass(frozen=True, slots=True)
class StartedLine:
    """The first line."""

    at: float
    process: str
    pid: int
    pipeline: str
    stage: str
    event: Literal["started"] = "started"


@dataclass(frozen=True, slots=True)
class TookLine:
    """A record came."""

    at: float
    request_class: str
    partition: int
    offset: int
    id: str
    key: str | None
    event: Literal["took"] = "took"


@dataclass(frozen=True, slots=True)
class ExecuteLine:
    """A call begins. ``broker_at`` and ``deadline_at`` are on the broker's clock as this worker reckons it."""

    at: float
    call: int
    request_class: str
    partition: int
    offset: int
    tier: str
    execution: int
    broker_at: float
    deadline_at: float
    event: Literal["execute"] = "execute"


@dataclass(frozen=True, slots=True)
class EndedLine:
    """A call is over."""

    at: float
    call: int
    verdict: str
    event: Literal["ended"] = "ended"


@dataclass(frozen=True, slots=True)
class PublishedLine:
    """A result is acknowledged."""

    at: float
    request_class: str
    partition: int
    offset: int
    event: Literal["published"] = "published"


@dataclass(frozen=True, slots=True)
class CommittedLine:
    """Offsets are committed: (class, partition, offset, assignment) of each."""

    at: float
    offsets: tuple[tuple[str, int, int, int], ...]
    event: Literal["committed"] = "committed"


@dataclass(frozen=True, slots=True)
class AssignedLine:
    """Partitions came: (class, partition, first offset) of each."""

    at: float
    assignment: int
    positions: tuple[tuple[str, int, int], ...]
    event: Literal["assigned"] = "assigned"


@dataclass(frozen=True, slots=True)
class RevokedLine:
    """Partitions went: (class, partition) of each."""

    at: float
    partitions: tuple[tuple[str, int], ...]
    event: Literal["revoked"] = "revoked"


@dataclass(frozen=True, slots=True)
class BreakerLine:
    """A breaker has gone into a state."""

    at: float
    tier: str
    state: State
    event: Literal["breaker"] = "breaker"


WorkerLine = (
    StartedLine
    | TookLine
    | ExecuteLine
    | EndedLine
    | PublishedLine
    | CommittedLine
    | AssignedLine
    | RevokedLine
    | BreakerLine
)


class WorkerHistory(Observer):
    """Writes the history of one stage in one process.

    Args:
        folder: of the trial; it exists.
        process: this process's name, unlike any other's.
        pipeline: whose stage it is.
        stage: which.
        broker_clock: the broker's clock as the worker reckons it, epoch seconds.
    """

    def __init__(
        self, folder: Path, *, process: str, pipeline: str, stage: str, broker_clock: Callable[[], float]
    ) -> None:
        self._file = LineFile(folder / f"worker-{process}.{stage}.jsonl")
        self._broker_clock = broker_clock
        self._breakers: dict[str, State] = {}
        self._file.append(StartedLine(time.time(), process, os.getpid(), pipeline, stage))

    def took(self, record: RecordId, identity: Identity, key: str | None) -> None:
        """Write it down."""
        self._file.append(TookLine(time.time(), *record, result_id(identity), key))

    def handled(self, machine: StageMachine, event: Event, actions: Sequence[Action], *, now: float) -> None:
        """Write down what a checker judges by."""
        self._note(event)
        self._note_breakers(machine, State.OPEN, is_wanted=False)
        for action in actions:
            if isinstance(action, StartCall):
                self._execute(action, now)
        self._note_breakers(machine, State.OPEN, is_wanted=True)

    def committed(self, marks: Marks) -> None:
        """Write them down."""
        taken = tuple((*place, progress.offset, assignment) for place, (assignment, progress) in marks.items())
        if taken:
            self._file.append(CommittedLine(time.time(), taken))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _note(self, event: Event) -> None:
        match event:
            case CallFinished():
                self._file.append(EndedLine(time.time(), event.call_id, event.verdict.value))
            case Published():
                self._file.append(PublishedLine(time.time(), *event.record))
            case Assigned():
                positions = tuple((*partition, at.offset) for partition, at in event.positions.items())
                self._file.append(AssignedLine(time.time(), event.assignment, positions))
            case Revoked():
                gone = tuple((name, number) for name, number in event.partitions)
                self._file.append(RevokedLine(time.time(), gone))

    def _note_breakers(self, machine: StageMachine, state: State, *, is_wanted: bool) -> None:
        """Write down who has gone into this state, or into another."""
        for tier, condition in machine.conditions.items():
            found = condition.state
            if (found is state) == is_wanted and self._breakers.get(tier, State.CLOSED) is not found:
                self._breakers[tier] = found
                self._file.append(BreakerLine(time.time(), tier, found))

    def _execute(self, action: StartCall, now: float) -> None:
        broker_at = self._broker_clock()
        deadline_at = broker_at + action.deadline_at - now
        self._file.append(
            ExecuteLine(
                time.time(), action.call_id, *action.record, action.tier, action.execution, broker_at, deadline_at
            )
        )
