import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from failsoft.policy.coalescing import REFUSED_KEYS_MAX, CoalescingConfig, Flights, Refusal
from failsoft.policy.errors import ConfigurationError, IllegalTransition
from failsoft.policy.flight import Flight, Outlook, Waiter
from failsoft.policy.outcome import Outcome, Reason
from failsoft.policy.request import RecordId

CLASSES = ("interactive", "standard", "batch")
KEY = "the same content"
REFUSED = Refusal(Outcome.INVALID, Reason.REQUEST_REFUSED)


def waiter(offset: int, *, name: str = "standard", deadline_at: float = 60.0, floor: int = 3) -> Waiter:
    return Waiter(RecordId(name, 7, offset), deadline_at, floor)


def board(flights: Flights, who: Waiter, *, key: str | None = KEY, now: float = 0.0) -> Flight:
    return flights.join(key, who, now=now) or flights.open(key, who, now=now)


def run(
    flights: Flights,
    flight: Flight,
    *,
    level: int = 1,
    started_at: float = 0.0,
    even_at: float = 0.3,
    expected_at: float = 1.0,
    window_ends_at: float = 5.0,
):
    return flights.start(flight, Outlook(level, started_at, even_at, expected_at, window_ends_at))


def serve(flights: Flights, arrivals: list[Waiter], *, call_seconds: float) -> tuple[int, dict[RecordId, float | None]]:
    """All arrive at 0 and every flight starts at once; returns executions, and when each was answered (None: it left)."""
    ends: dict[RecordId, float | None] = {}
    boarded = [board(flights, who) for who in arrivals]
    started = {flight.number: flight for flight in boarded}
    for flight in started.values():
        run(flights, flight, expected_at=call_seconds, window_ends_at=call_seconds)
    while (due_at := flights.next_due_at) is not None and due_at < call_seconds:
        for who in flights.due_by(due_at):
            ends[who.record] = None
            flights.leave(who.record)
    for flight in started.values():
        ends.update({who.record: call_seconds for who in flights.land(flight)})
    return len(started), ends


def test_identical_concurrent_requests_are_one_execution_and_as_many_results_each_by_its_own_deadline():
    flights = Flights(CLASSES)
    executions, ends = serve(flights, [waiter(n, deadline_at=0.1 * (n + 1)) for n in range(100)], call_seconds=5.05)
    assert executions == 1
    assert len(ends) == 100
    assert [n for n in range(100) if ends[waiter(n).record] is None] == list(range(50))
    assert flights.joined == 99
    assert len(flights) == 0


@pytest.mark.parametrize("is_running", [False, True])
def test_when_the_leaders_deadline_comes_the_followers_are_served_all_the_same(is_running):
    flights = Flights(CLASSES)
    leader, follower = waiter(1, deadline_at=2.0), waiter(2)
    flight = board(flights, leader)
    board(flights, follower)
    if is_running:
        run(flights, flight)
    assert flights.due_by(2.0) == [leader]
    assert flights.leave(leader.record) is flight
    assert not flight.is_abandoned
    assert (flight.leader, flight.deadline_at) == (leader.record, 60.0)
    assert flights.land(flight) == [follower]


@pytest.mark.parametrize("is_running", [False, True])
def test_when_the_last_waiter_has_gone_the_execution_is_cancelled_and_nobody_joins_it_any_more(is_running):
    flights = Flights(CLASSES)
    flight = board(flights, waiter(1))
    board(flights, waiter(2))
    if is_running:
        run(flights, flight)
    assert flights.leave(waiter(1).record) is flight
    assert not flight.is_abandoned
    assert flights.leave(waiter(2).record) is flight
    assert flight.is_abandoned
    assert len(flights) == 0
    assert flights.join(KEY, waiter(3), now=0.0) is None
    assert flights.land(flight) == []


def test_a_herd_of_twenty_thousand_is_two_executions_because_a_flight_takes_ten_thousand():
    flights = Flights(CLASSES)
    executions, ends = serve(flights, [waiter(n) for n in range(20_000)], call_seconds=1.0)
    assert executions == 2
    assert len(ends) == 20_000
    assert set(ends.values()) == {1.0}


def test_a_flight_never_has_more_waiters_than_its_bound_but_takes_another_when_one_has_left():
    flights = Flights(CLASSES, CoalescingConfig(waiters_max=3))
    boarded = [board(flights, waiter(n)) for n in range(7)]
    assert [len(boarded[n].waiters) for n in (0, 3, 6)] == [3, 3, 1]
    flights.leave(waiter(1).record)
    assert board(flights, waiter(7)) is boarded[0]


def test_a_running_flight_is_joined_by_whoever_accepts_its_level_and_has_the_time():
    for level, floor, expected_at, deadline_at, joins in (
        (1, 1, 1.0, 1.0, True),
        (1, 3, 1.0, 9.0, True),
        (2, 1, 1.0, 9.0, False),
        (2, 2, 1.0, 9.0, True),
        (3, 2, 1.0, 9.0, False),
        (1, 3, 1.1, 1.0, False),
    ):
        flights = Flights(CLASSES)
        run(flights, board(flights, waiter(1)), level=level, expected_at=expected_at)
        who = waiter(2, deadline_at=deadline_at, floor=floor)
        assert (flights.join(KEY, who, now=0.5) is not None) == joins


def test_an_execution_that_is_late_already_is_expected_only_when_its_window_ends():
    flights = Flights(CLASSES)
    run(flights, board(flights, waiter(1)), expected_at=1.0, window_ends_at=5.0)
    assert flights.join(KEY, waiter(2, deadline_at=4.9), now=1.1) is None
    assert flights.join(KEY, waiter(3, deadline_at=5.0), now=1.1) is not None


@pytest.mark.parametrize(
    ("now", "deadline_at", "window_ends_at", "joins"),
    [
        (0.1, 0.9, 5.0, True),  # not sure in time with this call, and less so with its own
        (0.1, 0.3, 5.0, True),
        (0.1, 0.29, 5.0, False),  # not even an even chance: another tier may do better
        (0.4, 0.9, 5.0, False),  # past its median, nobody knows how much is left of it
        (0.1, 1.0, 0.5, True),  # the call has a short window, but its own would be no surer
        (0.1, 9.0, 0.5, False),  # it would be sure of its own; this one may be cut
        (0.1, 0.9, 0.2, False),  # this one will most likely be cut
    ],
)
def test_who_is_sure_of_nothing_joins_a_young_call_because_its_own_would_come_later(
    now, deadline_at, window_ends_at, joins
):
    flights = Flights(CLASSES)
    run(flights, board(flights, waiter(1)), even_at=0.3, expected_at=1.0, window_ends_at=window_ends_at)
    assert (flights.join(KEY, waiter(2, deadline_at=deadline_at), now=now) is not None) == joins


def test_who_cannot_join_has_an_own_flight_and_the_next_ones_join_that():
    flights = Flights(CLASSES)
    lower = board(flights, waiter(1))
    run(flights, lower, level=2)
    strict = board(flights, waiter(2, floor=1))
    assert strict is not lower
    assert board(flights, waiter(3, floor=1)) is strict
    assert board(flights, waiter(4)) is lower


def test_a_waiting_flight_is_joined_by_those_whose_floor_is_no_stricter():
    for leader, floor, joins in ((1, 3, True), (2, 2, True), (3, 2, False), (2, 1, False)):
        flights = Flights(CLASSES)
        board(flights, waiter(1, floor=leader))
        assert (flights.join(KEY, waiter(2, floor=floor), now=0.0) is not None) == joins


def test_an_urgent_waiter_lifts_a_waiting_flight_for_as_long_as_it_is_aboard():
    flights = Flights(CLASSES)
    flight = board(flights, waiter(1, name="batch", deadline_at=3600.0, floor=2))
    urgent = waiter(2, name="interactive", deadline_at=2.0)
    board(flights, urgent)
    assert (flight.request_class, flight.deadline_at, flight.last_deadline_at, flight.floor) == (
        "interactive", 2.0, 3600.0, 2,
    )  # fmt: skip
    flights.leave(urgent.record)
    assert (flight.request_class, flight.deadline_at, flight.floor) == ("batch", 3600.0, 2)


def test_when_the_strictest_has_left_the_others_may_be_served_lower():
    flights = Flights(CLASSES)
    flight = board(flights, waiter(1, floor=1))
    board(flights, waiter(2))
    flights.leave(waiter(1).record)
    assert flight.floor == 3


def test_a_flight_that_falls_back_below_somebodys_floor_lets_him_go_and_serves_the_rest():
    flights = Flights(CLASSES)
    flight = board(flights, waiter(1))
    run(flights, flight, level=1)
    strict = waiter(2, floor=1)
    board(flights, strict)
    flight.stopped()
    assert run(flights, flight, level=2) == [strict]
    assert flights.flight_of(strict.record) is None
    assert flights.land(flight) == [waiter(1)]


def test_a_flight_whose_execution_failed_can_be_joined_again_as_it_has_no_window_any_more():
    flights = Flights(CLASSES)
    flight = board(flights, waiter(1))
    run(flights, flight, even_at=25.0, expected_at=50.0, window_ends_at=60.0)
    assert flights.join(KEY, waiter(2, deadline_at=9.0), now=0.0) is None
    flight.stopped()
    assert flights.join(KEY, waiter(2, deadline_at=9.0), now=0.0) is flight


def test_what_may_pass_is_retried_once_for_the_flight_and_not_once_for_each_waiter():
    flights = Flights(CLASSES)
    flight = board(flights, waiter(0))
    for n in range(1, 100):
        board(flights, waiter(n))
    assert [flight.try_retry() for _ in range(3)] == [True, False, False]


def test_what_cannot_pass_is_told_to_all_and_to_those_who_ask_in_the_next_two_seconds():
    flights = Flights(CLASSES)
    flight = board(flights, waiter(1))
    board(flights, waiter(2, deadline_at=9.0))
    assert flights.refuse(flight, REFUSED, now=10.0) == [waiter(2, deadline_at=9.0), waiter(1)]
    assert [flights.refusal(KEY, now=now) for now in (10.0, 11.9, 12.0)] == [REFUSED, REFUSED, None]
    assert flights.refusal("another content", now=10.0) is None


def test_a_content_refused_again_does_not_keep_the_refusals_of_others_alive():
    flights = Flights(CLASSES)
    for n, (key, now) in enumerate((("a", 0.0), ("b", 1.0), ("a", 1.5))):
        flights.refuse(board(flights, waiter(n), key=key), REFUSED, now=now)
    assert flights.refusal("b", now=3.2) is None
    assert flights.refusal("a", now=3.2) == REFUSED


def test_a_refusal_of_what_is_not_shared_is_told_to_nobody_else():
    flights = Flights(CLASSES)
    flights.refuse(board(flights, waiter(1), key=None), REFUSED, now=0.0)
    assert flights.refusal(None, now=0.0) is None


def test_refusals_take_bounded_room_and_the_oldest_go_first():
    flights = Flights(CLASSES)
    for n in range(REFUSED_KEYS_MAX + 1):
        flights.refuse(board(flights, waiter(n), key=str(n)), REFUSED, now=0.0)
    assert flights.refusal("0", now=0.0) is None
    assert flights.refusal("1", now=0.0) == REFUSED


def test_what_has_no_key_is_shared_with_nobody():
    flights = Flights(CLASSES)
    assert board(flights, waiter(1), key=None) is not board(flights, waiter(2), key=None)
    assert flights.joined == 0


def test_a_record_that_waits_already_is_not_taken_in_again():
    flights = Flights(CLASSES)
    board(flights, waiter(1))
    with pytest.raises(IllegalTransition, match="waits already"):
        flights.join(KEY, waiter(1), now=0.0)


def test_who_waits_nowhere_cannot_leave():
    assert Flights(CLASSES).leave(waiter(1).record) is None


def test_those_due_are_found_over_all_flights_in_the_order_of_their_deadlines():
    flights = Flights(CLASSES)
    for n, (key, deadline_at) in enumerate((("a", 5.0), ("b", 3.0), ("a", 4.0), ("a", 9.0), ("b", 7.0))):
        board(flights, waiter(n, deadline_at=deadline_at), key=key)
    assert flights.next_due_at == 3.0
    assert [who.deadline_at for who in flights.due_by(5.0)] == [3.0, 4.0, 5.0]
    assert flights.due_by(2.9) == []


def test_in_the_dark_everybody_flies_alone_and_what_would_have_been_saved_is_counted():
    flights = Flights(CLASSES, CoalescingConfig(enforce=False))
    executions, ends = serve(flights, [waiter(n) for n in range(100)], call_seconds=1.0)
    assert (executions, len(ends), flights.joined) == (100, 100, 99)
    flights.refuse(board(flights, waiter(1)), REFUSED, now=0.0)
    assert flights.refusal(KEY, now=0.0) is None


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"waiters_max": 0}, "waiters_max"),
        ({"refused_seconds": 5.1}, "refused_seconds"),
        ({"refused_seconds": -1}, "refused_seconds"),
    ],
)
def test_a_config_that_cannot_work_is_refused_by_name(wrong, named):
    with pytest.raises(ConfigurationError, match=named):
        CoalescingConfig(**wrong)


class Skies(RuleBasedStateMachine):
    """Requests of three contents come, wait, fly, fall back, leave, land and crash, in any order.

    The model: ``pending`` holds who was taken in and has no end yet. Everybody ends once, and only what is pending flies.
    """

    WAITERS_MAX = 4

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.offsets = 0
        self.pending: dict[RecordId, tuple[str, Waiter]] = {}
        self.flights = self.empty()

    def empty(self) -> Flights:
        return Flights(CLASSES, CoalescingConfig(waiters_max=self.WAITERS_MAX))

    def all_flights(self) -> list[Flight]:
        found = {flight.number: flight for record in self.pending if (flight := self.flights.flight_of(record))}
        return [found[number] for number in sorted(found)]

    def pick(self, choice: int, *, is_running: bool) -> Flight | None:
        flights = [flight for flight in self.all_flights() if (flight.level is not None) == is_running]
        return flights[choice % len(flights)] if flights else None

    def take_in(self, key: str, who: Waiter) -> None:
        flight = self.flights.join(key, who, now=self.now)
        if flight is not None:
            assert flight.key == key
            assert flight.level is None or flight.level <= who.floor
        else:
            flight = self.flights.open(key, who, now=self.now)
            assert flight.leader == who.record
        assert self.flights.flight_of(who.record) is flight
        self.pending[who.record] = (key, who)

    def end(self, who: Waiter) -> None:
        assert self.pending.pop(who.record)[1] == who

    @rule(
        key=st.sampled_from("abc"),
        name=st.sampled_from(CLASSES),
        floor=st.integers(1, 3),
        seconds=st.sampled_from([0.5, 1.0, 2.0, 10.0, 100.0]),
    )
    def arrive(self, key: str, name: str, floor: int, seconds: float) -> None:
        self.offsets += 1
        self.take_in(key, waiter(self.offsets, name=name, floor=floor, deadline_at=self.now + seconds))

    @rule(choice=st.integers(0, 99), level=st.integers(1, 3), expected=st.sampled_from([0.2, 1.0, 20.0]))
    def start(self, choice: int, level: int, expected: float) -> None:
        flight = self.pick(choice, is_running=False)
        if flight is not None:
            outlook = Outlook(level, self.now, self.now + expected / 2, self.now + expected, self.now + 2 * expected)
            refusing = self.flights.start(flight, outlook)
            for who in refusing:
                assert who.floor < level
                self.end(who)
            assert all(who.floor >= level for who in flight.waiters)

    @rule(choice=st.integers(0, 99))
    def land(self, choice: int) -> None:
        flight = self.pick(choice, is_running=True)
        if flight is not None:
            for who in self.flights.land(flight):
                self.end(who)
            assert self.flights.land(flight) == []

    @rule(choice=st.integers(0, 99))
    def fail(self, choice: int) -> None:
        flight = self.pick(choice, is_running=True)
        if flight is not None:
            flight.stopped()

    @rule(choice=st.integers(0, 99))
    def refuse(self, choice: int) -> None:
        flight = self.pick(choice, is_running=True)
        if flight is not None:
            for who in self.flights.refuse(flight, REFUSED, now=self.now):
                self.end(who)
            assert self.flights.refusal(flight.key, now=self.now) == REFUSED

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.now += seconds
        due = self.flights.due_by(self.now)
        expected = {record for record, (_, who) in self.pending.items() if who.deadline_at <= self.now}
        assert {who.record for who in due} == expected
        for who in due:
            flight = self.flights.leave(who.record)
            assert flight is not None
            assert flight.is_abandoned == (not flight.waiters)
            self.end(who)

    @precondition(lambda self: self.pending)
    @rule(name=st.sampled_from(CLASSES))
    def revoke(self, name: str) -> None:
        """Another worker has this class's partition now: its waiters are void here, and the log has them."""
        for record in [record for record in self.pending if record.request_class == name]:
            self.flights.leave(record)
            del self.pending[record]

    @rule()
    def crash(self) -> None:
        """Whoever has no end is read again by the next owner."""
        self.flights = self.empty()
        again, self.pending = self.pending, {}
        for key, who in again.values():
            self.take_in(key, who)

    @invariant()
    def everybody_waits_in_just_one_flight_and_every_flight_has_somebody(self) -> None:
        flights = self.all_flights()
        aboard = [who.record for flight in flights for who in flight.waiters]
        assert sorted(aboard) == sorted(self.pending)
        assert len(self.flights) == len(flights)
        assert all(flight.waiters for flight in flights)

    @invariant()
    def a_flight_stands_where_its_most_urgent_waiter_would(self) -> None:
        for flight in self.all_flights():
            waiters = flight.waiters
            assert len(waiters) <= self.WAITERS_MAX
            assert flight.request_class == min((who.record.request_class for who in waiters), key=CLASSES.index)
            assert flight.floor == min(who.floor for who in waiters)
            deadlines = [who.deadline_at for who in waiters]
            assert deadlines == sorted(deadlines)
            assert (flight.deadline_at, flight.last_deadline_at) == (deadlines[0], deadlines[-1])
            assert flight.level is None or flight.level <= flight.floor

    @invariant()
    def the_next_deadline_is_known(self) -> None:
        assert self.flights.next_due_at == min((who.deadline_at for _, who in self.pending.values()), default=None)


TestSkies = Skies.TestCase
