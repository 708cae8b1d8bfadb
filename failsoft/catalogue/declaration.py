"""The shape of ``topics.yaml``: which fields there are and what each may hold, by pydantic.

Here is what can be said of one field alone; what two must not say together is in :mod:`failsoft.catalogue.rules`.
``replicas`` and ``configs`` are read as well, because other tools call them so.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from failsoft.catalogue.config import kafka_value
from failsoft.catalogue.document import Document, Problem
from failsoft.catalogue.names import NAME, TOPIC
from failsoft.policy.durations import parse_duration
from failsoft.policy.errors import ConfigurationError


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a name; use small letters, digits and hyphens, at most 63")
    return text


def _topic_name(text: str) -> str:
    if not TOPIC.fullmatch(text):
        raise ValueError(f"{text!r} is not a topic name; Kafka takes letters, digits, dots, underscores and hyphens")
    return text


def _positive_seconds(written: Any) -> float:
    try:
        seconds = parse_duration(written, field="")
    except ConfigurationError as error:
        raise ValueError(str(error)) from None
    if seconds == 0:
        raise ValueError("nothing can be done in no time; use a duration above zero")
    return seconds


def _config(written: Any) -> Any:
    """Values as Kafka takes them. Anything but a mapping is left for pydantic to refuse."""
    if not isinstance(written, dict):
        return written
    return {key: _config_value(key, value) for key, value in written.items()}


def _config_value(key: object, written: object) -> str:
    try:
        return kafka_value(str(key), written)
    except ConfigurationError as error:
        raise PydanticCustomError("config_value", "{problem}", {"key": str(key), "problem": str(error)}) from None


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{twice[0]} is there twice; keep one")
    return names


Name = Annotated[str, AfterValidator(_name)]
Seconds = Annotated[float, BeforeValidator(_positive_seconds)]
Config = Annotated[dict[str, str], BeforeValidator(_config)]
Partitions = Annotated[int, Field(ge=1, le=10_000)]
Replication = Annotated[int, Field(ge=1, le=32)]
Listed = BeforeValidator(lambda written: tuple(written) if isinstance(written, list) else written)


class Shape(BaseModel):
    """A mapping with these fields and no other, taken at its word: ``"8"`` is not 8."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ClassShape(Shape):
    """One class of urgency."""

    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    deadline: Seconds
    deadline_max: Seconds


class TopicShape(Shape):
    """What one kind of topic wants other than the defaults."""

    partitions: Partitions | None = None
    replication: Replication | None = Field(None, validation_alias=AliasChoices("replication", "replicas"))
    config: Config = Field({}, validation_alias=AliasChoices("config", "configs"))


class DefaultsShape(Shape):
    """What every topic has that does not say otherwise."""

    partitions: Partitions
    replication: Replication = Field(validation_alias=AliasChoices("replication", "replicas"))
    config: Config = Field({}, validation_alias=AliasChoices("config", "configs"))


class TopicsShape(Shape):
    """The kinds of topic that each pipeline has. Only those that are there are wanted."""

    requests: TopicShape
    results: TopicShape
    dead_letters: TopicShape = Field(alias="dead-letters")
    outcomes: TopicShape | None = None
    answers: TopicShape | None = None
    breakers: TopicShape | None = None
    latency: TopicShape | None = None
    degradation: TopicShape | None = None
    controls: TopicShape | None = None
    drills: TopicShape | None = None


class CatalogueShape(Shape):
    """The whole file."""

    version: Literal[1]
    defaults: DefaultsShape
    classes: Annotated[dict[Name, ClassShape], Field(min_length=1)]
    pipelines: Annotated[
        dict[Name, Annotated[tuple[Name, ...], Listed, Field(min_length=1), AfterValidator(_distinct)]],
        Field(min_length=1),
    ]
    topics: TopicsShape
    reply_topics: Annotated[
        tuple[Annotated[str, AfterValidator(_topic_name)], ...], Listed, AfterValidator(_distinct)
    ] = ()


def read_shape(document: Document) -> CatalogueShape:
    """Check every field of a catalogue by itself.

    Raises:
        ConfigurationError: all fields that are wrong, each with its line and the fix.
    """
    try:
        return CatalogueShape.model_validate(document.data)
    except ValidationError as error:
        problems = [_problem(details) for details in error.errors(include_url=False)]
        raise document.refusal(problems) from None


def _problem(details: ErrorDetails) -> Problem:
    """Turn a word of pydantic's into one of ours."""
    field = tuple(part for part in details["loc"] if part != "[key]")
    match details["type"]:
        case "missing":
            return Problem(field, "is missing; add it")
        case "extra_forbidden":
            return Problem(field, f"is not a field of ours; there are: {', '.join(_fields_beside(field))}")
        case "value_error":
            return Problem(field, str(details["ctx"]["error"]))
        case "config_value":
            return Problem((*field, details["ctx"]["key"]), details["msg"])
        case "model_type" | "dict_type":
            return Problem(field or ("catalogue",), "is not a mapping; write its fields below it, or in braces")
        case "tuple_type":
            return Problem(field, "is not a list; write it in brackets")
        case "too_short":
            return Problem(field, "is empty; name at least one")
        case _:
            return Problem(field, f"{details['msg'].removeprefix('Input ')}, not {details['input']!r}")


def _fields_beside(field: tuple[str | int, ...]) -> list[str]:
    """The fields that a misspelt one could have been."""
    shape: type[Shape]
    match field:
        case (_,):
            shape = CatalogueShape
        case ("topics", _):
            shape = TopicsShape
        case ("classes", *_):
            shape = ClassShape
        case _:
            shape = TopicShape
    return [known.alias or name for name, known in shape.model_fields.items()]
