"""Fuzzes the decoders of headers and values: ``python -m tests.wire.fuzz --seconds 60 [--seed N]``.

Begins with the golden examples of schemas/ and changes them: bytes flipped, cut, doubled, spliced with those of another example
or with pieces that parsers stumble over; headers dropped, doubled, swapped, emptied. What a decoder does with it has to be one
of two things: return a value, or raise MalformedRecord. What it returns has to survive: written again and read again it is the
same. And no record may take longer than the worst document known (``SECONDS_MAX``, in processor time of this process).

A run is as good as its seed: it prints the seed, and the record that broke something, as a line of Python. Exit code 1 then.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from failsoft.policy.errors import MalformedRecord
from failsoft.wire import RequestLine
from failsoft.wire.answer import decode_answer, encode_answer
from failsoft.wire.attributes import PLAIN, Attributes
from failsoft.wire.body import (
    OutputLine,
    decode_output,
    decode_request,
    encode_output,
    encode_request,
    salvage_custom_id,
)
from failsoft.wire.content_key import content_key
from failsoft.wire.control import decode_control, encode_control
from failsoft.wire.dead_letter import decode_dead_letter, encode_dead_letter
from failsoft.wire.dead_letter_mark import decode_mark, encode_mark
from failsoft.wire.degradation import decode_cell, encode_cell
from failsoft.wire.envelope import decode_headers, encode_request_headers, salvage_headers
from failsoft.wire.identity import Identity
from failsoft.wire.limits import VALUE_BYTES
from failsoft.wire.profile import decode_fleet_profile, encode_fleet_profile
from failsoft.wire.register import decode_register, encode_register
from failsoft.wire.replay import Replay, encode_replay
from failsoft.wire.result import decode_result
from failsoft.wire.rollup import decode_rollup, encode_rollup

EXAMPLES: Final = Path(__file__).parents[2] / "schemas" / "examples"
SECONDS_MAX: Final = 2.0
"""Ten times what the worst document known takes (wire/limits.py), so that a busy machine is no finding."""
PIECES: Final = (
    b"[" * 70, b"]" * 70, b"{" * 2_000, b'{"a":' * 66, b'"', b"\\", b'\\"', b"\\ud800", b"\xff", b"\x00", b"NaN", b"1e999",
    b"-", b"18446744073709551616", b"9" * 400, b'"a":1,"a":2', b",", b":", b"null", b"\xef\xbb\xbf",
    b"0.1e-400", b"\n", b" " * 100,
)  # fmt: skip
HEADER_VALUES: Final = (
    None, b"", b"0", b"-1", b"9" * 5_000, b"true", b"2026-02-30T00:00:00Z", b"0001-01-01T00:00:00+23:59", b"\xff\xfe", b"a\x00b",
    b"application/json; charset=latin-1", b"application/cloudevents+json", b"1.0", b"x" * 9_000, "é".encode(),
    "\u202e\u0085".encode(), b"9999-12-31T23:59:59-23:59", b"2147483648",
)  # fmt: skip
CHANGES: Final = (0, 0, 1, 1, 2, 4)
"""How many of the headers, and of the value: few, or nothing is left to be read."""


class Sample(NamedTuple):
    """A record."""

    key: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    value: bytes | None


Check = Callable[[Sample], None]


def examples() -> list[Sample]:
    """The golden examples, as they stand in the log."""
    found = []
    for path in sorted(EXAMPLES.glob("*.json")):
        said = json.loads(path.read_text())
        headers = tuple((name, value.encode()) for name, value in said.get("headers", {}).items())
        value = said.get("value")
        found.append(
            Sample((said.get("key") or "").encode() or None, headers, None if value is None else orjson.dumps(value))
        )
    return found


# What must hold.


def a_request(sample: Sample) -> None:
    """A worker's way: read, else save what can be saved, which never fails."""
    place: dict[str, Any] = {"topic": "t", "partition": 0, "offset": 0}
    salvage_headers(sample.headers, **place)
    salvage_custom_id(sample.value)
    with suppress(MalformedRecord):
        envelope = decode_headers(sample.headers, **place)
        again = encode_request_headers(envelope, budget_seconds=1.0, sent_at=1_800_000_000.0)
        assert decode_headers(again, **place).identity == envelope.identity
        line = decode_request(sample.value)
        try:
            survives = _survives(line)
        except MalformedRecord as error:
            raise AssertionError("a request that was read cannot be written") from error
        assert survives, "a request is not the same when it was written again"
        assert content_key(line, tenant=envelope.tenant, stage="s", coalesce="always")


def _survives(line: RequestLine) -> bool:
    """Written once more only what is below a millisecond may be missing, and the second time nothing."""
    once = _written_again(line)
    context = {name: replace(part, produced_at=once.context[name].produced_at) for name, part in line.context.items()}
    return once == replace(line, context=context) and _written_again(once) == once


def _written_again(line: RequestLine) -> RequestLine:
    """Written by us a request may be a little longer than it was."""
    limit_bytes = 2 * VALUE_BYTES
    return decode_request(encode_request(line, limit_bytes=limit_bytes), limit_bytes=limit_bytes)


def a_result(sample: Sample) -> None:
    """A reader's way."""
    with suppress(MalformedRecord):
        decode_result(sample.headers, sample.value)
    with suppress(MalformedRecord):
        line = decode_output(sample.value)
        try:
            again = decode_output(encode_output(line))
        except MalformedRecord as error:
            raise AssertionError("a result that was read cannot be written") from error
        assert again == line, "a result is not the same when it was written again"


def a_dead_letter(sample: Sample) -> None:
    """An operator's way."""
    with suppress(MalformedRecord):
        letter = decode_dead_letter(sample.key, sample.value, sample.headers)
        record = encode_dead_letter(letter)
        assert decode_dead_letter(record.key, record.value, record.headers).reason is letter.reason
        replay = Replay(Replay.told(letter.request).original, 1)
        sent = encode_replay(letter, replay, expires_at=1.8e9 + 60, sent_at=1.8e9)
        names = [header for header in sent.headers if header[0] in ("ce_source", "ce_id")]
        assert Replay.told(Identity.said(Attributes(names), topic="", partition=0, offset=0)) == replay


def a_mark(sample: Sample) -> None:
    """What an operator has done."""
    with suppress(MalformedRecord):
        mark = decode_mark(sample.headers)
        assert decode_mark(encode_mark(mark).headers) == mark


def an_answer(sample: Sample) -> None:
    """The way of a worker that hears what others have answered: what it takes, a result can carry."""
    with suppress(MalformedRecord):
        answer = decode_answer(sample.key, sample.headers, sample.value or b"")
        record = encode_answer(answer, pipeline="p")
        assert decode_answer(record.key, record.headers, record.value or b"") == answer
        encode_output(OutputLine("id", None, 200, "r", answer.body))


def a_rollup(sample: Sample) -> None:
    """The way of whoever adds up what workers tell."""
    with suppress(MalformedRecord):
        rollup = decode_rollup(sample.value, sample.headers)
        if rollup is not None:
            record = encode_rollup(rollup, pipeline="p", id_="1")
            assert decode_rollup(record.value, record.headers) == rollup, "a roll-up is not the same when written again"


def a_read_model(sample: Sample) -> None:
    """The way of workers to the fleet's latency, and of people to the ledger."""
    with suppress(MalformedRecord):
        profile = decode_fleet_profile(sample.value)
        assert decode_fleet_profile(encode_fleet_profile(*profile).value) == profile, "a profile has changed"
    with suppress(MalformedRecord):
        cell = decode_cell(sample.value)
        assert decode_cell(encode_cell(*cell).value) == cell, "a cell of the ledger has changed"


def a_word_on_a_breaker(sample: Sample) -> None:
    """The view's way."""
    with suppress(MalformedRecord):
        said = decode_register(sample.key, sample.value, sample.headers)
        if said.register is not None:
            record = encode_register(*said[:2], said.register)
            again = decode_register(record.key, record.value, record.headers)
            assert again.register is not None
            assert again.register.word.order == said.register.word.order, "a register has changed"
            assert again.register.buckets == said.register.buckets
    with suppress(MalformedRecord):
        control = decode_control(sample.value, sample.headers)
        if control is not None:
            written = encode_control(control)
            again_said = decode_control(written.value, written.headers)
            assert again_said is not None
            assert again_said.force is control.force


CHECKS: Final[tuple[Check, ...]] = (
    a_request, a_result, a_dead_letter, a_mark, an_answer, a_rollup, a_read_model, a_word_on_a_breaker,
)  # fmt: skip


# Changes.


def changed(rng: random.Random, seeds: Sequence[Sample]) -> Sample:
    """An example with a few changes."""
    sample = rng.choice(seeds)
    headers, value = list(sample.headers), sample.value
    for _ in range(rng.choice(CHANGES)):
        _change_headers(rng, headers, rng.choice(seeds))
    for _ in range(rng.choice(CHANGES)):
        value = _changed_value(rng, value or b"", rng.choice(seeds).value or b"")
    return Sample(sample.key, tuple(headers), value if rng.random() < 0.98 else None)


def _change_headers(rng: random.Random, headers: list[tuple[str, bytes | None]], other: Sample) -> None:
    at = rng.randrange(len(headers) + 1)
    match rng.randrange(6):
        case 0:
            headers[at : at + 1] = []
        case 1:
            headers[at:at] = headers[at : at + 1]
        case 2:
            headers[at:at] = other.headers[: rng.randint(0, 30)]
        case 3:
            headers.append((rng.choice(sorted(PLAIN)), rng.choice(HEADER_VALUES)))
        case 4 if headers:
            name, _ = headers[at % len(headers)]
            headers[at % len(headers)] = (name, rng.choice(HEADER_VALUES))
        case _ if headers:
            name, value = headers[at % len(headers)]
            headers[at % len(headers)] = (name, _changed_value(rng, value or b"", b""))


def _changed_value(rng: random.Random, value: bytes, other: bytes) -> bytes:
    at, to = sorted(rng.randint(0, len(value)) for _ in "ab")
    match rng.randrange(7):
        case 0:
            return value[:at] + rng.randbytes(rng.randint(1, 4)) + value[to:]
        case 1:
            return value[:at] + value[to:]
        case 2:
            return value[:to] + value[at:]
        case 3:
            return value[:at] + rng.choice(PIECES) + value[at:]
        case 4:
            return value[:at] + rng.choice(PIECES) + value[to:]
        case 5:
            return value[:at] + other[rng.randint(0, len(other)) :]
        case _:
            return (
                value[:at] + bytes([value[at] ^ 1 << rng.randrange(8)]) + value[at + 1 :] if at < len(value) else value
            )


# A run.


def trouble(sample: Sample) -> str | None:
    """What a record breaks, None if nothing."""
    for check in CHECKS:
        began = time.process_time()
        try:
            check(sample)
        except Exception as error:  # whatever it is, it is what we look for
            return f"{check.__name__}: {error!r}"
        if (seconds := time.process_time() - began) > SECONDS_MAX:
            return f"{check.__name__}: took {seconds:.1f} s"
    return None


def is_read(sample: Sample) -> bool:
    """Whether a change left a request that a worker takes: a fuzzer whose records are all refused at the door tests the door."""
    with suppress(MalformedRecord):
        decode_headers(sample.headers, topic="t", partition=0, offset=0)
        decode_request(sample.value)
        return True
    return False


def fuzz(*, seed: int, seconds: float = float("inf"), records: int | None = None) -> tuple[Counter[str], list[str]]:
    """Try records until the time is over, or so many of them; return the counts, and what was found."""
    rng, seeds, ends_at = random.Random(seed), examples(), time.monotonic() + seconds
    counts, found = Counter[str](), list[str]()
    while time.monotonic() < ends_at and len(found) < 5 and counts["records"] != records:
        sample = changed(rng, seeds)
        counts["records"] += 1
        counts["requests that were read"] += is_read(sample)
        if problem := trouble(sample):
            found.append(f"{problem}\n  {sample!r}")
    return counts, found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.wire.fuzz")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    said = parser.parse_args(arguments)
    counts, found = fuzz(seed=said.seed, seconds=said.seconds)
    print(
        f"seed {said.seed}: "
        + ", ".join(f"{count} {name}" for name, count in counts.items())
        + f", {len(found)} findings"
    )
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
