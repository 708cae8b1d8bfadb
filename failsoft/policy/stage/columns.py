"""Requests of a stage whose endpoints stand in several regions: each waits in the *column* of the endpoints that it may call.

A column is one region of each tier, and a dispatcher of its own. While a route is on its way there are two of them, and who waits
in one is not held up by what is stopped or full in the other: breakers stop traffic, and nobody is sent elsewhere by them. Two
columns share an endpoint where their regions are the same, and are served there in turn.

When an operator moves a route, those who wait change their column; calls that have begun end where they are.

A stage without regions has one dispatcher, and nothing of this costs it anything.
"""

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence

from failsoft.policy.events import CallFinished
from failsoft.policy.jitter import Jitter
from failsoft.policy.request import ClassName, Request
from failsoft.policy.routing import Route, Routes, place
from failsoft.policy.settings import StageSettings
from failsoft.policy.stage.dispatcher import Dispatcher, GiveUp, Start
from failsoft.policy.stage.endpoint import Endpoint
from failsoft.policy.stage.work import Errand

Regions = tuple[str | None, ...]
"""Of each model tier the region in which it is called."""


def dispatcher(settings: StageSettings, *, process: str, jitter: Jitter) -> "Dispatcher | Columns":
    """What serves a stage: a dispatcher, or columns of them where a tier has a choice of regions."""
    models = [tier for tier in settings.tiers if tier.is_model]
    endpoints = {
        (number, region): Endpoint(tier, settings, process=process, jitter=jitter, region=region)
        for number, tier in enumerate(models)
        for region in tier.regions or (None,)
    }
    call_ids = itertools.count(1)
    if len(endpoints) == len(models):
        return Dispatcher(settings, list(endpoints.values()), jitter=jitter, call_ids=call_ids)
    return Columns(settings, endpoints, jitter=jitter, call_ids=call_ids)


class Columns:
    """The dispatchers of all columns that are in use; what a dispatcher does, done by the one that a request belongs to.

    Args:
        settings: of the stage.
        endpoints: by number of the tier and region, the usual region first.
        jitter: for waits.
        call_ids: numbers for calls.
    """

    def __init__(
        self,
        settings: StageSettings,
        endpoints: Mapping[tuple[int, str | None], Endpoint],
        *,
        jitter: Jitter,
        call_ids: Iterator[int],
    ) -> None:
        self.endpoints: Sequence[Endpoint] = list(endpoints.values())
        self._settings, self._jitter, self._call_ids = settings, jitter, call_ids
        self._by_place = endpoints
        self._tiers = list(dict.fromkeys(end.tier_name for end in self.endpoints))
        self._routes = Routes(
            {end.tier_name: end.settings.regions for end in self.endpoints}  # an endpoint of each region says the same
        )
        self._backlog: dict[ClassName, int] = {}
        self._known: dict[Regions, Dispatcher] = {}
        self._turn = 0
        self._bounds: list[float] = []
        """Up to which place of requests each column reaches."""
        self._columns: list[Dispatcher] = []
        self._arrange()

    def route_seen(self, route: Route, *, now: float) -> None:
        """An operator has moved a route: who waits goes where it leads now."""
        if not self._routes.heard(route):
            return
        waiting = [errand for column in self._columns for errand in column.take_out_all()]
        self._arrange()
        for errand in waiting:
            self._of(errand).put_back(errand, now=now)

    def _arrange(self) -> None:
        """Make a column of all requests between two shares: no route parts them."""
        self._bounds = [*self._routes.shares, 1.0]
        begins = [0.0, *self._bounds]
        regions = [self._regions((begin + end) / 2) for begin, end in itertools.pairwise(begins)]
        self._columns = [self._column(each) for each in regions]
        for name, records in self._backlog.items():
            self._share_backlog(name, records)

    def _regions(self, at: float) -> Regions:
        return tuple(self._routes.region_at(tier, at) for tier in self._tiers)

    def _column(self, regions: Regions) -> Dispatcher:
        if regions not in self._known:
            endpoints = [self._by_place[number, region] for number, region in enumerate(regions)]
            self._known[regions] = Dispatcher(self._settings, endpoints, jitter=self._jitter, call_ids=self._call_ids)
        return self._known[regions]

    def _of(self, errand: Errand) -> Dispatcher:
        return self._for(errand.work.request)

    def _for(self, request: Request) -> Dispatcher:
        if len(self._columns) == 1:
            return self._columns[0]
        return self._columns[bisect_right(self._bounds, place(request.identity))]

    @property
    def usual(self) -> Sequence[Endpoint]:
        """The endpoints of the column with most of the requests."""
        widths = [end - begin for begin, end in itertools.pairwise([0.0, *self._bounds])]
        return self._columns[widths.index(max(widths))].endpoints

    # What belongs to all of them.

    @property
    def columns(self) -> Sequence[Dispatcher]:
        """All of them."""
        return self._columns

    @property
    def waiting(self) -> Mapping[ClassName, int]:
        """How many wait for a permit, per class."""
        counts = dict.fromkeys(self._settings.by_class, 0)
        for column in self._columns:
            for name, count in column.waiting.items():
                counts[name] += count
        return counts

    def is_held(self, request_class: ClassName, oldest_age_seconds: float) -> bool:
        """Whether a class is to be left in the log: it is in every column."""
        return all(column.is_held(request_class, oldest_age_seconds) for column in self._columns)

    def backlog_seen(self, request_class: ClassName, records: int) -> None:
        """This many records of a class are still in the log, spread over the columns as their shares are."""
        self._backlog[request_class] = records
        self._share_backlog(request_class, records)

    def _share_backlog(self, request_class: ClassName, records: int) -> None:
        for column, (begin, end) in zip(self._columns, itertools.pairwise([0.0, *self._bounds]), strict=True):
            column.backlog_seen(request_class, math.ceil(records * (end - begin)))

    def dispatch(self, *, now: float) -> list[Start | GiveUp]:
        """Whoever starts or ends now. Columns take turns, so that none is always first where they share an endpoint."""
        self._turn += 1
        first = self._turn % len(self._columns)
        in_turn = [*self._columns[first:], *self._columns[:first]]
        return [decided for column in in_turn for decided in column.dispatch(now=now)]

    def next_wakeup(self) -> float:
        """When time alone may next change what becomes of those who wait; infinity if nobody does."""
        return min(column.next_wakeup() for column in self._columns)

    # What belongs to the one of a request.

    def best_level(self, request: Request) -> int:
        """The level of the best tier that is not stopped."""
        return self._for(request).best_level(request)

    def line(self, request: Request, *, now: float) -> tuple[float, float] | None:
        """What stands before a new request, and how long it may wait, seconds; None where something answers at once."""
        return self._for(request).line(request, now=now)

    def has_hope(self, request: Request, next_tier: int) -> bool:
        """Whether a model tier from this one on has an even chance to serve a request in time."""
        return self._for(request).has_hope(request, next_tier)

    def is_idle(self, request: Request, *, seconds: float, now: float) -> bool:
        """Whether nobody waits, and the full tier has a permit to spare and may well answer in so long."""
        return self._for(request).is_idle(request, seconds=seconds, now=now)

    def queue(self, errand: Errand, *, now: float) -> None:
        """A new request waits in its lane, or is served at once."""
        self._of(errand).queue(errand, now=now)

    def put_back(self, errand: Errand, *, now: float) -> None:
        """One that was taken out waits again, where it stands now."""
        self._of(errand).put_back(errand, now=now)

    def queue_urgent(self, errand: Errand) -> None:
        """A request whose call has failed is first in line at the next tier."""
        self._of(errand).queue_urgent(errand)

    def retry(self, errand: Errand, tier: int, event: CallFinished, *, seconds: float, now: float) -> bool:
        """Whether a failed request is to be tried again at the same tier, and if so, when."""
        return self._of(errand).retry(errand, tier, event, seconds=seconds, now=now)

    def discard(self, errand: Errand) -> None:
        """Take a request out, wherever it waits."""
        self._of(errand).discard(errand)

    def start_now(self, errand: Errand, *, now: float) -> Start:
        """Call the full tier for an errand that stands in no queue."""
        return self._of(errand).start_now(errand, now=now)
