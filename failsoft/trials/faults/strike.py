"""Carries a schedule out: lanes side by side, one fault at a time in each, written down before it strikes and after it healed.

A fault waits for its time and for the one before it in its lane, whichever is later. What is late when its burst is over is left
out, for the sake of the quiet. A fault that this machine cannot have is skipped, and said to be.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping

from failsoft.policy.errors import EnvironmentFailure
from failsoft.trials.faults import brokers, models, network, records, workers
from failsoft.trials.faults.schedule import Burst, Kind, Planned, Schedule
from failsoft.trials.faults.site import NotHere, Site, Strike
from failsoft.trials.history import FaultHistory

STRIKES: Mapping[Kind, Callable[[Site, Strike], Awaitable[None]]] = {
    Kind.LEADER_KILLED: brokers.leader_killed,
    Kind.CONTROLLER_KILLED: brokers.controller_killed,
    Kind.ROLLING_RESTART: brokers.rolling_restart,
    Kind.BROKER_FROZEN: brokers.broker_frozen,
    Kind.DISK_FULL: brokers.disk_full,
    Kind.WORKER_KILLED: workers.worker_killed,
    Kind.WORKER_STOPPED: workers.worker_stopped,
    Kind.WORKER_FROZEN: workers.worker_frozen,
    Kind.WORKER_FROZEN_LONG: workers.worker_frozen,
    Kind.JOIN_LEAVE_STORM: workers.join_leave_storm,
    Kind.CLOCK_SKEW: workers.clock_skew,
    Kind.OFFSETS_EXPIRED: workers.offsets_expired,
    Kind.NETWORK_CUT: network.network_cut,
    Kind.NETWORK_BLACK_HOLE: network.network_black_hole,
    Kind.NETWORK_DELAY: network.network_delay,
    Kind.NETWORK_RESET: network.network_reset,
    Kind.NETWORK_THROTTLE: network.network_throttle,
    Kind.MODEL_OUTAGE: models.model_outage,
    Kind.MODEL_HANG: models.model_hang,
    Kind.MODEL_GARBAGE: models.model_garbage,
    Kind.POISON_UNDECODABLE: records.poison_undecodable,
    Kind.POISON_OVERSIZED: records.poison_oversized,
    Kind.POISON_NESTED: records.poison_nested,
    Kind.POISON_KILLER: records.poison_killer,
    Kind.DEAD_LETTERS_UNWRITABLE: records.dead_letters_unwritable,
    Kind.TOPIC_RECREATED: records.topic_recreated,
}


class Strikes:
    """What has been done to a site, and is being done.

    Args:
        site: what is struck.
        schedule: when by what.
        history: where it is written down.
        say: told of each fault.
        is_punctual: leave out what is late when its burst is over; a smoke does all it has.
        without: kinds that are left out, aloud.
    """

    def __init__(
        self,
        site: Site,
        schedule: Schedule,
        history: FaultHistory,
        say: Callable[[str], None],
        *,
        is_punctual: bool = True,
        without: Collection[Kind] = (),
    ) -> None:
        self._site, self._schedule, self._history, self._say = site, schedule, history, say
        self._is_punctual = is_punctual
        self._without = frozenset(without)
        self.done: Counter[str] = Counter()
        """Kind -> how often."""
        self.skipped: dict[str, str] = {}
        """Kind -> why this machine cannot have it."""
        self.late = 0
        """Faults left out because those before them took too long."""

    async def carry_out(self) -> None:
        """Do all of it; returns when the last fault is healed.

        Raises:
            EnvironmentFailure: something could not be healed: a broker that does not start again, a worker that is never ready.
        """
        began_at = time.monotonic()
        lanes = dict.fromkeys(fault.lane for fault in self._schedule.faults)
        try:
            async with asyncio.TaskGroup() as running:
                for lane in lanes:
                    faults = [fault for fault in self._schedule.faults if fault.lane == lane]
                    running.create_task(self._lane(faults, began_at))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _lane(self, faults: list[Planned], began_at: float) -> None:
        for fault in faults:
            wait = began_at + fault.at_seconds - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            elif self._is_punctual and time.monotonic() - began_at + fault.seconds > self._burst(fault).ends:
                self.late += 1
                continue
            await self._strike(fault)

    def _burst(self, fault: Planned) -> Burst:
        return next(burst for burst in reversed(self._schedule.bursts) if burst.begins <= fault.at_seconds)

    async def _strike(self, fault: Planned) -> None:
        if fault.kind in self._without:
            self._skip(fault.kind, "it was to be left out")
            return
        number: int | None = None
        began_at = time.monotonic()

        def begins(target: str) -> None:
            nonlocal number
            number = self._history.begin(fault.kind, target)
            self._say(f"{fault.kind}: {target}")

        strike = Strike(random.Random(fault.seed), fault.seconds, begins)
        try:
            await STRIKES[fault.kind](self._site, strike)
        except NotHere as reason:
            self._skip(fault.kind, str(reason))
            return
        except EnvironmentFailure as error:
            if number is not None:
                raise
            self._say(f"{fault.kind}: has not begun, because another fault is in its way: {error}")
            return
        except TimeoutError:
            self._say(f"{fault.kind}: what was waited for has not come; the checker will say what is lost")
        if number is not None:
            self.done[fault.kind] += 1
            self._history.end(
                number,
                unreadable=strike.unreadable,
                recreated=strike.recreated,
                forgot_offsets=strike.forgot_offsets,
            )
            self._say(f"{fault.kind}: healed after {time.monotonic() - began_at:.1f} s")

    def _skip(self, kind: Kind, why: str) -> None:
        if kind not in self.skipped:
            self.skipped[kind] = why
            self._history.skipped(kind, why)
            self._say(f"{kind}: SKIPPED, {why}")
