"""Which answer of the past may serve a request, at once or when nothing else can.

    fresh                    age < ttl, each answer's own: +-10 %         serves at once
    stale while revalidate   past that by up to 1 h                       serves at once; somebody asks the model again
    stale if error           past that by up to 24 h                      serves when no model can be in time

The words are RFC 5861's; ttl 5 min. What a request tolerates and what the stage tolerates is the same kind of number, seconds
past the time of freshness, and the smaller one holds. Answers stored together must not all go stale in one second, so each
draws its ttl.

**Level.** An answer serves who accepts its level and no one else: one of level 2 never serves a floor of 1. Per key there is
one answer of each level, so that what a small model said during a failure neither hides the better answer of before nor is
lost as a last resort. Of several that would do, a fresh one comes before a stale one, then the better before the worse.

**Key.** Given by the caller. It names the tenant, so tenants never share; it has to name the revisions of models and data too,
so that a rollout begins with nothing.

**What is kept.** Answers that were ``ok``, and those from a call only: an answer from here must not come back as a new one.
Least recently used go first, by bytes. This module holds no body: it says which *names* are kept, and the shell keeps the
bodies under them. A name is the key and the level.

Early refresh by chance (XFetch) is left out: it keeps a herd from meeting a stale answer, and here a herd that does is served
by it, while its revalidations join one flight.

Instants are the machine's, monotonic; who hears an answer from another worker takes its age off ``now``.

Source: RFC 5861, RFC 9111 (max-stale); research/algorithms.md §8.3, reliability.md H19, H20.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

from failsoft.policy.errors import ConfigurationError
from failsoft.policy.jitter import Jitter
from failsoft.policy.outcome import Outcome

ENTRY_BYTES = 600
"""What an answer costs beside its body: 460 here, measured with keys of 64 characters, and an entry at the shell. It bounds their
number, too."""


@dataclass(frozen=True, slots=True)
class AnswersConfig:
    """What a stage tolerates.

    Attributes:
        ttl_seconds: how long an answer is fresh.
        jitter: by which part of it either way that differs, 0-1.
        revalidate_seconds: how long past that it serves at once. 0: never.
        error_seconds: how long past that it serves as the last resort. 0: never.
        bytes_max: of all answers.
        enforce: False counts what would have been served, and serves nothing.
    """

    ttl_seconds: float = 300.0
    jitter: float = 0.1
    revalidate_seconds: float = 3_600.0
    error_seconds: float = 86_400.0
    bytes_max: int = 64 * 1024 * 1024
    enforce: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.ttl_seconds <= 0:
            raise ConfigurationError(f"answers: ttl_seconds {self.ttl_seconds} must be above zero")
        if not 0 <= self.jitter < 1:
            raise ConfigurationError(f"answers: jitter {self.jitter} is a part of the ttl, from 0 to below 1")
        if min(self.revalidate_seconds, self.error_seconds) < 0:
            raise ConfigurationError("answers: revalidate_seconds and error_seconds are zero or more")
        if self.bytes_max <= ENTRY_BYTES:
            raise ConfigurationError(f"answers: bytes_max {self.bytes_max} has room for none")

    @property
    def kept_seconds(self) -> float:
        """How long past its freshness an answer may be of any use."""
        return max(self.revalidate_seconds, self.error_seconds)


class AnswerName(NamedTuple):
    """Under what a body is kept."""

    key: str
    level: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model once said.

    Attributes:
        name: key and level.
        tier: which said it.
        size_bytes: of its body.
        produced_at: when, monotonic seconds.
    """

    name: AnswerName
    tier: str
    size_bytes: int
    produced_at: float


@dataclass(frozen=True, slots=True)
class Hit:
    """An answer that will do.

    Attributes:
        answer: which.
        is_stale: it is past its time; the result says so, and what served at once is to be revalidated.
    """

    answer: Answer
    is_stale: bool


class _Kept(NamedTuple):
    answer: Answer
    fresh_until: float

    @property
    def bytes(self) -> int:
        return self.answer.size_bytes + ENTRY_BYTES


class Answers:
    """The answers that one worker may serve.

    Args:
        config: what the stage tolerates.
        random: draws how long each answer is fresh.

    Attributes:
        bytes: what they take.
        served_fresh: how often one was found fresh.
        served_stale: how often one was found stale. With ``enforce=False`` both count what would have been served.
    """

    __slots__ = ("_config", "_kept", "_random", "bytes", "served_fresh", "served_stale")

    def __init__(self, config: AnswersConfig | None = None, *, random: Jitter) -> None:
        self._config = config or AnswersConfig()
        self._random = random
        self._kept: OrderedDict[AnswerName, _Kept] = OrderedDict()
        self.bytes = 0
        self.served_fresh = self.served_stale = 0

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    def find(
        self,
        key: str,
        *,
        floor: int,
        max_stale_seconds: float | None = None,
        is_last_resort: bool = False,
        now: float,
    ) -> Hit | None:
        """The best answer that will do, None if there is none.

        Args:
            key: what is asked.
            floor: the lowest level that will do. That is the wanted level, not the floor, as long as a model may be asked.
            max_stale_seconds: what the request tolerates; None: what the stage does.
            is_last_resort: no model can be in time.
            now: monotonic seconds.
        """
        stage = self._config.error_seconds if is_last_resort else self._config.revalidate_seconds
        tolerated = stage if max_stale_seconds is None else min(stage, max_stale_seconds)
        named = (self._kept.get(AnswerName(key, level)) for level in range(1, floor + 1))
        found = [kept for kept in named if kept is not None and now < kept.fresh_until + tolerated]
        if not found:
            return None
        best = min(found, key=lambda kept: now >= kept.fresh_until)
        return self._serve(Hit(best.answer, is_stale=now >= best.fresh_until))

    def store(self, answer: Answer, outcome: Outcome, *, now: float) -> list[AnswerName] | None:
        """Keep what a call said.

        Returns:
            The names that had to make room, whose bodies are to be dropped; None: this one is not kept.
        """
        lives = self._config.ttl_seconds * self._random.uniform(1 - self._config.jitter, 1 + self._config.jitter)
        kept = _Kept(answer, min(answer.produced_at, now) + lives)
        if outcome is not Outcome.OK or kept.bytes > self._config.bytes_max or not self._is_news(kept, now):
            return None
        self._drop(answer.name)
        self._kept[answer.name] = kept
        self.bytes += kept.bytes
        return self._make_room()

    def expire(self, *, now: float) -> list[AnswerName]:
        """Drop what is of no use to anybody any more: bodies are other people's words. Looks at all of them."""
        old = [name for name, kept in self._kept.items() if self._is_dead(kept, now)]
        for name in old:
            self._drop(name)
        return old

    def discard(self, key: str) -> list[AnswerName]:
        """Drop all answers of a key, because one was wrong or its owner wants it gone."""
        names = [name for name in (AnswerName(key, level) for level in (1, 2, 3)) if name in self._kept]
        for name in names:
            self._drop(name)
        return names

    def _serve(self, hit: Hit) -> Hit | None:
        self._kept.move_to_end(hit.answer.name)
        self.served_stale += hit.is_stale
        self.served_fresh += not hit.is_stale
        return hit if self._config.enforce else None

    def _is_news(self, kept: _Kept, now: float) -> bool:
        """Not older than the one there is: a log that is read again tells of the past."""
        known = self._kept.get(kept.answer.name)
        is_older = known is not None and known.answer.produced_at > kept.answer.produced_at
        return not is_older and not self._is_dead(kept, now)

    def _is_dead(self, kept: _Kept, now: float) -> bool:
        return now >= kept.fresh_until + self._config.kept_seconds

    def _make_room(self) -> list[AnswerName]:
        dropped = []
        while self.bytes > self._config.bytes_max:
            name = next(iter(self._kept))
            self._drop(name)
            dropped.append(name)
        return dropped

    def _drop(self, name: AnswerName) -> None:
        kept = self._kept.pop(name, None)
        if kept is not None:
            self.bytes -= kept.bytes
