"""All that stands in the topics of breakers and of controls, put together for an operator.

What all say is joined as the workers join it (:mod:`failsoft.policy.register`). Who opened a breaker is whose register is the
first of its epoch in the log; once compaction has dropped that one, it is who comes next. A worker that has not been heard
for half a minute is not counted: it is idle, or it is gone.

Between stages each worker goes by itself (:mod:`failsoft.policy.stage_breaker`). Nothing is joined there: of those who speak, the
one that lets least through is shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from failsoft.kafka import ViewRecord
from failsoft.policy.breaker_board import LIVE_SECONDS
from failsoft.policy.breaker_control import Force
from failsoft.policy.call_counts import Counts, still_counting
from failsoft.policy.errors import MalformedRecord
from failsoft.policy.register import BETWEEN_STAGES, NEVER_OPENED, Phase, Register, Word
from failsoft.wire.control import BreakerControl, decode_control
from failsoft.wire.register import decode_register

SAME_NEWS_SECONDS = 1.0
"""Stages tell of their ends once a second, and all workers hear the same."""


@dataclass(frozen=True, slots=True)
class Post:
    """One worker's register, and when it was appended, epoch seconds."""

    register: Register
    at: float

    @property
    def opened_at(self) -> float:
        """When its epoch was opened, as far as it knows."""
        return self.at - self.register.since_seconds

    def is_live(self, now: float) -> bool:
        """Whether its writer speaks still."""
        return now - self.at < LIVE_SECONDS

    def counts(self, now: float) -> Counts:
        """What is left of its counts."""
        return still_counting(self.register.buckets, age_seconds=max(0.0, now - self.at))


@dataclass(frozen=True, slots=True)
class Stand:
    """How a breaker stands.

    Attributes:
        word: that holds.
        opener: who began its epoch, if there is one.
        opened_at: when, as far as anybody knows, epoch seconds; None: never.
    """

    word: Word = NEVER_OPENED
    opener: str | None = None
    opened_at: float | None = None

    def state(self, now: float) -> str:
        """In a word: closed, open, waited (its time is over, and nobody has tried yet) or half_open."""
        if self.word.phase is Phase.OPEN and now >= (self.opened_at or 0.0) + self.word.open_seconds:
            return "waited"
        return self.word.phase.name.lower()


@dataclass(slots=True)
class Breaker:
    """One breaker, as all say it stands.

    Attributes:
        name: ``<stage>/<tier>``, and ``/<region>`` where its tier has several; ``stage:<stage>/<class>`` before a stage.
        posts: by process.
    """

    name: str
    posts: dict[str, Post] = field(default_factory=dict)
    _joined: Word = NEVER_OPENED
    _opener: str | None = None

    def heard(self, process: str, post: Post) -> None:
        """Take in a register."""
        if post.register.word.epoch > self._joined.epoch:
            self._opener = process
        self._joined = self._joined.join(post.register.word)
        self.posts[process] = post

    def stand(self, now: float) -> Stand:
        """How it stands now."""
        if self.name.startswith(BETWEEN_STAGES):
            return self._least(now)
        word = self._joined
        of_epoch = (post.opened_at for post in self.posts.values() if post.register.word.epoch == word.epoch)
        return Stand(word, self._opener, min(of_epoch, default=None) if word.epoch else None)

    def live(self, now: float) -> dict[str, Post]:
        """Who speaks still."""
        return {process: post for process, post in sorted(self.posts.items()) if post.is_live(now)}

    def _least(self, now: float) -> Stand:
        """Of those who speak still, who lets least through; of several the one that has done so for longest.

        Who opened within a second of that one did so for the same news: of them the first by name, since from word to word now
        one, now another comes a little later.
        """
        live = self.live(now)
        if not live:
            return Stand()
        least = min(post.register.word.phase for post in live.values())
        those = {process: post for process, post in live.items() if post.register.word.phase is least}
        until = min(post.opened_at for post in those.values()) + SAME_NEWS_SECONDS
        process, post = next((process, post) for process, post in those.items() if post.opened_at < until)
        word = post.register.word
        return Stand(word, process, post.opened_at) if word.epoch else Stand()


class NoticeBoard:
    """What was read so far."""

    def __init__(self) -> None:
        self.breakers: dict[str, Breaker] = {}
        self.malformed = 0
        self._controls: dict[str, BreakerControl] = {}
        """By breaker or tier, the latest last."""

    def registers(self, records: Sequence[ViewRecord]) -> None:
        """Take records of ``<pipeline>.breakers``."""
        for record in records:
            try:
                name, process, register = decode_register(record.key, record.value, record.headers)
            except MalformedRecord:
                self.malformed += 1
                continue
            breaker = self.breakers.setdefault(name, Breaker(name))
            if register is None:
                breaker.posts.pop(process, None)
            else:
                breaker.heard(process, Post(register, record.appended_at))

    def controls(self, records: Sequence[ViewRecord]) -> None:
        """Take records of ``<pipeline>.controls``."""
        for record in records:
            try:
                control = None if record.value is None else decode_control(record.value, record.headers)
            except MalformedRecord:
                self.malformed += 1
                continue
            if control is not None:
                self._controls.pop(control.breaker, None)
                self._controls[control.breaker] = control
                self.breakers.setdefault(control.breaker, Breaker(control.breaker))

    def forced(self, name: str, now: float) -> BreakerControl | None:
        """An operator's word that holds now, on this breaker or on its tier in all regions: the later of both, as at workers."""
        names = (name, name.rpartition("/")[0])
        control = next((said for said in reversed(self._controls.values()) if said.breaker in names), None)
        is_forced = control is not None and control.force is not Force.AUTO and (control.until or 0.0) > now
        return control if is_forced else None
