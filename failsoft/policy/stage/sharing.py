"""What equal requests share: an execution that has no answer yet, or the answer of one that had.

Two requests are equal when they have the same content key. Here the patterns for them meet, coalescing and answers, in the order
that costs least: what was refused a moment ago is refused; a fresh answer serves at once; a flight that does is joined; else the
request opens one. A request without a key comes past all of this.

**Bodies.** A follower's body is dropped when it joins. That of the one who opened a flight is sent with every call, and so is
kept until no errand calls with it any more, also when its own request has long ended. Errands may part (an early deadline has to
go on to the next tier, a late one can wait for this one), so a body has users, and goes with the last.

**Whose place.** An errand stands in the queue for the waiter with the earliest deadline, in the most urgent class and under the
strictest floor aboard. Who shares an execution also shares its urgency: a bulk request whose equal is interactive is served with
it, at once, at a level that both accept.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from failsoft.policy.answer import Answer, AnswerName, Hit
from failsoft.policy.answers import Answers
from failsoft.policy.coalescing import Flights, Refusal
from failsoft.policy.events import AnswerSeen
from failsoft.policy.flight import Outlook, Waiter
from failsoft.policy.jitter import Jitter
from failsoft.policy.outcome import Outcome, Reason
from failsoft.policy.request import Partition, RecordId, Request
from failsoft.policy.settings import StageSettings
from failsoft.policy.stage.work import Errand, Work

REFUSED = Refusal(Outcome.INVALID, Reason.REQUEST_REFUSED)
"""What the model says to a content that it does not take."""
EXPIRE_SECONDS = 60.0
"""How often answers that are of no use any more are looked for: all of them are looked at."""


class Sharing:
    """Flights, answers and the bodies that they need, of one stage at one worker.

    Args:
        settings: of the stage.
        works: all records in hand.
        jitter: draws how long each answer is fresh.
    """

    def __init__(self, settings: StageSettings, works: Mapping[RecordId, Work], *, jitter: Jitter) -> None:
        self._works = works
        self._wanted_level = settings.tiers[0].level
        self.flights = Flights([known.name for known in settings.classes], settings.coalescing)
        self.answers = None if settings.answers is None else Answers(settings.answers, random=jitter)
        self._errands: dict[int, Errand] = {}
        self._body_users: Counter[RecordId] = Counter()
        self._numbers: set[int] = set()
        """Of the partitions that are this worker's."""
        self._expires_at = 0.0

    # A request comes in.

    def find(self, work: Work, *, best_level: int, now: float) -> Refusal | Hit | Errand | None:
        """What serves a request without an execution of its own; an errand is one that it has joined.

        Args:
            work: of the request.
            best_level: of the tiers that may yet take it.
            now: the instant.
        """
        refusal = self.flights.refusal(work.request.key, now=now)
        if refusal is not None:
            return refusal
        wanted = work.request.level(self._wanted_level, now=now)
        found = self._answer(work.request, wanted, now=now) if wanted <= work.request.floor else None
        return found or self._join(work, best_level, now)

    def last_resort(self, request: Request, *, now: float) -> Hit | None:
        """An answer of the past for a request that no model can serve in time."""
        return self._answer(request, request.floor, is_last_resort=True, now=now)

    def open(self, work: Work, *, now: float) -> Errand:
        """Begin an errand for a request; if it has a key, others may join."""
        work.errand = errand = Errand(work)
        if work.request.key is not None:
            self._open_flight(errand, _waiter(work), now)
        return errand

    def refresh(self, work: Work, *, level: int, seconds: float, now: float) -> Errand | None:
        """Begin an errand that renews the stale answer by which a request is served. None: one is under way.

        Args:
            work: of the request. How much time it has left does not matter: nobody waits for the new answer.
            level: the lowest that will do.
            seconds: how long it may take.
            now: the instant.
        """
        if self.flights.is_flying(work.request.key):
            return None
        errand = Errand(work)
        errand.is_refresh = True
        self._open_flight(errand, Waiter(work.record, now + seconds, level), now)
        return errand

    def stop_refreshing(self, errand: Errand) -> bool:
        """Nobody is to renew an answer with it any more: it is over, True, or goes on for those who joined it."""
        if not errand.is_refresh:
            return False
        errand.is_refresh = False
        self.flights.leave(errand.body_of)
        self.place(errand)
        return not self.aboard(errand)

    def _open_flight(self, errand: Errand, waiter: Waiter, now: float) -> None:
        errand.flight = self.flights.open(errand.work.request.key, waiter, now=now)
        self._errands[errand.flight.number] = errand
        self._body_users[errand.body_of] += 1

    def _answer(self, request: Request, floor: int, *, is_last_resort: bool = False, now: float) -> Hit | None:
        if self.answers is None or request.key is None:
            return None
        tolerated = request.max_stale_seconds
        return self.answers.find(
            request.key, floor=floor, max_stale_seconds=tolerated, is_last_resort=is_last_resort, now=now
        )

    def _join(self, work: Work, best_level: int, now: float) -> Errand | None:
        flight = self.flights.join(work.request.key, _waiter(work), at_least=best_level, now=now)
        if flight is not None:
            work.errand = self._errands[flight.number]
        return work.errand

    # Who is aboard.

    def aboard(self, errand: Errand) -> list[Work]:
        """Whose requests wait for it, the earliest deadline first."""
        if errand.flight is None:
            return [errand.work]
        works = (self._works.get(waiter.record) for waiter in errand.flight.waiters)
        return [work for work in works if work is not None and work.errand is errand]

    def leave(self, work: Work) -> None:
        """Let one go; its errand goes on for the rest, if there are any."""
        self.flights.leave(work.record)
        work.errand = None

    def part(self, works: list[Work], errand: Errand, *, now: float) -> Errand:
        """Some of those aboard go on by themselves from where the errand stands, with the same body."""
        for work in works:
            self.leave(work)
        first, *others = works
        first.errand = own = errand.fork(first)
        self._open_flight(own, _waiter(first), now)
        for work in others:
            self._board(own, work)
        self.place(own)
        return own

    def _board(self, errand: Errand, work: Work) -> None:
        if errand.flight is not None:
            self.flights.board(errand.flight, _waiter(work))
            work.errand = errand

    def place(self, errand: Errand) -> None:
        """Have an errand stand where those aboard now put it. It must not be in any queue meanwhile."""
        works = self.aboard(errand)
        if errand.flight is not None and works:
            errand.stand_for(works[0], (errand.flight.request_class, errand.flight.floor))

    def is_out_of_place(self, errand: Errand) -> bool:
        """Whether somebody came or went who changes where it stands."""
        flight = errand.flight
        if flight is None:
            return False
        return (flight.request_class, flight.floor) != errand.lane or flight.deadline_at != errand.deadline_at

    def take_off(self, errand: Errand, outlook: Outlook) -> None:
        """A call starts. All aboard accept its level: their strictest floor chose the tiers."""
        if errand.flight is not None:
            self.flights.start(errand.flight, outlook)

    # It is over.

    def land(self, errand: Errand) -> list[Work]:
        """An execution is over: whose requests get its answer, or its failure."""
        works = self.aboard(errand)
        if errand.flight is not None:
            self.flights.land(errand.flight)
        return works

    def refuse(self, errand: Errand, *, now: float) -> list[Work]:
        """As ``land``; and who asks the same in the next moments is told the same."""
        works = self.aboard(errand)
        if errand.flight is not None:
            self.flights.refuse(errand.flight, REFUSED, now=now)
        return works

    def close(self, errand: Errand) -> RecordId | None:
        """An errand is over; returns whose body is of no use any more."""
        if errand.flight is None:
            return None
        self.flights.land(errand.flight)
        del self._errands[errand.flight.number]
        self._body_users[errand.body_of] -= 1
        if self._body_users[errand.body_of]:
            return None
        del self._body_users[errand.body_of]
        return errand.body_of

    def needs_body(self, record: RecordId) -> bool:
        """Whether an errand calls with the body of this record."""
        return record in self._body_users

    # Answers.

    def store(
        self, errand: Errand, *, level: int, tier: str, size_bytes: int | None, now: float
    ) -> tuple[Answer, list[AnswerName]] | None:
        """Keep what a call answered, and which have to make room. None: it is not kept."""
        key = errand.work.request.key
        if self.answers is None or key is None or size_bytes is None:
            return None
        # In whose place it stands may have gone with its partition; who renews an answer has nobody aboard.
        whose = next(iter(self.aboard(errand)), errand.work)
        fresh_seconds = self.answers.draw_fresh_seconds()
        answer = Answer(AnswerName(key, level), tier, size_bytes, now, fresh_seconds, whose.record.number)
        dropped = self.answers.store(answer, Outcome.OK, now=now)
        return None if dropped is None else (answer, dropped)

    def hear(self, seen: AnswerSeen, *, now: float) -> tuple[Answer, list[AnswerName]] | None:
        """Keep what stands in the log, if its partition is ours; returns as ``store``."""
        if self.answers is None or seen.number not in self._numbers:
            return None
        answer = Answer(
            seen.name, seen.tier, seen.size_bytes, now - max(0.0, seen.age_seconds), seen.fresh_seconds, seen.number
        )
        dropped = self.answers.hear(answer, now=now)
        return None if dropped is None else (answer, dropped)

    def own(self, partitions: Iterable[Partition]) -> None:
        """These partitions are this worker's: their answers are, too."""
        self._numbers.update(partition.number for partition in partitions)

    def lose(self, partitions: Iterable[Partition]) -> list[AnswerName]:
        """These are another's: the names of answers that went with them."""
        lost = {partition.number for partition in partitions}
        self._numbers -= lost
        return [] if self.answers is None else self.answers.lose(lost)

    def discard(self, name: AnswerName) -> list[AnswerName]:
        """An answer was deleted; its name, if it was kept."""
        return [] if self.answers is None else self.answers.discard(name)

    def expire(self, *, now: float) -> list[AnswerName]:
        """Answers that are of no use to anybody any more."""
        if self.answers is None or now < self._expires_at:
            return []
        self._expires_at = now + EXPIRE_SECONDS
        return self.answers.expire(now=now)


def _waiter(work: Work) -> Waiter:
    return Waiter(work.record, work.request.waits_until, work.request.floor)
