"""A YAML file together with the line of every field, so that an error can point at the line to change.

The lines come from the nodes of the text; so do duplicate keys, which YAML forbids and PyYAML lets pass with the last
one winning. Aliases are refused: ``defaults`` says once what repeats, and
without them a file cannot refer to itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from failsoft.policy.errors import ConfigurationError

Field = tuple[str | int, ...]
"""The path of a field from the top: keys and list positions."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a document: where, and what to do about it."""

    field: Field
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """What a YAML file says, and where.

    Attributes:
        source: the file's name, for errors.
        data: plain values.
        lines: the line of each field, counted from 1.
    """

    source: str
    data: Any
    lines: dict[tuple[str, ...], int] = field(repr=False)

    def line(self, path: Field) -> int:
        """Find the line of a field, or of the nearest field around one that is not there."""
        parts = tuple(str(part) for part in path)
        return next((self.lines[parts[:n]] for n in range(len(parts), 0, -1) if parts[:n] in self.lines), 1)

    def refusal(self, problems: Sequence[Problem]) -> ConfigurationError:
        """Say all that is wrong, one line each, in the order of the file."""
        lines = sorted((self.line(each.field), ".".join(map(str, each.field)), each.text) for each in problems)
        return ConfigurationError("\n".join(f"{self.source}:{line}: {name}: {text}" for line, name, text in lines))


def read_document(text: str, *, source: str) -> Document:
    """Read YAML as data with lines.

    Raises:
        ConfigurationError: it is not YAML, or says one thing twice; names the line.
    """
    try:
        problems = list(_aliases(text))
        node = None if problems else yaml.compose(text, Loader=yaml.SafeLoader)
        problems += _repeats(node)
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigurationError(f"{source}:{mark.line + 1 if mark else 1}: {error.problem}") from None
    except yaml.YAMLError as error:  # characters that no YAML text may hold
        raise ConfigurationError(f"{source}: not YAML: {error}") from None
    if problems:
        raise ConfigurationError("\n".join(f"{source}:{line}: {text}" for line, text in problems))
    return Document(source, data, dict(_lines(node, ())))


def _lines(node: yaml.Node | None, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    """Every field below a node with its line."""
    for name, place, value in _members(node):
        yield (*path, name), _line(place)
        yield from _lines(value, (*path, name))


def _repeats(node: yaml.Node | None) -> Iterator[tuple[int, str]]:
    """Every key that a mapping has already, with its line."""
    seen: set[str] = set()
    for name, place, value in _members(node):
        if name in seen:
            yield _line(place), f"{name} is there twice; keep one"
        seen.add(name)
        yield from _repeats(value)


def _members(node: yaml.Node | None) -> list[tuple[str, yaml.Node, yaml.Node]]:
    """What a node holds: by name or position, the node that stands first there, and the value."""
    match node:
        case yaml.MappingNode():
            return [(str(key.value), key, value) for key, value in node.value]
        case yaml.SequenceNode():
            return [(str(index), item, item) for index, item in enumerate(node.value)]
        case _:
            return []


def _line(place: yaml.Node | yaml.Event) -> int:
    return place.start_mark.line + 1 if place.start_mark else 1


def _aliases(text: str) -> Iterator[tuple[int, str]]:
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            yield _line(event), f"aliases (*{event.anchor}) are not read; write it out, or use defaults"
