"""`Ensemble`: several Apache Kafka nodes on 127.0.0.1, each broker and controller in one, to be killed one by one.

Records survive any one node: three replicas, of which two have to have a record before it is acknowledged
(``min.insync.replicas`` is set per topic, by the catalogue). With one node it is the same thing without that comfort.

**Listeners.** Brokers speak to each other directly. Clients come in groups, and each group has a listener of its own at
every broker, advertised at the port of a proxy (:mod:`failsoft.testing.proxy`). A broker tells a client only the addresses of the
listener that it came in by, so a group can be cut off from one broker, or from all, while everybody else goes on.
``direct`` is the way around all proxies, for those who measure.

Ports are chosen before anything starts, because brokers must know each other's and the proxies' before they run; they stay over
kill and restart. 256 MB of heap a node are ample at some hundred records a second; three nodes take 500 MB together.
"""

import asyncio
import base64
import os
import re
import shutil
import signal
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import orjson

from failsoft.policy.errors import EnvironmentFailure
from failsoft.testing.broker import READY_TIMEOUT_SECONDS, STOP_GRACE_SECONDS
from failsoft.testing.guarded import GuardedProcess
from failsoft.testing.installation import Installation, installed_kafka
from failsoft.testing.proxy import HOST, Gate, free_ports
from failsoft.testing.readiness import await_ready, require_running
from failsoft.testing.storage import LEAN, QUICK, write_properties

HEAP_MEGABYTES = 256
CLUSTER_READY_SECONDS = 2 * READY_TIMEOUT_SECONDS
"""Three Java processes start on two cores at once."""
NODE = re.compile(r"^(node\.id|directory\.id)=.*$", re.MULTILINE)


@dataclass(slots=True)
class Node:
    """One broker and controller.

    Attributes:
        number: its ``node.id``, from 1.
        folder: its settings, its data, its log.
        internal: port for the other brokers and for those who measure.
        controller: port for the other controllers.
        groups: port of each group of clients, before which its proxy stands.
        process: while it runs.
    """

    number: int
    folder: Path
    internal: int
    controller: int
    groups: Mapping[str, int]
    process: GuardedProcess | None = field(default=None, repr=False)

    @property
    def is_running(self) -> bool:
        """Whether its process lives; a frozen one does."""
        return self.process is not None and self.process.exit_code is None


class Ensemble:
    """Kafka nodes of one's own, as a context manager: serving inside, gone after.

    Args:
        size: how many.
        groups: names of the groups of clients, in small letters.
        data_dirs: number of a node -> where its records live, in place of the ensemble's own folder.
        properties: further settings of every broker.
    """

    def __init__(
        self,
        size: int = 3,
        *,
        groups: Sequence[str] = ("clients",),
        data_dirs: Mapping[int, Path] | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="failsoft-kafka-")
        self._properties = dict(properties or {})
        ports = iter(free_ports(size * (2 + len(groups))))
        places = dict(data_dirs or {})
        self.nodes = {
            number: Node(
                number,
                places.get(number, Path(self._temporary.name) / str(number)),
                next(ports),
                next(ports),
                {group: next(ports) for group in groups},
            )
            for number in range(1, size + 1)
        }
        self.gates = {group: Gate([node.groups[group] for node in self.nodes.values()]) for group in groups}
        self._kafka: Installation | None = None
        self._closing = AsyncExitStack()

    @property
    def direct(self) -> str:
        """Bootstrap servers that no proxy stands before."""
        return ",".join(f"{HOST}:{node.internal}" for node in self.nodes.values())

    async def __aenter__(self) -> Self:
        """Start all; return when each answers.

        Raises:
            EnvironmentFailure: Kafka cannot be fetched or started; says which, and the fix.
        """
        try:
            for gate in self.gates.values():
                await self._closing.enter_async_context(gate)
            self._kafka = await asyncio.to_thread(installed_kafka)
            await asyncio.to_thread(self._prepare, self._kafka)
            for node in self.nodes.values():
                self._spawn(node)
            await asyncio.gather(*(self._ready(node) for node in self.nodes.values()))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """End all at once: in order, one would wait for a majority that has gone."""
        for node in self.nodes.values():
            await self.kill(node.number)
        await self._closing.aclose()
        self._temporary.cleanup()

    async def kill(self, number: int) -> None:
        """End one as a crash would (SIGKILL), frozen or not."""
        node = self.nodes[number]
        process, node.process = node.process, None
        if process is not None:
            await asyncio.to_thread(process.kill)

    async def stop(self, number: int) -> None:
        """Stop one in order: it hands its partitions over first."""
        node = self.nodes[number]
        process, node.process = node.process, None
        if process is not None:
            await asyncio.to_thread(process.end, grace_seconds=STOP_GRACE_SECONDS)

    async def start(self, number: int) -> None:
        """Start one again on its data and ports; return when it answers."""
        node = self.nodes[number]
        if node.is_running:
            raise RuntimeError(f"node {number} runs")
        self._spawn(node)
        await self._ready(node)

    def freeze(self, number: int) -> None:
        """Stop the process of one where it is (SIGSTOP); its connections stay open and silent."""
        self._signal(number, signal.SIGSTOP)

    def thaw(self, number: int) -> None:
        """Let a frozen one go on."""
        self._signal(number, signal.SIGCONT)

    def active_controller(self) -> int | None:
        """Which node leads the controllers, as far as the running ones have been told; None while none does.

        Each writes whom it follows into its ``quorum-state``; the newest epoch counts. A broker's answer to a client does not
        help: in KRaft it names any broker as the controller.
        """
        told = [state for node in self.nodes.values() if node.is_running and (state := _quorum_state(node.folder))]
        newest = max(told, key=lambda state: state[0], default=(0, -1))
        return newest[1] if newest[1] in self.nodes else None

    def require_running(self, number: int) -> None:
        """Do nothing while one runs; raise EnvironmentFailure, with the reason, when it does not."""
        node = self.nodes[number]
        if node.process is None:
            raise EnvironmentFailure(f"Kafka node {number} is not running")
        require_running(node.process, node.folder / "broker.log")

    def _signal(self, number: int, what: signal.Signals) -> None:
        node = self.nodes[number]
        if node.process is not None and node.is_running:
            os.kill(node.process.pid, what)

    def _prepare(self, kafka: Installation) -> None:
        """Format the first node's folder and copy it for the others: what differs is their names."""
        for node in self.nodes.values():
            node.folder.mkdir(parents=True, exist_ok=True)
            write_properties(node.folder, self._settings(node))
        first, *others = self.nodes.values()
        if not (first.folder / "log" / "meta.properties").exists():
            kafka.format(first.folder)
        for node in others:
            if not (node.folder / "log" / "meta.properties").exists():
                _copy_formatted(first, node)

    def _settings(self, node: Node) -> str:
        size = str(len(self.nodes))
        enough = str(max(1, len(self.nodes) - 1))
        voters = ",".join(f"{each.number}@{HOST}:{each.controller}" for each in self.nodes.values())
        listened = {"INTERNAL": node.internal, "CONTROLLER": node.controller}
        listened |= {group.upper(): port for group, port in node.groups.items()}
        advertised = {"INTERNAL": node.internal}
        advertised |= {
            group.upper(): gate.proxies[list(self.nodes).index(node.number)].port for group, gate in self.gates.items()
        }
        settings = {
            **LEAN,
            **QUICK,
            "num.io.threads": "4",
            "offsets.topic.replication.factor": size,
            "transaction.state.log.replication.factor": size,
            "transaction.state.log.min.isr": enough,
            "share.coordinator.state.topic.replication.factor": size,
            "share.coordinator.state.topic.min.isr": enough,
            **self._properties,
            "process.roles": "broker,controller",
            "node.id": str(node.number),
            "controller.quorum.voters": voters,
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "INTERNAL",
            "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in listened),
            "listeners": _addresses(listened),
            "advertised.listeners": _addresses(advertised),
            "log.dirs": str(node.folder / "log"),
        }
        return "".join(f"{name}={value}\n" for name, value in settings.items())

    def _spawn(self, node: Node) -> None:
        if self._kafka is None:
            raise RuntimeError("not started")
        archive = self._kafka.archive
        recorded = archive.find()
        options = [f"-Xmx{HEAP_MEGABYTES}m", *([archive.option(recorded)] if recorded else [])]
        log = node.folder / "broker.log"
        log.unlink(missing_ok=True)
        node.process = GuardedProcess(self._kafka.command(node.folder, options=options), log=log)

    async def _ready(self, node: Node) -> None:
        process = node.process
        if process is None:
            raise RuntimeError(f"node {node.number} was not started")
        await asyncio.to_thread(
            await_ready,
            process,
            node.folder / "broker.log",
            port=node.internal,
            timeout_seconds=CLUSTER_READY_SECONDS,
        )


def _addresses(listeners: Mapping[str, int]) -> str:
    return ",".join(f"{name}://{HOST}:{port}" for name, port in listeners.items())


def _copy_formatted(source: Node, target: Node) -> None:
    """Give a node the formatted folder of another, under its own name."""
    shutil.copytree(source.folder / "log", target.folder / "log", dirs_exist_ok=True)
    meta = target.folder / "log" / "meta.properties"
    own = {"node.id": str(target.number), "directory.id": _directory_id()}
    meta.write_text(NODE.sub(lambda line: f"{line[1]}={own[line[1]]}", meta.read_text("utf-8")), "utf-8")


def _directory_id() -> str:

    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def _quorum_state(folder: Path) -> tuple[int, int] | None:
    """Epoch and leader that a node knows of; None while it knows none."""
    try:
        state = orjson.loads((folder / "log" / "__cluster_metadata-0" / "quorum-state").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return state["leaderEpoch"], state["leaderId"]
