import logging

import aiokafka.conn  # noqa: F401 - its logger must exist
import pytest
from aiokafka.errors import GroupCoordinatorNotAvailableError, NotLeaderForPartitionError, OutOfOrderSequenceNumber

from failsoft.kafka.logs import Repeats, hold_back_aiokafka


def record(message: str, *args: object, level: int = logging.ERROR) -> logging.LogRecord:
    return logging.LogRecord("aiokafka.conn", level, "conn.py", 1, message, args, None)


def test_a_kind_of_line_passes_once_and_tells_later_how_many_it_stands_for():
    lines = Repeats(seconds=0)
    lines.filter(record("to %s", "a"))
    lines._passed = {kind: (at, 3) for kind, (at, _) in lines._passed.items()}
    later = record("to %s", "b")
    assert lines.filter(later)
    assert later.getMessage() == "to b (3 more like it)"


def test_kinds_are_told_apart_by_their_template_and_not_by_their_values():
    lines = Repeats(seconds=1_000)
    assert [bool(lines.filter(line)) for line in (record("to %s", "a"), record("to %s", "b"), record("from %s", "a"))] == [
        True, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("argument", "level"),
    [
        (GroupCoordinatorNotAvailableError(), logging.INFO),
        (NotLeaderForPartitionError, logging.INFO),
        (OutOfOrderSequenceNumber(), logging.ERROR),
        (ConnectionRefusedError(), logging.ERROR),
        ("aiokafka", logging.ERROR),
    ],
)
def test_what_is_retried_anyway_is_no_alarm(argument, level):
    line = record("failed: %s", argument)
    assert Repeats().filter(line)
    assert line.levelno == level


@pytest.mark.parametrize("name", ["aiokafka", "aiokafka.conn", "aiokafka.producer.producer"])
def test_nothing_below_info_is_logged_even_where_debug_was_asked_for(name, caplog):
    hold_back_aiokafka()
    logger = logging.getLogger(name)
    level = logger.level
    with caplog.at_level(logging.DEBUG, logger=name):
        hold_back_aiokafka()
        logger.debug("SASL bytes")
    logger.setLevel(level)
    assert caplog.records == []
