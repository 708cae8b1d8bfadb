"""Which requests share one execution: *single flight*, where each who waits keeps a deadline and a floor of its own.

Rule. A request joins a flight for the same content (:mod:`failsoft.policy.flight`) whose answer will be good enough and early
enough for it, and that has room; if there is none it opens one::

    flight's level <= the request's floor    and    its answer is timely for the request's deadline

While a better tier may yet take the request, a flight that runs at a lower one is left alone: the full tier has first refusal of
everybody. Not while that tier is stopped: then nothing better is to be had. A flight that only waits is joined whatever it may
come to: alone the request would mostly come to the same, and where the full tier has just failed the flight, it keeps a herd
from calling a failing tier again.

**Nobody owns the execution.** Where it belongs to the leader, as in most single-flight tables, the leader's deadline takes the
followers with it. Here a waiter leaves at its own deadline, or when its partition goes to another worker, and the execution
goes on for the rest; it is cancelled when the last one has gone, and not before.

**Failure.** What may pass is executed once more for the flight, not once for each waiter: ten thousand retries are a storm.
What cannot pass (the request is at fault) is told to all, and to all who ask in the next 2 s: the rest of a herd is still on
its way then, while a rollout that would make the refusal wrong takes longer. More than 5 s would be a cache.

**Crash.** Nothing here outlives the worker, and nothing has to: a waiter's offset is not committed before its own result is
published, so the next owner reads them all again and builds the same flights. One key is in one partition, hence at one
worker; where two come to hold it all the same, a call is repeated, no more.

**Bound.** 10,000 waiters a flight, because their results are all published when it lands. The next one opens another flight, so
a herd of n costs n / 10,000 executions, rounded up. The table holds no body; the shell keeps that of ``leader`` until the
flight is over, also when the leader has left.

Source: Go's singleflight and what its users ask for (peers.md §4.9); research/algorithms.md §8.2, reliability.md H17-H20.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count

from failsoft.policy.errors import ConfigurationError, IllegalTransition
from failsoft.policy.flight import Flight, Outlook, Waiter
from failsoft.policy.levels import FALLBACK_LEVEL
from failsoft.policy.outcome import Outcome, Reason
from failsoft.policy.request import ClassName, RecordId

REFUSED_SECONDS_MAX = 5.0
REFUSED_KEYS_MAX = 10_000
"""Refusals remembered: 5,000 different ones a second are beyond what a worker can ask for."""


@dataclass(frozen=True, slots=True)
class CoalescingConfig:
    """The knobs of one stage.

    Attributes:
        waiters_max: of one flight.
        refused_seconds: how long a permanent refusal stands for the same content; 0: not at all.
        enforce: False counts who would have joined, and gives everybody a flight of its own.
    """

    waiters_max: int = 10_000
    refused_seconds: float = 2.0
    enforce: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.waiters_max < 1:
            raise ConfigurationError(f"coalescing: waiters_max {self.waiters_max} leaves no room for the leader; use 1")
        if not 0 <= self.refused_seconds <= REFUSED_SECONDS_MAX:
            raise ConfigurationError(
                f"coalescing: refused_seconds {self.refused_seconds} is not between 0 and {REFUSED_SECONDS_MAX:g}"
            )


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a content ended that no execution can answer."""

    outcome: Outcome
    reason: Reason


class Flights:
    """All flights of one stage at one worker.

    Args:
        classes: most urgent first.
        config: the knobs.

    Attributes:
        joined: how many executions were saved; with ``enforce=False``, how many would have been.
    """

    __slots__ = ("_aboard", "_by_key", "_config", "_flights", "_numbers", "_order", "_refused", "_urgency", "joined")

    def __init__(self, classes: Iterable[ClassName], config: CoalescingConfig | None = None) -> None:
        self._urgency = tuple(classes)
        self._config = config or CoalescingConfig()
        self._numbers = count(1)
        self._flights: dict[int, Flight] = {}
        self._by_key: dict[str, list[Flight]] = {}
        self._aboard: dict[RecordId, Flight] = {}
        self._order: list[tuple[float, int]] = []
        self._refused: dict[str, tuple[float, Refusal]] = {}
        self.joined = 0

    def __len__(self) -> int:
        """How many flights there are."""
        return len(self._flights)

    # Boarding.

    def join(self, key: str | None, waiter: Waiter, *, at_least: int = FALLBACK_LEVEL, now: float) -> Flight | None:
        """Board a flight for the same content; None: there is none that would do.

        Its class, floor and deadline may have moved: a waiting one is to be sorted in again.

        Args:
            key: the content.
            waiter: who would board.
            at_least: the lowest level of a flight under way that would do.
            now: the instant.
        """
        flight = self._joinable(key, waiter, at_least, now)
        if flight is None:
            return None
        self.joined += 1
        if not self._config.enforce:
            return None
        self.board(flight, waiter)
        return flight

    def open(self, key: str | None, waiter: Waiter, *, now: float) -> Flight:
        """Board a new flight as its leader. Without a key it is not shared."""
        is_double = not self._config.enforce and self._joinable(key, waiter, FALLBACK_LEVEL, now) is not None
        flight = Flight(next(self._numbers), None if is_double else key, waiter.record, self._urgency)
        self.board(flight, waiter)
        self._flights[flight.number] = flight
        if flight.key is not None:
            self._by_key.setdefault(flight.key, []).append(flight)
        return flight

    def flight_of(self, record: RecordId) -> Flight | None:
        """Where a record waits."""
        return self._aboard.get(record)

    def is_flying(self, key: str | None) -> bool:
        """Whether there is a flight for this content."""
        return key is not None and key in self._by_key

    # Leaving.

    def leave(self, record: RecordId) -> Flight | None:
        """Let a waiter go, at its deadline or because its partition is lost; returns its flight, None if it was in none.

        The flight may be abandoned now, or stand lower in the queue.
        """
        flight = self._aboard.pop(record, None)
        if flight is None:
            return None
        self._unsort(flight)
        flight.remove(record)
        if flight.is_abandoned:
            self._close(flight)
        else:
            self._sort(flight)
        return flight

    def due_by(self, instant: float) -> list[Waiter]:
        """Those whose deadline is not after the instant; they are still aboard."""
        flights = self._order[: bisect_right(self._order, instant, key=_instant)]
        return [waiter for _, number in flights for waiter in self._flights[number].due_by(instant)]

    @property
    def next_due_at(self) -> float | None:
        """The earliest deadline of all."""
        return self._order[0][0] if self._order else None

    # Flying.

    def start(self, flight: Flight, outlook: Outlook) -> list[Waiter]:
        """An execution starts. Those who do not accept its level leave, and are returned.

        Args:
            flight: it waits.
            outlook: of the call.
        """
        flight.started(outlook)
        level = outlook.level
        refusing = [waiter for waiter in flight.waiters if waiter.floor < level] if flight.floor < level else []
        for waiter in refusing:
            self.leave(waiter.record)
        return refusing

    def land(self, flight: Flight) -> list[Waiter]:
        """It is over: these get its answer, or its failure, the earliest deadline first. None of one that was abandoned."""
        waiters = flight.waiters
        if flight.number in self._flights:
            self._unsort(flight)
            self._close(flight)
        for waiter in waiters:
            del self._aboard[waiter.record]
            flight.remove(waiter.record)
        return waiters

    def refuse(self, flight: Flight, refusal: Refusal, *, now: float) -> list[Waiter]:
        """It is over, and no other execution would do better: as ``land``, and remembered for a while."""
        if flight.key is not None and self._config.refused_seconds > 0:
            self._refused.pop(flight.key, None)  # to the end: the order of insertion is that of expiry
            self._refused[flight.key] = (now + self._config.refused_seconds, refusal)
            self._forget_refusals(now)
        return self.land(flight)

    def refusal(self, key: str | None, *, now: float) -> Refusal | None:
        """How this content was refused a moment ago; None: it was not."""
        self._forget_refusals(now)
        if key is None or not self._config.enforce:
            return None
        found = self._refused.get(key)
        return None if found is None else found[1]

    # The indices.

    def _joinable(self, key: str | None, waiter: Waiter, at_least: int, now: float) -> Flight | None:
        flights = self._by_key.get(key, ()) if key is not None else ()
        is_open = (flight for flight in flights if flight.has_room(self._config.waiters_max))
        return next((flight for flight in is_open if flight.takes(waiter, at_least=at_least, now=now)), None)

    def board(self, flight: Flight, waiter: Waiter) -> None:
        """Take one aboard.

        Raises:
            IllegalTransition: the record waits already.
        """
        if waiter.record in self._aboard:
            raise IllegalTransition(f"{waiter.record} waits already; a record is taken in once")
        if not flight.is_abandoned:
            self._unsort(flight)
        flight.add(waiter)
        self._aboard[waiter.record] = flight
        self._sort(flight)

    def _sort(self, flight: Flight) -> None:
        insort(self._order, (flight.deadline_at, flight.number))

    def _unsort(self, flight: Flight) -> None:
        del self._order[bisect_left(self._order, (flight.deadline_at, flight.number))]

    def _close(self, flight: Flight) -> None:
        del self._flights[flight.number]
        if flight.key is None:
            return
        same = self._by_key[flight.key]
        same.remove(flight)
        if not same:
            del self._by_key[flight.key]

    def _forget_refusals(self, now: float) -> None:
        while self._refused:
            key, (until, _) = next(iter(self._refused.items()))
            if now < until and len(self._refused) <= REFUSED_KEYS_MAX:
                return
            del self._refused[key]


def _instant(entry: tuple[float, object]) -> float:
    return entry[0]
