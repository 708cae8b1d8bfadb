"""``failsoft streams latency``: the fleet's latency, one record for each stage, tier and region, for workers as a prior."""

from failsoft.kafka import ViewRecord
from failsoft.policy.fleet_latency import FleetLatency
from failsoft.policy.profile import Profile
from failsoft.policy.rollup import Place, RollUp
from failsoft.wire import Record
from failsoft.wire.profile import decode_fleet_profile, encode_fleet_profile


class LatencyModel:
    """Profiles of endpoints. One stage's roll-ups stand in one partition, so a profile has one writer.

    A profile is not marked with the offset that it holds: a second that is counted twice after a crash does not matter.
    """

    def __init__(self) -> None:
        self._fleet = FleetLatency()
        self._restored: dict[Place, tuple[Profile, float]] = {}

    def restore(self, record: ViewRecord, partitions: frozenset[int]) -> None:
        """Take up a profile; the last of each holds, so they are put aside until the first roll-up comes."""
        if record.value is not None:
            place, profile = decode_fleet_profile(record.value)
            self._restored[place] = profile, record.appended_at

    def fold(self, rollup: RollUp, *, partition: int, offset: int, appended_at: float) -> None:
        """Add a roll-up."""
        self._take_up()
        self._fleet.fold(rollup, appended_at=appended_at)

    def take_changed(self) -> list[Record]:
        """Profiles that have changed."""
        return [encode_fleet_profile(place, profile) for place, profile in self._fleet.take_changed().items()]

    def open(self) -> list[Record]:
        """None: each is said again as soon as somebody calls the endpoint."""
        return []

    def _take_up(self) -> None:
        for place, (profile, written_at) in self._restored.items():
            self._fleet.restore(place, profile, written_at=written_at)
        self._restored.clear()


if __name__ == "__main__":
    from streams.command import main  # brings Faust, which the model does not need

    main("latency", LatencyModel)
