"""The metadata of a commit: a string of at most 4,096 bytes beside the offset, in which the next owner reads how far we were.

    f1;<highest started - offset + 1>;<newest, ms>;<clean: 1 or 0>;<crashes>;<alone: 1 or 0>;<log>;<map>

The log is named by the first eight hexadecimal digits of the id that the broker gave to the topic; it is empty where it tells
none. An offset of one log means nothing in another, so a commit that names another is void, offset and all. Eight digits
fail to tell two logs apart one time in four thousand million.

The map has one bit for each offset from the committed one on, set where the record is done, as base64 of zlib. It is dropped
where it would not fit: those records are then run again, and their results are repeats that nobody sees. Whatever cannot be read,
a commit of other software or of a version to come, says nothing: the offset holds alone.

The instant is rounded up to the millisecond, which is what the broker stamps in: a record that it speaks of is never after it.

Source: research/kafka.md §2 (4,096 bytes hold about 24,500 offsets as they come; broker limit ``offset.metadata.max.bytes``).
"""

import math
import re
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Final

from failsoft.policy.offsets import SPAN_MAX
from failsoft.policy.progress import Progress

METADATA_BYTES_MAX: Final = 4_096
_VERSION: Final = "f1"
_MAP_BYTES_MAX: Final = SPAN_MAX // 8 + 1
_CRASHES_MAX: Final = 1_000
LOG_DIGITS: Final = 8
_LOG = re.compile(rf"(?:[0-9a-f]{{{LOG_DIGITS}}})?")
_MILLISECONDS_MAX: Final = 2**53


def encode_progress(progress: Progress) -> str:
    """Write the metadata that stands beside ``progress.offset``."""
    started = max(progress.highest_started - progress.offset + 1, 0)
    newest = math.ceil(progress.newest_at * 1000)
    crashes = min(progress.crashes, _CRASHES_MAX)
    head = f"{_VERSION};{started};{newest};{int(progress.is_clean)};{crashes};{int(progress.is_alone)};{progress.log};"
    encoded = head + _encoded_map(offset - progress.offset for offset in progress.finished)
    return encoded if len(encoded) <= METADATA_BYTES_MAX else head


def decode_progress(offset: int, metadata: str | None) -> Progress:
    """Read what stands beside a committed offset; what cannot be read says nothing."""
    try:
        version, started, newest, clean, crashes, alone, log, bits = (metadata or "").split(";")
        if version != _VERSION:
            return Progress(offset)
        return Progress(
            offset,
            frozenset(offset + above for above in _decoded_map(bits)),
            offset + _natural(started, SPAN_MAX * 2) - 1,
            _natural(newest, _MILLISECONDS_MAX) / 1000,
            clean == "1",
            _natural(crashes, _CRASHES_MAX),
            alone == "1",
            _log_name(log),
        )
    except (ValueError, zlib.error):
        return Progress(offset)


def _log_name(text: str) -> str:
    if not _LOG.fullmatch(text):
        raise ValueError(f"{text!r} names no log")
    return text


def _natural(text: str, at_most: int) -> int:
    number = int(text)
    if not 0 <= number <= at_most:
        raise ValueError(f"{number} is not between 0 and {at_most}")
    return number


def _encoded_map(above: Iterable[int]) -> str:
    bits = 0
    for place in above:
        bits |= 1 << place
    return b64encode(zlib.compress(bits.to_bytes((bits.bit_length() + 7) // 8, "little"))).decode() if bits else ""


def _decoded_map(text: str) -> list[int]:
    if not text:
        return []
    unpacker = zlib.decompressobj()
    raw = unpacker.decompress(b64decode(text, validate=True), _MAP_BYTES_MAX)
    if not unpacker.eof:
        raise ValueError("the map is longer than a partition may have records under way")
    bits = int.from_bytes(raw, "little")
    return [place for place in range(bits.bit_length()) if bits >> place & 1]
