"""Many workers, each with its breaker and board, one endpoint and one topic between them, on a virtual clock."""

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random

import pytest

from failsoft.policy.breaker import Breaker
from failsoft.policy.breaker_board import TURN_SECONDS_MIN, BreakerBoard
from failsoft.policy.breaker_states import State
from failsoft.policy.call_counts import Counts
from failsoft.policy.permission import CallResult
from failsoft.policy.register import Phase, Register, Word

BUS_SECONDS = 0.1
CALL_SECONDS = 0.1
Q95 = 0.2
ORIGIN = 10_000.0
"""Where a monotonic clock stands is nobody's business."""


@dataclass(eq=False)
class Worker:
    name: str
    breaker: Breaker
    board: BreakerBoard
    rate: float
    origin: float = ORIGIN
    asked_at: float = -math.inf
    is_alive: bool = True
    island: int = 0
    has_route: bool = True
    opened_first_at: float = math.inf
    changes: int = 0


@dataclass
class Fleet:
    """The endpoint fails a call with ``failure_rate(now)``; registers reach those of the same island, after a while."""

    failure_rate: Callable[[float], float]
    seed: int = 1
    call_seconds: float = CALL_SECONDS
    now: float = 0.0
    workers: list[Worker] = field(default_factory=list)
    log: dict[str, tuple[Register, float]] = field(default_factory=dict)
    said: list[tuple[float, str, Register]] = field(default_factory=list)
    ended: list[tuple[float, str, CallResult]] = field(default_factory=list)
    probed: list[tuple[float, str]] = field(default_factory=list)
    probes: int = 0
    probes_most: int = 0

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, instant: float, what: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (instant, self._count, what))

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, what = heapq.heappop(self._events)
            what()
        self.now = until

    def add(self, rate: float, name: str = "", origin: float = ORIGIN) -> Worker:
        """A worker starts, and reads the compacted topic."""
        name = name or f"w{len(self.workers)}"
        worker = Worker(
            name, Breaker(random=Random(f"{self.seed}{name}")), BreakerBoard("large|eu", name), rate, origin
        )
        self.workers.append(worker)
        for other, (register, appended_at) in self.log.items():
            worker.board.seen(other, register, age_seconds=self.now - appended_at, now=self.now + origin)
        self.sync(worker)
        self.at(self.now + self.random.expovariate(rate), lambda: self.request(worker))
        self.at(self.now + self.random.random(), lambda: self.tick(worker))
        return worker

    def tick(self, worker: Worker) -> None:
        if worker.is_alive:
            self.sync(worker)
            self.at(self.now + 1, lambda: self.tick(worker))

    def sync(self, worker: Worker) -> None:
        """What the stage does after every event."""
        now = self.now + worker.origin
        before = worker.breaker.state
        view = worker.board.view(worker.breaker.word, worker.breaker.counts(now=now), q95_seconds=Q95, now=now)
        worker.breaker.follow(view, now=now)
        is_wanted = self.now - worker.asked_at < 10
        own = worker.board.announcement(worker.breaker.register(now=now), is_wanted=is_wanted, now=now)
        if own is not None:
            self.publish(worker, own)
        self.note(worker, before)

    def note(self, worker: Worker, before: State) -> None:
        worker.changes += worker.breaker.state is not before
        if worker.breaker.state is not State.CLOSED:
            worker.opened_first_at = min(worker.opened_first_at, self.now)

    def publish(self, worker: Worker, register: Register) -> None:
        self.said.append((self.now, worker.name, register))
        if worker.island < 0:
            return
        self.log[worker.name] = (register, self.now + BUS_SECONDS / 2)
        for other in self.workers:
            if other.island == worker.island:
                self.at(self.now + BUS_SECONDS, partial(self.hear, other, worker.name, register))

    def hear(self, worker: Worker, name: str, register: Register) -> None:
        if worker.is_alive:
            worker.board.seen(name, register, now=self.now + worker.origin)
            self.sync(worker)

    def request(self, worker: Worker) -> None:
        if not worker.is_alive:
            return
        worker.asked_at = self.now
        before = worker.breaker.state
        now = self.now + worker.origin
        permission = worker.breaker.acquire(8, q95_seconds=Q95, class_window_seconds=2.0, now=now)
        if permission is not None:
            is_probe = worker.breaker.state is State.HALF_OPEN and worker.breaker.word.phase is Phase.HALF_OPEN
            self.probes += is_probe
            self.probed += [(self.now, worker.name)] * is_probe
            self.probes_most = max(self.probes, self.probes_most)
            is_bad = not worker.has_route or self.random.random() < self.failure_rate(self.now)
            result = CallResult.FAILED if is_bad else CallResult.GOOD

            def end() -> None:
                self.probes -= is_probe
                if not worker.is_alive:
                    return
                before = worker.breaker.state
                self.ended.append((self.now, worker.name, result))
                worker.breaker.record(permission, result, now=self.now + worker.origin)
                self.note(worker, before)
                self.sync(worker)

            self.at(self.now + self.call_seconds, end)
        self.note(worker, before)
        self.sync(worker)
        self.at(self.now + self.random.expovariate(worker.rate), lambda: self.request(worker))

    def failed(self, begin: float = 0.0, end: float = math.inf, *, name: str | None = None) -> int:
        return sum(
            result is not CallResult.GOOD and begin <= at < end and name in {None, who}
            for at, who, result in self.ended
        )

    def good(self, begin: float, end: float, *, name: str | None = None) -> int:
        return sum(
            result is CallResult.GOOD and begin <= at < end and name in {None, who} for at, who, result in self.ended
        )

    def island(self, number: int, *workers: Worker) -> None:
        """Cut these off from the others; below zero, from the topic itself."""
        for worker in workers:
            worker.island = number

    def heal(self) -> None:
        """All reach the topic again, and what was written meanwhile."""
        for worker in self.workers:
            worker.island = 0
            for name, (register, _) in self.log.items():
                self.hear(worker, name, register)

    def words(self) -> set[tuple[int, Phase]]:
        """What the living hold, each by its board."""
        return {
            worker.board.view(worker.breaker.word, worker.breaker.counts(now=0), q95_seconds=Q95, now=0).word.order
            for worker in self.workers
            if worker.is_alive
        }


def fleet(workers: int, rate: float, failure_rate: Callable[[float], float], *, seed: int = 1) -> Fleet:
    found = Fleet(failure_rate, seed)
    for _ in range(workers):
        found.add(rate)
    return found


def out_from(begin: float, end: float = math.inf) -> Callable[[float], float]:
    return lambda now: 1.0 if begin <= now < end else 0.0


@pytest.mark.parametrize("seed", range(3))
def test_fifty_quiet_workers_see_an_outage_together_in_seconds(seed):
    """Each makes one call in 5 s, of which 9 in 10 fail; alone each would need 50 s to see ten of them."""
    found = fleet(50, 0.2, lambda _: 0.9, seed=seed)
    found.run(4.0)
    assert all(worker.breaker.state is not State.CLOSED for worker in found.workers)
    assert found.failed() <= 40


@pytest.mark.parametrize("seed", range(2))
def test_an_outage_is_found_left_alone_probed_and_recovered_from_together(seed):
    """Ten workers at 1/s; out from 60 to 120 s.

    Half of a window of 30 s must have failed before it opens: 15 s at ten calls a second. Then only probes fail: at most three
    for each reopening (with what was in flight when it opened). The wait is 40 s at most by then, so all have closed within
    it and a turn.
    """
    found = fleet(10, 1.0, out_from(60, 120), seed=seed)
    found.run(59.9)
    assert {worker.breaker.state for worker in found.workers} == {State.CLOSED}
    found.run(170.0)
    assert all(60 < worker.opened_first_at <= 75 + 5 for worker in found.workers)
    assert found.failed(80) <= 3 * 5
    assert found.probes_most <= 3
    assert found.words() == {(max(epoch for epoch, _ in found.words()), Phase.CLOSED)}
    found.run(220.0)
    assert found.good(200, 220) >= 0.8 * 10 * 20


@pytest.mark.parametrize("seed", range(4))
def test_at_most_three_probes_are_in_flight_in_the_whole_fleet(seed):
    """Probes take as long as a turn may at most be silent; the endpoint fails half of them, so it opens again and again."""
    found = Fleet(lambda now: 1.0 if now < 10 else 0.5, seed, call_seconds=3.0)
    for _ in range(10):
        found.add(1.0)
    found.run(120.0)
    assert len(found.probed) >= 6
    assert found.probes_most <= 3


def test_in_two_islands_at_most_three_each():
    found = fleet(10, 1.0, out_from(0))
    found.call_seconds = 3.0
    found.run(12.0)
    found.island(1, *found.workers[5:])
    found.run(120.0)
    assert len(found.probed) > 3
    assert found.probes_most <= 2 * 3
    found.heal()
    found.run(121.0)
    assert len(found.words()) == 1


@pytest.mark.parametrize("seed", range(5))
def test_when_the_prober_dies_the_next_takes_over_after_a_turn(seed):
    found = fleet(10, 2.0, out_from(0), seed=seed)
    found.call_seconds = 2.0
    while not found.probed:
        found.run(found.now + 0.1)
    assert found.now < 20
    first = found.probed[0][1]
    next(worker for worker in found.workers if worker.name == first).is_alive = False
    died_at = found.now
    found.run(died_at + 15)
    at, follower = next((at, name) for at, name in found.probed if name != first)
    assert at - found.probed[0][0] >= TURN_SECONDS_MIN
    assert at - died_at <= TURN_SECONDS_MIN + 3
    assert follower != first


def test_clocks_five_minutes_apart_change_nothing():
    """Nothing that is sent is an instant, so the run is the same to the last record."""
    runs = []
    for skew in (0.0, 300.0, -300.0):
        found = fleet(9, 1.0, out_from(30, 60), seed=4)
        found.add(1.0, origin=ORIGIN + skew)
        found.run(100.0)
        runs.append([(name, round(at, 6), register.word.order) for at, name, register in found.said])
    assert runs[0] == runs[1] == runs[2]
    assert len(runs[0]) > 100


@pytest.mark.parametrize("seed", range(5))
def test_one_worker_that_cannot_reach_the_endpoint_does_not_close_it_for_the_others(seed):
    """Five workers at 2/s; the others see 2 % failures. It opens for itself, and probes ever more seldom."""
    found = fleet(5, 2.0, lambda _: 0.02, seed=seed)
    lost, *others = found.workers
    lost.has_route = False
    found.run(120.0)
    assert found.words() == {(0, Phase.CLOSED)}
    assert all(worker.changes == 0 for worker in others)
    assert found.failed(name=lost.name) <= 10 + 3 * 5
    assert lost.changes <= 2 * 6
    lost.has_route = True  # its wait is two minutes at most, the ramp half of one
    found.run(120.0 + 120 + 30 + 10)
    assert lost.breaker.state is State.CLOSED
    assert found.good(270, 280, name=lost.name) >= 10


def test_a_broken_worker_does_not_close_the_endpoint_while_the_fleet_is_starting_and_nobody_has_spoken():
    """Three at 30/s that begin at once: ten calls have failed before any other has a reason to say that its own went well."""
    found = fleet(2, 30.0, lambda _: 0.0)
    lost = found.add(30.0)
    lost.has_route = False
    found.run(60.0)
    assert found.words() == {(0, Phase.CLOSED)}
    assert [worker.changes for worker in found.workers if worker is not lost] == [0, 0]
    assert lost.breaker.state is not State.CLOSED


def test_a_flapping_endpoint_is_not_followed_at_every_turn():
    """Ten seconds up, ten down, for ten minutes: waits grow, so there are at most four transitions a minute and worker."""
    found = fleet(4, 2.0, lambda now: float(now % 20 < 10))
    found.run(600.0)
    assert all(2 <= worker.changes <= 4 * 10 for worker in found.workers)


def test_without_a_topic_each_worker_protects_itself_and_none_opens_for_all():
    found = fleet(4, 2.0, out_from(50, 80))
    found.run(10.0)
    found.island(-1, *found.workers)
    found.run(79.0)
    assert all(50 < worker.opened_first_at < 79 for worker in found.workers)
    assert all(worker.breaker.word.epoch == 0 for worker in found.workers)
    found.run(80.0 + 40 + 10)
    assert {worker.breaker.state for worker in found.workers} == {State.CLOSED}


def open_for(seconds: float, age: float) -> Fleet:
    """Nobody lives; the log holds an opening of so long ago."""
    found = Fleet(lambda _: 0.0)
    found.log["dead"] = (Register(Word(7, Phase.OPEN, seconds, 3)), -age)
    return found


def test_a_worker_that_restarts_reads_an_opening_of_twenty_seconds_ago_and_waits_for_the_rest():
    found = open_for(60.0, age=20.0)
    worker = found.add(5.0)
    found.run(39.0)
    assert not found.ended
    found.run(60.0)
    assert worker.breaker.state is State.CLOSED
    assert found.ended[0][0] <= 60


def test_an_opening_of_the_fleet_outlives_the_topic_and_is_probed_after_ten_waits():
    found = open_for(60.0, age=0.0)
    worker = found.add(5.0)
    found.island(-1, worker)
    found.run(599.0)
    assert not found.ended
    found.run(605.0)
    assert worker.breaker.state is State.CLOSED


def test_after_all_have_died_the_endpoint_is_used_again_when_the_wait_is_over():
    found = open_for(60.0, age=3_600.0)
    for _ in range(3):
        found.add(5.0)
    found.run(2 * TURN_SECONDS_MIN)
    assert {worker.breaker.state for worker in found.workers} == {State.CLOSED}
    assert found.words() == {(7, Phase.CLOSED)}


def test_a_clock_that_is_not_trusted_only_waits_longer():
    board = BreakerBoard("large|eu", "w")
    board.seen("dead", Register(Word(7, Phase.OPEN, 60.0)), now=ORIGIN)
    view = board.view(Word(), Counts(), q95_seconds=Q95, now=ORIGIN)
    assert ORIGIN + 60 <= view.probe_at <= ORIGIN + 60 + TURN_SECONDS_MIN


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happened_all_agree_once_they_have_heard_each_other(seed):
    """Islands come and go, workers die and restart, the endpoint fails at random."""
    random = Random(seed)
    found = fleet(random.randint(2, 6), 3.0, lambda now: float(now // 7 % 3 < 2), seed=seed)
    for _ in range(10):
        found.run(found.now + random.uniform(1, 10))
        worker = random.choice(found.workers)
        match random.randrange(4):
            case 0:
                found.island(random.choice([-1, 1, 2]), worker)
            case 1:
                found.heal()
            case 2 if sum(other.is_alive for other in found.workers) > 1:
                worker.is_alive = False
            case _:
                found.add(3.0)
    found.heal()
    found.failure_rate = lambda _: 0.0
    found.run(found.now + 200.0)
    assert [phase for _, phase in found.words()] == [Phase.CLOSED]
    assert {worker.breaker.state for worker in found.workers if worker.is_alive} == {State.CLOSED}
