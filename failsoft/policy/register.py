"""What workers tell each other about a breaker: words, registers, and the view that all of them give together.

**Word.** ``(epoch, phase)``, with what belongs to an opening. Phases go OPEN < HALF_OPEN < CLOSED *inside* one epoch, and an
opening begins the next epoch, so a late "closed (4)" cannot undo "open (5)". ``join`` takes the greater word; of two equal ones
the longer wait and all causes. That is a join-semilattice: order, repeats and compaction of the topic cannot make two workers
disagree for good.

**Register.** One worker's word and counts, written by that worker alone. It carries durations, never instants, because no two
clocks need to agree.

**Between stages** (``stage:<stage>/<class>``, :mod:`failsoft.policy.stage_breaker`) workers go by what all of them hear anyway,
and not by each other's words. There a register is for operators, and its epochs are its writer's own: nothing is joined.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from failsoft.policy.call_counts import NO_CALLS, Counts
from failsoft.policy.request import ClassName

BETWEEN_STAGES = "stage:"
"""What the names of breakers between stages begin with. No name of a stage has a colon."""


def breaker_before(stage: str, request_class: ClassName | None = None) -> str:
    """Name the breaker between a stage and the one before it, of one class or of all."""
    name = f"{BETWEEN_STAGES}{stage}"
    return name if request_class is None else f"{name}/{request_class}"


class Phase(IntEnum):
    """How far an epoch has got."""

    OPEN = 0
    HALF_OPEN = 1
    CLOSED = 2


class Cause(StrEnum):
    """What opened a breaker."""

    FAILURE_RATE = "failure_rate"
    SLOW_CALL_RATE = "slow_call_rate"
    PROBE = "probe"
    SILENCE = "silence"
    """Nothing was heard of a stage that should have ended what it was given."""


@dataclass(frozen=True, slots=True)
class Word:
    """What is said of a breaker.

    Attributes:
        epoch: counts openings.
        phase: how far this epoch has got.
        open_seconds: how long no call is made in this epoch.
        reopenings: how many openings came before this one without a recovery between them.
        causes: what opened it.
    """

    epoch: int = 0
    phase: Phase = Phase.CLOSED
    open_seconds: float = 0.0
    reopenings: int = 0
    causes: frozenset[Cause] = frozenset()

    @property
    def order(self) -> tuple[int, Phase]:
        """Its place among words."""
        return self.epoch, self.phase

    def join(self, other: "Word") -> "Word":
        """The word that holds when both have been said."""
        if self is other or self == other:
            return self
        if self.epoch != other.epoch:
            return max(self, other, key=lambda word: word.epoch)
        return Word(
            self.epoch,
            max(self.phase, other.phase),
            max(self.open_seconds, other.open_seconds),
            max(self.reopenings, other.reopenings),
            self.causes | other.causes,
        )


NEVER_OPENED = Word()


@dataclass(frozen=True, slots=True)
class Register:
    """One worker's state of one breaker, as published.

    Attributes:
        word: what it stands for.
        since_seconds: how long before writing the epoch was opened, by the writer's own clock.
        buckets: how its calls went since this epoch closed, newest bucket first.
        probes: how many it has in flight.
    """

    word: Word = NEVER_OPENED
    since_seconds: float = 0.0
    buckets: tuple[Counts, ...] = ()
    probes: int = 0

    @property
    def has_trouble(self) -> bool:
        """Whether any counted call was not good."""
        return any(bucket.has_trouble for bucket in self.buckets)


@dataclass(frozen=True, slots=True)
class Pool:
    """The counts of all live workers.

    Attributes:
        total: of all.
        rest: of all but the worker that had most trouble.
        is_heard: the others can be heard.
    """

    total: Counts = NO_CALLS
    rest: Counts = NO_CALLS
    is_heard: bool = False


@dataclass(frozen=True, slots=True)
class BoardView:
    """What a breaker is told of the fleet.

    Attributes:
        word: the join of all that was said.
        pool: the counts of all.
        probe_at: from when this worker may probe in this epoch, monotonic seconds.
    """

    word: Word = NEVER_OPENED
    pool: Pool = Pool()
    probe_at: float = 0.0
