"""What the workers of a pipeline tell of themselves, passed on to the stages of this process that they belong to or come after.

The roll-ups in ``<pipeline>.outcomes`` say both things that a stage wants to know of the next ones: how long their calls take,
and how requests end there. A worker that starts reads the last few of them: durations of five minutes, as everywhere, and ends
of half a minute, since what failed before that is no reason to stop now. Ages are by the broker's clock, as near as it is known.

What cannot be read says nothing: the topic is read by others too, and a worker of a newer version must not silence the rest.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from failsoft.kafka import ViewRecord
from failsoft.pipeline import Stage
from failsoft.policy.call_counts import WINDOW_SECONDS
from failsoft.policy.errors import MalformedRecord
from failsoft.policy.events import RollUpSeen
from failsoft.policy.fleet_latency import EXTENDED_SECONDS
from failsoft.wire.rollup import decode_rollup

log = structlog.get_logger("failsoft.stages")

LAST_OFFSETS = 2_000
"""What a start reads at most: one roll-up a second of six workers for five minutes, or of more for less."""


class LaterStages:
    """Who of this process wants to know of later stages."""

    def __init__(self) -> None:
        self._listeners: defaultdict[str, list[Callable[[RollUpSeen], None]]] = defaultdict(list)
        self._has_complained = False

    def attach(self, stage: Stage, hear: Callable[[RollUpSeen], None]) -> None:
        """Tell a stage what those after it say; and its own workers, so that it knows a silence of others from deafness."""
        after = stage if stage.successor is not None else None
        while after is not None:
            self._listeners[after.name].append(hear)
            after = after.successor

    @property
    def is_wanted(self) -> bool:
        """Whether anybody wants to know."""
        return bool(self._listeners)

    def take(self, records: Sequence[ViewRecord]) -> None:
        """Take what stands in the log."""
        for record in records:
            if record.age_seconds < EXTENDED_SECONDS:
                self._pass_on(record)

    def _pass_on(self, record: ViewRecord) -> None:
        try:
            rollup = decode_rollup(record.value, record.headers)
        except MalformedRecord as error:
            if not self._has_complained:  # one bad writer would fill the log
                log.warning("malformed_rollup", offset=record.offset, error=str(error))
            self._has_complained = True
            return
        if rollup is None:
            return
        if record.age_seconds >= WINDOW_SECONDS:
            rollup = replace(rollup, endings={})
        for hear in self._listeners.get(rollup.stage, ()):
            hear(RollUpSeen(rollup, record.appended_at))
