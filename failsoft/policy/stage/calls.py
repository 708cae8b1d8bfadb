"""The calls under way, and which of those who wait for one has to go on without it.

A call has the window of the last aboard (research/algorithms.md §8.2: an execution is not the leader's). Who is due earlier must
still have the fallback that it would have alone, so it *parts* when the window ends that the call would have had for it. All
part together who cannot wait for the end of the call, so that a herd costs one more call and not one for each.
"""

import math
from collections.abc import Iterator
from typing import Protocol

from failsoft.policy.request import Request
from failsoft.policy.stage.endpoint import Ticket
from failsoft.policy.stage.work import Errand


class Windows(Protocol):
    """Says how long a call may take."""

    def window_seconds(self, tier: int, floor: int, remaining_seconds: float) -> float:
        """The longest time that a call at a tier may take for a request with this floor and this time left."""


class CallUnderWay:
    """One call, until the endpoint has let go of it.

    Attributes:
        errand: for whom; None once it is reported, or nobody waits for it.
        tier: its index.
        ticket: of its endpoint.
        windows: says how long a call there may take.
        window_ends_at: when the shell cuts it.
        is_reported: its end has come in.
        parts_at: when the first aboard will have to go on without it, as it was reckoned when that one became the first.
    """

    __slots__ = ("errand", "is_reported", "parts_at", "ticket", "tier", "window_ends_at", "windows")

    def __init__(self, errand: Errand, tier: int, ticket: Ticket, windows: Windows, window_ends_at: float) -> None:
        self.errand: Errand | None = errand
        self.tier = tier
        self.ticket = ticket
        self.windows = windows
        self.window_ends_at = window_ends_at
        self.is_reported = False
        self.parts_at = math.inf


class Calls:
    """All of them."""

    def __init__(self) -> None:
        self._calls: dict[int, CallUnderWay] = {}
        self._crowded: dict[int, CallUnderWay] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def start(self, call: CallUnderWay) -> None:
        """A call begins."""
        self._calls[call.ticket.call_id] = call

    def get(self, call_id: int) -> CallUnderWay | None:
        """One of them; None if it is over."""
        return self._calls.get(call_id)

    def end(self, call_id: int) -> CallUnderWay | None:
        """The endpoint has let go of a call; None if it has before."""
        return self._calls.pop(call_id, None)

    def drop(self, call_id: int) -> None:
        """Nobody waits for a call any more."""
        self._crowded.pop(call_id, None)
        call = self._calls.get(call_id)
        if call is not None:
            call.errand = None

    def look_at(self, errand: Errand) -> None:
        """Somebody came or went: several may wait for its call now, or one alone."""
        if errand.call_id is None:
            return
        if errand.is_crowded:
            call = self._crowded[errand.call_id] = self._calls[errand.call_id]
            call.parts_at = self._own_window_ends_at(call, errand.work.request)
        else:
            self._crowded.pop(errand.call_id, None)

    def refreshing(self) -> list[Errand]:
        """What renews an answer."""
        errands = (call.errand for call in self._calls.values())
        return [errand for errand in errands if errand is not None and errand.is_refresh]

    # Parting.

    @property
    def are_shared(self) -> bool:
        """Whether several wait for one of them."""
        return bool(self._crowded)

    @property
    def parts_at(self) -> float:
        """When the first has to go on without its call; infinite if nobody has to."""
        return min((call.parts_at for call in self._crowded.values()), default=math.inf) if self._crowded else math.inf

    def parting(self, *, now: float) -> Iterator[tuple[CallUnderWay, Errand]]:
        """Calls of which somebody has to go on now."""
        for call in [call for call in self._crowded.values() if call.parts_at <= now]:
            if call.errand is not None:
                call.parts_at = self._own_window_ends_at(call, call.errand.work.request)
                if call.parts_at <= now:  # else the latency has moved meanwhile, and with it the window
                    yield call, call.errand

    def cannot_wait(self, call: CallUnderWay, request: Request) -> bool:
        """Whether a request has no use for the end of a call, however late it comes."""
        return self._own_window_ends_at(call, request) < call.window_ends_at

    def is_last(self, call: CallUnderWay) -> None:
        """All who are left can wait for the end of a call: it is not looked at again before somebody joins."""
        self._crowded.pop(call.ticket.call_id, None)

    def _own_window_ends_at(self, call: CallUnderWay, request: Request) -> float:
        started_at = call.ticket.started_at
        remaining = request.waits_until - started_at
        return started_at + call.windows.window_seconds(call.tier, request.floor, remaining)
