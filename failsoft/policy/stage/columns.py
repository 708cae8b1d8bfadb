"""Not every request may call every endpoint: each waits in the *column* of the endpoints that it may call.

A column is one region of each tier, and a dispatcher of its own. While a route is on its way there are two of them, and who waits
in one is not held up by what is stopped or full in the other: breakers stop traffic, and nobody is sent elsewhere by them. Two
columns share an endpoint where their regions are the same, and are served there in turn. Only the room of a class is one for all:
where nothing but a stopped region may serve some of its requests, and they have hours, they fill it, since no log can be skipped.

When an operator moves a route, those who wait change their column; calls that have begun end where they are. Whom a tier has
failed in the region that its route has left, it may serve in the other: that is one more execution, as a retry is.

Requests whose context is not complete wait *beside* those of their regions, in a column of the tiers that their context leaves
them. The best of these is their full tier, so nobody waits there for a tier that cannot run. There is a column for each reach
that has come in; there are few, since tiers are. A column beside knows nothing of the log, in which nobody has looked at contexts
yet: its tiers take who has waited out its patience, and do not look at what comes.

A stage without regions and without declared context has one dispatcher, and nothing of this costs it anything.
"""

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence

from failsoft.policy.events import CallFinished
from failsoft.policy.jitter import Jitter
from failsoft.policy.levels import FULL_LEVEL
from failsoft.policy.request import ClassName, Reach, Request
from failsoft.policy.routing import Route, Routes, place
from failsoft.policy.settings import StageSettings
from failsoft.policy.stage.dispatcher import Dispatcher, GiveUp, Start
from failsoft.policy.stage.endpoint import Endpoint
from failsoft.policy.stage.work import Errand

Regions = tuple[str | None, ...]
"""Of each model tier the region in which it is called."""


def dispatcher(settings: StageSettings, *, process: str, jitter: Jitter) -> "Dispatcher | Columns":
    """What serves a stage: a dispatcher, or columns of them where not every request may call every endpoint."""
    models = [tier for tier in settings.tiers if tier.is_model]
    endpoints = {
        (number, region): Endpoint(tier, settings, process=process, jitter=jitter, region=region)
        for number, tier in enumerate(models)
        for region in tier.regions or (None,)
    }
    call_ids = itertools.count(1)
    if len(endpoints) == len(models) and not settings.parts:
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
        self._known: dict[tuple[Regions, Reach | None], Dispatcher] = {}
        self._bounds: list[float] = []
        """Up to which place of requests each column reaches."""
        self._regions: list[Regions] = []
        self._columns: list[Dispatcher] = []
        """Of whole requests, one for each of these regions."""
        self._in_use: list[Dispatcher] = []
        """These, and those beside them; who has been served last comes last."""
        self._arrange()

    def route_seen(self, route: Route, *, now: float) -> None:
        """An operator has moved a route: who waits goes where it leads now."""
        if not self._routes.heard(route):
            return
        waiting = [errand for column in self._in_use for errand in column.take_out_all()]
        self._arrange()
        for errand in waiting:
            column = self._of(errand)
            column.turn_back(errand, now=now)
            column.put_back(errand, now=now)

    def _arrange(self) -> None:
        """Make a column of all requests between two shares: no route parts them."""
        self._bounds = [*self._routes.shares, 1.0]
        begins = [0.0, *self._bounds]
        self._regions = [self._regions_at((begin + end) / 2) for begin, end in itertools.pairwise(begins)]
        self._columns = [self._column(each) for each in self._regions]
        self._in_use = [column for (regions, _), column in self._known.items() if regions in self._regions]
        for name, records in self._backlog.items():
            self._share_backlog(name, records)

    def _regions_at(self, at: float) -> Regions:
        return tuple(self._routes.region_at(tier, at) for tier in self._tiers)

    def _column(self, regions: Regions, reach: Reach | None = None) -> Dispatcher:
        known = self._known.get((regions, reach))
        if known is None:
            numbers = range(len(regions)) if reach is None else reach.tiers
            known = self._known[regions, reach] = Dispatcher(
                self._settings,
                [self._by_place[number, regions[number]] for number in numbers],
                jitter=self._jitter,
                call_ids=self._call_ids,
                best_level=FULL_LEVEL if reach is None else reach.best_level,
            )
            self._in_use.append(known)
        return known

    def _of(self, errand: Errand) -> Dispatcher:
        return self._for(errand.work.request)

    def _for(self, request: Request) -> Dispatcher:
        at = 0 if len(self._columns) == 1 else bisect_right(self._bounds, place(request.identity))
        return self._columns[at] if request.reach is None else self._column(self._regions[at], request.reach)

    @property
    def usual(self) -> Sequence[Endpoint]:
        """The endpoints of the column with most of the requests."""
        widths = [end - begin for begin, end in itertools.pairwise([0.0, *self._bounds])]
        return self._columns[widths.index(max(widths))].endpoints

    # What belongs to all of them.

    @property
    def columns(self) -> Sequence[Dispatcher]:
        """All of them."""
        return self._in_use

    @property
    def waiting(self) -> Mapping[ClassName, int]:
        """How many wait for a permit, per class."""
        counts = dict.fromkeys(self._settings.by_class, 0)
        for column in self._in_use:
            for name, count in column.waiting.items():
                counts[name] += count
        return counts

    def is_held(self, request_class: ClassName, oldest_age_seconds: float, *, now: float) -> bool:
        """Whether a class is to be left in the log: it is in every column of whole requests, which nearly all of them are."""
        return all(column.is_held(request_class, oldest_age_seconds, now=now) for column in self._columns)

    def backlog_seen(self, request_class: ClassName, records: int) -> None:
        """This many records of a class are still in the log, spread over the columns as their shares are."""
        self._backlog[request_class] = records
        self._share_backlog(request_class, records)

    def _share_backlog(self, request_class: ClassName, records: int) -> None:
        for column, (begin, end) in zip(self._columns, itertools.pairwise([0.0, *self._bounds]), strict=True):
            column.backlog_seen(request_class, math.ceil(records * (end - begin)))

    def dispatch(self, *, now: float) -> list[Start | GiveUp]:
        """Whoever starts or ends now. Columns take turns where they share an endpoint: who was served last comes last."""
        decided: list[Start | GiveUp] = []
        for column in list(self._in_use):
            own = column.dispatch(now=now)
            decided += own
            if any(isinstance(each, Start) for each in own):
                self._in_use.remove(column)
                self._in_use.append(column)
        return decided

    def next_wakeup(self) -> float:
        """When time alone may next change what becomes of those who wait; infinity if nobody does."""
        return min(column.next_wakeup() for column in self._in_use)

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
