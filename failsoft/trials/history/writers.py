"""Who writes the lines of a history: small, and whole after every call, so that a writer may be killed anywhere."""

import itertools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from failsoft.kafka.results import ResultRecord
from failsoft.policy.request import ClassName
from failsoft.runtime.line_file import LineFile
from failsoft.trials.history.lines import (
    FailLine,
    FaultBeginLine,
    FaultEndLine,
    FaultSkippedLine,
    InvokeLine,
    OkLine,
    ReaderEndLine,
    ReaderStartLine,
    SampleLine,
    ShownLine,
    UnknownLine,
    Unreadable,
)

Place = tuple[str, int]
"""Topic and partition number."""


class ProducerHistory:
    """What one producer sent and what came of it.

    Args:
        folder: of the trial.
        number: unlike any other producer's.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._file = LineFile(folder / f"producer-{number}.jsonl")
        self._calls = itertools.count(1)

    def invoke(
        self,
        id_: str | None,
        *,
        topic: str,
        request_class: ClassName,
        budget_seconds: float | None = None,
        tenant: str | None = None,
        is_poison: bool = False,
        asks: str | None = None,
    ) -> int:
        """Write down what is sent next; return the call that its outcome is to be told by.

        Args:
            id_: of its result; None where only its place in the log will name it.
            topic: whither.
            request_class: urgency.
            budget_seconds: that it asks for; None: what its class grants.
            tenant: whose it is.
            is_poison: it is not meant to be served: it is malformed, refused by every model, or kills the process.
            asks: digest of what is asked (:mod:`failsoft.trials.history.echo`); None where no answer will repeat it.
        """
        call = next(self._calls)
        self._file.append(
            InvokeLine(
                time.time(), time.monotonic(), call, id_, topic, request_class, budget_seconds, tenant, is_poison, asks
            )
        )
        return call

    def ok(self, call: int, id_: str, *, partition: int, offset: int, appended_at: float) -> None:
        """The broker has it."""
        self._file.append(OkLine(time.time(), time.monotonic(), call, id_, partition, offset, appended_at))

    def fail(self, call: int, problem: str) -> None:
        """It was surely not written, and will never be: refused before it was sent, or by the broker for good."""
        self._file.append(FailLine(time.time(), time.monotonic(), call, problem))

    def unknown(self, call: int, problem: str) -> None:
        """It may be there, or come yet: a timeout, a cut, a cancelled send."""
        self._file.append(UnknownLine(time.time(), time.monotonic(), call, problem))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class FaultHistory:
    """When faults began and ended."""

    def __init__(self, folder: Path) -> None:
        self._file = LineFile(folder / "faults.jsonl")
        self._faults = itertools.count(1)

    def begin(self, kind: str, target: str, detail: str = "") -> int:
        """Write down, right before it strikes, a fault; return the number that its end is to be told by."""
        fault = next(self._faults)
        self._file.append(FaultBeginLine(time.time(), fault, kind, target, detail))
        return fault

    def end(
        self,
        fault: int,
        *,
        unreadable: Sequence[Unreadable] = (),
        recreated: Sequence[str] = (),
        forgot_offsets: bool = False,
    ) -> None:
        """It is healed: the process is back and ready, the proxy passes again, the topic is there.

        Args:
            fault: which.
            unreadable: what an operator took away before it was read.
            recreated: topics that an operator deleted and made anew.
            forgot_offsets: an operator deleted the group's offsets, or let them expire.
        """
        self._file.append(FaultEndLine(time.time(), fault, tuple(unreadable), tuple(recreated), forgot_offsets))

    def skipped(self, kind: str, why: str) -> None:
        """This machine cannot have it."""
        self._file.append(FaultSkippedLine(time.time(), kind, why))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class OffsetHistory:
    """How far the group was. Sample about once a second; what cannot be learnt while brokers are away is left out."""

    def __init__(self, folder: Path) -> None:
        self._file = LineFile(folder / "offsets.jsonl")

    def sample(self, committed: Mapping[Place, int], bounds: Mapping[Place, tuple[int, int]]) -> None:
        """Write down what was just learnt, of all places that either names."""
        nothing = (None, None)
        places = tuple(
            (*place, committed.get(place), *bounds.get(place, nothing))
            for place in sorted(committed.keys() | bounds.keys())
        )
        self._file.append(SampleLine(time.time(), places))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class ReaderHistory:
    """What one life of a reader of results was shown, in order.

    Args:
        folder: of the trial.
        number: unlike that of any other life of any reader.
        is_from_beginning: whether it starts at the beginning of the log. Say so right after its start.
    """

    def __init__(self, folder: Path, number: int, *, is_from_beginning: bool) -> None:
        self._file = LineFile(folder / f"reader-{number}.jsonl")
        self._file.append(ReaderStartLine(time.time(), is_from_beginning))

    def shown(self, record: ResultRecord) -> None:
        """It was shown this."""
        id_ = "" if record.key is None else record.key.decode(errors="replace")
        self._file.append(ShownLine(time.time(), record.partition, record.offset, id_))

    def ended(self) -> None:
        """It has read to the end that the log had at its start (``until_end``)."""
        self._file.append(ReaderEndLine(time.time()))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
