"""One stage of a pipeline, and its tiers, best first: what may serve a request, and what the policies need to know of it."""

import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args, overload

from failsoft.catalogue import Catalogue
from failsoft.endpoints import (
    CachedAnswer,
    Call,
    CallableEndpoint,
    Constant,
    Endpoint,
    OpenAICompatible,
    Output,
    ProcessEndpoint,
    RunsIn,
)
from failsoft.endpoints.callable import Function
from failsoft.endpoints.processes import WarmUp
from failsoft.pipeline.names import checked_name
from failsoft.policy.admission import AdmissionConfig
from failsoft.policy.answers import AnswersConfig
from failsoft.policy.breaker_settings import DEFAULTS as BREAKER_DEFAULTS
from failsoft.policy.breaker_settings import BreakerSettings
from failsoft.policy.coalescing import CoalescingConfig
from failsoft.policy.context import Completeness, Context
from failsoft.policy.durations import Duration, parse_duration
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.levels import FALLBACK_LEVEL, FULL_LEVEL, REDUCED_LEVEL
from failsoft.policy.request import ClassName
from failsoft.policy.retry_budget import DEFAULTS as RETRY_DEFAULTS
from failsoft.policy.retry_budget import RetryBudgetSettings
from failsoft.policy.settings import (
    ADMISSION_DEFAULTS,
    COALESCING_DEFAULTS,
    DEFAULT_LIMIT,
    ClassSettings,
    LaterStage,
    StageSettings,
    TierSettings,
    default_patience,
    usual_level,
)
from failsoft.policy.widening import DEFAULTS as WIDENING_DEFAULTS
from failsoft.policy.widening import WideningConfig
from failsoft.wire import Envelope, PartState, RequestLine
from failsoft.wire.content_key import Coalesce, content_key, repeat_key

Serves = Endpoint | Constant | CachedAnswer
"""What a tier may be."""
_REVISION = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
AnyFunction = TypeVar("AnyFunction", bound=Callable[[Call], Output | Awaitable[Output]])
"""What may run in a process: async or not."""


@dataclass(frozen=True, slots=True)
class Tier:
    """One way to serve: what the policies know of it, what is called, and which revision of a model that is."""

    settings: TierSettings
    serves: Serves
    revision: str | None = None


class Stage:
    """One stage of a pipeline. Made by :meth:`Pipeline.stage`.

    Args:
        pipeline: its pipeline's name.
        name: its own.
        floor: class -> the lowest acceptable level; 3 where not said.
        patience: class -> the part of its budget that a request waits for a better tier.
        breakers: thresholds of every endpoint's breaker.
        retries: what retries live on.
        widening: what counts as a change of an endpoint's latency.
        context: the parts of the context that its requests should have; None: it looks at none.
        coalesce: which requests are equal, and share executions and answers.
        data_version: of what the answers are made from, part of what makes requests equal.
        coalescing: how equal requests share an execution.
        admission: when requests are shed.
    """

    def __init__(
        self,
        pipeline: str,
        name: str,
        *,
        floor: Mapping[ClassName, int],
        patience: Mapping[ClassName, float],
        breakers: BreakerSettings = BREAKER_DEFAULTS,
        retries: RetryBudgetSettings = RETRY_DEFAULTS,
        widening: WideningConfig = WIDENING_DEFAULTS,
        context: Context | None = None,
        coalesce: Coalesce = "deterministic",
        data_version: str | None = None,
        coalescing: CoalescingConfig = COALESCING_DEFAULTS,
        admission: AdmissionConfig = ADMISSION_DEFAULTS,
    ) -> None:
        self.pipeline = pipeline
        self.name = name
        self.tiers: list[Tier] = []
        self.successor: Stage | None = None
        """The stage that takes its answers; None: they are the results."""
        self.is_first = True
        """Whether its requests come from outside."""
        self._breakers, self._retries, self._widening = breakers, retries, widening
        self.context = context
        self._coalesce, self._data_version = coalesce, data_version
        self._coalescing, self._admission = coalescing, admission
        if coalesce not in get_args(Coalesce):
            raise ConfigurationError(f"{self}: coalesce is {coalesce!r}; it is one of {', '.join(get_args(Coalesce))}")
        self._floor = dict(floor)
        self._patience = dict(patience)
        for known, level in floor.items():
            if level not in {FULL_LEVEL, REDUCED_LEVEL, FALLBACK_LEVEL}:
                raise ConfigurationError(f"{self}: floor of {known} is {level}; it is a level: 1, 2 or 3")
        for known, part in patience.items():
            if not 0 <= part <= 1:
                raise ConfigurationError(f"{self}: patience of {known} is {part}; it is a part of the budget, 0-1")

    def __str__(self) -> str:
        return f"stage {self.pipeline}.{self.name}"

    @overload
    def tier(
        self,
        name: str,
        serves: Serves,
        *,
        level: int | None = ...,
        needs: Collection[str] = ...,
        expect: Duration | None = ...,
        target: Duration | None = ...,
        limit_enforce: bool = ...,
        revision: str | None = ...,
    ) -> None: ...

    @overload
    def tier(
        self,
        name: str,
        serves: None = ...,
        *,
        level: int | None = ...,
        needs: Collection[str] = ...,
        expect: Duration | None = ...,
        target: Duration | None = ...,
        limit_enforce: bool = ...,
        revision: str | None = ...,
        limit: int = ...,
        runs_in: RunsIn = ...,
    ) -> Callable[[Function], Function]: ...

    @overload
    def tier(
        self,
        name: str,
        serves: None = ...,
        *,
        level: int | None = ...,
        needs: Collection[str] = ...,
        expect: Duration | None = ...,
        target: Duration | None = ...,
        limit_enforce: bool = ...,
        revision: str | None = ...,
        limit: int = ...,
        runs_in: Literal["process"],
        warm_up: WarmUp | None = ...,
    ) -> Callable[[AnyFunction], AnyFunction]: ...

    def tier(
        self,
        name: str,
        serves: Serves | None = None,
        *,
        level: int | None = None,
        needs: Collection[str] = (),
        expect: Duration | None = None,
        target: Duration | None = None,
        limit_enforce: bool = True,
        revision: str | None = None,
        limit: int = DEFAULT_LIMIT,
        runs_in: RunsIn | Literal["process"] = "loop",
        warm_up: WarmUp | None = None,
    ) -> Callable[[Any], Any] | None:
        """Declare the next tier; without ``serves`` a decorator for an async function.

        Args:
            name: unique in the stage.
            serves: an endpoint, a CachedAnswer or a Constant.
            level: 1 full, 2 reduced, 3 cached or deterministic. By default the first model tier is 1, further ones 2,
                a CachedAnswer or a Constant 3.
            needs: parts of the stage's context without which it cannot run. A tier without any runs on what there is.
            expect: the usual (median) duration of a call, such as "800ms". Not needed: it is measured. Until 30 calls
                were, the author's word decides which requests fit the tier.
            target: what 95 % of the calls should take at most, such as "2s"; the limit is then found below ``limit``. Without
                it, it moves only when the endpoint says that it is busy.
            limit_enforce: False leaves the limit as declared, and only says where it would go.
            revision: of the model that is called, such as "2026-11". Answers of another revision are not served; the name of an
                OpenAI-compatible endpoint's model counts as well, and need not be said.
            limit: calls in flight, for the whole fleet (of a function; an endpoint has its own).
            runs_in: "loop", "thread" for a function that computes, or "process" for one, async or not, that may crash or
                never return: its process is killed at the window's end. Each worker has ``limit`` such processes.
            warm_up: with "process": what each process runs once before it serves, such as a cached function that loads the model.

        Raises:
            ConfigurationError: names the tier and what is wrong with it.
        """
        needed = self._checked_needs(name, needs)
        if serves is not None:
            self._declare(
                name, serves, level, expect, target, needs=needed, limit_enforce=limit_enforce, revision=revision
            )
            return None

        def declare(function: Any) -> Any:
            try:
                endpoint = _endpoint(function, limit, runs_in, warm_up)
            except ConfigurationError as error:
                raise ConfigurationError(f"{self}, tier {name}: {error}") from None
            self._declare(
                name, endpoint, level, expect, target, needs=needed, limit_enforce=limit_enforce, revision=revision
            )
            return function

        if runs_in not in {"loop", "thread", "process"}:
            raise ConfigurationError(f"{self}, tier {name}: runs_in is {runs_in!r}; it is loop, thread or process")
        if warm_up is not None and runs_in != "process":
            raise ConfigurationError(
                f"{self}, tier {name}: warm_up is for runs_in='process'; here, load when the module does"
            )
        return declare

    def _checked_needs(self, tier: str, needs: Collection[str]) -> frozenset[str]:
        try:
            (self.context or Context()).check_needs(needs)
        except ConfigurationError as error:
            raise ConfigurationError(f"{self}, tier {tier}: {error}") from None
        return frozenset(needs)

    def _declare(
        self,
        name: str,
        serves: Serves,
        level: int | None,
        expect: Duration | None,
        target: Duration | None,
        *,
        needs: frozenset[str],
        limit_enforce: bool,
        revision: str | None,
    ) -> None:
        limit_declared = None if isinstance(serves, Constant | CachedAnswer) else serves.limit
        usual = usual_level([tier.settings for tier in self.tiers], is_model=limit_declared is not None)
        try:
            settings = TierSettings(
                checked_name("tier", name),
                usual if level is None else level,
                limit_declared,
                None if expect is None else parse_duration(expect, field="expect"),
                None if target is None else parse_duration(target, field="target"),
                limit_enforce,
                isinstance(serves, CachedAnswer),
                serves.regions if isinstance(serves, OpenAICompatible) else (),
                needs,
            )
            tiers = [*self.tiers, Tier(settings, serves, _revision(serves, revision))]
            if self.successor is not None and isinstance(serves, CachedAnswer):
                raise ConfigurationError("a stage with a next one keeps no answers; leave its CachedAnswer out")
            every = tuple(tier.settings for tier in tiers)
            StageSettings(self.name, every, (), answers=_answers(tiers), parts=self._parts)
        except ConfigurationError as error:
            raise ConfigurationError(f"{self}, tier {name}: {error}") from None
        self.tiers = tiers

    def follow_with(self, stage: "Stage") -> None:
        """Hand every answer on to this stage.

        Raises:
            ConfigurationError: it keeps answers of the past, which say nothing of what was gathered with them; or another
                stage follows already.
        """
        if self.successor is not None:
            raise ConfigurationError(f"{self}: {self.successor} takes its answers already; a stage has one next stage")
        if self.keeps_answers:
            raise ConfigurationError(f"{self}: a stage with a next one keeps no answers; leave its CachedAnswer out")
        self.successor, stage.is_first = stage, False

    @property
    def keeps_answers(self) -> bool:
        """Whether what its models answer may serve again."""
        return _answers(self.tiers) is not None

    def examine(self, line: RequestLine, *, wall_now: float) -> Completeness | None:
        """Find out what came of the declared context; None: there is none. ``wall_now`` is epoch seconds."""
        return None if self.context is None else self.context.examine(line.context, wall_now=wall_now)

    def usable_context(self, line: RequestLine, found: Completeness | None) -> dict[str, Any]:
        """What a call gets of a context: name -> value of each part that is there and, if it is declared, can be used."""
        unusable = set() if found is None else {name for name, state in found.parts.items() if not state.is_usable}
        return {
            name: part.value
            for name, part in line.context.items()
            if name not in unusable and part.state is not PartState.MISSING
        }

    def content_key(self, line: RequestLine, envelope: Envelope, found: Completeness | None = None) -> str | None:
        """What makes a request equal to others, with what was found of its context; None: it shares nothing.

        Behind another stage a request may come twice: a worker of that one has died after handing it on, and before its commit
        said so. So one that shares nothing with others still shares its execution with itself; but its answer is not kept.
        """
        name = f"{self.pipeline}.{self.name}"
        key = content_key(
            line,
            tenant=envelope.tenant,
            stage=name,
            coalesce=self._coalesce,
            coalesce_key=envelope.coalesce_key,
            data_version=self._data_version,
            lacking=None if found is None else found.lacking or None,
        )
        if key is not None or self.is_first or self.keeps_answers:
            return key
        return repeat_key(tenant=envelope.tenant, stage=name, identity=envelope.identity)

    def settings(self, catalogue: Catalogue) -> StageSettings:
        """What the policies need to know, with the classes of a catalogue.

        Raises:
            ConfigurationError: a floor or patience names a class that is not there, or no tier reaches a floor.
        """
        for name in (*self._floor, *self._patience):
            if name not in catalogue.classes:
                known = ", ".join(catalogue.classes)
                raise ConfigurationError(f"{self}: class {name!r} is not in topics.yaml; it has {known}")
        count = len(catalogue.classes)
        classes = tuple(
            ClassSettings(
                name=name,
                weight=found.weight,
                deadline_seconds=found.deadline_seconds,
                deadline_max_seconds=found.deadline_max_seconds,
                patience=self._patience.get(name, default_patience(position, count)),
                floor=self._floor.get(name, FALLBACK_LEVEL),
            )
            for position, (name, found) in enumerate(catalogue.classes.items())
        )
        return StageSettings(
            self.name,
            tuple(tier.settings for tier in self.tiers),
            classes,
            breakers=self._breakers,
            retries=self._retries,
            widening=self._widening,
            coalescing=self._coalescing,
            admission=self._admission,
            answers=_answers(self.tiers),
            parts=self._parts,
            later=tuple(self._later()),
        )

    def _later(self) -> Iterator[LaterStage]:
        """What the policies need to know of the stages that come after."""
        stage = self.successor
        while stage is not None:
            tiers = [tier.settings for tier in stage.tiers]
            at_once = next((tier for tier in tiers if not tier.is_model and not tier.is_cached), None)
            yield LaterStage(stage.name, tiers[0].expected_seconds if tiers else None, at_once)
            stage = stage.successor

    @property
    def _parts(self) -> tuple[str, ...]:
        return () if self.context is None else self.context.names


def _endpoint(function: Any, limit: int, runs_in: RunsIn | Literal["process"], warm_up: WarmUp | None) -> Endpoint:
    if runs_in == "process":
        return ProcessEndpoint(function, limit=limit, warm_up=warm_up)
    return CallableEndpoint(function, limit=limit, runs_in=runs_in)


def _revision(serves: Serves, said: str | None) -> str | None:
    """What tells a tier's answers from those of another model: its name, where the endpoint has one, and its author's word."""
    if said is not None and not _REVISION.fullmatch(said):
        raise ConfigurationError(f"revision {said!r} is not 1 to 64 letters, digits, dots, hyphens and underscores")
    model = serves.model if isinstance(serves, OpenAICompatible) else None
    return "@".join(part for part in (model, said) if part is not None) or None


def _answers(tiers: Iterable[Tier]) -> AnswersConfig | None:
    return next((tier.serves.config for tier in tiers if isinstance(tier.serves, CachedAnswer)), None)
