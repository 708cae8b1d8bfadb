"""Holds what came back against what was accepted: the judge of a trial. Values in, values out.

* *Accepted*: the broker acknowledged the request. Only those count; a request whose acknowledgement was lost may have a
  result or none.
* *Lost*: accepted, and without a visible result after the trial has come to rest.
* *Repeat in the log*: a record of a result id that is not the first one. A crash makes some, and they are no fault.
* *Visible repeat*: a result id that a reader of results was shown again. One is a broken promise.
* *Phantom*: a result that answers nothing that was asked: unreadable, of our files but of no line in them, or naming
  another request than the one whose id it carries.
* A request belongs to the phase in which it was *sent*, whenever its end comes.
* *In time*: ok, and appended to the log before the deadline. Both instants are the broker's times of append.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from failsoft.kafka.results import ResultRecord
from failsoft.policy.errors import MalformedRecord
from failsoft.policy.outcome import Outcome
from failsoft.policy.request import ClassName
from failsoft.wire import Result
from failsoft.wire.identity import result_id
from failsoft.wire.result import decode_result


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of the trial.

    Attributes:
        phase: in which it is sent.
        request_class: urgency.
        source: the first half of its identity.
        custom_id: the sender's name for it; the answer has to echo it.
        budget_seconds: from its append to its deadline.
    """

    phase: str
    request_class: ClassName
    source: str
    custom_id: str
    budget_seconds: float


@dataclass(frozen=True, slots=True)
class ClassTally:
    """How the accepted requests of one class in one phase ended.

    Latencies are from append to append, None where nothing ended.
    """

    accepted: int
    in_time: int
    lost: int
    visible_repeats: int
    levels: Mapping[int, int]
    tiers: Mapping[str, int]
    outcomes: Mapping[Outcome, int]
    p50_seconds: float | None
    p99_seconds: float | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a trial has shown.

    Attributes:
        requests: accepted ones.
        lost: accepted, without a result.
        visible_repeats: results that were shown again.
        repeats_in_log: records beyond the first of their id.
        phantoms: results that answer nothing that was asked.
        phases: the same by phase and class, and more; phases in order, classes most urgent first.
        results: request's result id -> the result that readers see.
    """

    requests: int
    lost: int
    visible_repeats: int
    repeats_in_log: int
    phantoms: int
    phases: Mapping[str, Mapping[ClassName, ClassTally]]
    results: Mapping[str, Result] = field(repr=False)

    @property
    def tallies(self) -> Iterator[ClassTally]:
        """Of all phases and classes."""
        for classes in self.phases.values():
            yield from classes.values()

    @property
    def is_kept(self) -> bool:
        """Whether the promise was: nothing lost, nothing repeated before a reader's eyes, nothing out of thin air."""
        return not (self.lost or self.visible_repeats or self.phantoms)


class Ledger:
    """What was asked, accepted and answered.

    Args:
        asked: result id -> request, all that will be sent, in order.
        classes: most urgent first.
    """

    def __init__(self, asked: Mapping[str, Asked], *, classes: Sequence[ClassName]) -> None:
        self.asked = dict(asked)
        self._classes = classes
        self._sources = {request.source for request in asked.values()}
        self._accepted_at: dict[str, float] = {}
        self._in_log: Counter[str] = Counter()
        self._shown: Counter[str] = Counter()
        self._results: dict[str, tuple[Result, float]] = {}
        self._phantoms = 0

    @property
    def accepted(self) -> int:
        """How many requests were acknowledged."""
        return len(self._accepted_at)

    @property
    def first_accepted_at(self) -> float:
        """When the first request was appended; no result of the trial can be older."""
        return min(self._accepted_at.values())

    def accept(self, id_: str, *, appended_at: float) -> None:
        """The broker has acknowledged the request with this result id."""
        if id_ not in self.asked:
            raise ValueError(f"{id_} was not asked")
        self._accepted_at[id_] = appended_at

    def see_in_log(self, record: ResultRecord) -> None:
        """A record of the topic of results, as it stands in the log."""
        try:
            result = decode_result(record.headers, record.value)
        except MalformedRecord:
            self._phantoms += 1
            return
        if result.request.source not in self._sources:
            return  # somebody else's, on a cluster that is shared
        asked = self.asked.get(result.id)
        if asked is None or result.id != result_id(result.request) or result.custom_id != asked.custom_id:
            self._phantoms += 1
            return
        self._in_log[result.id] += 1

    def see_shown(self, record: ResultRecord) -> None:
        """A record that a reader of results was shown."""
        try:
            result = decode_result(record.headers, record.value)
        except MalformedRecord:
            return  # a phantom, which the log tells; nothing has been answered by it
        if result.id in self.asked:
            self._shown[result.id] += 1
            self._results.setdefault(result.id, (result, record.timestamp))

    def verdict(self) -> Verdict:
        """Judge; everything that will ever come has been seen."""
        ids: dict[tuple[str, ClassName], list[str]] = {}
        for id_ in self._accepted_at:
            asked = self.asked[id_]
            ids.setdefault((asked.phase, asked.request_class), []).append(id_)
        phases = {
            phase: {name: self._tally(ids.get((phase, name), [])) for name in self._classes}
            for phase in dict.fromkeys(asked.phase for asked in self.asked.values())
        }
        tallies = [tally for classes in phases.values() for tally in classes.values()]
        return Verdict(
            requests=self.accepted,
            lost=sum(tally.lost for tally in tallies),
            visible_repeats=sum(count - 1 for count in self._shown.values()),
            repeats_in_log=sum(count - 1 for count in self._in_log.values()),
            phantoms=self._phantoms,
            phases=phases,
            results={id_: result for id_, (result, _) in self._results.items()},
        )

    def served_per_second(self, phase: str, level: int, *, seconds: float) -> float:
        """How many results of a level came while a phase was sending, whenever their requests were sent.

        Args:
            phase: in which something was accepted; it begins with its first request.
            level: which.
            seconds: how long it was sending.
        """
        began_at = min(at for id_, at in self._accepted_at.items() if self.asked[id_].phase == phase)
        came = [
            result
            for result, appended_at in self._results.values()
            if result.is_ok and result.level == level and began_at <= appended_at < began_at + seconds
        ]
        return len(came) / seconds

    def _tally(self, ids: list[str]) -> ClassTally:
        ended = {id_: self._results[id_] for id_ in ids if id_ in self._results}
        results = [result for result, _ in ended.values()]
        latencies = [appended_at - self._accepted_at[id_] for id_, (_, appended_at) in ended.items()]
        return ClassTally(
            accepted=len(ids),
            in_time=sum(self._is_in_time(id_, *end) for id_, end in ended.items()),
            lost=len(ids) - len(ended),
            visible_repeats=sum(max(0, self._shown[id_] - 1) for id_ in ids),
            levels=Counter(result.level for result in results if result.is_ok and result.level is not None),
            tiers=Counter(result.tier for result in results if result.is_ok and result.tier is not None),
            outcomes=Counter(result.outcome for result in results),
            p50_seconds=quantile(latencies, 0.5),
            p99_seconds=quantile(latencies, 0.99),
        )

    def _is_in_time(self, id_: str, result: Result, appended_at: float) -> bool:
        return result.is_ok and appended_at <= self._accepted_at[id_] + self.asked[id_].budget_seconds


def quantile(values: Iterable[float], share: float) -> float | None:
    """The nearest rank: the least value that at least this share of all values does not exceed; None of no values."""
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None
