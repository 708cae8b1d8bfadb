"""Reads a history back, and refuses one that cannot be believed.

The last line of a file may be torn: its writer was killed in it, and what was not written whole was not said. A torn line
anywhere else, a line that is none of the format, a dump that is not whole, a topic without a dump: the history is unreadable, and
that is said with file and line instead of being judged.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from failsoft.policy.errors import ConfigurationError
from failsoft.runtime.worker_history import WorkerLine
from failsoft.trials.history.lines import (
    DeadLetterLine,
    FaultLine,
    LogBeginLine,
    LogEndLine,
    LogLine,
    ProducerLine,
    ReaderLine,
    RequestLine,
    ResultLine,
    SampleLine,
)
from failsoft.trials.history.trial import TRIAL_FILE, Trial

T = TypeVar("T")

_TRIAL: TypeAdapter[Trial] = TypeAdapter(Trial)
_PRODUCER: TypeAdapter[ProducerLine] = TypeAdapter(Annotated[ProducerLine, Field(discriminator="event")])
_WORKER: TypeAdapter[WorkerLine] = TypeAdapter(Annotated[WorkerLine, Field(discriminator="event")])
_FAULT: TypeAdapter[FaultLine] = TypeAdapter(Annotated[FaultLine, Field(discriminator="event")])
_SAMPLE: TypeAdapter[SampleLine] = TypeAdapter(SampleLine)
_LOG: TypeAdapter[LogLine] = TypeAdapter(Annotated[LogLine, Field(discriminator="event")])
_READER: TypeAdapter[ReaderLine] = TypeAdapter(Annotated[ReaderLine, Field(discriminator="event")])


class UnreadableHistory(ConfigurationError):  # noqa: N818 - named by what is wrong with it
    """It cannot be judged. Names the file, the line and what is wrong."""


@dataclass(slots=True)
class Dump:
    """One dump of a topic: its first line, and its records in the order in which they were read."""

    begin: LogBeginLine
    records: list[RequestLine | ResultLine | DeadLetterLine] = field(default_factory=list)


@dataclass(slots=True)
class History:
    """All that was written down of a trial.

    Attributes:
        trial: what was run.
        producers: file -> its lines, as all that follow, in order.
        workers: file -> lines.
        faults: lines.
        samples: lines.
        dumps: topic -> dumps.
        readers: file -> lines.
    """

    trial: Trial
    producers: dict[str, list[ProducerLine]] = field(default_factory=dict)
    workers: dict[str, list[WorkerLine]] = field(default_factory=dict)
    faults: list[FaultLine] = field(default_factory=list)
    samples: list[SampleLine] = field(default_factory=list)
    dumps: dict[str, list[Dump]] = field(default_factory=dict)
    readers: dict[str, list[ReaderLine]] = field(default_factory=dict)


def load_history(folder: Path) -> History:
    """Read the history in a folder.

    Raises:
        UnreadableHistory: names the file, the line and what is wrong.
    """
    history = History(_trial(folder / TRIAL_FILE))
    history.producers = {path.name: list(_lines(path, _PRODUCER)) for path in _files(folder, "producer-*.jsonl")}
    history.workers = {
        path.name: list(_lines(path, _WORKER)) for path in _files(folder, f"worker-*.{history.trial.stage}.jsonl")
    }
    history.readers = {path.name: list(_lines(path, _READER)) for path in _files(folder, "reader-*.jsonl")}
    for path in _files(folder, "faults.jsonl"):
        history.faults = list(_lines(path, _FAULT))
    for path in _files(folder, "offsets.jsonl"):
        history.samples = list(_lines(path, _SAMPLE))
    for path in _files(folder, "log-*.jsonl"):
        dump = _dump(path)
        history.dumps.setdefault(dump.begin.topic, []).append(dump)
    _check_whole(folder, history)
    return history


def _check_whole(folder: Path, history: History) -> None:
    if not history.producers:
        raise UnreadableHistory(f"{folder}: no producer-*.jsonl: nothing says what was sent")
    missing = [topic for topic in history.trial.topics if topic not in history.dumps]
    if missing:
        raise UnreadableHistory(f"{folder}: no dump of {', '.join(missing)}: the trial did not come to its end")


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern))


def _trial(path: Path) -> Trial:
    try:
        return _TRIAL.validate_json(path.read_bytes())
    except OSError as error:
        raise UnreadableHistory(f"{path}: cannot be read ({error.strerror}); name the folder of a trial") from None
    except ValidationError as error:
        raise UnreadableHistory(f"{path}: {_problem(error)}") from None


def _dump(path: Path) -> Dump:
    lines = _lines(path, _LOG)
    begin = next(lines, None)
    if not isinstance(begin, LogBeginLine):
        raise UnreadableHistory(f"{path}, line 1: a dump begins with its topic")
    dump = Dump(begin)
    is_whole = False
    for line in lines:
        match line:
            case LogEndLine():
                is_whole = line.records == len(dump.records)
            case LogBeginLine():
                raise UnreadableHistory(f"{path}: two dumps in one file")
            case _:
                dump.records.append(line)
    if not is_whole:
        raise UnreadableHistory(f"{path}: the dump is not whole; it ends after {len(dump.records)} records")
    return dump


def _lines(path: Path, adapter: TypeAdapter[T]) -> Iterator[T]:
    """Read a file line by line."""
    validate = adapter.validator.validate_json
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return  # its writer was killed in it
            try:
                yield validate(line)
            except ValidationError as error:
                raise UnreadableHistory(f"{path}, line {number}: {_problem(error)}") from None


def _problem(error: ValidationError) -> str:
    first: Any = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else str(first["msg"])
