"""What a stage is told when it is made: its tiers, its classes, its bounds. Frozen, checked at construction, seconds inside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from failsoft.policy.admission import AdmissionConfig
from failsoft.policy.answers import AnswersConfig
from failsoft.policy.breaker_settings import DEFAULTS as BREAKER_DEFAULTS
from failsoft.policy.breaker_settings import BreakerSettings
from failsoft.policy.coalescing import CoalescingConfig
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.levels import FALLBACK_LEVEL, FULL_LEVEL, REDUCED_LEVEL
from failsoft.policy.request import ClassName
from failsoft.policy.retry_budget import DEFAULTS as RETRY_DEFAULTS
from failsoft.policy.retry_budget import RetryBudgetSettings
from failsoft.policy.watchdog import WatchdogSettings
from failsoft.policy.widening import DEFAULTS as WIDENING_DEFAULTS
from failsoft.policy.widening import WideningConfig

ADMISSION_DEFAULTS = AdmissionConfig()
COALESCING_DEFAULTS = CoalescingConfig()
WATCHDOG_DEFAULTS = WatchdogSettings()
DEFAULT_PRIOR_SECONDS = 1.0
"""Median latency to assume of a tier whose author says nothing: a guess, which five calls outvote."""
DEFAULT_LIMIT = 8
"""Permits of an endpoint whose author says nothing, for the whole fleet."""


@dataclass(frozen=True, slots=True)
class TierSettings:
    """One way to serve.

    Attributes:
        name: unique in its stage.
        level: 1 full, 2 reduced, 3 cached or deterministic.
        limit: permits for the whole fleet; None for an answer that needs no call (it is there at once and cannot fail).
        expected_seconds: the author's word on the median latency; None: nothing is known, and an idle tier is tried.
        target_seconds: what 95 % of its calls should take at most; the limit is then found below ``limit``. None: it stays
            where it was declared, and moves only when the endpoint says that it is busy.
        limit_enforce: False leaves the permits as declared, and only says where the limit would go.
        is_cached: it serves answers of the past, and takes no call.
        regions: where its endpoint stands, the usual region first; empty where its author names none.
        needs: parts of the context without which it cannot run.
    """

    name: str
    level: int
    limit: int | None = DEFAULT_LIMIT
    expected_seconds: float | None = None
    target_seconds: float | None = None
    limit_enforce: bool = True
    is_cached: bool = False
    regions: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.level not in {FULL_LEVEL, REDUCED_LEVEL, FALLBACK_LEVEL}:
            raise ConfigurationError(f"tier {self.name}: level {self.level} is not 1, 2 or 3")
        if self.limit is not None and self.limit < 1:
            raise ConfigurationError(f"tier {self.name}: limit {self.limit} leaves it no permit; use 1 or more")
        if self.is_cached and self.limit is not None:
            raise ConfigurationError(f"tier {self.name}: an answer of the past takes no call; its limit is None")
        if self.needs and self.limit is None:
            raise ConfigurationError(f"tier {self.name}: it takes no call and looks at no context; leave needs out")
        if len(set(self.regions)) < len(self.regions):
            raise ConfigurationError(f"tier {self.name}: a region is there twice: {', '.join(self.regions)}")
        if self.expected_seconds is not None and self.expected_seconds <= 0:
            raise ConfigurationError(f"tier {self.name}: expect {self.expected_seconds} s is not a duration above zero")
        if self.target_seconds is not None and self.target_seconds <= 0:
            raise ConfigurationError(f"tier {self.name}: target {self.target_seconds} s is not a duration above zero")

    @property
    def is_model(self) -> bool:
        """Whether serving takes a call, hence a permit and time."""
        return self.limit is not None


@dataclass(frozen=True, slots=True)
class ClassSettings:
    """One class of urgency, as this stage treats it.

    Attributes:
        name: the class.
        weight: its share of the first tier when all classes have waited out their patience.
        deadline_seconds: of a request that brings none.
        deadline_max_seconds: the longest deadline that a request may bring.
        patience: the part of its budget, 0-1, that a request waits for a better tier.
        floor: the lowest acceptable level.
    """

    name: ClassName
    weight: float
    deadline_seconds: float
    deadline_max_seconds: float
    patience: float
    floor: int = FALLBACK_LEVEL

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.weight <= 0:
            raise ConfigurationError(f"class {self.name}: weight {self.weight} must be above zero")
        if not 0 < self.deadline_seconds <= self.deadline_max_seconds:
            raise ConfigurationError(f"class {self.name}: 0 < deadline <= deadline_max does not hold")
        if not 0 <= self.patience <= 1:
            raise ConfigurationError(f"class {self.name}: patience {self.patience} is not between 0 and 1")
        if self.floor not in {FULL_LEVEL, REDUCED_LEVEL, FALLBACK_LEVEL}:
            raise ConfigurationError(f"class {self.name}: floor {self.floor} is not 1, 2 or 3")


@dataclass(frozen=True, slots=True)
class LaterStage:
    """One of the stages that come after.

    Attributes:
        name: of the stage.
        expected_seconds: the author's word on the median latency of its best tier; None: nothing is known before it is measured.
        at_once: the tier by which it answers without a call and without a look at the past; None: it has none.
    """

    name: str
    expected_seconds: float | None = None
    at_once: TierSettings | None = None


def usual_level(better: Sequence[TierSettings], *, is_model: bool) -> int:
    """The level of a tier whose author says none: 1 of the first model tier, 2 of further ones, 3 of an answer without a call."""
    if not is_model:
        return FALLBACK_LEVEL
    return REDUCED_LEVEL if any(tier.is_model for tier in better) else FULL_LEVEL


def default_patience(position: int, classes: int) -> float:
    """Patience by order of urgency: .1 for the most urgent, .95 for the least, .5 between.

    The only real choice of the tier rule, latency against quality: above .1 an urgent class gains nothing but waiting, and
    bulk must be able to wait for the end of an overload (with .5 it loses 3-6 % of value): research/policy-lab.md §5.
    """
    if position == 0:
        return 0.1
    return 0.95 if position == classes - 1 else 0.5


@dataclass(frozen=True, slots=True)
class StageSettings:
    """One stage.

    Attributes:
        name: of the stage.
        tiers: best first; those that take a call before those that do not.
        classes: most urgent first.
        records_max: records of one class in memory.
        bytes_max: bytes of one class in memory.
        publish_margin_seconds: kept for producing the result.
        commit_interval_seconds: how much finished work a crash may repeat.
        breakers: thresholds of every endpoint's breaker.
        retries: what retries live on.
        widening: what counts as a change of an endpoint's latency.
        admission: when requests are shed.
        coalescing: how equal requests share an execution.
        answers: how long an answer may serve equal requests; None: none is kept.
        watchdog: how long its worker may stand still.
        later: the stages that come after, the next one first.
        parts: of the context that its requests should have; tiers may need those and no others.
    """

    name: str
    tiers: tuple[TierSettings, ...]
    classes: tuple[ClassSettings, ...]
    records_max: int = 2_000
    bytes_max: int = 32 * 1024 * 1024
    publish_margin_seconds: float = 0.05
    commit_interval_seconds: float = 1.0
    breakers: BreakerSettings = BREAKER_DEFAULTS
    retries: RetryBudgetSettings = RETRY_DEFAULTS
    widening: WideningConfig = WIDENING_DEFAULTS
    admission: AdmissionConfig = ADMISSION_DEFAULTS
    coalescing: CoalescingConfig = COALESCING_DEFAULTS
    answers: AnswersConfig | None = None
    watchdog: WatchdogSettings = WATCHDOG_DEFAULTS
    later: tuple[LaterStage, ...] = ()
    parts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        names = [tier.name for tier in self.tiers]
        if not names:
            raise ConfigurationError(f"stage {self.name}: it has no tier; declare one with stage.tier(...)")
        if len(set(names)) < len(names):
            raise ConfigurationError(f"stage {self.name}: two tiers have the same name: {', '.join(names)}")
        if self.records_max < 1 or self.bytes_max < 1:
            raise ConfigurationError(f"stage {self.name}: records_max and bytes_max must be 1 or more")
        if self.publish_margin_seconds < 0 or self.commit_interval_seconds <= 0:
            raise ConfigurationError(
                f"stage {self.name}: publish_margin must not be negative, and commit_interval above zero"
            )
        kinds = [tier.is_model for tier in self.tiers]
        if kinds != sorted(kinds, reverse=True):
            raise ConfigurationError(f"stage {self.name}: tiers that answer at once come after those that take a call")
        if self.answers is None and any(tier.is_cached for tier in self.tiers):
            raise ConfigurationError(f"stage {self.name}: a tier serves answers of the past, but none are kept")
        levels = [tier.level for tier in self.tiers]
        if levels != sorted(levels):
            raise ConfigurationError(f"stage {self.name}: tiers are declared best first, but their levels are {levels}")
        for tier in self.tiers:
            for part in sorted(tier.needs - set(self.parts)):
                raise ConfigurationError(
                    f"stage {self.name}, tier {tier.name}: it needs {part!r}; declared are: {', '.join(self.parts) or 'none'}"
                )
        for known in self.classes:
            if not any(tier.level <= known.floor for tier in self.tiers):
                raise ConfigurationError(
                    f"stage {self.name}, class {known.name}: no tier reaches its floor {known.floor}"
                )

    @property
    def by_class(self) -> Mapping[ClassName, ClassSettings]:
        """The classes by name."""
        return {known.name: known for known in self.classes}
