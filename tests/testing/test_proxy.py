"""What a proxy does to the connections that go through it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from failsoft.testing.proxy import BLACK_HOLE, CUT, HOST, PASS, Behaviour, Gate, Proxy, free_ports

SOON = 10.0
"""Nothing here takes a second; a busy machine may."""


@asynccontextmanager
async def an_echo() -> AsyncIterator[int]:
    """A server that says back what it hears."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while heard := await reader.read(1 << 16):
                writer.write(heard)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    (port,) = free_ports(1)
    server = await asyncio.start_server(echo, HOST, port)
    try:
        yield port
    finally:
        server.close()


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def said_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, words: bytes) -> bytes:
    writer.write(words)
    async with asyncio.timeout(SOON):
        return await reader.readexactly(len(words))


async def ended(reader: asyncio.StreamReader) -> bool:
    """Wait for the end, whichever of its two forms it has."""
    async with asyncio.timeout(SOON):
        try:
            return await reader.read() == b""
        except ConnectionResetError:
            return True


async def test_what_passes_arrives_whole_and_with_its_end():
    async with an_echo() as port, Proxy(port) as proxy, connected(proxy) as (reader, writer):
        assert await said_back(reader, writer, b"x" * 300_000) == b"x" * 300_000
        writer.write_eof()
        assert await ended(reader)


async def test_a_cut_resets_what_is_open_and_refuses_what_is_new_until_it_is_healed():
    async with an_echo() as port, Proxy(port) as proxy:
        async with connected(proxy) as (reader, writer):
            assert await said_back(reader, writer, b"before") == b"before"
            await proxy.behave(CUT)
            assert await ended(reader)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, proxy.port)
        await proxy.behave(PASS)
        async with connected(proxy) as (reader, writer):
            assert await said_back(reader, writer, b"after") == b"after"


async def test_a_black_hole_is_silent_on_old_and_new_connections_and_gives_back_what_it_held():
    async with an_echo() as port, Proxy(port) as proxy, connected(proxy) as (reader, writer):
        assert await said_back(reader, writer, b"before") == b"before"
        await proxy.behave(BLACK_HOLE)
        writer.write(b"held")
        async with connected(proxy) as (new_reader, new_writer):
            new_writer.write(b"held too")
            waits = [asyncio.create_task(reader.read(4)), asyncio.create_task(new_reader.read(8))]
            done, _ = await asyncio.wait(waits, timeout=0.3)
            assert not done
            await proxy.behave(PASS)
            async with asyncio.timeout(SOON):
                assert await asyncio.gather(*waits) == [b"held", b"held too"]


async def test_a_delay_holds_each_piece_for_its_time():
    async with an_echo() as port, Proxy(port) as proxy, connected(proxy) as (reader, writer):
        await proxy.behave(Behaviour(delay_seconds=0.2))
        began = asyncio.get_running_loop().time()
        assert await said_back(reader, writer, b"slow") == b"slow"
        assert asyncio.get_running_loop().time() - began >= 0.4  # there and back


async def test_a_throttle_lets_so_many_bytes_a_second_through():
    async with an_echo() as port, Proxy(port) as proxy, connected(proxy) as (reader, writer):
        await proxy.behave(Behaviour(bytes_per_second=400_000))
        began = asyncio.get_running_loop().time()
        assert await said_back(reader, writer, b"x" * 200_000) == b"x" * 200_000
        assert asyncio.get_running_loop().time() - began >= 0.25  # all but the last piece have been paid for


async def test_a_reset_ends_what_is_open_and_nothing_else():
    async with an_echo() as port, Proxy(port) as proxy:
        async with connected(proxy) as (reader, writer):
            assert await said_back(reader, writer, b"before") == b"before"
            proxy.reset()
            assert await ended(reader)
        async with connected(proxy) as (reader, writer):
            assert await said_back(reader, writer, b"after") == b"after"


async def test_a_server_that_is_not_there_ends_the_connection_and_not_the_proxy():
    (port,) = free_ports(1)
    async with Proxy(port) as proxy:
        async with connected(proxy) as (reader, _):
            assert await ended(reader)
        server = await asyncio.start_server(lambda _, writer: writer.close(), HOST, port)
        async with connected(proxy) as (reader, _):
            assert await ended(reader)
        server.close()


async def test_a_gate_does_the_same_at_all_its_proxies_and_a_closed_one_keeps_nothing_open():
    async with an_echo() as port:
        async with Gate([port, port]) as gate:
            assert gate.addresses == ",".join(f"{HOST}:{proxy.port}" for proxy in gate.proxies)
            first, second = gate.proxies
            async with connected(first) as (a_reader, a_writer), connected(second) as (b_reader, b_writer):
                assert await said_back(a_reader, a_writer, b"a") == b"a"
                assert await said_back(b_reader, b_writer, b"b") == b"b"
                gate.reset()
                assert await ended(a_reader)
                assert await ended(b_reader)
            await gate.behave(CUT)
            for proxy in gate.proxies:
                with pytest.raises(ConnectionRefusedError):
                    await asyncio.open_connection(HOST, proxy.port)
        assert [proxy.connections for proxy in gate.proxies] == [0, 0]
