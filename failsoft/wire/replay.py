"""Replays: the record of a dead letter, sent once more as a request of its own.

**Identity.** The letter's request has ended: its result stands in the log, readers show the first record of an id, and would
hide a second. So a replay is another request: source ``/replay/<id of that result>``, id the number of the replay. This names the
old one, and counts; its result carries both (``ce_requestsource``, ``ce_requestid``). It follows from the letter alone, so
a replay that is sent twice is one request with one visible result. A replay that is given up and replayed again keeps the
source and counts on, which is what stops a loop: no header of its own is needed, and none that a worker would have to pass on.
``custom_id`` and correlation headers stay, so whoever waits under those gets the new result.

**Deadline.** The old one has been used up. It is given anew, or kept by choice; either way the stamp is written anew: a worker
takes no stamp for true that is more than a minute old, and would grant the old budget once more. Between stages a worker believes
every stamp, because other workers write them by the broker's clock; whoever replays knows only his own, and leaves its time out:
the budget counts from the append.

All else is as it came: key, value, and headers, those that were malformed too.
"""

import re
from typing import Final, NamedTuple

from failsoft.wire.attributes import INTEGER_MAX, Attributes, encode_attributes, milliseconds
from failsoft.wire.dead_letter import DeadLetter
from failsoft.wire.identity import Identity, result_id
from failsoft.wire.limits import check_headers
from failsoft.wire.record import Record
from failsoft.wire.timestamp import format_timestamp

_SOURCE: Final = re.compile(r"/replay/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.ASCII)
_NUMBER: Final = re.compile(r"[1-9]\d{0,8}", re.ASCII)
_DEADLINE: Final = frozenset(("ce_expirytime", "ce_budgetms", "ce_sentat", "timeout-ms"))
_REPLACED: Final = _DEADLINE | {"ce_id", "ce_source"}


class Replay(NamedTuple):
    """Which replay of which request.

    Attributes:
        original: the id of the result that the request had when it was first given up.
        number: how often it has been replayed, this time included; 0: this is the original.
    """

    original: str
    number: int

    @classmethod
    def told(cls, request: Identity) -> "Replay":
        """Read the name of a request: is it a replay, and which?"""
        source, number = _SOURCE.fullmatch(request.source), _NUMBER.fullmatch(request.id)
        if source is None or number is None:
            return cls(result_id(request), 0)
        return cls(source[1], int(number[0]))

    @property
    def identity(self) -> Identity:
        """Name the request that is sent."""
        return Identity(f"/replay/{self.original}", str(self.number))


def encode_replay(
    letter: DeadLetter, replay: Replay, *, expires_at: float, sent_at: float, is_between: bool = False
) -> Record:
    """Write the record of a letter as a new request.

    Args:
        letter: which; it has to be whole.
        replay: what to call it.
        expires_at: its deadline, epoch seconds.
        sent_at: now, on this host's wall clock, epoch seconds.
        is_between: it goes to a stage that comes after another.

    Raises:
        MalformedRecord: a worker would refuse it whatever it asks: with ours, its headers are too many or too long.
    """
    said = {
        "ce_id": replay.identity.id,
        "ce_source": replay.identity.source,
        "ce_expirytime": format_timestamp(expires_at),
        "ce_budgetms": milliseconds(expires_at - sent_at),
        "ce_sentat": None if is_between else format_timestamp(sent_at),
    }
    headers = [*encode_attributes(said), *(header for header in letter.headers if header[0] not in _REPLACED)]
    check_headers(headers, is_between=is_between)
    return Record(letter.key, letter.value, headers)


def end_of(letter: DeadLetter, *, given_up_at: float, default_seconds: float) -> float:
    """Tell when the deadline of a letter ends, or ended, epoch seconds.

    One that is counted from the append time of the record is counted from when the letter was written instead, which is all
    that is known: a little later.

    Args:
        letter: whose.
        given_up_at: when the letter was written, epoch seconds.
        default_seconds: of a record that says nothing: its class's.

    Raises:
        MalformedRecord: its deadline cannot be read; names the header.
    """
    attributes = Attributes([header for header in letter.headers if header[0] in _DEADLINE], plain=_DEADLINE)
    expires_at, sent_at = attributes.instant("ce_expirytime"), attributes.instant("ce_sentat")
    budget_seconds = attributes.seconds("ce_budgetms", least=-INTEGER_MAX)
    timeout_seconds = attributes.seconds("timeout-ms")
    if expires_at is not None:
        return expires_at
    if budget_seconds is not None:
        return (given_up_at if sent_at is None else sent_at) + budget_seconds
    return given_up_at + (default_seconds if timeout_seconds is None else timeout_seconds)
