"""Where to begin with partitions that were gained: at the commit, if the log still has that place, else at its beginning.

What stands beside the commit (:mod:`failsoft.wire.progress`) goes with it, and is void where the place is gone. A commit that
names another log than the one that is there now is none. What lay between a commit and the beginning of the log was deleted
unread, and is counted.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import replace

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from failsoft.kafka.committed import committed as committed_offsets
from failsoft.policy.progress import Progress
from failsoft.wire.progress import decode_progress

log = logging.getLogger(__name__)

ATTEMPT_SECONDS = 10.0
RETRY_SECONDS = 0.5


def starting_position(committed: int | None, *, beginning: int, end: int) -> int:
    """Choose where to begin.

    A commit past the end is one to a topic that was deleted and made anew: beginning at the end would skip what it holds.
    One before the beginning speaks of records that retention or an operator has deleted.
    """
    return committed if committed is not None and beginning <= committed <= end else beginning


def deleted_unread(committed: int | None, *, beginning: int) -> int:
    """Count what was deleted after the commit and before it was read. Without a commit nobody had begun."""
    return 0 if committed is None else max(0, beginning - committed)


async def starting_positions(
    consumer: AIOKafkaConsumer,
    partitions: Collection[TopicPartition],
    deleted: dict[TopicPartition, int],
    *,
    log_of: Callable[[str], str] = lambda _: "",
    is_anew: bool = False,
) -> dict[TopicPartition, Progress]:
    """Ask the group and the log, and again until both answer: nothing can begin before. What the last owner has left.

    Of logs that were made anew the beginning: what the group has committed speaks of the old ones, even where it fits the new.

    Args:
        consumer: a member of the group.
        partitions: which.
        deleted: takes how many records of each were deleted unread.
        log_of: tells which log a topic is; empty where no broker tells it.
        is_anew: whether their logs were made anew.
    """
    wanted = list(partitions)
    while True:
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                found = {} if is_anew else await committed_offsets(consumer, wanted)
                beginnings = await consumer.beginning_offsets(wanted)
                ends = await consumer.end_offsets(wanted)
        except (KafkaError, TimeoutError) as error:
            log.warning("positions of %d partitions not read yet: %r", len(wanted), error)
            await asyncio.sleep(RETRY_SECONDS)
        else:
            marks = {tp: _mark(found.get(tp), log_of(tp.topic)) for tp in wanted}
            for tp, mark in marks.items():
                deleted[tp] = deleted_unread(None if mark is None else mark.offset, beginning=beginnings[tp])
            return {
                tp: _progress(mark, log_of(tp.topic), beginning=beginnings[tp], end=ends[tp])
                for tp, mark in marks.items()
            }


def _mark(committed: tuple[int, str] | None, log_name: str) -> Progress | None:
    """What the last owner has committed of this log."""
    mark = None if committed is None else decode_progress(*committed)
    return mark if mark is not None and mark.is_of(log_name) else None


def _progress(mark: Progress | None, log_name: str, *, beginning: int, end: int) -> Progress:
    position = starting_position(None if mark is None else mark.offset, beginning=beginning, end=end)
    return replace(Progress(position) if mark is None else mark.valid_from(position), log=log_name)
