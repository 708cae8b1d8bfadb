"""Simulated model endpoints: slots, a bounded queue in front of them, a law of latency, and the faults that are on.

A call finds a free slot, or waits in the endpoint's own queue, or is told that the endpoint is busy. What a cut does to it is
the endpoint's choice, and three are met in practice: the model stops (``FREES``); the connection is closed but the model
goes on with it (``BURNS``: most HTTP servers); it cannot be cut at all, a thread (``HOLDS``).
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from failsoft.policy.events import Verdict
from failsoft.simulation.engine import Engine
from failsoft.simulation.latency_law import LatencyLaw

if TYPE_CHECKING:
    from random import Random

REFUSAL_SECONDS = 0.005
"""What it takes to say no: a round trip in one data centre."""
HANG_SECONDS = 30.0
"""After so long a hung call is reset: the idle timeout of the proxies on the way."""


class Cancellation(Enum):
    """What cutting a call does at the endpoint."""

    FREES = "frees"
    BURNS = "burns"
    HOLDS = "holds"


@dataclass(frozen=True, slots=True)
class Condition:
    """How an endpoint is now. The default is well.

    Attributes:
        slow: factor on all service times.
        widen: factor on the 99th percentile at equal median.
        error_share: of calls that fail at once (5xx), 0-1; 1 is an outage.
        busy_share: of calls that are told to come later (429), 0-1.
        hangs: a call that starts now is never answered.
    """

    slow: float = 1.0
    widen: float = 1.0
    error_share: float = 0.0
    busy_share: float = 0.0
    hangs: bool = False

    def __add__(self, other: "Condition") -> "Condition":
        """Both at once: factors multiply, of shares the larger holds."""
        return Condition(
            slow=self.slow * other.slow,
            widen=self.widen * other.widen,
            error_share=max(self.error_share, other.error_share),
            busy_share=max(self.busy_share, other.busy_share),
            hangs=self.hangs or other.hangs,
        )


WELL = Condition()


class Service:
    """One call as the endpoint sees it."""

    __slots__ = ("is_cut", "is_over", "is_served", "report")

    def __init__(self, report: Callable[[Verdict], None]) -> None:
        self.report = report
        self.is_served = False
        self.is_cut = False
        self.is_over = False


class ModelEndpoint:
    """A model that serves so many calls at once.

    Args:
        engine: virtual time.
        law: its service times.
        slots: calls in service at once.
        rng: the dice of this endpoint.
        queue_max: calls that may wait in front of it; beyond, it is busy.
        cancellation: what cutting a call does.
    """

    def __init__(
        self,
        engine: Engine,
        law: LatencyLaw,
        *,
        slots: int,
        rng: "Random",
        queue_max: int = 64,
        cancellation: Cancellation = Cancellation.FREES,
    ) -> None:
        self._engine = engine
        self._law = law
        self._slots = slots
        self._rng = rng
        self._queue_max = queue_max
        self._cancellation = cancellation
        self._queue: deque[Service] = deque()
        self.illnesses: list[Condition] = []
        """What is wrong with it from now on; calls in service are left as they are."""
        self.in_service = 0
        self.calls = 0
        """How many it has been given."""

    def start(self, report: Callable[[Verdict], None], *, seen_as: Condition | None = None) -> Service:
        """Begin a call.

        Args:
            report: called once with the verdict when the endpoint is done with the call; also after a cut that it ignored.
            seen_as: what is wrong on the caller's way to the endpoint, beside what is wrong with it.
        """
        service = Service(report)
        self.calls += 1
        condition = self.condition if seen_as is None else self.condition + seen_as
        refusal = self._refusal(condition)
        if refusal is not None:
            self._engine.after(REFUSAL_SECONDS, self._end_refused, service, refusal)
        elif self.in_service < self._slots:
            self._serve(service, condition)
        elif len(self._queue) < self._queue_max:
            self._queue.append(service)
        else:
            self._engine.after(REFUSAL_SECONDS, self._end_refused, service, Verdict.BACKPRESSURE)
        return service

    def cut(self, service: Service) -> bool:
        """Nobody waits for this call any more. True if the caller is rid of it; else ``report`` says so when it is over."""
        if self._cancellation is Cancellation.HOLDS and service.is_served and not service.is_over:
            return False
        service.is_cut = True
        if not service.is_served and service in self._queue:
            self._queue.remove(service)
        if service.is_served and self._cancellation is Cancellation.FREES:
            self._free(service)
        return True

    @property
    def condition(self) -> Condition:
        """How it is now, all that is wrong taken together."""
        return sum(self.illnesses, WELL)

    def _refusal(self, condition: Condition) -> Verdict | None:
        if condition.error_share and self._rng.random() < condition.error_share:
            return Verdict.TRANSIENT
        if condition.busy_share and self._rng.random() < condition.busy_share:
            return Verdict.BACKPRESSURE
        return None

    def _serve(self, service: Service, condition: Condition) -> None:
        self.in_service += 1
        service.is_served = True
        if condition.hangs:
            self._engine.after(HANG_SECONDS, self._end, service, Verdict.TRANSIENT)
        else:
            seconds = self._law.seconds(self._rng, self.in_service, slow=condition.slow, widen=condition.widen)
            self._engine.after(seconds, self._end, service, Verdict.OK)

    def _end(self, service: Service, verdict: Verdict) -> None:
        if service.is_over:
            return
        self._free(service)
        if not service.is_cut:
            service.report(verdict)

    def _end_refused(self, service: Service, verdict: Verdict) -> None:
        service.is_over = True
        if not service.is_cut:
            service.report(verdict)

    def _free(self, service: Service) -> None:
        if service.is_over:
            return
        service.is_over = True
        self.in_service -= 1
        if self._queue:
            self._serve(self._queue.popleft(), self.condition)
