"""All that stands in the topics of breakers and of controls, put together for an operator.

What all say is joined as the workers join it (:mod:`failsoft.policy.register`). Who opened a breaker is whose register is the
first of its epoch in the log; once compaction has dropped that one, it is who comes next. A worker that has not been heard
for half a minute is not counted: it is idle, or it is gone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from failsoft.kafka import ViewRecord
from failsoft.policy.breaker_board import LIVE_SECONDS
from failsoft.policy.breaker_control import Force
from failsoft.policy.call_counts import Counts, still_counting
from failsoft.policy.errors import MalformedRecord
from failsoft.policy.register import NEVER_OPENED, Phase, Register, Word
from failsoft.wire.control import BreakerControl, decode_control
from failsoft.wire.register import decode_register


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


@dataclass(slots=True)
class Breaker:
    """One breaker, as all say it stands.

    Attributes:
        name: ``<stage>/<tier>``, and ``/<region>`` where its tier has several.
        posts: by process.
        opener: who began the epoch, if there is one.
    """

    name: str
    posts: dict[str, Post] = field(default_factory=dict)
    word: Word = NEVER_OPENED
    opener: str | None = None

    def heard(self, process: str, post: Post) -> None:
        """Take in a register."""
        if post.register.word.epoch > self.word.epoch:
            self.opener = process
        self.word = self.word.join(post.register.word)
        self.posts[process] = post

    @property
    def opened_at(self) -> float | None:
        """When the epoch was opened, as far as anybody knows; None: never."""
        of_epoch = (post.opened_at for post in self.posts.values() if post.register.word.epoch == self.word.epoch)
        return min(of_epoch, default=None) if self.word.epoch else None

    def live(self, now: float) -> dict[str, Post]:
        """Who speaks still."""
        return {process: post for process, post in sorted(self.posts.items()) if post.is_live(now)}

    def state(self, now: float) -> str:
        """In a word: closed, open, waited (its time is over, and nobody has tried yet) or half_open."""
        if self.word.phase is Phase.OPEN and now >= (self.opened_at or 0.0) + self.word.open_seconds:
            return "waited"
        return self.word.phase.name.lower()


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
