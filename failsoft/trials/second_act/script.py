"""What happens in the second act, scene by scene: values only.

The load is a third of what the large model of one region can serve, so what a scene shows is its fault and not a queue. Retrieval
fails by an index that has become empty: every search succeeds and finds nothing. A region fails by answering 500 to everything
from its large model until the end: what is well afterwards is well because nobody needs eu any more.

In a scene with a command the load goes on until the command has ended. Between scenes it pauses until every request has its
result, so that each request belongs to the scene that it was sent in; but not after eu has failed, because what can wait for the
large model then waits, and the next scene is what it waits for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from failsoft.testing.model_server import Faults, ModelSettings
from failsoft.trials.scenario import LARGE, MODELS, NOTHING_WRONG, SMALL, capacity_per_second

PIPELINE, STAGES = "support", ("retrieve", "answer")
ENDPOINT = f"answer/{LARGE}"
HOME, AWAY = "eu", "us"
REGION: Mapping[str, ModelSettings] = {
    name: MODELS[name].model_copy(update={"digits": None}) for name in (LARGE, SMALL)
}
"""The models of each region, those of the first act; they read no digits here."""
LOAD = 0.35
"""In units of one region's large model, about 13 requests a second."""
COMMAND_SECONDS = 60.0
"""A drill takes some 6 s and a failover 12 s, on a busy machine a multiple of that."""
FAILING = Faults(error_rate=1.0)


class Verb(StrEnum):
    """What an operator does."""

    DRILL = "drill"
    EXECUTE = "execute"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Scene:
    """One scene.

    Attributes:
        name: of it.
        tale: what happens, for the audience.
        seconds: how long requests are sent; at most, where there is a command.
        has_pages: whether retrieval has anything to find.
        home: what is wrong with the large model of eu.
        command: what an operator does meanwhile.
        comes_to_rest: whether all its requests have their results before the next scene begins.
    """

    name: str
    tale: str
    seconds: float
    has_pages: bool = True
    home: Faults = NOTHING_WRONG
    command: Verb | None = None
    comes_to_rest: bool = True

    @property
    def requests_per_second(self) -> float:
        """How many are sent."""
        return LOAD * capacity_per_second(REGION[LARGE])


HEALTHY = Scene("healthy", "documents are found, and the large model of eu answers from them", 4.0)
EMPTY = Scene("empty index", "the index is empty; every search succeeds and finds nothing", 4.0, has_pages=False)
DRILL = Scene(
    "drill", "the index is back; an operator tries the way from eu to us", COMMAND_SECONDS, command=Verb.DRILL
)
FAILED = Scene("eu fails", "the large model of eu answers 500", 4.0, home=FAILING, comes_to_rest=False)
FAILOVER = Scene(
    "failover", "the operator follows the runbook that was drilled", COMMAND_SECONDS, home=FAILING, command=Verb.EXECUTE
)
MOVED = Scene("us serves", "eu's large model still fails, and nobody needs it", 5.0, home=FAILING)
BACK = Scene("back", "an earlier demo has left it in us; eu's large model gets its load back by and by", 20.0)
"""Played first where an earlier demo was on this cluster, and not judged: a breaker's probes, and 10 s for the load to return."""
SCENES = (HEALTHY, EMPTY, DRILL, FAILED, FAILOVER, MOVED)
