"""Histories that a system which keeps its promises could have left behind, drawn from a seed, and written like those of a trial.

Requests come evenly, two workers own half of the partitions each, calls take a random while, commits follow the low watermark.
One worker is killed: what it had in hand comes again, at the other, after the session timeout. A topic of class "slow" has a
minute, one of class "fast" five seconds, so that some of what waited through the crash expires. Some sends fail, some are
unknown, and of those some stand in the log.
"""

import math
import random
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from failsoft.runtime.line_file import LineFile
from failsoft.runtime.worker_history import (
    CommittedLine,
    EndedLine,
    ExecuteLine,
    PublishedLine,
    StartedLine,
    TookLine,
    WorkerLine,
)
from failsoft.trials.history import Bounds, History, Trial, TrialClass, write_trial
from failsoft.trials.history.lines import (
    FailLine,
    FaultBeginLine,
    FaultEndLine,
    InvokeLine,
    LogBeginLine,
    LogEndLine,
    OkLine,
    ProducerLine,
    ReaderEndLine,
    ReaderLine,
    ReaderStartLine,
    RequestLine,
    ResultLine,
    SampleLine,
    ShownLine,
    UnknownLine,
)
from failsoft.trials.history.loading import Dump

BEGAN_AT = 1_000_000.0
EVERY_SECONDS = 0.25
PARTITIONS = 2
SESSION_SECONDS = 6.0
TOPICS = {"fast": "p.s.fast", "slow": "p.s.slow"}
BUDGETS = {"fast": 5.0, "slow": 60.0}
RESULTS, DEAD_LETTERS = "p.results", "p.dead-letters"
CANARIES = {"ann": "canary-ann", "bob": "canary-bob"}
PRODUCER, READER = "producer-1.jsonl", "reader-1.jsonl"
WORKERS = ("worker-one.s.jsonl", "worker-two.s.jsonl")


@dataclass
class Log:
    """A partition of requests: what the workers do with it."""

    request_class: str
    number: int
    records: list[RequestLine] = field(default_factory=list)
    done_at: dict[int, float] = field(default_factory=dict)
    committed: list[tuple[float, int]] = field(default_factory=list)


def good_history(seed: int = 1, *, requests: int = 240) -> History:
    """A minute of a system that keeps its promises, a worker of it killed in the middle."""
    return _Drawing(random.Random(seed), requests).history()


class _Drawing:
    def __init__(self, rng: random.Random, requests: int) -> None:
        self.rng = rng
        self.requests = requests
        self.killed_at = BEGAN_AT + requests * EVERY_SECONDS * rng.uniform(0.2, 0.4)
        self.taken_over_at = self.killed_at + SESSION_SECONDS
        self.logs = {(name, n): Log(name, n) for name in TOPICS for n in range(PARTITIONS)}
        self.producer: list[ProducerLine] = []
        self.workers: dict[str, list[WorkerLine]] = {
            name: [StartedLine(BEGAN_AT - 1, name, 7, "p", "s")] for name in WORKERS
        }
        self.results: list[tuple[float, str, str, str | None]] = []
        """When it was appended, its id, its outcome, its tenant."""
        self.calls = 0

    def history(self) -> History:
        self._send()
        for log in self.logs.values():
            self._work(log)
            self._commit(log)
        results = self._result_lines()
        for lines in self.workers.values():
            lines.sort(key=lambda line: line.at)
        trial = Trial(
            "p",
            "s",
            {name: TrialClass(topic, BUDGETS[name], BUDGETS[name]) for name, topic in TOPICS.items()},
            RESULTS,
            DEAD_LETTERS,
            "failsoft.p.s",
            None,
            BEGAN_AT,
            CANARIES,
        )
        history = History(trial, {PRODUCER: self.producer}, dict(self.workers))
        history.faults = [
            FaultBeginLine(self.killed_at, 1, "kill", "worker one"),
            FaultEndLine(self.taken_over_at + 1, 1),
        ]
        history.samples = list(self._samples())
        history.dumps = {
            **{topic: [self._dump(name)] for name, topic in TOPICS.items()},
            RESULTS: [Dump(self._begin(RESULTS, results), [*results])],
            DEAD_LETTERS: [Dump(self._begin(DEAD_LETTERS, []), [])],
        }
        history.readers = {READER: list(self._shown(results))}
        return history

    def _send(self) -> None:
        for number in range(1, self.requests + 1):
            name, at = self.rng.choice(list(TOPICS)), BEGAN_AT + number * EVERY_SECONDS
            id_, tenant = f"id-{number}", self.rng.choice([None, *CANARIES])
            self.producer.append(InvokeLine(at, at, number, id_, TOPICS[name], name, BUDGETS[name], tenant))
            fate = self.rng.choices(["ok", "fail", "unknown", "killed"], [90, 3, 5, 2])[0]
            if fate == "fail":
                self.producer.append(FailLine(at, at, number, "refused"))
                continue
            if fate == "unknown":
                self.producer.append(UnknownLine(at + 1, at + 1, number, "timeout"))
            if fate != "ok" and self.rng.random() < 0.5:
                continue  # it was never written
            log = self.logs[name, self.rng.randrange(PARTITIONS)]
            place = (log.number, len(log.records), round(at + 0.01, 3))
            expires_at = at + BUDGETS[name]
            log.records.append(RequestLine(*place, f"digest-{id_}", id_, expires_at, tenant))
            if fate == "ok":
                self.producer.append(OkLine(at + 0.02, at + 0.02, number, id_, *place))

    def _work(self, log: Log) -> None:
        """The owner of the partition takes each record; what it has not committed when it is killed is taken again."""
        owner = WORKERS[log.number]
        for record in log.records:
            took_at = record.appended_at + 0.01
            done_at = self._serve(log, record, owner, took_at) if self._lives(owner, took_at) else math.inf
            if not self._lives(owner, done_at):
                done_at = self._serve(log, record, WORKERS[1], max(self.taken_over_at, took_at))
            elif not self._lives(owner, done_at + 0.5) and self.rng.random() < 0.5:
                self._serve(log, record, WORKERS[1], self.taken_over_at)  # done, and not committed: a repeat in the log
            log.done_at[record.offset] = done_at

    def _lives(self, worker: str, at: float) -> bool:
        return worker != WORKERS[0] or at < self.killed_at

    def _serve(self, log: Log, record: RequestLine, worker: str, took_at: float) -> float:
        """Return when its result was appended; if the worker dies before, what it had written down stays."""
        place, lines = (log.request_class, log.number, record.offset), self.workers[worker]
        lines.append(TookLine(took_at, *place, record.id, None))
        outcome, done_at = "expired", took_at + 0.01
        assert record.expires_at is not None
        if record.expires_at > took_at:
            self.calls += 1
            call, began_at, done_at = self.calls, took_at + 0.01, took_at + self.rng.uniform(0.05, 0.5)
            outcome = "ok"
            lines.append(ExecuteLine(began_at, call, *place, "large", 1, began_at, record.expires_at))
            if self._lives(worker, done_at):
                lines.append(EndedLine(done_at - 0.01, call, "ok"))
        if self._lives(worker, done_at):
            self.results.append((round(done_at, 3), record.id, outcome, record.tenant))
            lines.append(PublishedLine(done_at + 0.01, *place))
        return round(done_at, 3)

    def _commit(self, log: Log) -> None:
        """Every half second, the low watermark; a killed worker's successor begins where it was."""
        at, end = BEGAN_AT, BEGAN_AT + self.requests * EVERY_SECONDS + 70
        all_done_at = list(accumulate((log.done_at[record.offset] for record in log.records), max))
        while at < end:
            worker = WORKERS[log.number] if self._lives(WORKERS[log.number], at) else WORKERS[1]
            is_owned = self._lives(WORKERS[log.number], at) or at > self.taken_over_at
            offset = bisect_left(all_done_at, at - 0.02)
            if is_owned and offset > (log.committed[-1][1] if log.committed else 0):
                log.committed.append((at, offset))
                assignment = 1 if at < self.taken_over_at else 2
                line = CommittedLine(at + 0.005, ((log.request_class, log.number, offset, assignment),))
                self.workers[worker].append(line)
            at += 0.5

    def _result_lines(self) -> list[ResultLine]:
        ends, lines = defaultdict[int, int](int), list[ResultLine]()
        for at, id_, outcome, tenant in sorted(self.results):
            partition = int(id_.removeprefix("id-")) % PARTITIONS
            canaries = () if tenant is None else (tenant,)
            place = (partition, ends[partition], at)
            ends[partition] += 1
            reason = "none" if outcome == "ok" else "deadline_passed"
            lines.append(ResultLine(*place, f"digest-{place}", id_, outcome, reason, "large", 1, 1, canaries))
        return lines

    def _samples(self) -> Iterator[SampleLine]:
        for second in range(int(self.requests * EVERY_SECONDS) + 75):
            at = BEGAN_AT + second
            places = []
            for log in self.logs.values():
                commits = bisect_left(log.committed, (at,))
                committed = log.committed[commits - 1][1] if commits else None
                end = bisect_left(log.records, at, key=lambda record: record.appended_at)
                places.append((TOPICS[log.request_class], log.number, committed, 0, end))
            yield SampleLine(at, tuple(places))

    def _dump(self, name: str) -> Dump:
        records = [record for log in self.logs.values() if log.request_class == name for record in log.records]
        return Dump(self._begin(TOPICS[name], records), [*records])

    def _begin(self, topic: str, records: Sequence[RequestLine | ResultLine]) -> LogBeginLine:
        ends = [sum(record.partition == number for record in records) for number in range(PARTITIONS)]
        bounds = tuple(Bounds(0, end) for end in ends)
        return LogBeginLine(BEGAN_AT + self.requests * EVERY_SECONDS + 80, topic, 0, bounds)

    def _shown(self, results: Sequence[ResultLine]) -> Iterator[ReaderLine]:
        yield ReaderStartLine(BEGAN_AT + self.requests * EVERY_SECONDS + 81, is_from_beginning=True)
        seen = set()
        for line in results:
            if line.id is not None and line.id not in seen:
                seen.add(line.id)
                yield ShownLine(BEGAN_AT + 900, line.partition, line.offset, line.id)
        yield ReaderEndLine(BEGAN_AT + 901)


def write_history(folder: Path, history: History) -> None:
    """Write it the way a trial does."""
    write_trial(folder, history.trial)
    files: dict[str, Sequence[object]] = {
        **history.producers,
        **history.workers,
        **history.readers,
        "faults.jsonl": history.faults,
        "offsets.jsonl": history.samples,
    }
    for topic, dumps in history.dumps.items():
        for number, dump in enumerate(dumps):
            end = LogEndLine(dump.begin.at, len(dump.records))
            files[f"log-{topic}.{number}.jsonl"] = [dump.begin, *dump.records, end]
    for name, lines in files.items():
        file = LineFile(folder / name)
        for line in lines:
            file.append(line)
        file.close()
