"""Inconsistent-offset, commit-ahead, commit-regression: what is said of places in the logs of requests.

*Inconsistent-offset*: two of the dumps, the producers' acknowledgements, the workers and the readers disagree on which record
stands at a place.

*Commit-ahead*: an offset is committed while a record below it has no result in the log yet. A result that was appended later
than the commit was seen does not count: had the worker died between the two, nobody would have read the record again.
What the group has is sampled, and what a worker was told of its own commits is written down by it; of each offset the
earliest sight counts. A commit beyond the end of the log is ahead of all that comes.

*Commit-regression*: of two samples the later one is lower, or a worker has committed a lower offset under the same
assignment. It loses nothing, and repeats work. Within a generation it may never be; samples do not tell generations apart and
are held to it throughout, because a new owner begins where the group is.

Offsets that an operator deleted, or whose topic was made anew, may go back: the samples from that fault on until things have had
time to recover are let pass.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator

from failsoft.runtime.worker_history import CommittedLine, TookLine
from failsoft.trials.checks.check import Check
from failsoft.trials.checks.evidence import Evidence, Place
from failsoft.trials.history.lines import ResultLine, ShownLine

Log = tuple[str, int, int]
"""Topic, incarnation, partition."""


def check_places(evidence: Evidence) -> Check:
    """Hold all who speak of a place against each other."""
    check = Check("inconsistent-offset")
    results = _check_dumps(evidence, check)
    for request in evidence.requests.values():
        for place, _ in request.acknowledged:
            if place is not None and _is_dumped(evidence, place):
                found = evidence.ids.get(place)
                check.look(found == request.id, f"{place}: acknowledged as {request.id}, the log holds {found}")
    for name, lines in evidence.history.workers.items():
        for line in lines:
            if isinstance(line, TookLine):
                place = evidence.place(line.request_class, line.partition, line.offset, line.at)
                if place is not None and place in evidence.ids:
                    check.look(evidence.ids[place] == line.id, f"{place}: {name} took {line.id}, the log holds another")
    if len(evidence.history.dumps[evidence.history.trial.results]) == 1:
        _check_readers(evidence, results, check)
    return check


def _check_dumps(evidence: Evidence, check: Check) -> dict[tuple[int, int], str | None]:
    """Hold dumps of one incarnation against each other; return which result stands where."""
    digests: dict[Place, str] = {}
    results: dict[tuple[int, int], str | None] = {}
    for topic, dumps in evidence.history.dumps.items():
        for dump in dumps:
            for line in dump.records:
                place = Place(topic, dump.begin.incarnation, line.partition, line.offset)
                known = digests.setdefault(place, line.digest)
                check.look(known == line.digest, f"{place}: two dumps hold different records")
                if isinstance(line, ResultLine):
                    results[line.partition, line.offset] = line.id
    return results


def _is_dumped(evidence: Evidence, place: Place) -> bool:
    return any(
        dump.begin.incarnation == place.incarnation
        and place.partition < len(dump.begin.bounds)
        and dump.begin.bounds[place.partition].first <= place.offset < dump.begin.bounds[place.partition].end
        for dump in evidence.history.dumps[place.topic]
    )


def _check_readers(evidence: Evidence, results: dict[tuple[int, int], str | None], check: Check) -> None:
    for name, lines in evidence.history.readers.items():
        for line in lines:
            if isinstance(line, ShownLine) and results.get((line.partition, line.offset), line.id) is not None:
                found = results.get((line.partition, line.offset), line.id)
                check.look(
                    found == line.id,
                    f"results partition {line.partition} offset {line.offset}: {name} saw {line.id}, the log holds {found}",
                )


def check_commits(evidence: Evidence) -> Check:
    """Hold what was committed against the results that were there by then."""
    check = Check("commit-ahead")
    finished = _finished(evidence)
    ends = _ends(evidence)
    for (log, offset), (at, who) in _first_seen(evidence).items():
        offsets, done_at, first = finished.get(log, ([], [], []))
        below = bisect_left(offsets, offset)
        is_done = below == 0 or done_at[below - 1] <= at
        where = Place(*log, offset)
        if offset > ends.get(log, offset):
            check.breach(f"{where} committed, and the log ends at {ends[log]} ({who})")
        else:
            unfinished = "" if is_done else f"offset {first[below - 1]} had no result at {at:.3f}"
            check.look(is_done, f"{where} committed, and {unfinished} ({who})")
    return check


def _finished(evidence: Evidence) -> dict[Log, tuple[list[int], list[float], list[int]]]:
    """Of each log: offsets; when all up to there had results; and whose result came last."""
    by_log: dict[Log, list[tuple[int, float]]] = defaultdict(list)
    for place, id_ in evidence.ids.items():
        results = evidence.requests[id_].results
        at = min((each.appended_at for each in results), default=float("inf"))
        if results or not evidence.is_taken_away(place):
            by_log[place.topic, place.incarnation, place.partition].append((place.offset, at))
    return {log: _running(sorted(records)) for log, records in by_log.items()}


def _running(records: list[tuple[int, float]]) -> tuple[list[int], list[float], list[int]]:
    latest, last, done_at, first = float("-inf"), -1, [], []
    for offset, at in records:
        if at > latest:
            latest, last = at, offset
        done_at.append(latest)
        first.append(last)
    return [offset for offset, _ in records], done_at, first


def _ends(evidence: Evidence) -> dict[Log, int]:
    return {
        (topic, dump.begin.incarnation, number): bounds.end
        for topic, dumps in evidence.history.dumps.items()
        for dump in dumps
        for number, bounds in enumerate(dump.begin.bounds)
    }


def _first_seen(evidence: Evidence) -> dict[tuple[Log, int], tuple[float, str]]:
    """Each committed offset, with its earliest sight."""
    seen: dict[tuple[Log, int], tuple[float, str]] = {}
    for log, offset, at, who in _commits(evidence):
        if (log, offset) not in seen or at < seen[log, offset][0]:
            seen[log, offset] = (at, who)
    return seen


def _commits(evidence: Evidence) -> Iterator[tuple[Log, int, float, str]]:
    classes = evidence.history.trial.classes
    grace = evidence.history.trial.limits.recovery_seconds
    topics = {class_.topic for class_ in classes.values()}
    for sample in evidence.history.samples:
        for topic, number, committed, _, _ in sample.places:
            incarnation = evidence.incarnation(topic, sample.at, grace_seconds=grace)
            if committed is not None and incarnation is not None and topic in topics:
                yield (topic, incarnation, number), committed, sample.at, "sample of the group"
    for name, lines in evidence.history.workers.items():
        for line in lines:
            if isinstance(line, CommittedLine):
                for request_class, number, offset, _ in line.offsets:
                    place = evidence.place(request_class, number, offset, line.at)
                    if place is not None:
                        yield (place.topic, place.incarnation, place.partition), offset, line.at, name


def check_regressions(evidence: Evidence) -> Check:
    """Hold each commit against the one before."""
    check = Check("commit-regression")
    before: dict[tuple[str, int], tuple[int, float]] = {}
    for sample in evidence.history.samples:
        for topic, number, committed, _, _ in sample.places:
            if committed is not None:
                known, at = before.get((topic, number), (0, sample.at))
                is_kept = committed >= known or evidence.is_forgiven(topic, at, sample.at)
                check.look(is_kept, f"{topic} partition {number}: the group went from {known} to {committed}")
                before[topic, number] = (committed, sample.at)
    for name, lines in evidence.history.workers.items():
        highest: dict[tuple[str, int, int], int] = {}
        for line in lines:
            if isinstance(line, CommittedLine):
                for request_class, number, offset, assignment in line.offsets:
                    key = (request_class, number, assignment)
                    known = highest.get(key, 0)
                    check.look(offset >= known, f"{name}: {request_class} partition {number} from {known} to {offset}")
                    highest[key] = offset
    return check
