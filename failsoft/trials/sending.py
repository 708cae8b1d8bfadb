"""Sends the jobs of a trial as `failsoft submit` does, and enters into the ledger what the broker has accepted.

All classes begin at the same time. Where a class has several jobs they follow one another, half a second apart: a flow beside
the flood of those that come as one file.
"""

import asyncio
import itertools
import time
from collections.abc import Iterable, Sequence

from failsoft.catalogue import Catalogue
from failsoft.kafka import Connection, Outbox
from failsoft.policy.errors import ConfigurationError
from failsoft.runtime.batch_file import BatchFile
from failsoft.runtime.submission import Accepted, Destination, Refused, choose_destination, submit_batch
from failsoft.trials.digits import Job
from failsoft.trials.ledger import Ledger

JOB_EVERY_SECONDS = 0.5


async def send_jobs(
    connection: Connection, catalogue: Catalogue, jobs: Iterable[Job], ledger: Ledger, *, pipeline: str
) -> float:
    """Send all jobs; return when the last request was acknowledged, monotonic seconds.

    Raises:
        ConfigurationError: the topics keep the senders' time, by which nothing can be judged, or refuse requests.
    """
    flows: dict[Destination, list[Job]] = {}
    for job in jobs:
        destination = choose_destination(catalogue, pipeline=pipeline, request_class=job.request_class)
        flows.setdefault(destination, []).append(job)
    outbox = Outbox(connection)
    await outbox.start()
    try:
        ends = await asyncio.gather(*(_send(outbox, destination, flow) for destination, flow in flows.items()))
    finally:
        await outbox.close()
    for end in itertools.chain.from_iterable(ends):
        match end:
            case Accepted() if end.place.appended_at is not None:
                ledger.accept(end.result_id, appended_at=end.place.appended_at)
            case Accepted():
                raise ConfigurationError("a trial needs the broker's time: set message.timestamp.type: LogAppendTime")
            case Refused():
                raise ConfigurationError(f"the broker or its topics refuse what the trial asks: {end.problem}")
    return time.monotonic()


async def _send(outbox: Outbox, destination: Destination, jobs: Sequence[Job]) -> list[Accepted | Refused]:
    ends: list[Accepted | Refused] = []
    for position, job in enumerate(jobs):
        if position:
            await asyncio.sleep(JOB_EVERY_SECONDS)
        with job.path.open("rb") as opened:
            await submit_batch(outbox, BatchFile(opened), destination, ends.append)
    return ends
