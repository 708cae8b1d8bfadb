"""A worker host: one process at a time, which may be killed at any step, cut off, or stand still; its clock may be wrong."""

from collections.abc import Mapping, Sequence

from failsoft.policy.settings import StageSettings
from failsoft.simulation.cluster import Cluster
from failsoft.simulation.endpoints import Condition, ModelEndpoint
from failsoft.simulation.engine import Engine
from failsoft.simulation.process import Process
from failsoft.simulation.shell import Watch

RESTART_SECONDS = 1.0
"""How often whoever starts processes looks whether the one that was told to end has ended."""


class Wire:
    """The network between a host and the broker.

    Args:
        cluster: the broker.
        seconds: how long a request and its answer take.
    """

    def __init__(self, cluster: Cluster, seconds: float) -> None:
        self._cluster = cluster
        self.seconds = seconds
        self.cuts = 0
        """How many faults cut it now."""

    @property
    def is_up(self) -> bool:
        """Whether anything gets through."""
        return self._cluster.is_up and not self.cuts


class Host:
    """A machine that runs one worker process, and starts it again after it was killed.

    Args:
        engine: virtual time.
        cluster: the broker.
        settings: of the stage.
        models: tier -> endpoint.
        name: for people.
        watches: who looks on.
        skew_seconds: its wall clock minus the true time.
        link_seconds: a round trip to the broker.
    """

    def __init__(
        self,
        engine: Engine,
        cluster: Cluster,
        settings: StageSettings,
        models: Mapping[str, ModelEndpoint],
        *,
        name: str,
        watches: Sequence[Watch],
        skew_seconds: float = 0.0,
        link_seconds: float = 0.01,
    ) -> None:
        self.name = name
        self.link = Wire(cluster, link_seconds)
        self.skew_seconds = skew_seconds
        self.seen_as: Condition | None = None
        self.lives = 0
        self._engine = engine
        self._cluster = cluster
        self._settings = settings
        self._models = models
        self._watches = watches
        self.process: Process | None = None

    @property
    def is_running(self) -> bool:
        """Whether a process is alive on it."""
        return self.process is not None and self.process.shell.is_alive

    def start(self) -> None:
        """Start a process, unless one runs."""
        if self.is_running:
            return
        self.lives += 1
        self.process = Process(
            self._engine,
            self._cluster,
            self._settings,
            self._models,
            link=self.link,
            skew_seconds=self.skew_seconds,
            name=f"{self.name}#{self.lives}",
            watches=self._watches,
        )
        self.see_models_as(self.seen_as)
        self.process.start()

    def kill(self, *, in_steps: int = 0) -> None:
        """Kill the process, now or so many steps from now."""
        if self.process is not None and in_steps:
            self.process.shell.dies_in = in_steps
        elif self.process is not None:
            self.process.shell.die()

    def restart(self) -> None:
        """Start a process where none runs, or when the one that drains has ended.

        One that was to die and has not done enough for it is killed first.
        """
        if self.process is not None and self.process.shell.dies_in is not None:
            self.process.shell.die()
        if self.process is not None and self.is_running and self.process.is_draining:
            self._engine.after(RESTART_SECONDS, self.restart)
        else:
            self.start()

    def freeze(self, seconds: float) -> None:
        """Let the process stand still for so long: it does not know that it did."""
        if self.process is not None:
            self.process.shell.resumes_at = self._engine.now + seconds

    def see_models_as(self, condition: Condition | None) -> None:
        """Put a fault on this host's way to all models; None takes it away."""
        self.seen_as = condition
        if self.process is not None:
            self.process.shell.seen_as = condition

    def drain(self) -> None:
        """Stop the process in an orderly way."""
        if self.process is not None and self.is_running:
            self.process.drain()
