"""One run of a runbook, a drill or the real thing: what is to be done next, and what follows from what was found.

::

    BEFORE ── passed ──▶ SHIFT 1 % ─▶ VERIFY ── passed ──▶ SHIFT 10 % ─▶ … ─▶ VERIFY 100 % ──▶ ENDED passed
       │                                 │                                         (a drill: RETURN ──▶ ENDED passed)
       └───────── failed ────────────────┴──────────── failed ──▶ RETURN ──▶ ENDED failed

Values in, values out: the command does what ``next_step`` says and hands in what it found. Each value is written down before the
next step is done, so a command that is killed leaves a run in the phase that it was in, and doing that phase again is harmless:
to look changes nothing, and a word on the route that is said twice is one word.

**Epoch.** Whoever begins, resumes or rolls back a run claims the next epoch of its route, and all that he writes carries it.
Of two words on a route the one with the higher epoch holds, at workers and here, so a command that stands still and wakes up
after another took over writes in vain. Taking over goes back from VERIFY to SHIFT: only a word of the new epoch ends the old.

**Return.** A run that fails, also before anything has moved, says at last that the route is where it was: another command under
an older epoch may have said something else meanwhile.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from failsoft.failover.checks import Finding
from failsoft.policy.routing import Route


class Kind(StrEnum):
    """What a run is for."""

    DRILL = "drill"
    EXECUTE = "execute"


class Phase(StrEnum):
    """What is to be done next."""

    BEFORE = "before"
    SHIFT = "shift"
    VERIFY = "verify"
    RETURN = "return"
    ENDED = "ended"


class Verdict(StrEnum):
    """How a run ended."""

    PASSED = "passed"
    FAILED = "failed"
    """A check failed; the route is where it was."""
    WITHDRAWN = "withdrawn"
    """An operator rolled it back."""


@dataclass(frozen=True, slots=True)
class Step:
    """A share of the requests, and how long it is held before the next one."""

    share: float
    hold_seconds: float


@dataclass(frozen=True, slots=True)
class Look:
    """Measure what the runbook asks for, at the end of this time.

    Attributes:
        share: what is on; None: nothing has moved.
        hold_seconds: how long the share is held.
    """

    share: float | None
    hold_seconds: float

    @property
    def at(self) -> str:
        """When that is, for people."""
        return "before" if self.share is None else f"{100 * self.share:g}%"


@dataclass(frozen=True, slots=True)
class Say:
    """Tell all workers this route."""

    route: Route


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it stands.

    Attributes:
        name: of the run, through all who carry it on.
        kind: what for.
        runbook: its file's name.
        runbook_hash: of what the runbook said when it began.
        endpoint: whose route.
        origin: the region that is left.
        target: the region that takes over.
        steps: the shares, in order; none: nothing moves, the target gets shadow calls only.
        started_at: epoch seconds.
        epoch: of who carries it on now.
        session: who that is; only this one writes under this name.
        by: the operator.
        why: in his words.
        is_forced: it began although no drill allowed it.
        is_claim: nobody else has been ruled out yet.
        phase: what is next.
        position: which of the steps.
        verdict: how it ends, as soon as that is decided.
        ended_at: epoch seconds.
        findings: all that was measured.
        answers: canary -> digest of what the origin answered.
    """

    name: str
    kind: Kind
    runbook: str
    runbook_hash: str
    endpoint: str
    origin: str
    target: str
    steps: tuple[Step, ...]
    started_at: float
    epoch: int
    session: str
    by: str
    why: str = ""
    is_forced: bool = False
    is_claim: bool = True
    phase: Phase = Phase.BEFORE
    position: int = 0
    verdict: Verdict | None = None
    ended_at: float | None = None
    findings: tuple[Finding, ...] = ()
    answers: tuple[tuple[str, str], ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether something is left to do."""
        return self.phase is not Phase.ENDED

    @property
    def route(self) -> Route:
        """Where requests go as far as this run is."""
        share = self.steps[self.position].share if self.phase in {Phase.SHIFT, Phase.VERIFY} else 0.0
        if self.phase is Phase.ENDED and self.verdict is Verdict.PASSED and self.kind is Kind.EXECUTE:
            share = self.steps[-1].share
        return Route(self.endpoint, self.origin, self.target, share, self.epoch)

    def next_step(self) -> Look | Say | None:
        """What to do; None: nothing is left."""
        match self.phase:
            case Phase.BEFORE:
                return Look(None, 0.0)
            case Phase.SHIFT | Phase.RETURN:
                return Say(self.route)
            case Phase.VERIFY:
                step = self.steps[self.position]
                return Look(step.share, step.hold_seconds)
            case Phase.ENDED:
                return None

    def said(self, *, now: float) -> "Run":
        """The route was told."""
        if self.phase is Phase.RETURN:
            return replace(self, phase=Phase.ENDED, ended_at=now)
        return replace(self, phase=Phase.VERIFY)

    def looked(self, found: tuple[Finding, ...], *, now: float) -> "Run":
        """This was found."""
        seen = replace(self, findings=self.findings + found)
        if not all(each.passed for each in found):
            return replace(seen, phase=Phase.RETURN, verdict=Verdict.FAILED)
        position = 0 if self.phase is Phase.BEFORE else self.position + 1
        if position < len(self.steps):
            return replace(seen, phase=Phase.SHIFT, position=position)
        if self.kind is Kind.DRILL and self.steps:
            return replace(seen, phase=Phase.RETURN, verdict=Verdict.PASSED)
        return replace(seen, phase=Phase.ENDED, verdict=Verdict.PASSED, ended_at=now)

    def remembering(self, answers: Mapping[str, str]) -> "Run":
        """The origin answered this, as long as it did."""
        return replace(self, answers=tuple({**dict(self.answers), **answers}.items()))

    def confirmed(self) -> "Run":
        """Nobody else has the route."""
        return replace(self, is_claim=False)

    def resumed(self, *, epoch: int, session: str, by: str) -> "Run":
        """Another carries it on, from where it was."""
        phase = Phase.SHIFT if self.phase is Phase.VERIFY else self.phase
        return replace(self, epoch=epoch, session=session, by=by, is_claim=True, phase=phase)

    def withdrawn(self, *, epoch: int, session: str, by: str, why: str) -> "Run":
        """Another takes the route back to where it was, also after the run has ended."""
        return replace(
            self,
            epoch=epoch,
            session=session,
            by=by,
            why=why or self.why,
            is_claim=True,
            phase=Phase.RETURN,
            verdict=Verdict.WITHDRAWN,
            ended_at=None,
        )
