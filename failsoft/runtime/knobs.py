"""What can be set of a stage: each field of its settings, once, with its value, its default and its name in the environment.

The list is read from the settings themselves (:mod:`failsoft.policy.settings`), so that a new field can be set, shown and
overridden the day it is there. A name is the field's, without its unit: ``wait_duration_in_open_seconds`` of the breakers is
``breaker_wait_duration_in_open``, because who writes a duration writes its unit with it.

A variable is ``FAILSOFT_<PIPELINE>__<STAGE>__<NAME>`` for a stage and ``FAILSOFT_<PIPELINE>__<STAGE>__<TIER or CLASS>__<NAME>``
for one of its tiers or classes: upper case, hyphens as underscores. Two underscores stand between the parts, since one may
stand inside of them: ``FAILSOFT_A_B_C_LIMIT`` could be stage ``b-c`` of ``a`` or tier ``c`` of stage ``b``.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

from failsoft.catalogue.config import parse_size
from failsoft.policy import (
    admission,
    answers,
    breaker_settings,
    coalescing,
    concurrency,
    deadline,
    retry_budget,
    settings,
    tiers,
    watchdog,
    widening,
)
from failsoft.policy.durations import parse_duration
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.settings import ClassSettings, StageSettings, TierSettings, default_patience, usual_level

PREFIX = "FAILSOFT_"
BOUNDS = ("records_max", "bytes_max", "publish_margin_seconds", "commit_interval_seconds")
"""Fields of a stage that are its own. They depend on the machine more than on the pipeline, so only the environment says them."""
PIPELINES_OWN = {"is_cached", "regions", "needs"}
"""Fields of a tier that say what it is: part of the pipeline, and nothing to set."""
CATALOGUE = "topics.yaml"
PYTHON = "Python"

_NAMES = {"expected_seconds": "expect"}
"""Fields that Python's declaration calls otherwise."""
_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class Knob:
    """One setting.

    Attributes:
        field: of the settings that hold it.
        name: what people call it.
        value: as declared.
        default: where nobody says anything; None of a field that everybody must say, or that is off.
        variable: that says it; None: it is said elsewhere, see ``declared_in``.
        declared_in: where it is said if not in a variable.
        explained_in: the module that gives the reason of the default.
        read: text -> value; raises ConfigurationError without naming the variable.
    """

    field: str
    name: str
    value: Any
    default: Any
    variable: str | None
    declared_in: str
    explained_in: str
    read: Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Group:
    """Settings that stand together in one value.

    Attributes:
        part: the field of the stage's settings that holds the value; None: they are the stage's own.
        tier: whose they are, None if not of a tier.
        request_class: whose they are, None if not of a class.
        holder: the value.
        knobs: what of it can be set or shown.
    """

    part: str | None
    tier: str | None
    request_class: str | None
    holder: Any
    knobs: tuple[Knob, ...]


def variable(*parts: str) -> str:
    """The variable of a setting, by pipeline, stage, tier or class if any, and name."""
    return PREFIX + "__".join(part.upper().replace("-", "_") for part in parts)


def groups(pipeline: str, stage: StageSettings) -> list[Group]:
    """All that can be set of a stage: its own bounds, its patterns, its tiers, its classes."""
    place = (pipeline, stage.name)
    own = {name: default for name, default in _defaults(stage).items() if name in BOUNDS}
    margin = {"publish_margin_seconds": deadline.__name__}
    return [
        Group(None, None, None, stage, _knobs(place, stage, own, explained_in=margin)),
        _pattern(place, stage, "breakers", "breaker_", breaker_settings.__name__),
        _pattern(place, stage, "retries", "retry_", retry_budget.__name__),
        _pattern(place, stage, "widening", "widening_", widening.__name__),
        _pattern(place, stage, "coalescing", "coalescing_", coalescing.__name__),
        *([_pattern(place, stage, "answers", "answers_", answers.__name__)] if stage.answers is not None else []),
        _pattern(place, stage, "admission", "admission_", admission.__name__),
        _pattern(place, stage, "watchdog", "watchdog_", watchdog.__name__),
        *(_tier(place, stage.tiers[:number], tier) for number, tier in enumerate(stage.tiers)),
        *(_class(place, number, len(stage.classes), known) for number, known in enumerate(stage.classes)),
    ]


def _pattern(place: Sequence[str], stage: StageSettings, part: str, prefix: str, module: str) -> Group:
    holder = getattr(stage, part)
    explained = dict.fromkeys(_defaults(holder), module)
    return Group(part, None, None, holder, _knobs(place, holder, _defaults(holder), prefix, explained_in=explained))


def _tier(place: Sequence[str], better: Sequence[TierSettings], tier: TierSettings) -> Group:
    usual: dict[str, Any] = {"level": usual_level(better, is_model=tier.is_model)}
    if tier.is_model:
        usual |= {field: default for field, default in _defaults(tier).items() if field not in PIPELINES_OWN}
    explained = dict.fromkeys(("limit", "target_seconds", "limit_enforce"), concurrency.__name__)
    knobs = _knobs((*place, tier.name), tier, usual, explained_in=explained, declared={"level": PYTHON})
    return Group("tiers", tier.name, None, tier, knobs)


def _class(place: Sequence[str], number: int, count: int, known: ClassSettings) -> Group:
    declared = dict.fromkeys(("weight", "deadline_seconds", "deadline_max_seconds"), CATALOGUE)
    usual = {**dict.fromkeys(declared), "patience": default_patience(number, count), **_defaults(known)}
    explained = {"patience": tiers.__name__}
    knobs = _knobs((*place, known.name), known, usual, explained_in=explained, declared=declared)
    return Group("classes", None, known.name, known, knobs)


def _knobs(
    place: Sequence[str],
    holder: Any,
    defaults: Mapping[str, Any],
    prefix: str = "",
    *,
    explained_in: Mapping[str, str],
    declared: Mapping[str, str] = {},
) -> tuple[Knob, ...]:
    kinds = get_type_hints(type(holder))
    names = {field: prefix + _NAMES.get(field, field.removesuffix("_seconds")) for field in defaults}
    return tuple(
        Knob(
            field=field,
            name=names[field],
            value=getattr(holder, field),
            default=default,
            variable=None if field in declared else variable(*place, names[field]),
            declared_in=declared.get(field, PYTHON),
            explained_in=explained_in.get(field, settings.__name__),
            read=_reader(field, kinds[field]),
        )
        for field, default in defaults.items()
    )


def _defaults(holder: Any) -> dict[str, Any]:
    """The fields that have a default, with it."""
    return {each.name: each.default for each in dataclasses.fields(holder) if each.default is not dataclasses.MISSING}


def _reader(field: str, kind: Any) -> Callable[[str], Any]:
    if field.endswith("_seconds"):
        return lambda text: parse_duration(text, field="")
    if field.startswith("bytes"):
        return lambda text: _whole(text) if text.isdecimal() else parse_size(text)
    if kind is bool:
        return _switch
    return _number if kind is float else _whole


def _switch(text: str) -> bool:
    if text.lower() not in _WORDS:
        raise ConfigurationError(f"{text!r} is neither true nor false")
    return _WORDS[text.lower()]


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigurationError(f"{text!r} is not a whole number") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(f"{text!r} is not a number") from None
