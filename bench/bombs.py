"""What a decompression bomb costs, broker and reader, with and without ``compression.type=uncompressed`` on the topic.

A record of zeros shrinks a thousandfold by gzip, so one that a topic of 1.25 MiB takes may be a gigabyte when it is read. The
question is whether the topic setting helps: the broker then unpacks each batch before it writes it, and refuses what is larger
than ``max.message.bytes``. Each line is a broker of its own (512 MB of Java heap, as demo and tests have it) and a reader of its
own. What follows from the figures is in docs/security.md.

    python bench/bombs.py [--json FILE]
"""

import argparse
import asyncio
import gzip
import logging
import multiprocessing
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from failsoft.cli.report import write_json
from failsoft.testing import EmbeddedKafka

MEBIBYTE = 2**20
SIZES = (1, 20, 200)
SETTINGS = ("producer", "uncompressed")
TOPIC = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(5 * MEBIBYTE // 4)}
PLACE = TopicPartition("bombs", 0)
UNLIMITED = 2**31 - 1
SEND_SECONDS, READ_SECONDS = 30.0, 60.0


@dataclass(frozen=True)
class Line:
    """What one bomb did."""

    compression_type: str
    unpacked_mebibytes: int
    packed_kibibytes: int
    broker: str
    broker_peak_mebibytes: int | None
    reader_peak_mebibytes: int | None


async def send(bootstrap: str, setting: str, mebibytes: int) -> str:
    """Throw a bomb at a new topic; return what the broker did."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(PLACE.topic, 1, 1, topic_configs=TOPIC | {"compression.type": setting})])
    await admin.close()
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, compression_type="gzip", max_batch_size=UNLIMITED, max_request_size=UNLIMITED
    )
    await producer.start()
    try:
        async with asyncio.timeout(SEND_SECONDS):
            await producer.send_and_wait(PLACE.topic, bytes(mebibytes * MEBIBYTE), partition=0)
    except TimeoutError:
        return "gives no answer"
    except KafkaError as error:
        return f"refuses: {type(error).__name__}"
    finally:
        await asyncio.wait({asyncio.ensure_future(producer.stop())}, timeout=5)
    return "takes it"


async def read(bootstrap: str) -> None:
    """Read one record."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    consumer.assign([PLACE])
    await consumer.getone()
    await consumer.stop()


def reader(bootstrap: str, peak: "multiprocessing.Queue[int | None]") -> None:
    """Read in a process of its own, and say how much memory it took."""
    asyncio.run(read(bootstrap))
    peak.put(peak_of(os.getpid()))


def peak_of_reader(bootstrap: str) -> int | None:
    """Read what is there."""
    context = multiprocessing.get_context("spawn")
    peak = context.Queue()
    process = context.Process(target=reader, args=(bootstrap, peak))
    process.start()
    process.join(READ_SECONDS)
    if process.is_alive():
        process.kill()
    return peak.get() if process.exitcode == 0 else None


def peak_of(pid: int | None) -> int | None:
    """The most memory that a process has had, None when it is gone."""
    if pid is None or not (status := Path(f"/proc/{pid}/status")).exists():
        return None
    [peak] = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(peak) // 1024


def measured(setting: str, mebibytes: int) -> Line:
    """Throw one bomb at a broker of its own, and read it if it was taken."""
    with EmbeddedKafka() as kafka:
        broker = asyncio.run(send(kafka.bootstrap_servers, setting, mebibytes))
        is_there = peak_of(kafka.pid)
        read_by = peak_of_reader(kafka.bootstrap_servers) if broker == "takes it" else None
        packed = len(gzip.compress(bytes(mebibytes * MEBIBYTE))) // 1024
        return Line(setting, mebibytes, packed, broker if is_there else "dies", is_there, read_by)


def main() -> None:
    """Measure and print."""
    logging.disable(logging.CRITICAL)
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", metavar="FILE")
    said, started_at = parser.parse_args(), time.time()
    print(f"{'compression.type':16} {'unpacked':>9} {'packed':>8}  {'the broker':30} {'its peak':>9} {'reader':>8}")
    lines = []
    for setting in SETTINGS:
        for mebibytes in SIZES:
            line = measured(setting, mebibytes)
            lines.append(asdict(line))
            peaks = [
                f"{peak} MiB" if peak else "-" for peak in (line.broker_peak_mebibytes, line.reader_peak_mebibytes)
            ]
            print(
                f"{setting:16} {mebibytes:5} MiB {line.packed_kibibytes:4} KiB  {line.broker:30} {peaks[0]:>9} {peaks[1]:>8}"
            )
    if said.json:
        write_json(said.json, command="bench/bombs", started_at=started_at, result={"lines": lines})


if __name__ == "__main__":
    main()
