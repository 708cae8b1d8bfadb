"""How long calls took, on the wire: inside roll-ups, and as the fleet's profile in ``<pipeline>.latency``.

    {"answers": {"seconds": 3.1, "counts": [[-12, 4], [7, 1]]}, "cut": {"seconds": 0, "counts": []}}

``counts`` are pairs of bucket and calls, ascending; bucket ``k`` ends at ``gamma^k`` seconds, ``gamma = 1.01 / 0.99``
(:mod:`failsoft.policy.histogram`). ``seconds`` is the sum of all. A record of the topic says also where the calls went: it
is keyed by that, and without a value it is withdrawn.
"""

import math
from typing import Any, Final

import orjson

from failsoft.policy.errors import MalformedRecord
from failsoft.policy.histogram import BUCKETS, LogHistogram
from failsoft.policy.profile import Profile
from failsoft.policy.rollup import Place
from failsoft.wire.attributes import encode_attributes
from failsoft.wire.envelope import CONTENT_TYPE
from failsoft.wire.limits import parse_json
from failsoft.wire.members import INTEGER_MAX, check_members, member
from failsoft.wire.record import Record

PROFILE_TYPE: Final = "failsoft.latency.v1"

_MEMBERS: Final = ("stage", "tier", "region", "answers", "cut")
_HISTOGRAM_MEMBERS: Final = ("seconds", "counts")
_PAIR: Final = 2


def encode_fleet_profile(place: Place, profile: Profile) -> Record:
    """Write a record of ``<pipeline>.latency``."""
    document = {**place._asdict(), **encode_profile(profile)}
    headers = encode_attributes({"ce_type": PROFILE_TYPE, "content-type": CONTENT_TYPE})
    return Record("/".join(place).encode(), orjson.dumps(document), headers)


def decode_fleet_profile(value: bytes | None) -> tuple[Place, Profile]:
    """Read the value of a record of ``<pipeline>.latency``.

    Raises:
        MalformedRecord: it is none; names the member.
    """
    document = parse_json(value or b"")
    check_members(document, "value", _MEMBERS)
    stage, tier, region = (member(document, name, str) for name in Place._fields)
    return Place(stage, tier, region), decode_profile(document)


def encode_profile(profile: Profile) -> dict[str, Any]:
    """Write a profile, as members of an object."""
    return {"answers": _encode(profile.answers), "cut": _encode(profile.cut)}


def decode_profile(document: dict[str, Any], path: str = "") -> Profile:
    """Read a profile from the members of an object."""
    return Profile(*(_decode(member(document, name, dict, path), f"{path}{name}.") for name in ("answers", "cut")))


def _encode(histogram: LogHistogram) -> dict[str, Any]:
    counts = [[bucket, round(count)] for bucket, count in sorted(histogram.counts.items())]
    return {"seconds": histogram.total_seconds, "counts": counts}


def _decode(document: dict[str, Any], path: str) -> LogHistogram:
    check_members(document, path, _HISTOGRAM_MEMBERS, path)
    found = LogHistogram()
    for pair in member(document, "counts", list, path):
        if not _is_pair(pair):
            raise MalformedRecord(f"{path}counts", "not pairs of a bucket and a count")
        bucket, count = pair
        found.counts[bucket] = found.counts.get(bucket, 0.0) + count
        found.count += count
    seconds: Any = document.get("seconds")
    if type(seconds) not in (int, float) or not 0 <= seconds < math.inf:
        raise MalformedRecord(f"{path}seconds", "not a sum of durations")
    found.total_seconds = float(seconds)
    return found


def _is_pair(pair: Any) -> bool:
    if not isinstance(pair, list) or len(pair) != _PAIR or any(type(number) is not int for number in pair):
        return False
    return pair[0] in BUCKETS and 1 <= pair[1] <= INTEGER_MAX
