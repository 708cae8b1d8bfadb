"""Roll-ups in ``<pipeline>.outcomes``: what a worker tells of one stage, once a second.

    {"stage": "classify",
     "endings": [{"class": "interactive", "level": 1, "reason": "none", "outcome": "ok", "count": 17}],
     "latency": [{"tier": "large", "region": "eu", "answers": {…}, "cut": {…}}]}

The key is the stage: all that is told of one stage stands in one partition, so that whoever adds it up is one, whatever the
count of partitions. Workers send other records into the topic too, by which they measure clocks; those are told by their type.
Profiles are written as :mod:`failsoft.wire.profile` says.
"""

from collections.abc import Iterable
from typing import Any, Final

import orjson

from failsoft.policy.outcome import Outcome, Reason
from failsoft.policy.profile import Profile
from failsoft.policy.rollup import Kind, Place, RollUp
from failsoft.wire.attributes import Attributes, encode_attributes
from failsoft.wire.envelope import CONTENT_TYPE
from failsoft.wire.limits import parse_json
from failsoft.wire.members import check_members, member, natural, word
from failsoft.wire.profile import decode_profile, encode_profile
from failsoft.wire.record import ForeignHeaders, Record

ROLLUP_TYPE: Final = "failsoft.rollup.v1"

_MEMBERS: Final = ("stage", "endings", "latency")
_ENDING_MEMBERS: Final = ("class", "level", "reason", "outcome", "count")
_LATENCY_MEMBERS: Final = ("tier", "region", "answers", "cut")


def encode_rollup(rollup: RollUp, *, pipeline: str, id_: str) -> Record:
    """Write a roll-up.

    Args:
        rollup: what to tell.
        pipeline: whose stage it is.
        id_: unlike that of any other roll-up.
    """
    document = {
        "stage": rollup.stage,
        "endings": [
            {
                "class": kind.request_class,
                "level": kind.level,
                "reason": kind.reason,
                "outcome": kind.outcome,
                "count": count,
            }
            for kind, count in rollup.endings.items()
        ],
        "latency": [
            {"tier": place.tier, "region": place.region, **encode_profile(profile)}
            for place, profile in rollup.latency.items()
        ],
    }
    headers = encode_attributes(
        {
            "ce_specversion": "1.0",
            "ce_id": id_,
            "ce_source": f"/failsoft/{pipeline}",
            "ce_type": ROLLUP_TYPE,
            "content-type": CONTENT_TYPE,
        }
    )
    return Record(rollup.stage.encode(), orjson.dumps(document), headers)


def decode_rollup(value: bytes | None, headers: ForeignHeaders) -> RollUp | None:
    """Read a roll-up; None: the record is of another type.

    Raises:
        MalformedRecord: it says that it is one, and is not; names the member.
    """
    if Attributes(headers).text("ce_type") != ROLLUP_TYPE:
        return None
    document = parse_json(value or b"")
    check_members(document, "value", _MEMBERS)
    stage: str = member(document, "stage", str)
    return RollUp(
        stage,
        dict(_endings(member(document, "endings", list))),
        dict(_latency(stage, member(document, "latency", list))),
    )


def _endings(told: list[Any]) -> Iterable[tuple[Kind, int]]:
    for index, ending in enumerate(told):
        path = f"endings[{index}]."
        check_members(ending, path, _ENDING_MEMBERS, path)
        level = None if ending.get("level") is None else natural(ending, "level", path, most=3)
        kind = Kind(
            member(ending, "class", str, path),
            level,
            word(ending, "reason", Reason, path),
            word(ending, "outcome", Outcome, path),
        )
        yield kind, natural(ending, "count", path)


def _latency(stage: str, told: list[Any]) -> Iterable[tuple[Place, Profile]]:
    for index, tier in enumerate(told):
        path = f"latency[{index}]."
        check_members(tier, path, _LATENCY_MEMBERS, path)
        place = Place(stage, member(tier, "tier", str, path), member(tier, "region", str, path))
        yield place, decode_profile(tier, path)
