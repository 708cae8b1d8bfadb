"""What a worker tells of itself, once a second, as a value: how requests ended and how long calls took since it last told.

Sums and no single requests, so that telling costs one record however many requests there are, and nobody's words are in it. A
roll-up holds no instant: the broker's time of its append says when. None is repeated and none waits for the broker's word with
a request in hand, so roll-ups may be lost (with a worker that dies: what it had not told yet) or stand twice (a send whose
answer was lost). They are for prediction and for people; nothing is counted by them that was promised to anybody.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from failsoft.policy.outcome import Outcome, Reason
from failsoft.policy.profile import Profile
from failsoft.policy.request import ClassName


class Kind(NamedTuple):
    """One way in which requests end.

    Attributes:
        request_class: how urgent they were.
        level: at which they were served; None: they were not.
        reason: why it was not level 1, or not ok.
        outcome: how they ended.
    """

    request_class: ClassName
    level: int | None
    reason: Reason
    outcome: Outcome


class Place(NamedTuple):
    """Where calls go.

    Attributes:
        stage: whose tier it is.
        tier: which.
        region: where its endpoint stands; empty where its author named none.
    """

    stage: str
    tier: str
    region: str


@dataclass(frozen=True, slots=True)
class RollUp:
    """What one worker has to tell of one stage.

    Attributes:
        stage: which.
        endings: how many requests ended in each way.
        latency: durations of the calls that ended, by tier and region.
    """

    stage: str
    endings: Mapping[Kind, int]
    latency: Mapping[Place, Profile]
