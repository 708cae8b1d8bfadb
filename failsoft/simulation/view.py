"""A process's view of what is said of breakers and routes, the twin of ``kafka/view.py``: from the beginning, then as it grows.

What stood in it when the process began is handed over with its age, by the broker's clock; what comes later is new. After a time
out of reach it goes on where it was.
"""

from failsoft.policy.events import RegisterSeen, RouteSeen
from failsoft.simulation.cluster import Cluster
from failsoft.simulation.member import Link
from failsoft.simulation.shell import Shell

BATCH = 500
LOOK_SECONDS = 1.0


class View:
    """The registers of all processes and the words of operators, as one process reads them.

    Args:
        shell: whose machine hears them.
        cluster: where the topic is.
        link: the way there.
    """

    def __init__(self, shell: Shell, cluster: Cluster, link: Link) -> None:
        self._shell = shell
        self._cluster = cluster
        self._link = link
        self._position = self._route_position = 0
        self._is_reading = False

    def start(self) -> None:
        """Read what is there, before anything is decided; then follow."""
        self._cluster.registers.compact()
        self._cluster.routes.compact()
        self._read()
        self._cluster.on_word.append(self._hear)
        self._look()

    def _hear(self) -> None:
        if not self._is_reading:
            self._is_reading = True
            self._shell.later(self._shell.now + self._link.seconds, self._read)

    def _look(self) -> None:
        """Look now and then, for what was said while the broker was out of reach."""
        if self._position < self._cluster.registers.end or self._route_position < self._cluster.routes.end:
            self._hear()
        self._shell.later(self._shell.now + LOOK_SECONDS, self._look)

    def _read(self) -> None:
        self._is_reading = False
        if not self._link.is_up:
            return
        while entries := self._cluster.registers.read(self._position, BATCH):
            for entry in entries:
                self._position = entry.offset + 1
                if entry.value is not None:
                    said, age = entry.value, self._cluster.clock - entry.appended_at
                    self._shell.feed(RegisterSeen(said.breaker, said.process, said.register, age_seconds=age))
        self._position = self._cluster.registers.end
        while routes := self._cluster.routes.read(self._route_position, BATCH):
            for word in routes:
                self._route_position = word.offset + 1
                if word.value is not None:
                    self._shell.feed(RouteSeen(word.value))
        self._route_position = self._cluster.routes.end
