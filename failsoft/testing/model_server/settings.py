"""What a served model is like while nothing fails: how many calls at once, how many may wait, how long one takes.

Service times are lognormal, which is what inference with outputs of varying length looks like: ``median · exp(sigma · z)``
with z from the normal distribution. The two default models are the ones on which the tier policy was measured: a large one
whose 16 slots serve about 75 calls a second, and a small one ten times as fast.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from failsoft.catalogue.document import Document, Problem, read_document


class DigitReader(StrEnum):
    """Which real model reads the images of the digits pipeline."""

    TREES = "trees"
    REGRESSION = "regression"


class ModelSettings(BaseModel):
    """One served model.

    Attributes:
        slots: calls in service at once.
        queue: calls that may wait for a slot; the next one is refused with 503.
        median_seconds: half of the calls take longer.
        sigma: spread of the logarithm of the service time; the 99th percentile is median · exp(2.326 · sigma).
        digits: how it reads images of digits; None: it does not.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    slots: Annotated[int, Field(ge=1)]
    queue: Annotated[int, Field(ge=0)]
    median_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    sigma: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.35
    digits: DigitReader | None = None


DEFAULT_MODELS: Mapping[str, ModelSettings] = {
    "large": ModelSettings(slots=16, queue=16, median_seconds=0.2, digits=DigitReader.TREES),
    "small": ModelSettings(slots=32, queue=32, median_seconds=0.04, digits=DigitReader.REGRESSION),
}
"""A queue as long as the slots are many: who waits in it waits about one service time."""

_MODELS = TypeAdapter(Annotated[dict[str, ModelSettings], Field(min_length=1)])


def read_models(text: str, *, source: str) -> dict[str, ModelSettings]:
    """Read a YAML (or JSON) file: a mapping from the model's name to its settings.

    Raises:
        ConfigurationError: all fields that are wrong, each with its line.
    """
    document: Document = read_document(text, source=source)
    try:
        return _MODELS.validate_python(document.data)
    except ValidationError as error:
        problems = [Problem(details["loc"], details["msg"]) for details in error.errors(include_url=False)]
        raise document.refusal(problems) from None
