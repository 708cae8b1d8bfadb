"""The settings that a stage runs with, and where each of them was said: environment, else Python, else default.

The environment goes first because it is what an operator can change at night, on one worker, without a release. A variable that
is not known is refused, naming the nearest one that is: a misspelt threshold would otherwise leave the old one in force, and
nobody would notice until it mattered. An empty variable says nothing; that is how compose files pass on what is not set.

Everything here is a function of what it is handed; only the worker and the command line know the process's environment.
"""

import dataclasses
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from failsoft.catalogue import Catalogue
from failsoft.endpoints import CachedAnswer, Constant
from failsoft.pipeline import Stage
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.settings import StageSettings
from failsoft.runtime.knobs import PREFIX, Group, Knob, groups, variable

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of what a stage runs with.

    Attributes:
        pipeline: its pipeline.
        stage: its stage.
        tier: its tier, None if not of one.
        request_class: its class, None if not of one.
        knob: what it is, as declared.
        value: what holds.
        origin: "default", "Python", "topics.yaml" or the variable that says it.
    """

    pipeline: str
    stage: str
    tier: str | None
    request_class: str | None
    knob: Knob
    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Configured:
    """What one stage runs with.

    Attributes:
        policy: what the machine is told.
        settings: the same, line by line, with origins.
    """

    policy: StageSettings
    settings: tuple[Setting, ...]


def configure(stages: Sequence[Stage], catalogue: Catalogue, environment: Mapping[str, str]) -> list[Configured]:
    """Settle the settings of stages of one pipeline, in their order.

    Raises:
        ConfigurationError: names the variable, and the nearest known one if there is no such variable.
    """
    said = {name: text for name, text in environment.items() if name.startswith(PREFIX) and text}
    declared = [(stage, stage.settings(catalogue)) for stage in stages]
    known = [knob for stage, policy in declared for group in groups(stage.pipeline, policy) for knob in group.knobs]
    _refuse_unknown(said, _distinct(known), _theirs(stages, catalogue), stages)
    return [configured(stage.pipeline, policy, said) for stage, policy in declared]


def configured(pipeline: str, declared: StageSettings, said: Mapping[str, str]) -> Configured:
    """Settle the settings of one stage, as far as these variables say something of it.

    Raises:
        ConfigurationError: names the variable.
    """
    lines: list[Setting] = []
    parts: dict[str, list[Any]] = {}
    own: dict[str, Any] = {}
    used: list[str] = []
    for group in groups(pipeline, declared):
        told = {knob.variable: knob for knob in group.knobs if knob.variable is not None and knob.variable in said}
        changes = {knob.field: _read(knob, said[name]) for name, knob in told.items()}
        used += told
        if group.part is None:
            own |= changes
        else:
            parts.setdefault(group.part, []).append(_replaced(group.holder, changes, told))
        lines += (_line(pipeline, declared.name, group, knob, changes) for knob in group.knobs)
    many = {part: tuple(parts.pop(part)) for part in ("tiers", "classes")}
    single = {part: holder for part, (holder,) in parts.items()}
    return Configured(_replaced(declared, {**own, **many, **single}, used), tuple(lines))


def resize_endpoints(stage: Stage, policy: StageSettings) -> None:
    """Tell the endpoints of a stage, before they are opened, how many calls there may be: threads and connections follow it."""
    for tier, told in zip(stage.tiers, policy.tiers, strict=True):
        if not isinstance(tier.serves, Constant | CachedAnswer) and told.limit is not None:
            tier.serves.limit = told.limit


def _line(pipeline: str, stage: str, group: Group, knob: Knob, changes: Mapping[str, Any]) -> Setting:
    if knob.field in changes and knob.variable is not None:
        value, origin = changes[knob.field], knob.variable
    else:
        value, origin = knob.value, DEFAULT if knob.value == knob.default else knob.declared_in
    return Setting(pipeline, stage, group.tier, group.request_class, knob, value, origin)


def _read(knob: Knob, text: str) -> Any:
    try:
        return knob.read(text.strip())
    except ConfigurationError as error:
        raise ConfigurationError(f"{knob.variable}: {error}") from None


def _replaced(holder: Any, changes: Mapping[str, Any], variables: Iterable[str]) -> Any:
    """The same settings with changes, checked again as a whole; an error names all variables that had a part in it."""
    try:
        return dataclasses.replace(holder, **changes)
    except ConfigurationError as error:
        raise ConfigurationError(f"{', '.join(variables)}: {error}") from None


def _distinct(knobs: Iterable[Knob]) -> frozenset[str]:
    found: set[str] = set()
    for knob in knobs:
        if knob.variable in found:
            raise ConfigurationError(
                f"{knob.variable} would say two settings, since hyphens are written as underscores; rename a tier or a class"
            )
        if knob.variable is not None:
            found.add(knob.variable)
    return frozenset(found)


def _theirs(stages: Sequence[Stage], catalogue: Catalogue) -> tuple[str, ...]:
    """How the variables of all other stages begin: other workers run them, in the same environment perhaps."""
    ours = {(stage.pipeline, stage.name) for stage in stages}
    every = {(pipeline, stage) for pipeline, named in catalogue.pipelines.items() for stage in named}
    return tuple(variable(*place, "") for place in every - ours)


def _refuse_unknown(
    said: Mapping[str, str], known: frozenset[str], theirs: tuple[str, ...], stages: Sequence[Stage]
) -> None:
    """Refuse what looks like a setting and is none: two underscores, or a stage's name with single ones."""
    flat = tuple(variable(stage.pipeline, stage.name, "").replace("__", "_") for stage in stages)
    for name in sorted(said.keys() - known):
        if name.startswith(theirs):
            continue
        if "__" in name or name.startswith(flat):
            nearest = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.0)[0]
            raise ConfigurationError(
                f"{name}: no such setting; the nearest is {nearest} (`failsoft config show` lists all)"
            )
