"""When a worker of a stage speaks of its breakers, and when it is silent."""

import itertools

from failsoft.policy.actions import Action, AnnounceRegister
from failsoft.policy.breaker_board import HEARTBEAT_SECONDS, LIVE_SECONDS
from failsoft.policy.events import BacklogSeen, Event, RegisterSeen, Tick
from failsoft.policy.register import Phase, Register, Word
from tests.policy.driver import Driver

BREAKER = "answer/large"
OPENED = Register(Word(1, Phase.OPEN, 120.0))


class Listener(Driver):
    """Notes when the breaker of the full tier is spoken of."""

    def __init__(self) -> None:
        self.said_at: list[float] = []
        super().__init__()

    def send(self, event: Event) -> list[Action]:
        actions = super().send(event)
        self.said_at += [
            self.now for action in actions if isinstance(action, AnnounceRegister) and action.breaker == BREAKER
        ]
        return actions

    def seconds(self, count: int, *events: Event, requests: bool = False) -> None:
        """Let so many pass, a request or these events in each."""
        for _ in range(count):
            if requests:
                self.finish(self.wait_for_call(self.arrive("interactive")))
            for event in events:
                self.send(event)
            self.wait(1.0)

    def longest_silence(self, since: float) -> float:
        said = [since, *(at for at in self.said_at if at >= since), self.now]
        return max(later - earlier for earlier, later in itertools.pairwise(said))


def opened_by_the_fleet() -> Listener:
    listener = Listener()
    listener.seconds(2, requests=True)
    listener.send(RegisterSeen(BREAKER, "other", OPENED))
    return listener


def test_while_requests_would_use_it_a_breaker_that_is_open_is_spoken_of_however_long_nobody_calls_it():
    """Silence on the topic means that it cannot be reached, and delays the probe to ten times the wait."""
    listener = opened_by_the_fleet()
    since = listener.now
    listener.seconds(110, requests=True)
    assert {call.tier for calls in listener.calls.values() for call in calls[-1:]} == {"small", "large"}
    assert listener.longest_silence(since) <= HEARTBEAT_SECONDS + 2.0 < LIVE_SECONDS


def test_so_it_is_while_requests_wait_in_the_log_because_nothing_may_serve_them():
    listener = opened_by_the_fleet()
    since = listener.now
    listener.seconds(110, BacklogSeen("interactive", 5, 1.0))
    assert listener.longest_silence(since) <= HEARTBEAT_SECONDS + 2.0


def test_a_worker_without_requests_falls_silent():
    listener = opened_by_the_fleet()
    listener.seconds(60, Tick())
    since = listener.now
    listener.seconds(100, Tick(), BacklogSeen("interactive", 0, 0.0))
    assert listener.longest_silence(since) >= 100.0
