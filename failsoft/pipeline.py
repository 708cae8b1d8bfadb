"""What a pipeline author writes: a pipeline, its stages, and each stage's tiers, best first.

Everything is checked where it is declared, so that the traceback points at the line to fix::

    pipeline = Pipeline("digits")
    classify = pipeline.stage("classify", floor={"batch": 2})

    @classify.tier("large", limit=4, runs_in="thread")
    async def large(call: Call) -> Output: ...

    classify.tier("unknown", Constant({"content": "?"}))
"""

import importlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from failsoft.catalogue import Catalogue
from failsoft.endpoints import CallableEndpoint, Constant, Endpoint, RunsIn
from failsoft.endpoints.callable import Function
from failsoft.policy.durations import Duration, parse_duration
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.request import ClassName
from failsoft.policy.settings import (
    DEFAULT_LIMIT,
    FALLBACK_LEVEL,
    FULL_LEVEL,
    REDUCED_LEVEL,
    ClassSettings,
    StageSettings,
    TierSettings,
    default_patience,
)

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Tier:
    """One way to serve: what the policies know of it, and what is called."""

    settings: TierSettings
    serves: Endpoint | Constant


class Stage:
    """One stage of a pipeline. Made by :meth:`Pipeline.stage`.

    Args:
        pipeline: its pipeline's name.
        name: its own.
        floor: class -> the lowest acceptable level; 3 where not said.
        patience: class -> the part of its budget that a request waits for a better tier.
    """

    def __init__(
        self, pipeline: str, name: str, *, floor: Mapping[ClassName, int], patience: Mapping[ClassName, float]
    ) -> None:
        self.pipeline = pipeline
        self.name = name
        self.tiers: list[Tier] = []
        self._floor = dict(floor)
        self._patience = dict(patience)
        for known, level in floor.items():
            if level not in {FULL_LEVEL, REDUCED_LEVEL, FALLBACK_LEVEL}:
                raise ConfigurationError(f"{self}: floor of {known} is {level}; it is a level: 1, 2 or 3")

    def __str__(self) -> str:
        return f"stage {self.pipeline}.{self.name}"

    @overload
    def tier(
        self, name: str, serves: Endpoint | Constant, *, level: int | None = ..., expect: Duration | None = ...
    ) -> None: ...

    @overload
    def tier(
        self,
        name: str,
        serves: None = ...,
        *,
        level: int | None = ...,
        expect: Duration | None = ...,
        limit: int = ...,
        runs_in: RunsIn = ...,
    ) -> Callable[[Function], Function]: ...

    def tier(
        self,
        name: str,
        serves: Endpoint | Constant | None = None,
        *,
        level: int | None = None,
        expect: Duration | None = None,
        limit: int = DEFAULT_LIMIT,
        runs_in: RunsIn = "loop",
    ) -> Callable[[Function], Function] | None:
        """Declare the next tier; without ``serves`` a decorator for an async function.

        Args:
            name: unique in the stage.
            serves: an endpoint or a Constant.
            level: 1 full, 2 reduced, 3 cached or deterministic. By default the first model tier is 1, further ones 2,
                a Constant 3.
            expect: the usual (median) duration of a call, such as "800ms". Not needed: it is measured. Until 30 calls
                were, the author's word decides which requests fit the tier.
            limit: calls in flight, for the whole fleet (of a function; an endpoint has its own).
            runs_in: "loop", or "thread" for a function that computes.

        Raises:
            ConfigurationError: names the tier and what is wrong with it.
        """
        if serves is not None:
            self._declare(name, serves, level, expect)
            return None

        def declare(function: Function) -> Function:
            self._declare(name, CallableEndpoint(function, limit=limit, runs_in=runs_in), level, expect)
            return function

        if runs_in not in {"loop", "thread"}:
            raise ConfigurationError(f"{self}, tier {name}: runs_in is {runs_in!r}; it is loop or thread")
        return declare

    def _declare(self, name: str, serves: Endpoint | Constant, level: int | None, expect: Duration | None) -> None:
        is_model = not isinstance(serves, Constant)
        has_model = any(tier.settings.is_model for tier in self.tiers)
        usual = (REDUCED_LEVEL if has_model else FULL_LEVEL) if is_model else FALLBACK_LEVEL
        try:
            settings = TierSettings(
                name,
                usual if level is None else level,
                serves.limit if not isinstance(serves, Constant) else None,
                None if expect is None else parse_duration(expect, field="expect"),
            )
            StageSettings(self.name, (*(tier.settings for tier in self.tiers), settings), ())
        except ConfigurationError as error:
            raise ConfigurationError(f"{self}, tier {name}: {error}") from None
        self.tiers.append(Tier(settings, serves))

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
        return StageSettings(self.name, tuple(tier.settings for tier in self.tiers), classes)


class Pipeline:
    """A named chain of stages.

    Args:
        name: as in topics.yaml.
    """

    def __init__(self, name: str) -> None:
        self.name = _checked_name("pipeline", name)
        self.stages: dict[str, Stage] = {}

    def stage(
        self,
        name: str,
        *,
        floor: Mapping[ClassName, int] | None = None,
        patience: Mapping[ClassName, float] | None = None,
    ) -> Stage:
        """Declare a stage.

        Args:
            name: as in topics.yaml.
            floor: class -> the lowest acceptable level, 1-3; 3 where not said.
            patience: class -> the part of its budget, 0-1, that a request waits for a better tier.
        """
        if name in self.stages:
            raise ConfigurationError(f"pipeline {self.name}: stage {name!r} is declared twice")
        stage = Stage(self.name, _checked_name("stage", name), floor=floor or {}, patience=patience or {})
        self.stages[name] = stage
        return stage

    def check(self, catalogue: Catalogue) -> None:
        """Refuse to run on a catalogue that lists other stages.

        Raises:
            ConfigurationError: says which.
        """
        listed = catalogue.pipelines.get(self.name)
        if listed is None:
            known = ", ".join(catalogue.pipelines) or "none"
            raise ConfigurationError(f"pipeline {self.name!r} is not in topics.yaml; it has {known}")
        if list(listed) != list(self.stages):
            raise ConfigurationError(
                f"pipeline {self.name}: topics.yaml lists the stages {_listed(listed)}, the code declares {_listed(self.stages)}"
            )
        for stage in self.stages.values():
            stage.settings(catalogue)


def load_pipeline(target: str) -> Pipeline:
    """Import ``MODULE:NAME``, with the working directory on the path.

    Raises:
        ConfigurationError: no such module or name, or it is not a Pipeline.
    """
    module_name, _, name = target.partition(":")
    if not module_name or not name:
        raise ConfigurationError(f"pipeline {target!r} is not MODULE:NAME, such as workers.digits:pipeline")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and module_name.startswith(error.name):
            raise ConfigurationError(f"pipeline {target!r}: there is no module {error.name!r} here") from None
        raise
    found = getattr(module, name, None)
    if not isinstance(found, Pipeline):
        raise ConfigurationError(f"pipeline {target!r}: {name!r} in {module_name} is not a failsoft.Pipeline")
    return found


def _checked_name(kind: str, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{kind} {name!r}: a name is lower-case letters, digits and hyphens, as in topic names"
        )
    return name


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
