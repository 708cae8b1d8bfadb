"""Hands the fleet's latency to the stages of this worker, so that one that has just started chooses as its neighbours do.

A stage takes what is said of its own tiers, each region by itself: what holds in one says nothing of another. What was read
before a stage was there is kept for it. What cannot be read says nothing.
"""

from collections.abc import Callable, Mapping, Sequence

import structlog

from failsoft.kafka import ViewRecord
from failsoft.pipeline import Stage, Tier
from failsoft.policy.errors import MalformedRecord
from failsoft.policy.events import LatencySeen
from failsoft.policy.profile import Profile
from failsoft.policy.rollup import Place
from failsoft.wire.profile import decode_fleet_profile

log = structlog.get_logger("failsoft.latency")


def places(stage: Stage) -> Mapping[str, Place]:
    """Model tier, and ``/<region>`` where it has a choice of them -> where it is called."""
    names = [
        (tier.settings.name, region) for tier in stage.tiers if tier.settings.is_model for region in _regions(tier)
    ]
    return {f"{tier}/{region}" if region else tier: Place(stage.name, tier, region) for tier, region in names}


def _regions(tier: Tier) -> tuple[str, ...]:
    return tier.settings.regions or ("",)


class FleetPrior:
    """What the fleet knows of latency, and who of this worker wants to know it."""

    def __init__(self) -> None:
        self._known: dict[Place, Profile] = {}
        self._listeners: dict[Place, Callable[[LatencySeen], None]] = {}

    def attach(self, stage: Stage, hear: Callable[[LatencySeen], None]) -> None:
        """Tell a stage what is known, and whatever comes."""
        for place in places(stage).values():
            self._listeners[place] = hear
            if place in self._known:
                self._tell(place)

    def take(self, records: Sequence[ViewRecord]) -> None:
        """Take what stands in the log; of each key the last holds."""
        latest = {record.key: record.value for record in records}
        for value in latest.values():
            if value is None:
                continue
            try:
                place, profile = decode_fleet_profile(value)
            except MalformedRecord as error:
                log.warning("malformed_profile", error=str(error))
                continue
            self._known[place] = profile
            if place in self._listeners:
                self._tell(place)

    def _tell(self, place: Place) -> None:
        where = f"/{place.region}" if place.region else ""
        self._listeners[place](LatencySeen(f"{place.stage}/{place.tier}{where}", self._known[place]))
