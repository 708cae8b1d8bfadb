"""Each invariant is shown to be caught breaking, by bad histories of its own and by no other: else silence proves nothing."""

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failsoft.policy.breaker_states import State
from failsoft.runtime.worker_history import BreakerLine, CommittedLine, ExecuteLine, PublishedLine, TookLine
from failsoft.trials.checks import Judgement, Standing, judge
from failsoft.trials.history import History, Unreadable
from failsoft.trials.history.lines import (
    DeadLetterLine,
    FaultBeginLine,
    FaultEndLine,
    InvokeLine,
    OkLine,
    ReaderStartLine,
    RequestLine,
    ResultLine,
    ShownLine,
    UnknownLine,
)
from failsoft.trials.history.loading import Dump
from tests.trials.histories import BEGAN_AT, DEAD_LETTERS, EVERY_SECONDS, PRODUCER, READER, RESULTS, TOPICS, WORKERS
from tests.trials.histories import good_history as drawn

ANY = random.Random(0)
ENDS_AT = BEGAN_AT + 240 * EVERY_SECONDS


def broken(judgement: Judgement) -> set[str]:
    return {check.name for check in judgement.checks if check.standing is Standing.BROKEN}


def results(history: History) -> list[Any]:
    return history.dumps[RESULTS][0].records


def requests(history: History, name: str = "fast") -> list[Any]:
    return history.dumps[TOPICS[name]][0].records


def in_file(lines: Any, kind: type) -> list[Any]:
    return [line for line in lines if isinstance(line, kind)]


def executes(history: History, rng: random.Random) -> tuple[str, ExecuteLine]:
    """Any call."""
    name = rng.choice([name for name in WORKERS if in_file(history.workers[name], ExecuteLine)])
    return name, rng.choice(in_file(history.workers[name], ExecuteLine))


def swap(lines, old, *new) -> None:
    at = lines.index(old)
    lines[at : at + 1] = new


def a_result(history: History, rng: random.Random, outcome: str = "ok") -> Any:
    return rng.choice([line for line in results(history) if line.outcome == outcome])


def beside(history: History, line: ResultLine, **changes) -> ResultLine:
    """Another record of results, the next in its partition."""
    offset = 1 + max(each.offset for each in results(history) if each.partition == line.partition)
    return replace(line, offset=offset, appended_at=ENDS_AT + 60, digest=f"digest-more-{offset}", **changes)


# How a promise may break, one way each.


def without_result(history: History, rng: random.Random) -> None:
    """The last record of a partition has no result, and is not committed."""
    name = rng.choice(list(TOPICS))
    last = [line for line in requests(history, name) if line.partition == rng.randrange(2)][-1]
    acknowledge(history, last, name)
    gone = [line for line in results(history) if line.id == last.id]
    history.dumps[RESULTS][0].records[:] = [line for line in results(history) if line.id != last.id]
    history.readers[READER] = [line for line in history.readers[READER] if getattr(line, "id", "") != last.id]
    assert gone
    for worker in WORKERS:
        history.workers[worker] = [
            line
            for line in history.workers[worker]
            if not (isinstance(line, CommittedLine) and beyond(line, name, last))
            and not (isinstance(line, PublishedLine) and is_of(line, name, last))
        ]
    history.samples = [
        replace(sample, places=tuple(uncommitted(place, TOPICS[name], last) for place in sample.places))
        for sample in history.samples
    ]


def acknowledge(history: History, record: RequestLine, name: str) -> None:
    lines = history.producers[PRODUCER]
    sent = next(line for line in lines if isinstance(line, InvokeLine) and line.id == record.id)
    lines[:] = [line for line in lines if line.call != sent.call or line is sent]
    lines.append(OkLine(sent.at, sent.at, sent.call, record.id, record.partition, record.offset, record.appended_at))


def beyond(line: CommittedLine, name: str, record: RequestLine) -> bool:
    ((request_class, number, offset, _),) = line.offsets
    return (request_class, number) == (name, record.partition) and offset > record.offset


def is_of(line: PublishedLine, name: str, record: RequestLine) -> bool:
    return (line.request_class, line.partition, line.offset) == (name, record.partition, record.offset)


def uncommitted(place, topic: str, record: RequestLine):
    name, number, committed, first, end = place
    is_beyond = (name, number) == (topic, record.partition) and committed is not None and committed > record.offset
    return (name, number, record.offset if is_beyond else committed, first, end)


def acknowledged_and_gone(history: History, rng: random.Random) -> None:
    """Acknowledged, without its place, and in no log."""
    history.producers[PRODUCER] += [
        InvokeLine(ENDS_AT, ENDS_AT, 9999, "id-9999", TOPICS["fast"], "fast"),
        OkLine(ENDS_AT, ENDS_AT, 9999, "id-9999", 0, -1, ENDS_AT),
    ]


def hidden_from_a_reader(history: History, rng: random.Random) -> None:
    history.readers[READER].remove(rng.choice(in_file(history.readers[READER], ShownLine)))


def shown_again(history: History, rng: random.Random) -> None:
    shown = rng.choice(in_file(history.readers[READER], ShownLine))
    history.readers[READER].append(shown)


def shown_another(history: History, rng: random.Random) -> None:
    """A reader is shown a repeat in place of the first."""
    line = a_result(history, rng)
    more = beside(history, line)
    results(history).append(more)
    shown = next(each for each in in_file(history.readers[READER], ShownLine) if each.id == line.id)
    swap(history.readers[READER], shown, replace(shown, offset=more.offset))


def called_too_often(history: History, rng: random.Random) -> None:
    name, line = executes(history, rng)
    swap(history.workers[name], line, *[replace(line, call=1000 + number) for number in range(4)])


def repeated_too_often(history: History, rng: random.Random) -> None:
    for _ in range(30):
        results(history).append(beside(history, a_result(history, rng)))


def repeated_too_often_elsewhere(history: History, rng: random.Random) -> None:
    """An operator had one partition read again; what is repeated is in the others."""
    number = rng.randrange(2)
    forgotten(history, TOPICS["fast"], number)
    for line in [line for line in requests(history) if line.partition != number][:30]:
        repeat(history, line.id)


def forgotten(history: History, topic: str, number: int) -> None:
    """Somebody takes the group's offset of a partition away, at the very end."""
    begin = FaultBeginLine(ENDS_AT + 30, 77, "offsets-expired", f"{topic}-{number}")
    history.faults += [begin, FaultEndLine(ENDS_AT + 40, 77, forgot_offsets=True)]


def repeat(history: History, id_: str) -> None:
    line = next(line for line in results(history) if line.id == id_)
    results(history).append(beside(history, line))


def result_of_nothing(history: History, rng: random.Random) -> None:
    results(history).append(beside(history, a_result(history, rng), id="id-nobodys"))


def result_of_another(history: History, rng: random.Random) -> None:
    problem = "its id is not that of the request it names"
    results(history).append(beside(history, a_result(history, rng), problem=problem))


def answer_to_another(history: History, rng: random.Random) -> None:
    """Within one tenant, where no canary sings."""
    line = a_result(history, rng)
    lines = history.producers[PRODUCER]
    sent = next(each for each in lines if isinstance(each, InvokeLine) and each.id == line.id)
    swap(lines, sent, replace(sent, asks="a question"))
    swap(results(history), line, replace(line, answers="another question"))


def result_of_a_failed_send(history: History, rng: random.Random) -> None:
    history.producers[PRODUCER].append(InvokeLine(ENDS_AT, ENDS_AT, 9999, "id-9999", TOPICS["fast"], "fast"))
    history.producers[PRODUCER].append(replace(a_fail(history), call=9999))
    results(history).append(beside(history, a_result(history, rng), id="id-9999", canaries=()))
    more = results(history)[-1]
    history.readers[READER].append(ShownLine(ENDS_AT + 61, more.partition, more.offset, "id-9999"))


def a_fail(history: History):
    return next(line for line in history.producers[PRODUCER] if line.event == "fail")


def dead_letter_of_nothing(history: History, rng: random.Random) -> None:
    letter = DeadLetterLine(0, 0, ENDS_AT, "digest", TOPICS["fast"], 0, 100_000, "malformed")
    history.dumps[DEAD_LETTERS][0].records.append(letter)


def log_rewritten(history: History, rng: random.Random) -> None:
    first = history.dumps[TOPICS["slow"]][0]
    other = Dump(replace(first.begin), list(first.records))
    line = rng.choice(other.records)
    swap(other.records, line, replace(line, digest="another"))
    history.dumps[TOPICS["slow"]].append(other)


def acknowledged_elsewhere(history: History, rng: random.Random) -> None:
    lines = history.producers[PRODUCER]
    first, second = rng.sample([line for line in in_file(lines, OkLine) if line.partition == 0], 2)
    swap(lines, first, replace(first, offset=second.offset, partition=1))


def took_another(history: History, rng: random.Random) -> None:
    name = rng.choice(WORKERS)
    first, second = rng.sample(in_file(history.workers[name], TookLine), 2)
    swap(history.workers[name], first, replace(first, id=second.id))
    drop_call(history, name, first)


def drop_call(history: History, name: str, took: TookLine) -> None:
    """So that nothing but the place is wrong: the call would be judged by the other's expiry."""
    key = (took.request_class, took.partition, took.offset)
    history.workers[name] = [
        line
        for line in history.workers[name]
        if not (isinstance(line, ExecuteLine) and (line.request_class, line.partition, line.offset) == key)
    ]


def committed_before_the_result(history: History, rng: random.Random) -> None:
    """A worker says its last offset of a partition at once."""
    name = WORKERS[1]
    lines = [line for line in in_file(history.workers[name], CommittedLine) if line.offsets[0][3] == 1]
    last = rng.choice(
        [
            line
            for line in lines
            if all(other.offsets[0][:2] != line.offsets[0][:2] for other in lines[lines.index(line) + 1 :])
        ]
    )
    for line in lines:
        if line.offsets[0][:2] == last.offsets[0][:2]:
            history.workers[name].remove(line)
    history.workers[name].insert(1, replace(last, at=BEGAN_AT))


def committed_beyond_the_end(history: History, rng: random.Random) -> None:
    history.workers[WORKERS[1]].append(CommittedLine(ENDS_AT + 75, (("fast", 1, 100_000, 2),)))


def group_went_back(history: History, rng: random.Random) -> None:
    last = history.samples[-1]
    places = tuple((*place[:2], 1, *place[3:]) for place in last.places)
    history.samples.append(replace(last, at=last.at + 1, places=places))


def worker_went_back(history: History, rng: random.Random) -> None:
    last = rng.choice(in_file(history.workers[WORKERS[1]], CommittedLine)[-4:])
    ((name, number, _, assignment),) = last.offsets
    history.workers[WORKERS[1]].append(CommittedLine(ENDS_AT + 75, ((name, number, 1, assignment),)))


def called_after_expiry(history: History, rng: random.Random) -> None:
    name, line = executes(history, rng)
    late = line.deadline_at + 0.5
    swap(
        history.workers[name], line, replace(line, at=late, broker_at=late - 90.0, deadline_at=late)
    )  # its clock is slow


def dropped_alive(history: History, rng: random.Random) -> None:
    line = a_result(history, rng)
    swap(results(history), line, replace(line, outcome="expired"))


def called_while_open(history: History, rng: random.Random) -> None:
    name, line = executes(history, rng)
    lines = history.workers[name]
    swap(lines, line, BreakerLine(line.at, line.tier, State.OPEN), line, BreakerLine(line.at, line.tier, State.CLOSED))


def probed_too_much(history: History, rng: random.Random) -> None:
    name, line = executes(history, rng)
    places = {(each.request_class, each.partition, each.offset) for each in in_file(history.workers[name], ExecuteLine)}
    probes = [
        replace(line, call=1000 + number, request_class=place[0], partition=place[1], offset=place[2])
        for number, place in enumerate(sorted(places)[:4])
    ]
    half_open = BreakerLine(BEGAN_AT - 0.5, line.tier, State.HALF_OPEN)
    early = [replace(probe, at=BEGAN_AT - 0.4) for probe in probes]
    history.workers[name][1:1] = [half_open, *early, BreakerLine(BEGAN_AT - 0.3, line.tier, State.CLOSED)]


def quoted_another_tenant(history: History, rng: random.Random) -> None:
    line = rng.choice([line for line in results(history) if line.canaries != ("ann",)])
    swap(results(history), line, replace(line, canaries=(*line.canaries, "ann")))


def never_recovered(history: History, rng: random.Random) -> None:
    """Nothing sent after the fault is in time, by what its senders meant."""
    history.trial = replace(
        history.trial, limits=replace(history.trial.limits, recovery_seconds=10.0, quiet_after_seconds=900.0)
    )
    shorten(history, since=history.faults[-1].at)


def shorten(history: History, *, since: float) -> None:
    lines = history.producers[PRODUCER]
    lines[:] = [
        replace(line, budget_seconds=0.001) if isinstance(line, InvokeLine) and line.at >= since else line
        for line in lines
    ]


def late_while_quiet(history: History, rng: random.Random) -> None:
    history.trial = replace(
        history.trial, limits=replace(history.trial.limits, recovery_seconds=900.0, quiet_after_seconds=1.0)
    )
    shorten(history, since=history.faults[-1].at + 12)


def stalled(history: History, rng: random.Random) -> None:
    """Something waits 40 s, and nothing at all ends meanwhile."""
    for number, (at, seconds) in enumerate([(ENDS_AT + 100, 40.0), (ENDS_AT + 150, 0.2)], start=9000):
        id_, offset = f"id-{number}", sum(line.partition == 0 for line in requests(history, "slow"))
        history.producers[PRODUCER] += [
            InvokeLine(at, at, number, id_, TOPICS["slow"], "slow"),
            OkLine(at, at, number, id_, 0, offset, at),
        ]
        dump = history.dumps[TOPICS["slow"]][0]
        dump.records.append(RequestLine(0, offset, at, f"digest-{id_}", id_, at + 60))
        bounds = dump.begin.bounds
        dump.begin = replace(dump.begin, bounds=(replace(bounds[0], end=offset + 1), *bounds[1:]))
        line = beside(history, results(history)[0], id=id_, canaries=())
        results(history).append(replace(line, appended_at=at + seconds))


BREACHES = [
    ("lost", without_result),
    ("lost", acknowledged_and_gone),
    ("lost", hidden_from_a_reader),
    ("duplicate-visible", shown_again),
    ("duplicate-visible", shown_another),
    ("duplicate-execution", called_too_often),
    ("duplicate-execution", repeated_too_often),
    ("duplicate-execution", repeated_too_often_elsewhere),
    ("phantom", result_of_nothing),
    ("phantom", result_of_another),
    ("phantom", answer_to_another),
    ("phantom", result_of_a_failed_send),
    ("phantom", dead_letter_of_nothing),
    ("inconsistent-offset", log_rewritten),
    ("inconsistent-offset", acknowledged_elsewhere),
    ("inconsistent-offset", took_another),
    ("commit-ahead", committed_before_the_result),
    ("commit-ahead", committed_beyond_the_end),
    ("commit-regression", group_went_back),
    ("commit-regression", worker_went_back),
    ("deadline", called_after_expiry),
    ("deadline", dropped_alive),
    ("breaker", called_while_open),
    ("breaker", probed_too_much),
    ("tenant", quoted_another_tenant),
    ("liveness", never_recovered),
    ("liveness", late_while_quiet),
    ("liveness", stalled),
]
EVERYWHERE = [breach for breach in BREACHES if breach[1] not in {never_recovered, late_while_quiet}]
"""Those that can be seeded into any history; the others need one long enough."""


def test_a_history_of_kept_promises_has_no_finding() -> None:
    judgement = judge(drawn())
    assert judgement.is_kept
    assert judgement.requests == 222
    standings = {check.name: check.standing for check in judgement.checks}
    assert standings.pop("order") is Standing.NOT_APPLICABLE
    assert set(standings.values()) == {Standing.KEPT}


@pytest.mark.parametrize(("name", "breach"), BREACHES, ids=[breach.__name__ for _, breach in BREACHES])
def test_a_seeded_breach_is_caught_by_its_invariant_and_by_no_other(name: str, breach) -> None:
    history = drawn()
    breach(history, random.Random(3))
    assert broken(judge(history)) == {name}


def test_every_invariant_but_order_has_a_breach() -> None:
    names = {check.name for check in judge(drawn()).checks}
    assert {name for name, _ in BREACHES} == names - {"order"}


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**9), requests=st.integers(60, 300))
def test_no_history_of_kept_promises_has_a_finding(seed: int, requests: int) -> None:
    assert broken(judge(drawn(seed, requests=requests))) == set()


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 10**9), breach=st.sampled_from(EVERYWHERE))
def test_a_single_breach_is_found_in_any_history(seed: int, breach) -> None:
    name, seeded = breach
    history = drawn(seed)
    seeded(history, random.Random(seed))
    assert name in broken(judge(history))


# What is no breach.


def test_what_an_operator_had_read_again_is_counted_apart() -> None:
    history = drawn()
    forgotten(history, TOPICS["fast"], 0)
    again = [line.id for line in requests(history) if line.partition == 0][:30]
    for id_ in [*again, *again[:2]]:
        repeat(history, id_)
    judgement = judge(history)
    assert (judgement.repeats_in_log, judgement.repeats_by_operator) == (32, 30)  # one act asks once
    assert broken(judgement) == set()


def test_a_send_of_which_nothing_is_known_may_have_a_result_and_need_not() -> None:
    history = drawn()
    history.producers[PRODUCER] += [
        InvokeLine(ENDS_AT, ENDS_AT, 9001, "id-9001", TOPICS["fast"], "fast"),
        UnknownLine(ENDS_AT + 10, ENDS_AT + 10, 9001, "timeout"),
        InvokeLine(ENDS_AT, ENDS_AT, 9002, "id-9002", TOPICS["fast"], "fast"),  # its producer was killed in it
    ]
    before = judge(drawn())
    judgement = judge(history)
    assert judgement.is_kept
    assert (judgement.requests, judgement.unknown) == (before.requests, before.unknown + 2)
    results(history).append(beside(history, results(history)[0], id="id-9002", canaries=()))
    history.readers[READER].append(
        ShownLine(ENDS_AT + 90, results(history)[-1].partition, results(history)[-1].offset, "id-9002")
    )
    assert judge(history).is_kept


def test_an_unknown_send_whose_record_stands_in_the_log_was_accepted() -> None:
    history, rng = drawn(), random.Random(3)
    record = rng.choice(requests(history))
    acknowledge(history, record, "fast")
    lines = history.producers[PRODUCER]
    swap(lines, lines[-1], UnknownLine(ENDS_AT, ENDS_AT, lines[-1].call, "timeout"))
    assert judge(history).requests == judge(drawn()).requests
    history.dumps[RESULTS][0].records[:] = [line for line in results(history) if line.id != record.id]
    assert "lost" in broken(judge(history))


def test_what_an_operator_took_away_is_counted_apart() -> None:
    history = drawn()
    without_result(history, random.Random(3))
    assert judge(history).findings("lost") == 1
    gone = next(record for name in TOPICS for record in requests(history, name) if record.id not in finished(history))
    topic = next(topic for name, topic in TOPICS.items() if gone in requests(history, name))
    history.faults += [
        FaultBeginLine(ENDS_AT + 70, 2, "retention", topic),
        FaultEndLine(ENDS_AT + 71, 2, (Unreadable(topic, gone.partition, gone.offset),)),
    ]
    judgement = judge(history)
    assert judgement.is_kept
    assert (judgement.findings("lost"), judgement.lost_by_operator) == (0, 1)
    history.faults[-1] = FaultEndLine(ENDS_AT + 71, 2, (Unreadable(topic, gone.partition, gone.offset + 1),))
    assert broken(judge(history)) == {"lost"}


def finished(history: History) -> set[str]:
    return {line.id for line in results(history)}


def remade(history: History, *, sent_at: float) -> History:
    """The topic "fast" is deleted and made anew long after all is done; one request is sent to it again, to offset 0."""
    first = history.dumps[TOPICS["fast"]][0]
    record = RequestLine(0, 0, sent_at, "digest-new", "id-new", sent_at + 5)
    begin = replace(
        first.begin,
        incarnation=1,
        bounds=(replace(first.begin.bounds[0], end=1), replace(first.begin.bounds[1], end=0)),
    )
    history.dumps[TOPICS["fast"]].append(Dump(begin, [record]))
    history.faults += [
        FaultBeginLine(ENDS_AT + 200, 2, "topic recreated", TOPICS["fast"]),
        FaultEndLine(ENDS_AT + 202, 2, recreated=(TOPICS["fast"],)),
    ]
    history.producers[PRODUCER] += [
        InvokeLine(sent_at, sent_at, 9000, "id-new", TOPICS["fast"], "fast"),
        OkLine(sent_at, sent_at, 9000, "id-new", 0, 0, sent_at),
    ]
    line = beside(history, results(history)[0], id="id-new", canaries=())
    results(history).append(replace(line, appended_at=sent_at + 0.5))
    last = history.samples[-1]
    places = tuple((*place[:2], None if place[0] == TOPICS["fast"] else place[2], *place[3:]) for place in last.places)
    history.samples += [
        replace(last, at=ENDS_AT + 205, places=places),
        replace(last, at=sent_at + 1, places=((TOPICS["fast"], 0, 1, 0, 1),)),
    ]
    return history


def test_a_topic_that_was_made_anew_begins_again_at_the_same_offsets() -> None:
    judgement = judge(remade(drawn(), sent_at=ENDS_AT + 210))
    assert broken(judgement) == set()
    assert judgement.requests == judge(drawn()).requests + 1


def test_a_group_that_goes_back_without_an_operator_is_found_beside_one_that_may() -> None:
    history = remade(drawn(), sent_at=ENDS_AT + 210)
    last = history.samples[-1]
    history.samples.append(replace(last, at=ENDS_AT + 300))
    history.samples.append(replace(last, at=ENDS_AT + 301, places=((TOPICS["fast"], 0, 0, 0, 1),)))
    assert broken(judge(history)) == {"commit-regression"}


def test_what_was_sent_to_a_topic_while_it_was_deleted_went_with_it() -> None:
    history, at = remade(drawn(), sent_at=ENDS_AT + 210), ENDS_AT + 201
    history.producers[PRODUCER] += [
        InvokeLine(at, at, 9003, "id-gone", TOPICS["fast"], "fast"),
        OkLine(at, at, 9003, "id-gone", 0, 17, at),
    ]
    judgement = judge(history)
    assert judgement.is_kept
    assert judgement.lost_by_operator == 1


def test_a_worker_whose_clock_is_wrong_is_judged_by_the_right_one() -> None:
    history = drawn()
    for name in WORKERS:
        history.workers[name] = [
            replace(line, broker_at=line.broker_at + 90) if isinstance(line, ExecuteLine) else line
            for line in history.workers[name]
        ]
    assert judge(history).is_kept


def test_a_call_may_begin_at_the_latest_expiry_of_those_that_share_it() -> None:
    history = drawn()
    name = WORKERS[1]
    line = next(each for each in in_file(history.workers[name], ExecuteLine) if each.request_class == "fast")
    late = replace(line, at=line.deadline_at + 3.0)
    took = next(t for t in in_file(history.workers[name], TookLine) if place_of(t) == place_of(line))
    other = next(t for t in in_file(history.workers[name], TookLine) if expiry(history, t) > late.at)
    swap(history.workers[name], line, late)
    assert broken(judge(history)) == {"deadline"}
    history.trial = replace(history.trial, shares=True)
    swap(history.workers[name], took, replace(took, key="same"))
    swap(history.workers[name], other, replace(other, key="same"))
    assert judge(history).is_kept


def place_of(line: TookLine | ExecuteLine) -> tuple[str, int, int]:
    return line.request_class, line.partition, line.offset


def expiry(history: History, line: TookLine) -> float:
    records = {record.id: record.expires_at for name in TOPICS for record in requests(history, name)}
    return records[line.id] or 0.0


def test_an_answer_that_repeats_nothing_or_the_question_is_nobody_elses() -> None:
    history = drawn()
    answer_to_another(history, random.Random(3))
    line = next(line for line in results(history) if line.answers is not None)
    for answers in (None, "a question"):
        new = replace(line, answers=answers)
        swap(results(history), line, new)
        line = new
        assert judge(history).is_kept


def test_a_half_open_breaker_lets_its_probes_through() -> None:
    history = drawn()
    probed_too_much(history, random.Random(3))
    name = next(name for name in WORKERS if any(isinstance(line, BreakerLine) for line in history.workers[name]))
    probes = [line for line in in_file(history.workers[name], ExecuteLine) if line.at == BEGAN_AT - 0.4]
    history.workers[name].remove(probes[-1])
    assert judge(history).is_kept


def test_a_reader_that_did_not_read_all_hides_nothing() -> None:
    history = drawn()
    hidden_from_a_reader(history, random.Random(3))
    end = history.readers[READER].pop()
    assert judge(history).is_kept
    history.readers[READER].append(end)
    history.readers[READER][0] = ReaderStartLine(ENDS_AT + 81, is_from_beginning=False)
    assert judge(history).is_kept


def test_a_history_without_workers_and_readers_says_what_it_does_not_hold() -> None:
    history = drawn()
    history.workers, history.readers = {}, {}
    standings = {check.name: check.standing for check in judge(history).checks}
    assert standings["duplicate-visible"] is Standing.NOT_RECORDED
    assert standings["breaker"] is Standing.NOT_RECORDED
    assert standings["duplicate-execution"] is Standing.NOT_RECORDED
    assert standings["commit-ahead"] is Standing.KEPT


def test_poison_is_not_held_against_quiet_phases() -> None:
    history = drawn()
    late_while_quiet(history, random.Random(3))
    lines = history.producers[PRODUCER]
    lines[:] = [
        replace(line, is_poison=True) if isinstance(line, InvokeLine) and line.budget_seconds == 0.001 else line
        for line in lines
    ]
    assert judge(history).is_kept


# Figures


def test_calls_for_what_another_owner_had_called_for_are_repeated_executions() -> None:
    history = drawn()
    judgement = judge(history)
    name, line = executes(history, random.Random(3))
    other = next(worker for worker in WORKERS if worker != name)
    took = TookLine(ENDS_AT + 71, *place_of(line), id_at(history, line), None)
    history.workers[other] += [took, replace(line, at=ENDS_AT + 71, call=5000)]
    found = judge(history)
    assert (found.executions, found.repeated_executions) == (
        judgement.executions + 1,
        judgement.repeated_executions + 1,
    )


def id_at(history: History, line: ExecuteLine) -> str:
    took = (each for name in WORKERS for each in in_file(history.workers[name], TookLine))
    return str(next(each.id for each in took if place_of(each) == place_of(line)))


def test_recovery_is_from_a_faults_end_until_what_is_sent_is_in_time() -> None:
    history = drawn()
    end = history.faults[-1].at
    lines = history.producers[PRODUCER]
    lines[:] = [
        replace(line, budget_seconds=0.001) if isinstance(line, InvokeLine) and end <= line.at < end + 9 else line
        for line in lines
    ]
    tally = judge(history).faults["kill"]
    assert (tally.count, tally.recovered, tally.overlapped) == (1, 1, 0)
    assert tally.p50_seconds == pytest.approx(9.0, abs=0.5)
    undisturbed = judge(drawn()).faults["kill"]
    assert tally.requests - undisturbed.requests == pytest.approx(9 / EVERY_SECONDS, abs=8)  # some sends fail
    assert tally.in_time == undisturbed.in_time


def test_a_fault_whose_recovery_another_cuts_short_is_nobodys() -> None:
    history = drawn()
    end = history.faults[-1].at
    shorten(history, since=end)
    history.faults += [FaultBeginLine(end + 3, 2, "cut", "broker 1"), FaultEndLine(end + 4, 2)]
    judgement = judge(history)
    assert judgement.faults["kill"].overlapped == 1
    assert judgement.faults["kill"].p50_seconds is None


def test_a_recovery_that_takes_too_long_is_held_against_a_fault_though_another_came_later() -> None:
    history = drawn()
    history.trial = replace(
        history.trial, limits=replace(history.trial.limits, recovery_seconds=5.0, quiet_after_seconds=900.0)
    )
    end = history.faults[-1].at
    shorten(history, since=end)
    history.faults += [FaultBeginLine(end + 8, 2, "cut", "broker 1"), FaultEndLine(end + 900, 2)]
    assert broken(judge(history)) == {"liveness"}


def test_nothing_lost_in_n_requests_bounds_the_chance_of_a_loss_by_three_in_n() -> None:
    history = drawn()
    assert judge(history).loss_bound == pytest.approx(3 / 222)
    without_result(history, random.Random(3))
    assert judge(history).loss_bound is None
