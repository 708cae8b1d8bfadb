"""What names a request and its result, so that a redelivery and a repeat have the same name.

A request is the pair (source, id), as in CloudEvents; ``custom_id`` of a batch line is only echoed, never identity,
because two files may use it twice. A record without an id is named by its place in the log, which a redelivery
shares. A source without an id does not count: together with a place it could collide with another topic's, and one of
the two results would be hidden.

The result's id is ``uuid5(namespace, source NUL id)``. Neither part can hold a NUL, so no two requests share a
result.
"""

from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid5

from failsoft.wire.attributes import Attributes

RESULT_NAMESPACE: Final = UUID("6f0f9f0e-5d0b-5c39-9a86-2f4f2e8f7d31")
"""Fixed for ever: results of today and of next year share their ids."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The name of a request."""

    source: str
    id: str

    @classmethod
    def of_place(cls, topic: str, partition: int, offset: int) -> "Identity":
        """Name a record whose producer gave it no id."""
        return cls(f"/kafka/{topic}", f"{partition}-{offset}")

    @classmethod
    def of_batch_line(cls, sha256: str, line_number: int) -> "Identity":
        """Name a line of a batch file: sending the same file twice asks the same requests again."""
        return cls(f"/batch/{sha256}", str(line_number))

    @classmethod
    def said(cls, attributes: Attributes, *, topic: str, partition: int, offset: int) -> "Identity":
        """Name a record by its headers, and by its place where they do not."""
        source, id_ = attributes.text("ce_source"), attributes.text("ce_id")
        if id_ is None:
            return cls.of_place(topic, partition, offset)
        return cls(source or f"/kafka/{topic}", id_)


def result_id(request: Identity) -> str:
    """The id of the request's one result."""
    return str(uuid5(RESULT_NAMESPACE, f"{request.source}\0{request.id}"))
