"""What the shell tells the machine. Frozen values; the instant comes beside them, as ``now``."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from failsoft.policy.answer import AnswerName
from failsoft.policy.breaker_control import Control
from failsoft.policy.context import Completeness
from failsoft.policy.deadline import Stamp
from failsoft.policy.profile import Profile
from failsoft.policy.progress import Marks, Progress
from failsoft.policy.register import Register
from failsoft.policy.request import ClassName, Partition, RecordId
from failsoft.policy.rollup import RollUp
from failsoft.policy.routing import Route


class Verdict(Enum):
    """How a call ended. Whose fault it was decides what happens next."""

    OK = "ok"
    BACKPRESSURE = "backpressure"
    """The endpoint is busy and says so: 429, or 503 with Retry-After or an overload body. Next tier."""
    TRANSIENT = "transient"
    """The endpoint failed in a way that may pass: connection, other 5xx, reset. Next tier."""
    UNREACHABLE = "unreachable"
    """There was no connection to the endpoint. As TRANSIENT, but a breaker needs only five of them in a row."""
    TIMEOUT = "timeout"
    """The window ended before the answer. Next tier, never the same again."""
    REFUSED = "refused"
    """The request's own fault: 400, 413, 422. It ends as invalid; no tier would take it."""
    BROKEN = "broken"
    """The endpoint's permanent fault: 401, 403, 404, garbage. Next tier."""


class Arrived(NamedTuple):
    """A record was taken from the log.

    Attributes:
        record: its place.
        size_bytes: key, value and headers.
        stamp: the sender's words on the deadline.
        appended_at: the broker's clock at append, epoch seconds.
        received_at: this host's wall clock now, epoch seconds.
        clock_offset: the broker's clock minus this host's, seconds; 0 while unknown.
        floor: the floor that the request asks for, None if it does not.
        key: its content key; requests of one key may share an execution or an answer, and so must have contexts of one state.
            None: it shares with no other.
        max_stale_seconds: how far past its freshness an answer of the past may be; None: as far as the stage allows.
        tenant: whose it is; where some are shed, all requests of one tenant share a fate.
        is_malformed: it is not what the wire contract says; the shell knows why.
        context: what its parts turned out to be; None of a stage that declares none.
    """

    record: RecordId
    size_bytes: int
    stamp: Stamp
    appended_at: float
    received_at: float
    clock_offset: float = 0.0
    floor: int | None = None
    key: str | None = None
    max_stale_seconds: float | None = None
    tenant: str = ""
    is_malformed: bool = False
    context: Completeness | None = None


class CallFinished(NamedTuple):
    """A call ended, with an answer or without; one that was cancelled reports too, as TIMEOUT.

    Attributes:
        call_id: as given in StartCall.
        verdict: how it ended.
        is_over: the endpoint is done with it. False where a call cannot be cut (a thread): its permit is held until SlotFreed.
        retry_after_seconds: when the endpoint asked to be called again, with BACKPRESSURE.
        size_bytes: of the answer, with OK; None: it cannot be kept.
    """

    call_id: int
    verdict: Verdict
    is_over: bool = True
    retry_after_seconds: float | None = None
    size_bytes: int | None = 0


@dataclass(frozen=True, slots=True)
class SlotFreed:
    """A call that could not be cut at its window is really over now."""

    call_id: int


class Published(NamedTuple):
    """The result of this record is acknowledged by the broker: its offset is done."""

    record: RecordId
    assignment: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Nothing happened; time passed. Due at ``next_wakeup()``."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """This worker owns these partitions from here on.

    Attributes:
        positions: partition -> how far it is: from its offset on records will arrive. What the last owner has left, with this
            owner's beginning counted in and committed.
        assignment: names this gain; a partition that is kept over a rebalance keeps its number.
        share: the part of all partitions of the stage that this worker now owns, 0-1: its share of each endpoint's limit.
    """

    positions: Mapping[Partition, Progress]
    assignment: int
    share: float


@dataclass(frozen=True, slots=True)
class Revoked:
    """These partitions belong to others now: their work is void, and what finishes late is ignored."""

    partitions: frozenset[Partition]
    share: float


@dataclass(frozen=True, slots=True)
class RebalanceStarted:
    """The group is about to move partitions: say now what may be committed."""


@dataclass(frozen=True, slots=True)
class Committed:
    """The group has taken these marks. Needs to be told only while the machine ``awaits_commits``."""

    marks: Marks


@dataclass(frozen=True, slots=True)
class BacklogSeen:
    """How much of a class is still in the log, in the partitions of this worker: high watermark minus position."""

    request_class: ClassName
    records: int
    oldest_age_seconds: float


@dataclass(frozen=True, slots=True)
class RegisterSeen:
    """A worker's word on a breaker, this worker's own too.

    Attributes:
        breaker: whose it is, ``<stage>/<tier>``.
        process: who wrote it.
        register: what it says; None: it was deleted.
        age_seconds: how long ago it was written, by the broker's clock; only for what is read back at start.
    """

    breaker: str
    process: str
    register: Register | None
    age_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RegistersSeen:
    """Many words at once, as they are read back at start: nothing is decided before the last of them is known."""

    registers: tuple[RegisterSeen, ...]


@dataclass(frozen=True, slots=True)
class ControlSeen:
    """An operator's word on a breaker.

    Attributes:
        breaker: whose it is, ``<stage>/<tier>``, in all its regions, or ``<stage>/<tier>/<region>``; before the next stage
            ``stage:<stage>/<class>``, or ``stage:<stage>`` for all classes.
        control: what he wants, and until when.
    """

    breaker: str
    control: Control


@dataclass(frozen=True, slots=True)
class RouteSeen:
    """An operator's word on where an endpoint is called."""

    route: Route


class AnswerSeen(NamedTuple):
    """An answer stands in the log of answers. The shell has its body at hand while the machine decides whether it is kept.

    Attributes:
        name: what it answers, and its level.
        number: of the partition in which it stands. One that is not this worker's is not kept.
        tier: which gave it.
        size_bytes: of its body.
        age_seconds: since it was given, by the broker's clock.
        fresh_seconds: how long it was to be fresh from then on.
    """

    name: AnswerName
    number: int
    tier: str
    size_bytes: int
    age_seconds: float
    fresh_seconds: float


class AnswerDeleted(NamedTuple):
    """Somebody has deleted an answer in the log of answers."""

    name: AnswerName


@dataclass(frozen=True, slots=True)
class LatencySeen:
    """What the fleet has measured of one of its endpoints.

    Attributes:
        endpoint: which, ``<stage>/<tier>``, and ``/<region>`` where its tier has a choice of them.
        profile: the durations of its latest calls, of all workers.
    """

    endpoint: str
    profile: Profile


@dataclass(frozen=True, slots=True)
class RollUpSeen:
    """What a worker of a later stage has told of itself, or of the same one: that shows that what is told can be heard.

    Attributes:
        rollup: how requests ended there, and how long calls took.
        appended_at: the broker's clock at append, epoch seconds.
    """

    rollup: RollUp
    appended_at: float


@dataclass(frozen=True, slots=True)
class DrainRequested:
    """Take nothing more; finish what is running and waiting, or leave it to the next owner."""


Event = (
    Arrived
    | CallFinished
    | SlotFreed
    | Published
    | Tick
    | Assigned
    | Revoked
    | RebalanceStarted
    | Committed
    | BacklogSeen
    | RegisterSeen
    | RegistersSeen
    | ControlSeen
    | RouteSeen
    | LatencySeen
    | RollUpSeen
    | AnswerSeen
    | AnswerDeleted
    | DrainRequested
)
