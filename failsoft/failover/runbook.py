"""A runbook: what is checked, how traffic moves, and when it goes back, in a file that can be tried.

::

    version: 1
    pipeline: digits
    endpoint: classify/large                 # <stage>/<tier>
    from: eu
    to: us
    canary: digits.canary.jsonl              # beside this file: lines of an OpenAI batch file, asked of both regions
    before: {reachable: true, breakers: closed, agreement: 95%, p95: 1s, capacity: 16}
    during: {breakers: closed, agreement: 95%, p95: 1s, served: 99%, arrived: 50%}
    steps:                                   # default: 1 %, 10 %, 50 %, 100 %, held for a minute each
      - {share: 1%, hold: 60s}
      - {share: 100%, hold: 60s}
    drill: {share: 1%, hold: 60s}            # or: drill: shadow

``during`` is measured at the end of each step; one figure that is not as it must be takes everything back. A drill makes all
checks and moves the share that it declares, or none: then the target gets the canaries only, as shadow calls.

The *hash* is that of all that it says, canaries included and comments left out. A drill holds for one hash.
"""

import hashlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from failsoft.catalogue.document import Document, Problem, read_document
from failsoft.failover.checks import Check, CheckName
from failsoft.failover.run import Step
from failsoft.policy.durations import parse_duration
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.routing import STEPS

HOLD_SECONDS = 60.0
"""As long as the windows of latency look back: what is measured at the end of a step is that step's."""

_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_ENDPOINT = re.compile(r"[a-z0-9-]+/[a-z0-9-]+")


def _part(written: Any) -> float:
    """A part as people write it: ``95%``, or ``0.95``."""
    if isinstance(written, str) and (percent := _PERCENT.fullmatch(written.strip())):
        part = float(percent[1]) / 100
    elif isinstance(written, int | float) and not isinstance(written, bool):
        part = float(written)
    else:
        raise ValueError(f'{written!r} is not a part; write "95%" or 0.95')
    if not 0 < part <= 1:
        raise ValueError(f"{written!r} is not a part; use more than 0%, up to 100%")
    return part


def _seconds(written: Any) -> float:
    try:
        return parse_duration(written, field="")
    except ConfigurationError as error:
        raise ValueError(str(error)) from None


def _endpoint(written: str) -> str:
    if not _ENDPOINT.fullmatch(written):
        raise ValueError(f"{written!r} is not <stage>/<tier>, such as classify/large")
    return written


Part = Annotated[float, BeforeValidator(_part)]
Seconds = Annotated[float, BeforeValidator(_seconds)]
Text = Annotated[str, Field(min_length=1)]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _BeforeShape(_Shape):
    """What must hold before anything moves."""

    reachable: Literal[True] | None = None
    breakers: Literal["closed"] | None = None
    agreement: Part | None = None
    p95: Seconds | None = None
    capacity: Annotated[int, Field(ge=1)] | None = None

    def checks(self) -> Iterator[Check]:
        """What is asked for."""
        bounds: dict[CheckName, float | None] = {
            CheckName.REACHABLE: None if self.reachable is None else 1.0,
            CheckName.BREAKERS: None if self.breakers is None else 0.0,
            CheckName.AGREEMENT: self.agreement,
            CheckName.P95: self.p95,
            CheckName.CAPACITY: self.capacity,
        }
        return (Check(name, bound) for name, bound in bounds.items() if bound is not None)


class _DuringShape(_BeforeShape):
    """What must hold at each step."""

    served: Part | None = None
    arrived: Part | None = None

    def checks(self) -> Iterator[Check]:
        """What is asked for."""
        yield from super().checks()
        if self.served is not None:
            yield Check(CheckName.SERVED, self.served)
        if self.arrived is not None:
            yield Check(CheckName.ARRIVED, self.arrived)


class _StepShape(_Shape):
    share: Part
    hold: Seconds = HOLD_SECONDS


class _RunbookShape(_Shape):
    version: Literal[1]
    pipeline: Text
    endpoint: Annotated[Text, AfterValidator(_endpoint)]
    origin: Annotated[Text, Field(alias="from")]
    target: Annotated[Text, Field(alias="to")]
    canary: Text | None = None
    before: _BeforeShape
    during: _DuringShape
    steps: tuple[_StepShape, ...] = Field(
        tuple(_StepShape(share=share, hold=HOLD_SECONDS) for share in STEPS), min_length=1, strict=False
    )
    drill: Literal["shadow"] | _StepShape


@dataclass(frozen=True, slots=True)
class Runbook:
    """A runbook that can work.

    Attributes:
        path: where it stands.
        name: its file's name, without the ending.
        hash: of what it says.
        pipeline: whose endpoint.
        stage: of it.
        tier: of it.
        origin: the region that is left.
        target: the region that takes over.
        before: what must hold before anything moves.
        during: what must hold at each step.
        steps: of the real thing.
        drill: of a drill; none: shadow calls only.
        canaries: lines of an OpenAI batch file.
        regions: of the endpoint, the usual one first, as its pipeline declares them; the two of the runbook until that is known.
    """

    path: Path
    name: str
    hash: str
    pipeline: str
    stage: str
    tier: str
    origin: str
    target: str
    before: tuple[Check, ...]
    during: tuple[Check, ...]
    steps: tuple[Step, ...]
    drill: tuple[Step, ...]
    canaries: tuple[bytes, ...]
    regions: tuple[str, ...] = ()

    @property
    def endpoint(self) -> str:
        """Whose route it moves, ``<stage>/<tier>``."""
        return f"{self.stage}/{self.tier}"


def load_runbook(path: Path) -> Runbook:
    """Read and check a runbook and its canaries.

    Raises:
        ConfigurationError: all that is wrong, each with its line, field and fix.
    """
    document = read_document(_text(path), source=str(path))
    try:
        shape = _RunbookShape.model_validate(document.data)
    except ValidationError as error:
        raise document.refusal([_problem(each) for each in error.errors(include_url=False)]) from None
    problems = list(_contradictions(shape))
    if problems:
        raise document.refusal(problems)
    canaries = _canaries(path, shape, document)
    stage, _, tier = shape.endpoint.partition("/")
    return Runbook(
        path=path,
        name=path.stem,
        hash=_hash(shape, canaries),
        pipeline=shape.pipeline,
        stage=stage,
        tier=tier,
        origin=shape.origin,
        target=shape.target,
        before=tuple(shape.before.checks()),
        during=tuple(shape.during.checks()),
        steps=tuple(Step(each.share, each.hold) for each in shape.steps),
        drill=() if isinstance(shape.drill, str) else (Step(shape.drill.share, shape.drill.hold),),
        canaries=canaries,
        regions=(shape.origin, shape.target),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read as text ({error})") from None


def _contradictions(shape: _RunbookShape) -> Iterator[Problem]:
    """What its fields must not say together."""
    if shape.origin == shape.target:
        yield Problem(("to",), f"is {shape.target}, as from is; name the region that takes over")
    for field in ("before", "during"):
        checks = {check.name for check in getattr(shape, field).checks()}
        if not checks:
            yield Problem((field,), "checks nothing; a runbook that cannot fail shows nothing")
        if checks & {CheckName.AGREEMENT, CheckName.P95, CheckName.CAPACITY} and shape.canary is None:
            yield Problem(
                (field,), "agreement, p95 and capacity are measured with canaries; name their file: canary: FILE"
            )
    shares = [step.share for step in shape.steps]
    if shares != sorted(set(shares)) or not math.isclose(shares[-1], 1.0):
        yield Problem(("steps",), "shares grow from step to step, and the last one is 100%")
    if not isinstance(shape.drill, str) and shape.drill.share > 0.5:
        yield Problem(("drill", "share"), "more than half is no drill; use 50% or less")


def _canaries(path: Path, shape: _RunbookShape, document: Document) -> tuple[bytes, ...]:
    if shape.canary is None:
        return ()
    file = path.parent / shape.canary
    try:
        lines = tuple(line for line in file.read_bytes().splitlines() if line.strip())
    except OSError as error:
        raise document.refusal([Problem(("canary",), f"{file} cannot be read ({error.strerror})")]) from None
    if not lines:
        raise document.refusal([Problem(("canary",), f"{file} is empty; give it some lines of an OpenAI batch file")])
    return lines


def _hash(shape: _RunbookShape, canaries: tuple[bytes, ...]) -> str:
    said = orjson.dumps(shape.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(b"\n".join((said, *canaries))).hexdigest()


def _problem(details: ErrorDetails) -> Problem:
    """Turn a word of pydantic's into one of ours."""
    names = {"origin": "from", "target": "to"}
    field = tuple(names.get(str(part), part) for part in details["loc"] if not str(part).startswith(("_", "literal[")))
    match details["type"]:
        case "missing":
            return Problem(field, "is missing; add it")
        case "extra_forbidden":
            return Problem(field, f"is not a field of ours; there are: {', '.join(_fields_beside(field))}")
        case "value_error":
            return Problem(field, str(details["ctx"]["error"]))
        case "model_type" | "dict_type":
            return Problem(field or ("runbook",), "is not a mapping; write its fields below it, or in braces")
        case _:
            return Problem(field, f"{details['msg'].removeprefix('Input ')}, not {details['input']!r}")


def _fields_beside(field: tuple[str | int, ...]) -> list[str]:
    """The fields that a misspelt one could have been."""
    shapes: dict[str | int, type[_Shape]] = {"before": _BeforeShape, "during": _DuringShape}
    shape = _RunbookShape if len(field) == 1 else shapes.get(field[0], _StepShape)
    return [known.alias or name for name, known in shape.model_fields.items()]
