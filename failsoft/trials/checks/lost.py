"""Lost: an accepted request without a result, after all has come to rest.

What an operator took away before it was read is counted apart: no worker can answer what is not there. So is nothing else: a
dead letter, a result that names another request, or a process that died with the answer in hand excuses nobody.

A result that a reader never sees is lost to who waits for it. A reader that was started at the beginning of the log and has
read to the end that it had then must have been shown every request's result that was appended before it started.
"""

from collections.abc import Iterator, Sequence

from failsoft.trials.checks.check import Check
from failsoft.trials.checks.evidence import Evidence, Request
from failsoft.trials.history.lines import ReaderEndLine, ReaderLine, ReaderStartLine, ShownLine

CLOCK_SECONDS = 0.01
"""A record and its reader are told apart by clocks of a millisecond."""


def check_lost(evidence: Evidence) -> tuple[Check, int]:
    """Return what was found, and how many requests an operator's act has cost."""
    check, by_operator = Check("lost"), 0
    for request in evidence.accepted:
        if request.results or not _is_taken_away(evidence, request):
            check.look(bool(request.results), _told(request))
        else:
            by_operator += 1
    for name, lines in evidence.history.readers.items():
        for request in _hidden(evidence, lines):
            check.find(f"result {request.id} was never shown to {name}")
    return check, by_operator


def _is_taken_away(evidence: Evidence, request: Request) -> bool:
    """Whether each record of it that is known was; one that was acknowledged while the topic was deleted went with it."""
    places = {place for place, _ in (*request.acknowledged, *request.records)}
    return all(_is_remade(evidence, request) if place is None else evidence.is_taken_away(place) for place in places)


def _is_remade(evidence: Evidence, request: Request) -> bool:
    topic = evidence.history.trial.classes[request.request_class].topic
    return any(evidence.incarnation(topic, at) is None for _, at in request.acknowledged)


def _told(request: Request) -> str:
    if not request.records:
        return f"{request.id}: acknowledged, and it stands neither in the log of requests nor in that of results"
    return f"{request.id}: {request.records[0][0]}, appended at {request.accepted_at:.3f}, has no result"


def _hidden(evidence: Evidence, lines: Sequence[ReaderLine]) -> Iterator[Request]:
    """Whose result a reader that read all was not shown."""
    starts = [line for line in lines if isinstance(line, ReaderStartLine)]
    is_whole = any(isinstance(line, ReaderEndLine) for line in lines) and starts and starts[0].is_from_beginning
    if not is_whole or len(evidence.history.dumps[evidence.history.trial.results]) > 1:
        return
    shown = {line.id for line in lines if isinstance(line, ShownLine)}
    for request in evidence.accepted:
        first = request.result
        if first is not None and first.appended_at < starts[0].at - CLOCK_SECONDS and request.id not in shown:
            yield request
