"""Dead letters as lines for people, and as objects for machines."""

import base64
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from failsoft.cli.trail import NAME_COLUMNS, printable
from failsoft.runtime.dead_letters import Letter
from failsoft.wire.dead_letter import DeadLetter
from failsoft.wire.dead_letter_mark import Deed
from failsoft.wire.identity import result_id
from failsoft.wire.replay import Replay
from failsoft.wire.timestamp import format_timestamp


def state(letter: Letter) -> str:
    """Say in a word what was done about it."""
    return "open" if letter.deed is None else letter.deed.value


def table(letters: Sequence[Letter]) -> Iterator[str]:
    """Write one line each, aligned."""
    if not letters:
        return
    rows: list[tuple[str, ...]] = [("written", "reason", "stage", "from", "bytes", "replays", "state", "result")]
    rows += [_row(letter) for letter in letters]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def counted(letters: Iterable[Letter]) -> str:
    """Sum up: how many, and for which reasons."""
    reasons = Counter(letter.reason for letter in letters)
    named = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return f"{reasons.total()} ({named})" if reasons else "none"


def whole_lines(letter: Letter, whole: DeadLetter, *, is_payload_shown: bool) -> Iterator[str]:
    """Tell all of one letter to people; its value only where it was asked for."""
    for name, text in _told(letter, whole):
        if text is not None:
            yield f"{name:<{NAME_COLUMNS}}{printable(text)}"
    for name, value in whole.headers:
        yield f"{'header':<{NAME_COLUMNS}}{printable(name)}: {printable(_text(value or b''))}"
    if is_payload_shown:
        yield f"{'value':<{NAME_COLUMNS}}{'none' if whole.value is None else printable(_text(whole.value))}"


def letter_json(letter: Letter) -> dict[str, Any]:
    """Tell it to machines."""
    return {
        "result_id": letter.result_id,
        "request_source": letter.request.source,
        "request_id": letter.request.id,
        "tenant": letter.tenant,
        "stage": letter.stage,
        "reason": letter.reason,
        "problem": letter.problem,
        "error": letter.error,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "size_bytes": letter.size_bytes,
        "is_whole": letter.is_whole,
        "appended_at": letter.appended_at,
        "places": [{"partition": partition, "offset": offset} for partition, offset in letter.places],
        "state": state(letter),
        "replays": letter.replays,
        "handled_at": None if letter.said is None else letter.said.at,
        "sent_to": None if letter.said is None else letter.said.mark.to,
        "replay_result_id": replay_result_id(letter),
    }


def whole_json(letter: Letter, whole: DeadLetter, *, is_payload_shown: bool) -> dict[str, Any]:
    """Tell all of one letter to machines. Bytes that are no text are shown escaped; ``value_base64`` is exact."""
    told = letter_json(letter) | {
        "key": None if whole.key is None else _text(whole.key),
        "headers": [[name, _text(value or b"")] for name, value in whole.headers],
        "value_sha256": whole.value_sha256,
    }
    if is_payload_shown:
        value = whole.value
        told |= {
            "value": None if value is None else _text(value),
            "value_base64": None if value is None else base64.b64encode(value).decode(),
        }
    return told


def replay_result_id(letter: Letter) -> str | None:
    """The id of the result of its last replay, if there was one."""
    if letter.said is None or letter.said.mark.number == 0 or letter.deed is Deed.DROPPED:
        return None
    return result_id(Replay(Replay.told(letter.request).original, letter.said.mark.number).identity)


def _row(letter: Letter) -> tuple[str, ...]:
    return (
        format_timestamp(letter.appended_at),
        letter.reason,
        printable(letter.stage),
        printable(f"{letter.topic}/{letter.partition}@{letter.offset}"),
        f"{letter.size_bytes}{'' if letter.is_whole else ' not kept'}",
        str(letter.replays),
        state(letter),
        letter.result_id,
    )


def _told(letter: Letter, whole: DeadLetter) -> Iterator[tuple[str, str | None]]:
    yield "result", letter.result_id
    yield "request", f"{letter.request.id} of {letter.request.source}"
    yield "tenant", letter.tenant
    yield "state", state(letter)
    yield "replays", str(letter.replays)
    if letter.said is not None:
        yield "handled at", format_timestamp(letter.said.at)
        yield "sent to", letter.said.mark.to
        yield "new result", replay_result_id(letter)
    yield "written", format_timestamp(letter.appended_at)
    yield "given up by", letter.stage
    yield "reason", letter.reason
    yield "problem", letter.problem or None
    yield "error", letter.error or None
    yield "came from", f"{letter.topic} partition {letter.partition}, offset {letter.offset}"
    yield "stands at", "; ".join(f"partition {partition}, offset {offset}" for partition, offset in letter.places)
    yield "key", None if whole.key is None else _text(whole.key)
    yield "size", f"{letter.size_bytes} bytes{'' if letter.is_whole else ', not kept'}"
    yield "sha256", whole.value_sha256


def _text(data: bytes) -> str:
    return data.decode(errors="backslashreplace")
