"""What a pull brings when a record cannot be decoded, by a client that loses what it has taken, as aiokafka does. No broker."""

from collections.abc import Mapping

import pytest
from aiokafka import TopicPartition

from failsoft.kafka import private
from failsoft.kafka.pull import Pull

A, B = TopicPartition("topic", 0), TopicPartition("topic", 1)
BROKEN = "broken"


class Client:
    """Takes from its partitions in their order, and forgets what it has taken when it meets a broken record."""

    def __init__(self, logs: Mapping[TopicPartition, list[str]]) -> None:
        self.logs = logs
        self.positions = dict.fromkeys(logs, 0)
        self.broken: dict[TopicPartition, int] = {}

    def seek(self, place: TopicPartition, offset: int) -> None:
        self.positions[place] = offset

    async def getmany(self, *, timeout_ms: int, max_records: int | None) -> dict[TopicPartition, list[str]]:
        taken: dict[TopicPartition, list[str]] = {}
        for place, log in self.logs.items():
            for record in log[self.positions[place] :]:
                if max_records is not None and sum(map(len, taken.values())) >= max_records:
                    return taken
                if record == BROKEN:
                    self.broken = {place: log.index(BROKEN, self.positions[place])}
                    raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
                taken.setdefault(place, []).append(record)
                self.positions[place] += 1
        return taken


@pytest.fixture(autouse=True)
def _what_the_client_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private, "undecodable", lambda client: client.broken)


async def read_all(client: Client) -> dict[TopicPartition, list[str]]:
    """Everything in order, a broken record as the word for it, at its own offset."""
    pull, found = Pull(), {place: list[str]() for place in client.logs}
    for _ in range(100):
        reached = {place: len(records) for place, records in found.items()}
        pulled = await pull.take(client, timeout_ms=0, reached=reached.copy)
        for place, records in pulled.records.items():
            found[place] += records
        for place, offset in pulled.passed.items():
            assert offset == len(found[place]), "all before it have come"
            found[place].append(BROKEN)
    return found


@pytest.mark.parametrize(
    "logs",
    [
        {A: ["0", "1", "2"], B: [BROKEN]},
        {A: [BROKEN], B: ["0", "1", "2"]},
        {A: ["0", BROKEN, "2"], B: ["0", "1", BROKEN, "3"]},
        {A: [BROKEN, BROKEN, "2", BROKEN], B: ["0"]},
        {A: ["0", "1"], B: []},
    ],
)
async def test_every_record_comes_once_and_in_order_and_a_broken_one_is_told_where_it_stood(logs):
    assert await read_all(Client(logs)) == logs


async def test_a_partition_that_is_lost_meanwhile_is_forgotten():
    client, pull = Client({A: [BROKEN]}), Pull()
    await pull.take(client, timeout_ms=0, reached=lambda: {A: 0})
    client.logs = {}
    assert await pull.take(client, timeout_ms=0, reached=dict) == ({}, {})
