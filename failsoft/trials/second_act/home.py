"""Where the act begins: eu has all requests, whatever an earlier demo on this cluster has left behind.

It left them in us, with the breaker of eu's large model open, which workers that start hear of. That breaker closes when requests
have tried the model, and its load then comes back by and by; until then a scene would show what is left of the last act.
"""

from collections.abc import Awaitable, Callable

from failsoft.failover.gate import where
from failsoft.failover.ports import BookPort
from failsoft.policy.errors import EnvironmentFailure
from failsoft.trials.second_act.script import AWAY, ENDPOINT, HOME, PIPELINE


async def go_home(book: BookPort, roll_back: Callable[[], Awaitable[int]]) -> bool:
    """Take the endpoint back to where it belongs if it is anywhere else; return whether it was.

    Args:
        book: says where it is.
        roll_back: gives the command, and returns its exit code.

    Raises:
        EnvironmentFailure: it is not back.
    """
    held = (await book.read()).holder(ENDPOINT)
    is_open = held is not None and held.is_open
    if not is_open and where(await book.route(ENDPOINT), (HOME, AWAY)) == HOME:
        return False
    if await roll_back():
        raise EnvironmentFailure(
            f"an earlier demo has left {ENDPOINT} in {AWAY}, and it could not be taken back; "
            f"`failsoft failover status --pipeline {PIPELINE}` shows where it is"
        )
    return True
