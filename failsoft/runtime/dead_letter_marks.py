"""Writes down what was done about dead letters, and does the least of it: to drop a letter is to say so and nothing else."""

import asyncio
from collections.abc import Callable, Iterable

from failsoft.runtime.dead_letters import Letter
from failsoft.runtime.ports import OutboxPort
from failsoft.runtime.window import Window
from failsoft.wire.dead_letter_mark import Deed, Mark, encode_mark


async def drop(outbox: OutboxPort, topic: str, letters: Iterable[Letter], on_dropped: Callable[[Letter], None]) -> None:
    """Mark letters as dropped: nothing is sent, and they stay readable until their retention has passed."""
    window = Window()

    async def mark(letter: Letter) -> None:
        try:
            await put_mark(outbox, topic, letter, Mark(letter.id, Deed.DROPPED, letter.replays))
            on_dropped(letter)
        finally:
            window.leave(0)

    async with asyncio.TaskGroup() as marking:
        for letter in letters:
            await window.enter(0)
            marking.create_task(mark(letter))


async def put_mark(outbox: OutboxPort, topic: str, letter: Letter, mark: Mark) -> None:
    """Write a mark to wherever its letter stands."""
    record = encode_mark(mark)
    for partition in letter.partitions:
        await outbox.send(topic, key=record.key, value=record.value, headers=record.headers, partition=partition)
