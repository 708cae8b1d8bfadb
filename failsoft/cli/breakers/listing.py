"""`failsoft breakers`: how each breaker stands, who opened it, and what its workers count."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Any

import typer

from failsoft.cli.breakers.notice_board import Breaker, NoticeBoard, Post
from failsoft.cli.breakers.reading import PipelineOption, Place
from failsoft.cli.exits import explained_errors
from failsoft.cli.report import JsonOption, write_json
from failsoft.cli.topics import BootstrapOption, CatalogueOption
from failsoft.policy.errors import ConfigurationError
from failsoft.wire.timestamp import format_timestamp

LOOK_SECONDS = 0.2

COLUMNS = "{:<32} {:<10} {:>6}  {}"


def list_(
    context: typer.Context,
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what changes, until Ctrl-C.")] = False,
    pipeline: PipelineOption = None,
    catalogue: CatalogueOption = None,
    bootstrap: BootstrapOption = None,
    json: JsonOption = None,
) -> None:
    """Show each breaker as all workers say it stands: its state, who opened it and when, and what each worker counts."""
    if context.invoked_subcommand is not None:
        return
    started_at = time.time()
    with explained_errors():
        if follow and json is not None:
            raise ConfigurationError("--follow prints what changes and has no end; leave --json or --follow out")
        place = Place.of(catalogue, pipeline, bootstrap)
        with suppress(KeyboardInterrupt):
            board = asyncio.run(_read(place, is_followed=follow, is_silent=json == "-"))
            if json is not None:
                write_json(json, command="breakers", started_at=started_at, result=_result(place, board))


async def _read(place: Place, *, is_followed: bool, is_silent: bool) -> NoticeBoard:
    async with place.read() as board:
        if not is_silent:
            print("\n".join(lines(board, time.time())), flush=True)
        shown = headlines(board, time.time())
        while is_followed:
            await asyncio.sleep(LOOK_SECONDS)
            now = time.time()
            for name, line in headlines(board, now).items():
                if shown.get(name) != line:
                    print(f"{format_timestamp(now)} {line}", flush=True)
            shown = headlines(board, now)
    return board


def lines(board: NoticeBoard, now: float) -> Iterator[str]:
    """The table: a line for each breaker, and under it one for each worker that was heard lately."""
    if not board.breakers:
        yield "none: no worker has said anything of a breaker"
        return
    yield COLUMNS.format("BREAKER", "STATE", "EPOCH", "")
    for name in sorted(board.breakers):
        breaker = board.breakers[name]
        live, stand = breaker.live(now), breaker.stand(now)
        yield COLUMNS.format(_plain(name), stand.state(now), stand.word.epoch, _story(board, breaker, now)).rstrip()
        for process, post in live.items():
            yield f"    {_plain(process)}: {_counts(post, now)}"
        if silent := len(breaker.posts) - len(live):
            yield f"    {silent} more not heard for half a minute: idle, or gone"
    if board.malformed:
        yield f"{board.malformed} records could not be read; workers leave them out too"


def headlines(board: NoticeBoard, now: float) -> dict[str, str]:
    """What of each breaker is news when it changes."""
    return {name: _headline(board, breaker, now) for name, breaker in sorted(board.breakers.items())}


def _headline(board: NoticeBoard, breaker: Breaker, now: float) -> str:
    stand = breaker.stand(now)
    causes = ", ".join(sorted(stand.word.causes))
    opener = f" by {_plain(stand.opener)}" if stand.opener else ""
    story = f", opened{opener}: {causes}" if stand.word.epoch else ""
    return f"{_plain(breaker.name)} {stand.state(now)}, epoch {stand.word.epoch}{story}{_forced(board, breaker, now)}"


def _story(board: NoticeBoard, breaker: Breaker, now: float) -> str:
    told, stand = "", breaker.stand(now)
    if stand.opened_at is not None:
        causes = ", ".join(sorted(stand.word.causes))
        ago, wait = now - stand.opened_at, stand.word.open_seconds
        told = f"opened {ago:.0f} s ago for {wait:.1f} s by {_plain(stand.opener or '')}: {causes}"
    return f"{told}{_forced(board, breaker, now)}".removeprefix("; ")


def _forced(board: NoticeBoard, breaker: Breaker, now: float) -> str:
    control = board.forced(breaker.name, now)
    if control is None or control.until is None:
        return ""
    return f"; forced {control.force} until {format_timestamp(control.until)} by {_plain(control.who)}: {_plain(control.why)}"


def _plain(text: str) -> str:
    """What somebody else has written, without what a terminal would take for a command."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _counts(post: Post, now: float) -> str:
    counts, word = post.counts(now), post.register.word
    said = f"{counts.calls} calls, {counts.failed} failed, {counts.slow} slow, {post.register.probes} probes"
    return f"{said}; says {word.phase.name.lower()} ({word.epoch}) {max(0.0, now - post.at):.0f} s ago"


def _result(place: Place, board: NoticeBoard) -> dict[str, Any]:
    now = time.time()
    breakers = [_breaker_json(board, board.breakers[name], now) for name in sorted(board.breakers)]
    return {"pipeline": place.pipeline, "breakers": breakers, "malformed": board.malformed}


def _breaker_json(board: NoticeBoard, breaker: Breaker, now: float) -> dict[str, Any]:
    control, stand = board.forced(breaker.name, now), breaker.stand(now)
    return {
        "breaker": breaker.name,
        "state": stand.state(now),
        "epoch": stand.word.epoch,
        "opened_by": stand.opener,
        "opened_at": stand.opened_at,
        "open_seconds": stand.word.open_seconds,
        "reopenings": stand.word.reopenings,
        "causes": sorted(stand.word.causes),
        "forced": None
        if control is None
        else {"force": control.force, "who": control.who, "why": control.why, "until": control.until},
        "workers": [_post_json(process, post, now) for process, post in breaker.live(now).items()],
        "silent": len(breaker.posts) - len(breaker.live(now)),
    }


def _post_json(process: str, post: Post, now: float) -> dict[str, Any]:
    counts, word = post.counts(now), post.register.word
    return {
        "process": process,
        "age_seconds": max(0.0, now - post.at),
        "phase": word.phase.name.lower(),
        "epoch": word.epoch,
        "calls": counts.calls,
        "failed": counts.failed,
        "slow": counts.slow,
        "probes": post.register.probes,
    }
