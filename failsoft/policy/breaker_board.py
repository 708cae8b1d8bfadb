"""What all workers together say of one breaker: the joined word, the pooled counts, whose turn it is to probe.

Each worker writes one register, alone, into a compacted topic that all of them read. No lock, no leader, no clock in common.

**State** is the join of all registers ever heard (:mod:`failsoft.policy.register`). It never expires with its writer: an
opening would else vanish when the worker that opened it dies. It ends only through its own wait and somebody's probing.

**Counts** are pooled over *live* registers, heard in the last 30 s, of the same epoch: what came before an opening says nothing
about what comes after. Pooling matters more than sharing the state: fifty workers at .2 calls/s into a backend that fails 9 of 10
make 1182 failed calls when each counts alone, about 25 when they pool (research/algorithms.md §5.2).

**Probing** needs no lease. Workers in line are ranked by a hash of process, breaker and epoch (rendezvous), so that the turn goes
round from epoch to epoch::

    the worker of rank r probes from   opened + open_seconds + r x turn          while nobody does
                                       last progress + (r' + 1) x turn           when somebody did
    turn = max(5 s, 2 x q95)

where r' leaves out whoever made the progress. So a prober that dies is followed by the next rank after one turn; and two that
probe at once, after a partition, cost three calls more and harm nothing. In line are those that spoke in the three seconds before
the last word that was heard of anybody: who has requests says once a second that it waits for the end of an opening. The dead
thus cost no turn; all may have died, and their successors go on where the wait ends. And when nobody is heard for a while the
line stays as it was: else all would probe at once, each of them alone with itself.

**No bus.** Workers hear their own registers too, so silence for 30 s means that the topic cannot be reached (a worker in use
speaks every 10 s). Then no worker opens for the fleet, and an opening of the fleet is probed only after ten times its wait.

**Announcements**: at once what nobody can know yet; once a second while there is trouble in the window, or probes are in
flight, or the endpoint is wanted and not closed; every 10 s while it is wanted; hourly in any case, so that the topic may
forget the dead. News that was not heard back is said again, once a second. Workers that are well speak once a second too while
another fails half of its calls: else only those in trouble would be heard in time, and the pool would be biased.

**Many.** What was said more than 30 s ago is not looked at again, so the dead of a day cost nothing but memory. The word of a
live worker counts at once up to 100 of them; beyond that the counts are added up again after half a millisecond for each that
there is more, and at the latest after a second: added up at each word, 500 live workers made a request twelve times as dear. An
opening is heard at once, however many there are.

**Age.** Registers carry durations. One that is read back at start is as old as the broker's timestamp says, and its opening is
taken to be over at most by its own wait; a caller that does not trust its clock gives no age, and stays open longer.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from failsoft.policy.call_counts import NO_CALLS, Counts, add_up, still_counting
from failsoft.policy.register import NEVER_OPENED, BoardView, Phase, Pool, Register, Word

LIVE_SECONDS = 30.0
"""Three heartbeats; also the window of the counts."""
ANNOUNCE_SECONDS = 1.0
IN_LINE_SECONDS = 3.0
"""Three announcements: a worker that was not heard for so long takes no turn."""
HEARTBEAT_SECONDS = 10.0
REFRESH_SECONDS = 3600.0
"""The topic deletes what is older than a day."""
FORGET_SECONDS = 86_400.0
"""As the topic deletes what is older, so a worker that runs for weeks does not keep all that ever were."""
PROMPT_WORKERS = 100
"""Live ones of whom each word counts at once: adding up takes a tenth of a millisecond then."""
PAUSE_SECONDS = 5e-4
"""For each live worker beyond, between two times of adding up, which takes .003 ms for each."""
TURN_SECONDS_MIN = 5.0
"""Far above the delay of a register, so that a live prober is always heard before the next turn."""
SILENT_WAITS = 10.0
"""Times the wait of an opening, after which a worker that hears nobody may probe it."""


@dataclass(frozen=True, slots=True)
class _Heard:
    register: Register
    written_at: float


@dataclass(frozen=True, slots=True)
class _Pooled:
    """The counts of all others, added up."""

    total: Counts = NO_CALLS
    most_trouble: Counts = NO_CALLS
    is_suspicious: bool = False
    """Whether one of them fails half of its calls."""

    @classmethod
    def of(cls, counts: Iterable[Counts]) -> "_Pooled":
        others = list(counts)
        return cls(
            add_up(others),
            max(others, key=_trouble, default=NO_CALLS),
            any(counts.calls and 2 * _trouble(counts) >= counts.calls for counts in others),
        )


def _trouble(counts: Counts) -> int:
    return max(counts.failed, counts.slow)


class BreakerBoard:
    """All registers of one breaker, as one worker hears them.

    Args:
        breaker: its name, the same at all workers.
        process: this worker's name, unlike any other's.
    """

    def __init__(self, breaker: str, process: str) -> None:
        self._breaker, self._process = breaker, process
        self._others: dict[str, _Heard] = {}
        """The last word of each worker, as long as the topic keeps it."""
        self._alive: dict[str, _Heard] = {}
        """Those of them that were written in the last 30 s, and some that have just grown older."""
        self._forgets_at = -math.inf
        self._word = NEVER_OPENED
        self._heard_at = -math.inf
        self._own = NEVER_OPENED
        self._epoch = 0
        self._opened_at = -math.inf
        self._prober: str | None = None
        self._progress_at = -math.inf
        self._said: Word | None = None
        self._said_at = -math.inf
        self._pooled = _Pooled()
        self._rank = 0
        self._refreshed_at = self._fresh_until = -math.inf

    # What is heard

    def seen(self, process: str, register: Register, *, age_seconds: float = 0.0, now: float) -> None:
        """Take in a register, this worker's own too.

        Args:
            process: who wrote it.
            register: what it says.
            age_seconds: how long ago it was written, by the broker's clock; only for what is read back at start. 0 if in doubt.
            now: monotonic seconds.
        """
        age = max(0.0, age_seconds)
        self._heard_at = now
        if register.word.order > self._word.order:
            self._fresh_until = -math.inf
        self._word = self._word.join(register.word)
        self._note_epoch(register.word, age + register.since_seconds, now)
        if process == self._process:
            return
        self._note(process, _Heard(register, now - age), now)
        if register.probes and register.word.epoch == self._epoch:
            self._prober, self._progress_at = process, now - age

    def removed(self, process: str) -> None:
        """A register was deleted. What it said still holds."""
        self._others.pop(process, None)
        if self._alive.pop(process, None) is not None:
            self._age_counts()

    def may_remove(self, process: str, *, now: float) -> bool:
        """Whether a register may be deleted: nobody speaks there any more, and a live one knows as much.

        A worker asks for its own when it leaves; anybody may ask for those of the dead.
        """
        mine = process == self._process
        if not mine and (process not in self._others or process in self._live(now)):
            return False
        epoch = self._own.epoch if mine else self._others[process].register.word.epoch
        known = [self._others[other].register.word.epoch for other in self._live(now) if other != process]
        if not mine:
            known.append(self._said.epoch if self._said else 0)
        return epoch == 0 or any(other >= epoch for other in known)

    def may_leave(self, *, now: float) -> bool:
        """Whether this worker's own register may be deleted when it goes."""
        return self.may_remove(self._process, now=now)

    @property
    def has_trouble(self) -> bool:
        """Whether others hold a call against the endpoint, or it is not closed."""
        return self._word.phase is not Phase.CLOSED or self._pooled.total.has_trouble

    # What the breaker is told

    def view(self, word: Word, counts: Counts, *, q95_seconds: float, now: float) -> BoardView:
        """What a breaker follows.

        Args:
            word: the breaker's own.
            counts: its own calls.
            q95_seconds: of the endpoint's latency in good times.
            now: monotonic seconds.
        """
        self._note_own(word, now)
        joined = self._word.join(word)
        if now >= self._fresh_until:
            self._refresh(joined, now)
        return BoardView(joined, self._pool(counts, now), self._probe_at(joined, q95_seconds, now))

    def _refresh(self, joined: Word, now: float) -> None:
        """Compute what follows from all registers: after news, and once a second because they age.

        The counts are those of this epoch, and one that is not closed has none. The rank is by how many live workers come before
        this one in the line, but for the last prober.
        """
        self._forget(now)
        live = self._live(now)
        self._pooled = _Pooled.of(
            still_counting(heard.register.buckets, age_seconds=now - heard.written_at)
            for heard in live.values()
            if heard.register.word.order == joined.order
        )
        if joined.phase is not Phase.CLOSED:
            mine, since = self._weight(self._process), self._heard_at - IN_LINE_SECONDS
            before = (name for name, heard in live.items() if heard.written_at >= since and self._weight(name) > mine)
            self._rank = sum(name != self._prober for name in before)
        self._refreshed_at, self._fresh_until = now, now + ANNOUNCE_SECONDS

    def _note(self, process: str, heard: _Heard, now: float) -> None:
        """Take a word in. One of the dead changes nothing that is added up."""
        self._others[process] = heard
        if now - heard.written_at < LIVE_SECONDS:
            self._alive[process] = heard
            self._age_counts()
        elif self._alive.pop(process, None) is not None:
            self._age_counts()

    def _age_counts(self) -> None:
        """What is added up is old: at once, or soon where that takes long."""
        pause = max(0, len(self._alive) - PROMPT_WORKERS) * PAUSE_SECONDS
        self._fresh_until = min(self._fresh_until, self._refreshed_at + pause)

    def _forget(self, now: float) -> None:
        """Let go of words that the topic has let go of. Looks at all of them, so now and then only."""
        if now >= self._forgets_at:
            self._forgets_at = now + LIVE_SECONDS
            self._others = {name: who for name, who in self._others.items() if now - who.written_at < FORGET_SECONDS}

    def _pool(self, own: Counts, now: float) -> Pool:
        others = self._pooled
        total = others.total + own
        most_trouble = max(own, others.most_trouble, key=_trouble)
        return Pool(total, total - most_trouble, is_heard=self._is_heard(now))

    def _probe_at(self, joined: Word, q95_seconds: float, now: float) -> float:
        if not self._is_heard(now):
            return self._opened_at + SILENT_WAITS * joined.open_seconds
        turn = max(TURN_SECONDS_MIN, 2 * q95_seconds)
        if self._prober is not None:
            return self._progress_at + (self._rank + 1) * turn
        turns = 0 if self._own.phase is Phase.HALF_OPEN else self._rank
        return self._opened_at + joined.open_seconds + turns * turn

    def _weight(self, process: str) -> bytes:
        name = f"{process}\0{self._breaker}\0{self._epoch}"
        return hashlib.blake2b(name.encode(), digest_size=8).digest()

    def _live(self, now: float) -> dict[str, _Heard]:
        self._alive = {name: heard for name, heard in self._alive.items() if now - heard.written_at < LIVE_SECONDS}
        return self._alive

    def _is_heard(self, now: float) -> bool:
        return now - self._heard_at < LIVE_SECONDS

    def _note_own(self, word: Word, now: float) -> None:
        if word.order != self._own.order:
            self._own = word
            self._note_epoch(word, 0.0, now)
            self._fresh_until = -math.inf
            if word.phase is Phase.HALF_OPEN:
                self._prober = None

    def _note_epoch(self, word: Word, since_seconds: float, now: float) -> None:
        """An opening begins where it is first heard of; one that is being probed has waited."""
        if word.epoch <= self._epoch:
            return
        self._epoch = word.epoch
        self._prober = None
        waited = min(since_seconds, word.open_seconds) if word.phase is Phase.OPEN else word.open_seconds
        self._opened_at = now - waited

    # What is said

    def announce_at(self, own: Register, *, is_wanted: bool) -> float:
        """When this worker's register is due; in the past if it is due now.

        Args:
            own: as the breaker gives it.
            is_wanted: whether requests use the endpoint, or would.
        """
        is_news = own.word.order > self._word.order
        if is_news and (self._said is None or own.word.order != self._said.order):
            return -math.inf
        is_in_line = is_wanted and own.word.phase is not Phase.CLOSED
        if is_news or is_in_line or own.probes or own.has_trouble or (own.buckets and self._pooled.is_suspicious):
            return self._said_at + ANNOUNCE_SECONDS
        return self._said_at + (HEARTBEAT_SECONDS if is_wanted else REFRESH_SECONDS)

    def announcement(self, own: Register, *, is_wanted: bool, now: float) -> Register | None:
        """The register to publish now, None if it is not due."""
        if now < self.announce_at(own, is_wanted=is_wanted):
            return None
        self._note_own(own.word, now)
        self._said, self._said_at = own.word, now
        return replace(own, since_seconds=now - self._opened_at if self._epoch else 0.0)
