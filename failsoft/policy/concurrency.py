"""How many calls may be in flight at an endpoint: its *limit*, and the *permits* that a worker holds of it.

The limit belongs to the endpoint and is for the whole fleet. A worker's permits are its share of it by the part of the
stage's partitions that it owns::

    permits = max(1, round(limit x owned / all))

so that they follow the work when workers come and go, without asking anybody. Rounding may over-commit the limit by half a
permit a worker, and the least permit by one where there are more workers than permits: an endpoint's own bounded queue
takes that up (research/policy-lab.md: 2 x over-committed local limits cost nothing measurable).
"""


class Permits:
    """The permits of one worker at one endpoint.

    Args:
        limit: of the endpoint, for the whole fleet.
    """

    __slots__ = ("_limit", "count", "in_flight")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.count = 0
        """This worker's permits: none before it owns a partition."""
        self.in_flight = 0

    def share(self, part: float) -> None:
        """Take the part, 0-1, of the limit that goes with the partitions owned."""
        self.count = max(1, round(self._limit * part)) if part > 0 else 0

    @property
    def has_free(self) -> bool:
        """Whether another call may start."""
        return self.in_flight < self.count

    def take(self) -> None:
        """A call starts."""
        self.in_flight += 1

    def give_back(self) -> None:
        """A call is over."""
        self.in_flight -= 1
