"""In which region an endpoint is called: where its author put it first, until an operator says otherwise.

    place(request) = hash(content key), evenly over 0-1        of a request that shares nothing: hash(its place in the log)
    region         = target if place < share else origin              share: 1 % -> 10 % -> 50 % -> 100 %

**By hand only.** Nothing here listens to latency or breakers: a failover that starts itself meets a cold region with the
whole load, and two regions that are both ill play ping-pong. Breakers stop traffic and tiers step down, both at once; moving
it is a decision, made by someone with a runbook that was tried.

**In steps**, so that the first request to find out that the other region has no model is one of a hundred, and its caches
and its scaling have time. ``advanced`` gives the next step; an operator may say any share, and back to 0 is one word.

**By identity, not by dice.** A request is on one side at all its tiers and executions, at every worker, after every crash, and
its equals with it: they share executions. As the share grows, those that went over stay there. Nothing else goes into the hash:
with one for each endpoint, a step of 1 % at each of three would touch 3 % of the requests.

An *epoch* orders an operator's words; of two with the same the later one in the log holds, and all workers read one log. A word
about a region that this worker does not know is not followed: it runs an older declaration, and has nowhere to send to.

Source: research/algorithms.md §11; the steps are those of canary releases (Google SRE workbook, ch. 16).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from failsoft.policy.errors import ConfigurationError

STEPS = (0.01, 0.1, 0.5, 1.0)
"""A hundredth shows whether it works, a tenth whether it is as good, half whether it bears load."""


def place(identity: str) -> float:
    """Where a request stands between 0 and 1; below the share it goes over."""
    return int.from_bytes(hashlib.blake2b(identity.encode(), digest_size=6).digest(), "big") / 2**48


@dataclass(frozen=True, slots=True)
class Route:
    """An operator's word on one endpoint.

    Attributes:
        endpoint: whose calls.
        origin: the region that they leave.
        target: the region that they go to.
        share: the part that goes over, 0-1.
        epoch: orders words; a later one is higher.
    """

    endpoint: str
    origin: str
    target: str
    share: float
    epoch: int

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.origin == self.target:
            raise ConfigurationError(f"route of {self.endpoint}: origin and target are both {self.origin!r}")
        if not 0 <= self.share <= 1:
            raise ConfigurationError(f"route of {self.endpoint}: share {self.share} is a part, from 0 to 1")

    def advanced(self) -> "Route":
        """The word for the next step; after the last one it stays."""
        share = next((step for step in STEPS if step > self.share), self.share)
        return replace(self, share=share, epoch=self.epoch + 1)

    def withdrawn(self) -> "Route":
        """The word for going back, at once and with everything."""
        return replace(self, share=0.0, epoch=self.epoch + 1)

    def region(self, identity: str) -> str:
        """On which side a request is."""
        return self.region_at(place(identity))

    def region_at(self, at: float) -> str:
        """On which side the requests of a place are."""
        return self.target if at < self.share else self.origin


class Routes:
    """What operators have said, as one worker hears it.

    Args:
        regions: endpoint -> its regions, the usual one first. Empty of one whose author names none.
    """

    def __init__(self, regions: Mapping[str, Sequence[str]]) -> None:
        self._regions = {endpoint: tuple(names) for endpoint, names in regions.items()}
        self._routes: dict[str, Route] = {}

    def heard(self, route: Route) -> bool:
        """Follow a word, unless a later one is known; False: it names an endpoint or a region that is unknown here."""
        if not {route.origin, route.target} <= set(self._regions.get(route.endpoint, ())):
            return False
        known = self._routes.get(route.endpoint)
        if known is None or route.epoch >= known.epoch:
            self._routes[route.endpoint] = route
        return True

    def region(self, endpoint: str, *, identity: str) -> str | None:
        """Where to call an endpoint for a request; None: its author names no regions."""
        return self.region_at(endpoint, place(identity))

    def region_at(self, endpoint: str, at: float) -> str | None:
        """Where to call an endpoint for the requests of a place."""
        route = self._routes.get(endpoint)
        if route is not None:
            return route.region_at(at)
        return next(iter(self._regions[endpoint]), None)

    @property
    def shares(self) -> list[float]:
        """Where requests part: between two of these no route parts them."""
        return sorted({route.share for route in self._routes.values()} - {0.0, 1.0})
