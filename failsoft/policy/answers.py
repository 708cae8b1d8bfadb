"""Which answer of the past may serve a request, at once or when nothing else can.

    fresh                    age < ttl, each answer's own: +-10 %         serves at once
    stale while revalidate   past that by up to 1 h                       serves at once; somebody asks the model again
    stale if error           past that by up to 24 h                      serves when no model can be in time

The words are RFC 5861's; ttl 5 min. What a request tolerates and what the stage tolerates is the same kind of number, seconds
past the time of freshness, and the smaller one holds. Answers stored together must not all go stale in one second, so each
draws its ttl, once: it travels with the answer, so that all workers call it stale at the same instant. A worker whose own ttl is
shorter goes by its own.

**Asked again.** One call, in the background, however many the stale answer serves meanwhile. It takes a permit of the full tier
that lies idle while nobody waits, so it is less urgent than the least urgent class and delays no one. It is a call of its own:
limit, breaker and retry budget count it as any first call. It is not tried again, and over when it fails, unless somebody has
joined it.

**Level.** An answer serves who accepts its level and no one else: one of level 2 never serves a floor of 1. Per key there is
one answer of each level, so that what a small model said during a failure neither hides the better answer of before nor is
lost as a last resort. Of several that would do, a fresh one comes before a stale one, then the better before the worse.

**Key.** Given by the caller. It names the tenant, so tenants never share; it has to name the revisions of models and data too,
so that a rollout begins with nothing.

**What is kept.** Answers that were ``ok``, and those from a call only: an answer from here must not come back as a new one.
Least recently used go first, by bytes. This module holds no body: it says which *names* are kept, and the shell keeps the
bodies under them. A name is the key and the level.

**Shared.** What a call answered goes into a log, partitioned as the requests are, and a worker reads of it what belongs to its
own partitions. What it reads is news only if it is newer by a second: its own come back to it, by clocks that do not agree
to the millisecond. With a partition its answers go: the next owner has them, and will know better ones.

Early refresh by chance (XFetch) is left out: it keeps a herd from meeting a stale answer, and here a herd that does is served
by it, while its revalidations join one flight.

Instants are the machine's, monotonic; who hears an answer from another worker takes its age off ``now``.

Source: RFC 5861, RFC 9111 (max-stale); research/algorithms.md §8.3, reliability.md H19, H20.
"""

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from failsoft.policy.answer import Answer, AnswerCounts, AnswerName, Freshness, Gone, Hit
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.jitter import Jitter
from failsoft.policy.outcome import Outcome

ENTRY_BYTES = 640
"""What an answer costs beside its body: 500 here, measured with keys of 64 characters, and 110 at the shell. It bounds their
number, too."""
NEWS_SECONDS = 1.0
"""By how much an answer in the log must be newer than the one there is. Clocks that are measured agree to some milliseconds."""


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
    """

    __slots__ = ("_config", "_gone", "_heard", "_kept", "_lookups", "_random", "_stored", "bytes")

    def __init__(self, config: AnswersConfig | None = None, *, random: Jitter) -> None:
        self._config = config or AnswersConfig()
        self._random = random
        self._kept: OrderedDict[AnswerName, _Kept] = OrderedDict()
        self._lookups: Counter[Freshness] = Counter()
        self._gone: Counter[Gone] = Counter()
        self._stored = self._heard = 0
        self.bytes = 0

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
        named = [kept for level in range(1, floor + 1) if (kept := self._kept.get(AnswerName(key, level))) is not None]
        found = [kept for kept in named if now < kept.fresh_until + tolerated]
        if not found:
            self._lookups[Freshness.EXPIRED if named else Freshness.MISSING] += 1
            return None
        best = min(found, key=lambda kept: now >= kept.fresh_until)
        return self._serve(Hit(best.answer, is_stale=now >= best.fresh_until))

    def draw_fresh_seconds(self) -> float:
        """How long an answer that is given now is fresh."""
        return self._config.ttl_seconds * self._random.uniform(1 - self._config.jitter, 1 + self._config.jitter)

    def store(self, answer: Answer, outcome: Outcome, *, now: float) -> list[AnswerName] | None:
        """Keep what a call said.

        Returns:
            The names that had to make room, whose bodies are to be dropped; None: this one is not kept.
        """
        known = self._kept.get(answer.name)
        if outcome is not Outcome.OK or (known is not None and known.answer.produced_at > answer.produced_at):
            return None
        dropped = self._keep(answer, now)
        self._stored += dropped is not None
        return dropped

    def hear(self, answer: Answer, *, now: float) -> list[AnswerName] | None:
        """Keep what stands in the log; returns as ``store``."""
        known = self._kept.get(answer.name)
        if known is not None and answer.produced_at < known.answer.produced_at + NEWS_SECONDS:
            return None
        dropped = self._keep(answer, now)
        self._heard += dropped is not None
        return dropped

    def expire(self, *, now: float) -> list[AnswerName]:
        """Drop what is of no use to anybody any more: bodies are other people's words. Looks at all of them."""
        return self._let_go([name for name, kept in self._kept.items() if self._is_dead(kept, now)], Gone.AGE)

    def lose(self, numbers: Collection[int]) -> list[AnswerName]:
        """Drop those of partitions that belong to others now. Looks at all of them."""
        lost = [name for name, kept in self._kept.items() if kept.answer.number in numbers]
        return self._let_go(lost, Gone.PARTITION)

    def discard(self, name: AnswerName) -> list[AnswerName]:
        """Drop an answer, because it was wrong or its owner wants it gone."""
        return self._let_go([name] if name in self._kept else [], Gone.DELETED)

    @property
    def counts(self) -> AnswerCounts:
        """What became of all there were."""
        return AnswerCounts(
            dict(self._lookups), self._stored, self._heard, dict(self._gone), len(self._kept), self.bytes
        )

    def _serve(self, hit: Hit) -> Hit | None:
        self._kept.move_to_end(hit.answer.name)
        self._lookups[Freshness.STALE if hit.is_stale else Freshness.FRESH] += 1
        return hit if self._config.enforce else None

    def _keep(self, answer: Answer, now: float) -> list[AnswerName] | None:
        longest = self._config.ttl_seconds * (1 + self._config.jitter)
        kept = _Kept(answer, min(answer.produced_at, now) + min(answer.fresh_seconds, longest))
        if kept.bytes > self._config.bytes_max or self._is_dead(kept, now):
            return None
        self._drop(answer.name)
        self._kept[answer.name] = kept
        self.bytes += kept.bytes
        return self._make_room()

    def _is_dead(self, kept: _Kept, now: float) -> bool:
        return now >= kept.fresh_until + self._config.kept_seconds

    def _make_room(self) -> list[AnswerName]:
        dropped = []
        while self.bytes > self._config.bytes_max:
            dropped += self._let_go([next(iter(self._kept))], Gone.ROOM)
        return dropped

    def _let_go(self, names: Iterable[AnswerName], reason: Gone) -> list[AnswerName]:
        gone = list(names)
        for name in gone:
            self._drop(name)
        self._gone[reason] += len(gone)
        return gone

    def _drop(self, name: AnswerName) -> None:
        kept = self._kept.pop(name, None)
        if kept is not None:
            self.bytes -= kept.bytes
