"""What no worker may leave lying, seen from outside: who waits there, and what it did with its permits meanwhile.

==================  ===================================================================================================
rule                says
==================  ===================================================================================================
full_tier_idle      a free permit of the full tier takes whoever it can surely serve
starved             a class that has nearly lost patience is passed over at the full tier only as long as shares allow
needless_answer     nobody gets an answer without a model while the last model had a free permit and time for it
==================  ===================================================================================================

A judge who asks the machine what it believes would excuse its errors. So the judge here keeps a book of its own and only speaks
where there is no doubt: of a tier that never failed, was slow, was busy or was cut at this worker, nor had its breaker moved
by anybody, or has answered well for longer than any ramp since; and of a request that leaves twice the longest call that the
worker has seen, or was told to expect.
What may share another's execution or answer is left out: it waits for no permit. So is what came of a partition whose last owner
has died: it may wait for its turn in quarantine.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from failsoft.policy.deadline import grant
from failsoft.policy.events import (
    Assigned,
    CallFinished,
    DrainRequested,
    Event,
    Published,
    RegisterSeen,
    Revoked,
    RouteSeen,
    Verdict,
)
from failsoft.policy.latency import PRIOR_SIGMA
from failsoft.policy.outcome import Ending, Reason
from failsoft.policy.permission import SLOW_FACTOR
from failsoft.policy.register import NEVER_OPENED
from failsoft.policy.request import ClassName, Partition, RecordId
from failsoft.policy.settings import DEFAULT_PRIOR_SECONDS, ClassSettings, StageSettings, TierSettings
from failsoft.policy.tiers import FLOOR_FROM, FLOOR_SLACK, TURNS
from failsoft.simulation.cluster import EPOCH, Sent
from failsoft.simulation.shell import Shell

WELL_CALLS = 10
WELL_SECONDS = 30.0
"""A tier is well again when so many calls were answered since it was in trouble, and so long after: a breaker's ramp."""
SURELY = 2.2
"""Times the longest call: what was cut counts in the rule's quantiles with up to twice that, and there is 1 % of rounding."""
PRIOR_TAIL = math.exp(2.4 * PRIOR_SIGMA)
"""Beyond all of a prior's samples."""
SLACK_SECONDS = 0.1
TOLERANCE = 4.0
"""On the number of calls for which a class may be passed over: charges are in seconds, and calls differ in length."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request in a worker's hands that was not called yet."""

    taken_at: float
    granted_at: float
    deadline_at: float


class _TierBook:
    """What one worker saw of one tier."""

    def __init__(self, settings: TierSettings) -> None:
        self.said_seconds = settings.expected_seconds or DEFAULT_PRIOR_SECONDS
        self.longest_seconds = PRIOR_TAIL * self.said_seconds
        self.mean_seconds = self.said_seconds
        self.calls = 0
        self.well_from = -math.inf
        self.good_calls = 0
        self.full_at = -math.inf
        self.is_full = False
        self.is_parted = False
        """A route of it is on its way: who waits for the one region does not get the permits of the other, on purpose."""
        self.order = NEVER_OPENED.order

    def trouble(self) -> None:
        self.well_from, self.good_calls = math.inf, 0

    def answered(self, seconds: float, now: float) -> None:
        if seconds > SLOW_FACTOR * min(self.said_seconds, self.mean_seconds):
            self.trouble()  # enough of them open a breaker
        self.calls += 1
        self.mean_seconds += (seconds - self.mean_seconds) / (1 + self.calls)
        self.longest_seconds = max(self.longest_seconds, seconds)
        self.good_calls += 1
        if self.good_calls == WELL_CALLS and self.well_from == math.inf and not self.is_parted:
            self.well_from = now + WELL_SECONDS


class _WorkerBook:
    """What one worker has in hand, by class in order of arrival."""

    def __init__(self, settings: StageSettings) -> None:
        self.tiers = {tier.name: _TierBook(tier) for tier in settings.tiers if tier.is_model}
        self.waiting: dict[ClassName, dict[RecordId, Waiting]] = {known.name: {} for known in settings.classes}
        self.ended_at_once: set[RecordId] = set()
        """By the event that is being dealt with; one that brought the record finds no one waiting."""
        self.contents: dict[int, RecordId] = {}
        self.passed_over = dict.fromkeys(self.waiting, 0.0)
        self.wary: set[Partition] = set()
        self.is_draining = False

    def all_waiting(self) -> Iterator[Waiting]:
        return (found for of_class in self.waiting.values() for found in of_class.values())


class Neglect:
    """Keeps the books of all workers.

    Args:
        settings: of the stage.
        report: told of every breach: the rule and what happened.
    """

    def __init__(self, settings: StageSettings, report: Callable[[str, str], None]) -> None:
        self._settings = settings
        self._classes = settings.by_class
        self._models = [tier for tier in settings.tiers if tier.is_model]
        self._answers = {tier.name for tier in settings.tiers if not tier.is_model}
        self._report = report
        self._books: dict[str, _WorkerBook] = defaultdict(lambda: _WorkerBook(settings))
        lightest = min(known.weight for known in settings.classes)
        self._passed_over_max = {
            known.name: TOLERANCE * (FLOOR_SLACK + 1 / lightest + 1 / known.weight) for known in settings.classes
        }

    # The shells say.

    def arrived(self, shell: Shell, record: RecordId, appended_at: float, sent: Sent, *, is_called: bool) -> None:
        """A worker has taken a record; it may have called somebody for it at once, or know that it was ended before."""
        book = self._books[shell.name]
        first = book.contents.setdefault(sent.ask.content, record)
        if first != record:  # they may share, and the first takes on the deadline of whoever joins it
            book.waiting[first.request_class].pop(first, None)
            return
        if is_called or record in book.ended_at_once or record.partition in book.wary:
            return
        known = self._classes[record.request_class]
        granted = grant(
            sent.stamp,
            appended_at=EPOCH + appended_at,
            received_at=EPOCH + appended_at,
            clock_offset=0.0,
            default_seconds=known.deadline_seconds,
            maximum_seconds=known.deadline_max_seconds,
        )
        deadline_at = appended_at + granted.remaining_seconds
        book.waiting[known.name][record] = Waiting(shell.now, deadline_at - granted.budget_seconds, deadline_at)

    def call_started(self, shell: Shell, record: RecordId, tier: str) -> None:
        """A worker calls somebody: whom did it pass over?"""
        book = self._books[shell.name]
        found = book.waiting[record.request_class].pop(record, None)
        self._note_full(shell, book)
        if tier == self._models[0].name:
            book.passed_over[record.request_class] = 0.0
            if found is not None:
                self._check_share(shell, book, record.request_class)

    def call_ended(self, shell: Shell, tier: str, verdict: Verdict, seconds: float) -> None:
        """A worker learns how a tier is."""
        known = self._books[shell.name].tiers[tier]
        if verdict is Verdict.OK:
            known.answered(seconds, shell.now)
        else:
            known.trouble()

    def handled(self, shell: Shell, event: Event) -> None:
        """A worker has dealt with an event: is there somebody whom it should have called?"""
        book = self._books[shell.name]
        book.ended_at_once.clear()
        match event:
            case RegisterSeen():
                self._hear(book, event)
            case RouteSeen():
                self._part(book, event)
            case Assigned():
                book.wary -= event.positions.keys()
                book.wary |= {partition for partition, progress in event.positions.items() if progress.crashes}
            case Revoked():
                self._forget(book, event.partitions)
            case DrainRequested():
                book.is_draining = True
            case CallFinished(is_over=False):
                return  # its permit is not free yet; and it may be one of those that go with a revoked partition
            case Published():
                return  # nobody comes or goes by that, and no permit
        self._note_full(shell, book)
        self._check_idle(shell, book)

    def decided(self, shell: Shell, record: RecordId, ending: Ending) -> None:
        """A worker has decided how a record ends: did it do all it could?"""
        book = self._books[shell.name]
        book.ended_at_once.add(record)
        found = book.waiting[record.request_class].pop(record, None)
        is_last_resort = ending.reason in {Reason.QUEUE_LONG, Reason.DEADLINE_SHORT} and ending.tier in self._answers
        if found is not None and is_last_resort and not book.is_draining:
            self._check_answer(shell, book, record, found)

    # The rules.

    def _check_idle(self, shell: Shell, book: _WorkerBook) -> None:
        full = book.tiers[self._models[0].name]
        if full.is_full or book.is_draining or shell.now < full.well_from:
            return
        least = shell.now + self._surely(book)
        if any(found.deadline_at >= least for found in book.all_waiting()):
            self._report("full_tier_idle", f"{shell.name} has a permit, and somebody whom it can surely serve")

    def _check_share(self, shell: Shell, book: _WorkerBook, served: ClassName) -> None:
        if any(known.is_parted for known in book.tiers.values()):
            return  # whose turn it is is decided for each region by itself
        for name, of_class in book.waiting.items():
            oldest = next(iter(of_class.values()), None)
            if name == served or oldest is None or not self._is_overdue(shell, book, self._classes[name], oldest):
                book.passed_over[name] = 0.0
                continue
            book.passed_over[name] += 1 / self._classes[served].weight
            if book.passed_over[name] > self._passed_over_max[name]:
                self._report("starved", f"{name} at {shell.name}, {served} was served instead")
                book.passed_over[name] = 0.0

    def _is_overdue(self, shell: Shell, book: _WorkerBook, known: ClassSettings, oldest: Waiting) -> bool:
        full = self._models[0].name
        turn = TURNS * book.tiers[full].longest_seconds / max(1, shell.machine.permits_of(full))
        patience = max(known.patience * (oldest.deadline_at - oldest.granted_at), turn)
        has_waited = shell.now - oldest.granted_at > FLOOR_FROM * patience
        return has_waited and oldest.deadline_at >= shell.now + self._surely(book)

    def _check_answer(self, shell: Shell, book: _WorkerBook, record: RecordId, found: Waiting) -> None:
        floor = self._classes[record.request_class].floor
        allowed = [tier.name for tier in self._models if tier.level <= floor]
        if not allowed:
            return
        last = book.tiers[allowed[-1]]
        had_seconds = found.deadline_at - max(found.taken_at, last.full_at)
        needed = SURELY * last.longest_seconds + self._settings.publish_margin_seconds + SLACK_SECONDS
        was_awake = shell.resumes_at <= found.taken_at
        if was_awake and last.well_from <= found.taken_at and had_seconds > needed:
            self._report(
                "needless_answer", f"{record}: {allowed[-1]} had a free permit for the last {had_seconds:.2f} s"
            )

    def _surely(self, book: _WorkerBook) -> float:
        """What a request must have left to fit the full tier whatever a worker may reckon with."""
        calls = sum(known.longest_seconds for known in book.tiers.values())
        return SURELY * calls + self._settings.publish_margin_seconds + SLACK_SECONDS

    # The books.

    def _note_full(self, shell: Shell, book: _WorkerBook) -> None:
        for name, known in book.tiers.items():
            is_full = shell.is_full(name)
            if is_full or known.is_full:
                known.full_at = shell.now
            known.is_full = is_full

    def _hear(self, book: _WorkerBook, event: RegisterSeen) -> None:
        """A breaker that moves anywhere is trouble here: this worker follows it, and ramps."""
        _, _, place = event.breaker.partition("/")
        known = book.tiers.get(place.partition("/")[0])
        if known is not None and event.register is not None and event.register.word.order > known.order:
            known.order = event.register.word.order
            known.trouble()

    def _part(self, book: _WorkerBook, event: RouteSeen) -> None:
        """In another region it is another endpoint, of which nothing is known."""
        known = book.tiers.get(event.route.endpoint.partition("/")[2])
        if known is not None:
            known.is_parted = 0 < event.route.share < 1
            known.trouble()

    def _forget(self, book: _WorkerBook, partitions: frozenset[Partition]) -> None:
        for of_class in book.waiting.values():
            for record in [record for record in of_class if record.partition in partitions]:
                del of_class[record]
