"""The fleet's latency: one profile for each stage, tier and region, from the roll-ups of all workers.

**Window.** Slots of one second, by the broker's time of the roll-ups; a profile is the sum of the last sixty. Where these hold
fewer than 30 calls, older slots are added, at most five minutes back: the same rule by which a worker knows its own endpoints
(:mod:`failsoft.policy.latency`), so a worker that believes the profile chooses as one that saw all calls itself.

Time is that of the newest roll-up and not of a clock: the same roll-ups give the same profiles, whenever they are read. A profile
of an endpoint that nobody calls any more stays as it was.

**Restored** is a profile that stood in the log already: one slot, of the second in which it was written. A roll-up that is read
twice, after a crash, counts twice: a sixtieth of a distribution that 30 calls outvote.
"""

from failsoft.policy.profile import Profile
from failsoft.policy.rollup import Place, RollUp

WINDOW_SECONDS = 60
EXTENDED_SECONDS = 300
ENOUGH_SAMPLES = 30


class FleetLatency:
    """The profiles of a fleet."""

    def __init__(self) -> None:
        self._slots: dict[Place, dict[int, Profile]] = {}
        self._newest = 0
        self._changed: set[Place] = set()

    def restore(self, place: Place, profile: Profile, *, written_at: float) -> None:
        """Take up a profile where it was left."""
        self._slot(place, written_at).merge(profile)

    def fold(self, rollup: RollUp, *, appended_at: float) -> None:
        """Add what a worker has told."""
        for place, profile in rollup.latency.items():
            self._slot(place, appended_at).merge(profile)
            self._changed.add(place)

    def take_changed(self) -> dict[Place, Profile]:
        """The profiles that have changed since this was last asked."""
        changed, self._changed = self._changed, set()
        return {place: self.profile(place) for place in sorted(changed)}

    def profile(self, place: Place) -> Profile:
        """What is known of one endpoint."""
        found, slots = Profile(), self._slots.get(place, {})
        for second in sorted(slots, reverse=True):
            age = self._newest - second
            if age >= WINDOW_SECONDS and (age >= EXTENDED_SECONDS or found.samples >= ENOUGH_SAMPLES):
                break
            found.merge(slots[second])
        return found

    def _slot(self, place: Place, at: float) -> Profile:
        second = int(at)
        self._newest = max(self._newest, second)
        slots = self._slots.setdefault(place, {})
        if second not in slots:
            for old in [old for old in slots if self._newest - old >= EXTENDED_SECONDS]:
                del slots[old]
            slots[second] = Profile()
        return slots[second]
