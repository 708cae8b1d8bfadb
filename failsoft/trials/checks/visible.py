"""Duplicate-visible: a result that a reader is shown twice, or one that is not the first in the log.

The log decides which record of a result is the result: the first (:mod:`failsoft.kafka.results`). A reader that is shown a later
one contradicts every other reader, though it has seen the id only once. Repeats further apart than the readers' horizon are
outside of the promise.
"""

from dataclasses import dataclass

from failsoft.kafka.results import HORIZON_SECONDS
from failsoft.trials.checks.check import Check
from failsoft.trials.checks.evidence import Evidence, Request
from failsoft.trials.history.lines import ResultLine, ShownLine


def check_visible(evidence: Evidence) -> Check:
    """Hold every reader against itself, and against the log."""
    check = Check("duplicate-visible")
    is_remade = len(evidence.history.dumps[evidence.history.trial.results]) > 1
    for name, lines in evidence.history.readers.items():
        seen: set[str] = set()
        for line in lines:
            if not isinstance(line, ShownLine) or line.id not in evidence.requests:
                continue  # a phantom, or none of the trial's: the log tells
            results = evidence.requests[line.id].results
            if line.id in seen:
                check.breach(f"{name} was shown {line.id} again, partition {line.partition} offset {line.offset}")
            else:
                is_first = is_remade or _is_first(line, results)
                check.look(is_first, f"{name} was shown {line.id} at offset {line.offset}, which is not its first")
            seen.add(line.id)
    return check


def _is_first(line: ShownLine, results: list[ResultLine]) -> bool:
    """Whether no earlier record of it stands within the horizon. Of what the dumps do not hold nothing is known."""
    shown = next((each for each in results if (each.partition, each.offset) == (line.partition, line.offset)), None)
    if shown is None:
        return True
    before = results[: results.index(shown)]
    return all(shown.appended_at - each.appended_at > HORIZON_SECONDS for each in before)


@dataclass(frozen=True, slots=True)
class Repeats:
    """What the log of results holds more than once.

    Attributes:
        records: all there are.
        repeats: of them, those that repeat an earlier one.
        by_operator: of these, those that somebody asked for: he took the group's offset of their request's partition away, which
            says "read it again from the beginning". Each such act explains one repeat of a request that had its result before.
    """

    records: int
    repeats: int
    by_operator: int

    @property
    def share(self) -> float:
        """Of the records, those that nobody has asked for again."""
        return (self.repeats - self.by_operator) / self.records if self.records else 0.0


def repeats_in_log(evidence: Evidence) -> Repeats:
    """Count the log of results."""
    answered = [request for request in evidence.requests.values() if request.results]
    asked_again = sum(_asked_again(evidence, request) for request in answered)
    records = sum(len(request.results) for request in answered)
    return Repeats(records, records - len(answered), asked_again)


def _asked_again(evidence: Evidence, request: Request) -> int:
    """How many of its repeats stand behind an act that forgot its partition's offset, with a result before that act ended."""
    first, *later = sorted(line.appended_at for line in request.results)
    acts = [
        fault
        for fault in evidence.faults
        if first <= fault.ended_at and any(fault.forgot_offset_of(place) for place, _ in request.records)
    ]
    explained = 0
    for at in later:
        if act := next((act for act in acts if act.began_at <= at), None):
            acts.remove(act)
            explained += 1
    return explained
