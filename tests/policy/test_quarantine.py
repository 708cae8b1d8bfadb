"""Partitions whose last owner has died: what may be under way together, and who is found guilty."""

import random
from collections import deque
from dataclasses import replace

import pytest

from failsoft.policy.actions import CancelCall, Commit, Forget, Publish, StartCall
from failsoft.policy.breaker_control import Control, Force
from failsoft.policy.deadline import Stamp
from failsoft.policy.events import (
    Arrived,
    Assigned,
    CallFinished,
    Committed,
    ControlSeen,
    DrainRequested,
    Published,
    Revoked,
    Tick,
    Verdict,
)
from failsoft.policy.outcome import Outcome, Reason
from failsoft.policy.progress import CRASHES_MAX, Mark, Progress
from failsoft.policy.quarantine import CROWD, PEACE_SECONDS, WARY_RECORDS
from failsoft.policy.request import Partition, RecordId
from failsoft.policy.settings import LaterStage, TierSettings
from failsoft.policy.stage import StageMachine
from tests.policy.driver import APOLOGY, EPOCH, stage

LARGE = TierSettings("large", 1, limit=50, expected_seconds=0.2)
PLACES = [Partition("standard", number) for number in range(3)]
PLACE = PLACES[0]


class Worker:
    """One life of a worker: what it has called, ended and committed, with a group that answers when it is told to."""

    def __init__(
        self, found: dict[Partition, Progress], *, now: float = 0.0, budget: float = 30.0, later: tuple[str, ...] = ()
    ) -> None:
        self.now = now
        self.budget = budget
        self.machine = StageMachine(stage(LARGE, APOLOGY, later=tuple(map(LaterStage, later))))
        self.marks = {place: progress.taken_over() for place, progress in found.items()}
        self.asked: deque[dict[Partition, Mark]] = deque()
        self.calls: dict[RecordId, StartCall] = {}
        self.ends: dict[RecordId, Publish] = {}
        self.forgotten: list[RecordId] = []
        self.send(Assigned(self.marks, 1, 1.0))

    def send(self, event) -> None:
        for action in self.machine.handle(event, now=self.now):
            match action:
                case StartCall():
                    self.calls[action.record] = action
                case Publish():
                    self.ends[action.record] = action
                case Commit():
                    self.asked.append(dict(action.marks))
                case Forget():
                    self.forgotten.append(action.record)
                case CancelCall():
                    pass

    def arrive(self, place: Partition, *offsets: int, at: float = 0.0, key: str | None = None) -> list[RecordId]:
        records = [RecordId(*place, offset) for offset in offsets]
        for record in records:
            stamp = Stamp(budget_seconds=self.budget, sent_at=EPOCH + self.now)
            appended_at = EPOCH + (at or self.now)
            self.send(Arrived(record, 100, stamp, appended_at, received_at=EPOCH + self.now, key=key))
        return records

    def committed(self) -> None:
        """The group takes all that it was asked to."""
        while self.asked:
            marks = self.asked.popleft()
            self.marks |= {place: mark.progress for place, mark in marks.items()}
            self.send(Committed(marks))

    def finish(self, record: RecordId) -> None:
        self.send(CallFinished(self.calls.pop(record).call_id, Verdict.OK))
        self.send(Published(record, 1))

    def pass_time(self, until: float) -> None:
        """Wake it as it asks to be, and let the group take what it commits."""
        while (at := self.machine.next_wakeup()) is not None and at <= until:
            self.now = max(at, self.now)
            self.send(Tick())
            self.committed()
        self.now = until

    def under_way(self, place: Partition = PLACE) -> list[int]:
        return sorted(record.offset for record in self.calls if record.partition == place)


def died(offset: int = 0, *, highest_started: int = -1, crashes: int = 0) -> Progress:
    """What an owner leaves that was not heard of again."""
    return Progress(offset, highest_started=highest_started, is_clean=False, crashes=crashes)


def test_a_partition_that_was_handed_over_costs_nothing():
    worker = Worker({PLACE: Progress(0)})
    worker.arrive(PLACE, *range(20))
    assert worker.under_way() == list(range(20))
    assert not worker.machine.awaits_commits


def test_a_record_of_a_wary_partition_is_called_only_after_a_commit_that_names_it():
    worker = Worker({PLACE: died(highest_started=5)})
    worker.arrive(PLACE, 0, 1)
    assert worker.under_way() == []
    assert worker.asked[-1][PLACE].progress.highest_started == 1
    worker.committed()
    assert worker.under_way() == [0, 1]


def test_no_more_than_a_few_records_of_a_wary_partition_are_out_at_once():
    worker = Worker({PLACE: died(highest_started=50)})
    worker.arrive(PLACE, *range(20))
    worker.committed()
    assert worker.under_way() == list(range(CROWD))
    worker.finish(RecordId(*PLACE, 1))
    worker.committed()
    assert worker.under_way() == [0, 2, 3, 4]


def test_after_a_second_crash_those_that_were_out_go_alone_in_the_whole_process():
    worker = Worker({place: died(highest_started=2, crashes=1) for place in PLACES})
    for place in PLACES:
        worker.arrive(place, *range(5))
    worker.committed()
    order = []
    while any(record.offset <= 2 for record in worker.calls):
        suspects = [record for record in worker.calls if record.offset <= 2]
        assert list(worker.calls) == suspects, "somebody was out beside a suspect"
        assert len(suspects) == 1
        assert worker.marks[suspects[0].partition].is_alone
        order.append(suspects[0])
        worker.finish(suspects[0])
        worker.committed()
    assert len(order) == 9
    assert order == sorted(order, key=lambda record: (record.number, record.offset))


def test_a_commit_that_was_under_way_already_lets_out_only_whom_it_names():
    worker = Worker({PLACE: died(highest_started=5)})
    worker.arrive(PLACE, 0)
    worker.arrive(PLACE, 1)
    earlier = worker.asked.popleft()
    worker.send(Committed(earlier))
    assert worker.under_way() == [0]
    worker.committed()
    assert worker.under_way() == [0, 1]


def test_a_suspect_waits_until_what_another_wary_partition_has_out_is_done():
    worker = Worker({PLACES[1]: died(highest_started=5)})
    (other,) = worker.arrive(PLACES[1], 0)
    worker.committed()
    worker.send(Assigned({PLACE: died(highest_started=0, crashes=2)}, 1, 1.0))
    worker.arrive(PLACE, 0)
    worker.committed()
    assert list(worker.calls) == [other]
    worker.finish(other)
    worker.committed()
    assert worker.under_way() == [0]


def test_the_third_crash_of_a_record_that_was_out_alone_makes_it_a_dead_letter_and_its_partition_goes_on():
    found = replace(died(7, highest_started=7, crashes=CRASHES_MAX - 1), is_alone=True)
    worker = Worker({PLACE: found})
    poison, *others = worker.arrive(PLACE, 7, 8, 9)
    ending = worker.ends[poison].ending
    assert (ending.outcome, ending.reason, ending.dead_letter) == (Outcome.FAILED, Reason.POISON, True)
    worker.send(Published(poison, 1))
    worker.committed()
    assert worker.under_way() == [8, 9]
    for record in others:
        worker.finish(record)
    worker.pass_time(2.0)
    assert worker.marks[PLACE].offset == 10


def live_until_crash(marks: dict[Partition, Progress], guilty: set[RecordId], rng: random.Random) -> Worker | None:
    """Run one life over logs of 30 records each. A guilty record ends it when it is called; None: all is done."""
    worker = Worker(marks, now=0.0)
    ahead = {place: progress.offset for place, progress in worker.marks.items()}
    for _ in range(2_000):
        place = rng.choice(PLACES)
        if ahead[place] < 30 and rng.random() < 0.5:
            worker.arrive(place, ahead[place])
            ahead[place] += 1
        elif worker.asked and rng.random() < 0.7:
            marks_taken = worker.asked.popleft()
            worker.marks |= {place: mark.progress for place, mark in marks_taken.items()}
            worker.send(Committed(marks_taken))
        elif worker.calls:
            worker.finish(rng.choice(sorted(worker.calls)))
        for record in [record for record, end in worker.ends.items() if end.ending.dead_letter]:
            worker.send(Published(record, 1))
            del worker.ends[record]
            DEAD.append(record)
        if guilty & worker.calls.keys():
            return worker
        worker.now += 0.01
        worker.send(Tick())
    return None


DEAD: list[RecordId] = []


@pytest.mark.parametrize("seed", range(40))
def test_the_guilty_are_found_and_nobody_else_wherever_they_stand(seed):
    rng = random.Random(f"guilty {seed}")
    guilty = {RecordId(*rng.choice(PLACES), rng.randrange(30)) for _ in range(rng.choice((1, 1, 2)))}
    DEAD.clear()
    marks = dict.fromkeys(PLACES, Progress(0))
    lives = 0
    while (worker := live_until_crash(marks, guilty - set(DEAD), rng)) is not None:
        marks = worker.marks
        lives += 1
        assert lives < 20, f"{guilty} not found, {DEAD} taken for it"
    assert set(DEAD) == guilty


@pytest.mark.parametrize("seed", range(20))
def test_workers_that_are_killed_again_and_again_for_no_fault_of_a_record_lose_none_to_the_quarantine(seed):
    """A kill finds a suspect out alone at times; it takes three in a row, the last of them in that very moment."""
    rng = random.Random(f"killed {seed}")
    DEAD.clear()
    marks = dict.fromkeys(PLACES, Progress(0))
    for _ in range(2):
        worker = Worker(marks)
        for place in PLACES:
            worker.arrive(place, *range(worker.marks[place].offset, 30))
        for _ in range(rng.randrange(10)):
            worker.committed()
            if worker.calls:
                worker.finish(rng.choice(sorted(worker.calls)))
        marks = worker.marks
    assert live_until_crash(marks, set(), rng) is None
    assert DEAD == []


def test_who_wants_the_same_as_one_that_is_out_goes_with_it_and_needs_no_turn_of_its_own():
    worker = Worker({PLACE: died(highest_started=50)})
    waited = worker.arrive(PLACE, *range(10), key="k")
    worker.committed()
    late = worker.arrive(PLACE, *range(10, 20), key="k")
    (leader,) = worker.calls
    worker.finish(leader)
    assert worker.ends.keys() == {*waited, *late}
    assert {end.ending.outcome for end in worker.ends.values()} == {Outcome.OK}


def test_who_wants_the_same_as_one_that_is_out_does_not_go_with_it_to_a_next_stage_that_was_stopped_meanwhile():
    worker = Worker({PLACE: died(highest_started=50)}, later=("next",))
    (leader,) = worker.arrive(PLACE, 0, key="k")
    worker.committed()
    worker.send(ControlSeen("stage:next", Control(Force.OPEN, EPOCH)))
    (late,) = worker.arrive(PLACE, 1, key="k")
    worker.committed()
    worker.finish(leader)
    assert worker.ends[leader].ending.outcome is Outcome.OK
    assert (worker.ends[late].ending.outcome, worker.ends[late].ending.reason) == (
        Outcome.UNAVAILABLE,
        Reason.BREAKER_OPEN,
    )


def test_who_wants_the_same_and_is_in_a_greater_hurry_joins_the_call_of_the_one_before_it():
    worker = Worker({PLACE: died(highest_started=50)})
    worker.arrive(PLACE, 0, key="k")
    worker.budget = 10
    worker.arrive(PLACE, 1, key="k")
    worker.committed()
    (leader,) = worker.calls
    worker.finish(leader)
    assert len(worker.ends) == 2


def test_who_wants_the_same_as_a_suspect_does_not_go_before_it():
    worker = Worker({PLACE: died(highest_started=0, crashes=2), PLACES[1]: died(crashes=2)})
    worker.arrive(PLACES[1], 0, key="k")
    worker.committed()
    assert not worker.calls
    worker.arrive(PLACE, 0, key="k")
    worker.committed()
    assert worker.under_way() == [0]


def test_who_is_let_out_finds_the_one_that_arrives_at_that_instant_called_already():
    worker = Worker({PLACE: died(highest_started=5), PLACES[1]: Progress(0)})
    (waits,) = worker.arrive(PLACE, 0, key="k")
    worker.now += worker.budget - 0.04  # nobody has woken it meanwhile
    (arrives,) = worker.arrive(PLACES[1], 0, key="k")
    assert arrives in worker.calls
    assert (worker.ends[waits].ending.outcome, worker.ends[waits].ending.tier) == (Outcome.OK, "apology")


def test_wariness_ends_when_all_that_was_under_way_is_done_and_some_more():
    worker = Worker({PLACE: died(highest_started=3)})
    done = 0
    while worker.machine.awaits_commits:
        (record,) = worker.arrive(PLACE, done)
        worker.committed()
        worker.finish(record)
        done += 1
    assert done == WARY_RECORDS
    worker.pass_time(2.0)
    assert worker.marks[PLACE].crashes == 0


def test_wariness_of_a_quiet_partition_ends_with_a_minute_of_peace():
    worker = Worker({PLACE: died()})
    assert worker.machine.awaits_commits
    worker.pass_time(PEACE_SECONDS - 1)
    assert worker.machine.awaits_commits
    worker.pass_time(PEACE_SECONDS + 1)
    assert not worker.machine.awaits_commits
    assert worker.marks[PLACE].crashes == 0


def test_wariness_does_not_end_before_what_was_under_way_at_the_last_end_is_done():
    worker = Worker({PLACE: died(highest_started=0)}, budget=600)
    worker.arrive(PLACE, 0)
    worker.committed()
    worker.pass_time(PEACE_SECONDS + 1)
    assert worker.machine.awaits_commits


def test_whose_deadline_comes_in_quarantine_ends_in_time_though_no_commit_is_taken():
    worker = Worker({PLACE: died(highest_started=0)}, budget=5)
    (record,) = worker.arrive(PLACE, 0)
    while record not in worker.ends:
        at = worker.machine.next_wakeup()
        assert at is not None
        worker.now = at
        worker.send(Tick())
    assert worker.now <= 5
    assert (worker.ends[record].ending.outcome, worker.ends[record].ending.tier) == (Outcome.OK, "apology")
    assert not worker.calls


@pytest.mark.parametrize("event", [Revoked(frozenset({PLACE}), 0.0), DrainRequested()], ids=["revoked", "drained"])
def test_who_waits_in_quarantine_goes_with_its_partition_and_at_a_drain(event):
    worker = Worker({PLACE: died(highest_started=5)})
    records = worker.arrive(PLACE, 0, 1, 2)
    worker.send(event)
    assert worker.forgotten == records
    worker.committed()
    assert not worker.calls


def test_who_has_gone_with_its_partition_wakes_nobody_any_more():
    worker = Worker({PLACE: died(highest_started=5)}, budget=5)
    worker.arrive(PLACE, 0)
    worker.send(Revoked(frozenset({PLACE}), 0.0))
    worker.now = 10.0
    worker.send(Tick())
    at = worker.machine.next_wakeup()
    assert at is None or at > worker.now


def test_what_the_last_owner_has_finished_is_not_run_again():
    worker = Worker({PLACE: Progress(3, frozenset({4, 6}), 6, EPOCH + 1, is_clean=True)})
    worker.arrive(PLACE, 3, 4, 5, 6, 7, at=0.5)
    assert worker.under_way() == [3, 5, 7]


def test_a_record_that_is_younger_than_the_mark_that_calls_it_done_is_another_and_is_run():
    worker = Worker({PLACE: Progress(3, frozenset({4, 6}), 6, EPOCH + 1, is_clean=True)}, now=10)
    worker.arrive(PLACE, 3, 4, 5, 6)
    assert worker.under_way() == [3, 4, 5, 6]


def test_a_redelivery_has_two_executions_left_and_a_first_delivery_three():
    executions = []
    for highest_started in (0, -1):
        worker = Worker({PLACE: Progress(0, highest_started=highest_started), PLACES[1]: Progress(0)})
        for offset in range(40):
            (other,) = worker.arrive(PLACES[1], offset)
            worker.now += 0.2
            worker.finish(other)  # these pay for its retries
        (record,) = worker.arrive(PLACE, 0)
        executions.append(0)
        while record in worker.calls:
            executions[-1] += 1
            call = worker.calls.pop(record)
            worker.now += 0.001
            worker.send(CallFinished(call.call_id, Verdict.TRANSIENT))
            while record not in worker.calls and record not in worker.ends:
                worker.pass_time(worker.now + 0.01)
    assert executions == [2, 3]
