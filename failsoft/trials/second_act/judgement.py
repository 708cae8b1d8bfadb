"""What every scene must show, held against what it has shown. Values in, values out.

=============  ===================================================================================
scene          must show
=============  ===================================================================================
all            what is urgent is in time, for 95 %
healthy        the full level, with documents, for 90 %
empty index    an answer to everything, none of level 1, each with the reason context_incomplete
drill          the command passed and its evidence stands in the book; the full level again, for 90 %
eu fails       nobody goes to us by himself
failover       the command passed and its evidence stands in the book
us serves      95 % of all calls are us's, and the full level is back, for 90 %
=============  ===================================================================================

90 and 95 % are the shares that the first act is held to.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from failsoft.failover.run import Run
from failsoft.failover.run import Verdict as RunVerdict
from failsoft.policy.levels import FULL_LEVEL
from failsoft.policy.outcome import Outcome, Reason
from failsoft.policy.request import ClassName
from failsoft.trials.ledger import ClassTally, Verdict
from failsoft.trials.second_act.script import AWAY, DRILL, EMPTY, FAILED, HEALTHY, MOVED, Scene, Verb

IN_TIME_LEAST = 0.95
FULL_LEAST = 0.90
AWAY_LEAST = 0.95
URGENT: ClassName = "interactive"


@dataclass(frozen=True, slots=True)
class Shown:
    """What a scene has shown.

    Attributes:
        scene: which.
        classes: how its requests ended.
        reasons: why they were not of level 1, or not answered.
        regions: where the answers came from that a model gave.
        calls: region -> calls that came to its model server, canaries included.
        seconds: how long requests were sent.
        exit_code: of the command; None where there was none.
    """

    scene: Scene
    classes: Mapping[ClassName, ClassTally]
    reasons: Mapping[Reason, int]
    regions: Mapping[str, int]
    calls: Mapping[str, int]
    seconds: float
    exit_code: int | None = None

    @property
    def accepted(self) -> int:
        """How many requests were sent and acknowledged."""
        return sum(tally.accepted for tally in self.classes.values())

    @property
    def levels(self) -> Counter[int]:
        """Of the answers."""
        return sum((Counter(tally.levels) for tally in self.classes.values()), Counter[int]())

    @property
    def answered(self) -> int:
        """How many requests ended ok."""
        return sum(tally.outcomes.get(Outcome.OK, 0) for tally in self.classes.values())


@dataclass(frozen=True, slots=True)
class Expectation:
    """Something that had to be shown.

    Attributes:
        text: what, and what was seen.
        is_met: whether it was.
    """

    text: str
    is_met: bool


def expectations(verdict: Verdict, scenes: Sequence[Shown], runs: Sequence[Run]) -> Iterator[Expectation]:
    """Hold everything against the table above.

    Args:
        verdict: over all requests.
        scenes: as they were played.
        runs: drills and failovers of this act, as the book has them.
    """
    yield Expectation(f"{verdict.lost} lost, {verdict.visible_repeats} seen twice", verdict.is_kept)
    for shown in scenes:
        yield from _of_scene(shown)
        if shown.scene.command is not None:
            yield _of_command(shown, shown.scene.command, runs)


def _of_scene(shown: Shown) -> Iterator[Expectation]:
    name, urgent = shown.scene.name, shown.classes[URGENT]
    yield _at_least(f"{name}: {URGENT} in time", urgent.in_time, urgent.accepted, IN_TIME_LEAST)
    if shown.scene in {HEALTHY, DRILL, MOVED}:
        yield _at_least(f"{name}: level 1", shown.levels[FULL_LEVEL], shown.accepted, FULL_LEAST)
    if shown.scene == EMPTY:
        yield from _of_empty_index(shown)
    if shown.scene == FAILED:
        yield Expectation(f"{name}: {shown.calls[AWAY]} calls in {AWAY}, at most 0", not shown.calls[AWAY])
    if shown.scene == MOVED:
        yield _at_least(f"{name}: calls in {AWAY}", shown.calls[AWAY], sum(shown.calls.values()), AWAY_LEAST)


def _of_empty_index(shown: Shown) -> Iterator[Expectation]:
    said = shown.reasons.get(Reason.CONTEXT_INCOMPLETE, 0)
    full, accepted = shown.levels[FULL_LEVEL], shown.accepted
    yield _at_least(f"{EMPTY.name}: answered", shown.answered, accepted, 1.0)
    yield _at_least(f"{EMPTY.name}: said to be for want of context", said, accepted, 1.0)
    yield Expectation(f"{EMPTY.name}: {full} of level 1, at most 0", not full)


def _of_command(shown: Shown, verb: Verb, runs: Sequence[Run]) -> Expectation:
    share = 0.0 if verb is Verb.DRILL else 1.0
    evidence = [run for run in runs if run.kind == verb.value and run.verdict is RunVerdict.PASSED]
    has_moved = bool(evidence) and evidence[-1].route.share == share and bool(evidence[-1].findings)
    ended = f"exit code {shown.exit_code}, {len(evidence)} that passed in the book"
    return Expectation(f"{shown.scene.name}: {ended}", shown.exit_code == 0 and has_moved)


def _at_least(what: str, part: int, whole: int, least: float) -> Expectation:
    return Expectation(f"{what}: {part} of {whole}, at least {least:.0%}", whole > 0 and part >= least * whole)
