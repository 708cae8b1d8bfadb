"""Phantom: a result, or a dead letter, of nothing that was asked.

It is no result at all; it names another request than the one whose id it carries; its id is of no request that was sent or stands
in the log; each send of that request surely failed; or it answers another question than the one that was asked, which shows where
models repeat what they were asked. A send of which nothing is known may have a result.
"""

from failsoft.trials.checks.check import Check
from failsoft.trials.checks.evidence import Evidence, Place, Request
from failsoft.trials.history.lines import DeadLetterLine


def check_phantoms(evidence: Evidence) -> Check:
    """Hold all results and dead letters against what was sent."""
    check = Check("phantom")
    for place, stray in evidence.strays:
        check.breach(f"{place}: {stray.problem or f'{stray.id} is the result of nothing that was sent'}")
    for request in evidence.requests.values():
        if request.results:
            is_asked = request.is_accepted or request.is_unknown
            check.look(is_asked, f"{request.id} has a result, though it surely was not sent")
            _check_answers(request, check)
    _check_dead_letters(evidence, check)
    return check


def _check_answers(request: Request, check: Check) -> None:
    for result in request.results:
        if request.asks is not None and result.answers is not None and result.answers != request.asks:
            check.find(f"{request.id}: its result at offset {result.offset} answers another question than it asked")


def _check_dead_letters(evidence: Evidence, check: Check) -> None:
    trial = evidence.history.trial
    topics = {class_.topic for class_ in trial.classes.values()}
    places = {(place.topic, place.partition, place.offset) for place in evidence.ids}
    for dump in evidence.history.dumps[trial.dead_letters]:
        for line in dump.records:
            if isinstance(line, DeadLetterLine) and (line.of_topic in topics or line.problem is not None):
                place = Place(trial.dead_letters, dump.begin.incarnation, line.partition, line.offset)
                of = (line.of_topic, line.of_partition, line.of_offset)
                is_known = of in places or _is_beyond_dumps(evidence, of)
                check.look(is_known, f"{place}: {line.problem or f'a dead letter of {of}, where nothing stands'}")


def _is_beyond_dumps(evidence: Evidence, of: tuple[str | None, int | None, int | None]) -> bool:
    """Whether the record stood below what the log held when it was dumped, or went with its topic before it was."""
    topic, partition, offset = of
    if topic is None or partition is None or offset is None:
        return False
    dumps = evidence.history.dumps[topic]
    return any(topic in fault.recreated for fault in evidence.faults) or any(
        partition < len(dump.begin.bounds) and offset < dump.begin.bounds[partition].first for dump in dumps
    )
