"""The topics ``drills`` and ``controls`` in memory, for rehearsals and tests. Nothing is compacted, and all is there at once."""

from failsoft.failover.logbook import Logbook
from failsoft.failover.run import Run
from failsoft.policy.routing import Route


class MemoryBook:
    """What several commands write and read."""

    def __init__(self) -> None:
        self.words: list[tuple[str, Run | None]] = []
        """Session and its word, in the order of the log."""
        self.routes: list[Route] = []
        """What workers were told, in the order of the log."""

    async def read(self) -> Logbook:
        """All runs."""
        logbook = Logbook()
        for session, run in self.words:
            logbook.heard(session, run)
        return logbook

    async def route(self, endpoint: str) -> Route | None:
        """What holds for an endpoint: the later of those with the highest epoch."""
        said = [route for route in self.routes if route.endpoint == endpoint]
        return max(reversed(said), key=lambda route: route.epoch, default=None)

    async def write(self, run: Run) -> None:
        """Write a session's word down."""
        self.words.append((run.session, run))

    async def withdraw(self, run: Run) -> None:
        """Delete a session's word."""
        self.words.append((run.session, None))

    async def say(self, route: Route) -> None:
        """Tell all workers a route."""
        self.routes.append(route)
