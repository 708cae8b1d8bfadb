"""What goes wrong, when, and for how long: plain values that a fleet carries out on virtual time.

A fault begins and, unless it is instantaneous, ends; faults overlap freely. Clock skew is not among them: it is a property of a
host from its first second on (:mod:`failsoft.simulation.fleet`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from failsoft.simulation.cluster import Cluster
from failsoft.simulation.endpoints import Condition, ModelEndpoint
from failsoft.simulation.host import Host


class Scene(Protocol):
    """What faults are done to."""

    @property
    def cluster(self) -> Cluster:
        """The broker."""

    @property
    def hosts(self) -> Sequence[Host]:
        """The worker hosts."""

    def model(self, tier: str) -> ModelEndpoint:
        """The endpoint of a tier."""

    def kill_next_caller(self, tier: str, *, restart_after_seconds: float) -> None:
        """Kill whoever starts the next call of a tier, right after it has."""


@dataclass(frozen=True, slots=True)
class ModelFault:
    """A tier's endpoint is ill for everybody: slow, widened, failing, busy, down, hanging."""

    begins_at: float
    seconds: float
    tier: str
    condition: Condition

    def begin(self, scene: Scene) -> None:
        """Let it begin."""
        scene.model(self.tier).illnesses.append(self.condition)

    def end(self, scene: Scene) -> None:
        """Let it end."""
        scene.model(self.tier).illnesses.remove(self.condition)


@dataclass(frozen=True, slots=True)
class BadWay:
    """One host's way to all models is ill: its calls fail or hang, those of others do not."""

    begins_at: float
    seconds: float
    host: int
    condition: Condition

    def begin(self, scene: Scene) -> None:
        """Let it begin."""
        scene.hosts[self.host].see_models_as(self.condition)

    def end(self, scene: Scene) -> None:
        """Let it end."""
        scene.hosts[self.host].see_models_as(None)


@dataclass(frozen=True, slots=True)
class CutOff:
    """One host does not reach the broker; it reaches the models."""

    begins_at: float
    seconds: float
    host: int

    def begin(self, scene: Scene) -> None:
        """Let it begin."""
        scene.hosts[self.host].link.cuts += 1

    def end(self, scene: Scene) -> None:
        """Let it end."""
        scene.hosts[self.host].link.cuts -= 1


@dataclass(frozen=True, slots=True)
class BrokerDown:
    """The broker answers nobody; it keeps what it has acknowledged."""

    begins_at: float
    seconds: float

    def begin(self, scene: Scene) -> None:
        """Let it begin."""
        scene.cluster.outages += 1

    def end(self, scene: Scene) -> None:
        """Let it end."""
        scene.cluster.outages -= 1


@dataclass(frozen=True, slots=True)
class SilentRetrieval:
    """What is to gather the context of requests returns nothing, and no error: they come with parts that are empty."""

    begins_at: float
    seconds: float

    def begin(self, scene: Scene) -> None:
        """Let it begin."""
        scene.cluster.silences += 1

    def end(self, scene: Scene) -> None:
        """Let it end."""
        scene.cluster.silences -= 1


@dataclass(frozen=True, slots=True)
class Crash:
    """A host's process is killed, at once or at the so-manieth step from then on; another is started when the time is over."""

    begins_at: float
    seconds: float
    host: int
    in_steps: int = 0

    def begin(self, scene: Scene) -> None:
        """Kill it."""
        scene.hosts[self.host].kill(in_steps=self.in_steps)

    def end(self, scene: Scene) -> None:
        """Start another."""
        scene.hosts[self.host].restart()


@dataclass(frozen=True, slots=True)
class Freeze:
    """A host's process stands still and then goes on as if nothing had happened."""

    begins_at: float
    seconds: float
    host: int

    def begin(self, scene: Scene) -> None:
        """Stop it for so long."""
        scene.hosts[self.host].freeze(self.seconds)

    def end(self, scene: Scene) -> None:
        """It goes on by itself."""


@dataclass(frozen=True, slots=True)
class Drain:
    """A host's process is stopped in an orderly way; another is started when the time is over."""

    begins_at: float
    seconds: float
    host: int

    def begin(self, scene: Scene) -> None:
        """Ask it to stop."""
        scene.hosts[self.host].drain()

    def end(self, scene: Scene) -> None:
        """Start another."""
        scene.hosts[self.host].restart()


@dataclass(frozen=True, slots=True)
class KillCaller:
    """Whoever calls a tier next is killed with the call under way, a breaker's prober for one; another is started later."""

    begins_at: float
    seconds: float
    tier: str

    def begin(self, scene: Scene) -> None:
        """Lie in wait."""
        scene.kill_next_caller(self.tier, restart_after_seconds=self.seconds)

    def end(self, scene: Scene) -> None:
        """The host starts its next process by itself."""


Fault = ModelFault | BadWay | CutOff | BrokerDown | SilentRetrieval | Crash | Freeze | Drain | KillCaller


def flapping(
    tier: str, condition: Condition, *, begins_at: float, ends_at: float, ill_seconds: float, well_seconds: float
) -> Iterator[ModelFault]:
    """An endpoint that falls ill and recovers, again and again."""
    at = begins_at
    while at < ends_at:
        yield ModelFault(at, min(ill_seconds, ends_at - at), tier, condition)
        at += ill_seconds + well_seconds
