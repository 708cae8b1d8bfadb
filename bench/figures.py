"""What a run of a contest comes to, in the words of every report of this project (:mod:`failsoft.simulation.report`).

*In time*: ok, and in the log before the deadline. *Value*: 1, .7 and .2 for levels 1, 2 and 3 in time, else nothing.

*Wasted work* is the part of both models' slot-seconds that brought nobody an answer in time: cut calls, late answers, what was
under way at the end. A useful call counts with the mean time of its model's answered calls, since a server cannot know what its
answers are for::

    1 - sum over models (calls whose answer came in time x mean seconds of an answered call) / busy seconds

*Repeated calls* ask a model what it was asked before: retries, and questions that could have been shared. *Recovery* is how
long after the end of a fault it takes until, of what is sent in 3 s, the part answered at level 1 is .9 of what it was before the
fault.

*The ceiling* is the blind bound: what no rule can beat that knows all arrivals and the fault but no single service time, and cuts
no call of the large model before its deadline. Where calls are of very many lengths, cutting the long ones early can beat it.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from bench.contest import CAPACITY, MIX, SIGMA, Answer, Case, Measured
from bench.served_pipeline import LARGE_SECONDS, LARGE_SLOTS, SMALL_SECONDS, SMALL_SLOTS
from failsoft.simulation.bound import Served, Station, blind_bound
from failsoft.simulation.latency_law import widened
from failsoft.simulation.prediction import Predicted
from failsoft.simulation.report import LEVEL_VALUES, Summary, quantiles
from failsoft.simulation.workload import Ask

WINDOW_SECONDS, STEP_SECONDS = 3.0, 0.25
BACK_SHARE = 0.9
SMALL = Station(SMALL_SLOTS, SMALL_SECONDS, SIGMA)


def summary(measured: Measured, request_class: str | None = None) -> Summary:
    """The figures of one class, or of all. Whose a model's second was is not known, so work is told of all only."""
    asks = [ask for ask in measured.case.asks if request_class in {None, ask.request_class}]
    ended = [(ask, answer) for ask in asks if (answer := measured.answers.get(ask.number))]
    in_time = [answer for ask, answer in ended if is_in_time(measured, ask, answer)]
    p50, p95, p99 = quantiles([answer.at - measured.sent_at[ask.number] for ask, answer in ended], (0.5, 0.95, 0.99))
    calls = sum(account["calls"] for account in measured.account.values())
    return Summary(
        offered=len(asks),
        in_time=len(in_time),
        levels=_counted(answer.level for answer in in_time),
        tiers=_counted(answer.tier for answer in in_time),
        outcomes=_counted(answer.outcome for _, answer in ended),
        value=math.fsum(LEVEL_VALUES[answer.level or 3] for answer in in_time) / max(1, len(asks)),
        wasted_work=wasted_share(measured) if request_class is None else math.nan,
        calls_per_request=calls / len(asks) if request_class is None else math.nan,
        p50_seconds=p50,
        p95_seconds=p95,
        p99_seconds=p99,
    )


def is_in_time(measured: Measured, ask: Ask, answer: Answer) -> bool:
    """Answered, and before the deadline."""
    return answer.outcome == "ok" and answer.at <= measured.sent_at[ask.number] + ask.budget_seconds


def wasted_share(measured: Measured) -> float:
    """The part of the models' seconds that brought no answer in time."""
    useful = 0.0
    for model, account in measured.account.items():
        calls = {
            answer.call
            for ask in measured.case.asks
            if (answer := measured.answers.get(ask.number))
            and answer.tier == model
            and is_in_time(measured, ask, answer)
        }
        useful += len(calls) * (account["busy_seconds"] - account["wasted_seconds"]) / max(1, account["answered"])
    busy = sum(account["busy_seconds"] for account in measured.account.values())
    return max(0.0, 1 - useful / busy) if busy else 0.0


def repeated_calls(measured: Measured) -> int:
    """How many calls asked a model what it was asked before."""
    return sum(account["repeated"] for account in measured.account.values())


def recovery_seconds(measured: Measured, request_class: str | None = None) -> float | None:
    """From the end of the fault until level 1 is back; None: not before the last arrival, or nothing was wrong."""
    trouble = measured.case.trouble
    if trouble is None:
        return None
    healthy = _full_share(measured, request_class, 0.0, trouble.begins_at) or 1.0
    last = max(ask.at for ask in measured.case.asks) - WINDOW_SECONDS
    at = trouble.ends_at
    while at <= last:
        share = _full_share(measured, request_class, at, at + WINDOW_SECONDS)
        if share is not None and share >= BACK_SHARE * healthy:
            return at - trouble.ends_at
        at += STEP_SECONDS
    return None


def ceiling(case: Case, large: Served | None = None, small: Served = SMALL) -> float:
    """The blind bound of a case, as value per request."""
    return blind_bound(case.asks, large or station(case), small) / len(case.asks)


def station(case: Case) -> Station:
    """The large model as the bound sees it."""
    if case.trouble is None:
        return Station(LARGE_SLOTS, LARGE_SECONDS, SIGMA)
    span, faults = (case.trouble.begins_at, case.trouble.ends_at), case.trouble.faults
    return Station(
        LARGE_SLOTS,
        LARGE_SECONDS,
        SIGMA,
        down=span if faults.hang or faults.outage else (0.0, 0.0),
        widened=span,
        widened_sigma=widened(SIGMA, faults.widen),
        slowed=span,
        slow=faults.slow,
    )


def report(measured: Measured, possible: float) -> dict[str, Any]:
    """All figures of one run, for a file."""
    total = summary(measured)
    classes = {load.request_class: _row(summary(measured, load.request_class)) for load in MIX}
    recovery = {name: recovery_seconds(measured, name) for name in classes} if measured.case.trouble else {}
    for name, seconds in recovery.items():
        classes[name]["recovery_seconds"] = seconds
    return {
        "total": {
            **_row(total),
            "of_ceiling": round(total.value / possible, 4),
            "repeated_calls": repeated_calls(measured),
            **({"recovery_seconds": recovery_seconds(measured)} if recovery else {}),
        },
        **classes,
        "models": measured.account,
        "sent_late_seconds": round(measured.late_seconds, 3),
        "worker_cpu_ms_per_request": round(1_000 * measured.worker_cpu_seconds / max(1, total.offered), 2),
        "processors_busy_share": round(measured.busy_share, 3),
    }


def as_predicted(load: float, measured: Measured) -> Predicted:
    """The same in the form that is drawn over load."""
    classes = {each.request_class: summary(measured, each.request_class) for each in MIX}
    return Predicted(load, load * CAPACITY, classes, summary(measured), 0)


def _row(found: Summary) -> dict[str, Any]:
    row = {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(found).items()}
    return {name: value for name, value in row.items() if not (isinstance(value, float) and math.isnan(value))}


def _full_share(measured: Measured, request_class: str | None, since: float, until: float) -> float | None:
    asks = [ask for ask in measured.case.asks if since <= ask.at < until and request_class in {None, ask.request_class}]
    if not asks:
        return None
    ends = [(ask, measured.answers.get(ask.number)) for ask in asks]
    return sum(end is not None and end.level == 1 and is_in_time(measured, ask, end) for ask, end in ends) / len(asks)


def _counted(values: Iterable[Any]) -> dict[Any, int]:
    return dict(sorted(Counter(value for value in values if value is not None).items()))
