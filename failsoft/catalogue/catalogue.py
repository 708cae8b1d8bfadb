"""The topic catalogue as values: the classes, the pipelines with their stages, and the topics that these want.

A later stage takes what an earlier one emitted, so its topics allow messages as large as the results do, while the
first stage keeps to the limit of requests from outside.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from failsoft.catalogue.declaration import CatalogueShape, TopicShape, read_shape
from failsoft.catalogue.document import read_document
from failsoft.catalogue.names import pipeline_topic, requests_topic
from failsoft.catalogue.rules import broken_rules
from failsoft.policy.errors import ConfigurationError
from failsoft.policy.request import ClassName

DEFAULT_PATH = Path("topics.yaml")

_LARGEST = "max.message.bytes"


@dataclass(frozen=True, slots=True)
class ClassSettings:
    """One class of urgency.

    Attributes:
        name: interactive, standard, batch, or what the catalogue calls it.
        weight: its share of the slots against the other classes' weights, while all have work.
        deadline_seconds: for a request that says none.
        deadline_max_seconds: the longest deadline that a request may ask for.
    """

    name: ClassName
    weight: float
    deadline_seconds: float
    deadline_max_seconds: float


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """What every topic of one kind wants."""

    partitions: int
    replication: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic that should be there."""

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What ``topics.yaml`` says.

    Attributes:
        classes: by name, most urgent first.
        pipelines: the stages of each, in the order of the flow.
        topics: by kind; only kinds that are wanted.
        reply_topics: where a request may ask for a copy of its result.
    """

    classes: Mapping[ClassName, ClassSettings]
    pipelines: Mapping[str, tuple[str, ...]]
    topics: Mapping[str, TopicSettings]
    reply_topics: tuple[str, ...]

    def stage_topics(self, pipeline: str, stage: str) -> dict[ClassName, str]:
        """Name the topics of one stage by class, most urgent first."""
        return {name: requests_topic(pipeline, stage, name) for name in self.classes}

    def wanted_topics(self) -> tuple[TopicSpec, ...]:
        """List every topic that should be there, in the order in which a request meets them."""
        return tuple(spec for pipeline in self.pipelines for spec in self._pipeline_topics(pipeline))

    def _pipeline_topics(self, pipeline: str) -> list[TopicSpec]:
        specs = []
        for position, stage in enumerate(self.pipelines[pipeline]):
            settings = self.topics["requests"] if position == 0 else self._later_stage()
            specs += [_spec(name, settings) for name in self.stage_topics(pipeline, stage).values()]
        kinds = (kind for kind in self.topics if kind != "requests")
        return specs + [_spec(pipeline_topic(pipeline, kind), self.topics[kind]) for kind in kinds]

    def _later_stage(self) -> TopicSettings:
        requests, results = self.topics["requests"], self.topics["results"]
        limits = [int(each.config[_LARGEST]) for each in (requests, results) if _LARGEST in each.config]
        largest = {_LARGEST: str(max(limits))} if limits else {}
        return TopicSettings(requests.partitions, requests.replication, {**requests.config, **largest})


def catalogue_text(path: Path | None = None) -> tuple[str, Path | None]:
    """Find the catalogue: this file, else ``./topics.yaml``, else the one that comes with failsoft.

    Returns:
        Its text, and its file if it has one.

    Raises:
        ConfigurationError: there is none, or it cannot be read.
    """
    if path is None and not DEFAULT_PATH.is_file():
        packaged = resources.files("failsoft") / "templates" / "topics.yaml"
        if not packaged.is_file():
            raise ConfigurationError(f"no {DEFAULT_PATH} here; go to its directory or pass --catalogue FILE")
        return packaged.read_text(encoding="utf-8"), None
    source = path or DEFAULT_PATH
    try:
        return source.read_text(encoding="utf-8"), source
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{source}: cannot be read as text ({error}); pass --catalogue FILE") from None


def load(path: Path | None = None) -> Catalogue:
    """Read the catalogue: this file, else ``./topics.yaml``, else the one that comes with failsoft.

    Raises:
        ConfigurationError: there is none, or it cannot work; names the file, line and field.
    """
    text, source = catalogue_text(path)
    return parse(text, source=str(source or "failsoft/templates/topics.yaml"))


def parse(text: str, *, source: str = "topics.yaml") -> Catalogue:
    """Read and check a catalogue.

    Raises:
        ConfigurationError: every problem with its line, field and fix.
    """
    document = read_document(text, source=source)
    shape = read_shape(document)
    topics = _settings(shape)
    problems = list(broken_rules(shape, {kind: (each.replication, each.config) for kind, each in topics.items()}))
    if problems:
        raise document.refusal(problems)
    classes = {
        name: ClassSettings(name, each.weight, each.deadline, each.deadline_max) for name, each in shape.classes.items()
    }
    return Catalogue(classes, shape.pipelines, topics, shape.reply_topics)


def _settings(shape: CatalogueShape) -> dict[str, TopicSettings]:
    """The settings of each kind of topic that is wanted, with the defaults filled in."""
    defaults = shape.defaults
    kinds: dict[str, TopicShape | None] = {
        field.alias or name: getattr(shape.topics, name) for name, field in type(shape.topics).model_fields.items()
    }
    return {
        kind: TopicSettings(
            each.partitions or defaults.partitions,
            each.replication or defaults.replication,
            {**defaults.config, **each.config},
        )
        for kind, each in kinds.items()
        if each is not None
    }


def _spec(name: str, settings: TopicSettings) -> TopicSpec:
    return TopicSpec(name, settings.partitions, settings.replication, settings.config)
