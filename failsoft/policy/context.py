"""How complete the context of a request is, and which tiers can still do something with it.

A stage declares the *parts* that earlier stages are to gather::

    Context(required={"documents": nonempty()}, optional={"history": nonempty()}, max_age={"documents": "1h"})

and each part of a request is found to be

    present     there, as it should be
    stale       older than its maximum age, or said to be stale
    truncated   cut to a limit, a model's or a sender's: what was cut off may have been the point
    empty       said to be there, and is not: no text, no documents, a vector of zeros
    missing     not there

*Empty* is the failure that nobody reports: an embedding service or an index that is ill answers 200 with nothing, and the
model makes up the rest. So a part is believed only after its check.

**Rule.** A part that is missing or empty cannot be used; a stale or truncated one can, but is not complete.

    a tier can run                 if every part that it needs can be used
    it runs at its own level       if every required part is present, else at level 2 or its own, whichever is lower

Level 1 means the full model with *complete* context: without it the answer may be good, but nobody may call it level 1. An
optional part changes no level; the result says that it was not there.

The values are bodies and stay in the shell: it examines them, and the machine gets the ``Completeness``. Ages are by the wall
clock, since parts come from other machines: some seconds of skew do not matter against ages of minutes. Parts are examined when
their request comes in, and go on ageing while it waits: an answer given when one has become too old is not level 1 either.

Source: research/algorithms.md §11; the paper's "preprocessing drops context", "the vector database returns stale indices".
"""

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

from failsoft.policy.durations import Duration, parse_duration
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.levels import REDUCED_LEVEL

Check = Callable[[Any], str | None]
"""Looks at the value of a part; says what is wrong with it, without any of its data, or None. If it raises, the part is wrong."""

PARTS_MAX = 16
"""Of one stage. All that are not present stand in a header of the result, and are labels of a metric."""
_NAME = re.compile(r"[a-z0-9]([a-z0-9_-]{0,30}[a-z0-9])?", re.ASCII)


class Found(StrEnum):
    """What a part turned out to be."""

    PRESENT = "present"
    STALE = "stale"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    MISSING = "missing"

    @property
    def is_usable(self) -> bool:
        """Whether a model can do something with it."""
        return self not in {Found.EMPTY, Found.MISSING}


class Part(Protocol):
    """A part as it came."""

    @property
    def value(self) -> Any:
        """The piece itself."""

    @property
    def state(self) -> str:
        """What its sender says of it: present, stale, truncated or missing."""

    @property
    def produced_at(self) -> float | None:
        """When it was gathered, epoch seconds, None if unknown."""


@dataclass(frozen=True, slots=True)
class Completeness:
    """What was found of all declared parts.

    Attributes:
        parts: name -> what it turned out to be, in the order of declaration, required ones first.
        required: the names of those without which the context is not complete.
        problems: name -> what is wrong with an empty one, for people.
        stale_from: name -> after which instant, epoch seconds, one that is present will be too old.
    """

    parts: Mapping[str, Found]
    required: frozenset[str] = frozenset()
    problems: Mapping[str, str] = field(default_factory=dict)
    stale_from: Mapping[str, float] = field(default_factory=dict)

    @property
    def complete_until(self) -> float:
        """After which instant a required part will be too old, epoch seconds; infinite if never."""
        return min((at for name, at in self.stale_from.items() if name in self.required), default=math.inf)

    def at(self, wall_now: float) -> "Completeness":
        """What it has come to by then: parts age while their request waits."""
        aged = {name: Found.STALE for name, at in self.stale_from.items() if at < wall_now}
        return replace(self, parts={**self.parts, **aged}) if aged else self

    @property
    def is_complete(self) -> bool:
        """Whether every required part is present."""
        return all(self.parts[name] is Found.PRESENT for name in self.required)

    def names(self, found: Found) -> tuple[str, ...]:
        """The parts that turned out to be this."""
        return tuple(name for name, state in self.parts.items() if state is found)

    def allows(self, needs: Collection[str]) -> bool:
        """Whether a tier that needs these parts can run."""
        return all(self.parts[name].is_usable for name in needs)

    def level(self, level: int) -> int:
        """At which level a tier of this level runs."""
        return level if self.is_complete else max(level, REDUCED_LEVEL)

    @property
    def lacking(self) -> str:
        """What is not as it should be, ``documents=stale history=missing``; nothing if all is."""
        return " ".join(f"{name}={found}" for name, found in self.parts.items() if found is not Found.PRESENT)

    def __str__(self) -> str:
        """What a result says: ``complete``, or what is lacking."""
        return self.lacking or "complete"


class Context:
    """The parts that a stage's requests should have.

    Args:
        required: name -> check of the parts without which no answer is level 1.
        optional: name -> check of the others.
        max_age: name -> how old it may be; no limit where not said.

    Raises:
        ConfigurationError: names the part and the fix.
    """

    def __init__(
        self,
        required: Mapping[str, Check] | None = None,
        optional: Mapping[str, Check] | None = None,
        *,
        max_age: Mapping[str, Duration] | None = None,
    ) -> None:
        self._required = frozenset(required or ())
        self._checks = {**(required or {}), **(optional or {})}
        self._max_age = {
            name: parse_duration(age, field=f"context: max_age of {name}") for name, age in (max_age or {}).items()
        }
        if len(self._checks) > PARTS_MAX:
            raise ConfigurationError(f"context: {len(self._checks)} parts are declared, the limit is {PARTS_MAX}")
        for name in self._required & set(optional or ()):
            raise ConfigurationError(f"context: part {name!r} is declared both required and optional; choose one")
        for name in self._max_age:
            self._check_declared(name, "max_age")
        for name, check in self._checks.items():
            if not _NAME.fullmatch(name):
                raise ConfigurationError(
                    f"context: part {name!r}: a name is 1 to 32 lower-case letters, digits, hyphens and underscores"
                )
            if not callable(check):
                raise ConfigurationError(
                    f"context: the check of part {name!r} is {check!r}; use nonempty() or the like"
                )

    @property
    def names(self) -> tuple[str, ...]:
        """All declared parts, required ones first."""
        return tuple(self._checks)

    def check_needs(self, needs: Collection[str]) -> None:
        """Refuse a tier that needs what is not declared.

        Raises:
            ConfigurationError: names the part and the declared ones.
        """
        if isinstance(needs, str):
            raise ConfigurationError(f'needs {needs!r} is text; write a set of names: {{"{needs}"}}')
        for name in sorted(needs):
            self._check_declared(name, "needs")

    def examine(self, parts: Mapping[str, Part], *, wall_now: float) -> Completeness:
        """Find out what each declared part is; others are ignored.

        Args:
            parts: as they came.
            wall_now: this host's wall clock, epoch seconds.
        """
        found, problems, stale_from = {}, {}, {}
        for name, check in self._checks.items():
            part = parts.get(name)
            problem = None if part is None or part.state == Found.MISSING else _problem(check, part.value)
            if problem is not None:
                problems[name] = problem
            found[name] = Found.EMPTY if problem is not None else self._state(name, part, wall_now)
            if (
                part is not None
                and part.produced_at is not None
                and found[name] is Found.PRESENT
                and name in self._max_age
            ):
                stale_from[name] = part.produced_at + self._max_age[name]
        return Completeness(found, self._required, problems, stale_from)

    def _state(self, name: str, part: Part | None, wall_now: float) -> Found:
        if part is None:
            return Found.MISSING
        said = Found(part.state)
        return Found.STALE if said is Found.PRESENT and self._is_too_old(name, part, wall_now) else said

    def _is_too_old(self, name: str, part: Part, wall_now: float) -> bool:
        """One of unknown age is too old where age matters."""
        max_age = self._max_age.get(name, math.inf)
        return max_age < math.inf and (part.produced_at is None or wall_now - part.produced_at > max_age)

    def _check_declared(self, name: str, where: str) -> None:
        if name not in self._checks:
            declared = ", ".join(self._checks) or "none"
            raise ConfigurationError(f"context: {where} names the part {name!r}; declared are: {declared}")


def _problem(check: Check, value: Any) -> str | None:
    """What an author's check says. It meets whatever other stages send, and what it does not expect is no reason to fail."""
    try:
        return check(value)
    except Exception as error:
        return f"its check failed: {type(error).__name__}"


def nonempty() -> Check:
    """There is something in it: not null, blank text, or a collection of nothing else. 0 and false are something."""

    def check(value: Any) -> str | None:
        return "nothing in it" if _is_blank(value) else None

    return check


def at_least(count: int) -> Check:
    """A list, object or the like with so many members that are not blank."""
    if count < 1:
        raise ConfigurationError(f"at_least({count}) is true of nothing at all; use 1 or more")

    def check(value: Any) -> str | None:
        if isinstance(value, str) or not isinstance(value, Collection):
            return "not a collection"
        members = value.values() if isinstance(value, Mapping) else value
        held = sum(not _is_blank(member) for member in members)
        return None if held >= count else f"{held} members, at least {count} are needed"

    return check


def vector(dimension: int) -> Check:
    """A list of so many finite numbers, not all of them zero: what an embedding is."""
    if dimension < 1:
        raise ConfigurationError(f"vector({dimension}) has no dimension; say how many numbers the embedding has")

    def check(value: Any) -> str | None:
        if not isinstance(value, list | tuple) or not all(type(number) in (int, float) for number in value):
            return "not a list of numbers"
        if len(value) != dimension:
            return f"{len(value)} numbers, {dimension} are needed"
        if not all(map(math.isfinite, value)):
            return "not finite"
        return None if any(value) else "all zeros"

    return check


def _is_blank(value: Any) -> bool:
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, Mapping):
        return all(map(_is_blank, value.values()))
    if isinstance(value, Collection):
        return all(map(_is_blank, value))
    return value is None
