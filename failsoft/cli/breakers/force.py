"""`failsoft breakers force`: an operator's word on a breaker, for all workers, with his name, his reason and its end."""

import asyncio
import difflib
import getpass
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import typer

from failsoft.cli.breakers.notice_board import NoticeBoard
from failsoft.cli.breakers.reading import PipelineOption, Place
from failsoft.cli.exits import explained_errors
from failsoft.cli.topics import BootstrapOption, CatalogueOption
from failsoft.kafka import Outbox
from failsoft.policy.breaker_control import Force
from failsoft.policy.durations import parse_duration
from failsoft.policy.errors import ConfigurationError, EnvironmentFailure, MalformedRecord
from failsoft.policy.register import BETWEEN_STAGES, breaker_before
from failsoft.wire.control import BreakerControl, encode_control
from failsoft.wire.timestamp import format_timestamp, parse_timestamp

SEND_SECONDS = 30.0
SKEW_SECONDS = 1.0
"""By how much this machine's clock may differ from the broker's before a length of time is said anew by that."""


def force(
    *,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="<stage>/<tier>, or stage:<stage> for the breaker before a stage.")
    ],
    word: Annotated[Force, typer.Argument(metavar="open|closed|auto", help="No calls; all calls; as it decides.")],
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="For the others: they see it with the breaker.")],
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="T", help="When it ends by itself: 30m from now, or 2026-01-31T12:00:00Z."),
    ] = None,
    who: Annotated[
        str | None, typer.Option("--who", metavar="NAME", help="Default: your name on this machine.")
    ] = None,
    pipeline: PipelineOption = None,
    catalogue: CatalogueOption = None,
    bootstrap: BootstrapOption = None,
) -> None:
    """Hold a breaker open, keep it closed, or let it decide again. All workers follow within a second.

    Open and closed need an end, because it is forgotten otherwise. A tier that stands in several regions may be named with one,
    or without, for all of them; the breaker before a stage with a class, or without, for all of them.
    """
    with explained_errors():
        ends = _end(word, until)
        if not why.strip():
            raise ConfigurationError("--why is empty; say in a few words what the others should know")
        place = Place.of(catalogue, pipeline, bootstrap)
        control = asyncio.run(_force(place, BreakerControl(name, word, who or _myself(), why.strip(), None), ends))
    ending = "" if control.until is None else f" until {format_timestamp(control.until)}"
    print(f"{name}: {word}{ending}, said by {control.who}")


Ends = Callable[[float], float | None]
"""The broker's clock, epoch seconds -> when the word ends by it."""


def _end(word: Force, until: str | None) -> Ends:
    if word is Force.AUTO:
        if until is not None:
            raise ConfigurationError("auto has no end; leave --until out")
        return lambda _: None
    if until is None:
        raise ConfigurationError(f"{word} needs an end; pass --until, such as --until 30m")
    try:
        at = parse_timestamp(until, "--until")
    except MalformedRecord:
        seconds = parse_duration(until, field="--until")
        if not seconds:
            raise ConfigurationError("--until: it would end at once; say how long") from None
        return lambda now: now + seconds
    if at <= time.time():
        raise ConfigurationError(f"--until {until} is past")
    return lambda _: at


async def _force(place: Place, wanted: BreakerControl, ends: Ends) -> BreakerControl:
    async with place.read() as board:
        _check_name(place, wanted.breaker, board)
    outbox = Outbox(place.connection)
    await outbox.start()
    try:
        async with asyncio.timeout(SEND_SECONDS):
            return await _say(outbox, place.topic("controls"), wanted, ends)
    except TimeoutError:
        raise EnvironmentFailure(
            f"the broker did not take the word in {SEND_SECONDS:g} s; it may take it yet"
        ) from None
    finally:
        await outbox.close()


async def _say(outbox: Outbox, topic: str, wanted: BreakerControl, ends: Ends) -> BreakerControl:
    """Say it; and once more if the answer shows that this machine's clock is wrong."""
    offset = 0.0
    while True:
        control = replace(wanted, until=ends(time.time() + offset))
        record = encode_control(control)
        await outbox.send(topic, key=record.key, value=record.value, headers=record.headers)
        if control.until is None or abs(outbox.clock_offset.seconds - offset) <= SKEW_SECONDS:
            return control
        offset = outbox.clock_offset.seconds


def _check_name(place: Place, name: str, board: NoticeBoard) -> None:
    """Refuse a breaker that nobody has: a misspelt one would stay as it is, and the operator would not know."""
    stages = place.catalogue.pipelines[place.pipeline]
    stage, _, tier = name.partition("/")
    if name.startswith(BETWEEN_STAGES):
        _check_between(place, stage.removeprefix(BETWEEN_STAGES), tier, name)
        return
    known = {*board.breakers, *(breaker.rpartition("/")[0] for breaker in board.breakers if breaker.count("/") > 1)}
    of_stage = sorted(breaker for breaker in known if breaker.startswith(f"{stage}/"))
    if stage not in stages or not tier:
        raise ConfigurationError(
            f"{name}: neither <stage>/<tier> nor {BETWEEN_STAGES}<stage> with a stage of {place.pipeline}: {', '.join(stages)}"
        )
    if of_stage and name not in of_stage:
        [nearest] = difflib.get_close_matches(name, of_stage, n=1, cutoff=0.0)
        raise ConfigurationError(f"{name}: no worker has such a breaker; the nearest is {nearest}")


def _check_between(place: Place, stage: str, request_class: str, name: str) -> None:
    """The same, of a breaker between stages: topics.yaml knows them all."""
    later, classes = place.catalogue.pipelines[place.pipeline][1:], place.catalogue.classes
    if stage not in later:
        raise ConfigurationError(
            f"{name}: no stage of {place.pipeline} with one before it; it has {', '.join(later) or 'none'}"
        )
    if request_class not in classes and name != breaker_before(stage):
        raise ConfigurationError(f"{name}: no class {request_class!r} in topics.yaml, which has {', '.join(classes)}")


def _myself() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        name = "somebody"
    return f"{name}@{socket.gethostname()}"
