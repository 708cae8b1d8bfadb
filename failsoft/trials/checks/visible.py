"""Duplicate-visible: a result that a reader is shown twice, or one that is not the first in the log.

The log decides which record of a result is the result: the first (:mod:`failsoft.kafka.results`). A reader that is shown a later
one contradicts every other reader, though it has seen the id only once. Repeats further apart than the readers' horizon are
outside of the promise.
"""

from failsoft.kafka.results import HORIZON_SECONDS
from failsoft.trials.checks.check import Check
from failsoft.trials.checks.evidence import Evidence
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


def repeats_in_log(evidence: Evidence) -> tuple[int, int]:
    """How many records of results repeat an earlier one, and how many records there are."""
    counts = [len(request.results) for request in evidence.requests.values() if request.results]
    return sum(count - 1 for count in counts), sum(counts)
