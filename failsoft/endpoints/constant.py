"""The same answer for everybody: the last tier, which cannot fail and takes no time.

It is no :class:`~failsoft.endpoints.endpoint.Endpoint`: nothing is called, so no permit is held and no window runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Constant:
    """A deterministic answer.

    Attributes:
        body: what becomes ``response.body`` of the result; of a stage with a next one as with an Output.
        context: what it hands on to later stages: name -> value.
    """

    body: Mapping[str, Any]
    context: Mapping[str, Any] = field(default_factory=dict)
