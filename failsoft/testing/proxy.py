"""A TCP proxy with faults: what a network does to a connection, done on purpose and undone again.

A client is told the proxy's address, the proxy knows the server's. What it does is a value that may be changed at any time:

============  ========================================================================================================
pass          as if it were not there
cut           open connections are reset and new ones refused, as by a firewall that says so
black hole    nothing goes through and nobody is told, as with a cable pulled; what was on its way arrives after the heal,
              as it would by TCP's own repetition
delay         each piece waits; what comes behind it meanwhile waits too, so one way takes between one and two delays
throttle      so many bytes a second and direction
reset         every open connection is reset once, new ones work
============  ========================================================================================================

A black hole takes new connections, because the kernel accepts them before any program is asked, and is silent on them: the client
waits for its first answer instead of for the connection. Ports come from outside the range that the kernel gives to outgoing
connections, where real servers have theirs too: inside it, a client that tries a closed port again and again ends up
connected to itself, or to somebody who has been given the port meanwhile.
"""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from failsoft.policy.errors import EnvironmentFailure

HOST = "127.0.0.1"
PIECE_BYTES = 64 * 1024
LOWEST_PORT = 10_000
ATTEMPTS = 1_000

_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUALLY_OUTGOING = 32_768
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""A linger time of 0: closing sends RST instead of FIN."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a proxy does to its connections, from now on.

    Attributes:
        cuts: reset what is open, refuse what is new.
        swallows: hold everything back.
        delay_seconds: that each piece waits.
        bytes_per_second: of each direction of each connection; None: no limit.
    """

    cuts: bool = False
    swallows: bool = False
    delay_seconds: float = 0.0
    bytes_per_second: float | None = None


PASS = Behaviour()
CUT = Behaviour(cuts=True)
BLACK_HOLE = Behaviour(swallows=True)


class Proxy:
    """Stands before one server, as a context manager.

    Args:
        port: of the server, on 127.0.0.1.
        listens_on: the proxy's own; 0: any free one.
    """

    def __init__(self, port: int, *, listens_on: int = 0) -> None:
        self._server_port = port
        self.port = listens_on or free_ports(1)[0]
        self._behaviour = PASS
        self._flows = asyncio.Event()
        self._flows.set()
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._refuse()
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def behave(self, behaviour: Behaviour) -> None:
        """Do this from now on, to connections that are open too."""
        self._behaviour = behaviour
        if behaviour.swallows:
            self._flows.clear()
        else:
            self._flows.set()
        if behaviour.cuts:
            await self._refuse()
            self.reset()
        elif self._server is None:
            await self._listen()

    def reset(self) -> None:
        """Reset every open connection, on both sides."""
        for writers in self._open.values():
            for writer in writers:
                _abort(writer)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._take, HOST, self.port)

    async def _refuse(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            server.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs this in a task of its own
        self._open[task] = [writer]
        try:
            await self._join(reader, writer, self._open[task])
        except OSError:
            pass  # either side may go at any time, or not be there at all
        except asyncio.CancelledError:
            pass  # the proxy is closing; asyncio would log it as an error of this callback
        finally:
            for each in self._open.pop(task):
                _abort(each)

    async def _join(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, writers: list[asyncio.StreamWriter]
    ) -> None:
        """Connect to the server and carry both ways until one side is done."""
        await self._flows.wait()
        from_server, to_server = await asyncio.open_connection(HOST, self._server_port)
        writers.append(to_server)
        if self._behaviour.cuts:  # meanwhile
            return
        ways = [
            asyncio.create_task(self._carry(reader, to_server)),
            asyncio.create_task(self._carry(from_server, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                if not way.done():
                    await asyncio.wait({way}, timeout=1.0)  # what the other side still has to say
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        """Carry one direction, with its end."""
        while piece := await source.read(PIECE_BYTES):
            if self._behaviour.delay_seconds:
                await asyncio.sleep(self._behaviour.delay_seconds)
            await self._flows.wait()
            target.write(piece)
            await target.drain()
            if self._behaviour.bytes_per_second:
                await asyncio.sleep(len(piece) / self._behaviour.bytes_per_second)
        with contextlib.suppress(OSError):
            target.write_eof()


class Gate:
    """Several proxies that one group of clients goes through: one fault hits them all.

    Args:
        ports: of the servers.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self.proxies = [Proxy(port) for port in ports]
        self._closing = contextlib.AsyncExitStack()

    @property
    def addresses(self) -> str:
        """What clients are given: ``host:port``, with commas between."""
        return ",".join(f"{HOST}:{proxy.port}" for proxy in self.proxies)

    async def __aenter__(self) -> Self:
        for proxy in self.proxies:
            await self._closing.enter_async_context(proxy)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._closing.aclose()

    async def behave(self, behaviour: Behaviour) -> None:
        """Do this from now on, at all of them."""
        for proxy in self.proxies:
            await proxy.behave(behaviour)

    def reset(self) -> None:
        """Reset every open connection."""
        for proxy in self.proxies:
            proxy.reset()


def free_ports(count: int) -> list[int]:
    """Find ports that nobody listens on, outside the range of outgoing connections.

    Raises:
        EnvironmentFailure: there are none.
    """
    with contextlib.ExitStack() as closing:
        ports: list[int] = []
        for _ in range(ATTEMPTS):
            if len(ports) == count:
                return ports
            port = random.randrange(LOWEST_PORT, _first_outgoing_port())
            holder = closing.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                holder.bind((HOST, port))
                ports.append(port)
        raise EnvironmentFailure(f"no {count} free ports from {LOWEST_PORT} to {_first_outgoing_port()}")


def _first_outgoing_port() -> int:
    try:
        return max(LOWEST_PORT + 1_000, int(_OUTGOING.read_text().split()[0]))
    except (OSError, ValueError, IndexError):  # not Linux
        return _USUALLY_OUTGOING


def _abort(writer: asyncio.StreamWriter) -> None:
    """Reset a connection; one that has ended in order already is only closed."""
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
