"""What was run in a trial and what it is held against: written before anything happens, so that nobody fits it to what came."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from failsoft.policy.errors import EnvironmentFailure
from failsoft.policy.request import ClassName

TRIAL_FILE = "trial.json"


@dataclass(frozen=True, slots=True)
class TrialClass:
    """One class of the trial: its topic, and what its requests are granted if they ask for nothing, and at most."""

    topic: str
    deadline_seconds: float
    deadline_max_seconds: float


@dataclass(frozen=True, slots=True)
class Limits:
    """What the trial is held against. Defaults are the promises of DESIGN §1 and issue 6, with the reason where it is not that.

    Attributes:
        clock_seconds: how far a worker's reckoning of the broker's clock may be off: half a round trip of an acknowledgement
            on a busy machine.
        after_expiry_seconds: how long after its expiry an execution may still begin: 50 ms of grace in the policy, the
            clock's bound, and a pause of the process between decision and call.
        session_seconds: after how long the group gives a silent worker up.
        recovery_seconds: from a fault's end until results in time flow again.
        stall_seconds: how long at most, outside faults, nothing may end while something waits: longer than the patience of
            any class that a trial should use, shorter than what people call an outage.
        quiet_after_seconds: from a fault's end on, until the trial is quiet.
        in_time_share: of the requests of a quiet phase, at least.
        repeats_share: of the results in the log, at most.
        executions: of one record by one process at one tier, at most.
    """

    clock_seconds: float = 0.25
    after_expiry_seconds: float = 0.35
    session_seconds: float = 6.0
    recovery_seconds: float = 60.0
    stall_seconds: float = 30.0
    quiet_after_seconds: float = 30.0
    in_time_share: float = 0.95
    repeats_share: float = 0.05
    executions: int = 3


@dataclass(frozen=True, slots=True)
class Trial:
    """What was run.

    Attributes:
        pipeline: which.
        stage: its one stage under trial.
        classes: with the topics of requests.
        results: the topic of results.
        dead_letters: the topic of dead letters.
        group: of the stage's workers.
        seed: that everything was drawn from; None of what rolled no dice.
        began_at: epoch seconds.
        canaries: tenant -> a text that stands in its requests, and may stand in nobody else's results.
        shares: equal requests may share an execution, so that one may begin after the expiry of some of them.
        renews: answers of the past are renewed, by calls that are nobody's and have a deadline of their own.
        probes: how many calls a half-open breaker lets through at a time.
        limits: what it is held against.
        versions: of failsoft, of Kafka, of Python.
    """

    pipeline: str
    stage: str
    classes: Mapping[ClassName, TrialClass]
    results: str
    dead_letters: str
    group: str
    seed: int | None
    began_at: float
    canaries: Mapping[str, str] = field(default_factory=dict)
    shares: bool = False
    renews: bool = False
    probes: int = 3
    limits: Limits = field(default_factory=Limits)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def topics(self) -> tuple[str, ...]:
        """All that must have been dumped in the end."""
        return (*(each.topic for each in self.classes.values()), self.results, self.dead_letters)


def write_trial(folder: Path, trial: Trial) -> None:
    """Write it into the folder, whole or not at all."""
    data = orjson.dumps(trial, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    beside = folder / f".{TRIAL_FILE}"
    try:
        beside.write_bytes(data)
        beside.replace(folder / TRIAL_FILE)
    except OSError as error:
        raise EnvironmentFailure(f"{folder / TRIAL_FILE}: cannot be written ({error.strerror})") from None
